"""Face chips: upright square pictures of single faces, with the map from the picture to the chip."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from jaxtyping import Complex128, Float32

from canthus.errors import ConfigError
from canthus.files import STANDARD_OUTPUT, Name, check_targets, content_kind, is_ours
from canthus.geometry import Affine, crop_square
from canthus.images import align_image, write_image
from canthus.lookup import lookup
from canthus.schemes import FIVE, Scheme, conversion_matrix
from canthus.types import Face, Frame, Image

EYES = np.array([[0.35, 0.4], [0.65, 0.4]])
"""Centres of the right and the left eye in chips aligned by ``eyes``, in sides of the chip."""
FIVE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Eyes, tip of the nose and corners of the mouth in chips of 112 pixels aligned by ``five``.

These are the places that networks for face recognition are usually trained on (the 112-pixel template of ArcFace).
"""
FIVE_SIDE = 112
BOX_MARGIN = 1.3
"""Side of a chip aligned by ``box`` in longer sides of the face box."""
SUFFIXES = {"png": ".png", "jpg": ".jpg"}


def _by_eyes(face: Face, size: int) -> Affine | None:
    centres = np.stack([face.points[list(eye)].mean(axis=0) for eye in face.scheme.pupils])
    return similarity(centres, (EYES * size - 0.5).astype(np.float32))


def _by_five(face: Face, size: int) -> Affine | None:
    points = conversion_matrix(face.scheme, FIVE) @ face.points
    return similarity(points.astype(np.float32), ((FIVE_POINTS + 0.5) * size / FIVE_SIDE - 0.5).astype(np.float32))


def _by_box(face: Face, size: int) -> Affine | None:
    return Affine.crop(crop_square(face.box, BOX_MARGIN), size)


ALIGNMENTS: dict[str, Callable[[Face, int], Affine | None]] = {"eyes": _by_eyes, "five": _by_five, "box": _by_box}
"""Name -> the map from pixels of the picture to those of a chip; None for points without extent.

``eyes`` turns the face until the eyes are level, ``five`` fits five points of the face to ``FIVE_POINTS`` by least
squares, and ``box`` takes the face box as it is, not turned.
"""


def similarity(points: Float32[np.ndarray, "m 2"], places: Float32[np.ndarray, "m 2"]) -> Affine | None:
    """The map of turn, scale and shift that takes ``points`` closest to ``places``; None if there is none.

    As complex numbers, ``places = a points + b``; ``a`` is the least-squares solution (Umeyama, 1991, in the plane and
    without mirroring).
    """
    z, w = _complex(points), _complex(places)
    spread = float(np.square(np.abs(z - z.mean())).sum())
    if not (np.isfinite(spread) and spread > 0):
        return None
    a = np.vdot(z - z.mean(), w - w.mean()) / spread
    b = w.mean() - a * z.mean()
    if abs(a) < 1e-6:
        return None
    return Affine(np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]]))


def _complex(points: Float32[np.ndarray, "m 2"]) -> Complex128[np.ndarray, " m"]:
    return points[:, 0].astype(np.float64) + 1j * points[:, 1].astype(np.float64)


@final
@dataclass(frozen=True)
class Chips:
    """Where chips go, and how they are made.

    Attributes:
        folder: all chips lie below it.
        size: side of a chip in pixels.
        align: name in ``ALIGNMENTS``.
        format: ``png`` or ``jpg``.

    Raises:
        ConfigError: an unknown alignment or format, or a side below one pixel.
    """

    folder: Path
    size: int = 256
    align: str = "eyes"
    format: str = "png"

    def __post_init__(self) -> None:
        lookup(ALIGNMENTS, self.align, kind="alignment")
        lookup(SUFFIXES, self.format, kind="format of crops")
        if self.size < 1:
            raise ConfigError(f"Expected crops of at least 1 pixel, found {self.size}")

    def check(self, scheme: Scheme) -> None:
        """Refuse points that cannot be aligned, and a folder with pictures that canthus did not write.

        Raises:
            ConfigError: such points or a picture.
        """
        if self.align == "five":
            conversion_matrix(scheme, FIVE)
        if self.align == "eyes" and not scheme.pupils:
            raise ConfigError(f"The scheme {scheme.name} has no eyes to align crops by; align them by 'box'")
        for path in sorted(self.folder.rglob("*")) if self.folder.is_dir() else ():
            if content_kind(path) is not None and not is_ours(path, "picture"):
                raise ConfigError(f"--crops: {path} is not a picture that canthus wrote; choose another folder")

    def check_pictures(self, stems: Iterable[Path], others: Iterable[Name | None]) -> None:
        """Refuse files of a run over pictures that a chip could replace.

        Args:
            stems: path of the chips of each picture, which ``-0.png``, ``-1.png``, ... complete.
            others: what the run reads and writes beside the chips.

        Raises:
            ConfigError: one of them has the name of a chip.
        """
        taken = {(os.path.realpath(stem.parent), stem.name) for stem in stems}

        def is_chip(place: Path) -> bool:
            stem, _, number = place.stem.rpartition("-")
            return number.isdigit() and (str(place.parent), stem) in taken

        self._check_others(others, is_chip)

    def check_video(self, others: Iterable[Name | None]) -> None:
        """Refuse files of a run over a video that a chip, ``ID/FRAME.png`` in the folder, could replace.

        Args:
            others: what the run reads and writes beside the chips.

        Raises:
            ConfigError: one of them has the name of a chip, or is a folder of chips.
        """
        folder = Path(os.path.realpath(self.folder))
        self._check_others(
            others, lambda place: place.is_relative_to(folder) and place.relative_to(folder).parts[0].isdigit()
        )

    def _check_others(self, others: Iterable[Name | None], is_chip: Callable[[Path], bool]) -> None:
        for name in others:
            if name is None or name == STANDARD_OUTPUT:
                continue
            place = Path(os.path.realpath(name))
            if (place.suffix == SUFFIXES[self.format] or place.is_dir()) and is_chip(place):
                raise ConfigError(
                    f"--crops: {name} is read or written in this run and has the name of a crop; choose another folder"
                )

    def write(self, image: Image, frame: Frame, name: Callable[[int], Path]) -> list[dict[str, Any] | None]:
        """Write the chip of each face; return what its record tells of it.

        Args:
            image: the picture.
            frame: its faces with the model's own points.
            name: path of the chip of a face, without its suffix, from the index of the face.

        Returns:
            For each face ``file``, ``size`` and ``affine``, the 2 x 3 map from pixels of the picture to pixels of the
            chip; None for a face whose points have no extent.

        Raises:
            ConfigError: a chip would replace a file that canthus did not write.
            OutputError: a chip cannot be written.
        """
        return [self._write_one(image, face, name(index)) for index, face in enumerate(frame)]

    def _write_one(self, image: Image, face: Face, stem: Path) -> dict[str, Any] | None:
        affine = ALIGNMENTS[self.align](face, self.size)
        if affine is None:
            return None
        path = stem.with_name(stem.name + SUFFIXES[self.format])
        check_targets([], picture={"--crops": path})
        write_image(path, align_image(image, affine, self.size))
        return {"file": str(path), "size": self.size, "affine": np.round(affine.matrix, 6).tolist()}
