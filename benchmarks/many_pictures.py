"""Compare threads and processes for many pictures: pictures a second of ``Pipeline.batch`` and ``Pipeline.stream``.

    python benchmarks/many_pictures.py [--pictures N] [--workers N ...] [--backend NAME] [--device NAME]

The pictures are drawn: noise with four faces at 1280 x 960, given as arrays and as JPEG files.  Processes are started
before the clock.  The processor time is that of all processes.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterable
from itertools import cycle, islice, product
from pathlib import Path

import cv2
import numpy as np

import canthus
from canthus.data.synthetic import draw_face
from canthus.types import Image


def drawn_picture() -> Image:
    """640 x 480 with four drawn faces."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, size=(480, 640, 3), dtype=np.uint8)
    picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), dtype=np.uint8)
    for x, y in ((40, 20), (360, 20), (40, 250), (360, 250)):
        picture[y : y + 200, x : x + 200] = draw_face(rng, size=200).image
    return picture


def used_s() -> float:
    """Processor time of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Measure, print one line a way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--workers", type=int, nargs="+", default=[2])
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    pipeline = canthus.load_pipeline(backend=chosen.backend, device=chosen.device)
    image = np.asarray(cv2.resize(drawn_picture(), (1280, 960)))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.jpg" for number in range(20)]
        for path in paths:
            canthus.write_image(path, image)
        for kind, pictures in (("arrays", [image] * 20), ("files", paths)):
            few: Iterable[object] = list(islice(cycle(pictures), chosen.pictures))
            ways = [("one after the other", 1), *product(("threads", "processes"), chosen.workers)]
            for way, count in ways:
                begun_s = used_s()
                if way == "one after the other":
                    frames = pipeline.stream(few)
                else:
                    frames = pipeline.batch(few, workers=count, processes=way == "processes")
                next(frames)
                start_s = time.perf_counter()
                done = sum(1 for _ in frames)
                wall_s = time.perf_counter() - start_s
                print(
                    f"{kind:7} {way:20} {count:3}: {done / wall_s:7.1f} pictures/s, "
                    f"{1e3 * (used_s() - begun_s) / (done + 1):6.1f} ms of processor each",
                    flush=True,
                )


if __name__ == "__main__":
    main()
