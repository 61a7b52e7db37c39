"""Files that are no ordinary RGB picture: those that must work, and those that must fail with one clear line."""

import ctypes
import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from canthus.cli.main import main
from canthus.errors import ImageError
from canthus.images import decode_image, read_image, write_image
from picture_files import (
    BIG,
    HEIGHT,
    LEFT,
    RIGHT_BOTTOM,
    RIGHT_TOP,
    WIDTH,
    animated,
    big_tiff,
    box,
    enlarged,
    gigantic_png,
    heif_header,
    jpeg_with_two_frames,
    jpeg_without_color,
    noise,
    opencv,
    os2_bitmap,
    patched_jp2,
    patched_webp,
    pillow,
    run_length_bitmap,
    short_animation,
    sixteen_bits,
    three_colors,
    tiff_without_strips,
    turned,
    with_thumbnail,
    with_turn,
)

TinyModel = Callable[..., Path]


BOMBS = {
    "139_bytes.png": (gigantic_png(BIG, BIG), "cut short"),
    "palette.png": (gigantic_png(BIG, BIG, bits=4, color=3), "cut short"),
    "one_bit.png": (gigantic_png(BIG, BIG, bits=1, color=0), "cut short"),
    "larger.png": (gigantic_png(60000, 60000), "60000 x 60000 pixels is more than"),
    "two_frames.jpg": (jpeg_with_two_frames(65500, 65500), "two frame headers"),
    "small.jpg": (enlarged("JPEG", ">HH"), "cut short"),
    "larger.jp2": (patched_jp2(60000, 60000), "60000 x 60000 pixels is more than"),
    "small.jp2": (patched_jp2(BIG, BIG), "cannot be a photo"),
    "components.jp2": (patched_jp2(64, 64, components=16000), "has 16000 components"),
    "larger.pbm": (b"P4\n60000 60000\n" + bytes(100), "60000 x 60000 pixels is more than"),
    "small.pbm": (b"P4\n15000 15000\n" + bytes(100), "cut short"),
    "text.pgm": (b"P2\n# from nowhere\n15000 15000 255\n" + b"0 " * 100, "cut short"),
    "small.ppm": (b"P6 15000 15000 255\n" + bytes(100), "cut short"),
    "small.pam": (b"P7\nWIDTH 15000\nHEIGHT 15000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n", "cut short"),
    "small.ras": (struct.pack(">8I", 0x59A66A95, BIG, BIG, 24, 0, 1, 0, 0), "cut short"),
    "small.hdr": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 15000 +X 15000\n" + bytes(50), "cannot be a photo"),
    "small.bmp": (enlarged("BMP", "<ii"), "cut short"),
    "small.gif": (enlarged("GIF", "<HH"), "cannot be a photo"),
    "small.webp": (patched_webp(BIG, BIG), "cannot be a photo"),
    "small.avif": (heif_header(b"avif", BIG, BIG), "cannot be a photo"),
    "small.heic": (heif_header(b"heic", BIG, BIG), "cannot be a photo"),
    "larger.tif": (big_tiff(60000, 60000), "60000 x 60000 pixels is more than"),
    "small.tif": (big_tiff(BIG, BIG), "cannot be a photo"),
    "memory.jp2": (patched_jp2(BIG, BIG) + bytes(300_000), "4.1 GB to decode, 2.5 GB are allowed"),
}
"""Small files that promise pictures of gigabytes, and what is said of them."""
COLOR = {
    "jpeg.jpg": pillow("JPEG", quality=95, subsampling=0),
    "progressive.jpg": pillow("JPEG", quality=95, subsampling=0, progressive=True),
    "cmyk.jpg": pillow("JPEG", mode="CMYK", quality=95, subsampling=0),
    "trailing_bytes.jpg": pillow("JPEG", quality=95, subsampling=0) + b"more" * 100,
    "thumbnail.jpg": with_thumbnail(pillow("JPEG", quality=95, subsampling=0)),
    "rgba.png": pillow("PNG", mode="RGBA"),
    "16_bits.png": sixteen_bits(".png"),
    "16_bits_alpha.png": sixteen_bits(".png", alpha=True),
    "16_bits.tif": sixteen_bits(".tif"),
    "lzw.tif": pillow("TIFF", compression="tiff_lzw"),
    "cmyk.tif": pillow("TIFF", mode="CMYK"),
    "webp.webp": pillow("WEBP", lossless=True),
    "webp_lossy.webp": pillow("WEBP", quality=95),
    "bmp.bmp": pillow("BMP"),
    "os2.bmp": os2_bitmap(),
    "big.tif": pillow("TIFF", big_tiff=True),
    "portable.pnm": pillow("PPM"),
    "camera.jfif": pillow("JPEG", quality=95, subsampling=0),
    "portable.pam": opencv(".pam", np.ascontiguousarray(three_colors()[:, :, ::-1])),
    "sun.ras": opencv(".ras", np.ascontiguousarray(three_colors()[:, :, ::-1])),
    "radiance.hdr": opencv(".hdr", three_colors()[:, :, ::-1].astype(np.float32) / 255),
    "jpeg_2000.jp2": opencv(".jp2", np.ascontiguousarray(three_colors()[:, :, ::-1])),
    "avif.avif": pillow("AVIF", quality=95, subsampling="4:4:4"),
    "ppm.ppm": pillow("PPM"),
    "animated.gif": animated("GIF"),
    "animated.webp": animated("WEBP"),
    "animated.png": animated("PNG"),
    "wrong_suffix.png": pillow("JPEG", quality=95, subsampling=0),
    "no_suffix": pillow("PNG"),
    "фото с пробелом 顔.png": pillow("PNG"),
}
GREY = {
    "grey.jpg": pillow("JPEG", mode="L", quality=95),
    "grey.png": pillow("PNG", mode="L"),
    "grey_alpha.png": pillow("PNG", mode="LA"),
    "grey_16_bits.png": opencv(
        ".png", np.asarray(Pillow.fromarray(three_colors()).convert("L")).astype(np.uint16) * 257
    ),
    "grey_16_bits.tif": opencv(
        ".tif", np.asarray(Pillow.fromarray(three_colors()).convert("L")).astype(np.uint16) * 257
    ),
}
BAD = {
    "empty.jpg": (b"", "the file is empty"),
    "empty.png": (b"", "the file is empty"),
    "text.jpg": (b"This is no picture.\n", "not a picture, or damaged"),
    "html.png": (b"<!DOCTYPE html><html>404</html>", "not a picture, or damaged"),
    "half.jpg": (noise("JPEG")[:-2000], "cut short"),
    "half_progressive.jpg": (noise("JPEG", progressive=True)[:-3000], "cut short"),
    "half_with_thumbnail.jpg": (with_thumbnail(noise("JPEG"))[:-2000], "cut short"),
    "header_only.jpg": (noise("JPEG")[:20], "cut short"),
    "half.png": (noise("PNG")[:-2000], "cut short"),
    "header_only.png": (noise("PNG")[:10], "cut short"),
    "half.webp": (noise("WEBP")[:-500], "cut short"),
    "half.bmp": (noise("BMP")[:-2000], "cut short"),
    "half.tif": (noise("TIFF")[:-2000], "not a picture, or damaged"),
    "half.gif": (noise("GIF")[:-2000], "not a picture, or damaged"),
    "float.tif": (opencv(".tif", np.zeros((8, 8, 3), np.float32)), "its pixels are floating-point numbers"),
    "float.pfm": (opencv(".pfm", np.zeros((8, 8, 3), np.float32)), "its pixels are floating-point numbers"),
    "video.jpg": (box(b"ftyp", b"isom", bytes(4), b"isomavc1") + bytes(100), "looks like a video; use canthus track"),
    "short_animation.png": (short_animation(), "not a picture, or damaged"),
    "runs.bmp": (run_length_bitmap(), "not a picture, or damaged"),
    "no_strips.tif": (tiff_without_strips(), "not a picture, or damaged"),
    "no_color.jpg": (jpeg_without_color(), "cut short"),
    "unknown.tga": (bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 24, 0]) + bytes(12), "not a picture"),
    **BOMBS,
}


@pytest.mark.parametrize("name", COLOR)
def test_color_pictures_are_read_alike(name: str) -> None:
    image = decode_image(COLOR[name], name=name)
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    found = [image[HEIGHT // 2, 8], image[6, WIDTH - 8], image[HEIGHT - 6, WIDTH - 8]]
    # Lossy formats move flat colors by a few steps, GIF's palette not at all with three colors.
    np.testing.assert_allclose(np.array(found, float), [LEFT, RIGHT_TOP, RIGHT_BOTTOM], atol=6)


@pytest.mark.parametrize("name", GREY)
def test_grey_pictures_become_rgb(name: str) -> None:
    image = decode_image(GREY[name], name=name)
    expected = np.asarray(Pillow.fromarray(three_colors()).convert("L"))
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert (image[:, :, 0] == image[:, :, 1]).all()
    assert (image[:, :, 0] == image[:, :, 2]).all()
    np.testing.assert_allclose(image[4, [4, -4], 0], expected[4, [4, -4]], atol=3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_honoured_as_pillow_does(kind: str, orientation: int) -> None:
    from PIL import ImageOps

    data = turned(kind, orientation)
    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).convert("RGB"))
    image = decode_image(data, name=kind)
    assert image.shape == expected.shape
    inner = np.ones(image.shape[:2], bool)
    inner[image.shape[0] // 2 - 3 : image.shape[0] // 2 + 3] = False
    inner[:, image.shape[1] // 2 - 3 : image.shape[1] // 2 + 3] = False
    np.testing.assert_allclose(image[inner].astype(int), expected[inner].astype(int), atol=8)


@pytest.mark.parametrize("name", BAD)
def test_bad_files_say_why(name: str, tmp_path: Path) -> None:
    data, reason = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / name))
    assert reason in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "reason"), [("missing.jpg", "No such file"), (".", "is a folder"), ("nul\0byte.jpg", "cannot be read")]
)
def test_things_that_are_no_file_say_why(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=reason):
        read_image(tmp_path / name)


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    write_image(tmp_path / "one.png", np.array([[[9, 8, 7]]], np.uint8))
    assert read_image(tmp_path / "one.png").tolist() == [[[9, 8, 7]]]


def test_detect_goes_on_after_bad_files(
    tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    bad = {name: content for name, content in BAD.items() if not name.endswith((".pfm", ".tga"))}
    for name, (data, _) in BAD.items():
        (folder / name).write_bytes(data)
    good = [name for name in COLOR if name != "no_suffix"]
    for name in good:
        (folder / name).write_bytes(COLOR[name])
    write_image(folder / "one_pixel.png", np.zeros((1, 1, 3), np.uint8))
    arguments = ["canthus", "detect", str(folder), str(folder / "no_suffix.jpg"), "--json", "-", "--detector", "none"]
    monkeypatch.setattr(sys, "argv", [*arguments, "--model", str(tiny_model()), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    out, err = capfd.readouterr()
    entries = json.loads(out)
    read = [entry for entry in entries if "error" not in entry]
    assert sorted(Path(entry["image"]).name for entry in read) == sorted([*good, "one_pixel.png"])
    assert all(len(entry["faces"]) == 1 for entry in read)
    failed = {Path(entry["image"]).name: entry for entry in entries if "error" in entry}
    assert failed.keys() == bad.keys()
    assert all(bad[name][1] in entry["error"] and entry["faces"] == [] for name, entry in failed.items())
    told = [line for line in err.splitlines() if line.startswith("failed:")]
    assert len(told) == len(bad) + 1
    assert all(sum(f"{folder / name}: " in line for line in told) == 1 for name in [*bad, "no_suffix.jpg"])
    closing = f"{len(good) + 1} pictures, {len(good) + 1} faces, {len(bad) + 1} failed"
    assert err.splitlines()[-1] == f"{closing}; passed over 2 other files (1 .pfm, 1 .tga)"
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == len(good) + 1


READ_ALL = """
import pathlib, resource, sys
from canthus.errors import ImageError
from canthus.images import read_image
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        read_image(path)
    except ImageError:
        continue
    sys.exit(f"{path} was read")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no peak of memory to ask for")
def test_small_files_do_not_take_much_memory(tmp_path: Path) -> None:
    for name, (data, _) in BOMBS.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run([sys.executable, "-c", READ_ALL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 50  # MB; one picture of BIG x BIG alone would take 675


def test_no_format_is_decoded_whose_sides_are_not_in_its_header() -> None:
    for data in (
        b"P6 3 x",
        b"P7\nWIDTH 3\n",
        b"#?RADIANCE\n\n+X 3 -Y 3\n",
        b"II*\0\x08\0\0\0\0\0",
        heif_header(b"avif", 0, 0),
    ):
        with pytest.raises(ImageError, match="not a picture, or damaged"):
            decode_image(data + bytes(64), name="x")


@pytest.fixture
def fill_memory() -> Iterator[Callable[[int], object]]:
    """A function that has the C library fill all memory that it gives out with a byte."""
    if sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("needs the C library of Linux")
    yield lambda value: ctypes.CDLL(None).mallopt(-6, value)
    ctypes.CDLL(None).mallopt(-6, 0)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with some bytes changed or left out, behind its first bytes."""
    changed = bytearray(data)
    place = int(rng.integers(16, len(data)))
    if rng.random() < 0.4:
        del changed[place : place + int(rng.integers(1, 60))]
    for _ in range(int(rng.integers(0, 4))):
        changed[int(rng.integers(8, len(changed)))] = int(rng.integers(0, 256))
    return bytes(changed)


@pytest.mark.parametrize("name", [*COLOR, *GREY, "short_animation.png", "runs.bmp", "no_strips.tif"])
def test_no_pixel_comes_from_memory_used_before(name: str, fill_memory: Callable[[int], object]) -> None:
    rng = np.random.default_rng(len(name))
    data = {**COLOR, **GREY}.get(name) or BAD[name][0]
    for damaged in [data, *(mutated(data, rng) for _ in range(25))]:
        found: list[object] = []
        for value in (0x55, 0xAA):
            fill_memory(value)
            try:
                found.append(decode_image(damaged, name=name).tolist())
            except ImageError as error:
                found.append(str(error))
        fill_memory(0)
        assert found[0] == found[1]


def test_an_animation_gives_its_still_picture_whatever_its_frames_are() -> None:
    data = animated("PNG")
    start = data.index(b"fdAT") + 12
    damaged = data[:start] + bytes(20) + data[start + 20 :]
    np.testing.assert_array_equal(decode_image(damaged, name="x"), three_colors())


def test_heic_is_read_where_its_library_is_installed_else_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"x: is a HEIC picture\. .*'pillow_heif'.*pip install 'canthus\[heic\]'"):
        decode_image(heif_header(b"heic", 64, 64), name="x")


@pytest.mark.parametrize(("turns", "axis"), [(0, None), (1, None), (3, None), (0, 0), (0, 1), (1, 1), (2, 0)])
def test_heic_is_turned_and_mirrored_as_its_container_says(turns: int, axis: int | None) -> None:
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    picture = np.repeat(np.repeat(three_colors(), 8, axis=0), 8, axis=1)
    heif.from_pillow(Pillow.fromarray(picture)).save(buffer, quality=100, chroma=444)
    image = decode_image(with_turn(buffer.getvalue(), turns, axis), name="x")
    expected = np.rot90(picture, turns)
    expected = expected if axis is None else np.flip(expected, axis)
    assert image.shape == expected.shape
    assert (np.abs(image.astype(int) - expected).max(axis=2) < 12).mean() > 0.95  # all but the borders of the colors
