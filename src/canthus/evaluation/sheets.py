"""Contact sheets: the faces with the largest errors, and the pictures in which a detector makes the most mistakes."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from canthus.evaluation.detection import FALSE, HIT
from canthus.evaluation.detection_report import DetectorReport
from canthus.evaluation.predictions import Prediction
from canthus.evaluation.rows import FaceError, protocol_of, worst_faces
from canthus.geometry import box_size, crop_square, hull_box
from canthus.images import crop_image, read_image
from canthus.runtime.draw import Color
from canthus.types import Image

TRUTH_COLOR, PREDICTED_COLOR = (60, 230, 90), (255, 70, 60)
HIT_COLOR, FALSE_COLOR, MISSED_COLOR, NEUTRAL_COLOR = (60, 220, 90), (255, 60, 50), (255, 200, 0), (170, 170, 185)
_LINE_COLOR, _BOX_COLOR, _PAPER, _INK = (255, 220, 80), (90, 170, 255), (245, 245, 245), (30, 30, 30)
_LEGEND = 28, 420
"""Height, and smallest width."""
_FINE = 4
"""Fractional bits of coordinates in OpenCV's drawing calls: marks are placed to 1/16 pixel."""
_CLEAR_SIZE = 32.0
"""A missed face of this size or more has weight 1, a smaller one less in proportion."""


def worst_sheet(
    predictions: Sequence[Prediction], rows: Sequence[FaceError], *, count: int, columns: int = 4, tile: int = 300
) -> Image:
    """A contact sheet of the ``count`` worst faces or fewer, see ``worst_faces``.

    Truth is green and prediction red, with a line between the two places of each point; the blue frame is the box that
    the network was given.

    Args:
        tile: side of each tile in pixels, without its caption.

    Raises:
        ImageError: a picture cannot be read.
        ValueError: there are no faces, or the count is below one.
    """
    if count < 1 or not predictions:
        raise ValueError(f"A sheet needs at least one face, found count={count} of {len(predictions)} faces")
    tiles = [_face_tile(prediction, row, tile) for prediction, row in worst_faces(predictions, rows, count=count)]
    page = tile_rows(tiles, columns=min(columns, len(tiles)))
    colors = {"truth": TRUTH_COLOR, "predicted": PREDICTED_COLOR, "box": _BOX_COLOR}
    return np.vstack([color_legend(colors, page.shape[1]), page])


def _face_tile(prediction: Prediction, row: FaceError, size: int) -> Image:
    """A crop around the true points, wide enough to show prediction and box unless they are far off."""
    truth = prediction.truth
    hull = hull_box(truth.points)
    around = hull if box_size(hull).max() >= 1 else truth.box  # a single point has no hull
    picture, affine = crop_image(read_image(truth.path), crop_square(around, 1.5), size)
    points = affine.apply(truth.points)
    if prediction.found:
        predicted = affine.apply(prediction.points)
        corners = affine.apply(np.asarray(prediction.box, np.float32).reshape(2, 2) - 0.5)
        _frame(picture, corners, _BOX_COLOR, thickness=1)
        for a, b in zip(points, predicted, strict=True):
            if np.isfinite(a).all():
                cv2.line(picture, _fine(a), _fine(b), _LINE_COLOR, 1, cv2.LINE_AA, _FINE)
        draw_dots(picture, predicted, PREDICTED_COLOR)
    draw_dots(picture, points, TRUTH_COLOR)
    verdict = f"{100 * row.error:.1f} % {protocol_of(row.dataset, row.scale).short}" if row.found else "missed"
    note = "" if row.overlap > 0.999 else f", box overlap {row.overlap:.2f}"
    return picture_tile(picture, [verdict + note, _shortened(row.key, size)], width=size)


def picture_faults(report: DetectorReport) -> Float64[np.ndarray, " p"]:
    """Weight of the mistakes in each picture at the usual score: false detections and missed faces.

    A false detection weighs as much as its score; it is not counted in pictures with incomplete labels.  A missed face
    weighs 1 from 32 pixels of size and less in proportion below, so that crowds of tiny faces do not fill the sheet.
    """
    finds, truths = report.rows.finds, report.rows.truths
    false = (finds.verdicts == FALSE) & (finds.scores >= report.usual_score) & report.rows.complete[finds.pictures]
    missed = ~truths.ignored & ~(truths.scores >= report.usual_score)
    count = len(report.rows.keys)
    weights = np.minimum(truths.sizes[missed] / _CLEAR_SIZE, 1)
    return np.asarray(
        np.bincount(finds.pictures[false], weights=finds.scores[false], minlength=count)
        + np.bincount(truths.pictures[missed], weights=weights, minlength=count),
        np.float64,
    )


def worst_pictures_sheet(report: DetectorReport, *, count: int, columns: int = 3, tile: int = 400) -> Image:
    """A contact sheet of the ``count`` pictures with the largest ``picture_faults``, worst first.

    Args:
        count: number of pictures, at least one; pictures without mistakes are left out.
        tile: longer side of each picture in pixels.

    Returns:
        The sheet; only its legend if there are no mistakes.

    Raises:
        ImageError: a picture cannot be read.
        ValueError: the count is below one.
    """
    if count < 1:
        raise ValueError(f"A sheet needs at least one picture, found count={count}")
    faults = picture_faults(report)
    worst = np.argsort(-faults, kind="stable")[:count]
    tiles = [_scene_tile(report, int(number), tile) for number in worst if faults[number] > 0]
    columns = max(1, min(columns, len(tiles)))
    width = max(columns * tile, _LEGEND[1])
    colors = {"found": HIT_COLOR, "missed": MISSED_COLOR, "false": FALSE_COLOR, "not counted": NEUTRAL_COLOR}
    return np.vstack(
        [color_legend(colors, width), *([tile_rows(tiles, columns=columns, width=width)] if tiles else [])]
    )


def _scene_tile(report: DetectorReport, number: int, side: int) -> Image:
    """A whole picture, resized to the tile, with boxes by the convention of the dataset."""
    scene = report.scenes[number]
    image = read_image(scene.path)
    scale = side / max(image.shape[:2])
    width, height = (max(1, round(length * scale)) for length in image.shape[1::-1])
    picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    finds, truths = report.rows.finds, report.rows.truths
    false = missed = 0
    for index in np.flatnonzero((finds.pictures == number) & (finds.scores >= report.usual_score))[::-1]:
        wrong = finds.verdicts[index] == FALSE and scene.complete
        color = HIT_COLOR if finds.verdicts[index] == HIT else FALSE_COLOR if wrong else NEUTRAL_COLOR
        _frame(picture, scale * scene.habit.own_boxes(finds.boxes[index]).reshape(2, 2) - 0.5, color, thickness=2)
        false += bool(wrong)
    for row, box in zip(np.flatnonzero(truths.pictures == number), scene.boxes, strict=True):
        if not truths.scores[row] >= report.usual_score:
            color = NEUTRAL_COLOR if truths.ignored[row] else MISSED_COLOR
            _frame(picture, scale * box.reshape(2, 2) - 0.5, color, thickness=2)
            missed += not truths.ignored[row]
    verdict = f"{missed} of {int((~scene.ignored).sum())} missed, {false} false"
    return picture_tile(picture, [verdict, _shortened(scene.key, side)], width=side)


def picture_tile(
    picture: Image, lines: Sequence[str], *, width: int, text_scale: float = 0.42
) -> UInt8[np.ndarray, "height width 3"]:
    """A picture with lines of text below, on paper of a given width with a margin on the right."""
    paper = np.full((len(picture) + 18 * len(lines), width, 3), _PAPER, np.uint8)
    paper[: len(picture), : picture.shape[1]] = picture
    for number, line in enumerate(lines):
        _write(paper, line, 4, len(picture) + 13 + 17 * number, scale=text_scale)
    paper[:, -2:] = _PAPER
    return paper


def tile_rows(
    tiles: Sequence[UInt8[np.ndarray, "_ _ 3"]], *, columns: int, width: int = 0
) -> UInt8[np.ndarray, "height width 3"]:
    """Tiles of equal width in rows, each as high as its highest tile, on paper of at least the given width."""
    side = tiles[0].shape[1]
    rows = []
    for start in range(0, len(tiles), columns):
        row = tiles[start : start + columns]
        paper = np.full((max(map(len, row)), max(columns * side, width), 3), _PAPER, np.uint8)
        for number, tile in enumerate(row):
            paper[: len(tile), number * side : (number + 1) * side] = tile
        rows.append(paper)
    return np.vstack(rows)


def draw_dots(picture: Image, points: Float[np.ndarray, "k 2"], color: Color, *, radius: int = 2) -> None:
    """Draw a dot at each point that is known."""
    for point in points[np.isfinite(points).all(axis=1)]:
        cv2.circle(picture, _fine(point), radius << _FINE, color, -1, cv2.LINE_AA, _FINE)


def _frame(picture: Image, corners: Float[np.ndarray, "2 2"], color: Color, *, thickness: int) -> None:
    first, last = _fine(corners[0]), _fine(corners[1])
    if thickness > 1:
        cv2.rectangle(picture, first, last, _INK, thickness + 1, cv2.LINE_AA, _FINE)
    cv2.rectangle(picture, first, last, color, thickness, cv2.LINE_AA, _FINE)


def _fine(point: Float[np.ndarray, " 2"]) -> tuple[int, int]:
    # Predictions of a broken network may lie anywhere, but OpenCV's integers may not.
    x, y = np.clip(point, -10_000, 10_000) * (1 << _FINE)
    return round(float(x)), round(float(y))


def _write(picture: Image, text: str, x: int, y: int, *, scale: float = 0.42) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)


def _shortened(text: str, width: int) -> str:
    """The end of a key, where keys differ, in the plain letters that OpenCV can draw."""
    plain = text.encode("ascii", "replace").decode()
    room = max(4, (width - 10) // 8)
    return plain if len(plain) <= room else "..." + plain[-(room - 3) :]


def color_legend(colors: Mapping[str, Color], width: int) -> Image:
    """A strip of a width in pixels that names colours."""
    strip = np.full((_LEGEND[0], width, 3), _PAPER, np.uint8)
    x = 8
    for text, color in colors.items():
        cv2.rectangle(strip, (x, 8), (x + 12, 20), color, -1)
        _write(strip, text, x + 18, 19)
        x += 40 + 8 * len(text)
    return strip
