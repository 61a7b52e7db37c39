"""``canthus batch`` with buckets, Ray and Spark, and its results in other programs; each where it is installed."""

import logging
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from canthus.images import write_image

pytest.importorskip("pyarrow")
TinyModel = Callable[..., Path]
SETTINGS = ("--detector", "none", "--passes", "1", "--workers", "1")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures and a broken one, in the folder ``photos`` of the current folder."""
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_image(tmp_path / f"photos/{number}.png", np.full((30, 30, 3), 60 * number, np.uint8))
    (tmp_path / "photos/broken.png").write_bytes(b"")
    return tmp_path / "photos"


def run(*arguments: str | Path, code: int = 1) -> str:
    """Run the command in a process of its own; the closing line."""
    command = [sys.executable, "-m", "canthus", "batch", *map(str, arguments), *SETTINGS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr.splitlines()[-1].split("; ")[1]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket ``faces`` on this machine, for made-up credentials."""
    server = pytest.importorskip("moto.server")
    import pyarrow.fs as pafs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "made-up")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    address = "http://{}:{}".format(*moto.get_host_and_port())
    files = pafs.S3FileSystem(endpoint_override=address, region="us-east-1", allow_bucket_creation=True)
    files.create_dir("faces")
    yield files, f"?endpoint_override={address}&region=us-east-1"
    moto.stop()


def test_from_bucket_to_bucket(bucket: Any, photos: Path, tiny_model: TinyModel) -> None:
    import pyarrow.parquet as pq

    files, query = bucket
    for path in photos.iterdir():
        with files.open_output_stream(f"faces/photos/{path.name}") as file:
            file.write(path.read_bytes())
    command = (f"s3://faces/photos{query}", f"s3://faces/out{query}", "--model", tiny_model())
    assert run(*command) == "s3://faces/out holds 4 pictures, 3 faces, 1 failed"
    pictures = pq.read_table("faces/out/pictures", filesystem=files)
    assert sorted(pictures["picture"].to_pylist()) == [
        *(f"s3://faces/photos/{number}.png" for number in range(3)),
        "s3://faces/photos/broken.png",
    ]
    assert run(*command) == "s3://faces/out holds 4 pictures, 3 faces, 1 failed"
    closing = run(f"s3://faces/p*/[01].png{query}", "out", "--model", tiny_model(), code=0)
    assert closing == "out holds 2 pictures, 2 faces, 0 failed"


def test_other_programs_read_the_results(photos: Path, tiny_model: TinyModel) -> None:
    run("photos", "out", "--model", tiny_model())
    read = 0
    for name in ("pandas", "polars", "duckdb"):
        try:
            library: Any = __import__(name)
        except ImportError:
            continue
        read += 1
        if name == "duckdb":
            rows = library.sql("select picture, points, yaw_deg from 'out/faces/*.parquet' order by picture").fetchall()
            failed = library.sql("select error from 'out/pictures/*.parquet' where status = 'failed'").fetchall()
            assert failed == [("the file is empty",)]
        elif name == "polars":
            rows = library.read_parquet("out/faces/*.parquet").sort("picture").select("picture", "points").rows()
        else:
            rows = library.read_parquet("out/faces").sort_values("picture")[["picture", "points"]].values.tolist()
        assert [row[0] for row in rows] == [f"photos/{number}.png" for number in range(3)]
        assert [np.asarray(row[1]).shape for row in rows] == [(136,)] * 3
    if not read:
        pytest.skip("neither pandas nor polars nor duckdb is installed")


def test_ray_gives_the_same_dataset(photos: Path, tiny_model: TinyModel) -> None:
    import pyarrow.parquet as pq

    pytest.importorskip("ray")
    model = tiny_model()
    assert run("photos", "ray", "--engine", "ray", "--model", model) == "ray holds 4 pictures, 3 faces, 1 failed"
    assert run("photos", "local", "--model", model) == "local holds 4 pictures, 3 faces, 1 failed"
    for kind in ("faces", "pictures"):
        first, second = (pq.read_table(f"{way}/{kind}").sort_by("picture") for way in ("ray", "local"))
        assert first.equals(second)


def test_spark_runs_the_marker(photos: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sql = pytest.importorskip("pyspark.sql")
    pytest.importorskip("pandas")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    model = str(tiny_model())
    with warnings.catch_warnings(action="ignore"):  # of pyspark, about versions of others
        spark = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
        try:
            files = spark.createDataFrame([(str(path),) for path in sorted(photos.iterdir())], ["path"])

            def mark(frames: Any) -> Any:
                from canthus.batch import Marker

                marker = Marker(model, detector="none", passes=1)
                for frame in frames:
                    yield marker(frame)[["picture", "error", "face", "points"]]

            rows = files.mapInPandas(mark, "picture string, error string, face int, points array<float>").collect()
        finally:
            spark.stop()
    assert [row["face"] for row in rows] == [0, 0, 0, None]
    assert rows[3]["error"] == "the file is empty"
    assert len(rows[0]["points"]) == 136
