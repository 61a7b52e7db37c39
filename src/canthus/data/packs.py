"""Packed crops and scenes: pictures of a dataset cut out once, memory-mapped ever after.

A pack is a folder whose name is a hash of everything that decides its content: keys, labels and sizes of the picture
files.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from canthus.data.datasets import Progress, boxes_scene
from canthus.errors import DataError
from canthus.geometry import BoxHabit, crop_square
from canthus.images import crop_image, read_image
from canthus.schemes import Scheme, find_scheme
from canthus.types import Annotation, Image, Sample, Scene

PACK_SIZE = 192
"""Side of a packed crop in pixels."""

PACK_MARGIN = 1.8
"""Side of a packed crop over the longer side of the face box: room for a crop of margin 1.3 turned by 30 degrees."""

LONG_SIDE = 640
"""Longer side in pixels to which larger pictures of scenes are shrunk."""


@final
@dataclass(frozen=True)
class CropPack:
    """Crops of one dataset split.

    Attributes:
        images: memory-mapped, read-only.
        points: in pixels of the crops.
        margin: side of the crops over the longer side of the face box.
        subsets: part of the dataset each face comes from.
    """

    images: UInt8[np.ndarray, "n s s 3"]
    points: Float32[np.ndarray, "n k 2"]
    scheme: Scheme
    margin: float
    keys: tuple[str, ...]
    subsets: tuple[str, ...]

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
        DataError: no annotations, several schemes, or a picture cannot be read.
    """
    if not annotations:
        raise DataError("There are no faces to pack: the split is empty")
    schemes = {a.scheme.name for a in annotations}
    if len(schemes) > 1:
        raise DataError(f"A pack holds one scheme, found {', '.join(sorted(schemes))}; convert the points first")
    header = f"1|{size}|{margin}|{annotations[0].scheme.name}"
    entries = ((f"{a.key}|{_file_size(a.path)}", (a.points, a.box)) for a in annotations)
    build = partial(_build_crops, annotations, size=size, margin=margin, progress=progress)
    return open_crops(_built(cache / f"crops-{_fingerprint(header, entries)}", build))


def open_crops(folder: Path) -> CropPack:
    """Open a pack without reading its pixels.

    Raises:
        DataError: files are missing or do not fit together.
    """
    with _whole(folder, "crops"):
        header = json.loads((folder / "pack.json").read_text())
        images = np.load(folder / "crops.npy", mmap_mode="r")
        points = np.load(folder / "points.npy")
        if not len(images) == len(points) == len(header["keys"]):
            raise ValueError(f"{len(images)} crops, {len(points)} points, {len(header['keys'])} keys")
        scheme, margin = find_scheme(header["scheme"]), float(header["margin"])
        return CropPack(images, points, scheme, margin, tuple(header["keys"]), tuple(header["subsets"]))


def _build_crops(
    annotations: Sequence[Annotation], folder: Path, *, size: int, margin: float, progress: Progress
) -> None:
    n = len(annotations)
    images = np.lib.format.open_memmap(folder / "crops.npy", mode="w+", dtype=np.uint8, shape=(n, size, size, 3))
    points = np.empty((n, annotations[0].scheme.count, 2), np.float32)

    def pack(i: int) -> None:
        face = annotations[i]
        images[i], affine = crop_image(read_image(face.path), crop_square(face.box, margin), size)
        points[i] = affine.apply(face.points)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(pack, range(n)), start=1):
            progress(done, n)
    images.flush()
    np.save(folder / "points.npy", points)
    header = {"scheme": annotations[0].scheme.name, "size": size, "margin": margin}
    labels = {"keys": [a.key for a in annotations], "subsets": [a.subset for a in annotations]}
    (folder / "pack.json").write_text(json.dumps(header | labels))


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
        DataError: no scenes, or a picture cannot be read.
    """
    if not scenes:
        raise DataError("There are no pictures to pack: the split is empty")
    entries = ((f"{s.key}|{_file_size(s.path)}|{s.complete}", (s.face_boxes(), s.points, s.ignored)) for s in scenes)
    folder = cache / f"scenes-{_fingerprint(f'1|{LONG_SIDE}', entries)}"
    return open_scene_pack(_built(folder, partial(_build_scenes, scenes, progress=progress)))


def open_scene_pack(folder: Path) -> ScenePack:
    """Open a pack without reading its pixels.

    Raises:
        DataError: files are missing or damaged.
    """
    with _whole(folder, "scenes"):
        keys = tuple(json.loads((folder / "pack.json").read_text())["keys"])
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        with np.load(folder / "faces.npz") as arrays:
            return ScenePack(pixels=pixels, keys=keys, **{name: arrays[name] for name in arrays.files})


def _build_scenes(scenes: Sequence[Scene], folder: Path, progress: Progress) -> None:
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
    np.save(folder / "pixels.npy", np.memmap(raw, dtype=np.uint8, mode="r"))  # numpy can map this file
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
    (folder / "pack.json").write_text(json.dumps({"keys": [s.key for s in scenes]}))


def _file_size(path: Path) -> int:
    return path.stat().st_size if path.exists() else -1


def _fingerprint(header: str, entries: Iterable[tuple[str, Sequence[np.ndarray]]]) -> str:
    """Hash of the settings, and of the text and arrays of each entry."""
    digest = hashlib.sha256(header.encode())
    for text, arrays in entries:
        digest.update(text.encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _built(folder: Path, build: Callable[[Path], None]) -> Path:
    """The folder of a pack; it is built aside and renamed, so that an interrupted build leaves no pack behind."""
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="building-") as unfinished:
        build(Path(unfinished))
        try:
            Path(unfinished).rename(folder)
        except OSError:
            if not folder.exists():  # another process may have built the same pack in the meantime
                raise
        else:
            Path(unfinished).mkdir()  # for ``TemporaryDirectory`` to remove
    return folder


@contextmanager
def _whole(folder: Path, what: str) -> Iterator[None]:
    """Turn errors of reading a pack into one that names the pack."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder}: not a whole pack of {what} ({error}). Delete the folder to build it again"
        ) from error
