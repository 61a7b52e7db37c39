"""Time the embedded face detector, its network alone, and the Haar cascade.

    python benchmarks/detector_speed.py [PICTURE]

One thread.  The default picture is drawn: noise with 2 x 2 drawn faces, at 640 x 480.  Prints medians in milliseconds,
and ratios, which can be compared between machines.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from canthus import read_image
from canthus.data.synthetic import draw_face
from canthus.images import fit_image
from canthus.runtime.canthus_detector import CanthusDetector, decode
from canthus.runtime.haar_detector import HaarDetector
from canthus.runtime.sessions import DetectorSession
from canthus.types import Image

ROUNDS = 100


def drawn_picture() -> Image:
    """640 x 480 with four drawn faces."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, size=(480, 640, 3), dtype=np.uint8)
    picture = np.asarray(cv2.GaussianBlur(noise, (0, 0), 4), dtype=np.uint8)
    for x, y in ((40, 20), (360, 20), (40, 250), (360, 250)):
        picture[y : y + 200, x : x + 200] = draw_face(rng, size=200).image
    return picture


def median_ms(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Median time of a call in milliseconds, after some calls to warm up."""
    for _ in range(5):
        work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    """Measure, print."""
    cv2.setNumThreads(1)
    picture = read_image(Path(sys.argv[1])) if len(sys.argv) > 1 else drawn_picture()
    print(f"picture: {picture.shape[1]} x {picture.shape[0]}")
    session = DetectorSession.open()
    total = {}
    for size in (640, 320):
        detector = CanthusDetector(session, size=size)
        canvas, _ = fit_image(picture, size, multiple=32)
        outputs = session(canvas[None])[0]
        height, width = canvas.shape[:2]
        network = median_ms(partial(session, canvas[None]))
        decoding = median_ms(partial(decode, outputs, height, width, session.card.strides, session.card.score))
        total[size] = median_ms(partial(detector, picture))
        print(
            f"canthus at {size}: {total[size]:.2f} ms in all, {len(detector(picture))} faces; network, first look "
            f"{network:.2f} ms; decoding {decoding:.2f} ms = {decoding / network:.3f} of it"
        )
    haar = HaarDetector()
    cascade = median_ms(partial(haar, picture), rounds=30)
    print(f"haar: {cascade:.2f} ms, {len(haar(picture))} faces = {cascade / total[640]:.1f} times canthus at 640")


if __name__ == "__main__":
    main()
