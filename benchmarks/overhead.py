"""Measure the overhead of canthus over the bare network: start-up time, and time per face.

Run:    python benchmarks/overhead.py [--model NAME|FILE] [--picture FILE]
Prints: CPU seconds of a fresh process from ``import canthus`` to the first result (aim: below 0.5), and the median
        time of the whole step of one face (crop, run, map back) over that of the bare session (aim: below 1.3).
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from canthus.data.synthetic import draw_face
from canthus.evaluation.timing import latency, open_candidate, time_in_turns
from canthus.geometry import hull_box
from canthus.images import read_image, write_image
from canthus.runtime.haar_detector import HaarDetector
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.sessions import LandmarkSession, find_model

FIRST_RESULT = "import sys, canthus; canthus.load_pipeline(sys.argv[1])(canthus.read_image(sys.argv[2]))"


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one fresh Python process, all its threads together."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def print_start_up(model: Path, picture: Path, *, repeats: int = 7) -> None:
    """Best and median of several fresh processes, beside an empty one."""
    empty = [cpu_seconds(["-c", "pass"]) for _ in range(repeats)]
    alone = [cpu_seconds(["-c", "import canthus"]) for _ in range(repeats)]
    first = [cpu_seconds(["-c", FIRST_RESULT, str(model), str(picture)]) for _ in range(repeats)]
    for name, values in (("python", empty), ("import canthus", alone), ("import to first result", first)):
        print(f"{name}: {np.median(values):.3f} s CPU (median of {repeats}, best {min(values):.3f})")


def print_latency(
    model: Path, image: UInt8[np.ndarray, "h w 3"], boxes: Float32[np.ndarray, "1 4"], *, rounds: int = 60
) -> None:
    """Landmarks of one known face against the bare network."""
    landmarker = Landmarker(LandmarkSession.open(model))
    bare = open_candidate(model, name=model.stem, threads=1).run
    runs = [bare, lambda: landmarker(image, boxes)]
    seconds = np.concatenate(list(time_in_turns(runs, rounds=rounds)), axis=1)
    network, whole = (latency(row).median_s for row in seconds)
    side = float((boxes[0, 2:] - boxes[0, :2]).max())
    print(f"bare network: {network * 1e3:.3f} ms; face of {side:.0f} px to landmarks: {whole * 1e3:.3f} ms")
    print(f"ratio: {whole / network:.3f} (added: {(whole - network) * 1e6:.0f} us)")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="embedded name or ONNX file")
    parser.add_argument("--picture", type=Path, help="picture with a face; a drawn one unless given")
    options = parser.parse_args()
    model = find_model(options.model)
    with tempfile.TemporaryDirectory() as folder:
        picture = options.picture or Path(folder) / "face.png"
        if options.picture is None:
            drawn = draw_face(np.random.default_rng(0), size=480)
            write_image(picture, drawn.image)
            boxes = hull_box(drawn.points)[None]
        else:
            boxes = HaarDetector()(read_image(picture)).boxes[:1]
            if not len(boxes):
                raise SystemExit(f"{picture}: no face found; take another picture")
        print_start_up(model, picture)
        print_latency(model, read_image(picture), boxes)


if __name__ == "__main__":
    main()
