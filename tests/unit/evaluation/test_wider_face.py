"""The official protocol on a small set in the official layout: by hand, and against a plain reading of its steps."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from canthus.errors import DataError
from canthus.evaluation.wider_face import (
    LEVELS,
    WiderPicture,
    prediction_key,
    read_wider_predictions,
    read_wider_truth,
    wider_precision,
    write_wider_predictions,
)
from canthus.geometry import BoxHabit
from canthus.types import Faces, Scene

BOXES = {
    ("0--Parade", "0_Parade_1"): [[0, 0, 99, 99], [200, 0, 99, 99], [400, 0, 49, 49]],
    ("0--Parade", "0_Parade_2"): [[10, 10, 29, 29]],
    ("1--Handshaking", "1_Handshaking_1"): [[0, 0, 9, 9]],
}
MEMBERS = {"easy": [[1], [], []], "medium": [[1, 2], [1], []], "hard": [[1, 2, 3], [1], [1]]}


def cells(values: list[object]) -> np.ndarray:
    column = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        column[index, 0] = value
    return column


def write_truth(folder: Path) -> None:
    """The four files as the evaluation code has them: a cell per event, in it a cell per picture."""
    folder = folder / "ground_truth"
    folder.mkdir()
    events = list(dict.fromkeys(event for event, _ in BOXES))
    names = {event: [name for at, name in BOXES if at == event] for event in events}
    order = [key for event in events for key in BOXES if key[0] == event]
    whole = {
        "event_list": cells(list(events)),
        "file_list": cells([cells(list(names[event])) for event in events]),
        "face_bbx_list": cells(
            [cells([np.array(BOXES[event, name], float) for name in names[event]]) for event in events]
        ),
    }
    scipy.io.savemat(folder / "wider_face_val.mat", whole, do_compression=True)
    for level in LEVELS:
        lists = {key: np.array(MEMBERS[level][order.index(key)], np.float64).reshape(-1, 1) for key in order}
        gt_list = cells([cells([lists[event, name] for name in names[event]]) for event in events])
        scipy.io.savemat(folder / f"wider_{level}_val.mat", {**whole, "gt_list": gt_list})


def found() -> dict[str, Faces]:
    """Scores 1 and 0 are the ends of the range, so that they stay as they are."""

    def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
        table = np.array(rows, np.float32).reshape(-1, 5)
        return Faces(np.hstack([table[:, :2], table[:, :2] + table[:, 2:4]]), table[:, 4])

    return {
        "0--Parade/0_Parade_1": faces(
            (0, 0, 99, 99, 1.0), (600, 600, 50, 50, 0.75), (200, 0, 99, 99, 0.5), (201, 0, 99, 99, 0.25)
        ),
        "0--Parade/0_Parade_2": faces((10, 10, 29, 29, 0.625), (0, 0, 5, 5, 0.0)),
        "1--Handshaking/1_Handshaking_1": faces(),
    }


def test_truth_is_read_from_the_official_files(tmp_path: Path) -> None:
    write_truth(tmp_path)
    pictures = read_wider_truth(tmp_path)
    assert [picture.key for picture in pictures] == ["/".join(key) for key in BOXES]
    np.testing.assert_array_equal(pictures[0].boxes[1], [200, 0, 299, 99])
    np.testing.assert_array_equal(pictures[0].counted["medium"], [True, True, False])
    assert [int(picture.counted["hard"].sum()) for picture in pictures] == [3, 1, 1]


def test_a_small_set_by_hand(tmp_path: Path) -> None:
    """At 1.0 a hit; 0.75 adds a false find, 0.625 and 0.5 a hit each, 0.25 a second find of a face, 0 a false find."""
    write_truth(tmp_path)
    truth = read_wider_truth(tmp_path)
    easy = wider_precision(truth, found(), level="easy")
    assert (easy.exact, easy.faces) == (1.0, 1)
    medium = wider_precision(truth, found(), level="medium")
    assert medium.exact == pytest.approx(1 / 3 * 1 + 2 / 3 * 3 / 4)
    hard = wider_precision(truth, found(), level="hard")
    assert hard.exact == pytest.approx(1 / 5 * 1 + 2 / 5 * 3 / 4)
    for value in (easy, medium, hard):
        assert value.official == pytest.approx(value.exact), "the scores here are multiples of the official step"


def test_finds_on_faces_outside_the_level_count_as_nothing() -> None:
    truth = [WiderPicture("a/b", np.array([[0.0, 0, 9, 9], [50, 0, 59, 9]]), {"easy": np.array([False, True])})]
    boxes = np.array([[0, 0, 9, 9], [50, 0, 59, 9]], np.float32)
    score = wider_precision(truth, {"a/b": Faces(boxes, np.array([0.9, 0.1], np.float32))}, level="easy")
    assert (score.exact, score.official, score.faces) == (1.0, 1.0, 1)


def test_sampled_scores_lose_what_lies_between_them() -> None:
    truth = [WiderPicture("a/b", np.array([[0.0, 0, 9, 9]]), {"hard": np.array([True])})]
    boxes = np.array([[0, 0, 9, 9], [70, 0, 79, 9], [90, 0, 99, 9]], np.float32)
    near = {"a/b": Faces(boxes, np.array([1.0, 0.9999, 0.0], np.float32))}
    score = wider_precision(truth, near, level="hard")
    assert (score.exact, score.official) == (1.0, 0.5)


def overlap_with_plus_one(a: list[float], b: list[float]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = w * h if w > 0 and h > 0 else 0.0
    return shared / (sum((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)) - shared)


def running_counts(picture: WiderPicture, level: str, rows: list[list[float]]) -> list[tuple[int, int]]:
    """Proposals and found faces after each find of a picture."""
    seen: set[int] = set()
    counts, proposals = [], 0
    for box in rows:
        overlaps = [overlap_with_plus_one(box, truth) for truth in picture.boxes.tolist()]
        best = max(range(len(overlaps)), key=overlaps.__getitem__)
        matched, inside = overlaps[best] >= 0.5, bool(picture.counted[level][best])
        proposals += not (matched and not inside)
        if matched and inside:
            seen.add(best)
        counts.append((proposals, len(seen)))
    return counts


def plain_reading(truth: list[WiderPicture], finds: dict[str, Faces], level: str) -> float:
    """The published steps one after the other, without a thought of speed."""
    everything = [float(score) for faces in finds.values() for score in faces.scores]
    low, high = min(everything), max(everything)
    curve = [[0, 0] for _ in range(1000)]
    for picture in truth:
        faces = finds[picture.key]
        rows = sorted(zip(faces.scores.tolist(), faces.boxes.tolist(), strict=True), key=lambda row: -row[0])
        counts = running_counts(picture, level, [box for _, box in rows]) if len(picture.boxes) else []
        for step in range(1000 if counts else 0):
            passed = sum((score - low) / (high - low) >= 1 - (step + 1) / 1000 for score, _ in rows)
            if passed:
                curve[step][0] += counts[passed - 1][0]
                curve[step][1] += counts[passed - 1][1]
    total = sum(int(picture.counted[level].sum()) for picture in truth)
    points = [(hits / total, hits / size if size else 0.0) for size, hits in curve]
    area, before = 0.0, 0.0
    for index, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[index:])
        before = recall
    return area


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_a_plain_reading_of_the_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, finds = [], {}
    for number in range(8):
        corners = rng.uniform(0, 80, (rng.integers(0, 6), 2))
        boxes = np.hstack([corners, corners + rng.uniform(8, 40, corners.shape)])
        truth.append(WiderPicture(f"e/{number}", boxes, {"medium": rng.random(len(boxes)) < 0.6}))
        near = np.repeat(boxes, 2, axis=0) + rng.normal(0, 3, (2 * len(boxes), 4))
        away = rng.uniform(0, 80, (3, 2))
        every = np.vstack([near, np.hstack([away, away + 20])]).astype(np.float32)
        finds[f"e/{number}"] = Faces(every, rng.random(len(every)).astype(np.float32))
    expected = plain_reading(truth, finds, "medium")
    assert wider_precision(truth, finds, level="medium").official == pytest.approx(expected, abs=1e-12)
    assert wider_precision(truth, finds, level="medium").exact == pytest.approx(expected, abs=0.02)


def scenes(folder: Path) -> list[Scene]:
    habit = BoxHabit(centre=(0.1, 0.05), size=(0.8, 0.9))
    none = np.zeros((0, 4), np.float32)
    return [
        Scene(
            key=f"val/{event}/{name}.jpg", path=folder / event / f"{name}.jpg", boxes=none,
            points=np.zeros((0, 5, 2), np.float32), ignored=np.zeros(0, np.bool_), labels=(), complete=True,
            habit=habit, group=name, subset="val",
        )
        for event, name in BOXES
    ]  # fmt: skip


def test_predictions_come_back_as_written(tmp_path: Path) -> None:
    pictures = scenes(tmp_path)
    written = [found()[prediction_key(scene)] for scene in pictures]
    write_wider_predictions(tmp_path / "out", pictures, written)
    back = read_wider_predictions(tmp_path / "out", pictures)
    for before, after in zip(written, back, strict=True):
        np.testing.assert_allclose(after.boxes, before.boxes, atol=2e-3)  # three decimals are kept
        np.testing.assert_allclose(after.scores, before.scores, atol=1e-6)


def test_written_boxes_are_those_of_the_set(tmp_path: Path) -> None:
    scene = scenes(tmp_path)[0]
    own = np.array([[10, 20, 60, 100]], np.float32)
    write_wider_predictions(tmp_path, [scene], [Faces(scene.habit.face_boxes(own), np.array([0.5], np.float32))])
    lines = (tmp_path / "0--Parade" / "0_Parade_1.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["0_Parade_1.jpg", "1", "10.000 20.000 50.000 80.000 0.50000000"]


@pytest.mark.parametrize(
    "text", ["", "a\n", "a\n2\n1 2 3 4 0.5\n", "a\n1\n1 2 3 4\n", "a\n1\n1 2 3 x 0.5\n", "a\n1\n1 2 3 4 nan\n"]
)
def test_damaged_predictions_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "0--Parade" / "0_Parade_1.txt"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="0_Parade_1"):
        read_wider_predictions(tmp_path, scenes(tmp_path)[:1])


def test_missing_predictions_and_shared_names_are_refused(tmp_path: Path) -> None:
    scene = scenes(tmp_path)[0]
    with pytest.raises(DataError, match="one file per picture"):
        read_wider_predictions(tmp_path, [scene])
    with pytest.raises(DataError, match="share"):
        write_wider_predictions(tmp_path, [scene, scene], [Faces.empty(), Faces.empty()])


def test_truth_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="wider_face_val"):
        read_wider_truth(tmp_path)


def test_levels_of_other_pictures_are_refused(tmp_path: Path) -> None:
    write_truth(tmp_path)
    one = cells([cells([np.array([[1.0]])])])
    scipy.io.savemat(tmp_path / "ground_truth" / "wider_hard_val.mat", {"gt_list": one})
    with pytest.raises(DataError, match="wider_hard_val"):
        read_wider_truth(tmp_path)
