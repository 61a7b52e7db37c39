"""Find faces that are copies of one another: the same photograph in other sizes, colours or file formats."""

from collections.abc import Iterator

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from canthus.geometry import Affine
from canthus.images import warp
from canthus.schemes import FIVE, convert
from canthus.types import Annotation, Image

SIDE = 64
ALIKE = 0.9
"""Correlation from which two aligned faces are called copies.

In the training pictures of 300-W, pairs above 0.83 are copies of one photograph in all cases but two (faces in the
same pose, looked at one by one); 0.9 leaves a margin.
"""

_FIVE_AT = np.array([[0.31, 0.37], [0.69, 0.37], [0.5, 0.59], [0.36, 0.72], [0.64, 0.72]]) * SIDE
_ROWS = 512


def signature(image: Image, face: Annotation) -> Float32[np.ndarray, " d"] | None:
    """The face turned upright, grey, without slow changes of light, as a vector of length one.

    Returns:
        None where the points do not place eyes, nose and mouth, or the face is one flat colour.
    """
    five = convert(face.points, face.scheme, FIVE).astype(np.float64)
    upright = _similarity(five, _FIVE_AT)
    if upright is None:
        return None
    grey = cv2.cvtColor(warp(image, upright, SIDE), cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = cv2.GaussianBlur(grey - cv2.GaussianBlur(grey, (0, 0), 6), (0, 0), 1)
    vector = np.asarray(detail - detail.mean(), np.float32).ravel()
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > SIDE else None


def alike(signatures: Float32[np.ndarray, "n d"], *, least: float = ALIKE) -> Iterator[tuple[int, int]]:
    """Pairs ``i < j`` of signatures that correlate by ``least`` or more."""
    for start in range(0, len(signatures), _ROWS):
        block = signatures[start : start + _ROWS] @ signatures[start:].T
        for i, j in np.argwhere(block >= least).tolist():
            if i < j:
                yield start + i, start + j


def _similarity(source: Float64[np.ndarray, "n 2"], target: Float64[np.ndarray, "n 2"]) -> Affine | None:
    """Turn, scale and shift that takes ``source`` nearest to ``target`` (least squares)."""
    if np.isnan(source).any():
        return None
    a = (source - source.mean(axis=0)) @ np.array([1, 1j])
    b = (target - target.mean(axis=0)) @ np.array([1, 1j])
    size = float((abs(a) ** 2).sum())
    if size < 1:
        return None
    turn = complex((a.conj() * b).sum() / size)
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return Affine(np.hstack([linear, (target.mean(axis=0) - linear @ source.mean(axis=0))[:, None]]))
