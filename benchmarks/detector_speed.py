"""Time face detectors and landmark networks by library, in turns in one run.

    python benchmarks/detector_speed.py [PICTURE] [--yunet FILE] [--detector FILE] [--model FILE] [--rounds N]

One thread.  The default picture is a part of the portrait that comes with matplotlib, at 640 x 480: one face, which the
embedded detectors are sure of.  Each doubted face costs a closer look more; they are counted.  Prints medians of the
processor time in milliseconds, and how often the landmark network in ONNX Runtime fits into them, which can be compared
between machines.  ``--detector`` and ``--model`` add files, such as those of ``canthus quantize``; ``--yunet`` takes
the file of ``canthus fetch yunet``.  "Whole" is all that a detector does with a picture in memory.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from matplotlib import get_data_path

from canthus import Pipeline, read_image
from canthus.errors import ConfigError, MissingExtraError
from canthus.evaluation.timing import time_in_turns
from canthus.images import fit_image
from canthus.runtime.backends import BACKENDS
from canthus.runtime.canthus_detector import DOUBTED, CanthusDetector
from canthus.runtime.haar_detector import HaarDetector
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.sessions import DetectorSession, LandmarkSession
from canthus.runtime.yunet_detector import YuNetDetector
from canthus.types import Image

SIZES = (640, 320)
OPENCV = "opencv"


def one_face() -> Image:
    """640 x 480 with one face."""
    portrait = read_image(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")
    return np.asarray(cv2.resize(portrait[130:370, 100:420], (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)


def doubted(picture: Image, detector: str, size: int) -> int:
    """Faces of a picture that get a closer look, about: those whose score is doubted after it."""
    scores = CanthusDetector(DetectorSession.open(detector), size=size, least_score=DOUBTED[0])(picture).scores
    return int((scores < DOUBTED[1]).sum())


Timed = tuple[tuple[str, str], Callable[[], object]]
"""Row and column of the table, and what is timed for it."""


def of_backend(picture: Image, backend: str, detectors: list[str], models: list[str]) -> Iterator[Timed]:
    """What one library is timed with."""
    crops = np.random.default_rng(0).integers(0, 256, (1, 256, 256, 3), np.uint8)
    sessions = [LandmarkSession.open(name, backend=backend) for name in models]
    for session in sessions:
        size = session.card.size
        yield (
            (f"{session.card.name}: network, one face", backend),
            partial(session.answer, crops[:, :size, :size].copy()),
        )
    for name in detectors:
        network = DetectorSession.open(name, backend=backend)
        for size in SIZES:
            detector = CanthusDetector(network, size=size)
            canvas, _ = fit_image(picture, size, multiple=32)
            row = f"{network.card.name} at {size}"
            yield (f"{row}: network, first look", backend), partial(network, canvas[None])
            yield (f"{row}: whole", backend), partial(detector, picture)
            pipeline = Pipeline(lambda image, detector=detector: detector(image)[:1], Landmarker(sessions[0]))
            yield (f"{row}: whole, and landmarks of one face", backend), partial(pipeline, picture)


def of_opencv(picture: Image, yunet: str | None) -> Iterator[Timed]:
    """The detectors that OpenCV runs, and the decoding in NumPy."""
    for size in SIZES:
        if yunet:
            yield (f"yunet at {size}", OPENCV), partial(YuNetDetector(yunet, size=size), picture)
        yield (f"haar at {size}", OPENCV), partial(HaarDetector(long_side=size), picture)


def usable_backends() -> list[str]:
    """The libraries that are installed and work on this processor."""
    found = []
    for backend in BACKENDS:
        try:
            LandmarkSession.open(backend=backend)
        except (ConfigError, MissingExtraError) as error:
            print(f"without {backend}: {error}")
        else:
            found.append(backend)
    return found


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", nargs="?", type=Path)
    parser.add_argument("--yunet", help="ONNX file of YuNet")
    parser.add_argument("--detector", action="append", default=["default"], help="further detector")
    parser.add_argument("--model", action="append", default=["default"], help="further landmark network")
    parser.add_argument("--rounds", type=int, default=10, help="visits of five runs each")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    picture = read_image(chosen.picture) if chosen.picture else one_face()
    backends = usable_backends()
    timed = [
        entry for backend in backends for entry in of_backend(picture, backend, chosen.detector, chosen.model)
    ] + list(of_opencv(picture, chosen.yunet))
    rounds = list(time_in_turns([work for _, work in timed], rounds=chosen.rounds, clock=time.process_time))
    medians = dict(zip([place for place, _ in timed], np.median(np.concatenate(rounds, axis=1), axis=1), strict=True))
    unit = next(iter(medians.values()))
    print(f"picture: {picture.shape[1]} x {picture.shape[0]}; one thread; ms, and times {1e3 * unit:.2f} ms")
    for name in chosen.detector:
        print(f"faces of {name} with a closer look: " + ", ".join(f"{doubted(picture, name, s)} at {s}" for s in SIZES))
    columns = [*backends, OPENCV]
    print(f"{'':62}" + "".join(f"{name:>18}" for name in columns))
    for row in dict.fromkeys(row for row, _ in medians):
        cells = [medians.get((row, column)) for column in columns]
        print(f"{row:62}" + "".join(f"{'' if s is None else f'{1e3 * s:.2f} ({s / unit:.1f})':>18}" for s in cells))


if __name__ == "__main__":
    main()
