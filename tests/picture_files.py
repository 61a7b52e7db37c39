"""Picture files of every kind, whole and damaged, made byte by byte where no library writes them."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from matplotlib import get_data_path
from PIL import Image as Pillow

from canthus.images import read_image, write_image

WIDTH, HEIGHT = 48, 32
LEFT, RIGHT_TOP, RIGHT_BOTTOM = (200, 40, 30), (20, 180, 60), (30, 60, 220)
BIG = 15_000
"""Side of a square of 225 million pixels, which is allowed, but not in a few bytes."""


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
    return pillow(kind, exif=exif, quality=100, subsampling="4:4:4") if kind == "AVIF" else pillow(kind, exif=exif)


def noise(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    Pillow.fromarray(picture).save(buffer, kind, **options)
    return buffer.getvalue()


def with_thumbnail(jpeg: bytes) -> bytes:
    """The JPEG with a whole small JPEG in front of its picture, as cameras put one into EXIF."""
    small = pillow("JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(small) + 2) + small + jpeg[2:]


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def gigantic_png(width: int, height: int, *, bits: int = 8, color: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(48)) if color == 3 else b""
    body = chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + palette + body


def short_animation() -> bytes:
    """An animated PNG whose first frame is valid but lacks its lower half."""
    raw = b"".join(b"\0" + row.tobytes() for row in three_colors()[: HEIGHT // 2])
    data = animated("PNG")
    start = data.index(b"IDAT") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    return data[:start] + chunk(b"IDAT", zlib.compress(raw)) + data[end:]


def os2_bitmap() -> bytes:
    """A BMP as OS/2 wrote it, with a header of twelve bytes."""
    rows = b"".join(row.tobytes() for row in three_colors()[::-1, :, ::-1])
    return (
        struct.pack("<2sIHHI", b"BM", 26 + len(rows), 0, 0, 26) + struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24) + rows
    )


def run_length_bitmap() -> bytes:
    """A grey BMP of runs, as long as a picture can be that has no more than its first row."""
    palette = bytes(value for index in range(256) for value in (index, index, index, 0))
    header = struct.pack("<IiiHHIIiiII", 40, WIDTH, HEIGHT, 1, 8, 1, 0, 0, 0, 256, 0)
    start = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", start + 2, 0, 0, start) + header + palette + bytes([WIDTH, 200])


def enlarged(kind: str, layout: str) -> bytes:
    """A file whose header promises BIG x BIG pixels."""
    data = pillow(kind)
    first, second = (HEIGHT, WIDTH) if kind == "JPEG" else (WIDTH, HEIGHT)
    sides = struct.pack(layout, first, second)
    assert sides in data
    return data.replace(sides, struct.pack(layout, BIG, BIG), 1)


def jpeg_with_two_frames(width: int, height: int) -> bytes:
    """A JPEG of the size given, in front of whose frame header is another."""
    data = pillow("JPEG")
    start = data.index(b"\xff\xc0")
    frame = data[start : start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")]
    return data[:start] + frame[:5] + struct.pack(">HH", height, width) + frame[9:] + data[start:]


def jpeg_without_color() -> bytes:
    """A JPEG of whose three components only the first has a scan."""
    data = pillow("JPEG", progressive=True, subsampling=0)
    scans = []
    position = data.index(b"\xff\xda")
    while (end := data.find(b"\xff\xda", position + 2)) >= 0:
        scans.append(data[position:end])
        position = end
    kept = [scan for scan in scans if scan[4] == 1 and scan[5] == 1]
    return data[: data.index(b"\xff\xda")] + b"".join(kept) + b"\xff\xd9"


def box(kind: bytes, *content: bytes) -> bytes:
    """A box of an ISO media file."""
    body = b"".join(content)
    return struct.pack(">I", 8 + len(body)) + kind + body


def heif_header(brand: bytes, width: int, height: int) -> bytes:
    """A HEIC or AVIF file that ends behind the size of its picture."""
    sides = box(b"ispe", bytes(4), struct.pack(">II", width, height))
    return box(b"ftyp", brand, bytes(4), b"mif1", brand) + box(b"meta", bytes(4), box(b"iprp", box(b"ipco", sides)))


def big_tiff(width: int, height: int) -> bytes:
    """A BigTIFF of nothing but a directory."""
    fields = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 8}
    entries = b"".join(struct.pack("<HHQQ", tag, 4, 1, value) for tag, value in fields.items())
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + struct.pack("<Q", len(fields)) + entries + bytes(8)


def tiff_without_strips() -> bytes:
    """A TIFF whose strips have no bytes."""
    fields = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: HEIGHT, 279: 0}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields.items())
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(fields)) + entries + bytes(4)


def patched_jp2(width: int, height: int, *, components: int = 3) -> bytes:
    """A JPEG 2000 file whose code stream promises another size."""
    data = bytearray(opencv(".jp2", three_colors()))
    start = data.index(b"\xff\x4f\xff\x51")
    struct.pack_into(">II", data, start + 8, width, height)
    struct.pack_into(">II", data, start + 24, width, height)
    struct.pack_into(">H", data, start + 40, components)
    return bytes(data)


def patched_webp(width: int, height: int) -> bytes:
    data = bytearray(animated("WEBP"))
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def with_turn(heic: bytes, turns: int, axis: int | None) -> bytes:
    """A HEIC file with one picture, with boxes added that turn and mirror it as telephones do."""
    added = [box(b"irot", bytes([turns]))] if turns else []
    added += [] if axis is None else [box(b"imir", bytes([axis]))]
    data, grown = bytearray(heic), sum(map(len, added)) + len(added)
    ipco = data.index(b"ipco") - 4
    end = ipco + int.from_bytes(data[ipco : ipco + 4], "big")
    count = 0
    position = ipco + 8
    while position < end:
        position += int.from_bytes(data[position : position + 4], "big")
        count += 1
    ipma = data.index(b"ipma") - 4
    number_at = ipma + 18  # of the properties of the first item, in the short layout
    assert data[ipma + 8] == data[ipma + 11] == 0
    last = number_at + 1 + data[number_at]
    data[number_at] += len(added)
    data[last:last] = bytes(0x80 | count + 1 + index for index in range(len(added)))
    data[end:end] = b"".join(added)
    for start, more in [(ipco, grown - len(added)), (data.index(b"ipma") - 4, len(added))]:
        data[start : start + 4] = (int.from_bytes(data[start : start + 4], "big") + more).to_bytes(4, "big")
    for kind in (b"iprp", b"meta"):
        start = data.index(kind) - 4
        data[start : start + 4] = (int.from_bytes(data[start : start + 4], "big") + grown).to_bytes(4, "big")
    return shifted_places(bytes(data), grown)


def shifted_places(heic: bytes, by: int) -> bytes:
    """The file with the places of its items, which lie behind the headers, moved by some bytes."""
    data, iloc = bytearray(heic), heic.index(b"iloc") + 4
    version, sizes, base = data[iloc], data[iloc + 4], data[iloc + 5] >> 4
    offset_size, length_size = sizes >> 4, sizes & 15
    assert version in (0, 1)
    (items,) = struct.unpack_from(">H", data, iloc + 6)
    position = iloc + 8
    for _ in range(items):
        inside = version == 1 and data[position + 3] & 15 != 0  # such items lie in a box, not in the file
        position += 4 if version == 0 else 6
        position += base
        (extents,) = struct.unpack_from(">H", data, position)
        position += 2
        for _ in range(extents):
            old = int.from_bytes(data[position : position + offset_size], "big")
            data[position : position + offset_size] = (old if inside else old + by).to_bytes(offset_size, "big")
            position += offset_size + length_size
    return bytes(data)


def write_photos(folder: Path) -> Path:
    """A portrait at half size, its mirror picture and an empty wall, in two folders."""
    portrait = read_image(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")
    image = np.asarray(cv2.resize(portrait, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    write_image(folder / "portrait.jpg", image)
    write_image(folder / "more/portrait.jpg", image[:, ::-1])
    write_image(folder / "wall.png", np.full((120, 160, 3), 128, np.uint8))
    return folder
