"""ONNX files from strangers: each is opened, or refused in one line, within bounds of time and memory."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.errors import CanthusError, ModelFileError
from canthus.evaluation.benchmark import PEAK_MODEL
from canthus.evaluation.timing import open_candidate
from canthus.runtime import onnx_checks
from canthus.runtime import sessions as session_module
from canthus.runtime.onnx_checks import MOST_CREATED, check_onnx
from canthus.runtime.sessions import BoundedSession, DetectorSession, LandmarkSession
from canthus.zoo import embedded_detectors, embedded_models
from small_networks import SIZE, write_small_landmarker

CROPS = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), dtype=np.uint8)


# Graphs.


def model_of(
    nodes: list[onnx.NodeProto],
    stored: Mapping[str, np.ndarray] | None = None,
    *,
    shape: tuple[Any, ...] = ("n", 4),
    opsets: Mapping[str, int] | None = None,
) -> onnx.ModelProto:
    """A network from ``x`` to ``y``, both float."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (stored or {}).items()],
    )
    known = [helper.make_opsetid(domain, version) for domain, version in {"": 18, **(opsets or {})}.items()]
    return helper.make_model(graph, opset_imports=known, ir_version=9)


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def external(name: str) -> onnx.TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=name)
    return tensor


def with_external_initializer(name: str = "secret") -> onnx.ModelProto:
    model = model_of([node("Add", "x w")])
    model.graph.initializer.append(external(name))
    return model


def with_external_constant() -> onnx.ModelProto:
    return model_of([node("Constant", "", "w", value=external("secret")), node("Add", "x w")])


def with_unmarked_location() -> onnx.ModelProto:
    model = with_external_initializer()
    model.graph.initializer[0].ClearField("data_location")
    return model


def body(stored: list[onnx.TensorProto] | None = None) -> onnx.GraphProto:
    value = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    return helper.make_graph([node("Identity", "x", "z")], "inner", [], [value], stored or [])


def with_if(stored: list[onnx.TensorProto] | None = None) -> onnx.ModelProto:
    branches = {"then_branch": body(stored), "else_branch": body()}
    return model_of([node("If", "sure", **branches)], {"sure": np.array(True)})


def with_loop() -> onnx.ModelProto:
    counted = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("i", TensorProto.INT64), ("go", TensorProto.BOOL))
    ]
    going = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    inner = helper.make_graph([node("Identity", "go", "on")], "inner", counted, [going])
    return model_of(
        [node("Loop", "most sure", "", body=inner), node("Relu", "x")],
        {"most": np.array(2**62), "sure": np.array(True)},
    )


def with_sparse_initializer() -> onnx.ModelProto:
    model = model_of([node("Add", "x w")])
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(np.zeros(1, np.int64)), [10**6])
    )
    return model


def with_sparse_constant() -> onnx.ModelProto:
    model = with_sparse_initializer()
    sparse = model.graph.sparse_initializer[0]
    return model_of([node("Constant", "", "w", sparse_value=sparse), node("Add", "x w")])


def with_function() -> onnx.ModelProto:
    model = model_of([node("Twice", "x", domain="mine")], opsets={"mine": 1})
    inner = helper.make_function("mine", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], model.opset_import)
    model.functions.append(inner)
    return model


def with_claimed_size(dims: list[int]) -> onnx.ModelProto:
    model = model_of([node("Add", "x w")])
    model.graph.initializer.append(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(16)))
    return model


def shaped(operator: str, shape: np.ndarray, *, inputs: str = "x shape") -> onnx.ModelProto:
    return model_of([node(operator, inputs)], {"shape": shape, "one": np.array(1)})


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "external weights": (with_external_initializer, "stored in other files"),
    "external weights, absolute": (lambda: with_external_initializer("/etc/passwd"), "stored in other files"),
    "external weights, above": (lambda: with_external_initializer("../x"), "stored in other files"),
    "external constant": (with_external_constant, "stored in other files"),
    "a location without its mark": (with_unmarked_location, "stored in other files"),
    "external weights inside a branch": (lambda: with_if([external("secret")]), "a graph inside"),
    "a branch": (with_if, "a graph inside, such as If, Loop or Scan"),
    "a loop": (with_loop, "a graph inside, such as If, Loop or Scan"),
    "sparse weights": (with_sparse_initializer, "sparse tensors"),
    "a sparse constant": (with_sparse_constant, "sparse tensors"),
    "a function": (with_function, "functions or training steps|of the domain 'mine'"),
    "a foreign operator": (
        lambda: model_of([node("Read", "x", domain="evil")], opsets={"evil": 1}), "an operator of the domain 'evil'",
    ),
    "more numbers than bytes": (lambda: with_claimed_size([10**9]), r"shape \[1000000000\] with 16 bytes"),
    "a shape below zero": (lambda: with_claimed_size([-4]), r"shape \[-4\] with 16 bytes"),
    "a shape that overflows": (lambda: with_claimed_size([2**62, 2**62]), "with 16 bytes"),
    "a large constant": (
        lambda: shaped("ConstantOfShape", np.array([30_000, 30_000]), inputs="shape"), "ConstantOfShape makes 9e",
    ),
    "a large constant of constants": (
        lambda: model_of([node("Constant", "", "s", value_ints=[2**40]), node("ConstantOfShape", "s")]),
        "ConstantOfShape makes 1.1e",
    ),
    "an expansion": (lambda: shaped("Expand", np.array([10**5, 10**5])), r"Expand makes 1e\+10"),
    "tiles": (lambda: shaped("Tile", np.array([10**4, 10**4])), r"Tile makes 1e\+08"),
    "a large size": (
        lambda: model_of([node("Resize", "x none none s")],
                         {"s": np.array([1, 10**9]), "none": np.zeros(0, np.float32)}),
        r"Resize makes 1e\+09",
    ),
    "a scale without end": (
        lambda: model_of([node("Resize", "x none s")],
                         {"s": np.array([1, np.inf], np.float32), "none": np.zeros(0, np.float32)}),
        "Resize makes inf",
    ),
    "a long range": (lambda: shaped("Range", np.array(10**12), inputs="one shape one"), r"Range makes 1e\+12"),
    "wide padding": (lambda: shaped("Pad", np.array([0, 0, 0, 10**9])), r"Pad makes 1e\+09"),
    "sizes that pixels decide": (
        lambda: model_of([node("Cast", "x", "s", to=7), node("ConstantOfShape", "s")]), "as large as the values",
    ),
    "counts that pixels decide": (
        lambda: model_of([node("NonZero", "x", "s"), node("Cast", "s", to=1)]), "as large as the values",
    ),
    "too many operators": (
        lambda: model_of([node("Relu", "x", f"a{i}") for i in range(50)] + [node("Relu", "x")]),
        "more than 50 operators",
    ),
    "no operators": (lambda: model_of([]), "its graph is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_could_harm_are_refused_before_they_are_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, reason = REFUSED[name]
    monkeypatch.setattr(onnx_checks, "MOST_NODES", 50)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("a session was made"))
    data = make().SerializeToString()
    for open_file in (
        lambda: LandmarkSession.open(data),
        lambda: DetectorSession.open(data),
        lambda: check_onnx(data, source="bytes"),
    ):
        with pytest.raises(ModelFileError, match=reason) as caught:
            open_file()
        assert str(caught.value).startswith("bytes: ")
        assert str(caught.value).isprintable()


def test_what_onnx_runtime_would_have_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes of a file below the current folder come out as numbers: that is why the file is refused first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    data = with_external_initializer().SerializeToString()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros((1, 4), np.float32)})[0].tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize("path", [*embedded_models().values(), *embedded_detectors().values()], ids=lambda p: p.stem)
def test_embedded_files_pass(path: Path) -> None:
    check_onnx(path.read_bytes(), source=path.name)


def test_usual_graphs_pass() -> None:
    stored = {"scale": np.array([1, 1, 2, 2], np.float32), "none": np.zeros(0, np.float32), "index": np.array([0])}
    nodes = [
        node("Resize", "x none scale", "big"),
        node("Shape", "big", "sides"),
        node("Gather", "sides index", "count"),
        node("Expand", "big sides"),
    ]
    check_onnx(model_of(nodes, stored, shape=("n", 3, "h", "w")).SerializeToString(), source="m")
    check_onnx(PEAK_MODEL.read_bytes(), source="peak")
    assert MOST_CREATED > 512 * 512


def test_every_cut_of_a_file_is_refused_or_whole(tmp_path: Path) -> None:
    data = write_small_landmarker(tmp_path / "m.onnx").read_bytes()
    for end in [*range(1, 200), *range(200, len(data) - 1, 997)]:
        with pytest.raises(ModelFileError) as caught:
            LandmarkSession.open(data[:end])
        assert "\n" not in str(caught.value)


def test_changed_bytes_are_refused_or_run(tmp_path: Path) -> None:
    """400 files with a few bytes changed: an answer or one line, and nothing else."""
    data = write_small_landmarker(tmp_path / "m.onnx", tells_spread=True).read_bytes()
    graph = data.index(b"planes")  # from here on there are names, shapes and operators besides the weights
    rng = np.random.default_rng(0)
    answered = 0
    for _ in range(400):
        changed = bytearray(data)
        for place in rng.integers(0, len(data), 3) if rng.random() < 0.3 else rng.integers(graph - 40, graph + 900, 2):
            changed[place] = rng.integers(0, 256)
        with contextlib.suppress(CanthusError):
            LandmarkSession.open(bytes(changed)).answer(CROPS)
            answered += 1
    assert 0 < answered < 400


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"\x3a\x80", "a number without an end"),
        (b"\x3a\x05\x0a", "reaches beyond its end"),
        (b"\x38\x01", "a number where a message is expected"),
        (b"\x0b", "a field of the kind 3"),
        (b"\x08" + b"\xff" * 12, "a number without an end"),
        (b"\x3a\x06\x0a\x04\x22\x02\xff\xfe", "utf-8"),
    ],
)
def test_bytes_that_are_no_model(data: bytes, reason: str) -> None:
    with pytest.raises(ModelFileError, match=reason):
        check_onnx(data, source="m")


def test_a_file_of_tiny_fields_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_checks, "MOST_FIELDS", 1000)
    with pytest.raises(ModelFileError, match="more than 1000 fields"):
        check_onnx(b"\x08\x01" * 1001, source="m")


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_small_landmarker(tmp_path / "m.onnx")
    monkeypatch.setattr(session_module, "MOST_BYTES", 1000)
    with pytest.raises(ModelFileError, match="m.onnx: has more than 1,000 bytes"):
        LandmarkSession.open(path)


# Weights beside the file, for benchmarks.


def test_benchmarks_take_weights_from_files_beside_the_model_only(tmp_path: Path) -> None:
    folder = tmp_path / "split"
    folder.mkdir()
    (folder / "w").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (folder / "link").symlink_to("w")
    (tmp_path / "above").write_bytes(bytes(16))
    onnx.save(with_external_initializer("w"), folder / "good.onnx")
    assert open_candidate(folder / "good.onnx", name="m", threads=1).shapes == {"x": (1, 4)}
    for name in ("../above", str(tmp_path / "above"), "link", "missing", "..", ""):
        onnx.save(with_external_initializer(name), folder / "bad.onnx")
        with pytest.raises(ModelFileError, match="m: holds weights"):
            open_candidate(folder / "bad.onnx", name="m", threads=1)
    with pytest.raises(ModelFileError, match="stored in other files"):
        open_candidate((folder / "good.onnx").read_bytes(), name="m", threads=1)


# Time and memory.


def test_a_run_without_end_is_stopped() -> None:
    """A chain of products that takes several seconds."""
    chain = [node("MatMul", f"a{i} w", f"a{i + 1}") for i in range(200)]
    nodes = [node("Identity", "x", "a0"), *chain, node("Identity", "a200")]
    data = model_of(nodes, {"w": np.eye(500, dtype=np.float32)}, shape=("n", 500)).SerializeToString()
    session = BoundedSession(data, source="m", threads=1)
    session._seconds = 0.2
    before = threading.active_count()
    with pytest.raises(ModelFileError, match=r"m: one run on x \[4000, 500\] took more than 0.2 s; expected a smaller"):
        session.run(None, {"x": np.zeros((4000, 500), np.float32)})
    for thread in threading.enumerate():
        if thread.name == "canthus-limited":
            thread.join(20)
    assert threading.active_count() <= before, "the run ends at its next operator"


def test_opening_without_end_is_given_up(tmp_path: Path) -> None:
    """Products of constants are computed while the file is opened; the command still ends with its one line."""
    code = """
import sys
from canthus.cli.main import main
from canthus.runtime.sessions import BoundedSession
BoundedSession.__init__.__kwdefaults__["seconds"] = 3.0
sys.argv[0] = "canthus"
main()
"""
    chain = [node("MatMul", f"a{i} w", f"a{i + 1}") for i in range(400)]
    nodes = [node("Identity", "w", "a0"), *chain, node("Add", "x a400")]
    model = tmp_path / "slow.onnx"
    onnx.save(model_of(nodes, {"w": np.eye(1500, dtype=np.float32)}, shape=(1500, 1500)), model)
    command = [sys.executable, "-c", code, "detect", "none.jpg", "--model", str(model)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"error: {model}: opening it took more than 3 s; expected a smaller network or input\n"


def test_memory_of_a_run_is_bounded() -> None:
    """An outer product of two rows made from the input: 16 GB, of which nothing is taken."""
    nodes = [node("Reshape", "x column", "c"), node("Add", "c x")]
    model = model_of(nodes, {"column": np.array([-1, 1])}, shape=(1, "n"))
    session = BoundedSession(model.SerializeToString(), source="m", threads=1)
    with pytest.raises(ModelFileError, match="m: needs more than 4 GiB of memory; expected a smaller network or input"):
        session.run(None, {"x": np.zeros((1, 65_536), np.float32)})
    assert session.run(None, {"x": np.zeros((1, 8), np.float32)})[0].shape == (8, 8)


def test_errors_of_a_run_are_one_line() -> None:
    session = BoundedSession(model_of([node("Add", "x x")]).SerializeToString(), source="m", threads=1)
    with pytest.raises(ModelFileError, match=r"m: cannot be run on x \[1, 5\] ") as caught:
        session.run(None, {"x": np.zeros((1, 5), np.float32)})
    assert "\n" not in str(caught.value)
