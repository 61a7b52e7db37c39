import csv
import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from canthus.errors import CanthusError
from canthus.runtime.records import FRAME_COLUMNS, CsvWriter, JsonWriter
from canthus.schemes import FIVE
from canthus.types import Faces, Frame, Image, Landmarks, TrackedFrame

IMAGE: Image = np.zeros((20, 30, 3), np.uint8)


def frame(count: int, *, confidence: bool = False) -> Frame:
    boxes = np.array([[1.123456, 2, 11, 12]] * count, np.float32).reshape(-1, 4)
    points = np.arange(count * 10, dtype=np.float32).reshape(count, 5, 2) + np.float32(0.1)
    scores = np.linspace(0.12345678, 1, count * 5, dtype=np.float32).reshape(count, 5) if confidence else None
    return Frame(Faces(boxes, np.full(count, 0.87654321, np.float32)), Landmarks(points, FIVE, scores))


def test_a_record_holds_exactly_the_promised_fields() -> None:
    record = frame(1).to_dict("a.jpg", IMAGE)
    assert list(record) == ["image", "width", "height", "faces", "schema_version"]
    assert record["schema_version"] == 1
    assert list(frame(1).to_dict()) == ["faces"]
    assert (record["image"], record["width"], record["height"]) == ("a.jpg", 30, 20)
    (face,) = record["faces"]
    assert list(face) == ["box", "score", "scheme", "points"]
    assert face["box"] == [1.12, 2, 11, 12]
    assert face["score"] == 0.8765
    assert face["scheme"] == "five"
    assert face["points"][0] == [0.1, 1.1]
    assert len(face["points"]) == 5


def test_the_five_points_of_a_detector_are_written_where_there_are_any() -> None:
    found = frame(2)
    points = np.arange(20, dtype=np.float32).reshape(2, 5, 2)
    record = replace(found, faces=replace(found.faces, points=points)).to_dict("a.jpg", IMAGE)
    assert [face["five_points"][0] for face in record["faces"]] == [[0, 1], [10, 11]]


@pytest.mark.parametrize("counts", [[], [0], [1], [0, 2, 1]])
def test_json_is_one_list_whatever_is_in_it(counts: list[int]) -> None:
    file = io.StringIO()
    with JsonWriter(file) as writer:
        for number, count in enumerate(counts):
            writer.write(frame(count).to_dict(f"{number}.jpg", IMAGE))
    entries = json.loads(file.getvalue())
    assert [len(entry["faces"]) for entry in entries] == counts
    assert [entry["image"] for entry in entries] == [f"{number}.jpg" for number in range(len(counts))]
    assert file.getvalue().endswith("]\n")


def test_json_stays_valid_when_the_run_breaks_off() -> None:
    file = io.StringIO()
    with pytest.raises(KeyboardInterrupt), JsonWriter(file) as writer:
        writer.write(frame(1).to_dict("a.jpg", IMAGE))
        raise KeyboardInterrupt
    assert len(json.loads(file.getvalue())) == 1


def test_json_keeps_names_that_are_no_text() -> None:
    file = io.StringIO()
    with JsonWriter(file) as writer:
        writer.write(frame(0).to_dict("caf\udce9 顔.jpg", IMAGE))
    assert file.getvalue().isascii()
    assert json.loads(file.getvalue())[0]["image"] == "caf\udce9 顔.jpg"


def test_csv_has_one_row_a_face() -> None:
    file = io.StringIO()
    writer = CsvWriter(file, points=5)
    for name, count in (("a, b.jpg", 2), ("none.jpg", 0), ("c.jpg", 1)):
        writer.write(frame(count).to_dict(name, IMAGE))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [(row["image"], row["face"]) for row in rows] == [("a, b.jpg", "0"), ("a, b.jpg", "1"), ("c.jpg", "0")]
    assert rows[1]["x1"] == "1.12"
    assert (rows[1]["scheme"], rows[1]["score"]) == ("five", "0.8765")
    assert (rows[1]["point_0_x"], rows[1]["point_4_y"]) == ("10.1", "19.1")
    assert all(None not in row and None not in row.values() for row in rows)


def test_confidence_is_written_where_the_model_gives_it() -> None:
    (face,) = frame(1, confidence=True).to_dict("a.jpg", IMAGE)["faces"]
    assert list(face) == ["box", "score", "scheme", "points", "confidence"]
    assert face["confidence"][0] == 0.1235
    assert len(face["confidence"]) == 5
    file = io.StringIO()
    CsvWriter(file, points=5, confidence=True).write(frame(2, confidence=True).to_dict("a.jpg", IMAGE))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert (rows[0]["point_4_y"], rows[0]["point_0_confidence"]) == ("9.1", "0.1235")
    assert rows[1]["point_4_confidence"] == "1.0"
    assert all(None not in row and None not in row.values() for row in rows)


def test_the_confidence_of_the_face_is_the_last_column() -> None:
    plain = frame(2, confidence=True)
    whole = replace(plain, landmarks=replace(plain.landmarks, face_confidence=np.array([0.25, 0.987654], np.float32)))
    file = io.StringIO()
    CsvWriter(file, points=5, confidence=True, face_confidence=True).write(whole.to_dict("a.jpg", IMAGE))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert list(rows[0])[-2:] == ["point_4_confidence", "face_confidence"]
    assert [row["face_confidence"] for row in rows] == ["0.25", "0.9877"]
    assert all(None not in row and None not in row.values() for row in rows)


def test_tracks_carry_confidence_likewise() -> None:
    ids, measured = np.array([3, 7]), np.zeros((2, 5, 2), np.float32)
    plain, confident = (
        TrackedFrame(frame(2, confidence=given), ids, measured, 0.5).to_dict(0) for given in (False, True)
    )
    assert "confidence" not in plain["faces"][0]
    assert (confident["faces"][1]["id"], confident["faces"][1]["confidence"][4]) == (7, 1.0)
    file = io.StringIO()
    CsvWriter(file, points=5, confidence=True, columns=FRAME_COLUMNS).write(confident)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert (rows[1]["id"], rows[1]["point_4_confidence"]) == ("7", "1.0")


def test_frames_become_pandas_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = frame(2, confidence=True)
    file = io.StringIO()
    CsvWriter(file, points=5, confidence=True).write(plain.to_dict("a.jpg", IMAGE))
    tracked = TrackedFrame(plain, np.array([3, 7]), np.zeros((2, 5, 2), np.float32), 0.5)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pandas", None)
        with pytest.raises(
            CanthusError, match=r"'pandas', which is not installed. Run: pip install 'canthus\[pandas\]'"
        ):
            plain.to_pandas()
    pandas = pytest.importorskip("pandas")
    expected = pandas.read_csv(io.StringIO(file.getvalue())).drop(columns=["image", "width", "height"])
    pandas.testing.assert_frame_equal(plain.to_pandas(), expected, check_dtype=False)
    assert list(plain[:0].to_pandas().columns) == list(expected.columns)
    table = tracked.to_pandas()
    assert list(table.columns[:4]) == ["time_s", "id", "x1", "y1"]
    assert table["id"].tolist() == [3, 7]
