"""wild21: phone photos with face rectangles and 21 points, several faces a photo.

Layout: the folders ``I`` and ``II``, each with its pictures and a ``label.txt``.  A line is the name of a picture and
46 numbers: the rectangle x1 y1 x2 y2 and 21 pairs x y.  Several faces of one picture are several lines.  Rectangles
and points may reach beyond the picture.

Coordinates count from zero: 0.0 occurs, and over 1,205 faces and their mirrored pictures the points lie 0.28 px
(median) right of a model's; counted from one, they would lie a whole pixel of the unscaled picture to the right.  The
pictures were scaled down to about half with whole pixels of the original scaled along, which explains a quarter of a
pixel; the original sizes are not in the files, so it is left.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32

from canthus.data.datasets import Dataset
from canthus.data.problems import DAMAGED, Problem, Scan, SceneScan, readable, readable_scenes
from canthus.data.splits import split_by_group
from canthus.errors import DataError
from canthus.geometry import BoxHabit
from canthus.lookup import lookup
from canthus.schemes import FIVE, WILD_21, convert
from canthus.types import Annotation, Scene

PARTS = ("I", "II")
OFFICIAL = {"I": 1593, "II": 1193}
LABELS = "label.txt"

SPLITS: dict[str, tuple[str, ...]] = {
    "train": ("I",),
    "test": ("II",),
    "all": PARTS,
    "fit": ("I",),
    "validation": ("I",),
}
"""The two folders, ``all``, and ``fit``/``validation``: the pictures of ``I`` divided 9 to 1."""

HABIT = BoxHabit(centre=(-0.009, 0.009), size=(0.977, 0.973))
"""Medians over 1,205 faces of 60 px and more; sigma of the centre 0.083 and 0.038 in widths and heights of the
rectangle, of the size 0.085 and 0.076 (``benchmarks/fit_box_habits.py``).  Rectangles are squares about the features:
the hull of a face turned aside lies up to 0.2 widths off, towards the ear that is seen."""

FIELDS = 1 + 4 + 2 * WILD_21.count


@final
@dataclass(frozen=True)
class _Face:
    part: str
    name: str
    box: Float32[np.ndarray, " 4"]
    points: Float32[np.ndarray, "21 2"]

    @property
    def picture(self) -> str:
        return f"{self.part}/{self.name}"


def read_wild21(root: Path, split: str) -> list[Annotation]:
    """Faces of one split with their 21 points, sorted by key; the box is the face box that ``HABIT`` leads to.

    Raises:
        ConfigError: unknown split.
        DataError: a ``label.txt`` is not there, a line is damaged, or a picture is missing.
    """
    faces = readable(scan_wild21(root, lookup(SPLITS, split, kind="split of wild21")), name="wild21", root=root)
    if split in ("fit", "validation"):
        fit, validation = split_by_group(faces)
        return fit if split == "fit" else validation
    return faces


def read_wild21_scenes(root: Path, split: str) -> list[Scene]:
    """Pictures of one split with all their faces, sorted by key.

    Raises:
        ConfigError: unknown split.
        DataError: a ``label.txt`` is not there, a line is damaged, or a picture is missing.
    """
    scan = scan_wild21_scenes(root, lookup(SPLITS, split, kind="split of wild21"))
    scenes = readable_scenes(scan, name="wild21", root=root)
    if split in ("fit", "validation"):
        fit, validation = split_by_group(scenes)
        return fit if split == "fit" else validation
    return scenes


def scan_wild21(root: Path, parts: Iterable[str] = PARTS) -> Scan:
    """Every face of some parts, and every line that is no face.

    Raises:
        DataError: a ``label.txt`` is not there.
    """
    lines, problems = _lines(root, parts)
    times: Counter[str] = Counter()
    faces = []
    for line in lines:
        times[line.picture] += 1
        count = times[line.picture]
        faces.append(
            Annotation(
                key=line.picture if count == 1 else f"{line.picture}#{count}",
                path=root / line.part / line.name,
                points=line.points,
                scheme=WILD_21,
                box=HABIT.face_boxes(line.box),
                visible=np.ones(WILD_21.count, np.bool_),
                group=line.picture,
                subset=line.part,
            )
        )
    return Scan(sorted(faces, key=lambda face: face.key), problems)


def scan_wild21_scenes(root: Path, parts: Iterable[str] = PARTS) -> SceneScan:
    """Every picture of some parts with its faces, and every line that is no face.

    Raises:
        DataError: a ``label.txt`` is not there.
    """
    lines, problems = _lines(root, parts)
    by_picture: dict[str, list[_Face]] = {}
    for line in lines:
        by_picture.setdefault(line.picture, []).append(line)
    scenes = [_scene(root, faces) for _, faces in sorted(by_picture.items())]
    return SceneScan(scenes, problems)


def label_path(root: Path, part: str) -> Path:
    """Where the labels of a part lie."""
    return root / part / LABELS


def _scene(root: Path, faces: Sequence[_Face]) -> Scene:
    first = faces[0]
    return Scene(
        key=first.picture,
        path=root / first.part / first.name,
        boxes=np.stack([face.box for face in faces]),
        points=convert(np.stack([face.points for face in faces]), WILD_21, FIVE),
        ignored=np.zeros(len(faces), np.bool_),
        labels=("",) * len(faces),
        complete=True,
        habit=HABIT,
        group=first.picture,
        subset=first.part,
    )


def _lines(root: Path, parts: Iterable[str]) -> tuple[list[_Face], list[Problem]]:
    """Every line of the label files as a face or as a problem."""
    faces: list[_Face] = []
    problems: list[Problem] = []
    for part in parts:
        path = label_path(root, part)
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); expected {part}/{LABELS} of wild21 below {root}"
            ) from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{part}/{LABELS}:{number}"
            try:
                face = _face(part, line.split())
            except DataError as error:
                problems.append(Problem(DAMAGED, where, str(error)))
                continue
            if (root / face.picture).is_file():
                faces.append(face)
            else:
                problems.append(Problem("points without picture", where, f"{face.picture} is not there"))
    return faces, problems


def _face(part: str, fields: Sequence[str]) -> _Face:
    if len(fields) != FIELDS:
        raise DataError(f"expected {FIELDS} fields (name, rectangle, 21 pairs x y), found {len(fields)}")
    try:
        numbers = np.array(fields[1:], np.float32)
    except ValueError as error:
        raise DataError(f"expected numbers after the name: {error}") from error
    if not np.isfinite(numbers).all():
        raise DataError("expected finite numbers, found inf or nan")
    x1, y1, x2, y2 = (float(value) for value in numbers[:4])
    if not (x1 < x2 and y1 < y2):
        raise DataError(f"expected a rectangle x1 y1 x2 y2 with x1 < x2 and y1 < y2, found {' '.join(fields[1:5])}")
    return _Face(part, fields[0], numbers[:4], numbers[4:].reshape(-1, 2))


DATASET = Dataset(
    splits=tuple(SPLITS),
    faces=lambda root, split, _: read_wild21(root, split),
    scenes=read_wild21_scenes,
    scheme=WILD_21.name,
    default_scene_split="test",
)
