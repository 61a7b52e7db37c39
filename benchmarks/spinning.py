"""Measure what threads of ONNX Runtime cost that spin while they wait, as they do unless canthus turns it off.

    python benchmarks/spinning.py [--rounds N] [--threads N ...]

The embedded detector on 640 x 480 and the embedded landmark model on one face, with work in NumPy between two runs, in
which their threads have nothing to do.  All cases take turns, with a session and some runs of their own each time.
Prints medians a run, in milliseconds: wall time and processor time of all threads.
"""

import argparse
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from canthus.runtime.cards import DETECTOR
from canthus.runtime.sessions import LandmarkSession, find_model

RUNS = 20


def opened(path: Path, *, threads: int, spins: bool) -> Any:
    """A session of ONNX Runtime as canthus makes it, or with threads that spin."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    rng, side = np.random.default_rng(0), LandmarkSession.open().card.size
    inputs = {
        "detector": (find_model("default", kind=DETECTOR), rng.integers(0, 256, (1, 480, 640, 3), dtype=np.uint8)),
        "landmarks": (find_model("default"), rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8)),
    }
    for name, (path, pixels) in inputs.items():
        cases = list(product(chosen.threads, (True, False)))
        times = np.empty((chosen.rounds, len(cases), 2))
        for number, (place, (threads, spins)) in product(range(chosen.rounds), enumerate(cases)):
            session = opened(path, threads=threads, spins=spins)
            session.run(None, {"image": pixels})
            start_s, used_s = time.perf_counter(), time.process_time()
            for _ in range(RUNS):
                session.run(None, {"image": pixels})
                np.sort(rng.random(20_000))
            times[number, place] = time.perf_counter() - start_s, time.process_time() - used_s
        for (threads, spins), (wall_s, cpu_s) in zip(cases, np.median(times, axis=0) / RUNS, strict=True):
            how = f"{threads} threads {'spin' if spins else 'sleep'}"
            print(f"{name:9} {how:15}: {1e3 * wall_s:6.2f} ms wall, {1e3 * cpu_s:6.2f} ms of processor")


if __name__ == "__main__":
    main()
