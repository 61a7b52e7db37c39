from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from canthus.errors import ConfigError, ModelFileError
from canthus.runtime import sessions as session_module
from canthus.runtime.cards import ModelCard
from canthus.runtime.sessions import MAX_BATCH, LandmarkSession, find_model
from canthus.zoo import DEFAULT

TinyModel = Callable[..., Path]


def crops(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_opens_a_path_and_bytes_alike(tiny_model: TinyModel) -> None:
    path = tiny_model()
    by_path, by_bytes = LandmarkSession.open(path), LandmarkSession.open(path.read_bytes())
    assert (by_path.source, by_bytes.source) == (str(path), "bytes")
    assert by_path.size_bytes == by_bytes.size_bytes == path.stat().st_size
    assert by_path.card == by_bytes.card
    assert by_path.scheme.name == "ibug_68"
    np.testing.assert_array_equal(by_path(crops(2)), by_bytes(crops(2)))


def test_points_are_pixels_of_the_crop(tiny_session: LandmarkSession) -> None:
    crop = np.zeros((1, 32, 32, 3), np.uint8)
    crop[0, 20, 9] = 255
    points = tiny_session(crop)
    assert points.shape == (1, 68, 2)
    assert points.dtype == np.float32
    # One bright pixel against 1023 with weight 1e-6 each pulls the centre by 0.01 pixels at most.
    np.testing.assert_allclose(points[0].mean(axis=0), [9, 20], atol=0.02)


def test_no_crop_gives_no_points(tiny_session: LandmarkSession) -> None:
    assert tiny_session(crops(0)).shape == (0, 68, 2)


@pytest.mark.parametrize("count", [1, 2, MAX_BATCH, MAX_BATCH + 1, 2 * MAX_BATCH + 3])
def test_a_batch_equals_its_crops_one_by_one(tiny_session: LandmarkSession, count: int) -> None:
    batch = crops(count)
    one_by_one = np.concatenate([tiny_session(batch[i : i + 1]) for i in range(count)])
    np.testing.assert_allclose(tiny_session(batch), one_by_one, atol=1e-4)


def test_threads_do_not_change_the_result(tiny_model: TinyModel) -> None:
    path = tiny_model()
    one, two = LandmarkSession.open(path, threads=1), LandmarkSession.open(path, threads=2)
    np.testing.assert_allclose(one(crops(3)), two(crops(3)), atol=1e-4)


def test_threads_below_one_are_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(ConfigError, match="at least 1 thread, found 0"):
        LandmarkSession.open(tiny_model(), threads=0)


def test_more_threads_than_processors_are_not_started(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(session_module, "processors", lambda: 2)
    session_module.usable_threads.cache_clear()
    opened: list[int] = []

    class Recording(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, data: bytes, options: Any, **others: Any) -> None:
            opened.append(options.intra_op_num_threads)
            super().__init__(data, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recording)
    path = tiny_model()
    for threads in (1, 2, 2000, 2000):
        LandmarkSession.open(path, threads=threads)
    session_module.usable_threads.cache_clear()
    assert opened == [1, 2, 2, 2]
    assert caplog.messages == ["2000 threads were asked for; 2 are used, one for each processor"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "the file is empty"), (b"not onnx at all", "is no ONNX model"), (b"\0" * 64, "no ONNX")],
)
def test_files_that_are_no_model_say_so(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=reason) as caught:
        LandmarkSession.open(tmp_path / "bad.onnx")
    assert str(tmp_path / "bad.onnx") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_model_says_so(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelFileError, match="is no ONNX model"):
        LandmarkSession.open(tiny_model().read_bytes()[:3000])


def test_model_without_card_says_how_to_get_one(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelFileError, match="holds no model card.*canthus export"):
        LandmarkSession.open(tiny_model(metadata=""))


def test_damaged_card_is_named(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelFileError, match="the model card is not JSON"):
        LandmarkSession.open(tiny_model(metadata="{"))


def test_card_that_contradicts_the_network_is_refused(tiny_model: TinyModel, tiny_session: LandmarkSession) -> None:
    def contradicting(**changes: object) -> str:
        card: ModelCard = replace(tiny_session.card, **changes)  # type: ignore[arg-type]
        return card.to_json()

    with pytest.raises(ModelFileError, match=r"expected one input, tensor\(uint8\) \[n, 48, 48, 3\]; found image"):
        LandmarkSession.open(tiny_model(metadata=contradicting(size=48)))
    with pytest.raises(
        ModelFileError, match=r"expected an output 'points', tensor\(float\) \[n, 98, 2\]; found points"
    ):
        LandmarkSession.open(tiny_model(metadata=contradicting(scheme="wflw_98")))
    with pytest.raises(ModelFileError, match="found landmarks"):
        LandmarkSession.open(tiny_model(output="landmarks"))


def test_counts_of_a_card_are_optional_whole_numbers(tiny_session: LandmarkSession) -> None:
    assert "parameters" not in tiny_session.card.to_json()
    counted = replace(tiny_session.card, parameters=9, multiply_adds=0)
    assert ModelCard.from_json(counted.to_json(), source="m") == counted
    with pytest.raises(ModelFileError, match="'multiply_adds' must be a whole number, not 1.5"):
        ModelCard.from_json(counted.to_json().replace('"multiply_adds": 0', '"multiply_adds": 1.5'), source="m")


def test_missing_files_and_unknown_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "embedded_models", lambda: {"pfld_68": tmp_path / "pfld_68.onnx"})
    with pytest.raises(ModelFileError, match=r"no such file; embedded models: pfld_68"):
        find_model(tmp_path / "missing.onnx")
    with pytest.raises(ModelFileError, match="no such file"):
        find_model("folder/missing")
    with pytest.raises(ModelFileError, match="is a folder, expected an ONNX file"):
        find_model(tmp_path)
    with pytest.raises(ConfigError, match="Unknown model 'pfdl_68'. Did you mean 'pfld_68'"):
        find_model("pfdl_68")


def test_embedded_name_wins_over_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    embedded = tmp_path / "package" / f"{DEFAULT}.onnx"
    monkeypatch.setattr(session_module, "embedded_models", lambda: {DEFAULT: embedded})
    Path(DEFAULT).write_bytes(b"mine")
    assert find_model(DEFAULT) == embedded
    assert find_model("default") == embedded
    assert find_model(f"./{DEFAULT}") == Path(DEFAULT)


def test_installation_without_models_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session_module, "embedded_models", dict)
    with pytest.raises(ModelFileError, match="install canthus again"):
        find_model("default")
