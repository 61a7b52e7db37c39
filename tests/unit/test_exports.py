"""Networks in the formats of other runtimes: the core, the core in torch, and the files with their cards."""

import dataclasses
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from canthus.cli.export import export as export_command
from canthus.errors import ConfigError, MissingExtraError, ModelFileError
from canthus.export import convert
from canthus.export.convert import ConvertSettings
from canthus.export.core_in_torch import CoreModule
from canthus.export.onnx import replace_card
from canthus.export.onnx_core import Core, CoreInput, core_of
from canthus.export.targets import CORE_KEY, TARGETS
from canthus.runtime.cards import Quantization
from canthus.runtime.sessions import BoundedSession, LandmarkSession
from canthus.zoo import DEFAULT, FLOAT, embedded_detectors, embedded_models
from small_networks import small_card, write_small_landmarker
from tiny_detectors import write_tiny_detector

MEAN = np.array([10.0, 20.0, 30.0])
DEVIATION = np.array([2.0, 4.0, 8.0])
SIDE = 6


def _network(nodes: Sequence[Any], constants: Mapping[str, np.ndarray], shape: Sequence[Any]) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", *shape])],
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def _run(content: bytes, feed: np.ndarray) -> np.ndarray:
    session = BoundedSession(content, source="made", threads=1)
    return session.run(None, {session.inputs[0].name: feed})[0]


def _planes(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32).reshape(1, 3, 1, 1)


BEGINNINGS: dict[str, tuple[list[Any], dict[str, np.ndarray], tuple[str, Any, Any]]] = {
    "one number": (
        [
            helper.make_node("Transpose", ["image"], ["a"], perm=[0, 3, 1, 2]),
            helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
            helper.make_node("Div", ["b", "all"], ["seen"]),
        ],
        {"all": np.array(255, np.float32)},
        ("rgb", np.full(3, 1 / 255), np.zeros(3)),
    ),
    "mean and deviation of planes": (
        [
            helper.make_node("Cast", ["image"], ["a"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["a"], ["b"], perm=[0, 3, 1, 2]),
            helper.make_node("Sub", ["b", "mean"], ["c"]),
            helper.make_node("Div", ["c", "deviation"], ["seen"]),
        ],
        {"mean": _planes(MEAN), "deviation": _planes(DEVIATION)},
        ("rgb", 1 / DEVIATION, -MEAN / DEVIATION),
    ),
    "colours reversed after the scaling, numbers first": (
        [
            helper.make_node("Cast", ["image"], ["a"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["mean", "a"], ["b"]),
            helper.make_node("Mul", ["deviation", "b"], ["c"]),
            helper.make_node("Gather", ["c", "order"], ["d"], axis=3),
            helper.make_node("Transpose", ["d"], ["e"], perm=[0, 3, 1, 2]),
            helper.make_node("Add", ["e", "all"], ["seen"]),
        ],
        {
            "mean": MEAN.astype(np.float32), "deviation": DEVIATION.astype(np.float32),
            "order": np.array([2, 1, 0]), "all": np.array(7, np.float32),
        },
        ("bgr", -DEVIATION[::-1], (MEAN * DEVIATION)[::-1] + 7),
    ),
}  # fmt: skip


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", BEGINNINGS)
def test_the_core_leaves_the_beginning_to_the_caller(name: str, scaled: bool) -> None:
    nodes, constants, (colour, scale, offset) = BEGINNINGS[name]
    last = [
        helper.make_node("Conv", ["seen", "kernel"], ["drawn"], kernel_shape=[2, 2]),
        helper.make_node("Reshape", ["drawn", "flat"], ["points"]),
    ]
    kernel = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    more = {"kernel": kernel, "flat": np.array([0, -1])}
    content = _network([*nodes, *last], {**constants, **more}, [SIDE, SIDE, 3])
    core = core_of(content, (2, SIDE, SIDE), source=name, scaled=scaled)
    assert core.operators == (["Conv", "Reshape"] if not scaled else core.operators)
    assert not {"Cast", "Gather", "Transpose"} & set(core.operators)
    assert core.input.shape == (2, 3, SIDE, SIDE)
    assert core.input.colour == colour
    np.testing.assert_allclose(core.input.scale, 1 if scaled else scale, rtol=1e-6)
    np.testing.assert_allclose(core.input.offset, 0 if scaled else offset, rtol=1e-6)
    images = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    expected = _run(content, images)
    found = _run(core.model.SerializeToString(), core.input.planes(images))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)  # numbers up to 2000 in float32


def test_a_network_of_rows_of_pixels_gets_its_order_back() -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["a", "flat"], ["points"]),
    ]
    content = _network(nodes, {"flat": np.array([0, -1])}, [SIDE, SIDE, 3])
    core = core_of(content, (1, SIDE, SIDE), source="rows")
    images = np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    found = _run(core.model.SerializeToString(), core.input.planes(images))
    np.testing.assert_array_equal(found, images.reshape(1, -1))


def test_a_network_of_bytes_has_no_core() -> None:
    content = _network([helper.make_node("Flatten", ["image"], ["points"])], {}, [SIDE, SIDE, 3])
    with pytest.raises(ModelFileError, match="does not begin by turning its bytes into floats"):
        core_of(content, (1, SIDE, SIDE), source="bytes")


def test_the_default_model_is_of_int8_and_its_refusal_names_the_float_one() -> None:
    with pytest.raises(ModelFileError, match=f"{DEFAULT}: is an int8 model, expected a float one, .* embedded {FLOAT}"):
        convert.open_network(DEFAULT)


@pytest.mark.parametrize("name", sorted({*embedded_models(), *embedded_detectors()} - {DEFAULT}))
def test_cores_of_embedded_models_have_few_operators(name: str) -> None:
    session, content = convert.open_network(name)
    sides = (session.card.size,) * 2 if isinstance(session, LandmarkSession) else (64, 96)
    core = core_of(content, (1, *sides), source=name)
    few = {"Add", "Concat", "Conv", "Gemm", "Mul", "Relu", "Reshape", "Resize", "Transpose"}
    assert set(core.operators) <= few
    assert all(entry.domain == "" for entry in core.model.opset_import)
    assert core.model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_a_network_of_halves_keeps_its_cast_in_the_core() -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["b"], ["c"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["c", "kernel"], ["d"], kernel_shape=[2, 2]),
        helper.make_node("Cast", ["d"], ["points"], to=TensorProto.FLOAT),
    ]
    content = _network(nodes, {"kernel": np.ones((1, 3, 2, 2), np.float16)}, [SIDE, SIDE, 3])
    core = core_of(content, (1, SIDE, SIDE), source="halves")
    assert core.operators == ["Cast", "Conv"]
    images = np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    with torch.no_grad():
        found = CoreModule(core)(torch.from_numpy(core.input.planes(images)))[0].numpy()
    np.testing.assert_allclose(found, _run(content, images), rtol=2e-3)  # numbers of 11 bits


def test_flattening_reaches_core_ml(tmp_path: Path) -> None:
    pytest.importorskip("coremltools")
    nodes = [
        helper.make_node("Cast", ["image"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["a"], ["b"], perm=[0, 3, 1, 2]),
        helper.make_node("Flatten", ["b"], ["c"], axis=1),
        helper.make_node("Relu", ["c"], ["points"]),
    ]
    core = core_of(_network(nodes, {}, [SIDE, SIDE, 3]), (1, SIDE, SIDE), source="flat")
    TARGETS["coreml"].convert(core, "{}", tmp_path / "flat.mlpackage", half=False)


def _one(operator: str, *constants: np.ndarray, **settings: Any) -> tuple[str, tuple[np.ndarray, ...], dict[str, Any]]:
    return operator, constants, settings


_NUMBERS = np.random.default_rng(3).normal(size=(3,)).astype(np.float32)
OPERATORS = [
    _one("Conv", np.random.default_rng(4).normal(size=(3, 1, 3, 2)).astype(np.float32), _NUMBERS,
         group=3, kernel_shape=[3, 2], pads=[0, 1, 2, 0], strides=[2, 1]),
    _one("MaxPool", kernel_shape=[3, 3], pads=[0, 0, 1, 1], strides=[2, 2]),
    _one("MaxPool", kernel_shape=[2, 2], strides=[4, 4], ceil_mode=1),
    _one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    _one("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    _one("AveragePool", kernel_shape=[2, 3], pads=[0, 0, 1, 1]),
    _one("AveragePool", kernel_shape=[2, 3], pads=[0, 0, 1, 1], count_include_pad=1),
    _one("BatchNormalization", _NUMBERS, _NUMBERS, _NUMBERS, np.abs(_NUMBERS), epsilon=1e-3),
    _one("Clip", np.array(-0.5, np.float32), np.array(0.25, np.float32)),
    _one("Flatten", axis=0),
    _one("Flatten", axis=2),
    _one("Flatten", axis=-1),
    _one("Flatten", axis=4),
    _one("GlobalAveragePool"),
    _one("HardSigmoid", alpha=0.3, beta=0.4),
    _one("LeakyRelu", alpha=0.2),
    _one("PRelu", _NUMBERS.reshape(3, 1, 1)),
    _one("ReduceMean", np.array([1, 3]), keepdims=0),
    _one("Resize", np.array([], np.float32), np.array([1, 1, 2, 2], np.float32),
         mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"),
    _one("Resize", np.array([], np.float32), np.array([], np.float32), np.array([1, 3, 9, 4]),
         mode="linear", coordinate_transformation_mode="half_pixel"),
    _one("Sigmoid"),
    _one("Softmax", axis=1),
    _one("Tanh"),
]  # fmt: skip


@pytest.mark.parametrize(("operator", "constants", "settings"), OPERATORS, ids=[entry[0] for entry in OPERATORS])
def test_operators_in_torch_are_those_of_onnx(
    operator: str, constants: tuple[np.ndarray, ...], settings: dict[str, Any]
) -> None:
    names = [f"c{index}" for index in range(len(constants))]
    nodes = [
        helper.make_node("Transpose", ["image"], ["a"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["b", "factor"], ["c"]),
        helper.make_node("Sub", ["c", "one"], ["d"]),
        helper.make_node(operator, ["d", *names], ["points"], **settings),
    ]
    factor = {"factor": np.array(1 / 128, np.float32), "one": np.array(1, np.float32)}
    content = _network(nodes, {**dict(zip(names, constants, strict=True)), **factor}, [SIDE, SIDE, 3])
    core = core_of(content, (1, SIDE, SIDE), source=operator)
    images = np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    with torch.no_grad():
        found = CoreModule(core)(torch.from_numpy(core.input.planes(images)))[0].numpy()
    np.testing.assert_allclose(found, _run(content, images), rtol=1e-5, atol=1e-5)


def test_an_operator_that_is_not_built_in_torch_is_named() -> None:
    model = helper.make_model(helper.make_graph([helper.make_node("Gelu", ["image"], ["points"])], "g", [], []))
    core = Core(model, CoreInput((1, 3, 4, 4), "rgb", (1.0,) * 3, (0.0,) * 3), {"points": (1, 3, 4, 4)})
    with pytest.raises(ModelFileError, match="not built in torch: Gelu"):
        CoreModule(core)


def _converted(model: str | Path, path: Path, tmp_path: Path, **settings: Any) -> convert.ConvertReport:
    session, content = convert.open_network(model)
    return convert.convert(session, content, path, ConvertSettings(**settings), roots={}, cache=tmp_path / "cache")


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_compared_and_has_a_card(target: str, tmp_path: Path) -> None:
    made = TARGETS[target]
    pytest.importorskip(made.module)
    model = write_small_landmarker(tmp_path / "small.onnx", tells_spread=True)
    path = tmp_path / f"small{made.suffix}"
    for _ in range(2):  # what canthus wrote is replaced
        convert.check_convert_targets(str(model), path, target)
        report = _converted(model, path, tmp_path, target=target, batch=3)
    card = json.loads((tmp_path / f"{path.name}.json").read_text(encoding="utf-8"))
    assert card["input"]["shape"] == ([3, 32, 32, 3] if made.channels_last else [3, 3, 32, 32])
    np.testing.assert_allclose(card["input"]["scale"], 1 / 255, rtol=1e-6)
    assert card["model"]["scheme"] == "ibug_68"
    assert [output["name"] for output in card["outputs"]] == ["points", "spread"]
    assert report.files[0] == path
    assert all(file.exists() for file in report.files)
    if made.runs_here:
        assert report.pictures == convert.DRAWN
        assert report.difference_px <= 1e-3
        assert card["compared"]["largest_px"] == report.difference_px
    else:
        assert card["compared"] is None
        assert any("not compared" in line for line in report.describe(ConvertSettings(target)))


def test_the_core_of_the_embedded_detector_finds_the_same_faces(tmp_path: Path) -> None:
    path = tmp_path / "faces.core.onnx"
    report = _converted("face_detector", path, tmp_path, target="onnx-core", sides=(96, 128))
    assert report.difference_px < 0.01
    assert report.difference["logit"] < 0.01
    properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert json.loads(properties[CORE_KEY])["input"]["shape"] == [1, 3, 96, 128]


def test_torchscript_holds_its_card(tmp_path: Path) -> None:
    path = tmp_path / "small.torchscript.pt"
    _converted(write_small_landmarker(tmp_path / "small.onnx"), path, tmp_path, target="torchscript")
    extra = {"canthus.json": ""}
    with pytest.warns(DeprecationWarning, match="torch.jit.load"):
        torch.jit.load(str(path), _extra_files=extra)
    assert json.loads(extra["canthus.json"])["target"] == "torchscript"


@pytest.mark.parametrize("wrong", [1.0, np.nan])
def test_a_file_that_answers_otherwise_is_not_written(
    wrong: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = TARGETS["onnx-core"]

    def spoiled(path: Path, core: Core) -> Callable[[np.ndarray], list[np.ndarray]]:
        run = target.opened(path, core)
        return lambda planes: [output + wrong for output in run(planes)]

    monkeypatch.setitem(TARGETS, "onnx-core", dataclasses.replace(target, opened=spoiled))
    path = tmp_path / "small.core.onnx"
    with pytest.raises(ModelFileError, match="differ from those of ONNX Runtime"):
        _converted(write_small_landmarker(tmp_path / "small.onnx"), path, tmp_path, target="onnx-core")
    assert [file.name for file in tmp_path.iterdir()] == ["small.onnx"]


def test_a_missing_package_is_one_line_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = dataclasses.replace(TARGETS["tflite"], module="no_such_package")
    monkeypatch.setitem(TARGETS, "tflite", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'canthus\[tflite\]'"):
        _converted(FLOAT, tmp_path / "x.tflite", tmp_path, target="tflite")


def test_settings_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.core.onnx"
    small, tiny = write_small_landmarker(tmp_path / "s.onnx"), write_tiny_detector(tmp_path / "t.onnx")
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (small, {"sides": (64, 64)}, "takes 32 x 32 pixels"),
        (tiny, {"sides": (40, 64)}, "multiples of 16"),
        (small, {"half": True}, "no form with 16 bits"),
        (small, {"check": "300w/validation"}, "'300w' is needed"),
    ]
    for model, settings, expected in cases:
        with pytest.raises(ConfigError, match=expected):
            _converted(model, path, tmp_path, target="onnx-core", **settings)
    assert not path.exists()


def test_int8_models_are_refused(tmp_path: Path) -> None:
    how = Quantization("minmax", "300w/fit", 1, 0, 8, (), "300w/validation", 0.04)
    path = write_small_landmarker(tmp_path / "s.onnx")
    replace_card(path, dataclasses.replace(small_card(), quantization=how))
    with pytest.raises(ModelFileError, match="is an int8 model, expected a float one, .* embedded pfld_68_128"):
        convert.open_network(path)


def test_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    model = str(write_small_landmarker(tmp_path / "s.onnx"))
    (tmp_path / "folder.mlpackage").mkdir()
    (tmp_path / "weights.bin").write_bytes(b"mine")
    (tmp_path / "other.tflite").write_bytes(b"\x1c\0\0\0TFL3 of somebody else")
    (tmp_path / "other.xml").write_bytes(b'<?xml version="1.0"?>\n<net name="other" version="11">\n</net>')
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("other/data.pkl", b"")
    for name, target in [
        ("folder.mlpackage", "coreml"), ("weights.xml", "openvino"), ("other.tflite", "tflite"),
        ("other.xml", "openvino"), ("other.pt", "torchscript"), ("s.onnx", "onnx-core"), ("x.bin", "tflite"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match="overwr|did not write|ends in"):
            convert.check_convert_targets(model, tmp_path / name, target)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"to": "onnx"}, "is an ONNX model already"),
        ({"to": "onnx", "pixels": True}, "belong to --to"),
        ({"to": "onnxcore"}, "Did you mean 'onnx-core'"),
        ({"to": "onnx-core", "size": "640"}, "Cannot read --size"),
        ({"to": "onnx-core", "licence": "mine"}, "belong to a checkpoint"),
    ],
)
def test_the_command_refuses_what_does_not_fit(arguments: dict[str, Any], expected: str, tmp_path: Path) -> None:
    model = write_small_landmarker(tmp_path / "s.onnx")
    with pytest.raises(ConfigError, match=expected):
        export_command(str(model), **arguments)


def test_the_command_converts_embedded_models_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    export_command(FLOAT, to="torchscript")
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"{FLOAT}.torchscript.pt", f"{FLOAT}.torchscript.pt.json",
    ]  # fmt: skip
    said = capfd.readouterr().err
    assert "differs from ONNX Runtime by at most" in said
    assert "pixel * 0.00784314 - 1" in said
