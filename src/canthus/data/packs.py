"""Packed crops and scenes: pictures of a dataset cut out once, memory-mapped ever after."""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from canthus.errors import DataError
from canthus.geometry import BoxHabit, crop_square
from canthus.images import crop_image, read_image
from canthus.schemes import Scheme, find_scheme
from canthus.types import Annotation, Image, Sample, Scene

PACK_SIZE = 192
"""Side of a packed crop in pixels."""

PACK_MARGIN = 1.8
"""Side of a packed crop over the longer side of the face box: room for a crop of margin 1.3 turned by 30 degrees."""


@final
@dataclass(frozen=True)
class CropPack:
    """Crops of one dataset split.

    Attributes:
        images: memory-mapped, read-only.
        points: in pixels of the crops.
        scheme: numbering of the points.
        margin: side of the crops over the longer side of the face box.
        keys: key of each face's annotation.
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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CropPack:
    """Open the pack of these annotations, making it first where there is none.

    Args:
        annotations: the faces, all of one scheme.
        cache: folder that holds the packs.
        size: side of a crop in pixels.
        margin: side of a crop over the longer side of the face box.
        progress: called with (faces done, faces in all) while a pack is made.

    Raises:
        DataError: no annotations, schemes mixed, or a picture cannot be read.
    """
    if not annotations:
        raise DataError("There are no faces to pack: the split is empty")
    schemes = {a.scheme.name for a in annotations}
    if len(schemes) > 1:
        raise DataError(f"A pack holds one scheme, found {', '.join(sorted(schemes))}; convert the points first")
    folder = cache / f"crops-{_fingerprint(annotations, size=size, margin=margin)}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Built aside and renamed, so that a build cut off half-way leaves no pack behind.
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as unfinished:
            _build(annotations, Path(unfinished), size=size, margin=margin, progress=progress)
            try:
                Path(unfinished).rename(folder)
            except OSError:
                if not folder.exists():
                    raise
            else:
                Path(unfinished).mkdir()
    return open_crops(folder)


def open_crops(folder: Path) -> CropPack:
    """Open a pack without reading its pixels.

    Raises:
        DataError: files are missing or do not fit together.
    """
    try:
        header = json.loads((folder / "pack.json").read_text())
        images = np.load(folder / "crops.npy", mmap_mode="r")
        points = np.load(folder / "points.npy")
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: not a whole pack of crops ({error}). Delete the folder to build it anew") from error
    if not len(images) == len(points) == len(header["keys"]):
        raise DataError(f"{folder}: {len(images)} crops, {len(points)} points, {len(header['keys'])} keys; delete it")
    return CropPack(
        images=images,
        points=points,
        scheme=find_scheme(header["scheme"]),
        margin=float(header["margin"]),
        keys=tuple(header["keys"]),
        subsets=tuple(header["subsets"]),
    )


def _fingerprint(annotations: Sequence[Annotation], *, size: int, margin: float) -> str:
    digest = hashlib.sha256(f"1|{size}|{margin}|{annotations[0].scheme.name}".encode())
    for a in annotations:
        digest.update(f"{a.key}|{a.path.stat().st_size if a.path.exists() else -1}".encode())
        digest.update(np.ascontiguousarray(a.points).tobytes())
        digest.update(np.ascontiguousarray(a.box).tobytes())
    return digest.hexdigest()[:16]


def _build(
    annotations: Sequence[Annotation],
    folder: Path,
    *,
    size: int,
    margin: float,
    progress: Callable[[int, int], None],
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
    header = {
        "scheme": annotations[0].scheme.name,
        "size": size,
        "margin": margin,
        "keys": [a.key for a in annotations],
        "subsets": [a.subset for a in annotations],
    }
    (folder / "pack.json").write_text(json.dumps(header))


LONG_SIDE = 640
"""Larger pictures are shrunk to this longer side, in pixels."""


@final
@dataclass(frozen=True)
class SceneSample:
    """One picture with all its faces, as augmentation sees it.

    Attributes:
        image: the pixels.
        boxes: face boxes in pixels of the picture.
        points: of the scheme ``five``; NaN where unknown.
        ignored: faces that are neither to be found nor to be taken for background.
        complete: False where the picture may hold unlabelled faces.
    """

    image: Image
    boxes: Float32[np.ndarray, "n 4"]
    points: Float32[np.ndarray, "n 5 2"]
    ignored: Bool[np.ndarray, " n"]
    complete: bool


@final
@dataclass(frozen=True)
class ScenePack:
    """Pictures of one detection set.

    Attributes:
        pixels: of all pictures, memory-mapped, read-only.
        shapes: height and width of each picture.
        starts: first pixel byte of each picture.
        first_face: index of each picture's first face; one entry more than pictures.
        boxes: face boxes of all pictures.
        points: five points of all faces.
        ignored: of all faces.
        complete: of each picture.
        keys: of each picture.
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
        return SceneSample(
            image=np.asarray(self.pixels[start : start + height * width * 3]).reshape(height, width, 3),
            boxes=self.boxes[faces],
            points=self.points[faces],
            ignored=self.ignored[faces],
            complete=bool(self.complete[index]),
        )

    def scene(self, index: int) -> Scene:
        """Truth of picture ``index`` in pixels of the packed picture, boxes being face boxes."""
        sample = self.sample(index)
        return Scene(
            key=self.keys[index],
            path=Path(self.keys[index]),
            boxes=sample.boxes,
            points=sample.points,
            ignored=sample.ignored,
            labels=("",) * len(sample.boxes),
            complete=sample.complete,
            habit=BoxHabit(),
            group=self.keys[index],
        )


def load_scene_pack(
    scenes: Sequence[Scene], cache: Path, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> ScenePack:
    """Open the pack of these scenes, making it first where there is none.

    Args:
        scenes: the pictures.
        cache: folder that holds the packs.
        progress: called with (pictures done, pictures in all) while a pack is made.

    Raises:
        DataError: no scenes, or a picture cannot be read.
    """
    if not scenes:
        raise DataError("There are no pictures to pack: the split is empty")
    folder = cache / f"scenes-{_scenes_fingerprint(scenes)}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Built aside and renamed, so that a build cut off half-way leaves no pack behind.
        with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as unfinished:
            _build_scenes(scenes, Path(unfinished), progress)
            try:
                Path(unfinished).rename(folder)
            except OSError:
                if not folder.exists():
                    raise
            else:
                Path(unfinished).mkdir()
    return open_scene_pack(folder)


def open_scene_pack(folder: Path) -> ScenePack:
    """Open a pack without reading its pixels.

    Raises:
        DataError: files are missing or damaged.
    """
    try:
        keys = tuple(json.loads((folder / "pack.json").read_text())["keys"])
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        with np.load(folder / "faces.npz") as arrays:
            return ScenePack(pixels=pixels, keys=keys, **{name: arrays[name] for name in arrays.files})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: not a whole pack of scenes ({error}). Delete it to build it anew") from error


def _scenes_fingerprint(scenes: Sequence[Scene]) -> str:
    digest = hashlib.sha256(f"1|{LONG_SIDE}".encode())
    for scene in scenes:
        size = scene.path.stat().st_size if scene.path.exists() else -1
        digest.update(f"{scene.key}|{size}|{scene.complete}".encode())
        for array in (scene.face_boxes(), scene.points, scene.ignored):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _build_scenes(scenes: Sequence[Scene], folder: Path, progress: Callable[[int, int], None]) -> None:
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
    _write_array(raw, folder / "pixels.npy")
    sizes = np.array([h * w * 3 for h, w in shapes], np.int64)
    np.savez(
        folder / "faces.npz",
        shapes=np.array(shapes, np.int64),
        starts=np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        first_face=np.concatenate([[0], np.cumsum([len(s.boxes) for s in scenes])]).astype(np.int64),
        boxes=np.concatenate([s.face_boxes() * k for s, k in zip(scenes, scales, strict=True)]).astype(np.float32),
        # points are counted from pixel centres, half a pixel from the edges that scaling leaves in place
        points=np.concatenate([(s.points + 0.5) * k - 0.5 for s, k in zip(scenes, scales, strict=True)]).astype(
            np.float32
        ),
        ignored=np.concatenate([s.ignored for s in scenes]),
        complete=np.array([s.complete for s in scenes]),
    )
    (folder / "pack.json").write_text(json.dumps({"keys": [s.key for s in scenes]}))


def _write_array(raw: Path, path: Path) -> None:
    """Turn plain bytes into a file that numpy can map."""
    data = np.memmap(raw, dtype=np.uint8, mode="r")
    np.save(path, data)
    raw.unlink()
