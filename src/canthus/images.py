"""Pictures: reading, writing, cropping and resizing."""

import os
import stat
import struct
import threading
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from canthus.errors import ImageError, MissingExtraError
from canthus.files import MARK, bytes_kind, write_bytes
from canthus.geometry import Affine, hull_box
from canthus.image_files import MAX_PIXELS, check_picture_file, is_known, without_animation
from canthus.lookup import require
from canthus.types import Image

T = TypeVar("T")
ReadImage: TypeAlias = tuple[str | os.PathLike[str], Image | ImageError]
"""A path, and its picture or the reason why it cannot be read."""

IMAGE_SUFFIXES = frozenset({
    ".apng", ".avif", ".bmp", ".dib", ".gif", ".hdr", ".heic", ".heif", ".hif", ".j2c", ".j2k", ".jfif", ".jp2", ".jpc",
    ".jpe", ".jpeg", ".jpg", ".pam", ".pbm", ".pgm", ".pic", ".png", ".pnm", ".ppm", ".pxm", ".ras", ".sr", ".tif",
    ".tiff", ".webp",
})  # fmt: skip
"""Files of these names are taken from folders; which of them can be decoded is told by their content."""
MAX_BYTES = 1_000_000_000
"""Larger files are refused before they are read."""
AHEAD_BYTES = 500_000_000
"""A picture is decoded in advance only while all pictures in memory, and its decoding, take less."""
_SAMPLE = 65_536
"""Bytes from which a file is recognized before the rest is read."""
_MOST_WARPED = 32_767
"""OpenCV warps pictures with shorter sides only: it counts their pixels with 16 bits."""
_ROWS = 256
"""Rows of a picture whose channels are exchanged at once, so that no second picture is in memory."""


def decode_image(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> Image:
    """Decode a picture file held in memory: 8-bit RGB, upright, first frame.

    Grey, palettes and CMYK become RGB, alpha is dropped, 16 bits become 8.  Pictures are turned as EXIF says, HEIC and
    AVIF as their container says.  Of an animated PNG the still picture is taken.

    Args:
        data: content of the file.
        name: of the picture, for errors.
        max_pixels: a picture of more is refused by its header, before it takes memory.

    Raises:
        ImageError: the data is empty, cut short, not a picture that can be decoded, has more than ``max_pixels``
            pixels, or would take more than ``image_files.MAX_MEMORY`` bytes.
    """
    return _decode(data, name, _no_wait, max_pixels=max_pixels)


def read_image(path: str | os.PathLike[str]) -> Image:
    """Read a picture file as 8-bit RGB; ``decode_image`` describes the formats.

    Raises:
        ImageError: the file is missing, empty or not a picture.
    """
    return _read(path, _no_wait)


def _no_wait(_: int) -> None:
    """Memory is there."""


def _read(path: str | os.PathLike[str], wait: Callable[[int], None]) -> Image:
    """Read and decode a file; ``wait(bytes)`` is called before so much memory is taken."""
    name = os.fspath(path)
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise ImageError(f"{name}: is {kind}, expected a picture file")
        with Path(path).open("rb") as file:
            start = file.read(_SAMPLE)
            if start and not is_known(start):
                raise _unknown(name, start)
            if status.st_size > MAX_BYTES:
                raise ImageError(f"{name}: {status.st_size / 1e6:.0f} MB is more than a picture holds; is it one?")
            wait(status.st_size)
            data = start + file.read(MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ImageError(f"{name}: cannot be read ({reason})") from error
    return _decode(data, name, wait)


def _decode(data: bytes, name: str, wait: Callable[[int], None], *, max_pixels: int = MAX_PIXELS) -> Image:
    if not data:
        raise ImageError(f"{name}: the file is empty")
    header = check_picture_file(data, name=name, max_pixels=max_pixels)
    if header is None:
        raise _unknown(name, data)
    wait(len(data) + header.memory)
    if header.kind == "HEIC":
        return _decode_heic(data, name)
    turned_here = header.kind == "AVIF"
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if turned_here else 0)
    try:
        picture = cv2.imdecode(
            np.frombuffer(without_animation(data) if header.kind == "PNG" else data, np.uint8), flags
        )
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded ({error.err})") from error
    if picture is None:
        raise _unknown(name, data)
    for top in range(0, len(picture), _ROWS):
        rows = picture[top : top + _ROWS]
        cv2.cvtColor(rows, cv2.COLOR_BGR2RGB, dst=rows)
    if turned_here:
        picture = np.rot90(picture, header.quarter_turns)
        picture = picture if header.mirror is None else np.flip(picture, header.mirror)
    return np.ascontiguousarray(picture)


def _decode_heic(data: bytes, name: str) -> Image:
    """Decode by libheif, which turns the picture as its container says.

    Raises:
        ImageError: pillow-heif is not installed, or the picture is damaged.
    """
    try:
        heif = require("pillow_heif", extra="heic")
        picture = heif.read_heif(data, convert_hdr_to_8bit=True).to_pillow().convert("RGB")
    except MissingExtraError as error:
        raise ImageError(f"{name}: is a HEIC picture. {error}") from error
    except (ValueError, OSError, EOFError, SyntaxError, RuntimeError) as error:  # what Pillow and libheif raise
        raise ImageError(f"{name}: cannot be decoded ({error})") from error
    return np.array(picture, np.uint8)


def _unknown(name: str, data: bytes) -> ImageError:
    if bytes_kind(data[:1024]) == "video":
        return ImageError(f"{name}: looks like a video; use canthus track")
    return ImageError(f"{name}: not a picture, or damaged; readable: {', '.join(sorted(IMAGE_SUFFIXES))}")


def read_images(paths: Iterable[str | os.PathLike[str]], *, ahead: int = 1) -> Iterator[ReadImage]:
    """Read pictures in order; a second thread decodes the next ones in advance.

    At most ``ahead + 1`` pictures are in memory, and one alone if it takes more than ``AHEAD_BYTES``, provided that the
    caller keeps none.  For a file that cannot be read, the error is yielded, not raised.

    Args:
        paths: the files; taken one by one, so that a generator may be endless.
        ahead: number of pictures decoded in advance, at least 1.
    """
    if ahead < 1:
        raise ValueError(f"Expected to read at least 1 picture ahead, found {ahead}")
    waiting: deque[Future[ReadImage]] = deque()
    memory = _Memory()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="canthus-read") as reader:
        try:
            for path in paths:
                waiting.append(reader.submit(memory.read, path))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()  # no variable, which would keep the picture in memory
                    memory.free()
            while waiting:
                yield waiting.popleft().result()
                memory.free()
        finally:
            for future in waiting:
                future.cancel()
            memory.close()


def read_ahead(items: Iterator[T], *, ahead: Callable[[T], int]) -> Generator[T]:
    """The items of an iterator, in order; a second thread takes the next ones from it in advance.

    Args:
        items: read by the thread alone until the result is closed.
        ahead: number of items to read in advance after this one; 0 reads the next when it is asked for.
    """
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="canthus-ahead") as reader:
        waiting: deque[Future[Any]] = deque([reader.submit(next, items, end)])
        try:
            while (item := waiting.popleft().result()) is not end:
                while len(waiting) < ahead(item):
                    waiting.append(reader.submit(next, items, end))
                yield item
                if not waiting:
                    del item  # so that it does not stay in memory beside the next
                    waiting.append(reader.submit(next, items, end))
        finally:
            for future in waiting:
                future.cancel()


@final
class _Memory:
    """Sizes of the decoded pictures that wait or are in use, oldest first; shared by the reader and its caller."""

    def __init__(self) -> None:
        self._sizes: deque[int] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def read(self, path: str | os.PathLike[str]) -> ReadImage:
        """Read a picture as soon as there is memory for it."""
        try:
            image: Image | ImageError = _read(path, self._wait)
        except ImageError as error:
            image = error
        with self._changed:
            self._sizes.append(0 if isinstance(image, ImageError) else image.nbytes)
        return path, image

    def _wait(self, needed: int) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or sum(self._sizes) == 0 or sum(self._sizes) + needed <= AHEAD_BYTES
            )
            if self._closed:
                raise ImageError("no longer wanted")

    def free(self) -> None:
        """The caller is done with the oldest picture."""
        with self._changed:
            self._sizes.popleft()
            self._changed.notify()

    def close(self) -> None:
        """End a reader that waits."""
        with self._changed:
            self._closed = True
            self._changed.notify()


def checked_image(array: np.ndarray) -> Image:
    """Return the array unchanged if it is an RGB picture, uint8 ``(h, w, 3)`` with at least one pixel.

    Raises:
        TypeError: not an array.
        ValueError: another array; the message explains how to convert it.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(
            f"Expected an RGB picture, a numpy array uint8 (h, w, 3); found {type(array).__name__}. "
            "canthus.read_image(path) gives one."
        )
    if array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8 and array.size:
        return array
    raise ValueError(
        f"Expected an RGB picture, uint8 (h, w, 3); found {array.dtype} {array.shape}. "
        "canthus.read_image gives one; from OpenCV's BGR take image[:, :, ::-1], from grey np.dstack([grey] * 3)."
    )


def write_image(path: str | os.PathLike[str], image: Image) -> None:
    """Write a picture in the format of the file's suffix; missing folders are created.

    JPEG and PNG files get a comment, by which ``canthus detect`` knows that it may replace them.

    Raises:
        ImageError: no encoder for that suffix.
        OutputError: the file cannot be written.
    """
    path = Path(path)
    try:
        done, data = cv2.imencode(path.suffix, np.ascontiguousarray(image[:, :, ::-1]))
    except cv2.error as error:
        raise ImageError(f"{path}: no encoder for {path.suffix!r}; use .jpg or .png") from error
    if not done:
        raise ImageError(f"{path}: could not be encoded as {path.suffix!r}")
    write_bytes(path, _with_mark(data.tobytes()))


def _with_mark(data: bytes) -> bytes:
    """A JPEG or PNG file with the comment ``files.MARK``; other files as they are."""
    if data.startswith(b"\xff\xd8"):
        return data[:2] + b"\xff\xfe" + struct.pack(">H", len(MARK) + 2) + MARK + data[2:]
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        chunk = b"tEXtComment\0" + MARK
        end = data.index(b"IHDR") + 4 + 13 + 4  # its name, its content and its check sum
        return (
            data[:end] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[end:]
        )
    return data


def warp(image: Image, affine: Affine, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Resample ``image`` through ``affine`` into a ``size x size`` picture; bilinear, black outside."""
    if max(image.shape[:2]) >= _MOST_WARPED:
        image, affine = _shown_part(image, affine, size)
    return np.asarray(cv2.warpAffine(image, affine.matrix, (size, size), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def _shown_part(image: Image, affine: Affine, size: int) -> tuple[UInt8[np.ndarray, "part_h part_w 3"], Affine]:
    """The part of a picture that ``affine`` maps into a ``size x size`` picture, with sides that OpenCV can warp.

    Returns:
        The part, a side that is too long halved as often as needed, and the map from its pixels to the result.
    """
    height, width = image.shape[:2]
    corners = affine.inverse().apply(np.array([[-1, -1], [size, -1], [-1, size], [size, size]], np.float64))
    x1, y1 = (int(np.clip(np.floor(v) - 1, 0, end - 1)) for v, end in zip(corners.min(0), (width, height), strict=True))
    x2, y2 = (int(np.clip(np.ceil(v) + 2, 1, end)) for v, end in zip(corners.max(0), (width, height), strict=True))
    part, step = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)], np.ones(2, int)
    while max(part.shape[1] // step[0], part.shape[0] // step[1]) >= _MOST_WARPED:
        step[int(part.shape[0] // step[1] >= _MOST_WARPED)] *= 2
    columns, rows = part.shape[1] // step[0], part.shape[0] // step[1]
    if step.max() > 1:
        part = part[: rows * step[1], : columns * step[0]]
        part = np.asarray(cv2.resize(part, (int(columns), int(rows)), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    to_image = Affine(np.array([[step[0], 0, x1 + step[0] / 2 - 0.5], [0, step[1], y1 + step[1] / 2 - 0.5]]))
    return part, to_image.then(affine)


def halve_image(image: Image) -> UInt8[np.ndarray, "half_h half_w 3"]:
    """The picture at half its size, each pixel the mean of four; an odd last row or column is dropped.

    A side of one pixel is not halved.
    """
    rows, columns = (side - side % 2 if side > 1 else 1 for side in image.shape[:2])
    halved = (max(1, columns // 2), max(1, rows // 2))
    return np.asarray(cv2.resize(image[:rows, :columns], halved, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def fit_image(
    image: Image, size: int, *, multiple: int = 1, most_growth: float = 2.0
) -> tuple[UInt8[np.ndarray, "fit_h fit_w 3"], Affine]:
    """Resize a picture to a longer side of ``size``, then pad it with black on the right and at the bottom.

    Large pictures are first halved by averaging, as often as possible, to avoid aliasing.

    Args:
        image: the picture.
        size: longer side of the result in pixels, before padding.
        multiple: both sides are padded to multiples of this.
        most_growth: largest factor by which small pictures are enlarged.

    Returns:
        The result, and the map from its pixels to pixels of ``image``.
    """
    height, width = image.shape[:2]
    scale = min(size / max(height, width), most_growth)
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    small, step = image, np.ones(2)
    while max(small.shape[0] / rows, small.shape[1] / columns) >= 2:
        step *= [min(2, small.shape[1]), min(2, small.shape[0])]
        small = halve_image(small)
    shown = step * (small.shape[1], small.shape[0])  # part of the picture that remains without odd rows and columns
    if small.shape[:2] != (rows, columns):
        small = np.asarray(cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    canvas = np.ascontiguousarray(small)
    if rows % multiple or columns % multiple:
        canvas = np.zeros((-(-rows // multiple) * multiple, -(-columns // multiple) * multiple, 3), np.uint8)
        canvas[:rows, :columns] = small
    grow_x, grow_y = shown / (columns, rows)
    return canvas, Affine(np.array([[grow_x, 0, grow_x / 2 - 0.5], [0, grow_y, grow_y / 2 - 0.5]]))


def crop_image(
    image: Image, square: Float[np.ndarray, " 4"], size: int, *, turn: float = 0.0
) -> tuple[UInt8[np.ndarray, "size size 3"], Affine]:
    """Crop a square, turned about its centre by ``turn`` radians, to an upright ``size x size``; black outside.

    A region more than twice as large as the result is first halved by averaging, as often as possible, to avoid
    aliasing.  Halving costs a tenth of averaging by other factors.

    Returns:
        The crop and the map from pixels of ``image`` to pixels of the crop.
    """
    affine = Affine.turned_crop(square, size, turn)
    if turn:
        return align_image(image, affine, size), affine
    side = float(square[2] - square[0])
    halvings = max(0, int(np.ceil(np.log2(side / (2 * size))))) if side > 0 else 0
    return _warp_halved(image, square, affine, size, halvings=halvings), affine


def align_image(image: Image, affine: Affine, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Resample ``image`` through a map that may also turn it; black outside the picture.

    As in ``crop_image``, a region more than twice as large as the result is halved first.
    """
    scale = float(np.sqrt(abs(np.linalg.det(affine.matrix[:, :2]))))
    ends = np.array([[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5]])
    shown = hull_box(affine.inverse().apply(ends))
    return _warp_halved(image, shown, affine, size, halvings=max(0, int(np.ceil(np.log2(0.5 / scale)))))


def _warp_halved(
    image: Image, shown: Float[np.ndarray, " 4"], affine: Affine, size: int, *, halvings: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Halve the part of a picture that the result shows as often as asked, then resample it."""
    if halvings == 0:
        return warp(image, affine, size)
    step = 2**halvings
    height, width = image.shape[:2]
    x1, y1 = (int(np.clip(np.floor(v) - step, 0, end)) for v, end in zip(shown[:2], (width, height), strict=True))
    x2, y2 = (int(np.clip(np.ceil(v) + step, 0, end)) for v, end in zip(shown[2:], (width, height), strict=True))
    columns, rows = (x2 - x1) // step, (y2 - y1) // step
    if columns < 1 or rows < 1:
        return np.zeros((size, size, 3), np.uint8)
    small = image[y1 : y1 + rows * step, x1 : x1 + columns * step]
    for _ in range(halvings):
        small = halve_image(small)
    to_small = Affine(np.array([[1 / step, 0, (0.5 - x1) / step - 0.5], [0, 1 / step, (0.5 - y1) / step - 0.5]]))
    return warp(small, to_small.inverse().then(affine), size)
