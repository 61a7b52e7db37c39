"""Fit a cascade of ferns: explicit shape regression with two levels of boosting."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Complex64, Float32, Int16, Int64, UInt8

from canthus.errors import ConfigError
from canthus.plain_data import COUNT, NOT_NEGATIVE, POSITIVE, Range, check_ranges
from canthus.runtime.esr import EsrShapes, EsrStage, fern_cells, look


@final
@dataclass(frozen=True)
class EsrSettings:
    """Sizes of a cascade; the defaults, except ``starts``, are those of Cao et al. (2014), section 3.2.

    Attributes:
        stages: levels of the cascade; each sees the picture about the shape that the one before has found.
        ferns: ferns per stage.
        features: per fern, one bit each.
        pixels: shape-indexed pixels per stage.
        radius: largest distance of a pixel from its landmark, in distances of the pupils.
        starts: initial shapes of each training picture.  The paper has 20 per picture; here the mirror image counts as
            another picture.
        tests: initial shapes in use; the result is the median of their results.
        shrinkage: number of samples in a cell at which the cell moves the shape by half of their mean.
    """

    stages: int = 10
    ferns: int = 500
    features: int = 5
    pixels: int = 400
    radius: float = 0.3
    starts: int = 10
    tests: int = 5
    shrinkage: float = 1000.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            stages=COUNT,
            ferns=COUNT,
            features=Range(1, 12),
            pixels=Range(2, 65536),
            starts=COUNT,
            tests=COUNT,
            radius=POSITIVE,
            shrinkage=NOT_NEGATIVE,
        )


@final
@dataclass(frozen=True)
class _Samples:
    """Training samples: every picture with each of its starts."""

    pictures: UInt8[np.ndarray, "m s s"]
    owner: Int64[np.ndarray, " n"]
    truth: Complex64[np.ndarray, "n k"]


def fit_esr(
    pictures: UInt8[np.ndarray, "m s s"],
    truth: Float32[np.ndarray, "m k 2"],
    settings: EsrSettings,
    rng: np.random.Generator,
    *,
    pupils: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[EsrShapes, tuple[EsrStage, ...]]:
    """Fit all stages.

    Args:
        pictures: grey crops, see ``runtime.esr.grey``.
        truth: true points in pixels of the crops, none missing.
        pupils: mean distance of the pupils in pixels of the crops, the unit of ``settings.radius``.
        progress: called with (stages done, number of stages).

    Raises:
        ConfigError: there are fewer pictures than starts.
    """
    if len(pictures) <= max(settings.starts, settings.tests):
        raise ConfigError(f"{len(pictures)} pictures are too few for {settings.starts} starts each")
    shapes = (truth[..., 0] + 1j * truth[..., 1]).astype(np.complex64)
    mean = np.asarray(shapes.mean(axis=0), np.complex64)
    owner = np.repeat(np.arange(len(shapes)), settings.starts)
    samples = _Samples(pictures, owner, shapes[owner])
    # Another face's shape, never one's own.
    others = (owner + rng.integers(1, len(shapes), len(owner))) % len(shapes)
    moving = shapes[others]
    stages = []
    for number in range(settings.stages):
        stage, moving = _fit_stage(samples, moving, mean, settings, rng=rng, reach=settings.radius * pupils)
        stages.append(stage)
        progress(number + 1, settings.stages)
    tests = shapes[rng.choice(len(shapes), settings.tests, replace=False)]
    return EsrShapes(mean, tests), tuple(stages)


def _fit_stage(
    samples: _Samples,
    moving: Complex64[np.ndarray, "n k"],
    mean: Complex64[np.ndarray, " k"],
    settings: EsrSettings,
    *,
    rng: np.random.Generator,
    reach: float,
) -> tuple[EsrStage, Complex64[np.ndarray, "n k"]]:
    """One stage, and the shapes after it."""
    near = rng.integers(0, len(mean), settings.pixels).astype(np.int16)
    angle, length = rng.uniform(0, 2 * np.pi, settings.pixels), reach * np.sqrt(rng.random(settings.pixels))
    offsets = (length * np.exp(1j * angle)).astype(np.complex64)
    values, frame = look(samples.pictures, samples.owner, moving, near=near, offsets=offsets, mean=mean)
    wanted = (samples.truth - moving) / frame[:, None]
    # Real numbers from here on: x and y side by side.
    left = np.concatenate([wanted.real, wanted.imag], axis=1).astype(np.float32)
    before = left.copy()
    first, second, thresholds, outputs = _fit_ferns(values, left, settings, rng)
    done = before - left
    k = len(mean)
    joined = (outputs[..., :k] + 1j * outputs[..., k:]).astype(np.complex64)
    stage = EsrStage(near=near, offsets=offsets, first=first, second=second, thresholds=thresholds, outputs=joined)
    return stage, moving + frame[:, None] * (done[:, :k] + 1j * done[:, k:]).astype(np.complex64)


def _fit_ferns(
    values: Float32[np.ndarray, "n p"],
    left: Float32[np.ndarray, "n d"],
    settings: EsrSettings,
    rng: np.random.Generator,
) -> tuple[
    Int16[np.ndarray, "ferns f"],
    Int16[np.ndarray, "ferns f"],
    Float32[np.ndarray, "ferns f"],
    Float32[np.ndarray, "ferns cells d"],
]:
    """All ferns of a stage; ``left``, the remainder to be explained, is changed in place."""
    centred = values - values.mean(axis=0)
    covariance = centred.T @ centred / len(values)
    spread = np.diag(covariance)
    # Standard deviation of every difference of two pixels; infinite where a pixel is compared with its like.
    variance = spread[:, None] + spread[None] - 2 * covariance
    deviation = np.sqrt(np.where(variance > 1e-6, variance, np.inf))
    count, cells = settings.features, 1 << settings.features
    found = []
    for _ in range(settings.ferns):
        first, second = _correlated(centred, left, deviation, rng.standard_normal((left.shape[1], count)))
        differences = values[:, first] - values[:, second]
        thresholds = rng.uniform(-0.2, 0.2, count) * np.abs(differences).max(axis=0)
        cell = fern_cells(differences > thresholds.astype(np.float32))
        inside = (cell[:, None] == np.arange(cells)).astype(np.float32)
        outputs = inside.T @ left / (inside.sum(axis=0) + settings.shrinkage)[:, None]
        left -= outputs[cell]
        found.append((first, second, thresholds.astype(np.float32), outputs.astype(np.float32)))
    first, second, thresholds, outputs = (np.stack(part) for part in zip(*found, strict=True))
    return first.astype(np.int16), second.astype(np.int16), thresholds, outputs


def _correlated(
    centred: Float32[np.ndarray, "n p"],
    left: Float32[np.ndarray, "n d"],
    deviation: Float32[np.ndarray, "p p"],
    directions: np.ndarray,
) -> tuple[Int64[np.ndarray, " f"], Int64[np.ndarray, " f"]]:
    """For each direction the two pixels whose difference correlates best with the remainder along it.

    Cao et al. (2014), section 3.1.3: the correlation with a difference follows from those with both pixels.
    """
    along = left @ directions.astype(np.float32)
    with_pixel = (along - along.mean(axis=0)).T @ centred
    pairs = (with_pixel[:, :, None] - with_pixel[:, None, :]) / deviation
    best = pairs.reshape(len(pairs), -1).argmax(axis=1)
    return best // len(deviation), best % len(deviation)
