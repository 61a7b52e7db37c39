"""Fit ``HABIT`` and ``NOSE`` in the files of wild21 and facemask, which convert boxes of these sets to face boxes.

Run:    python benchmarks/fit_box_habits.py wild21 path/to/wild21
        python benchmarks/fit_box_habits.py facemask path/to/facemask
        python benchmarks/fit_box_habits.py 300w path/to/300w
Prints: the habit (medians), the remaining offsets, and for wild21 how they follow the turn of the head, as lines (least
squares) against how far the nose is off the middle of eyes and mouth, and the origin of its coordinates.

Neither dataset has 68 points, so the embedded landmark model finds them: it crops the face by the box, then by the hull
of its own points, four times in all, and the last hull is the face box.  A face counts if its box is at least 60 px
large.  In wild21 the five labelled points must also lie within 6 % of the box (square root of the area, mean of the
five) of the predicted points; in facemask the face must wear no mask, and the last pass must move no side of the hull
by more than 4 %.  There are three rounds, each starting from the habit of the round before, so the start does not
matter.  For ``300w`` (validation), whose boxes are hulls, the habit is the bias of the model.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32

from canthus.data import wild21
from canthus.data.datasets import boxes_scene
from canthus.data.scenes import load_scenes
from canthus.geometry import Affine, BoxHabit, box_size, hull_box
from canthus.images import read_image
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.sessions import LandmarkSession
from canthus.schemes import FIVE, WILD_21, convert
from canthus.types import Image, Scene

LEAST_SIDE = 60
PASSES = 4
ROUNDS = 3
MOST_AWAY = 0.06
MOST_MOVED = 0.04

SPLITS = {"facemask": "all", "300w": "validation"}


@dataclass(frozen=True)
class Measured:
    """Faces large enough, with what the model says of them."""

    boxes: Float32[np.ndarray, "n 4"]
    hulls: Float32[np.ndarray, "n 4"]
    settled: Bool[np.ndarray, " n"]
    truth: Float32[np.ndarray, "n 5 2"]
    five: Float32[np.ndarray, "n 5 2"]
    mirrored_five: Float32[np.ndarray, "n 5 2"]

    def agree(self) -> Bool[np.ndarray, " n"]:
        """Whether model and labels mean the same face in the same place."""
        side = np.sqrt(box_size(self.boxes).prod(axis=1))
        away = np.linalg.norm(self.five - self.truth, axis=2).mean(axis=1) / side
        return np.where(np.isnan(away), self.settled, away < MOST_AWAY)


def own_scenes(name: str, root: Path) -> list[Scene]:
    """Pictures with the boxes of the set itself; those of wild21 have one face each."""
    if name in SPLITS:
        return load_scenes(name, root, SPLITS[name])
    return [
        boxes_scene(
            face.picture, root / face.picture, face.box[None], BoxHabit(), group=face.picture,
            points=convert(face.points[None], WILD_21, FIVE),
        )
        for face in wild21.read_faces(root, wild21.PARTS)[0]
    ]  # fmt: skip


def measure(scenes: Sequence[Scene], session: LandmarkSession, habit: BoxHabit) -> Measured:
    """Run the model on every face that is large enough and, where the set says so, wears no mask."""
    rows = []
    for scene in scenes:
        wanted = (box_size(scene.boxes).min(axis=1) >= LEAST_SIDE) & [
            label in ("", "without_mask") for label in scene.labels
        ]
        if wanted.any():
            rows.append(_of_scene(read_image(scene.path), scene.boxes[wanted], scene.points[wanted], session, habit))
    return Measured(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def _of_scene(
    image: Image,
    boxes: Float32[np.ndarray, "n 4"],
    truth: Float32[np.ndarray, "n 5 2"],
    session: LandmarkSession,
    habit: BoxHabit,
) -> tuple[Float[np.ndarray, "n ..."] | Bool[np.ndarray, " n"], ...]:
    """Columns of ``Measured`` for one picture."""
    starts = habit.face_boxes(boxes)
    before = hull_box(Landmarker(session, passes=PASSES - 1)(image, starts).points)
    last = Landmarker(session)(image, before)
    hulls = hull_box(last.points)
    settled = np.abs(hulls - before).max(axis=1) < MOST_MOVED * box_size(hulls).max(axis=1)
    # The same on the mirrored picture, mirrored back: what the model does to one side it does here to the other.
    width = image.shape[1]
    mirrored_starts = np.stack([width - starts[:, 2], starts[:, 1], width - starts[:, 0], starts[:, 3]], axis=1)
    mirrored = Landmarker(session, passes=PASSES)(np.ascontiguousarray(image[:, ::-1]), mirrored_starts)
    back = Affine.flip(width).apply(mirrored.convert(FIVE).points)[:, list(FIVE.mirror)]
    return boxes, hulls, settled, truth, last.convert(FIVE).points, back


def sigma(values: Float[np.ndarray, " n"]) -> float:
    """Standard deviation by the median absolute deviation: 1.4826 MAD."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def shifts_and_sizes(found: Measured) -> tuple[Float32[np.ndarray, "n 2"], Float32[np.ndarray, "n 2"]]:
    """Centres and sizes of the hulls, in widths and heights of the boxes."""
    used = found.agree()
    boxes, hulls = found.boxes[used], found.hulls[used]
    side = box_size(boxes)
    middles = (hulls[:, :2] + hulls[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
    return middles / side, box_size(hulls) / side


def print_turn(found: Measured, shifts: Float32[np.ndarray, "n 2"]) -> None:
    """Lines of the shifts against the offset of the nose, and what remains."""
    used = found.agree()
    noses = wild21.nose_offset(found.boxes[used], found.truth[used])
    for axis, name in enumerate("xy"):
        slope, offset = np.polyfit(noses[:, axis], shifts[:, axis], 1)
        rest = shifts[:, axis] - offset - slope * noses[:, axis]
        print(f"centre in {name}: {offset:+.3f} {slope:+.3f} x offset of the nose; sigma {sigma(rest):.3f}")


def print_origin(found: Measured) -> None:
    """Labels minus model: what does not grow with the face is a shift of the origin."""
    used = found.agree()
    between = (found.five[used] + found.mirrored_five[used]) / 2
    shift = (found.truth[used] - between).mean(axis=1)
    side = np.sqrt(box_size(found.boxes[used]).prod(axis=1))
    for axis, name in enumerate("xy"):
        slope, offset = np.polyfit(side, shift[:, axis], 1)
        print(
            f"labels minus model in {name}: median {np.median(shift[:, axis]):+.2f} px, sigma "
            f"{sigma(shift[:, axis]):.2f} px; as a line {offset:+.2f} px {slope:+.4f} x side"
        )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("wild21", *SPLITS))
    parser.add_argument("root", type=Path, help="folder of the set")
    arguments = parser.parse_args()
    scenes = own_scenes(arguments.name, arguments.root)
    session = LandmarkSession.open("default")
    habit = BoxHabit()
    for _ in range(ROUNDS):
        found = measure(scenes, session, habit)
        shifts, sizes = shifts_and_sizes(found)
        (x, y), (w, h) = (np.median(values, axis=0).tolist() for values in (shifts, sizes))
        habit = BoxHabit(centre=(x, y), size=(w, h))
        print(
            f"BoxHabit(centre=({x:.3f}, {y:.3f}), size=({w:.3f}, {h:.3f}))  "
            f"from {len(shifts)} of {len(found.boxes)} faces of {LEAST_SIDE} px and more; sigma of the centre "
            f"{sigma(shifts[:, 0]):.3f}, {sigma(shifts[:, 1]):.3f}, of the size "
            f"{sigma(sizes[:, 0]):.3f}, {sigma(sizes[:, 1]):.3f}"
        )
    if arguments.name == "wild21":
        print_turn(found, shifts)
        print_origin(found)


if __name__ == "__main__":
    main()
