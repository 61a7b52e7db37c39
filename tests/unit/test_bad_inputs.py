"""Files that are no ordinary RGB picture: those that must work, and those that must fail with one clear line."""

import io
import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from canthus.cli.main import main
from canthus.errors import ImageError
from canthus.images import decode_image, read_image, write_image

TinyModel = Callable[..., Path]
WIDTH, HEIGHT = 48, 32
LEFT, RIGHT_TOP, RIGHT_BOTTOM = (200, 40, 30), (20, 180, 60), (30, 60, 220)


def three_colors() -> np.ndarray:
    """48 x 32: left half red, right half green above blue; tells turns, mirrors and channel orders apart."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[:, : WIDTH // 2] = LEFT
    picture[: HEIGHT // 2, WIDTH // 2 :] = RIGHT_TOP
    picture[HEIGHT // 2 :, WIDTH // 2 :] = RIGHT_BOTTOM
    return picture


def pillow(kind: str, *, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(three_colors()).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def animated(kind: str) -> bytes:
    other = Pillow.fromarray(255 - three_colors())
    return pillow(kind, save_all=True, append_images=[other, other], duration=100)


def opencv(suffix: str, picture: np.ndarray) -> bytes:
    done, data = cv2.imencode(suffix, picture)
    assert done
    return data.tobytes()


def sixteen_bits(suffix: str, *, alpha: bool = False) -> bytes:
    bgr = three_colors()[:, :, ::-1].astype(np.uint16) * 257
    opaque = np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)
    return opencv(suffix, np.concatenate([bgr, opaque], axis=2) if alpha else np.ascontiguousarray(bgr))


def turned(kind: str, orientation: int) -> bytes:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    return pillow(kind, exif=exif)


def noise(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    Pillow.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def with_thumbnail(jpeg: bytes) -> bytes:
    """The JPEG with a whole small JPEG in front of its picture, as cameras put one into EXIF."""
    small = pillow("JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small + jpeg[2:]


def gigantic_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


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
    "half.bmp": (noise("BMP")[:-2000], "not a picture, or damaged"),
    "half.tif": (noise("TIFF")[:-2000], "not a picture, or damaged"),
    "half.gif": (noise("GIF")[:-2000], "not a picture, or damaged"),
    "gigantic.png": (gigantic_png(60000, 60000), "60000 x 60000 pixels is more than"),
    "float.tif": (opencv(".tif", np.zeros((8, 8, 3), np.float32)), "not a picture, or damaged"),
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
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
    assert sorted(Path(entry["image"]).name for entry in entries) == sorted([*good, "one_pixel.png"])
    assert all(len(entry["faces"]) == 1 for entry in entries)
    told = [line for line in err.splitlines() if line.startswith("failed:")]
    assert len(told) == len(BAD) + 1
    assert all(sum(f"{folder / name}: " in line for line in told) == 1 for name in [*BAD, "no_suffix.jpg"])
    assert err.splitlines()[-1] == f"{len(good) + 1} pictures, {len(good) + 1} faces, {len(BAD) + 1} failed"
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == len(good) + 1
