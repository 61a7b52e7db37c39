"""Check datasets of landmarks and of face boxes, and find photos that are in a dataset twice."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha1
from itertools import combinations
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from canthus.data.datasets import Dataset, PartCount, Problem, Progress
from canthus.data.mean_faces import is_upside_down, likely_fault, mean_face, mean_of_faces, mirror_faults
from canthus.errors import ConfigError, ImageError
from canthus.geometry import Affine, box_iou, hull_box
from canthus.images import decode_image, warp
from canthus.schemes import CONVERSIONS, FIVE, Scheme, convert
from canthus.types import Annotation, Image, Scene, by_picture

SAME_FACE = 0.7
"""Overlap (IoU) from which two hulls of landmarks in one picture count as the same face."""
LEAST_FACES = 8
"""Faces from which their mean serves for a scheme that has no mean face."""
SAME_BOX = 0.9
"""Overlap (IoU) from which two labelled boxes in one picture count as the same face."""

_Marked = tuple[Annotation, Float32[np.ndarray, " d"]]


@final
@dataclass(frozen=True)
class Report:
    """Result of a check.

    Attributes:
        parts: number of faces in each part; an incomplete part is no problem.
        pictures: number of pictures opened.
        problems: errors in the dataset.
        notes: remarks that are no problems.
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
        return sum(part.faces for part in self.parts if part.within is None)

    @property
    def clean(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as plain values for ``json.dump``."""
        parts = [{**asdict(part), "status": part.status} for part in self.parts]
        problems = [asdict(problem) for problem in self.problems]
        return {**asdict(self), "faces": self.faces, "clean": self.clean, "parts": parts, "problems": problems}


@final
@dataclass(frozen=True)
class Findings:
    """Problems and notes so far; ``seen`` maps the hash of a file or of its pixels to the first picture that has it."""

    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: dict[tuple[str, bytes], str] = field(default_factory=dict)

    def open(self, path: Path, key: str) -> Image | None:
        """Open a picture; None, and a problem, where it cannot be read or another file has the same bytes.

        A picture with the same pixels as another, but other bytes, is a problem and is returned.
        """
        try:
            data = path.read_bytes()
            image = decode_image(data, name=key)
        except (OSError, ImageError) as error:
            message = error.strerror if isinstance(error, OSError) else str(error).removeprefix(f"{key}: ")
            self.problems.append(Problem("unreadable picture", key, message or "cannot be read"))
            return None
        if self._seen_before("file", data, key):
            return None
        self._seen_before("pixels", image.tobytes() + bytes(str(image.shape), "ascii"), key)
        return image

    def _seen_before(self, what: str, data: bytes, key: str) -> bool:
        first = self.seen.setdefault((what, sha1(data, usedforsecurity=False).digest()), key)
        if first == key:
            return False
        held = "bytes" if what == "file" else what
        self.problems.append(Problem(f"duplicate {what}", key, f"holds the same {held} as {first}"))
        return True


def check(
    dataset: Dataset, root: str | os.PathLike[str], *, scheme: str | Scheme | None, progress: Progress | None
) -> Report:
    """Read every label and open every picture of a dataset; see ``canthus.data.check_dataset``."""
    if scheme is not None and (dataset.scheme is not None or dataset.scan_faces is None):
        raise ConfigError(f"{dataset.name} has a scheme of its own; leave out the scheme {scheme}")
    scan, parts = dataset.scan(Path(root), scheme=scheme)
    found = Findings(list(scan.problems), list(scan.notes))
    own = _own_mean(scan.items)
    if own is not None and (wrong := mirror_faults(own, scan.items[0].scheme)):
        found.problems.append(
            Problem(
                "wrong mirror order",
                scan.items[0].scheme.name,
                f"in the mean of the labelled faces, the points {', '.join(map(str, wrong))} are far from their mirror "
                "images; 'canthus schemes new' proposes an order, 'canthus schemes draw' shows it",
            )
        )
    pictures = _check_pictures(scan.items, found, progress or (lambda done, total: None), own)
    return Report(dataset.name, os.fspath(root), tuple(parts), pictures, tuple(found.problems), tuple(found.notes))


def _own_mean(items: Sequence[Annotation | Scene]) -> Float64[np.ndarray, "k 2"] | None:
    """The mean of the labelled faces of a scheme without mean face; None if there are too few."""
    faces = [item for item in items if isinstance(item, Annotation)]
    if len(faces) < LEAST_FACES or mean_face(faces[0].scheme.name) is not None:
        return None
    return mean_of_faces(np.stack([face.points for face in faces]))


def _check_pictures(
    items: Sequence[Annotation | Scene],
    found: Findings,
    progress: Progress,
    mean: Float64[np.ndarray, "k 2"] | None,
) -> int:
    """Open each picture once, look at its faces or boxes, and return the number of pictures."""
    of_picture = by_picture(sorted(items, key=lambda item: item.path))
    marked: list[_Marked] = []
    for done, (path, here) in enumerate(of_picture.items(), start=1):
        faces = [item for item in here if isinstance(item, Annotation)]
        scenes = [item for item in here if isinstance(item, Scene)]
        image = found.open(path, faces[0].key.partition("#")[0] if faces else scenes[0].key)
        if image is not None:
            found.problems.extend(problem for face in faces for problem in _wrong_points(face, image, mean))
            found.notes.extend(note for face in faces for note in _upside_down(face, mean))
            found.problems.extend(problem for scene in scenes for problem in _wrong_boxes(scene, image))
            marked += [(face, mark) for face in faces if (mark := signature(image, face)) is not None]
        found.problems.extend(_same_face(faces))
        found.problems.extend(problem for scene in scenes for problem in _same_box(scene))
        progress(done, len(of_picture))
    found.notes.extend(_copies(marked))
    return len(of_picture)


def _wrong_points(face: Annotation, image: Image, mean: Float64[np.ndarray, "k 2"] | None) -> Iterator[Problem]:
    """Problems of points outside the picture and of faces without size."""
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
    elif fault := likely_fault(face.points, face.scheme, mean):
        yield Problem("unlike a face", face.key, fault)


def _upside_down(face: Annotation, mean: Float64[np.ndarray, "k 2"] | None) -> Iterator[str]:
    if is_upside_down(face.points, face.scheme, mean):
        yield f"{face.key}: the face is upside down; was the picture turned after it was labelled?"


def _same_face(faces: Sequence[Annotation]) -> Iterator[Problem]:
    hulls = {face.key: hull_box(face.points)[None] for face in faces}
    for a, b in combinations(faces, 2):
        overlap = float(box_iou(hulls[a.key], hulls[b.key])[0, 0])
        if overlap >= SAME_FACE:
            yield Problem("duplicate face", b.key, f"labels the same face as {a.key} (overlap {overlap:.2f})")


def _copies(marked: Sequence[_Marked]) -> Iterator[str]:
    """Notes on copies that a split may put on both sides."""
    if not marked:
        return
    faces = [face for face, _ in marked]
    for i, j in alike(np.stack([mark for _, mark in marked])):
        if faces[i].group != faces[j].group:
            yield f"{faces[j].key}: looks like a copy of {faces[i].key}; a split by group may divide the two"


SIDE = 64
ALIKE = 0.9
"""Correlation from which two aligned faces count as copies.

In the training pictures of 300-W, pairs above 0.83 are copies of one photograph in all cases but two (faces in the
same pose, looked at one by one); 0.9 leaves a margin.
"""

_FIVE_AT = np.array([[0.31, 0.37], [0.69, 0.37], [0.5, 0.59], [0.36, 0.72], [0.64, 0.72]]) * SIDE
_ROWS = 512


def signature(image: Image, face: Annotation) -> Float32[np.ndarray, " d"] | None:
    """The upright face in grey, without slow changes of light, as a vector of length one.

    Returns:
        None where eyes, nose or mouth have no points, the scheme does not convert to ``five``, or the face is one flat
        colour.
    """
    if face.scheme.name != FIVE.name and (face.scheme.name, FIVE.name) not in CONVERSIONS:
        return None
    five = convert(face.points, face.scheme, FIVE).astype(np.float64)
    if np.isnan(five).any():
        return None
    # Rotation, scale and shift by least squares, with points as complex numbers.
    middle, target = five.mean(axis=0), _FIVE_AT.mean(axis=0)
    a, b = (five - middle) @ np.array([1, 1j]), (_FIVE_AT - target) @ np.array([1, 1j])
    size = float((abs(a) ** 2).sum())
    if size < 1:
        return None
    turn = complex((a.conj() * b).sum() / size)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    upright = Affine(np.hstack([linear, (target - linear @ middle)[:, None]]))
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


def _wrong_boxes(scene: Scene, image: Image) -> Iterator[Problem]:
    """Boxes whose centre is not in the picture; ignored ones may be anything."""
    height, width = image.shape[:2]
    centres = (scene.boxes[:, :2] + scene.boxes[:, 2:]) / 2
    outside = ((centres < 0) | (centres > (width, height))).any(axis=1) & ~scene.ignored
    for index in np.flatnonzero(outside):
        text = f"the centre of the box {_box_text(scene.boxes[index])} lies outside the {width}x{height} picture"
        yield Problem("box outside", scene.key, text)


def _same_box(scene: Scene) -> Iterator[Problem]:
    boxes = scene.boxes[~scene.ignored]
    overlap = box_iou(boxes, boxes)
    for a, b in np.argwhere(np.triu(overlap, 1) >= SAME_BOX).tolist():
        text = f"the box {_box_text(boxes[b])} is there twice (overlap {overlap[a, b]:.2f})"
        yield Problem("duplicate face", scene.key, text)


def _box_text(box: Float32[np.ndarray, " 4"]) -> str:
    return f"({', '.join(f'{side:.1f}' for side in box.tolist())})"
