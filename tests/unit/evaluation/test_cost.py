"""Counting, timing and comparing ONNX files; nothing here depends on how long anything takes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.errors import ConfigError, ModelFileError
from canthus.evaluation import onnx_counts
from canthus.evaluation.benchmark import (
    PEAK_MODEL,
    PEAK_SIDE,
    _cpu_name,
    benchmark_json,
    benchmark_models,
    describe_machine,
)
from canthus.evaluation.onnx_counts import count_graph, read_graph, side_files
from canthus.evaluation.timing import fill_shape, latency, open_candidate, share_of_peak, time_in_turns
from canthus.lookup import require
from canthus.runtime.sessions import LandmarkSession
from canthus.zoo import embedded_detectors, embedded_models


def save(path: Path, nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], shape: list[int | str]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_convolutions_and_products_are_counted(small_network: Path) -> None:
    count = count_graph(small_network, {"x": zeros(2, 3, 20, 30)})
    # 10 x 15 outputs: 16 channels of 3 x 3 x 3, then 16 of 3 x 3; the product is 16 x 10; two pictures.
    assert count.multiply_adds == 2 * (10 * 15 * 16 * 27 + 10 * 15 * 16 * 9 + 160)
    assert count.parameters == 16 * 27 + 16 + 16 * 9 + 160
    assert count.uncounted == ()


@pytest.mark.parametrize(
    ("node", "weights", "shape", "expected"),
    [
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2]), zeros(4, 6, 2, 2), [1, 4, 5, 5],
         5 * 5 * 4 * 6 * 4),
        (helper.make_node("MatMul", ["x", "w"], ["y"]), zeros(8, 5), [2, 3, 8], 2 * 3 * 8 * 5),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), zeros(8, 5), [8, 3], 3 * 8 * 5),
        (helper.make_node("Conv", ["x", "w"], ["y"], dilations=[2, 2]), zeros(6, 4, 3, 3), [1, 4, 9, 9], 25 * 6 * 36),
    ],
)  # fmt: skip
def test_operators_by_hand(
    tmp_path: Path, node: onnx.NodeProto, weights: np.ndarray, shape: list[int | str], expected: int
) -> None:
    path = save(tmp_path / "m.onnx", [node], {"w": weights}, shape)
    count = count_graph(path, {"x": zeros(*(int(side) for side in shape))})
    assert count.multiply_adds == expected
    assert count.parameters == weights.size


def test_quantized_weights_count_and_scales_do_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["real"], axis=0),
        helper.make_node("Conv", ["x", "real"], ["y"]),
    ]
    stored: dict[str, np.ndarray] = {
        "w": np.zeros((6, 4, 1, 1), np.int8),
        "scale": np.ones(6, np.float32),
        "zero": np.zeros(6, np.int8),
    }
    count = count_graph(save(tmp_path / "m.onnx", nodes, stored, [1, 4, 7, 7]), {"x": zeros(1, 4, 7, 7)})
    assert count.parameters == 24
    assert count.multiply_adds == 49 * 24


def test_shape_that_depends_on_data_is_counted(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], start=0, end=1),
        helper.make_node("Concat", ["s", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    stored = {"rest": np.array([-1]), "w": zeros(12, 5)}
    count = count_graph(save(tmp_path / "m.onnx", nodes, stored, ["n", 3, 4]), {"x": zeros(7, 3, 4)})
    assert count.multiply_adds == 7 * 12 * 5
    assert count.parameters == 60, "the integers of a shape are no parameters"


def test_constants_count_and_other_products_are_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(zeros(4, 5))),
        helper.make_node("Einsum", ["x", "w"], ["y"], equation="nk,km->nm"),
    ]
    count = count_graph(save(tmp_path / "m.onnx", nodes, {}, [2, 4]), {"x": zeros(2, 4)})
    assert (count.parameters, count.multiply_adds, count.uncounted) == (20, 0, ("Einsum",))


def test_numbers_in_a_side_file_are_counted(tmp_path: Path, small_network: Path) -> None:
    model = onnx.load(small_network)
    path = tmp_path / "split" / "m.onnx"
    path.parent.mkdir()
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    assert side_files(path) == [path.parent / "m.data"]
    assert side_files(small_network) == []
    feeds = {"x": zeros(1, 3, 20, 30)}
    assert count_graph(path, feeds) == count_graph(small_network, feeds)


@pytest.mark.parametrize("data", [b"", b"no model at all", b"\x3a\xff\xff", b"\x3a\x02\x0a\x09", b"\xff" * 12])
def test_other_bytes_are_no_model(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelFileError, match="ONNX model"):
        read_graph(tmp_path / "m.onnx")
    with pytest.raises(ModelFileError, match="m: .*ONNX model"):
        open_candidate(tmp_path / "m.onnx", name="m", threads=1)


def test_inputs_that_do_not_fit_are_no_count(small_network: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be run on x"):
        count_graph(small_network, {"x": zeros(1, 4, 20, 30)})


def test_peak_model_is_a_matrix_product() -> None:
    onnx.checker.check_model(PEAK_MODEL)
    session = onnxruntime.InferenceSession(PEAK_MODEL, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).normal(size=(PEAK_SIDE, PEAK_SIDE)).astype(np.float32)
    expected = x @ np.full((PEAK_SIDE, PEAK_SIDE), 1 / 64, np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-4, atol=1e-4)
    assert count_graph(PEAK_MODEL, {"x": x}).multiply_adds == PEAK_SIDE**3


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_counts, "require", lambda module, *, extra: require(f"absent_{module}", extra=extra))


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        *((path, (2, *2 * [LandmarkSession.open(path).card.size], 3)) for path in embedded_models().values()),
        *((path, (2, 480, 640, 3)) for path in embedded_detectors().values()),
    ],
)
def test_cards_hold_the_counts_of_their_graph(
    path: Path, shape: tuple[int, ...], request: pytest.FixtureRequest
) -> None:
    expected = count_graph(path, {"image": np.zeros(shape, np.uint8)})
    request.getfixturevalue("without_onnx")
    (cost,) = benchmark_models({"m": path}, repeats=1, batch=2).models
    assert (cost.shapes, cost.count, cost.uncounted) == ({"image": shape}, expected, "")
    assert cost.size_bytes == path.stat().st_size


def test_another_shape_than_that_of_the_card_is_counted() -> None:
    path, shape = embedded_detectors()["face_detector"], (1, 64, 96, 3)
    (cost,) = benchmark_models({"m": path}, repeats=1, shapes={"image": shape}).models
    assert cost.count == count_graph(path, {"image": np.zeros(shape, np.uint8)})


@pytest.mark.usefixtures("without_onnx")
def test_a_file_without_counts_says_what_counting_needs(small_network: Path) -> None:
    (cost,) = benchmark_models({"m": small_network}, repeats=1).models
    assert (cost.count, cost.peak_share, cost.size_bytes) == (None, None, small_network.stat().st_size)
    assert "pip install 'canthus[train]'" in cost.uncounted


@pytest.mark.parametrize(
    ("declared", "batch", "shape"),
    [
        (["n", 3, "h", "w"], 2, (2, 3, 112, 112)),
        ([None, "h", None, 3], 1, (1, 112, 112, 3)),
        ([1, 3, 64, 48], 1, (1, 3, 64, 48)),
        (["n", "c", "h", "w"], 1, (1, 3, 112, 112)),
        ([-1, 1, -1, -1], 4, (4, 1, 112, 112)),
        (["n", 136], 3, (3, 136)),
        (["n", "k"], 1, (1, 1)),
        ([512, 512], 1, (512, 512)),
        ([], 1, ()),
    ],
)
def test_open_sides_are_filled(declared: list[int | str | None], batch: int, shape: tuple[int, ...]) -> None:
    assert fill_shape(declared, batch=batch, name="m") == shape


@pytest.mark.parametrize(("declared", "batch"), [([1, 3, 64, 64], 2), ([8, 3, 64, 64], 1), ([1, 5], 3)])
def test_fixed_batch_is_not_ignored(declared: list[int | str | None], batch: int) -> None:
    with pytest.raises(ConfigError, match=f"m: its batch is fixed to {declared[0]}, asked for {batch}"):
        fill_shape(declared, batch=batch, name="m")


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64, TensorProto.BOOL])
def test_inputs_of_other_types_are_made_up(tmp_path: Path, kind: int) -> None:
    value = helper.make_tensor_value_info("x", kind, ["n", 4])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "g", [value], [helper.make_tensor_value_info("y", kind, ["n", 4])]
    )
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    candidate = open_candidate(path, name="m", threads=1, batch=2)
    assert candidate.feeds["x"].dtype == helper.tensor_dtype_to_np_dtype(kind)
    assert candidate.shapes == {"x": (2, 4)}


def test_texts_cannot_be_made_up(tmp_path: Path) -> None:
    kind = TensorProto.STRING
    values = [helper.make_tensor_value_info(name, kind, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(ConfigError, match=r"m: an input is tensor\(string\)"):
        open_candidate(path, name="m", threads=1)


def test_inputs_that_do_not_run_ask_for_shapes(small_network: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"cannot be run on x \[1, 5, 8, 8\].*are made up; name their shapes by --shape"
    ):
        open_candidate(small_network, name="m", threads=1, shapes={"x": (1, 5, 8, 8)})


def test_turns_visit_all_equally_and_rotate() -> None:
    calls: list[str] = []
    runs = [lambda name=name: calls.append(name) for name in "abc"]
    rounds = list(time_in_turns(runs, rounds=3, calls=2, warm_up=1))
    assert [seconds.shape for seconds in rounds] == [(3, 2)] * 3
    assert all((seconds >= 0).all() for seconds in rounds)
    assert "".join(calls) == "abc" + "aaabbbccc" + "bbbcccaaa" + "cccaaabbb"


@pytest.mark.parametrize(("rounds", "calls"), [(0, 1), (1, 0)])
def test_no_turns_are_refused(rounds: int, calls: int) -> None:
    with pytest.raises(ValueError, match="at least one round"):
        list(time_in_turns([], rounds=rounds, calls=calls))


def test_quantiles_and_share_of_peak() -> None:
    found = latency(np.arange(0.0, 101.0))
    assert (found.p10_s, found.median_s, found.p90_s) == (10, 50, 90)
    assert share_of_peak(50, seconds=2.0, peak_flops=100.0) == 0.5


def test_benchmark_compares_with_the_first(small_network: Path) -> None:
    progress: list[tuple[int, int]] = []
    result = benchmark_models(
        {"one": small_network, "two": small_network},
        repeats=7, batch=2, shapes={"x": (2, 3, 20, 30)}, on_round=lambda *done: progress.append(done),
    )  # fmt: skip
    assert progress == [(1, 2), (2, 2)]
    assert result.repeats == 10
    assert result.machine == describe_machine()
    one, two = result.models
    assert one.ratio == 1.0
    assert two.ratio == pytest.approx(two.latency.median_s / one.latency.median_s)
    assert one.size_bytes == small_network.stat().st_size
    assert one.count == count_graph(small_network, {"x": zeros(2, 3, 20, 30)})
    assert one.count is not None
    assert one.peak_share == pytest.approx(2 * one.count.multiply_adds / one.latency.median_s / result.peak_flops)


def test_benchmark_json_is_flat_and_honest_without_a_count(small_network: Path) -> None:
    result = benchmark_models({"one": small_network}, repeats=1)
    values = benchmark_json(result)["models"][0]
    assert values["multiply_adds"] == count_graph(small_network, {"x": zeros(1, 3, 112, 112)}).multiply_adds
    assert values["note"] == ""
    unknown = replace(result.models[0], count=None, peak_share=None, uncounted="why")
    values = benchmark_json(replace(result, models=(unknown,)))["models"][0]
    assert (values["parameters"], values["multiply_adds"], values["note"]) == (None, None, "why")


def test_benchmark_refuses_what_would_be_ignored(small_network: Path) -> None:
    with pytest.raises(ConfigError, match="No model has an input 'z'; inputs: x"):
        benchmark_models({"m": small_network}, shapes={"z": (1,)})
    with pytest.raises(ValueError, match="at least one model"):
        benchmark_models({})


def test_cpu_name_is_read_or_unknown(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name\t: Fast CPU 9000\n")
    assert _cpu_name(tmp_path / "cpuinfo") == "Fast CPU 9000"
    assert _cpu_name(tmp_path / "absent")
