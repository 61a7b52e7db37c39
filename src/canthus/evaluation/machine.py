"""The machine a speed was measured on, and how fast it multiplies at best."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from canthus.evaluation.onnx_file import product_model

PEAK_SIDE = 512
"""Side of the square matrices whose product measures the machine: large enough for full speed, 1 MB each."""


@final
@dataclass(frozen=True)
class Machine:
    """What a latency depends on besides the model.

    Attributes:
        cpu: name of the processor.
        cores: logical cores that this process may use.
        system: operating system and architecture.
        python: version of Python.
        onnxruntime: version of ONNX Runtime.
    """

    cpu: str
    cores: int
    system: str
    python: str
    onnxruntime: str


def describe_machine() -> Machine:
    """The machine this runs on."""
    import onnxruntime

    return Machine(
        cpu=_cpu_name(Path("/proc/cpuinfo")),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
    )


def _cpu_name(cpuinfo: Path) -> str:
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip().lower() in ("model name", "hardware") and value.strip():
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def peak_model(side: int = PEAK_SIDE) -> bytes:
    """An ONNX file with one float32 matrix product of ``side x side``, ``side ** 3`` multiply-adds.

    Run by the same library with the same threads as the networks, it shows what those could reach.
    """
    weights = np.random.default_rng(0).uniform(-1, 1, (side, side)).astype("<f4")
    return product_model(weights.tobytes(), side)
