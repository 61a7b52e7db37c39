"""Packed crops: the faces of a dataset cut out once, memory-mapped ever after.

A pack is a folder ``crops.npy`` (uint8, ``n s s 3``), ``points.npy`` (float32, ``n k 2``, pixels of the crop)
and ``pack.json``.  Its name holds a fingerprint of everything that shaped it, so a changed annotation, size or
margin makes a new pack and a stale one is never read.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float32, UInt8

from canthus.errors import DataError
from canthus.geometry import crop_square
from canthus.images import crop_image, read_image
from canthus.schemes import Scheme, find_scheme
from canthus.types import Annotation, Sample

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
