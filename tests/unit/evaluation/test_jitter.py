from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float32

from canthus.evaluation.boxes import BoxJitter, box_offsets, robust_sigma
from canthus.evaluation.jitter import FRACTIONS, JITTER_LEVELS, KINDS, JitterReport, measure_jitter
from canthus.evaluation.plots import plot_jitter
from canthus.evaluation.run import Predictor
from canthus.images import read_image
from canthus.schemes import IBUG_68
from canthus.types import Annotation, Image, Landmarks

Boxes = Float32[np.ndarray, "n 4"]
BOX = np.array([10, 20, 50, 100], np.float32)


def copying(faces: list[Annotation]) -> Predictor:
    """The points of the one face, as they lie in its true box, carried over to the box that is given."""

    def predict(image: Image, boxes: Boxes) -> Landmarks:
        low, side = faces[0].box[:2] - 0.5, faces[0].box[2:] - faces[0].box[:2]
        unit = (faces[0].points - low) / side
        points = boxes[:, None, :2] - 0.5 + unit * (boxes[:, None, 2:] - boxes[:, None, :2])
        return Landmarks(points.astype(np.float32), IBUG_68)

    return predict


def test_offsets_are_in_longer_sides_of_the_true_box() -> None:
    found = np.array([[14, 12, 54, 92], [-10, -20, 70, 140]], np.float32)
    offsets = box_offsets(np.stack([BOX, BOX]), found)
    np.testing.assert_allclose(offsets.x, [4 / 80, 0], atol=1e-7)
    np.testing.assert_allclose(offsets.y, [-8 / 80, 0], atol=1e-7)
    np.testing.assert_allclose(offsets.log_scale, [0, np.log(2)], atol=1e-6)
    assert len(offsets) == 2


def test_offsets_of_jittered_boxes_are_the_jitter() -> None:
    boxes = np.stack([BoxJitter(0.1, scale=False).apply(BOX, str(number)) for number in range(400)])
    offsets = box_offsets(np.repeat(BOX[None], 400, axis=0), boxes)
    assert np.abs(offsets.x).max() <= 0.1 + 1e-6
    assert offsets.x.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.1)  # of an even draw; 400 of them
    np.testing.assert_allclose(offsets.log_scale, 0, atol=1e-6)


def test_robust_sigma_is_that_of_normal_values() -> None:
    values = np.random.default_rng(0).normal(3, 0.2, 20_000)
    assert robust_sigma(values) == pytest.approx(0.2, rel=0.03)
    assert robust_sigma(np.append(values, 1e9)) == pytest.approx(0.2, rel=0.03)
    assert np.isnan(robust_sigma(np.zeros(0)))


def test_shift_and_scale_are_drawn_apart() -> None:
    both, shift, scale = (
        BoxJitter(0.2, 5, shift=kind[0], scale=kind[1]).apply(BOX, "a")
        for kind in ((True, True), (True, False), (False, True))
    )
    np.testing.assert_allclose(shift[2:] - shift[:2], BOX[2:] - BOX[:2], atol=1e-5)
    np.testing.assert_allclose((scale[:2] + scale[2:]) / 2, (BOX[:2] + BOX[2:]) / 2, atol=1e-5)
    np.testing.assert_allclose((both[:2] + both[2:]) / 2, (shift[:2] + shift[2:]) / 2, atol=1e-5)
    np.testing.assert_allclose(both[2:] - both[:2], scale[2:] - scale[:2], atol=1e-5)


def test_error_grows_with_the_boxes_offset(faces: list[Annotation]) -> None:
    one = faces[:1]
    levels = list(measure_jitter(one, copying(one), dataset="drawn", split="all"))
    assert len(levels) == JITTER_LEVELS
    curves = JitterReport("t", levels).curves()
    assert set(curves) == set(KINDS)
    for errors in curves.values():
        assert tuple(errors) == FRACTIONS
        values = list(errors.values())
        assert values[0] == pytest.approx(0, abs=1e-6)
        assert all(a < b for a, b in pairwise(values))
    box = one[0].box
    moved = BoxJitter(0.2, scale=False).apply(box, one[0].key)
    assert curves["shift"][0.2] == pytest.approx(float(np.hypot(*(moved - box)[:2])) / 40, rel=1e-4)


def test_detected_boxes_stand_beside_true_ones_of_the_same_faces(faces: list[Annotation], tmp_path: Path) -> None:
    levels = list(measure_jitter(faces, copying(faces), dataset="drawn", split="all"))
    rows = levels[0].rows
    detected = [replace(rows[0], nme_ion=0.3), replace(rows[1], nme_ion=0.1), replace(rows[2], found=False)]
    report = JitterReport("title", levels, detected)
    (name, error), (other, true) = report.lines().items()
    assert name == "detector's boxes (1 of 3 missed)"
    assert error == pytest.approx(0.2)
    assert other == "true boxes of the 2 found faces"
    assert true == pytest.approx((rows[0].nme_ion + rows[1].nme_ion) / 2)
    assert JitterReport("title", levels).lines() == {}
    plot_jitter(tmp_path / "deep" / "jitter.png", report.curves(), lines=report.lines(), title=report.title)
    assert (read_image(tmp_path / "deep" / "jitter.png") < 128).any()
