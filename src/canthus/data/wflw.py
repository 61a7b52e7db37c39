"""WFLW: 98 points and six yes/no attributes a face, in the official lists.

Layout: the lists ``list_98pt_rect_attr_train.txt`` and ``list_98pt_rect_attr_test.txt`` in
``WFLW_annotations/list_98pt_rect_attr_train_test/`` beside the pictures in ``WFLW_images/``.  A line has 207 fields:
196 coordinates counted from zero, the rectangle x1 y1 x2 y2, pose, expression, illumination, make-up, occlusion, blur,
and the path of the picture.  Several faces of one picture are several lines.
Wu et al. (2018), "Look at Boundary: A Boundary-Aware Face Alignment Algorithm".
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from canthus.data.datasets import Dataset
from canthus.data.problems import DAMAGED, Problem, Scan, readable
from canthus.data.splits import split_by_group
from canthus.errors import DataError
from canthus.geometry import hull_box
from canthus.lookup import lookup
from canthus.schemes import WFLW_98
from canthus.types import Annotation

IMAGES = "WFLW_images"
LISTS = {"train": "list_98pt_rect_attr_train.txt", "test": "list_98pt_rect_attr_test.txt"}
OFFICIAL = {"train": 7500, "test": 2500}

ATTRIBUTES = ("pose", "expression", "illumination", "makeup", "occlusion", "blur")
"""In the order of the fields of a line; each is 1 where it applies."""

SPLITS: dict[str, str] = {
    "train": "train",
    "test": "test",
    "fit": "train",
    "validation": "train",
    **dict.fromkeys(ATTRIBUTES, "test"),
}
"""Split -> list: the two lists, ``fit``/``validation`` = ``train`` divided 9 to 1 by picture, and the test subsets."""

FIELDS = 207
_POINTS = 2 * WFLW_98.count
_RECT = 4


def read_wflw(root: Path, split: str) -> list[Annotation]:
    """Read one split, sorted by key.

    The box of a face is the hull of its points, as everywhere; the rectangle of the line is checked and left.

    Raises:
        ConfigError: unknown split.
        DataError: the list is not there, a line has not 207 fields, or a picture is missing.
    """
    part = lookup(SPLITS, split, kind="split of wflw")
    faces = readable(scan_wflw(root, (part,)), name="wflw", root=root)
    if split in ("fit", "validation"):
        fit, validation = split_by_group(faces)
        return fit if split == "fit" else validation
    return [face for face in faces if split in LISTS or face.attributes[split]]


def list_path(root: Path, part: str) -> Path:
    """Where the list of a part lies: in its official folder, or moved up to one of the folders above."""
    places = [root / "WFLW_annotations" / _FOLDER, root / _FOLDER, root / "WFLW_annotations", root]
    found = [place / LISTS[part] for place in places if (place / LISTS[part]).is_file()]
    return found[0] if found else places[0] / LISTS[part]


def scan_wflw(root: Path, parts: Iterable[str] = tuple(LISTS)) -> Scan:
    """Every face of some lists, and every line that is no face.

    Raises:
        DataError: a list is not there.
    """
    faces: list[Annotation] = []
    problems: list[Problem] = []
    for part in parts:
        path = list_path(root, part)
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); expected the official list of WFLW below {root}"
            ) from error
        times: Counter[str] = Counter()
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path.name}:{number}"
            # A path may hold spaces, so the fields before it are counted off.
            fields = line.strip().split(maxsplit=FIELDS - 1)
            try:
                face = _annotation(root / IMAGES, fields, part, times)
            except DataError as error:
                problems.append(Problem(DAMAGED, where, str(error)))
                continue
            if face.path.is_file():
                faces.append(face)
            else:
                problems.append(Problem("points without picture", where, f"{IMAGES}/{fields[-1]} is not there"))
    return Scan(sorted(faces, key=lambda face: face.key), problems)


def _annotation(images: Path, fields: Sequence[str], part: str, times: Counter[str]) -> Annotation:
    if len(fields) != FIELDS:
        raise DataError(
            f"expected {FIELDS} fields, found {len(fields)}; is this the list with rectangles and attributes "
            f"({LISTS[part]})?"
        )
    try:
        numbers = np.array(fields[: _POINTS + _RECT], np.float64)
    except ValueError as error:
        raise DataError(f"expected {_POINTS + _RECT} numbers first: {error}") from error
    if not np.isfinite(numbers).all():
        raise DataError("expected finite numbers, found inf or nan")
    flags = fields[_POINTS + _RECT : -1]
    if any(flag not in ("0", "1") for flag in flags):
        raise DataError(f"expected six attributes of 0 or 1, found {' '.join(flags)}")
    name = fields[-1]
    points = numbers[:_POINTS].reshape(-1, 2).astype(np.float32)
    times[name] += 1
    return Annotation(
        key=f"{part}/{name}" if times[name] == 1 else f"{part}/{name}#{times[name]}",
        path=images / name,
        points=points,
        scheme=WFLW_98,
        box=hull_box(points),
        visible=np.ones(len(points), np.bool_),
        group=name,
        subset=part,
        attributes={attribute: flag == "1" for attribute, flag in zip(ATTRIBUTES, flags, strict=True)},
    )


_FOLDER = "list_98pt_rect_attr_train_test"


DATASET = Dataset(
    splits=tuple(SPLITS),
    faces=lambda root, split, _: read_wflw(root, split),
    faces_as_scenes=True,
    scheme=WFLW_98.name,
    default_scene_split="test",
)
