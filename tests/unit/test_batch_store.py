"""Results of ``canthus batch``: shards, and starts that go on where another one was killed."""

from pathlib import Path
from typing import Any

import pytest

from batch_pictures import frame, stored
from canthus.errors import ConfigError, DataError
from canthus.schemes import find_scheme

pq = pytest.importorskip("pyarrow.parquet")

from canthus.batch.rows import FaceRows  # noqa: E402
from canthus.batch.sources import Part  # noqa: E402
from canthus.batch.store import Store  # noqa: E402

IBUG = find_scheme("ibug_68")


def rows_of(*pictures: str, faces: int = 1) -> Any:
    """Rows of pictures with some faces each; those called bad have failed."""
    rows = FaceRows(IBUG)
    for picture in pictures:
        if picture.startswith("bad"):
            rows.add_failure(picture, "the file is empty")
        else:
            rows.add(picture, frame(faces), width=8, height=8)
    return rows.table()


def test_a_store_writes_shards_and_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Store(str(folder), {"model": 1}, Part(), shard=2) as store:
        store.add(rows_of("a", "bad1", faces=2))
        store.add(rows_of("b"))
        assert len(list((folder / "pictures").iterdir())) == 1
    with Store(str(folder), {"model": 1}, Part(), shard=2) as store:
        assert (store.tally.pictures, store.tally.faces, store.tally.failed) == (3, 3, 1)
        assert all(name in store.done for name in ("a", "b", "bad1"))
        store.add(rows_of("b", "c", "a", "c"))  # what is there already is not added again
    assert stored(folder) == (["a", "a", "b", "c"], ["a", "b", "bad1", "c"])
    assert sorted(path.name for path in folder.iterdir()) == ["faces", "manifest.json", "pictures"]


def test_what_a_killed_run_has_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Store(str(folder), {}, Part(1, 2), shard=1) as store:
        store.add(rows_of("a"))
    half = folder / "faces" / "00001-of-00002-000001.parquet"
    other = folder / "faces" / "00002-of-00002-000000.parquet"
    aside = folder / "unfinished" / "00001-of-00002" / "00001-of-00002-000002.parquet"
    aside.parent.mkdir(parents=True)
    for path in (half, other, aside):
        path.write_bytes((folder / "faces" / "00001-of-00002-000000.parquet").read_bytes())
    with Store(str(folder), {}, Part(1, 2), shard=1) as store:
        store.add(rows_of("b"))
    assert not aside.exists()
    assert other.exists()  # another part may be about to write its pictures
    assert pq.read_table(half)["picture"].to_pylist() == ["b"]


def test_pictures_that_failed_are_tried_again_only_if_asked(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Store(str(folder), {}, Part()) as store:
        store.add(rows_of("a", "bad1", "bad2"))
    with Store(str(folder), {}, Part()) as store:
        assert "bad1" in store.done
    with Store(str(folder), {}, Part(), retry_failed=True) as store:
        assert "bad1" not in store.done
        assert "a" in store.done
        assert (store.tally.pictures, store.tally.failed) == (1, 0)
        store.add(rows_of("bad1"))
    assert stored(folder) == (["a"], ["a", "bad1"])


def test_other_settings_other_files_and_second_runs_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with Store(str(folder), {"model_sha256": "1", "parts": 1}, Part()) as store:
        store.add(rows_of("a"))
    with (
        pytest.raises(ConfigError, match="otherwise: model_sha256 was 1, is 2. Run the same"),
        Store(str(folder), {"model_sha256": "2", "parts": 1}, Part()),
    ):
        pass
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ConfigError, match=r"holds other files and no manifest.json"), Store(str(tmp_path), {}, Part()):
        pass
    with pytest.raises(ConfigError, match="is a file"), Store(str(tmp_path / "photo.jpg"), {}, Part()):
        pass
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"), Store(str(folder), {}, Part()):
        pass


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    with Store(str(tmp_path / "out"), {}, Part()) as store:
        store.add(rows_of("a"))
    (shard,) = (tmp_path / "out" / "pictures").iterdir()
    shard.write_bytes(shard.read_bytes()[:40])
    with pytest.raises(DataError, match=r"remove it and .*faces/"), Store(str(tmp_path / "out"), {}, Part()):
        pass
