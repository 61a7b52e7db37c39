"""Rows of faces as Arrow tables."""

import math

import numpy as np
import pytest

from batch_pictures import frame
from canthus.schemes import find_scheme
from canthus.types import TrackedFrame

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

from canthus.batch.rows import FaceRows, faces_of, pictures_of, row_schema  # noqa: E402

IBUG = find_scheme("ibug_68")


def test_rows_hold_the_numbers_of_each_face_and_one_row_for_pictures_without() -> None:
    rows, pair = FaceRows(IBUG), frame(2)
    rows.add("two.jpg", pair, width=320, height=240)
    rows.add("none.jpg", frame(0), width=32, height=24)
    rows.add_failure("bad.jpg", "the file is empty")
    assert len(rows) == 4
    table = rows.table()
    assert table.schema == row_schema(IBUG)
    found = table.to_pylist()
    assert [(row["picture"], row["status"], row["face"], row["width"]) for row in found] == [
        ("two.jpg", "done", 0, 320),
        ("two.jpg", "done", 1, 320),
        ("none.jpg", "done", None, 32),
        ("bad.jpg", "failed", None, None),
    ]
    for index, face in enumerate(pair):
        row = found[index]
        assert np.array_equal(np.float32(row["points"]).reshape(68, 2), face.points)
        assert np.array_equal(np.float32(row["box"]), face.box)
        assert face.confidence is not None
        assert face.five_points is not None
        assert np.array_equal(np.float32(row["confidence"]), face.confidence)
        assert np.array_equal(np.float32(row["five_points"]).reshape(5, 2), face.five_points)
        assert (row["score"], row["face_confidence"]) == (face.score, face.face_confidence)
        assert all(math.isfinite(row[name]) for name in ("yaw_deg", "pitch_deg", "roll_deg"))
    assert found[3]["error"] == "the file is empty"
    assert [found[2][name] for name in ("box", "points", "score", "yaw_deg")] == [None] * 4
    assert len(rows) == rows.table().num_rows == 0


def test_faces_and_pictures_are_the_two_sides_of_the_rows() -> None:
    rows = FaceRows(IBUG)
    for number, faces in enumerate((0, 3, 0, 1)):
        rows.add(f"{number}.jpg", frame(faces, seed=number), width=8, height=8)
    table = rows.table()
    faces, pictures = faces_of(table), pictures_of(table)
    assert faces["picture"].to_pylist() == ["1.jpg"] * 3 + ["3.jpg"]
    assert faces["face"].to_pylist() == [0, 1, 2, 0]
    assert pictures["picture"].to_pylist() == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert pictures["faces"].to_pylist() == [0, 3, 0, 1]
    assert not {"status", "error"} & set(faces.column_names)
    empty = FaceRows(IBUG).table()
    assert (faces_of(empty).num_rows, pictures_of(empty).num_rows) == (0, 0)
    assert pictures_of(empty).schema == pictures.schema


def test_faces_of_a_video_are_counted_through_all_frames() -> None:
    rows = FaceRows(IBUG)
    for number, ids in enumerate(([4, 7], [], [7])):
        found = frame(len(ids), seed=number)
        tracked = TrackedFrame(found, np.array(ids, np.int64), found.landmarks.points, number / 25)
        rows.add("film.mp4", tracked, width=8, height=8, number=number)
    table = rows.table()
    assert [(row["face"], row["frame"], row["time_s"], row["id"]) for row in table.to_pylist()] == [
        (0, 0, 0.0, 4),
        (1, 0, 0.0, 7),
        (2, 2, 0.08, 7),
    ]
    assert pictures_of(table)["faces"].to_pylist() == [3]


def test_what_a_model_does_not_give_is_null() -> None:
    rows = FaceRows(find_scheme("aflw_21"))
    rows.add("a.jpg", frame(1, scheme="aflw_21", extras=False))
    (row,) = rows.table().to_pylist()
    assert (len(row["points"]), row["scheme"]) == (42, "aflw_21")
    names = ("confidence", "face_confidence", "five_points", "yaw_deg", "id", "time_s", "width", "error")
    assert [row[name] for name in names] == [None] * len(names)


def test_parquet_keeps_the_table_and_names_that_are_no_text(tmp_path: object) -> None:
    rows = FaceRows(IBUG)
    rows.add("a\udcff.jpg", frame(1), width=8, height=8)
    rows.add_failure("b.jpg", "cannot be read")
    table = rows.table()
    parquet.write_table(table, f"{tmp_path}/rows.parquet")
    again = parquet.read_table(f"{tmp_path}/rows.parquet")
    assert again.equals(table)
    assert again.schema == table.schema
    assert again["picture"].to_pylist() == ["a\\udcff.jpg", "b.jpg"]
