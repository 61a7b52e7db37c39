import math
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ConfigError, DataError, OutputError
from canthus.evaluation.predictions import Prediction
from canthus.evaluation.rows import FaceError, face_error, read_rows, worst_faces, write_rows
from canthus.types import Annotation


def exact(truth: Annotation, offset: float = 0.0) -> Prediction:
    return Prediction(truth, truth.points + np.float32(offset), found=True, box=truth.box, overlap=1.0)


def score(prediction: Prediction) -> FaceError:
    return face_error(prediction, dataset="drawn", split="all", boxes="truth")


def test_row_of_a_shifted_prediction(faces: list[Annotation]) -> None:
    row = score(exact(faces[0], offset=2.0))
    assert row.nme_ion == pytest.approx(2 * math.sqrt(2) / 40, rel=1e-5)
    assert set(row.parts) == set(faces[0].scheme.groups)
    assert row.parts["jaw"] == pytest.approx(row.nme_ion, rel=1e-5)
    assert row.hidden == pytest.approx(17 / 68)
    assert row.attributes == {"pose": False}
    assert (row.key, row.dataset, row.split, row.subset, row.boxes) == ("a_1", "drawn", "all", "easy", "truth")


def test_truth_without_a_scale_is_refused(faces: list[Annotation]) -> None:
    points = faces[0].points.copy()
    points[45] = points[36]
    with pytest.raises(DataError, match=r"a_1: the scale 'ion' of the truth is 0"):
        score(exact(replace(faces[0], points=points)))


def test_nan_without_a_mark_of_a_missed_face_is_refused(faces: list[Annotation]) -> None:
    with pytest.raises(DataError, match="must be marked missed"):
        score(exact(faces[0], offset=math.nan))


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_come_back_as_written(faces: list[Annotation], tmp_path: Path, suffix: str) -> None:
    rows = [score(exact(faces[0], 1.234)), score(exact(faces[1], 0.3))]
    path = tmp_path / f"rows{suffix}"
    write_rows(path, rows)
    # Tuples compare NaN, which is not equal to itself, by identity; since Python 3.13 the rows themselves do not.
    assert [astuple(row) for row in read_rows(path)] == [astuple(row) for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_missed_faces_come_back_as_missed(faces: list[Annotation], tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    write_rows(path, [score(Prediction.missed(faces[0], overlap=0.25))])
    (row,) = read_rows(path)
    assert not row.found
    assert row.overlap == 0.25
    assert math.isnan(row.nme_ion)
    assert all(math.isnan(value) for value in row.parts.values())


def test_rows_of_earlier_versions_are_read(faces: list[Annotation], tmp_path: Path) -> None:
    write_rows(tmp_path / "old.csv", [replace(score(exact(faces[0])), openness={})])
    assert "nme_eyes" not in (tmp_path / "old.csv").read_text()
    assert read_rows(tmp_path / "old.csv")[0].openness == {}


def test_rows_into_nowhere_are_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_rows(tmp_path / "file" / "rows.csv", [])
    write_rows(tmp_path / "new" / "folder" / "rows.parquet", [])
    assert (tmp_path / "new" / "folder" / "rows.parquet").is_file()


def test_no_rows_are_a_table_of_length_zero(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", [])
    assert read_rows(tmp_path / "rows.csv") == []


@pytest.mark.parametrize("name", ["rows.xlsx", "rows"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        write_rows(tmp_path / name, [])
    with pytest.raises(ConfigError, match=r"\.csv or \.parquet"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,other\na,b\n", "row 0 lacks dataset"),
        ("key,dataset,split,subset,boxes,found,overlap,hidden,nme_ion,nme_ipn,nme_box\na,d,s,,truth,maybe,1,0,0,0,0\n",
         "expected True or False, found 'maybe'"),
        ("key,dataset,split,subset,boxes,found,overlap,hidden,nme_ion,nme_ipn,nme_box\na,d,s,,truth,True,1,0,x,0,0\n",
         "could not convert"),
    ],
)  # fmt: skip
def test_foreign_csv_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_foreign_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        read_rows(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path / "absent.csv")


def test_missed_faces_take_half_of_the_places(faces: list[Annotation]) -> None:
    predictions = [exact(faces[0], 1), exact(faces[1], 3), *[Prediction.missed(faces[2])] * 3, exact(faces[2], 2)]
    rows = [score(p) for p in predictions]
    worst = [row.nme_ion for _, row in worst_faces(predictions, rows, count=4)]
    assert np.isnan(worst[:2]).all()
    assert worst[2:] == [rows[1].nme_ion, rows[5].nme_ion]
    everything = worst_faces(predictions, rows, count=100)
    assert len(everything) == 6
    assert [row.found for _, row in everything] == [False] * 3 + [True] * 3
