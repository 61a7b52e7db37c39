"""Results that can be iterated, indexed, masked and written as plain data."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import get_data_path

from canthus.errors import ConfigError
from canthus.images import read_image
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.tracker import Tracker
from canthus.runtime.video import VideoWriter, read_video
from canthus.schemes import FIVE, IBUG_68
from canthus.types import Choice, Face, Faces, Frame, Landmarks, TrackedFrame
from command import run_command

PORTRAIT = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
SCORES = [0.9, 0.7, 0.5]


def frame(count: int = 3, *, confidence: bool = True, five: bool = True) -> Frame:
    boxes = np.array([[10 * i, 0, 10 * i + 9, 8] for i in range(count)], np.float32).reshape(-1, 4)
    points = np.arange(count * 136, dtype=np.float32).reshape(count, 68, 2)
    sure = np.linspace(0, 1, count * 68, dtype=np.float32).reshape(count, 68)
    own = np.arange(count * 10, dtype=np.float32).reshape(count, 5, 2)
    faces = Faces(boxes, np.array(SCORES[:count], np.float32), own if five else None)
    return Frame(faces, Landmarks(points, IBUG_68, sure if confidence else None))


def tracked(count: int = 3) -> TrackedFrame:
    found = frame(count, five=False)
    return TrackedFrame(found, np.array([2, 4, 7][:count], np.int64), found.landmarks.points + 1, 0.123456)


def test_a_loop_gives_each_face() -> None:
    found = frame()
    faces = list(found)
    assert [type(face) for face in faces] == [Face] * 3
    assert [round(face.score, 4) for face in faces] == SCORES
    np.testing.assert_array_equal(np.stack([face.points for face in faces]), found.landmarks.points)
    np.testing.assert_array_equal(faces[1].box, found.faces.boxes[1])
    assert faces[1].five_points is not None
    assert faces[1].confidence is not None
    assert [face.id for face in tracked()] == [2, 4, 7]
    assert faces[0].id is None


def test_a_face_lacks_what_the_models_do_not_give() -> None:
    (face,) = frame(1, confidence=False, five=False)
    assert (face.confidence, face.five_points) == (None, None)
    assert list(face.to_dict()) == ["box", "score", "scheme", "points"]


def test_one_index_counts_from_either_end() -> None:
    found = frame()
    assert found[0].to_dict() == next(iter(found)).to_dict()
    assert found[-1].to_dict() == found[2].to_dict()
    assert tracked()[-1].id == 7
    for result in (found, tracked()):
        with pytest.raises(IndexError):
            _ = result[3]


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        (np.array([True, False, True]), [0, 2]),
        (np.zeros(3, bool), []),
        ([False, True, False], [1]),
        (np.array([2, 0]), [2, 0]),
        ([-1], [2]),
        ([], []),
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (slice(5, 9), []),
    ],
)
def test_masks_arrays_and_slices_choose_faces(chosen: Choice, rows: list[int]) -> None:
    found, followed = frame(), tracked()
    part = found[chosen]
    assert isinstance(part, Frame)
    np.testing.assert_array_equal(part.faces.boxes, found.faces.boxes[rows])
    np.testing.assert_array_equal(part.landmarks.points, found.landmarks.points[rows])
    assert (part.faces.points is not None, part.landmarks.scores is not None) == (True, True)
    assert len(found.faces[chosen]) == len(found.landmarks[chosen]) == len(part) == len(rows)
    later = followed[chosen]
    assert later.ids.tolist() == followed.ids[rows].tolist()
    np.testing.assert_array_equal(later.measured, followed.measured[rows])
    assert later.time_s == followed.time_s


def test_a_threshold_keeps_the_sure_faces() -> None:
    found = frame()
    assert len(found[found.faces.scores > 0.6]) == 2
    followed = tracked()
    assert followed[followed.frame.faces.scores > 0.8].ids.tolist() == [2]


def test_tables_take_one_index_as_a_table_of_one() -> None:
    found = frame()
    assert found.faces[-1].boxes.tolist() == [[20, 0, 29, 8]]
    assert found.landmarks[1].points.shape == (1, 68, 2)


def test_take_is_the_old_name_of_an_index() -> None:
    faces, rows = frame().faces, np.array([2, 0])
    with pytest.warns(DeprecationWarning, match=r"faces\[chosen\]"):
        assert faces.take(rows).scores.tolist() == faces[rows].scores.tolist()


@pytest.mark.parametrize("chosen", [np.ones(2, bool), np.ones((3, 1), np.int64), [7], np.array([0.5])])
def test_choices_that_do_not_fit_are_refused(chosen: Choice) -> None:
    for result in (frame(), frame().faces, frame().landmarks, tracked()):
        with pytest.raises(IndexError):
            _ = result[chosen]


def test_points_of_a_part_by_name() -> None:
    found = frame()
    np.testing.assert_array_equal(found.landmarks["left_eye"], found.landmarks.points[:, 42:48])
    np.testing.assert_array_equal(found[1]["left_eye"], found.landmarks.points[1, 42:48])
    assert found.landmarks["eyes"].shape == (3, 12, 2)
    assert frame(0).landmarks["left_eye"].shape == (0, 6, 2)
    assert Landmarks(np.zeros((2, 5, 2), np.float32), FIVE)["mouth"].shape == (2, 2, 2)


def test_an_unknown_part_lists_the_parts() -> None:
    with pytest.raises(ConfigError, match=r"part of ibug_68 'left_ey'. Did you mean 'left_eye'\? Known: brows, eyes"):
        _ = frame().landmarks["left_ey"]
    with pytest.raises(ConfigError, match="Known: brows, eyes"):
        _ = frame()[0]["ear"]


def test_an_empty_frame_takes_everything_that_a_full_one_takes() -> None:
    empty, nobody = frame(0), tracked(0)
    assert (len(empty), list(empty), list(nobody)) == (0, [], [])
    assert len(empty[empty.faces.scores > 0.8]) == len(nobody[:1]) == len(empty[[]]) == 0
    assert empty[1:].landmarks.points.shape == (0, 68, 2)
    assert empty.to_dict() == {"faces": []}
    assert nobody.to_dict(5) == {"frame": 5, "time_s": 0.1235, "faces": [], "schema_version": 1}
    with pytest.raises(IndexError):
        _ = empty[0]


def test_plain_data_of_a_picture_and_of_a_frame() -> None:
    image = np.zeros((20, 30, 3), np.uint8)
    record = frame().to_dict("a.jpg", image)
    assert list(record) == ["image", "width", "height", "faces", "schema_version"]
    assert list(record["faces"][0]) == ["box", "score", "scheme", "points", "five_points", "confidence"]
    assert frame().to_dict() == {"faces": record["faces"]}
    line = tracked().to_dict(3)
    assert list(line) == ["frame", "time_s", "faces", "schema_version"]
    assert list(line["faces"][0]) == ["id", "box", "score", "scheme", "points", "confidence"]
    assert json.loads(json.dumps([record, line])) == [record, line]


def test_plain_data_is_what_detect_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "faces.json"
    assert run_command(monkeypatch, capfd, "detect", PORTRAIT, "--json", target).code == 0
    image = read_image(PORTRAIT)
    assert json.loads(target.read_text()) == [load_pipeline()(image).to_dict(str(PORTRAIT), image)]


def test_plain_data_is_what_track_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    clip, target = tmp_path / "clip.mkv", tmp_path / "faces.jsonl"
    image = np.asarray(cv2.resize(read_image(PORTRAIT), (200, 234), interpolation=cv2.INTER_AREA))
    with VideoWriter(clip, width=200, height=234, fps=25) as writer:
        for number in range(3):
            writer.write(np.roll(image, number, axis=1), number * 0.04)
    assert run_command(monkeypatch, capfd, "track", clip, "--json", target).code == 0
    tracker = Tracker(load_pipeline())
    expected = [tracker(image, time_s).to_dict(number) for number, (image, time_s) in enumerate(read_video(clip))]
    assert [json.loads(line) for line in target.read_text().splitlines()] == expected
