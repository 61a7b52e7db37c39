"""Things that several tests need."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

import typechecker  # noqa: F401 - before the package, whose functions it checks
from canthus.runtime.cards import METADATA_KEY, Calibration, ModelCard
from canthus.runtime.sessions import LandmarkSession

settings.register_profile("canthus", deadline=None)  # no test depends on how fast the machine is
settings.load_profile("canthus")

if "PYTEST_XDIST_WORKER" in os.environ:  # tests already run side by side: one thread each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if TYPE_CHECKING:
    import onnx

TinyModel = Callable[..., Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden outputs anew")


@pytest.fixture(autouse=True, scope="session")
def signals_as_in_a_terminal() -> None:
    """Undo what ``nohup`` and ``&`` do: commands leave SIGHUP and SIGINT alone where they are ignored."""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def shared_data() -> Path:
    """Folder of the real data sets; tests that need it skip on a machine without them."""
    folder = Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets are not on this machine")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A portrait at half size, its mirror picture and an empty wall, in two folders."""
    from picture_files import write_photos  # asks for matplotlib and Pillow

    return write_photos(tmp_path / "photos")


def tiny_card(
    *, scheme: str = "ibug_68", size: int = 32, margin: float = 1.5, calibration: Calibration | None = None
) -> ModelCard:
    return ModelCard(
        name="tiny",
        architecture="none",
        scheme=scheme,
        size=size,
        margin=margin,
        training_data=("nothing",),
        licence="Apache-2.0",
        recipe="tests/conftest.py",
        metrics={"drawn/nme_ion": 0.125},
        calibration=calibration,
    )


def _tiny_constants(size: int, count: int, spread: float) -> dict[str, np.ndarray]:
    grid = ((np.arange(size) + 0.5) / size).astype(np.float32)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    ring = (spread / 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)).astype(np.float32)
    return {
        "gain": np.array(1 / 255, np.float32),
        "four": np.array(4, np.float32),
        "tiny": np.array(1e-6, np.float32),
        "channel": np.array([3]),
        "place": np.array([1, 2]),
        "grid": np.stack(np.meshgrid(grid, grid), axis=-1)[None],
        "ring": ring[None],
        "flat": np.array([-1, 1, 2]),
        "ramp": np.linspace(-2, 0, count, dtype=np.float32)[None],
    }


def _tiny_nodes(output: str, *, tells_spread: bool) -> "list[onnx.NodeProto]":
    """Operations of the tiny model, from ``image`` to its outputs."""
    from onnx import TensorProto, helper

    return [
        helper.make_node("Cast", ["image"], ["bytes"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["bytes", "gain"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "channel"], ["grey"], keepdims=1),
        helper.make_node("Pow", ["grey", "four"], ["bright"]),
        helper.make_node("Add", ["bright", "tiny"], ["weight"]),
        helper.make_node("Mul", ["weight", "grid"], ["moments"]),
        helper.make_node("ReduceSum", ["moments", "place"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["weight", "place"], ["mass"], keepdims=0),
        helper.make_node("Div", ["total", "mass"], ["centre"]),
        helper.make_node("Reshape", ["centre", "flat"], ["centres"]),
        helper.make_node("Add", ["centres", "ring"], [output]),
        helper.make_node("Log", ["mass"], ["light"]),
        helper.make_node("Sub", ["ramp", "light"], ["spread"]),
    ][: None if tells_spread else -2]


def write_tiny_model(
    path: Path,
    *,
    card: ModelCard | None = None,
    metadata: str | None = None,
    output: str = "points",
    spread: float = 0.5,
    tells_spread: bool | None = None,
) -> Path:
    """Write a landmark model without training: a ring of points about the brightest place of the crop.

    The centre is the mean position weighted by the fourth power of brightness, so a bright disc on black is found to a
    fraction of a pixel; ``spread`` is the diameter of the ring in crops.  With ``tells_spread``, or a calibration in
    the card, it also has the output of that name: the darker the crop, the more, and more from point to point.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    card = card or tiny_card()
    size, count = card.size, card.find_scheme().count
    constants = _tiny_constants(size, count, spread)
    tells_spread = card.calibration is not None if tells_spread is None else tells_spread
    shapes: dict[str, list[str | int | None]] = {output: ["n", count, 2]}
    if tells_spread:
        shapes["spread"] = ["n", count]
    if not tells_spread:
        del constants["ramp"]
    graph = helper.make_graph(
        _tiny_nodes(output, tells_spread=tells_spread),
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", size, size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if metadata != "":
        helper.set_model_props(model, {METADATA_KEY: card.to_json() if metadata is None else metadata})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


@pytest.fixture
def tiny_model(tmp_path: Path) -> TinyModel:
    """A function that writes a tiny landmark model; see ``write_tiny_model`` for its options."""

    def write(name: str = "tiny.onnx", **options: object) -> Path:
        return write_tiny_model(tmp_path / name, **options)  # type: ignore[arg-type]

    return write


@pytest.fixture
def tiny_session(tiny_model: TinyModel) -> LandmarkSession:
    """The tiny model, open."""
    return LandmarkSession.open(tiny_model())


@pytest.fixture
def confident_session(tiny_model: TinyModel) -> LandmarkSession:
    """A tiny model that gives confidence, open."""
    card = tiny_card(calibration=Calibration(tolerance=0.05, slope=1.0, offset=1.5))
    return LandmarkSession.open(tiny_model("confident.onnx", card=card))
