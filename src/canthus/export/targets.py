"""Formats of other runtimes, each made from the core of a network and opened again to be compared.

A target is one entry of ``TARGETS``: how its files are written, and how they are run where the maker's runtime is.
"""

import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
from jaxtyping import Float32

from canthus.errors import CanthusError, ModelFileError
from canthus.export.onnx_core import Core, quiet, run_file
from canthus.lookup import require

CARD_ENTRY = "canthus.json"
"""Name of the card inside the archives of torch and TensorFlow Lite."""
CARD_KEY = "canthus"
"""Key of the card in the metadata of OpenVINO and Core ML."""
CORE_KEY = "canthus_core"
"""Key of the card in the metadata of an ONNX core; unlike that of a model which canthus runs."""

Runner: TypeAlias = Callable[[Float32[np.ndarray, "n 3 h w"]], Sequence[np.ndarray]]
"""Planes of the core's input to the outputs, in the order of the core."""


@final
@dataclass(frozen=True)
class Target:
    """One format.

    Attributes:
        suffix: of the file that is named.
        what: the format, for people.
        module: package of the maker that has to be installed.
        extra: extra of canthus that installs it.
        write: writes a core with its card to a path; ``half`` asks for numbers of 16 bits.
        opened: opens the file on one thread, to be compared.
        channels_last: whether the file takes ``(n, h, w, 3)`` and not ``(n, 3, h, w)``.
        halves: whether numbers of 16 bits are possible.
        runs_here: whether the maker's runtime exists for this system.
    """

    suffix: str
    what: str
    module: str
    extra: str
    write: Callable[[Core, str, Path, bool], None]
    opened: Callable[[Path, Core], Runner]
    channels_last: bool = False
    halves: bool = False
    runs_here: bool = True

    def check_installed(self) -> None:
        """Import the maker's package.

        Raises:
            MissingExtraError: it is not installed; the message contains the pip command.
        """
        with _silent():
            require(self.module, extra=self.extra)

    def version(self) -> str:
        """Name and version of the maker's package."""
        name = self.module.replace("_", "-")
        return f"{name} {metadata.version(name)}"

    def convert(self, core: Core, card: str, path: Path, *, half: bool) -> None:
        """Write the files of the format; ``path`` is in a folder of its own, which they fill.

        Raises:
            ModelFileError: the maker's package cannot convert the network.
        """
        with self._in_one_line(f"{self.version()} cannot convert the network"):
            self.write(core, card, path, half)

    def run(self, path: Path, core: Core) -> Runner:
        """The file, ready to run.

        Raises:
            ModelFileError: the maker's runtime cannot open it.
        """
        with self._in_one_line(f"{self.version()} cannot open the file it made"):
            return self.opened(path, core)

    @contextmanager
    def _in_one_line(self, problem: str) -> Iterator[None]:
        """Run foreign code without the text that it prints; its errors become one line."""
        try:
            with _silent():
                yield
        except CanthusError:
            raise
        except Exception as error:  # converters raise many types
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ModelFileError(f"{problem} ({type(error).__name__}: {reason[:300]}); nothing was written") from error


@contextmanager
def _silent() -> Iterator[None]:
    """Drop what is printed, also by libraries in C; converters report steps that no user needs."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with Path(os.devnull).open("w") as nowhere, quiet():
            for number in (1, 2):
                os.dup2(nowhere.fileno(), number)
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, original in zip((1, 2), kept, strict=True):
            os.dup2(original, number)
            os.close(original)


def _write_core(core: Core, card: str, path: Path, half: bool) -> None:
    onnx = require("onnx", extra="train")
    model = type(core.model)()
    model.CopyFrom(core.model)
    onnx.helper.set_model_props(model, {CORE_KEY: card})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _traced(core: Core) -> Any:
    import torch

    from canthus.export.core_in_torch import CoreModule

    with torch.no_grad():
        traced: Any = torch.jit.trace(CoreModule(core).eval(), torch.zeros(core.input.shape))
    return traced


def _write_torchscript(core: Core, card: str, path: Path, half: bool) -> None:
    torch = require("torch", extra="train")
    torch.jit.save(torch.jit.freeze(_traced(core)), str(path), _extra_files={CARD_ENTRY: card})


def _run_torchscript(path: Path, core: Core) -> Runner:
    torch = require("torch", extra="train")
    module = torch.jit.load(str(path))

    def run(planes: np.ndarray) -> list[np.ndarray]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.inference_mode():
                return [np.asarray(output) for output in module(torch.from_numpy(planes))]
        finally:
            torch.set_num_threads(threads)

    return run


def _write_openvino(core: Core, card: str, path: Path, half: bool) -> None:
    openvino = require("openvino", extra="openvino")
    model = openvino.Core().read_model(core.model.SerializeToString())
    model.set_rt_info(card, CARD_KEY)
    openvino.save_model(model, path, compress_to_fp16=half)


def _run_openvino(path: Path, core: Core) -> Runner:
    openvino = require("openvino", extra="openvino")
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(path, "CPU", settings)
    return lambda planes: [model(planes)[name] for name in core.outputs]


def _write_coreml(core: Core, card: str, path: Path, half: bool) -> None:
    tools = require("coremltools", extra="coreml")
    model = tools.convert(
        _traced(core),
        inputs=[tools.TensorType("image", shape=core.input.shape)],
        outputs=[tools.TensorType(name) for name in core.outputs],
        convert_to="mlprogram",
        minimum_deployment_target=tools.target.iOS15,
        compute_precision=tools.precision.FLOAT16 if half else tools.precision.FLOAT32,
        skip_model_load=True,
    )
    model.user_defined_metadata[CARD_KEY] = card
    model.save(str(path))


def _run_coreml(path: Path, core: Core) -> Runner:
    tools = require("coremltools", extra="coreml")
    model = tools.models.MLModel(str(path), compute_units=tools.ComputeUnit.CPU_ONLY)

    def run(planes: np.ndarray) -> list[np.ndarray]:
        found: Mapping[str, np.ndarray] = model.predict({"image": planes})
        return [found[name] for name in core.outputs]

    return run


def _write_tflite(core: Core, card: str, path: Path, half: bool) -> None:
    import torch

    from canthus.export.core_in_torch import CoreModule

    converter = require("litert_torch", extra="tflite")

    class View(torch.nn.Module):
        """The core as TensorFlow Lite programs feed it: ``(n, h, w, 3)`` in, outputs by name."""

        def __init__(self) -> None:
            super().__init__()
            self.module = CoreModule(core)

        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            return dict(zip(core.outputs, self.module(image.permute(0, 3, 1, 2)), strict=True))

    count, _, height, width = core.input.shape
    example = {"image": torch.zeros(count, height, width, 3)}
    converter.convert(View().eval(), sample_kwargs=example).export(str(path))
    if half:
        _halve_tflite(path)
    # The end of a file of TensorFlow Lite is the format's own place for an archive of files about it.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(CARD_ENTRY, card)


def _halve_tflite(path: Path) -> None:
    """Store the weights in 16 bits; the runtime makes floats of 32 bits of them."""
    tools = require("ai_edge_quantizer.quantizer", extra="tflite")
    weights = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"}
    settings = {"weight_tensor_config": weights, "compute_precision": "FLOAT", "explicit_dequantize": True}
    recipe = [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": settings}]
    path.write_bytes(tools.Quantizer(str(path), recipe).quantize().quantized_model)


def _run_tflite(path: Path, core: Core) -> Runner:
    interpreter = require("ai_edge_litert.interpreter", extra="tflite").Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()  # here, where what it prints is dropped
    runner = interpreter.get_signature_runner()

    def run(planes: np.ndarray) -> list[np.ndarray]:
        found = runner(image=np.ascontiguousarray(planes.transpose(0, 2, 3, 1)))
        return [found[name] for name in core.outputs]

    return run


TARGETS: Mapping[str, Target] = {
    "onnx-core": Target(
        ".core.onnx", "ONNX, float32 planes in", "onnx", "train", _write_core, lambda path, core: run_file(path)
    ),
    "torchscript": Target(".torchscript.pt", "TorchScript", "torch", "train", _write_torchscript, _run_torchscript),
    "openvino": Target(".xml", "OpenVINO", "openvino", "openvino", _write_openvino, _run_openvino, halves=True),
    "tflite": Target(
        ".tflite", "TensorFlow Lite (LiteRT)", "litert_torch", "tflite", _write_tflite, _run_tflite,
        channels_last=True, halves=True,
    ),
    "coreml": Target(
        ".mlpackage", "Core ML", "coremltools", "coreml", _write_coreml, _run_coreml,
        halves=True, runs_here=sys.platform == "darwin",
    ),
}  # fmt: skip
"""Target by name."""


def is_own_package(folder: Path) -> bool:
    """Whether a folder is a Core ML package that canthus wrote."""
    model = folder / "Data" / "com.apple.CoreML" / "model.mlmodel"
    return model.is_file() and CARD_KEY.encode() in model.read_bytes()


def replace_folder(made: Path, path: Path) -> None:
    """Move a folder to a path, in place of a folder there; the path always holds a whole one or none."""
    aside = Path(tempfile.mkdtemp(prefix=".canthus-", dir=path.parent))
    try:
        shutil.copytree(made, aside / "new")
        if path.exists():
            path.rename(aside / "old")
        (aside / "new").rename(path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
