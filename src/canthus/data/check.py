"""Check a dataset on disk: is all of it there, can all of it be read, and does it say what it should?"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha1
from itertools import combinations
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Float32

from canthus.data import celeba_hq, cofw, folder, ibug_300w, wflw, ytf
from canthus.data.copies import alike, signature
from canthus.data.problems import Problem, Scan
from canthus.errors import ConfigError, DataError, ImageError
from canthus.geometry import box_iou, hull_box
from canthus.images import decode_image
from canthus.lookup import lookup
from canthus.types import Annotation, Image

SAME_FACE = 0.7
"""Overlap (IoU) of two labelled faces of one picture from which they are called the same face."""

Progress = Callable[[int, int], None]
"""Called with the number of pictures done and the number of all pictures."""

_Marked = tuple[Annotation, Float32[np.ndarray, " d"]]


@final
@dataclass(frozen=True)
class PartCount:
    """How much of one part of a dataset is there.

    Attributes:
        name: as the papers call the part.
        faces: labelled faces found.
        published: faces in the published set; None for a folder of one's own.
    """

    name: str
    faces: int
    published: int | None = None

    @property
    def status(self) -> str:
        """``complete``, ``partial``, ``absent``, ``larger`` than published, or ``counted`` where nothing is known."""
        if self.published is None:
            return "counted"
        if self.faces == self.published:
            return "complete"
        if self.faces == 0:
            return "absent"
        return "partial" if self.faces < self.published else "larger"


@final
@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        dataset: name of the dataset.
        root: where it lies.
        parts: what is there, part by part; a part that is not all there is no problem.
        pictures: number of pictures opened.
        problems: what is wrong.
        notes: what is worth knowing and not wrong.
    """

    dataset: str
    root: str
    parts: tuple[PartCount, ...]
    pictures: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    @property
    def faces(self) -> int:
        """Labelled faces found."""
        return sum(part.faces for part in self.parts)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as plain values for ``json.dump``."""
        parts = [{**asdict(part), "status": part.status} for part in self.parts]
        problems = [asdict(problem) for problem in self.problems]
        return {**asdict(self), "faces": self.faces, "clean": self.clean, "parts": parts, "problems": problems}


def check_dataset(
    name: str, root: str | os.PathLike[str], *, scheme: str | None = None, progress: Progress | None = None
) -> Report:
    """Read every label and open every picture of a dataset.

    Args:
        name: a key of ``DATASETS``.
        root: where it lies.
        scheme: name of the scheme of a ``folder``, where the number of points does not tell.
        progress: called after each picture.

    Raises:
        ConfigError: unknown dataset, or a scheme named for a set that has its own.
        DataError: ``root`` lacks the dataset's layout altogether.
    """
    count = lookup(_COUNTS, name, kind="dataset")
    if scheme is not None and name != "folder":
        raise ConfigError(f"{name} has a scheme of its own; leave out the scheme {scheme!r}")
    parts, scan = count(Path(root), scheme)
    found = _Findings(list(scan.problems), [])
    paths = sorted({face.path for face in scan.faces})
    _check_pictures(scan.faces, paths, found, progress or (lambda done, total: None))
    return Report(name, os.fspath(root), tuple(parts), len(paths), tuple(found.problems), tuple(found.notes))


@final
@dataclass(frozen=True)
class _Findings:
    problems: list[Problem]
    notes: list[str]


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


_COUNTS = {
    "300w": _count_300w,
    "ytf": _count_ytf,
    "wflw": _count_wflw,
    "cofw": _count_cofw,
    "celeba_hq": _count_celeba_hq,
    "folder": _count_folder,
}


def _check_pictures(faces: Sequence[Annotation], paths: Sequence[Path], found: _Findings, progress: Progress) -> None:
    """Open each picture once and look at the faces on it."""
    of_picture: dict[Path, list[Annotation]] = {path: [] for path in paths}
    for face in faces:
        of_picture[face.path].append(face)
    by_bytes: dict[bytes, str] = {}
    by_pixels: dict[bytes, str] = {}
    marked: list[_Marked] = []
    for done, path in enumerate(paths, start=1):
        here = of_picture[path]
        key = here[0].key.partition("#")[0]
        image = _open(path, key, by_bytes, found.problems)
        if image is not None:
            _seen_before(by_pixels, image.tobytes() + bytes(str(image.shape), "ascii"), key, "pixels", found.problems)
            found.problems.extend(problem for face in here for problem in _wrong_points(face, image))
            marked += [(face, mark) for face in here if (mark := signature(image, face)) is not None]
        found.problems.extend(_same_face(here))
        progress(done, len(paths))
    found.notes.extend(_copies(marked))


def _open(path: Path, key: str, by_bytes: dict[bytes, str], problems: list[Problem]) -> Image | None:
    """The picture, unless it cannot be read or its bytes were seen before."""
    try:
        data = path.read_bytes()
        image = decode_image(data, name=key)
    except (OSError, ImageError) as error:
        text = error.strerror or "cannot be read" if isinstance(error, OSError) else str(error).removeprefix(f"{key}: ")
        problems.append(Problem("unreadable picture", key, text))
        return None
    if _seen_before(by_bytes, data, key, "file", problems):
        return None
    return image


def _seen_before(known: dict[bytes, str], data: bytes, key: str, what: str, problems: list[Problem]) -> bool:
    first = known.setdefault(sha1(data, usedforsecurity=False).digest(), key)
    if first == key:
        return False
    problems.append(
        Problem(f"duplicate {what}", key, f"holds the same {'bytes' if what == 'file' else what} as {first}")
    )
    return True


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
