"""Measure ``canthus batch``: time, processor time and memory of one process, of several, and of Ray, in one run.

The pictures are hard links to those of a folder, as many as asked for.  The ways take turns, so that what else runs on
the machine is alike for all.  Processor time is that of all processes of a command, start-up included; memory is the
largest resident size of its first process and of its largest other one.  Linux only.  For example:

    python benchmarks/batch_throughput.py PHOTOS --pictures 5000 --ways one local ray --rounds 2
    python benchmarks/batch_throughput.py PHOTOS --pictures 20000 100000 --ways local \
        --options "--detector none --passes 1"
"""

import argparse
import itertools
import os
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
WAYS = {
    "one": ("--workers", "1"),
    "local": ("--workers", "2"),
    "ray": ("--engine", "ray", "--workers", "2"),
}
"""Name -> options of ``canthus batch``."""


@dataclass
class Usage:
    """Processor time (s) and peak memory (MB) of a process and all its descendants, by number of process."""

    seconds: dict[int, float] = field(default_factory=dict)
    memory: dict[int, float] = field(default_factory=dict)

    def sample(self, root: int) -> None:
        """Read the counters of all processes that ``root`` has started and that are alive."""
        table = dict(filter(None, map(_stat, Path("/proc").glob("[0-9]*/stat"))))
        family, size = {root}, 0
        while size < len(family):
            size = len(family)
            family |= {pid for pid, (parent, _, _) in table.items() if parent in family}
        for pid in family & table.keys():
            _, self.seconds[pid], memory = table[pid]
            self.memory[pid] = max(memory, self.memory.get(pid, 0))


def _stat(file: Path) -> tuple[int, tuple[int, float, float]] | None:
    """Number, parent, processor time (s) and resident size (MB) of a process."""
    try:
        fields = file.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    memory = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return int(file.parent.name), (int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK, memory)


def link_pictures(photos: Path, folder: Path, count: int) -> None:
    """Fill a folder with hard links to the pictures of another one, 1,000 in each subfolder."""
    files = sorted(path for path in photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    for index, file in zip(range(count), itertools.cycle(files), strict=False):
        place = folder / f"{index // 1000:04d}" / f"{index:07d}{file.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(file, place)


def measure(photos: Path, out: Path, options: list[str]) -> tuple[float, Usage]:
    """Wall time and usage of one command."""
    usage, start_s = Usage(), time.monotonic()
    command = [sys.executable, "-m", "canthus", "batch", str(photos), str(out), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            usage.sample(process.pid)
            time.sleep(0.2)
    if process.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return time.monotonic() - start_s, usage


def main() -> None:
    """Print a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pictures", type=int, nargs="+", default=[5000])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["one", "local"])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--options", type=shlex.split, default=[], help="further options of canthus batch")
    chosen = parser.parse_args()
    print(f"{'way':6} {'pictures':>8} {'wall s':>8} {'cpu s':>8} {'cpu ms each':>11} {'driver MB':>9} {'worker MB':>9}")
    for count in chosen.pictures:
        with tempfile.TemporaryDirectory(dir=".", prefix="batch-") as place:
            link_pictures(chosen.photos, Path(place) / "photos", count)
            for number, way in itertools.product(range(chosen.rounds), chosen.ways):
                out = Path(place) / f"{way}-{number}"
                wall_s, usage = measure(Path(place) / "photos", out, [*WAYS[way], *chosen.options])
                driver, *others = usage.memory.values()
                cpu_s = sum(usage.seconds.values())
                print(
                    f"{way:6} {count:8} {wall_s:8.1f} {cpu_s:8.1f} {1000 * cpu_s / count:11.2f} {driver:9.0f} "
                    f"{max(others, default=0):9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
