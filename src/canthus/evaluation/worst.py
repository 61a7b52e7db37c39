"""The faces with the largest errors on one sheet, truth and prediction drawn over each."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from canthus.evaluation.predictions import Prediction
from canthus.evaluation.rows import FaceError, protocol_of, worst_faces
from canthus.geometry import Affine, crop_square, hull_box
from canthus.images import crop_image, read_image
from canthus.types import Image

TRUTH_COLOR, PREDICTED_COLOR = (60, 230, 90), (255, 70, 60)
_LINE_COLOR, _BOX_COLOR, _PAPER, _INK = (255, 220, 80), (90, 170, 255), (245, 245, 245), (30, 30, 30)
_CAPTION = 36
_FINE = 4
"""Fractional bits of coordinates in OpenCV's drawing calls: marks are placed to 1/16 pixel."""


def worst_sheet(
    predictions: Sequence[Prediction], rows: Sequence[FaceError], *, count: int, columns: int = 4, tile: int = 300
) -> Image:
    """A contact sheet of the ``count`` worst faces, see ``worst_faces``.

    Truth is green, prediction red, joined point by point; a blue frame is the box that the network was given.

    Args:
        predictions: all faces of an evaluation.
        rows: their errors, in the same order.
        count: how many to show, at least one; fewer where there are fewer faces.
        columns: tiles side by side.
        tile: side of each tile in pixels, without its caption.

    Raises:
        ImageError: a picture cannot be read.
        ValueError: no faces, or a count below one.
    """
    if count < 1 or not predictions:
        raise ValueError(f"A sheet needs at least one face, found count={count} of {len(predictions)} faces")
    chosen = worst_faces(predictions, rows, count=count)
    tiles = [_tile(prediction, row, tile) for prediction, row in chosen]
    columns = min(columns, len(tiles))
    blank = np.full_like(tiles[0], _PAPER)
    tiles += [blank] * (-len(tiles) % columns)
    lines = [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return np.vstack([_legend(lines[0].shape[1]), *lines])


def _tile(prediction: Prediction, row: FaceError, size: int) -> UInt8[np.ndarray, "h w 3"]:
    """One face, cut so that truth, prediction and box are seen unless the prediction is far off."""
    truth = prediction.truth
    square = crop_square(hull_box(truth.points), 1.5)
    picture, affine = crop_image(read_image(truth.path), square, size)
    if prediction.found:
        _frame(picture, prediction.box, affine)
        pairs = zip(affine.apply(truth.points), affine.apply(prediction.points), strict=True)
        for a, b in pairs:
            if np.isfinite(a).all():
                cv2.line(picture, _fine(a), _fine(b), _LINE_COLOR, 1, cv2.LINE_AA, _FINE)
        _dots(picture, affine.apply(prediction.points), PREDICTED_COLOR)
    _dots(picture, affine.apply(truth.points), TRUTH_COLOR)
    verdict = f"{100 * row.error:.1f} % {protocol_of(row.dataset).short}" if row.found else "missed"
    note = "" if row.overlap > 0.999 else f", box overlap {row.overlap:.2f}"
    caption = np.full((_CAPTION, size, 3), _PAPER, np.uint8)
    _write(caption, f"{verdict}{note}", 14)
    _write(caption, _shortened(row.key, size), 30)
    tile = np.vstack([picture, caption])
    tile[:, -2:] = _PAPER
    return tile


def _dots(picture: Image, points: Float[np.ndarray, "k 2"], color: tuple[int, int, int]) -> None:
    for point in points[np.isfinite(points).all(axis=1)]:
        cv2.circle(picture, _fine(point), 2 << _FINE, color, -1, cv2.LINE_AA, _FINE)


def _frame(picture: Image, box: Float[np.ndarray, " 4"], affine: Affine) -> None:
    corners = affine.apply(np.asarray(box, np.float32).reshape(2, 2) - 0.5)
    cv2.rectangle(picture, _fine(corners[0]), _fine(corners[1]), _BOX_COLOR, 1, cv2.LINE_AA, _FINE)


def _fine(point: Float[np.ndarray, " 2"]) -> tuple[int, int]:
    # Predictions of a broken network may lie anywhere; OpenCV's integers may not.
    x, y = np.clip(point, -10_000, 10_000) * (1 << _FINE)
    return round(float(x)), round(float(y))


def _write(picture: Image, text: str, y: int, x: int = 5, color: tuple[int, int, int] = _INK) -> None:
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, 1, cv2.LINE_AA)


def _shortened(text: str, width: int) -> str:
    """The end of a key, which tells faces apart, in the plain letters that OpenCV can draw."""
    plain = text.encode("ascii", "replace").decode()
    room = max(4, (width - 10) // 8)
    return plain if len(plain) <= room else "..." + plain[-(room - 3) :]


def _legend(width: int) -> UInt8[np.ndarray, "h w 3"]:
    strip = np.full((26, width, 3), _PAPER, np.uint8)
    x = 5
    for text, color in (("truth", TRUTH_COLOR), ("predicted", PREDICTED_COLOR), ("box", _BOX_COLOR)):
        cv2.circle(strip, (x + 5, 13), 5, color, -1, cv2.LINE_AA)
        _write(strip, text, 17, x + 15)
        x += 30 + 8 * len(text)
    return strip
