import math
from pathlib import Path

import numpy as np
import pytest

from canthus.evaluation.detection import (
    FALSE,
    HIT,
    IGNORED,
    DetectionRows,
    interpolated_area,
    match_finds,
    match_scenes,
)
from canthus.evaluation.detection_report import (
    at_score,
    average_precision,
    precision_recall,
    recall_at_false_finds,
    recall_by_label,
    recall_by_size,
)
from canthus.geometry import BoxHabit
from canthus.types import Faces, Scene


def scene(
    boxes: list[list[float]],
    *,
    key: str = "a",
    ignored: tuple[int, ...] = (),
    labels: tuple[str, ...] | None = None,
    complete: bool = True,
    habit: BoxHabit | None = None,
) -> Scene:
    own = np.array(boxes, np.float32).reshape(-1, 4)
    return Scene(
        key=key,
        path=Path(f"{key}.png"),
        boxes=own,
        points=np.full((len(own), 5, 2), np.nan, np.float32),
        ignored=np.isin(np.arange(len(own)), ignored),
        labels=labels or ("",) * len(own),
        complete=complete,
        habit=habit or BoxHabit(),
        group=key,
    )


def faces(*found: tuple[float, list[float]]) -> Faces:
    boxes = np.array([box for _, box in found], np.float32).reshape(-1, 4)
    return Faces(boxes, np.array([score for score, _ in found], np.float32))


LEFT, RIGHT, FAR = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [200.0, 200, 210, 210]


def mixed() -> DetectionRows:
    """Two complete pictures and one incomplete: hits at 0.9, 0.7 and 0.6, false finds at 0.8 and 0.5, other at 0.4."""
    scenes = [
        scene([LEFT, RIGHT], key="a", labels=("mask", "none")),
        scene([LEFT], key="b", labels=("mask",)),
        scene([LEFT], key="c", labels=("none",), complete=False),
    ]
    found = [faces((0.7, RIGHT), (0.9, LEFT), (0.5, FAR)), faces((0.8, FAR)), faces((0.6, LEFT), (0.4, FAR))]
    return match_scenes(scenes, found)


def test_rows_name_verdict_overlap_and_face_of_each_find() -> None:
    rows = mixed()
    np.testing.assert_array_equal(rows.finds.pictures, [0, 0, 0, 1, 2, 2])
    np.testing.assert_allclose(rows.finds.scores, [0.9, 0.7, 0.5, 0.8, 0.6, 0.4])
    np.testing.assert_array_equal(rows.finds.verdicts, [HIT, HIT, FALSE, FALSE, HIT, FALSE])
    np.testing.assert_array_equal(rows.finds.truths, [0, 1, -1, -1, 3, -1])
    np.testing.assert_array_equal(rows.finds.overlaps, [1, 1, 0, 0, 1, 0])
    np.testing.assert_allclose(rows.truths.scores, [0.9, 0.7, np.nan, 0.6])
    np.testing.assert_array_equal(rows.truths.sizes, 10)


def test_a_face_is_taken_once_and_by_the_best_score() -> None:
    verdicts, taken, _ = match_finds(
        np.array([[0, 0, 10, 8], LEFT], np.float32), np.array([LEFT], np.float32), np.array([False])
    )
    np.testing.assert_array_equal(verdicts, [HIT, FALSE])
    np.testing.assert_array_equal(taken, [0, -1])


def test_a_find_whose_first_face_is_taken_may_take_the_second() -> None:
    truth = np.array([[0, 0, 10, 10], [0, 2, 10, 12]], np.float32)
    finds = np.array([[0, 0, 10, 10], [0, 0.5, 10, 10.5]], np.float32)
    verdicts, taken, overlaps = match_finds(finds, truth, np.zeros(2, np.bool_))
    np.testing.assert_array_equal(verdicts, [HIT, HIT])
    np.testing.assert_array_equal(taken, [0, 1])
    assert overlaps[1] == pytest.approx(8.5 / 11.5)


def test_an_overlap_of_exactly_the_threshold_is_a_hit() -> None:
    half = np.array([[0, 0, 10, 5]], np.float32)
    assert match_finds(half, np.array([LEFT], np.float32), np.array([False]))[0][0] == HIT
    assert match_finds(half, np.array([LEFT], np.float32), np.array([False]), min_overlap=0.51)[0][0] == FALSE


def test_finds_on_ignored_faces_are_neither_hits_nor_false() -> None:
    rows = match_scenes(
        [scene([LEFT, [50, 0, 90, 40]], ignored=(1,))],
        [faces((0.9, [50, 0, 90, 40]), (0.8, [52, 2, 60, 10]), (0.7, [84, 0, 100, 40]), (0.6, LEFT))],
    )
    np.testing.assert_array_equal(rows.finds.verdicts, [IGNORED, IGNORED, FALSE, HIT])
    assert math.isnan(rows.truths.scores[1])
    assert average_precision(rows) == pytest.approx(0.5)
    assert at_score(rows, 0.0).recall == 1


def test_finds_are_compared_in_the_habit_of_the_set() -> None:
    habit = BoxHabit(centre=(0.1, 0.2), size=(0.5, 0.6))
    own = np.array([[100, 100, 200, 220]], np.float32)
    rows = match_scenes(
        [scene(own.tolist(), habit=habit)], [faces((0.9, habit.face_boxes(own)[0].tolist()))], min_overlap=0.99
    )
    assert rows.finds.verdicts[0] == HIT
    assert rows.truths.sizes[0] == pytest.approx(math.sqrt(100 * 120))
    np.testing.assert_allclose(rows.truths.boxes, habit.face_boxes(own))


def test_curve_is_of_complete_pictures() -> None:
    curve = precision_recall(mixed())
    np.testing.assert_allclose(curve.scores, [0.9, 0.8, 0.7, 0.5], rtol=1e-6)
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 1 / 2])
    np.testing.assert_allclose(curve.recall, [1 / 3, 1 / 3, 2 / 3, 2 / 3])
    assert average_precision(mixed()) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)


def test_finds_of_equal_score_come_in_together() -> None:
    rows = match_scenes([scene([LEFT])], [faces((0.5, LEFT), (0.5, FAR))])
    curve = precision_recall(rows)
    np.testing.assert_allclose(curve.precision, [0.5])
    assert average_precision(rows) == pytest.approx(0.5)


def test_average_precision_of_a_worked_example() -> None:
    # VOC's interpolation: 0.2 * 1 + 0.2 * 0.5 + 0.2 * 4 / 7, the dip before the third hit filled by what follows it.
    precision = np.array([1, 1 / 2, 1 / 3, 2 / 5, 3 / 7])
    recall = np.array([0.2, 0.2, 0.2, 0.4, 0.6])
    assert interpolated_area(precision, recall) == pytest.approx(0.2 * 1 + 0.4 * 3 / 7)


def test_recall_is_of_all_pictures_and_false_finds_of_complete_ones() -> None:
    rows = mixed()
    figures = at_score(rows, 0.5)
    assert figures.recall == pytest.approx(3 / 4)
    assert figures.precision == pytest.approx(2 / 4)
    assert figures.false_per_picture == pytest.approx(1.0)
    assert figures.other_per_picture == 0.0
    assert at_score(rows, 0.4).other_per_picture == 1.0
    assert recall_at_false_finds(rows, 0) == pytest.approx(1 / 4)
    assert recall_at_false_finds(rows, 0.5) == pytest.approx(3 / 4)
    assert recall_at_false_finds(rows, 1) == pytest.approx(3 / 4)


def test_recall_by_size_and_label() -> None:
    rows = match_scenes(
        [scene([[0, 0, 10, 10], [0, 20, 20, 40], [40, 0, 100, 100], [0, 200, 300, 500]], labels=("x", "", "x", "x"))],
        [faces((0.9, [0, 20, 20, 40]), (0.3, [0, 0, 10, 10]), (0.8, [0, 200, 300, 500]))],
    )
    assert recall_by_size(rows, 0.5) == {"10-16": (1, 0.0), "16-32": (1, 1.0), "64-128": (1, 0.0), ">=128": (1, 1.0)}
    assert recall_by_label(rows, 0.2) == {"(none)": (1, 1.0), "x": (3, pytest.approx(2 / 3))}
    assert recall_by_label(match_scenes([scene([LEFT])], [faces()]), 0.5) == {}


def test_nothing_to_measure_is_nan() -> None:
    for rows in (match_scenes([], []), match_scenes([scene([LEFT], complete=False)], [faces((0.9, LEFT))])):
        assert math.isnan(average_precision(rows))
        assert math.isnan(recall_at_false_finds(rows, 1))
        assert math.isnan(at_score(rows, 0.5).precision)
    assert average_precision(match_scenes([scene([LEFT])], [faces()])) == 0


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(ValueError, match="found 0"):
        match_scenes([scene([LEFT])], [faces((0.9, LEFT))], min_overlap=0)
    with pytest.raises(ValueError, match="zip"):
        match_scenes([scene([LEFT])], [])
