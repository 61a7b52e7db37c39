"""Check a dataset on disk: is all of it there, can all of it be read, and does it say what it should?"""

import os
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from canthus.data import aflw, celeba, celeba_hq, cofw, folder, ibug_300w, wflw, wild21, ytf
from canthus.data.check_scenes import SCENE_COUNTS, check_scenes
from canthus.data.copies import alike, signature
from canthus.data.problems import Problem, Scan
from canthus.data.report import Findings, PartCount, Progress, Report
from canthus.errors import ConfigError, DataError
from canthus.geometry import box_iou, hull_box
from canthus.lookup import lookup
from canthus.types import Annotation, Image

SAME_FACE = 0.7
"""Overlap (IoU) of two labelled faces of one picture from which they are called the same face."""

_Marked = tuple[Annotation, Float32[np.ndarray, " d"]]


def check_dataset(
    name: str, root: str | os.PathLike[str], *, scheme: str | None = None, progress: Progress | None = None
) -> Report:
    """Read every label and open every picture of a dataset.

    Args:
        name: a key of ``DATASETS`` or of ``SCENE_SETS``.
        root: where it lies.
        scheme: name of the scheme of a ``folder``, where the number of points does not tell.
        progress: called after each picture.

    Raises:
        ConfigError: unknown dataset, or a scheme named for a set that has its own.
        DataError: ``root`` lacks the dataset's layout altogether.
    """
    lookup({**_COUNTS, **SCENE_COUNTS}, name, kind="dataset")
    if scheme is not None and name != "folder":
        raise ConfigError(f"{name} has a scheme of its own; leave out the scheme {scheme!r}")
    progress = progress or (lambda done, total: None)
    if name in SCENE_COUNTS:
        parts, scenes = SCENE_COUNTS[name](Path(root))
        found = Findings(list(scenes.problems))
        pictures = check_scenes(scenes.scenes, found, progress)
    else:
        parts, scan = _COUNTS[name](Path(root), scheme)
        found = Findings(list(scan.problems), list(scan.notes))
        pictures = _check_pictures(scan.faces, found, progress)
    return Report(name, os.fspath(root), tuple(parts), pictures, tuple(found.problems), tuple(found.notes))


def _count_300w(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    scans = [(part, ibug_300w.scan_300w(root, (part,))) for part in ibug_300w.PARTS]
    both = Scan([face for _, scan in scans for face in scan.faces], [p for _, scan in scans for p in scan.problems])
    if not both.faces and not both.problems:
        raise DataError(ibug_300w.nothing_found(root, ibug_300w.PARTS))
    return [PartCount(part.name, len(scan.faces), part.official) for part, scan in scans], both


def _count_ytf(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    there = [part for part, name in ytf.FOLDERS.items() if (root / name).is_dir() or ytf.csv_path(root, part).is_file()]
    scan = ytf.scan_ytf(root, there or ytf.FOLDERS)
    sizes = {part: sum(face.subset == part for face in scan.faces) for part in ytf.FOLDERS}
    return [PartCount(part, size, ytf.OFFICIAL[part]) for part, size in sizes.items()], scan


def _count_wflw(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    scan = wflw.scan_wflw(root, [part for part in wflw.LISTS if wflw.list_path(root, part).is_file()] or wflw.LISTS)
    sizes = {part: sum(face.subset == part for face in scan.faces) for part in wflw.LISTS}
    return [PartCount(part, size, wflw.OFFICIAL[part]) for part, size in sizes.items()], scan


def _count_wild21(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    there = [part for part in wild21.PARTS if wild21.label_path(root, part).is_file()]
    scan = wild21.scan_wild21(root, there or wild21.PARTS)
    sizes = {part: sum(face.subset == part for face in scan.faces) for part in wild21.PARTS}
    return [PartCount(part, size, wild21.OFFICIAL[part]) for part, size in sizes.items()], scan


def _count_folder(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    scan = folder.scan_folder(root, scheme=scheme)
    return [PartCount(root.name, len(scan.faces))], scan


def _count_cofw(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    scan = cofw.scan_cofw(root, [part for part, name in cofw.FILES.items() if (root / name).is_file()] or cofw.FILES)
    sizes = {part: sum(face.subset == part for face in scan.faces) for part in cofw.FILES}
    return [PartCount(part, size, cofw.OFFICIAL[part]) for part, size in sizes.items()], scan


def _count_celeba_hq(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    scan = celeba_hq.scan_celeba_hq(root)
    sizes = {part: sum(face.subset == part for face in scan.faces) for part in celeba_hq.PARTS}
    return [PartCount(part, size, len(celeba_hq.PARTS[part])) for part, size in sizes.items()], scan


def _count_aflw(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    scan = aflw.scan_aflw(root)
    sizes = {part: sum(face.subset == part for face in scan.faces) for part in ("train", "test")}
    frontal = sum(face.subset == "test" and face.attributes["frontal"] for face in scan.faces)
    parts = [PartCount(part, size, aflw.OFFICIAL[part]) for part, size in sizes.items()]
    return [*parts, PartCount("frontal", frontal, aflw.OFFICIAL["frontal"], within="test")], scan


def _count_celeba(root: Path, scheme: str | None) -> tuple[list[PartCount], Scan]:
    scan = celeba.scan_celeba(root)
    sizes = {part: sum(face.subset == part for face in scan.faces) for part in celeba.OFFICIAL}
    return [PartCount(part, size, celeba.OFFICIAL[part]) for part, size in sizes.items()], scan


_COUNTS = {
    "300w": _count_300w,
    "ytf": _count_ytf,
    "wflw": _count_wflw,
    "wild21": _count_wild21,
    "cofw": _count_cofw,
    "celeba_hq": _count_celeba_hq,
    "aflw": _count_aflw,
    "celeba": _count_celeba,
    "folder": _count_folder,
}


def _check_pictures(faces: Sequence[Annotation], found: Findings, progress: Progress) -> int:
    """Open each picture once, look at the faces on it, and give the number of pictures."""
    paths = sorted({face.path for face in faces})
    of_picture: dict[Path, list[Annotation]] = {path: [] for path in paths}
    for face in faces:
        of_picture[face.path].append(face)
    marked: list[_Marked] = []
    for done, path in enumerate(paths, start=1):
        here = of_picture[path]
        key = here[0].key.partition("#")[0]
        image = found.open(path, key)
        if image is not None:
            found.problems.extend(problem for face in here for problem in _wrong_points(face, image))
            marked += [(face, mark) for face in here if (mark := signature(image, face)) is not None]
        found.problems.extend(_same_face(here))
        progress(done, len(paths))
    found.notes.extend(_copies(marked))
    return len(paths)


def _wrong_points(face: Annotation, image: Image) -> Iterator[Problem]:
    """Points outside the picture; faces without size."""
    height, width = image.shape[:2]
    points = face.points[~np.isnan(face.points).any(axis=1)]
    beyond = np.maximum(-0.5 - points, points - (width - 0.5, height - 0.5)).max(axis=1)
    outside = int((beyond > 0).sum())
    if outside:
        yield Problem(
            "points outside",
            face.key,
            f"{outside} of {len(points)} points lie up to {beyond.max():.1f} px outside the {width}x{height} picture",
        )
    if len(points) > 1 and float(np.ptp(points, axis=0).max()) < 1:
        yield Problem("points coincide", face.key, f"all {len(points)} points lie within one pixel")


def _same_face(faces: Sequence[Annotation]) -> Iterator[Problem]:
    hulls = {face.key: hull_box(face.points)[None] for face in faces}
    for a, b in combinations(faces, 2):
        overlap = float(box_iou(hulls[a.key], hulls[b.key])[0, 0])
        if overlap >= SAME_FACE:
            yield Problem("duplicate face", b.key, f"labels the same face as {a.key} (overlap {overlap:.2f})")


def _copies(marked: Sequence[_Marked]) -> Iterator[str]:
    """Notes on copies that splits may put on both sides."""
    if not marked:
        return
    faces = [face for face, _ in marked]
    for i, j in alike(np.stack([mark for _, mark in marked])):
        if faces[i].group != faces[j].group:
            yield f"{faces[j].key}: looks like a copy of {faces[i].key}; a split by group may divide the two"
