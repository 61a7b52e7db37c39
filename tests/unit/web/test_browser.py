"""The page in headless Chromium, without a network: what it finds is what Python finds, and what it lacks it says."""

import base64
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from canthus.fatigue.measures import Observation
from canthus.fatigue.monitor import FatigueMonitor
from canthus.images import decode_image, read_image, write_image
from canthus.runtime.downloads import ONNXRUNTIME_WEB, is_fetched
from canthus.runtime.measures import FaceMeasures
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.tracker import Tracker
from canthus.schemes import IBUG_68
from canthus.types import Frame, TrackedFrame
from canthus.web.page import page_files
from http_service import PORTRAIT, services
from json_schemas import check_schema

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)
if not is_fetched(ONNXRUNTIME_WEB):
    pytest.skip("onnxruntime-web has not been fetched (canthus fetch web)", allow_module_level=True)

BOX_PX, POINT_PX, DEGREES = 0.5, 0.3, 0.5
"""How far the page may be off; it is usually below 0.03 px, because it rounds as OpenCV does."""
PORTRAIT_PIXELS = read_image(PORTRAIT)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page, as canthus serve gives it."""
    with pytest.MonkeyPatch.context() as patch, services(load_pipeline(), patch) as start:
        yield f"http://127.0.0.1:{start(files=page_files()).port}/"


def _camera(path: Path) -> Path:
    """A film of the portrait for Chromium's camera: frames of JPEG, one after the other."""
    head = PORTRAIT_PIXELS[40:340, 100:500]
    with path.open("wb") as file:
        for number in range(30):
            frame = np.roll(head, number % 5, axis=1)
            file.write(cv2.imencode(".jpg", np.ascontiguousarray(frame[:, :, ::-1]))[1].tobytes())
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium with a camera that shows a film."""
    film = _camera(tmp_path_factory.mktemp("camera") / "film.mjpeg")
    flags = ["--no-sandbox", "--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film}"]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, loaded and ready; any error in its scripts fails the test, and so does any foreign address."""
    context = browser.new_context(accept_downloads=True)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("request", lambda request: _note_foreign(request.url, address, problems))
    opened.goto(address)
    _await_status(opened, "Ready")
    yield opened
    context.close()
    assert problems == []


def _note_foreign(url: str, address: str, problems: list[str]) -> None:
    if not url.startswith((address, "blob:", "data:")):
        problems.append(f"asked {url}")


def _await_status(page: Any, text: str, *, seconds: float = 90) -> str:
    page.locator("#status", has_text=re.compile(text)).wait_for(timeout=1000 * seconds)
    return str(page.inner_text("#status"))


MARK = """async (pictures) => {
  const { Tracker, loadPipeline, readPicture, toRecord } = await import("/canthus.js");
  const pipeline = globalThis.pipeline ??= await loadPipeline();
  const tracker = new Tracker(pipeline);
  const answers = [];
  for (const [index, content] of pictures.entries()) {
    const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
    const picture = await readPicture(new Blob([bytes]));
    const found = await pipeline.detect(picture);
    answers.push({ found, record: toRecord(found, "x.png"), tracked: await tracker.next(picture, index / 10) });
  }
  return answers;
}"""


def _sent(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", np.ascontiguousarray(image[:, :, ::-1]))[1].tobytes()


def _tilted(image: np.ndarray, degrees: float) -> np.ndarray:
    """A picture that is turned clockwise."""
    height, width = image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 0.8)
    return np.asarray(cv2.warpAffine(image, turn, (width, height)))


def _pictures() -> dict[str, bytes]:
    """The portrait: as it is, small, turned by its EXIF tag, tiled, half transparent, covered, tilted; and a wall."""
    from io import BytesIO

    from PIL import Image as Pillow

    exif = Pillow.Exif()
    exif[0x0112] = 6
    turned = BytesIO()
    Pillow.fromarray(np.rot90(PORTRAIT_PIXELS)).save(turned, "JPEG", exif=exif, quality=95)
    small = np.asarray(cv2.resize(PORTRAIT_PIXELS, (180, 211), interpolation=cv2.INTER_AREA))
    crowd = np.tile(small, (7, 9, 1))  # 1620 x 1477, searched in tiles
    fading = np.broadcast_to(np.linspace(0, 255, 512).astype(np.uint8)[:, None], (600, 512, 1))
    covered = {}
    for name, left, grey in (("covered", 249, 0), ("mostly covered", 240, 255)):  # weak finds of the detector
        covered[name] = PORTRAIT_PIXELS.copy()
        covered[name][140:345, left:380] = grey
    # The detector finds the face only when it looks at the picture turned once more.
    faint = cv2.resize(PORTRAIT_PIXELS, (154, 180), interpolation=cv2.INTER_AREA)
    faint = cv2.warpAffine(faint, cv2.getRotationMatrix2D((77, 90), 45, 1), (154, 180))
    noisy = np.clip(faint + np.random.default_rng(0).normal(0, 35, faint.shape), 0, 255).astype(np.uint8)
    webp = cv2.imencode(".webp", PORTRAIT_PIXELS[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 90])[1].tobytes()
    return {
        "portrait": PORTRAIT.read_bytes(), "small": _png(small), "turned": turned.getvalue(), "crowd": _png(crowd),
        "webp": webp, "transparent": _png(np.dstack([fading, PORTRAIT_PIXELS])),
        "noisy": _png(noisy), "wall": _png(np.full((300, 400, 3), 128, np.uint8)),
        **{name: _png(image) for name, image in covered.items()},
        **{f"tilted {degrees}": _png(_tilted(PORTRAIT_PIXELS, degrees)) for degrees in (40, -50, 180)},
    }  # fmt: skip


def _check_faces(found: list[dict[str, Any]], frame: Frame | TrackedFrame) -> None:
    assert len(found) == len(frame)
    points = np.array([face.points for face in frame])
    records = FaceMeasures(IBUG_68, pose=True, ratios=True).of(points.astype(np.float32).reshape(-1, 68, 2)).records
    for face, expected, more in zip(found, frame, records, strict=True):
        assert np.abs(np.array(face["box"]) - expected.box).max() <= BOX_PX
        assert np.abs(np.array(face["points"]) - expected.points).max() <= POINT_PX
        assert abs(face["score"] - expected.score) <= 0.01
        assert abs(face["face_confidence"] - expected.face_confidence) <= 0.02
        for name, angle in more["pose"].items():
            assert angle is not None
            assert abs(face["pose"][name] - angle) <= DEGREES


def test_the_module_finds_what_python_finds(page: Any, pipeline: Pipeline) -> None:
    pictures = _pictures()
    answers = page.evaluate(MARK, [_sent(content) for content in pictures.values()])
    counts = {}
    for (name, content), answer in zip(pictures.items(), answers, strict=True):
        frame = pipeline(content)
        counts[name] = len(frame)
        if name == "covered":  # the landmarks call it a face
            assert 0.3 <= frame.faces.scores[0] < 0.5
        _check_faces(answer["found"]["faces"], frame)
        image = decode_image(content, name=name)
        assert (answer["record"]["height"], answer["record"]["width"]) == image.shape[:2]
        check_schema("detect#picture", answer["record"])
    assert counts == {"portrait": 1, "small": 1, "turned": 1, "crowd": 63, "webp": 1, "transparent": 1, "wall": 0,
                      "noisy": 1, "covered": 1, "mostly covered": 0,
                      "tilted 40": 1, "tilted -50": 1, "tilted 180": 1}  # fmt: skip


@pytest.mark.parametrize("degrees", [0, 40])
def test_the_module_follows_faces_as_python_does(page: Any, pipeline: Pipeline, degrees: float) -> None:
    """Each crop lies around the points before, which carries the last digits on and doubles them from frame to frame.

    A change of 0.01 px of the first box moves the points of later frames by 0.3 to 0.9 px, in Python alone as well.
    """
    small = np.asarray(cv2.resize(PORTRAIT_PIXELS, (320, 375), interpolation=cv2.INTER_AREA))
    small = _tilted(small, degrees)
    frames = [np.roll(small, (number, 2 * number), axis=(0, 1)) for number in range(8)]
    frames[5:5] = [np.zeros_like(small)] * 2  # the face is lost, and comes back with its number
    answers = page.evaluate(MARK, [_sent(_png(frame)) for frame in frames])
    tracker, counts = Tracker(pipeline), []
    for number, (frame, answer) in enumerate(zip(frames, answers, strict=True)):
        tracked = tracker(frame, number / 10)
        found = answer["tracked"]["faces"]
        assert [face["id"] for face in found] == tracked.ids.tolist()
        counts.append(len(found))
        allowed = POINT_PX if number < 4 else 5 * POINT_PX
        for face, expected in zip(found, tracked, strict=True):
            assert np.abs(np.array(face["points"]) - expected.points).max() <= allowed
            assert np.abs(np.array(face["box"]) - expected.box).max() <= max(BOX_PX, allowed)
    assert counts[:5] == [1] * 5


COUNT = """async (series) => {
  const { BlinkCounter } = await import("/canthus.js");
  return series.map((frames) => {
    const counter = new BlinkCounter();
    return frames.map(([timeS, right_ear, left_ear, right_upper, left_upper]) =>
      counter.next(right_ear === null ? null : { right_ear, left_ear }, timeS,
        right_upper === null ? null : [right_upper, left_upper]));
  });
}"""


def _eyes(rng: np.random.Generator, *, upper: bool) -> list[tuple[float, *tuple[float | None, ...]]]:
    """Times, EAR and upper lids of 40 s: blinks, half ones, closures, lids that sink, single bad frames, no face."""
    rate = float(rng.choice([12, 15, 25, 30, 60]))
    times = np.cumsum(rng.uniform(0.85, 1.15, round(40 * rate))) / rate
    eyes, at = np.full(len(times), rng.uniform(0.25, 0.35)), 2.0
    while at < 38:
        depth, length = [
            (rng.uniform(0.5, 0.9), rng.uniform(0.1, 0.35)), (rng.uniform(0.1, 0.35), rng.uniform(0.1, 0.4)),
            (0.8, rng.uniform(0.6, 2)), (0.35, rng.uniform(1, 3)), (0.8, 0.9 / rate), (np.nan, rng.uniform(0.1, 1.5)),
        ][rng.choice(6, p=[0.35, 0.15, 0.15, 0.15, 0.1, 0.1])]  # fmt: skip
        ramp = min(length / 2, float(rng.choice([0.06, 0.1, 0.3])))
        fall = np.interp(times, [at, at + ramp, at + length - ramp, at + length], [0, 1, 1, 0])
        eyes = np.where(fall > 0, eyes * (1 - depth * fall), eyes)
        at += length + rng.uniform(0.4, 3)
    both = np.maximum(eyes + rng.normal(0, rng.choice([0.002, 0.008, 0.02]), (2, len(times))), 0.01)
    more = 0.7 * both - 0.05 + rng.normal(0, 0.003, both.shape) if upper else np.full(both.shape, np.nan)
    return [
        (float(time), *(None if np.isnan(value) else float(value) for value in row))
        for time, row in zip(times, np.concatenate([both, more]).T, strict=True)
    ]


def test_the_module_counts_blinks_as_fatigue_does(page: Any) -> None:
    rng = np.random.default_rng(0)
    series = [_eyes(rng, upper=number >= 12) for number in range(24)]
    expected = []
    for frames in series:
        monitor, counts = FatigueMonitor(), []
        for time_s, *lids in frames:
            right, left, right_upper, left_upper = (math.nan if value is None else value for value in lids)
            seen = Observation(time_s)
            if math.isfinite(right):
                seen = Observation(time_s, right, left, mouth=0.05, yaw=0.0, pitch=0.0, eye_pixels=30.0,
                                   right_upper=right_upper, left_upper=left_upper)  # fmt: skip
            monitor.update(seen)
            counts.append(monitor.blinks)
        expected.append(counts)
    assert page.evaluate(COUNT, series) == expected
    assert all(counts[-1] >= 2 for counts in expected)


def test_pictures_are_shown_and_saved(page: Any, tmp_path: Path, pipeline: Pipeline) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    wall = tmp_path / "wall.png"
    write_image(wall, np.full((60, 80, 3), 200, np.uint8))
    page.set_input_files("#files", [PORTRAIT, wall, bad])
    assert "wall.png, 80 x 60: no faces" in _await_status(page, "2 of 2")
    page.locator("#problem", has_text="bad.png: is no picture that this browser can read").wait_for()
    page.keyboard.press("ArrowLeft")
    assert "grace_hopper.jpg, 512 x 600: 1 face" in _await_status(page, "1 of 2")
    assert "points right: 100 %" in page.inner_text("#results")
    with page.expect_download() as saved:
        page.keyboard.press("j")
    saved.value.save_as(tmp_path / "faces.json")
    records = json.loads((tmp_path / "faces.json").read_text(encoding="utf-8"))
    assert [record["image"] for record in records] == ["grace_hopper.jpg", "wall.png"]
    check_schema("detect", records)
    expected = pipeline(PORTRAIT).landmarks.points[0]
    assert np.abs(np.array(records[0]["faces"][0]["points"]) - expected).max() <= POINT_PX + 0.01
    with page.expect_download() as saved:
        page.click("#save-overlay")
    saved.value.save_as(tmp_path / "overlay.png")
    overlay = read_image(tmp_path / "overlay.png")
    assert overlay.shape == (1200, 1024, 3)  # small pictures are drawn twice as large
    enlarged = cv2.resize(PORTRAIT_PIXELS, (1024, 1200), interpolation=cv2.INTER_LINEAR)
    changed = np.abs(overlay.astype(int) - enlarged).max(axis=2) > 60
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    hull = 2 * np.concatenate([expected.min(axis=0), expected.max(axis=0)])
    drawn = np.array([columns[0], rows[0], columns[-1], rows[-1]])
    assert np.abs(drawn - hull)[:3].max() < 40


def test_what_is_opened_while_the_models_load_is_not_lost(browser: Any, address: str) -> None:
    page = browser.new_context().new_page()
    page.goto(address)
    page.set_input_files("#files", PORTRAIT)
    page.select_option("#backend", "wasm")  # loads them again
    _await_status(page, "grace_hopper.jpg, 512 x 600: 1 face")
    assert page.is_hidden("#problem")
    page.context.close()


def test_the_camera_runs_and_stops(page: Any) -> None:
    page.set_input_files("#files", PORTRAIT)
    _await_status(page, "grace_hopper.jpg")
    page.context.grant_permissions(["camera"])
    page.keyboard.press("c")
    assert "nothing leaves this device" in _await_status(page, "The camera runs")
    page.locator("#results", has_text="Face #0").wait_for(timeout=90_000)
    page.locator("#fps", has_text=re.compile(r"\d")).wait_for(timeout=90_000)
    assert "blink" in page.inner_text("#results")
    page.uncheck("#smooth")
    page.fill("#threads", "2")  # loads the models again
    page.locator("#threads").blur()
    page.locator("#about", has_text="2 threads").wait_for(timeout=90_000)
    page.evaluate("document.getElementById('work').textContent = ''")
    page.locator("#work", has_text="ms").wait_for(timeout=90_000)  # goes on
    assert page.is_hidden("#problem")
    page.keyboard.press("c")
    _await_status(page, "The camera is off")
    assert page.inner_text("#camera") == "Start camera"


def test_frames_of_a_video_have_the_pixels_that_a_canvas_gives(page: Any) -> None:
    page.context.grant_permissions(["camera"])
    page.click("#camera")
    page.locator("#fps", has_text=re.compile(r"\d")).wait_for(timeout=90_000)
    differences = page.evaluate("""async () => {
      const { readPicture } = await import("/canthus.js");
      const frame = new VideoFrame(document.getElementById("video"));
      const [copied, drawn] = [await readPicture(frame), await readPicture(await createImageBitmap(frame))];
      const again = await readPicture(frame, copied);
      const most = (a, b) => a.data.reduce((most, value, at) => Math.max(most, Math.abs(value - b.data[at])), 0);
      const sameSize = copied.width === drawn.width && copied.height === drawn.height;
      return [sameSize, most(copied, drawn), again.data === copied.data];
    }""")
    assert differences == [True, 0, True]


def test_what_is_missing_is_said(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    _await_status(page, "Ready")
    page.click("#camera")  # nobody gives the permission
    page.locator("#problem", has_text="No permission for the camera").wait_for()
    lacking = {
        "delete globalThis.WebAssembly": "This browser has no WebAssembly",
        "delete globalThis.OffscreenCanvas": "This browser is too old",
    }
    for script, told in lacking.items():
        other = context.new_page()
        other.add_init_script(script)
        other.goto(address)
        other.locator("#problem", has_text=told).wait_for()
        assert other.is_disabled("#camera")
    none = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotFoundError') }"
    insecure = "Object.defineProperty(navigator, 'mediaDevices', {value: undefined})"
    for script, told in {insecure: "only to pages of this machine", none: "No camera was found"}.items():
        other = context.new_page()
        other.add_init_script(script)
        other.goto(address)
        _await_status(other, "Ready")
        other.click("#camera")
        other.locator("#problem", has_text=told).wait_for()
    context.close()


def test_a_model_of_ones_own_and_what_is_no_model(page: Any, tmp_path: Path) -> None:
    from small_networks import write_small_landmarker

    own = write_small_landmarker(tmp_path / "own.onnx")
    page.set_input_files("#model", own)
    page.locator("#about", has_text="small").wait_for(timeout=90_000)
    page.set_input_files("#files", PORTRAIT)
    _await_status(page, "grace_hopper.jpg, 512 x 600: 1 face")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model at all")
    page.set_input_files("#model", broken)
    page.locator("#problem", has_text="The models cannot be run").wait_for(timeout=30_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_can_be_read(browser: Any, address: str, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    page.goto(address)
    _await_status(page, "Ready")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = (
        "[...document.querySelectorAll('#actions button, #actions .button')]"
        ".filter((b) => b.offsetParent && b.offsetHeight < 44).length"
    )
    assert page.evaluate(small) == 0
    colors = page.evaluate("(({color, backgroundColor}) => [color, backgroundColor])(getComputedStyle(document.body))")
    ink, paper = (np.mean([int(v) for v in re.findall(r"\d+", color)[:3]]) for color in colors)
    assert (max(ink, 255 - paper) if scheme == "light" else max(255 - ink, paper)) < 80
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert {"files", "camera"} <= {*reached}
    context.close()
