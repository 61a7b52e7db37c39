"""The pictures in which a detector errs most on one sheet, with everything found and missed drawn in."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from canthus.evaluation.detection import FALSE, HIT
from canthus.evaluation.detection_report import DetectorReport
from canthus.images import read_image
from canthus.types import Image

HIT_COLOR, FALSE_COLOR, MISSED_COLOR, NEUTRAL_COLOR = (60, 220, 90), (255, 60, 50), (255, 200, 0), (170, 170, 185)
_PAPER, _INK = (245, 245, 245), (30, 30, 30)
_CAPTION = 38
_LEGEND = 28, 420
"""Height, and least width."""
_CLEAR_SIZE = 32.0
"""A missed face of this size or more counts in full, a smaller one in proportion."""


def picture_faults(report: DetectorReport) -> Float64[np.ndarray, " p"]:
    """How wrong each picture is at the usual score: scores of its false finds, and its missed faces.

    A missed face counts 1 from 32 pixels of size, below in proportion, so that crowds of tiny faces do not fill the
    sheet.  Finds in pictures with incomplete labels are not held to be false.
    """
    finds, truths = report.rows.finds, report.rows.truths
    false = (finds.verdicts == FALSE) & (finds.scores >= report.usual_score) & report.rows.complete[finds.pictures]
    missed = ~truths.ignored & ~(truths.scores >= report.usual_score)
    count = len(report.rows.keys)
    costs = np.minimum(truths.sizes[missed] / _CLEAR_SIZE, 1)
    return np.asarray(
        np.bincount(finds.pictures[false], weights=finds.scores[false], minlength=count)
        + np.bincount(truths.pictures[missed], weights=costs, minlength=count),
        np.float64,
    )


def worst_pictures_sheet(report: DetectorReport, *, count: int, columns: int = 3, tile: int = 400) -> Image:
    """A contact sheet of the ``count`` pictures with the largest ``picture_faults``, worst first.

    Args:
        report: of one detector.
        count: how many to show, at least one; pictures without fault are left out.
        columns: tiles side by side.
        tile: longer side of each picture in pixels.

    Returns:
        The sheet; only a legend where nothing is wrong.

    Raises:
        ImageError: a picture cannot be read.
        ValueError: a count below one.
    """
    if count < 1:
        raise ValueError(f"A sheet needs at least one picture, found count={count}")
    faults = picture_faults(report)
    chosen = [int(number) for number in np.argsort(-faults, kind="stable")[:count] if faults[number] > 0]
    tiles = [_tile(report, number, tile) for number in chosen]
    columns = max(1, min(columns, len(tiles)))
    width = max(columns * tile, _LEGEND[1])
    lines = [_line(tiles[start : start + columns], width) for start in range(0, len(tiles), columns)]
    return np.vstack([_legend(width), *lines])


def _line(tiles: Sequence[np.ndarray], width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Tiles side by side, as high as the highest, on paper of a given width."""
    paper = np.full((max(len(tile) for tile in tiles), width, 3), _PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        left = number * tile.shape[1]
        paper[: len(tile), left : left + tile.shape[1]] = tile
    return paper


def _tile(report: DetectorReport, number: int, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """One whole picture, shrunk or enlarged to the tile, with boxes in the habit of the set."""
    scene = report.scenes[number]
    image = read_image(scene.path)
    scale = side / max(image.shape[:2])
    sides = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    paper = np.full((sides[1] + _CAPTION, side, 3), _PAPER, np.uint8)
    paper[: sides[1], : sides[0]] = cv2.resize(image, sides, interpolation=way)
    finds, truths = report.rows.finds, report.rows.truths
    here = np.flatnonzero((finds.pictures == number) & (finds.scores >= report.usual_score))
    there = np.flatnonzero(truths.pictures == number)
    false = 0
    for index in here[::-1]:
        surely = finds.verdicts[index] == FALSE and scene.complete
        color = HIT_COLOR if finds.verdicts[index] == HIT else FALSE_COLOR if surely else NEUTRAL_COLOR
        _frame(paper, scale * scene.habit.own_boxes(finds.boxes[index]), color)
        false += bool(surely)
    missed = 0
    for row, box in zip(there, scene.boxes, strict=True):
        found = truths.scores[row] >= report.usual_score
        if not found:
            _frame(paper, scale * box, NEUTRAL_COLOR if truths.ignored[row] else MISSED_COLOR)
            missed += not truths.ignored[row]
    _write(paper, f"{missed} of {int((~scene.ignored).sum())} missed, {false} false", sides[1] + 15)
    _write(paper, _shortened(scene.key, side), sides[1] + 31)
    paper[:, -3:] = _PAPER
    return paper


def _frame(picture: Image, box: Float[np.ndarray, " 4"], color: tuple[int, int, int]) -> None:
    x1, y1, x2, y2 = (round(float(v)) for v in np.clip(box, -10_000, 10_000))
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), _INK, 3, cv2.LINE_AA)
    cv2.rectangle(picture, (x1, y1), (x2 - 1, y2 - 1), color, 2, cv2.LINE_AA)


def _write(picture: Image, text: str, y: int, x: int = 5) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)


def _shortened(text: str, width: int) -> str:
    """The end of a key in the plain letters that OpenCV can draw."""
    plain = text.encode("ascii", "replace").decode()
    room = max(4, (width - 10) // 9)
    return plain if len(plain) <= room else "..." + plain[-(room - 3) :]


def _legend(width: int) -> UInt8[np.ndarray, "h w 3"]:
    strip = np.full((_LEGEND[0], width, 3), _PAPER, np.uint8)
    x = 8
    named = (("found", HIT_COLOR), ("missed", MISSED_COLOR), ("false", FALSE_COLOR), ("not counted", NEUTRAL_COLOR))
    for text, color in named:
        cv2.rectangle(strip, (x, 8), (x + 12, 20), color, -1)
        _write(strip, text, 19, x + 18)
        x += 40 + 9 * len(text)
    return strip
