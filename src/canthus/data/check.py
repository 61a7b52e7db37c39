"""Check datasets of landmarks and of face boxes, and find photos that stand in a set twice."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from canthus.data import aflw, celeba, celeba_hq, cofw, facemask, fddb, folder, ibug_300w, wflw, widerface, wild21, ytf
from canthus.data.problems import Findings, PartCount, Problem, Progress, Report, Scan, SceneScan
from canthus.errors import ConfigError, DataError
from canthus.geometry import Affine, box_iou, hull_box
from canthus.images import warp
from canthus.lookup import lookup
from canthus.schemes import FIVE, convert
from canthus.types import Annotation, Image, Scene

SIDE = 64
ALIKE = 0.9
"""Correlation from which two aligned faces are called copies.

In the training pictures of 300-W, pairs above 0.83 are copies of one photograph in all cases but two (faces in the
same pose, looked at one by one); 0.9 leaves a margin.
"""

_FIVE_AT = np.array([[0.31, 0.37], [0.69, 0.37], [0.5, 0.59], [0.36, 0.72], [0.64, 0.72]]) * SIDE
_ROWS = 512


def signature(image: Image, face: Annotation) -> Float32[np.ndarray, " d"] | None:
    """The face turned upright, grey, without slow changes of light, as a vector of length one.

    Returns:
        None where the points do not place eyes, nose and mouth, or the face is one flat colour.
    """
    five = convert(face.points, face.scheme, FIVE).astype(np.float64)
    upright = _similarity(five, _FIVE_AT)
    if upright is None:
        return None
    grey = cv2.cvtColor(warp(image, upright, SIDE), cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = cv2.GaussianBlur(grey - cv2.GaussianBlur(grey, (0, 0), 6), (0, 0), 1)
    vector = np.asarray(detail - detail.mean(), np.float32).ravel()
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > SIDE else None


def alike(signatures: Float32[np.ndarray, "n d"], *, least: float = ALIKE) -> Iterator[tuple[int, int]]:
    """Pairs ``i < j`` of signatures that correlate by ``least`` or more."""
    for start in range(0, len(signatures), _ROWS):
        block = signatures[start : start + _ROWS] @ signatures[start:].T
        for i, j in np.argwhere(block >= least).tolist():
            if i < j:
                yield start + i, start + j


def _similarity(source: Float64[np.ndarray, "n 2"], target: Float64[np.ndarray, "n 2"]) -> Affine | None:
    """Turn, scale and shift that takes ``source`` nearest to ``target`` (least squares)."""
    if np.isnan(source).any():
        return None
    a = (source - source.mean(axis=0)) @ np.array([1, 1j])
    b = (target - target.mean(axis=0)) @ np.array([1, 1j])
    size = float((abs(a) ** 2).sum())
    if size < 1:
        return None
    turn = complex((a.conj() * b).sum() / size)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return Affine(np.hstack([linear, (target.mean(axis=0) - linear @ source.mean(axis=0))[:, None]]))


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


SAME_BOX = 0.9
"""Overlap (IoU) of two labelled boxes of one picture from which they are called the same face."""

_Part = TypeVar("_Part", str, int)
_Count = Callable[[Path], tuple[list[PartCount], SceneScan]]


def _count_facemask(root: Path) -> tuple[list[PartCount], SceneScan]:
    scan = facemask.scan_facemask_scenes(root, _there(facemask.LISTS, lambda part: root / facemask.LISTS[part]))
    sizes = _sizes(scan)
    return [PartCount(part, sizes[part], facemask.OFFICIAL[part]) for part in facemask.LISTS], scan


def _count_fddb(root: Path) -> tuple[list[PartCount], SceneScan]:
    scan = fddb.scan_fddb_scenes(root, _there(fddb.FOLDS, lambda fold: fddb.list_path(root, fold)))
    return [PartCount("ten folds", sum(_sizes(scan).values()), fddb.OFFICIAL)], scan


def _count_widerface(root: Path) -> tuple[list[PartCount], SceneScan]:
    scan = widerface.scan_widerface_scenes(
        root, _there(widerface.PARTS, lambda part: widerface.images_folder(root, part))
    )
    sizes = _sizes(scan)
    parts = [PartCount(part, sizes[part], widerface.OFFICIAL[part]) for part in widerface.PARTS]
    for subset, published in widerface.OFFICIAL.items():
        faces = 0
        if widerface.subset_path(root, subset).is_file():
            try:
                pictures = widerface.read_subset(root, subset)
                faces = sum(int(picture.counted.sum()) for picture in pictures)
            except DataError as error:
                path = widerface.subset_path(root, subset)
                scan.problems.append(Problem("damaged label", path.name, str(error)))
        parts.append(PartCount(subset, faces, published, within="val"))
    return parts, scan


SCENE_COUNTS: dict[str, _Count] = {
    "facemask": _count_facemask,
    "fddb": _count_fddb,
    "widerface": _count_widerface,
}
"""Sets that are checked as scenes -> how their parts are counted."""


def check_scenes(scenes: Sequence[Scene], found: Findings, progress: Progress) -> int:
    """Open each picture once, look at the boxes on it, and give the number of pictures."""
    for done, scene in enumerate(scenes, start=1):
        image = found.open(scene.path, scene.key)
        if image is not None:
            found.problems.extend(_wrong_boxes(scene, image))
        found.problems.extend(_same_box(scene))
        progress(done, len(scenes))
    return len(scenes)


def _there(parts: Iterable[_Part], path: Callable[[_Part], Path]) -> list[_Part]:
    """The parts whose list or folder is there; all where none is, so that reading says what lacks."""
    return [part for part in parts if path(part).exists()] or list(parts)


def _sizes(scan: SceneScan) -> Counter[str]:
    sizes: Counter[str] = Counter()
    for scene in scan.scenes:
        sizes[scene.subset] += len(scene.boxes)
    return sizes


def _wrong_boxes(scene: Scene, image: Image) -> Iterator[Problem]:
    """Boxes whose centre is not in the picture; ignored ones may be anything."""
    height, width = image.shape[:2]
    centres = (scene.boxes[:, :2] + scene.boxes[:, 2:]) / 2
    outside = ((centres < 0) | (centres > (width, height))).any(axis=1) & ~scene.ignored
    for index in np.flatnonzero(outside):
        x1, y1, x2, y2 = scene.boxes[index].tolist()
        box = f"({x1:.1f}, {y1:.1f}, {x2:.1f}, {y2:.1f})"
        yield Problem(
            "box outside", scene.key, f"the centre of the box {box} lies outside the {width}x{height} picture"
        )


def _same_box(scene: Scene) -> Iterator[Problem]:
    boxes = scene.boxes[~scene.ignored]
    overlap = box_iou(boxes, boxes)
    for a, b in np.argwhere(np.triu(overlap, 1) >= SAME_BOX).tolist():
        x1, y1, x2, y2 = boxes[b].tolist()
        box = f"({x1:.1f}, {y1:.1f}, {x2:.1f}, {y2:.1f})"
        yield Problem("duplicate face", scene.key, f"the box {box} is there twice (overlap {overlap[a, b]:.2f})")
