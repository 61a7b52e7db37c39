"""Decoding of a detector's outputs: known cells give known faces."""

import numpy as np
import pytest

from canthus.geometry import Affine
from canthus.runtime.canthus_detector import MOST_CANDIDATES, decode, distinct_boxes
from canthus.runtime.cards import ROW

STRIDES = (8, 16, 32)
HEIGHT, WIDTH = 64, 96
CELLS = 8 * 12 + 4 * 6 + 2 * 3
POINTS = np.array([[40, 30], [60, 31], [50, 41], [42, 50], [58, 49]], np.float32)


def _nothing(cells: int = CELLS) -> np.ndarray:
    outputs = np.zeros((cells, ROW), np.float32)
    outputs[:, 0] = -12
    return outputs


def _put(outputs: np.ndarray, stride: int, row: int, column: int, *, box: np.ndarray, logit: float = 2.0) -> None:
    """Write the face ``box`` with ``POINTS`` into a cell, by the equations of ``docs/detectors.md``."""
    first = sum((HEIGHT // s) * (WIDTH // s) for s in STRIDES if s < stride)
    place = np.array([column + 0.5, row + 0.5])
    centre, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    points = (POINTS + 0.5) / stride - place
    cell = outputs[first + row * (WIDTH // stride) + column]
    cell[:] = [logit, *(centre / stride - place), *np.log(size / stride), *points.ravel()]


@pytest.mark.parametrize(("stride", "row", "column"), [(8, 4, 6), (8, 7, 11), (16, 2, 3), (32, 0, 0), (32, 1, 2)])
def test_a_face_comes_back_from_any_cell(stride: int, row: int, column: int) -> None:
    box = np.array([31.5, 22, 68.25, 57], np.float32)
    outputs = _nothing()
    _put(outputs, stride, row, column, box=box)
    found = decode(outputs, HEIGHT, WIDTH, STRIDES, 0.5)
    assert found.points is not None
    np.testing.assert_allclose(found.boxes, [box], atol=1e-4)
    np.testing.assert_allclose(found.points, [POINTS], atol=1e-4)
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-2))], rtol=1e-6)


def test_a_cell_of_zeros_is_a_square_of_one_stride_about_its_centre() -> None:
    outputs = _nothing()
    outputs[8 * 12 + 6 + 2] = [9.0] + [0] * 14
    found = decode(outputs, HEIGHT, WIDTH, STRIDES, 0.5)
    assert found.points is not None
    np.testing.assert_allclose(found.boxes, [[32, 16, 48, 32]])
    np.testing.assert_allclose(found.points, np.full((1, 5, 2), [39.5, 23.5]))


def test_the_same_numbers_one_cell_on_are_the_same_face_one_stride_on() -> None:
    first, second = _nothing(), _nothing()
    _put(first, 16, 1, 1, box=np.array([10, 12, 30, 40], np.float32))
    second[8 * 12 + 2 * 6 + 2] = first[8 * 12 + 1 * 6 + 1]
    one, other = (decode(outputs, HEIGHT, WIDTH, STRIDES, 0.5) for outputs in (first, second))
    assert one.points is not None
    assert other.points is not None
    np.testing.assert_allclose(other.boxes, one.boxes + 16, atol=1e-4)
    np.testing.assert_allclose(other.points, one.points + 16, atol=1e-4)


def test_mirrored_outputs_are_the_mirrored_face() -> None:
    outputs = _nothing()
    _put(outputs, 8, 3, 4, box=np.array([31, 20, 50, 44], np.float32))
    mirrored = outputs.copy()
    mirrored[:96] = outputs[:96].reshape(8, 12, ROW)[:, ::-1].reshape(96, ROW)
    mirrored[:, [1, 5, 7, 9, 11, 13]] *= -1
    one, other = (decode(rows, HEIGHT, WIDTH, STRIDES, 0.5) for rows in (outputs, mirrored))
    assert one.points is not None
    assert other.points is not None
    flip = Affine.flip(WIDTH)
    np.testing.assert_allclose(other.points, flip.apply(one.points), atol=1e-4)
    np.testing.assert_allclose(other.boxes, WIDTH - one.boxes[:, [2, 1, 0, 3]] * [1, -1, 1, -1] - [0, WIDTH, 0, WIDTH])


def test_best_first_and_nothing_below_the_threshold() -> None:
    outputs = _nothing()
    for column, logit in ((0, 0.1), (4, 3.0), (8, -0.1), (11, 1.0)):
        left = column * 8.0
        _put(outputs, 8, 2, column, box=np.array([left, 16, left + 8, 24], np.float32), logit=logit)
    found = decode(outputs, HEIGHT, WIDTH, STRIDES, 0.5)
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-np.array([3.0, 1.0, 0.1]))), rtol=1e-6)
    np.testing.assert_allclose(found.boxes[:, 0], [32, 88, 0], atol=1e-4)
    assert len(decode(outputs, HEIGHT, WIDTH, STRIDES, 0.0)) > 3
    assert len(decode(outputs, HEIGHT, WIDTH, STRIDES, 1.0)) == 0


def test_one_box_a_face() -> None:
    outputs = _nothing()
    box = np.array([30, 20, 60, 56], np.float32)
    for row, column, logit in ((3, 5, 1.0), (4, 5, 2.5), (4, 6, 2.0)):
        _put(outputs, 8, row, column, box=box + column, logit=logit)
    _put(outputs, 32, 1, 1, box=box + 4, logit=0.5)
    found = decode(outputs, HEIGHT, WIDTH, STRIDES, 0.3)
    np.testing.assert_allclose(found.boxes, [box + 5], atol=1e-4)


def test_no_face_has_arrays_of_length_zero() -> None:
    found = decode(_nothing(), HEIGHT, WIDTH, STRIDES, 0.5)
    assert len(found) == 0
    assert found.points is not None
    assert found.points.shape == (0, 5, 2)


def test_outputs_of_a_poor_network_stay_finite() -> None:
    outputs = _nothing()
    outputs[0] = [500.0, 0, 0, 300, 300] + [0] * 10
    outputs[1] = [-500.0, 0, 0, -300, -300] + [0] * 10
    found = decode(outputs, HEIGHT, WIDTH, STRIDES, 0.0)
    assert np.isfinite(found.boxes).all()
    assert found.scores[0] == 1


def test_at_most_the_best_candidates_are_compared() -> None:
    outputs = _nothing(80 * 80)
    outputs[:, 0] = np.linspace(0, 5, len(outputs))
    outputs[:, 3:5] = -1
    found = decode(outputs, 640, 640, (8,), 0.5)
    assert len(found) == MOST_CANDIDATES
    assert found.scores[-1] == pytest.approx(1 / (1 + np.exp(-outputs[-MOST_CANDIDATES, 0])))


def test_outputs_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected 126 cells of a 96 x 64 input with strides 8, 16, 32; found 125"):
        decode(_nothing(CELLS - 1), HEIGHT, WIDTH, STRIDES, 0.5)


def test_boxes_at_the_limit_and_empty_boxes_are_kept() -> None:
    half = np.array([[0, 0, 30, 10], [10, 0, 40, 10]], np.float32)  # 20 / 40
    assert distinct_boxes(half, most_overlap=0.5).tolist() == [0, 1]
    assert distinct_boxes(half, most_overlap=0.49).tolist() == [0]
    assert distinct_boxes(np.zeros((3, 4), np.float32)).tolist() == [0, 1, 2]
    assert distinct_boxes(np.zeros((0, 4), np.float32)).tolist() == []
