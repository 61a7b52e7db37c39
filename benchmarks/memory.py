"""Measure the memory of a command on a long video of drawn faces.

Usage: python benchmarks/memory.py [fatigue|track|signals] [--hours 2] [--rate 5] [--out]

The video is 192 x 144 and repeats a minute of blinks and yawns; --out also draws and encodes.  The script prints the
resident memory after each tenth of the run; a leak would show as growth from the first tenth to the last.

``signals`` measures without video and network, in a fraction of the time: the memory that monitor and timeline keep for
the measures of each frame, as counted by Python.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np

from canthus.data.synthetic import FaceShape, draw_face
from canthus.fatigue.measures import Observation
from canthus.fatigue.monitor import FatigueMonitor
from canthus.fatigue.report import Timeline
from canthus.runtime.video import VideoWriter

WIDTH, HEIGHT = 192, 144


def write_video(path: Path, *, hours: float, rate_hz: float) -> int:
    """Write the video; its number of frames."""
    still = FaceShape(eyes=0.7)
    shapes = {"open": still, "shut": replace(still, eyes=0.0), "yawn": replace(still, mouth=0.9, eyes=0.4)}
    pictures = {}
    for name, shape in shapes.items():
        face = draw_face(np.random.default_rng(1), size=HEIGHT, shape=shape).image
        pictures[name] = np.pad(face, ((0, 0), (24, 24), (0, 0)), mode="edge")
    count = round(hours * 3600 * rate_hz)
    with VideoWriter(path, width=WIDTH, height=HEIGHT, fps=rate_hz) as video:
        for index in range(count):
            second = index / rate_hz % 60
            name = "yawn" if 50 <= second < 54 else "shut" if second % 7 < 0.4 else "open"
            video.write(pictures[name], index / rate_hz)
    return count


def resident_mb(pid: int) -> float:
    """Resident memory of a process, or NaN once it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return float("nan")
    return pages * 4096 / 1e6


def keep_signals(*, hours: float, rate_hz: float) -> None:
    """Watch eyes that blink every four seconds, and print what is kept."""
    rng = np.random.default_rng(0)
    tracemalloc.start()
    monitor, timeline, events = FatigueMonitor(), Timeline(), 0
    count = round(hours * 3600 * rate_hz)
    for index in range(count):
        now = index / rate_hz
        eye = 0.1 if now % 4 < 0.25 else 0.3 + 0.005 * float(rng.normal())
        events += len(monitor.update(Observation(now, eye, eye, 0.1, 0.0, 0.0, 30.0)))
        timeline.add(monitor.status)
        if (index + 1) % (count // 10) == 0:
            kept = tracemalloc.get_traced_memory()[0] / 1e6
            print(f"{now / 60:.0f} min, {index + 1} frames, {events} events: {kept:.2f} MB", flush=True)


def main() -> None:
    """Write, run, sample, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("fatigue", "track", "signals"), nargs="?", default="fatigue")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=5.0, help="frames a second")
    parser.add_argument("--out", action="store_true", help="also draw and encode")
    options = parser.parse_args()
    if options.command == "signals":
        keep_signals(hours=options.hours, rate_hz=options.rate)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        count = write_video(folder / "long.mp4", hours=options.hours, rate_hz=options.rate)
        rows = folder / "rows.csv"
        words = [options.command, str(folder / "long.mp4"), "--csv", str(rows), "--json", str(folder / "report.json")]
        words += ["--out", str(folder / "seen.mp4")] if options.out else []
        start = "from canthus.cli.main import main; main()"
        with subprocess.Popen(
            [sys.executable, "-c", start, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as run:
            samples: list[tuple[float, float]] = []
            size = 0
            while run.poll() is None:
                time.sleep(0.5)
                if rows.exists():
                    size = rows.stat().st_size
                    samples.append((float(size), resident_mb(run.pid)))
            said = run.stderr.read() if run.stderr else ""
        print(said.strip().splitlines()[-1])
        for tenth in range(1, 11):
            within = [mb for done, mb in samples if (tenth - 1) / 10 < done / size <= tenth / 10 and np.isfinite(mb)]
            print(f"{10 * tenth:3d} % of {count} frames: {max(within, default=float('nan')):.1f} MB")


if __name__ == "__main__":
    main()
