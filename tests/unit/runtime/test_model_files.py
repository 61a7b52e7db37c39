"""Model files from strangers: each is opened, or refused in one line, within bounds of time and memory."""

import contextlib
import io
import json
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from canthus.cli.main import main
from canthus.errors import CanthusError, ConfigError, ModelFileError
from canthus.evaluation.benchmark import PEAK_MODEL
from canthus.evaluation.timing import open_candidate
from canthus.images import write_image
from canthus.runtime import onnx_files
from canthus.runtime import sessions as session_module
from canthus.runtime.cards import METADATA_KEY
from canthus.runtime.esr import EsrModel, EsrShapes, EsrStage
from canthus.runtime.landmarker import open_model
from canthus.runtime.onnx_files import MOST_CREATED, check_onnx
from canthus.runtime.sessions import BoundedSession, DetectorSession, LandmarkSession
from canthus.zoo import embedded_detectors, embedded_models
from small_networks import SIZE, small_card, write_small_landmarker
from tiny_detectors import tiny_detector_card, write_tiny_detector

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
    monkeypatch.setattr(onnx_files, "MOST_NODES", 50)
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
    monkeypatch.setattr(onnx_files, "MOST_FIELDS", 1000)
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
        if thread.name == "canthus-model":
            thread.join(20)
    assert threading.active_count() <= before, "the run ends at its next operator"


def test_opening_without_end_is_given_up() -> None:
    """Products of constants are computed while the file is opened; the command still ends with its one line."""
    code = """
import sys
import numpy as np
from canthus.errors import ModelFileError
from canthus.runtime.sessions import BoundedSession
try:
    BoundedSession(sys.stdin.buffer.read(), source="m", threads=1, seconds=0.5)
except ModelFileError as error:
    print(error, file=sys.stderr)
    sys.exit(2)
"""
    chain = [node("MatMul", f"a{i} w", f"a{i + 1}") for i in range(400)]
    nodes = [node("Identity", "w", "a0"), *chain, node("Add", "x a400")]
    data = model_of(nodes, {"w": np.eye(1500, dtype=np.float32)}, shape=(1500, 1500)).SerializeToString()
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    told = done.stderr.decode().splitlines()
    assert told == ["m: opening it took more than 0.5 s; expected a smaller network or input"]


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


# Cards, of the three kinds of file.


def onnx_with_card(path: Path, card: bytes) -> Path:
    """The small landmark model with these bytes as its card."""
    return _with_card(write_small_landmarker(path, tells_spread=True), card)


def detector_with_card(path: Path, card: bytes) -> Path:
    return _with_card(write_tiny_detector(path), card)


def cascade_with_card(path: Path, card: bytes) -> Path:
    """A cascade of no stages with this card; numpy holds text, so bytes that are no UTF-8 are put in afterwards."""
    shape = (np.linspace(8, 24, 68) * (1 + 1j)).astype(np.complex64)
    text = np.array(card.decode("utf-8", "surrogateescape"))
    np.savez(path, format=np.array(1), card=text, mean=shape, starts=np.stack([shape, shape]), stages=np.array(0))
    return path


def _with_card(path: Path, card: bytes) -> Path:
    model = onnx.load(path)
    del model.metadata_props[:]
    key = METADATA_KEY.encode()
    entry = b"\x0a" + bytes([len(key)]) + key + b"\x12" + _varint(len(card)) + card
    path.write_bytes(model.SerializeToString() + b"\x72" + _varint(len(entry)) + entry)
    return path


def _varint(value: int) -> bytes:
    parts = []
    while value >= 128:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


LANDMARK_CARD = json.loads(small_card(calibrated=True).to_json())
CASCADE_CARD = json.loads(small_card().to_json())
DETECTOR_CARD = json.loads(tiny_detector_card().to_json())
KINDS: dict[str, tuple[str, dict[str, Any], Callable[[Path, bytes], Path]]] = {
    "landmarks": ("m.onnx", LANDMARK_CARD, onnx_with_card),
    "detector": ("m.onnx", DETECTOR_CARD, detector_with_card),
    "cascade": ("m.npz", CASCADE_CARD, cascade_with_card),
}
EVERY = tuple(KINDS)
LANDMARKS = ("landmarks", "cascade")
NETWORKS = ("landmarks", "detector")

BAD_FIELDS: list[tuple[str, str, tuple[str, ...], str]] = [
    ("margin", "0", LANDMARKS, "margin is 0; expected 0.1 to 100"),
    ("margin", "-1", LANDMARKS, "margin is -1; expected 0.1 to 100"),
    ("margin", "1e-30", LANDMARKS, "margin is 1e-30; expected"),
    ("margin", "null", LANDMARKS, "'margin' must be a number, not None"),
    ("margin", '"x"', LANDMARKS, "'margin' must be a number, not 'x'"),
    ("margin", "true", LANDMARKS, "'margin' must be a number, not True"),
    ("margin", "Infinity", LANDMARKS, "Infinity is no number of JSON"),
    ("margin", "NaN", LANDMARKS, "NaN is no number of JSON"),
    ("margin", "1e999", LANDMARKS, "margin is inf; expected a finite number"),
    ("margin", "1" + 400 * "0", LANDMARKS, "'margin' must be a number below 1e308, not 1000"),
    ("margin", "1" + 5000 * "0", LANDMARKS, "is not JSON"),
    ("size", "32.0", EVERY, "'size' must be a whole number, not 32.0"),
    ("size", "30000", EVERY, "size is 30000; expected 1 to"),
    ("size", "0", EVERY, "size is 0; expected 1 to"),
    ("size", "-32", EVERY, "size is -32; expected 1 to"),
    ("size", "null", EVERY, "'size' must be a whole number, not None"),
    ("size", "[32]", EVERY, r"'size' must be a whole number, not \[32\]"),
    ("size", "1" + 400 * "0", EVERY, "size is 1000"),
    ("scheme", "5", LANDMARKS, "'scheme' must be text, not 5"),
    ("scheme", '["ibug_68"]', LANDMARKS, r"'scheme' must be text, not \['ibug_68'\]"),
    ("scheme", "{}", LANDMARKS, "'scheme' must be text, not {}"),
    ("scheme", '"ibug_67"', LANDMARKS, "Unknown scheme 'ibug_67'. Did you mean 'ibug_68'"),
    ("scheme", json.dumps("x" * 900_000), LANDMARKS, "Unknown scheme 'xxx"),
    ("metrics", "null", EVERY, "'metrics' must be a table, not None"),
    ("metrics", "[1]", EVERY, r"'metrics' must be a table, not \[1\]"),
    ("metrics", '{"a": null}', EVERY, "'metrics.a' must be a number, not None"),
    ("metrics", '{"a": NaN}', EVERY, "NaN is no number of JSON"),
    ("metrics", '{"a": 1e999}', EVERY, "metrics.a is inf; expected a finite number"),
    ("training_data", "null", EVERY, "'training_data' must be a list, not None"),
    ("training_data", '"300w"', EVERY, "'training_data' must be a list, not '300w'"),
    ("training_data", "[1]", EVERY, "'training_data.0' must be text, not 1"),
    ("licence", "null", EVERY, "'licence' must be text, not None"),
    ("licence", "7", EVERY, "'licence' must be text, not 7"),
    ("name", "[]", EVERY, r"'name' must be text, not \[\]"),
    ("recipe", "null", EVERY, "'recipe' must be text, not None"),
    ("architecture", "0.5", EVERY, "'architecture' must be text, not 0.5"),
    ("kind", "[]", EVERY, r"of the unknown kind \[\]"),
    ("kind", "{}", EVERY, "of the unknown kind {}"),
    ("kind", "null", EVERY, "of the unknown kind None"),
    ("parameters", "-1", EVERY, "parameters is -1; expected 0 to 1e"),
    ("parameters", "1" + 400 * "0", EVERY, "parameters is 1000"),
    ("multiply_adds", "1.5", EVERY, "'multiply_adds' must be a whole number, not 1.5"),
    ("calibration", "5", LANDMARKS, "'calibration' must be a table, not 5"),
    ("calibration", '{"tolerance": 0, "slope": 1, "offset": 0}', LANDMARKS, "tolerance is 0; expected above 0"),
    ("calibration", '{"tolerance": 1, "slope": -1, "offset": 0}', LANDMARKS, "slope is -1; expected above 0"),
    ("calibration", '{"tolerance": 1, "slope": 1, "offset": 1e999}', LANDMARKS, "offset is inf; expected a finite"),
    ("calibration", '{"tolerance": 1, "slope": 1}', LANDMARKS, "Missing: calibration.offset"),
    ("quantization", '"int8"', LANDMARKS, "'quantization' must be a table, not 'int8'"),
    ("score", "2", ("detector",), "score is 2; expected 0 to 1"),
    ("score", "null", ("detector",), "'score' must be a number, not None"),
    ("strides", "[]", ("detector",), "There are 0 strides; expected 1 to 16"),
    ("strides", "[0]", ("detector",), "strides.0 is 0; expected 1 to 1024"),
    ("strides", "[1000000000]", ("detector",), r"strides.0 is 1e\+09; expected 1 to 1024"),
    ("strides", "[8.5]", ("detector",), "'strides.0' must be a whole number, not 8.5"),
    ("strides", json.dumps([8] * 1000), ("detector",), "There are 1000 strides"),
    ("extra", "1", EVERY, "Unknown field 'extra'"),
    ("x" * 900_000, "1", EVERY, "Unknown field 'xxx"),
]
BAD_TEXTS: list[tuple[str, bytes, tuple[str, ...], str]] = [
    ("nothing", b"", EVERY, "is not JSON|no model card"),
    ("no JSON", b"{", EVERY, "the model card is not JSON"),
    ("a list", b"[]", EVERY, "the model card is not a JSON object"),
    ("a number", b"5", EVERY, "the model card is not a JSON object"),
    ("null", b"null", EVERY, "the model card is not a JSON object"),
    ("an empty table", b"{}", EVERY, "Missing: name|is a landmark model"),
    ("no UTF-8", b'{"name": "\xff\xfe"}', NETWORKS, "not UTF-8|is no ONNX model"),
    ("surrogates", b'{"name": "\xff\xfe"}', ("cascade",), "Missing: architecture"),
    ("lists 100,000 deep", b"[" * 100_000, EVERY, "is nested too deep to be read"),
    ("tables 100,000 deep", b'{"a":' * 100_000, EVERY, "is nested too deep to be read"),
    ("a deep field", b'{"size":' + b"[" * 300 + b"]" * 300 + b"}", EVERY, "is nested too deep to be read"),
    ("very long", b" " * 1_000_001, EVERY, "has 1000001 characters, expected 1000000 at most"),
]


def with_field(card: Mapping[str, Any], name: str, value: str) -> bytes:
    """The card with a field of this JSON text."""
    rest = json.dumps({key: entry for key, entry in card.items() if key != name})
    return f"{rest[:-1]}, {json.dumps(name)}: {value}}}".encode()


CARD_CASES = [
    pytest.param(kind, with_field(KINDS[kind][1], name, value), reason, id=f"{kind}: {name[:20]} {value[:30]}")
    for name, value, kinds, reason in BAD_FIELDS
    for kind in kinds
] + [
    pytest.param(kind, text, reason, id=f"{kind}: {name}") for name, text, kinds, reason in BAD_TEXTS for kind in kinds
]


@pytest.mark.parametrize(("kind", "card", "reason"), CARD_CASES)
def test_bad_cards_are_refused_in_one_line(kind: str, card: bytes, reason: str, tmp_path: Path) -> None:
    name, _, write = KINDS[kind]
    path = write(tmp_path / name, card)
    with pytest.raises(ModelFileError, match=reason) as caught:
        DetectorSession.open(path) if kind == "detector" else open_model(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 1500


@pytest.mark.parametrize("kind", KINDS)
def test_good_cards_are_read(kind: str, tmp_path: Path) -> None:
    name, card, write = KINDS[kind]
    path = write(tmp_path / name, json.dumps(card).encode())
    read = (DetectorSession.open(path) if kind == "detector" else open_model(path)).card
    assert json.loads(read.to_json()) == card


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["canthus", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_a_card_reach_the_terminal_without_escapes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, card, write = KINDS[kind]
    evil = "\x1b]0;title\x07[red]a\nerror: b\u202e"
    changed = card | {"licence": evil, "recipe": evil, "architecture": evil, "training_data": [evil]}
    path = write(tmp_path / name, json.dumps(changed | {"metrics": {evil: 0.5}}).encode())
    assert run(monkeypatch, "models", path) == 0
    out, err = capsys.readouterr()
    assert "[red]a" in out
    assert "\x1b" not in out + err
    assert "\x07" not in out + err
    assert "\u202e" not in out + err
    assert not any(line.startswith("error:") for line in out.splitlines())


# Answers.


def answering(path: Path, points: float, spread: float) -> Path:
    """The small landmark model with other numbers in its answers."""
    model = onnx.load(write_small_landmarker(path, tells_spread=True))
    for tensor in model.graph.initializer:
        if tensor.name == "shape":
            tensor.CopyFrom(numpy_helper.from_array(np.full(136, points, np.float32), "shape"))
        if tensor.name == "spreads":
            shape = tuple(tensor.dims)
            tensor.CopyFrom(numpy_helper.from_array(np.full(shape, spread, np.float32), "spreads"))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_answers_that_are_no_numbers_are_errors(value: float, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="m.onnx: its output 'points' holds numbers that are not finite"):
        LandmarkSession.open(answering(tmp_path / "m.onnx", value, 0)).answer(CROPS)
    with pytest.raises(ModelFileError, match="m.onnx: its output 'spread' holds numbers that are not finite"):
        LandmarkSession.open(answering(tmp_path / "m.onnx", 0, value)).answer(CROPS)


def test_a_network_that_was_trained_to_nan_is_an_error_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", np.zeros((40, 40, 3), np.uint8))
    model = answering(tmp_path / "m.onnx", np.nan, 0)
    assert run(monkeypatch, "detect", tmp_path / "a.png", "--detector", "none", "--model", model, "--json", "-") == 2
    out, err = capfd.readouterr()
    assert "NaN" not in out
    assert err.count("error: ") == 1
    assert "Traceback" not in err


def test_answers_of_another_shape_are_errors(tmp_path: Path) -> None:
    """The file declares 68 points of each crop and gives all points twice."""
    model = onnx.load(write_small_landmarker(tmp_path / "m.onnx"))
    model.graph.node[-1].output[0] = "once"
    model.graph.node.append(node("Concat", "once once", "points", axis=0))
    with pytest.raises(ModelFileError, match=r"output 'points' has the shape \(4, 68, 2\), expected \(2, 68, 2\)"):
        LandmarkSession.open(model.SerializeToString()).answer(CROPS)


def test_rows_of_detectors_are_checked(tmp_path: Path) -> None:
    path = write_tiny_detector(tmp_path / "d.onnx", card=tiny_detector_card(strides=(16,)))
    wrong_strides = json.dumps(DETECTOR_CARD | {"strides": [8]}).encode()
    pictures = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ModelFileError, match=r"'faces' has the shape \(1, 4, 15\), expected \(1, 16, 15\)"):
        DetectorSession.open(_with_card(path, wrong_strides))(pictures)
    model = onnx.load(write_tiny_detector(path))
    for tensor in model.graph.initializer:
        if tensor.name == "rest":
            tensor.CopyFrom(numpy_helper.from_array(np.full((1, 1, 14), np.nan, np.float32), "rest"))
    with pytest.raises(ModelFileError, match="'faces' holds numbers that are not finite"):
        DetectorSession.open(model.SerializeToString())(pictures)


WRONG_CROPS = {
    "None": (None, TypeError, "uint8 crops, shape .n, 32, 32, 3., found NoneType"),
    "a list": ([[0]], TypeError, "found list"),
    "floats": (np.zeros((1, SIZE, SIZE, 3)), TypeError, "found one of float64"),
    "one crop": (np.zeros((SIZE, SIZE, 3), np.uint8), ValueError, r"shape \(n, 32, 32, 3\), found \(32, 32, 3\)"),
    "another size": (np.zeros((1, 16, 16, 3), np.uint8), ValueError, r"found \(1, 16, 16, 3\)"),
    "grey": (np.zeros((1, SIZE, SIZE), np.uint8), ValueError, r"found \(1, 32, 32\)"),
}


@pytest.mark.parametrize("name", WRONG_CROPS)
def test_wrong_arrays_are_named(name: str) -> None:
    """The check itself; the annotations of ``answer`` are only checked in tests, and would speak first."""
    value, kind, reason = WRONG_CROPS[name]
    with pytest.raises(kind, match=reason):
        session_module.check_crops(value, SIZE)


def test_sessions_check_arrays_outside_of_tests(tmp_path: Path) -> None:
    write_small_landmarker(tmp_path / "m.onnx")
    write_tiny_detector(tmp_path / "d.onnx")
    cascade_with_card(tmp_path / "m.npz", json.dumps(CASCADE_CARD).encode())
    code = """
import sys
import numpy as np
from canthus.runtime.landmarker import open_model
from canthus.runtime.sessions import DetectorSession
for call in (open_model("m.onnx").answer, open_model("m.npz").answer, DetectorSession.open("d.onnx")):
    for value in (None, np.zeros((1, 32, 32, 3)), np.zeros((2, 2), np.uint8)):
        try:
            call(value)
        except (TypeError, ValueError) as error:
            print(type(error).__name__, str(error).split(",")[0])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    crops = ["TypeError Expected a numpy array of uint8 crops"] * 2 + ["ValueError Expected crops of the shape (n"]
    assert done.stdout.splitlines() == crops * 2 + [line.replace("crops", "pictures") for line in crops]


# Cascades.


def stage(**changes: np.ndarray) -> EsrStage:
    values: dict[str, Any] = {
        "near": np.zeros(3, np.int16), "offsets": np.zeros(3, np.complex64),
        "first": np.zeros((2, 2), np.int16), "second": np.ones((2, 2), np.int16),
        "thresholds": np.zeros((2, 2), np.float32), "outputs": np.zeros((2, 4, 68), np.complex64),
    }  # fmt: skip
    return EsrStage(**(values | changes))


def cascade(path: Path, **changes: np.ndarray) -> Path:
    """A cascade of one stage with other arrays in its file."""
    shape = (np.linspace(8, 24, 68) * (1 + 1j)).astype(np.complex64)
    saved = EsrModel(small_card(), EsrShapes(shape, np.stack([shape, shape])), (stage(),)).save(path)
    with np.load(saved) as file:
        arrays = dict(file)
    np.savez(path, **(arrays | changes))
    return path


BAD_ARRAYS: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "another format": ({"format": np.array(9)}, "format 9, expected 1"),
    "a format that is no number": ({"format": np.array("1")}, "format is <U1 of shape"),
    "many formats": ({"format": np.ones(3, np.int64)}, r"format is int64 of shape \(3,\)"),
    "stages below zero": ({"stages": np.array(-1)}, "-1 stages"),
    "stages without end": ({"stages": np.array(2**60)}, "1152921504606846976 stages"),
    "a missing stage": ({"stages": np.array(2)}, "no array 'near_1'"),
    "a mean of other points": ({"mean": np.zeros(5, np.complex64)}, r"mean is complex64 of shape \(5,\)"),
    "a mean without extent": ({"mean": np.ones(68, np.complex64)}, "a mean shape without extent"),
    "a mean of NaN": ({"mean": np.full(68, np.nan, np.complex64)}, "mean holds numbers that are not finite"),
    "no starts": ({"starts": np.zeros((0, 68), np.complex64)}, "no starts"),
    "starts of infinity": ({"starts": np.full((1, 68), np.inf, np.complex64)}, "starts holds numbers that"),
    "a landmark beyond the last": ({"near_0": np.full(3, 68, np.int16)}, "beyond the 68 that there are"),
    "a landmark below zero": ({"near_0": np.full(3, -1, np.int16)}, "beyond the 68 that there are"),
    "a pixel beyond the last": ({"first_0": np.full((2, 2), 3, np.int16)}, "beyond the 3 that there are"),
    "floats for indices": ({"second_0": np.zeros((2, 2))}, "second_0 is float64"),
    "ferns of 40 features": (
        {"first_0": np.zeros((2, 40), np.int16), "second_0": np.zeros((2, 40), np.int16)}, "ferns of 40 features",
    ),
    "too few cells": ({"outputs_0": np.zeros((2, 3, 68, 2), np.float16)}, r"outputs_0 is float16 of shape \(2, 3,"),
    "outputs of NaN": ({"outputs_0": np.full((2, 4, 68, 2), np.nan, np.float16)}, "outputs_0 holds numbers that"),
    "objects": ({"near_0": np.array([None, {}], object)}, "near_0"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays_of_cascades_are_refused(name: str, tmp_path: Path) -> None:
    changes, reason = BAD_ARRAYS[name]
    path = cascade(tmp_path / "m.npz", **changes)
    with pytest.raises(ModelFileError, match=f"m.npz: not a cascade written by 'canthus fit' .*{reason}") as caught:
        open_model(path)
    assert "\n" not in str(caught.value)


def test_cut_and_changed_cascades_are_refused_or_run(tmp_path: Path) -> None:
    data = cascade(tmp_path / "m.npz").read_bytes()
    assert open_model(tmp_path / "m.npz").answer(CROPS).points.shape == (2, 68, 2)
    rng = np.random.default_rng(0)
    for number in range(150):
        changed = bytearray(data[: rng.integers(0, len(data))] if number % 3 == 0 else data)
        for place in rng.integers(0, max(1, len(changed)), 3) if changed and number % 3 else ():
            changed[place] = rng.integers(0, 256)
        (tmp_path / "m.npz").write_bytes(changed)
        with contextlib.suppress(ModelFileError):
            open_model(tmp_path / "m.npz").answer(CROPS)


def test_an_archive_bomb_is_refused_by_its_directory(tmp_path: Path) -> None:
    """300 MB of zeros in one megabyte; and an array whose header promises more than its bytes."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9,)})
    with zipfile.ZipFile(tmp_path / "promise.npz", "w") as archive:
        archive.writestr("mean.npy", header.getvalue() + bytes(80))
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("mean.npy", "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(1_000_000))
    with pytest.raises(ModelFileError, match=r"would take 300,000,000 bytes, 268,435,456 are allowed"):
        open_model(tmp_path / "bomb.npz")
    with pytest.raises(ModelFileError, match=r"mean.npy: promises 1,000,000,000 numbers"):
        open_model(tmp_path / "promise.npz")


def test_names_of_cascades(tmp_path: Path) -> None:
    shape = (np.linspace(8, 24, 68) * (1 + 1j)).astype(np.complex64)
    model = EsrModel(small_card(), EsrShapes(shape, np.stack([shape, shape])), ())
    with pytest.raises(ConfigError, match="expected a name that ends in .npz"):
        model.save(tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
