"""Packed crops and scenes: pictures of a dataset cut out once, memory-mapped ever after.

A pack is a folder whose name is a hash of keys, labels and sizes of the picture files.  It knows the pictures it was
made of: of each file the size, the times of its last changes, and a SHA-256.  Where a file has other times, its SHA-256
is compared; where that differs too, the pack is built again.  A damaged pack is built again as well.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from canthus.data.datasets import Progress, boxes_scene
from canthus.errors import CanthusError, DataError, ImageError, OutputError, printable
from canthus.files import disk_problem, write_text
from canthus.geometry import BoxHabit, crop_square
from canthus.images import crop_image, read_image
from canthus.plain_data import from_values, to_values
from canthus.schemes import Scheme, carried_scheme, own_scheme
from canthus.types import Annotation, Image, Sample, Scene

_log = logging.getLogger(__name__)

PACK_SIZE = 192
"""Side of a packed crop in pixels."""

PACK_MARGIN = 1.8
"""Side of a packed crop over the longer side of the face box: room for a crop of margin 1.3 turned by 30 degrees."""

LONG_SIDE = 640
"""Longer side in pixels to which larger pictures of scenes are shrunk."""

VERSION = 2
HEADER = "pack.json"
_AHEAD = 256
"""Number of crops that are cut before they are written."""

_NOT_WHOLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)

Pack = TypeVar("Pack")


@final
@dataclass(frozen=True)
class CropPack:
    """Crops of one dataset split.

    Attributes:
        images: memory-mapped, read-only.
        points: in pixels of the crops.
        margin: side of the crops over the longer side of the face box.
        subsets: part of the dataset each face comes from.
        content: SHA-256 of the labels and of the picture files; empty for a pack that was not read from a cache.
    """

    images: UInt8[np.ndarray, "n s s 3"]
    points: Float32[np.ndarray, "n k 2"]
    scheme: Scheme
    margin: float
    keys: tuple[str, ...]
    subsets: tuple[str, ...]
    content: str = ""

    def __len__(self) -> int:
        return len(self.images)

    def sample(self, index: int) -> Sample:
        """Face ``index`` with its pixels."""
        return Sample(image=np.asarray(self.images[index]), points=self.points[index], scheme=self.scheme)


def load_crops(
    annotations: Sequence[Annotation],
    cache: Path,
    *,
    size: int = PACK_SIZE,
    margin: float = PACK_MARGIN,
    progress: Progress = lambda done, total: None,
) -> CropPack:
    """Open the pack of some faces, and make it first where it is missing.

    Args:
        annotations: the faces, all of one scheme.
        cache: folder of all packs.

    Raises:
        DataError: no annotations, several schemes, or a picture cannot be read or changes while it is packed.
        OutputError: the cache cannot be written, for example because the disk is full.
    """
    if not annotations:
        raise DataError("There are no faces to pack: the split is empty")
    schemes = {a.scheme.name for a in annotations}
    if len(schemes) > 1:
        raise DataError(f"A pack holds one scheme, found {', '.join(sorted(schemes))}; convert the points first")
    header = f"{VERSION}|{size}|{margin}|{annotations[0].scheme.name}"
    entries = [(a.key, (a.points, a.box)) for a in annotations]
    source = _Source(entries, [a.path for a in annotations])
    build = partial(_build_crops, annotations, size=size, margin=margin, progress=progress)
    pack = _opened(cache / f"crops-{source.name(header)}", source, build, open_crops)
    return replace(pack, scheme=annotations[0].scheme)  # its mirror order may have been corrected since


def open_crops(folder: Path) -> CropPack:
    """Open a pack without reading its pixels.

    Raises:
        DataError: files are missing or do not fit together.
    """
    with _whole(folder, "crops"):
        header = _read_header(folder)
        images = np.load(folder / "crops.npy", mmap_mode="r")
        points = np.load(folder / "points.npy")
        if not len(images) == len(points) == len(header["keys"]):
            raise ValueError(f"{len(images)} crops, {len(points)} points, {len(header['keys'])} keys")
        own = header.get("own_scheme")
        scheme = carried_scheme(header["scheme"], None if own is None else from_values(Scheme, own))
        margin = float(header["margin"])
        keys, subsets = tuple(header["keys"]), tuple(header["subsets"])
        return CropPack(images, points, scheme, margin, keys, subsets, header.get("content", ""))


def _build_crops(
    annotations: Sequence[Annotation], folder: Path, *, size: int, margin: float, progress: Progress
) -> dict[str, Any]:
    """Write crops and points, and return the header.

    The file is written from front to back: in a file that is mapped before it is filled, a full disk kills the process.
    """
    n = len(annotations)
    points = np.empty((n, annotations[0].scheme.count, 2), np.float32)

    def crop(i: int) -> Image:
        face = annotations[i]
        image, affine = crop_image(read_image(face.path), crop_square(face.box, margin), size)
        points[i] = affine.apply(face.points)
        return image

    with (folder / "crops.npy").open("wb") as stream, ThreadPoolExecutor(os.cpu_count()) as pool:
        _write_array_header(stream, (n, size, size, 3))
        for start in range(0, n, _AHEAD):
            here = range(start, min(n, start + _AHEAD))
            for done, image in enumerate(pool.map(crop, here), start=start + 1):
                stream.write(np.ascontiguousarray(image).tobytes())
                progress(done, n)
    np.save(folder / "points.npy", points)
    header = {"scheme": annotations[0].scheme.name, "size": size, "margin": margin}
    if own := own_scheme(annotations[0].scheme):
        header["own_scheme"] = to_values(own)
    return header | {"keys": [a.key for a in annotations], "subsets": [a.subset for a in annotations]}


def _write_array_header(stream: BinaryIO, shape: tuple[int, ...]) -> None:
    """Begin a ``.npy`` file of bytes."""
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})


@final
@dataclass(frozen=True)
class SceneSample:
    """One picture with all its faces, as augmentation sees it: fields as in ``Scene``, but ``boxes`` are face boxes."""

    image: Image
    boxes: Float32[np.ndarray, "n 4"]
    points: Float32[np.ndarray, "n 5 2"]
    ignored: Bool[np.ndarray, " n"]
    complete: bool


@final
@dataclass(frozen=True)
class ScenePack:
    """``m`` pictures of one detection set and their ``n`` faces, with fields as in ``SceneSample``.

    Attributes:
        pixels: of all pictures, memory-mapped, read-only.
        shapes: height and width of each picture.
        starts: first pixel byte of each picture.
        first_face: index of each picture's first face; one entry more than pictures.
        content: as in ``CropPack``.
    """

    pixels: UInt8[np.ndarray, " p"]
    shapes: Int64[np.ndarray, "m 2"]
    starts: Int64[np.ndarray, " m"]
    first_face: Int64[np.ndarray, " _"]
    boxes: Float32[np.ndarray, "n 4"]
    points: Float32[np.ndarray, "n 5 2"]
    ignored: Bool[np.ndarray, " n"]
    complete: Bool[np.ndarray, " m"]
    keys: tuple[str, ...]
    content: str = ""

    def __len__(self) -> int:
        return len(self.shapes)

    def sample(self, index: int) -> SceneSample:
        """Picture ``index`` with its faces."""
        height, width = (int(side) for side in self.shapes[index])
        start = int(self.starts[index])
        faces = slice(int(self.first_face[index]), int(self.first_face[index + 1]))
        image = np.asarray(self.pixels[start : start + height * width * 3]).reshape(height, width, 3)
        complete = bool(self.complete[index])
        return SceneSample(image, self.boxes[faces], self.points[faces], self.ignored[faces], complete)

    def scene(self, index: int) -> Scene:
        """Truth of picture ``index`` in pixels of the packed picture; its boxes are face boxes."""
        key, s = self.keys[index], self.sample(index)
        scene = boxes_scene(key, Path(key), s.boxes, BoxHabit(), group=key, points=s.points, ignored=s.ignored)
        return replace(scene, complete=s.complete)


def load_scene_pack(
    scenes: Sequence[Scene], cache: Path, *, progress: Progress = lambda done, total: None
) -> ScenePack:
    """Open the pack of some pictures, and make it first where it is missing.

    Raises:
        DataError: no scenes, or a picture cannot be read or changes while it is packed.
        OutputError: the cache cannot be written, for example because the disk is full.
    """
    if not scenes:
        raise DataError("There are no pictures to pack: the split is empty")
    entries = [(f"{s.key}|{s.complete}", (s.face_boxes(), s.points, s.ignored)) for s in scenes]
    source = _Source(entries, [s.path for s in scenes])
    folder = cache / f"scenes-{source.name(f'{VERSION}|{LONG_SIDE}')}"
    return _opened(folder, source, partial(_build_scenes, scenes, progress=progress), open_scene_pack)


def open_scene_pack(folder: Path) -> ScenePack:
    """Open a pack without reading its pixels.

    Raises:
        DataError: files are missing or damaged.
    """
    with _whole(folder, "scenes"):
        header = _read_header(folder)
        keys, content = tuple(header["keys"]), header.get("content", "")
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        with np.load(folder / "faces.npz") as arrays:
            fields = {name: arrays[name] for name in arrays.files}
        if not len(keys) == len(fields["shapes"]) or len(pixels) != int(fields["shapes"].prod(axis=1).sum()) * 3:
            raise ValueError(f"{len(keys)} keys, {len(fields['shapes'])} pictures, {len(pixels)} bytes of pixels")
        return ScenePack(pixels=pixels, keys=keys, content=content, **fields)


def _build_scenes(scenes: Sequence[Scene], folder: Path, progress: Progress) -> dict[str, Any]:
    """Write pixels and faces, and return the header."""
    shapes: list[tuple[int, int]] = []
    scales: list[float] = []
    raw = folder / "pixels.raw"
    with raw.open("wb") as stream:
        for done, scene in enumerate(scenes, start=1):
            image = read_image(scene.path)
            scale = min(1.0, LONG_SIDE / max(image.shape[:2]))
            if scale < 1:
                columns, rows = (max(1, round(side * scale)) for side in image.shape[1::-1])
                image = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)
            stream.write(np.ascontiguousarray(image).tobytes())
            shapes.append((image.shape[0], image.shape[1]))
            scales.append(scale)
            progress(done, len(scenes))
    with (folder / "pixels.npy").open("wb") as whole, raw.open("rb") as stream:  # numpy can map this file
        _write_array_header(whole, (raw.stat().st_size,))
        shutil.copyfileobj(stream, whole)
    raw.unlink()
    sizes = np.array([h * w * 3 for h, w in shapes], np.int64)
    scaled = list(zip(scenes, scales, strict=True))
    np.savez(
        folder / "faces.npz",
        shapes=np.array(shapes, np.int64),
        starts=np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        first_face=np.concatenate([[0], np.cumsum([len(s.boxes) for s in scenes])]).astype(np.int64),
        boxes=np.concatenate([s.face_boxes() * k for s, k in scaled]).astype(np.float32),
        # points are counted from pixel centres, half a pixel from the edges that scaling leaves in place
        points=np.concatenate([(s.points + 0.5) * k - 0.5 for s, k in scaled]).astype(np.float32),
        ignored=np.concatenate([s.ignored for s in scenes]),
        complete=np.array([s.complete for s in scenes]),
    )
    return {"keys": [s.key for s in scenes]}


@final
class _Source:
    """What a pack is made of.

    Args:
        entries: text and arrays of each label.
        paths: picture file of each label.
    """

    def __init__(self, entries: Sequence[tuple[str, Sequence[np.ndarray]]], paths: Sequence[Path]) -> None:
        self._entries, self._paths = entries, list(dict.fromkeys(paths))

    def name(self, header: str) -> str:
        """Hash of the settings, the labels and the sizes of the files."""
        sizes = ((str(path.stat().st_size if path.exists() else -1), ()) for path in self._paths)
        return _hash(header, [*self._entries, *sizes])[:16]

    def pictures(self) -> list[list[Any]]:
        """Stamp and SHA-256 of each file.

        Raises:
            ImageError: one cannot be read.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return [[*stamp, digest] for stamp, digest in pool.map(_stamp_and_digest, self._paths)]

    def content(self, pictures: Sequence[Sequence[Any]]) -> str:
        """Hash of the labels and of the content of the files; it does not depend on where they lie."""
        return _hash("", [*self._entries, *((picture[-1], ()) for picture in pictures)])

    def changed(self, pictures: Sequence[Sequence[Any]]) -> list[int]:
        """Indices of the files whose stamps are no longer these."""
        return [i for i, (path, old) in enumerate(zip(self._paths, pictures, strict=True)) if _stamp(path) != old[:-1]]

    def still(self, pictures: list[list[Any]]) -> bool:
        """Whether the files are those of ``pictures``; the stamps there are renewed where only they have changed."""
        if len(pictures) != len(self._paths):
            return False
        for index in self.changed(pictures):
            stamp, digest = _stamp_and_digest(self._paths[index])
            if digest != pictures[index][-1]:
                return False
            pictures[index][:-1] = stamp
        return True


def _stamp(path: Path) -> list[int]:
    """Size and times of a file, which change whenever it is written or replaced."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _stamp_and_digest(path: Path) -> tuple[list[int], str]:
    try:
        with path.open("rb") as file:
            return _stamp(path), hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error


def _hash(header: str, entries: Iterable[tuple[str, Sequence[np.ndarray]]]) -> str:
    """Hash of the header, and of the text and arrays of each entry."""
    digest = hashlib.sha256(header.encode())
    for text, arrays in entries:
        digest.update(text.encode("utf-8", "surrogateescape"))
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _opened(
    folder: Path, source: _Source, build: Callable[[Path], dict[str, Any]], open_pack: Callable[[Path], Pack]
) -> Pack:
    """Open a pack; build it first where it is missing, damaged, or made of other pictures."""
    if folder.exists():
        try:
            if _is_current(folder, source):
                return open_pack(folder)
            name = printable(str(folder))
            _log.warning("%s: the pictures have changed since they were packed; they are packed again", name)
        except DataError as error:
            _log.warning("%s; it is built again now", printable(str(error)))
    try:
        _build(folder, source, build)
    except OSError as error:
        raise OutputError(
            f"{folder.parent}: the pack cannot be written ({disk_problem(error)}); make room, or name another folder "
            "with --cache"
        ) from error
    return open_pack(folder)


def _is_current(folder: Path, source: _Source) -> bool:
    """Whether a pack is made of the pictures as they are now."""
    with _whole(folder, "pictures"):
        header = _read_header(folder)
        before = json.dumps(header["pictures"])
        if not source.still(header["pictures"]):
            return False
    if json.dumps(header["pictures"]) != before:
        with contextlib.suppress(OutputError):  # a cache that is only read; the files are compared again next time
            write_text(folder / HEADER, json.dumps(header))
    return True


def _build(folder: Path, source: _Source, build: Callable[[Path], dict[str, Any]]) -> None:
    """Build a pack aside and rename it, so that an interrupted build leaves no pack behind.

    Raises:
        DataError: a picture cannot be read, or has changed in the meantime.
        OSError: the pack cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        pictures = source.pictures()
        header = build(new) | {"pictures": pictures, "content": source.content(pictures)}
        if source.changed(pictures):
            raise DataError(f"{folder}: pictures have changed while they were packed; run the command again")
        (new / HEADER).write_text(json.dumps(header))
        with contextlib.suppress(FileNotFoundError):
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if not folder.exists():  # another process may have built the same pack in the meantime
                raise


def _read_header(folder: Path) -> dict[str, Any]:
    header = json.loads((folder / HEADER).read_text())
    if not isinstance(header, dict):
        raise TypeError(f"{HEADER} holds no table")
    return header


@contextmanager
def _whole(folder: Path, what: str) -> Iterator[None]:
    """Turn errors of reading a pack into one that names the pack."""
    try:
        yield
    except (CanthusError, *_NOT_WHOLE) as error:
        raise DataError(
            f"{folder}: not a whole pack of {what} ({error}). Delete the folder to build it again"
        ) from error
