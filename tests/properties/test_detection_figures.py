"""What holds for the figures of any detector on any set."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from canthus.evaluation.detection import FALSE, HIT, DetectionRows, match_scenes
from canthus.evaluation.detection_report import at_score, average_precision, precision_recall, recall_at_false_finds
from canthus.geometry import BoxHabit, box_iou
from canthus.types import Faces, Scene

SEEDS = st.integers(0, 2**32 - 1)


def crowd(seed: int) -> tuple[list[Scene], list[Faces]]:
    """Some pictures with faces that may overlap, and finds near and away from them with few distinct scores."""
    rng = np.random.default_rng(seed)
    scenes, found = [], []
    for number in range(rng.integers(1, 5)):
        corners = rng.uniform(0, 60, (rng.integers(0, 7), 2))
        boxes = np.hstack([corners, corners + rng.uniform(5, 30, corners.shape)]).astype(np.float32)
        scenes.append(
            Scene(
                key=str(number),
                path=Path(f"{number}.png"),
                boxes=boxes,
                points=np.full((len(boxes), 5, 2), np.nan, np.float32),
                ignored=rng.random(len(boxes)) < 0.2,
                labels=("",) * len(boxes),
                complete=bool(rng.random() < 0.8),
                habit=BoxHabit(centre=(0.05, -0.1), size=(0.9, 1.1)),
                group=str(number),
            )
        )
        near = boxes[rng.random(len(boxes)) < 0.7] + rng.normal(0, 2, 4)
        away = rng.uniform(0, 60, (rng.integers(0, 5), 2))
        own = np.vstack([near, np.hstack([away, away + rng.uniform(5, 30, away.shape)])])
        scores = rng.integers(1, 12, len(own)) / 12
        found.append(Faces(scenes[-1].habit.face_boxes(own), scores.astype(np.float32)))
    return scenes, found


def rows_of(seed: int) -> DetectionRows:
    return match_scenes(*crowd(seed))


def with_finds(found: Faces, boxes: np.ndarray, score: float) -> Faces:
    more = np.full(len(boxes), score, np.float32)
    return Faces(np.concatenate([found.boxes, boxes.astype(np.float32)]), np.concatenate([found.scores, more]))


@given(SEEDS)
def test_figures_are_fractions(seed: int) -> None:
    rows = rows_of(seed)
    for value in (average_precision(rows), recall_at_false_finds(rows, 0.1), at_score(rows, 0.5).recall):
        assert math.isnan(value) or 0 <= value <= 1 + 1e-12


@given(SEEDS)
def test_false_finds_of_the_lowest_score_never_help(seed: int) -> None:
    scenes, found = crowd(seed)
    far = np.array([[500, 500, 520, 520]])
    before = average_precision(match_scenes(scenes, found))
    lowest = min((float(faces.scores.min()) for faces in found if len(faces)), default=1.0)
    for score in (lowest, lowest / 2):
        after = average_precision(match_scenes(scenes, [with_finds(faces, far, score) for faces in found]))
        assert (math.isnan(before) and math.isnan(after)) or after <= before + 1e-12
    unchanged = average_precision(match_scenes(scenes, [with_finds(faces, far, lowest / 2) for faces in found]))
    assert unchanged == pytest.approx(before, nan_ok=True), "precision is interpolated from higher recall only"


@given(SEEDS)
def test_the_truth_itself_is_perfect(seed: int) -> None:
    scenes, _ = crowd(seed)
    rng = np.random.default_rng(seed)
    wanted = [scene.face_boxes()[~scene.ignored] for scene in scenes]
    found = [Faces(boxes, rng.random(len(boxes)).astype(np.float32)) for boxes in wanted]
    rows = match_scenes(scenes, found)
    assert (rows.finds.verdicts == HIT).all()
    if not math.isnan(average_precision(rows)):
        assert average_precision(rows) == pytest.approx(1)
        assert recall_at_false_finds(rows, 0) == 1


@given(SEEDS)
def test_each_face_is_hit_at_most_once_and_by_enough_overlap(seed: int) -> None:
    scenes, found = crowd(seed)
    rows = match_scenes(scenes, found)
    hits = np.flatnonzero(rows.finds.verdicts == HIT)
    taken = rows.finds.truths[hits]
    assert len(set(taken.tolist())) == len(taken)
    assert not rows.truths.ignored[taken].any()
    np.testing.assert_array_equal(rows.truths.scores[taken], rows.finds.scores[hits])
    assert np.isnan(np.delete(rows.truths.scores, taken)).all()
    assert (rows.finds.overlaps[hits] >= 0.5).all()
    offsets = np.cumsum([0, *(len(scene.boxes) for scene in scenes)])
    for find in hits:
        scene = scenes[rows.finds.pictures[find]]
        own = scene.habit.own_boxes(rows.finds.boxes[find : find + 1])
        face = rows.finds.truths[find] - offsets[rows.finds.pictures[find]]
        assert box_iou(own, scene.boxes)[0, face] == pytest.approx(rows.finds.overlaps[find])


@given(SEEDS)
def test_figures_do_not_depend_on_the_order_of_pictures(seed: int) -> None:
    scenes, found = crowd(seed)
    forth, back = match_scenes(scenes, found), match_scenes(scenes[::-1], found[::-1])
    assert average_precision(forth) == pytest.approx(average_precision(back), nan_ok=True)
    for allowed in (0.0, 0.5, 2.0):
        assert recall_at_false_finds(forth, allowed) == pytest.approx(recall_at_false_finds(back, allowed), nan_ok=True)


@given(SEEDS, st.floats(0, 3))
def test_recall_at_false_finds_keeps_its_promise(seed: int, allowed: float) -> None:
    """Against a walk through all thresholds, one by one."""
    rows = rows_of(seed)
    complete = np.flatnonzero(rows.complete)
    if len(complete) == 0 or rows.truths.ignored.all():
        assert math.isnan(recall_at_false_finds(rows, allowed))
        return
    false = rows.finds.scores[(rows.finds.verdicts == FALSE) & np.isin(rows.finds.pictures, complete)]
    reached = [0.0]
    for score in set(rows.finds.scores.tolist()):
        permitted = (false >= score).sum() <= allowed * len(complete) + 1e-9
        reached += [float((rows.truths.scores >= score)[~rows.truths.ignored].mean())] * bool(permitted)
    assert recall_at_false_finds(rows, allowed) == pytest.approx(max(reached))


@given(SEEDS)
def test_curve_agrees_with_counting_at_each_score(seed: int) -> None:
    rows = rows_of(seed)
    curve = precision_recall(rows)
    assert (np.diff(curve.scores) < 0).all()
    for score, precision in zip(curve.scores, curve.precision, strict=True):
        counted = at_score(rows, float(score)).precision
        assert counted == pytest.approx(precision)
