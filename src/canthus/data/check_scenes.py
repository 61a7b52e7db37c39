"""Check a set of scenes on disk: pictures whose faces have boxes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from canthus.data import facemask, fddb, widerface, widerface_subsets
from canthus.data.problems import Problem, SceneScan
from canthus.data.report import Findings, PartCount, Progress
from canthus.errors import DataError
from canthus.geometry import box_iou
from canthus.types import Image, Scene

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
    for subset, published in widerface_subsets.OFFICIAL.items():
        faces = 0
        if widerface_subsets.subset_path(root, subset).is_file():
            try:
                pictures = widerface_subsets.read_subset(root, subset)
                faces = sum(int(picture.counted.sum()) for picture in pictures)
            except DataError as error:
                path = widerface_subsets.subset_path(root, subset)
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
