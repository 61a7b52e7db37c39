"""Measure the page in headless Chromium: frames per second of a camera that shows a drawn face.

Usage: python benchmarks/page_speed.py [--seconds 10] [--rate 60] [--pictures DIR] [--flags="--enable-unsafe-webgpu"]

Needs Chromium, the extra ``web-tests`` and ``canthus fetch web``.  The camera has 640 x 480 pixels, and 60 frames per
second or as many as --rate says; a face in it sways and blinks.  A line for each back end gives the medians of the
frames per second that the page shows, and of the time of one frame.  On Linux, ``taskset -c 0`` before the command
gives all of the browser one core.  With --pictures nothing is measured; two pictures of the page are written.
"""

import argparse
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from canthus.data.synthetic import FaceShape, draw_face
from canthus.errors import ConfigError
from canthus.images import write_image
from canthus.types import Image
from canthus.web.page import HEADERS, KINDS, export_page, page_files

WIDTH, HEIGHT = 640, 480
FILM_S = 4
BACK_ENDS = (("wasm", 1), ("wasm", 2), ("webgpu", 1))
LOADS_MS = 90_000


class Answers(SimpleHTTPRequestHandler):
    """The files of the page with their headers, without which wasm has one thread."""

    def guess_type(self, path: Any) -> str:
        """Media type of a file; browsers want the right one of scripts and wasm."""
        return KINDS.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self) -> None:
        """The headers of canthus serve."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of the page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def head(shape: FaceShape, seed: int, size: int) -> Image:
    """One drawn person."""
    return draw_face(np.random.default_rng(seed), size=size, shape=shape).image


def write_film(path: Path, rate: int) -> None:
    """A face that sways, and blinks every two seconds, as a film for Chromium's camera."""
    steps = [head(FaceShape(eyes=eyes, smile=0.3), 14, HEIGHT) for eyes in (0.8, 0.55, 0.25, 0.0)]
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for number in range(FILM_S * rate):
            shut = 3.9 * max(0.0, 1 - abs(number % (2 * rate) - rate) / (0.15 * rate))
            turn = 2 * np.pi * number / (FILM_S * rate)
            to = np.array([[1, 0, 80 + 30 * np.sin(turn)], [0, 1, 10 * np.sin(2 * turn)]])
            face = cv2.warpAffine(steps[int(shut)], to, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
            file.write(b"FRAME\n" + cv2.cvtColor(face, cv2.COLOR_RGB2YUV_I420).tobytes())


def opened(browser: Browser, address: str, **options: Any) -> Page:
    """The page when its models are loaded."""
    page = browser.new_context(permissions=["camera"], **options).new_page()
    page.goto(address)
    page.locator("#status", has_text="Ready").wait_for(timeout=LOADS_MS)
    return page


def speed(page: Page, back_end: str, threads: int, seconds: float) -> str:
    """Frames per second of the camera by a back end."""
    page.wait_for_timeout(500)  # the page asks for a graphics processor
    if page.locator(f"#backend option[value={back_end}]").is_disabled():
        return "not in this browser"
    page.select_option("#backend", back_end)
    page.fill("#threads", str(threads))
    page.locator("#threads").blur()
    page.locator("#status", has_text="Ready").wait_for(timeout=LOADS_MS)
    page.click("#camera")
    page.locator("#results", has_text="Face #0").wait_for(timeout=LOADS_MS)
    page.locator("#fps", has_text=re.compile(r"\d")).wait_for(timeout=LOADS_MS)
    page.wait_for_timeout(3000)
    rates, times = [], []
    for _ in range(round(2 * seconds)):
        page.wait_for_timeout(500)
        rates.append(float(page.inner_text("#fps")))
        times.append(float(page.inner_text("#work").removesuffix(" ms")))
    used, faces = page.inner_text("#about"), page.inner_text("#results h2")
    return f"{np.median(rates):.1f} frames/s, {np.median(times):.1f} ms a frame ({used}; {faces})"


def write_pictures(browser: Browser, address: str, folder: Path, scratch: Path) -> None:
    """The page with a picture of two drawn people, and on a telephone with the camera."""
    page = opened(browser, address, viewport={"width": 1180, "height": 610})
    other = FaceShape(eyes=0.7, mouth=0.5, smile=0.2, yaw=0.35, roll=-0.1)
    faces = np.hstack([head(FaceShape(eyes=0.8, mouth=0.15, smile=0.4), 9, 520), head(other, 14, 520)])
    write_image(scratch / "drawn.png", faces)
    page.set_input_files("#files", scratch / "drawn.png")
    page.locator("#status", has_text="2 faces").wait_for(timeout=LOADS_MS)
    phone = opened(browser, address, viewport={"width": 390, "height": 844}, color_scheme="dark")
    phone.click("#camera")
    phone.locator("#results", has_text="blinks").wait_for(timeout=LOADS_MS)
    phone.wait_for_timeout(10_000)
    for name, shown in {"page": page, "page_phone": phone}.items():
        pixels = cv2.imdecode(np.frombuffer(shown.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        data = cv2.imencode(".webp", np.asarray(pixels), [cv2.IMWRITE_WEBP_QUALITY, 75])[1].tobytes()
        (folder / f"{name}.webp").write_bytes(data)
        print(f"{folder / name}.webp: {len(data):,} bytes")


def main() -> None:
    """Measure, print a line for each back end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=int, default=60, help="frames per second of the camera")
    parser.add_argument("--pictures", type=Path, metavar="DIR")
    parser.add_argument("--flags", default="", help="more flags of Chromium")
    options = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise ConfigError("Chromium is not installed")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        scratch = Path(name)
        export_page(scratch / "site", page_files())
        write_film(scratch / "film.y4m", options.rate)
        camera = ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={scratch / 'film.y4m'}"]
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", *camera, *options.flags.split()]
        )
        print(f"Chromium {browser.version}, camera {WIDTH} x {HEIGHT} at {options.rate} frames/s")
        with served(scratch / "site") as address:
            for back_end, threads in () if options.pictures else BACK_ENDS:
                page = opened(browser, address)
                print(f"{back_end}, threads {threads}: {speed(page, back_end, threads, options.seconds)}", flush=True)
                page.context.close()
            if options.pictures:
                write_pictures(browser, address, options.pictures, scratch)
        browser.close()


if __name__ == "__main__":
    main()
