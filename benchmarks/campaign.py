"""Run the commands on damaged files, and count how they end.

Usage: python benchmarks/campaign.py [--pictures 2000] [--videos 300] [--models 300] [--seed 0] [--jobs 2]
                                     [--memory-mb 2000] [--cpu-s 30] [--keep DIR] [--json FILE]

Pictures of a drawn face in all usual formats, short videos of it, and model files are mutated: bytes are changed, cut
out, doubled, moved between files, and sizes in headers become huge.  Each file goes through ``canthus detect``,
``track`` or ``fatigue`` in a process of its own with bounded memory and time.  An end is one of

    right        exit code 0, and a valid result of finite numbers
    clear error  exit code 1 or 2, and one line for each problem
    invalid      exit code 0, but the result is no valid JSON or holds a number that is not finite
    traceback    a Python traceback, or an exit code without a word
    hang         more than the allowed seconds
    crash        killed by a signal, such as a segmentation fault

The exit code of this script is 1 if there is any of the last four.  ``--keep`` copies the files that caused them.
"""

import argparse
import io
import json
import math
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from PIL import Image as Pillow
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

import canthus.cli.detect
import canthus.cli.fatigue
import canthus.cli.track  # noqa: F401  imported once, here; the processes below are copies of this one
from canthus.cli.main import main
from canthus.data.synthetic import FaceShape, draw_face
from canthus.zoo import embedded_detectors, embedded_models

ENDS = ("right", "clear error", "invalid", "traceback", "hang", "crash")
FAULTS = frozenset(ENDS[2:])
Mutation = Callable[[np.random.Generator, bytes, bytes], bytes]


def pictures() -> dict[str, bytes]:
    """Suffix and kind -> a whole picture of a drawn face."""
    image = draw_face(np.random.default_rng(3), size=160).image
    plain, bgr = Pillow.fromarray(image), np.ascontiguousarray(image[:, :, ::-1])
    other = Pillow.fromarray(np.ascontiguousarray(image[:, ::-1]))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    moving: dict[str, Any] = {"save_all": True, "append_images": [other, plain], "duration": 80}
    made: dict[str, tuple[str, Pillow.Image, dict[str, Any]]] = {
        "baseline.jpg": ("JPEG", plain, {"quality": 85}),
        "progressive.jpg": ("JPEG", plain, {"progressive": True}),
        "turned.jpg": ("JPEG", plain, {"exif": exif}),
        "cmyk.jpg": ("JPEG", plain.convert("CMYK"), {}),
        "grey.jpg": ("JPEG", plain.convert("L"), {}),
        "rgb.png": ("PNG", plain, {}),
        "palette.png": ("PNG", plain.quantize(64), {}),
        "alpha.png": ("PNG", plain.convert("RGBA"), {}),
        "animated.png": ("PNG", plain, moving),
        "animated.gif": ("GIF", plain, moving),
        "lossy.webp": ("WEBP", plain, {}),
        "lossless.webp": ("WEBP", plain, {"lossless": True}),
        "animated.webp": ("WEBP", plain, moving),
        "plain.bmp": ("BMP", plain, {}),
        "plain.tif": ("TIFF", plain, {}),
        "lzw.tif": ("TIFF", plain, {"compression": "tiff_lzw"}),
        "jpeg.tif": ("TIFF", plain, {"compression": "jpeg"}),
        "plain.jp2": ("JPEG2000", plain, {}),
        "plain.ppm": ("PPM", plain, {}),
        "grey.pgm": ("PPM", plain.convert("L"), {}),
        "bits.pbm": ("PPM", plain.convert("1"), {}),
    }
    found = {}
    for name, (kind, source, options) in made.items():
        buffer = io.BytesIO()
        source.save(buffer, kind, **options)
        found[name] = buffer.getvalue()
    for suffix in (".png", ".tif"):
        found[f"16_bits{suffix}"] = cv2.imencode(suffix, bgr.astype(np.uint16) * 257)[1].tobytes()
    if cv2.haveImageWriter(".avif"):
        found["plain.avif"] = cv2.imencode(".avif", bgr)[1].tobytes()
    return found


VIDEOS = {
    "h264.mp4": "libx264", "h264.mov": "libx264", "h264.mkv": "libx264", "h264.ts": "libx264", "mpeg4.avi": "mpeg4",
    "mpeg2.ts": "mpeg2video", "vp9.webm": "libvpx-vp9", "moving.gif": "gif", "mjpeg.avi": "mjpeg",
}  # fmt: skip
"""File -> encoder."""


def videos() -> dict[str, bytes]:
    """Suffix and kind -> a whole video of a drawn face that moves, one second long."""
    frames = []
    for index in range(25):
        shape = FaceShape(yaw=0.3 * math.sin(index / 4), eyes=0.0 if index in (8, 9, 10) else 0.7)
        frames.append(draw_face(np.random.default_rng(3), size=160, shape=shape).image)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, encoder in VIDEOS.items():
            path = Path(folder) / name
            with av.open(str(path), "w") as container:
                stream: Any = container.add_stream(encoder, rate=25)
                stream.width = stream.height = 160
                stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(encoder, "yuv420p")
                for frame in frames:
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
                container.mux(stream.encode())
            found[name] = path.read_bytes()
    return found


def models() -> dict[str, bytes]:
    """File name -> a whole model."""
    chosen = {**embedded_models(), **embedded_detectors()}
    return {f"{name}.onnx": Path(path).read_bytes() for name, path in chosen.items()}


def change_bytes(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """1 to 16 bytes anywhere become others."""
    changed = bytearray(data)
    for place in rng.integers(0, len(data), rng.integers(1, 17)):
        changed[place] = rng.integers(0, 256)
    return bytes(changed)


def change_start(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """1 to 4 of the first 200 bytes become others."""
    changed = bytearray(data)
    for place in rng.integers(0, min(200, len(data)), rng.integers(1, 5)):
        changed[place] = rng.integers(0, 256)
    return bytes(changed)


def huge_number(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """2 or 4 of the first 300 bytes become a large or negative number."""
    number = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\xff\xff", b"\xff\xff", b"\x80\0"]
    chosen = number[rng.integers(len(number))]
    place = int(rng.integers(0, max(1, min(300, len(data) - 4))))
    return data[:place] + chosen + data[place + len(chosen) :]


def cut_short(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """The file ends early."""
    return data[: rng.integers(0, len(data))]


def cut_out(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A part in the middle is missing."""
    start, end = sorted(int(place) for place in rng.integers(0, len(data), 2))
    return data[:start] + data[min(end, start + len(data) // 4) :]


def blank(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A part in the middle is zero, as after a failed copy."""
    start = int(rng.integers(0, len(data)))
    end = min(len(data), start + int(rng.integers(1, max(2, len(data) // 3))))
    return data[:start] + bytes(end - start) + data[end:]


def double(rng: np.random.Generator, data: bytes, _: bytes) -> bytes:
    """A part comes twice."""
    start = int(rng.integers(0, len(data)))
    end = min(len(data), start + int(rng.integers(1, 2000)))
    return data[:end] + data[start:end] + data[end:]


def splice(rng: np.random.Generator, data: bytes, other: bytes) -> bytes:
    """The start of one file and the end of another."""
    return data[: rng.integers(1, len(data))] + other[rng.integers(0, len(other)) :]


MUTATIONS: tuple[Mutation, ...] = (change_bytes, change_start, huge_number, cut_short, cut_out, blank, double, splice)


@dataclass
class Tally:
    """How the runs on one kind of file ended.

    Attributes:
        ends: end -> number of runs.
        faults: for each run that ended badly, the name of its file and the last lines that it printed.
        peak_mb: highest resident memory of a run.
        slowest_s: longest time that a run took on a processor.
    """

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str, str]] = field(default_factory=list)
    peak_mb: float = 0.0
    slowest_s: float = 0.0


def mutated(sources: dict[str, bytes], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """``count`` files: every source with every mutation in turn."""
    rng = np.random.default_rng(seed)
    names = list(sources)
    for index in range(count):
        name = names[index % len(names)]
        mutation = MUTATIONS[index // len(names) % len(MUTATIONS)]
        other = sources[names[rng.integers(len(names))]]
        kind = getattr(mutation, "__name__", "")
        yield f"{index:04d}_{kind}_{name}", mutation(rng, sources[name], other)


def arguments_for(kind: str, number: int, path: Path, whole: Path) -> list[str]:
    """The command line for one file; videos go to ``track``, ``track --out`` and ``fatigue`` in turn."""
    if kind == "pictures":
        return ["detect", str(path), "--json", "-"]
    if kind == "models":
        option = "--detector" if "detector" in path.name else "--model"
        return ["detect", str(whole), option, str(path), "--json", "-"]
    out = ["--out", str(path.with_suffix(".out.mp4"))] if number % 3 == 1 else []
    return ["fatigue" if number % 3 == 2 else "track", str(path), "--json", "-", *out]


def start(arguments: list[str], printed: Path, *, memory_mb: int, cpu_s: int) -> int:
    """Run ``canthus`` in a copy of this process; its number.

    The output goes to ``printed`` with the suffixes ``.out`` and ``.err``.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        for number, suffix in ((1, ".out"), (2, ".err")):
            target = os.open(printed.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(target, number)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory_mb * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(20 * cpu_s)
        sys.argv = ["canthus", *arguments]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001  every exception that gets here is a fault to be counted
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end_of(status: int, printed: Path, *, lines: bool) -> str:
    """Name of the end in ``ENDS``.

    Args:
        status: as ``os.wait4`` gives it.
        printed: path of the output, without suffix.
        lines: the output is JSON by lines.
    """
    out, err = (printed.with_suffix(suffix).read_text(errors="replace") for suffix in (".out", ".err"))
    if os.WIFSIGNALED(status):
        return "hang" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL) else "crash"
    code = os.WEXITSTATUS(status)
    if "Traceback" in err or code not in (0, 1, 2) or (code and not err.strip()):
        return "traceback"
    if code == 2:
        return "clear error"
    texts = out.splitlines() if lines else [out]
    return ("clear error" if code else "right") if all(map(is_valid, texts)) else "invalid"


def is_valid(text: str) -> bool:
    """Whether a text is JSON without NaN and infinity; a run that found nothing to read prints nothing."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text or "[]", parse_constant=refuse)
    except ValueError:
        return False
    return True


def campaign(kind: str, files: Iterable[tuple[str, bytes]], options: argparse.Namespace, folder: Path) -> Tally:
    """Run all files of one kind, ``options.jobs`` at a time."""
    tally, running = Tally(), dict[int, tuple[str, Path]]()
    whole = folder / "whole.jpg"
    whole.write_bytes(pictures()["baseline.jpg"])

    def finish() -> None:
        process, status, used = os.wait4(-1, 0)
        name, path = running.pop(process)
        end = end_of(status, path, lines=kind == "videos")
        tally.ends[end] += 1
        tally.peak_mb = max(tally.peak_mb, used.ru_maxrss / 1e3)
        tally.slowest_s = max(tally.slowest_s, used.ru_utime + used.ru_stime)
        if end in FAULTS:
            err = path.with_suffix(".err").read_text(errors="replace").strip().splitlines()
            tally.faults.append((end, name, " | ".join(err[-2:])))
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / name).write_bytes((path.parent / name).read_bytes())
        for left in path.parent.glob(f"{path.name}*"):
            left.unlink()

    for number, (name, data) in enumerate(files):
        path = folder / name
        path.write_bytes(data)
        printed = folder / name.replace(".", "_")
        command = arguments_for(kind, number, path, whole)
        running[start(command, printed, memory_mb=options.memory_mb, cpu_s=options.cpu_s)] = (name, printed)
        if len(running) >= options.jobs:
            finish()
    while running:
        finish()
    return tally


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, count in {"pictures": 2000, "videos": 300, "models": 300}.items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N", help=f"number of mutated {name}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--memory-mb", type=int, default=2000, help="memory of a run beyond that of the imports")
    parser.add_argument("--cpu-s", type=int, default=30, help="processor seconds of a run")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files that end badly")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts and the bad ends")
    return parser.parse_args()


def run() -> int:
    """Run the campaign and print its table; the exit code."""
    options, console, started_s = parse(), Console(stderr=True), time.monotonic()
    tallies = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, make in {"pictures": pictures, "videos": videos, "models": models}.items():
            count = getattr(options, kind)
            files = track(mutated(make(), count, options.seed), kind, total=count, console=console, transient=True)
            tallies[kind] = campaign(kind, files, options, Path(folder))
    heads = [end.replace(" ", "\n").replace("traceback", "trace-\nback") for end in ENDS]
    table = Table("files", "tried", *heads, "peak\nMB", "most\ns", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for kind, tally in tallies.items():
        counts = [str(tally.ends[end]) for end in ENDS]
        table.add_row(kind, str(tally.ends.total()), *counts, f"{tally.peak_mb:.0f}", f"{tally.slowest_s:.1f}")
    Console().print(table)
    print(f"{time.monotonic() - started_s:.0f} s, seed {options.seed}")
    for tally in tallies.values():
        for end, name, last in tally.faults:
            print(f"{end}: {name}: {last}")
    if options.json:
        options.json.write_text(json.dumps({kind: vars(tally) for kind, tally in tallies.items()}, indent=1))
    return int(any(tally.faults for tally in tallies.values()))


if __name__ == "__main__":
    sys.exit(run())
