"""Face mask pictures: street photos with a box and one of three labels a face, as VOC xml.

Layout: ``images/`` with the pictures, ``annotations/`` with an xml of the same stem each, and the lists ``train.txt``,
``validate.txt`` and ``test.txt`` with one name of a picture a line.

Some small faces in the background have no box, so a few of the "false" boxes counted on this set are faces.  Two
pictures are both in the training and in the test list, under different names.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from canthus.data.datasets import NO_SCENE, Dataset, Problem, Scan, boxes_scene, damaged
from canthus.data.formats import numbered_lines
from canthus.data.xml_files import Element, xml_elements
from canthus.errors import DataError
from canthus.geometry import BoxHabit
from canthus.types import Scene

LABELS = ("with_mask", "without_mask", "mask_weared_incorrect")
"""Labels of the faces."""

LISTS = {"train": "train.txt", "validation": "validate.txt", "test": "test.txt"}

HABIT = BoxHabit(centre=(-0.005, 0.004), size=(1.025, 0.889))
"""Medians over 64 faces of 60 px and more without mask; sigma of the centre 0.023 and 0.034 in widths and heights of
the box, of the size 0.039 and 0.089 (``benchmarks/fit_box_habits.py``)."""


def _scan_scenes(root: Path, parts: Sequence[str]) -> Scan[Scene]:
    """Read every picture of some lists with its faces."""
    scenes: list[Scene] = []
    problems: list[Problem] = []
    for part in parts:
        for where, name in numbered_lines(root / LISTS[part], "it beside images/ and annotations/"):
            if not (root / "images" / name).is_file():
                problems.append(Problem(NO_SCENE, where, f"images/{name} is not there"))
                continue
            xml = root / "annotations" / f"{Path(name).stem}.xml"
            try:
                scenes.append(_scene(root, name, part, xml))
            except DataError as error:
                problems.append(damaged(xml, f"annotations/{xml.name}", error))
    return Scan(scenes, problems)


def _scene(root: Path, name: str, part: str, xml: Path) -> Scene:
    boxes, labels = [], []
    for number, face in enumerate(xml_elements(xml, ("object",)), start=1):
        label = face.text_of("name").strip()
        if label not in LABELS:
            raise DataError(f"{xml}: object {number} has the name {label!r}; expected one of {', '.join(LABELS)}")
        boxes.append(_box(face, f"{xml}: object {number}"))
        labels.append(label)
    key, rows = f"images/{name}", np.array(boxes, np.float32).reshape(-1, 4)
    return boxes_scene(key, root / key, rows, HABIT, group=name, subset=part, labels=tuple(labels))


def _box(face: Element, where: str) -> Float32[np.ndarray, " 4"]:
    """The box of an ``<object>``: VOC counts pixels from one and names the last pixel inside."""
    box = next((child for child in face.children if child.tag == "bndbox"), None)
    texts = [box.text_of(side) if box else "" for side in ("xmin", "ymin", "xmax", "ymax")]
    try:
        x1, y1, x2, y2 = (float(text) for text in texts)
    except ValueError as error:
        raise DataError(f"{where}: expected numbers xmin, ymin, xmax, ymax in its bndbox, found {texts}") from error
    if not (np.isfinite((x1, y1, x2, y2)).all() and x1 <= x2 and y1 <= y2):
        raise DataError(f"{where}: expected a bndbox with xmin <= xmax and ymin <= ymax, found {' '.join(texts)}")
    return np.array([x1 - 1, y1 - 1, x2, y2], np.float32)


DATASET = Dataset(
    name="facemask",
    parts={
        "train": ("train",),
        "fit": ("train",),
        "validation": ("validation",),
        "test": ("test",),
        "all": tuple(LISTS),
    },
    scan_scenes=_scan_scenes,
    published={"train": 3138, "validation": 492, "test": 442},
    is_there=lambda root, part: (root / LISTS[part]).is_file(),
    default_scene_split="test",
)
"""``fit`` is another name of ``train``, because ``validation`` has pictures of its own."""
