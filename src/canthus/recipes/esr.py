"""Fit a cascade of ferns by a recipe."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from canthus.data import load_dataset
from canthus.data.packs import CropPack, load_crops
from canthus.data.transforms import View, augment, random_flip
from canthus.errors import ConfigError, DataError
from canthus.evaluation.errors import inter_pupil
from canthus.recipes.adapt import adapted
from canthus.recipes.config import FitConfig, Progress, TrainSource, ValidationSource, dataset_root
from canthus.recipes.held_out import crop_held_out
from canthus.runtime.cards import ModelCard
from canthus.runtime.esr import EsrModel, grey
from canthus.schemes import own_scheme
from canthus.training.esr import fit_esr
from canthus.types import Annotation

USUAL_PUPILS = 0.42
"""Mean distance of the pupils over the longer side of the face box, of the 1,810 faces of ``300w/fit``."""
RESEARCH_TERMS = "research use only: fitted on research datasets with non-commercial terms ({names})"


def fit_cascade(
    config: FitConfig,
    roots: Mapping[str, Path],
    cache: Path,
    *,
    licence: str | None = None,
    progress: Progress = lambda what, done, total: None,
) -> EsrModel:
    """Fit a cascade and measure its error on the validation sets.

    Args:
        roots: folder of each dataset, by name.
        licence: terms of the model; by default research terms that name the training sets.

    Raises:
        ConfigError: unknown names, a dataset without a folder, or sizes that do not work.
        DataError: a dataset is missing or damaged, or a training face lacks points.
    """
    if config.augmentation.flip:
        raise ConfigError("A cascade sees every picture and its mirror image; leave augmentation.flip at 0")
    rng = np.random.default_rng(config.seed)
    packs = [
        load_crops(_faces(source, config, roots), cache, progress=functools.partial(progress, source.name))
        for source in config.train
    ]
    pictures, truth = _training_pictures(packs, config, rng)
    shapes, stages = fit_esr(
        pictures,
        truth,
        config.cascade,
        rng,
        pupils=_pupils(truth, config),
        progress=functools.partial(progress, "fitting stages"),
    )
    names = tuple(dict.fromkeys(source.dataset for source in config.train))
    card = ModelCard(
        name=config.name,
        architecture="esr",
        scheme=config.scheme,
        own_scheme=own_scheme(config.find_scheme()),
        size=config.size,
        margin=config.margin,
        training_data=names,
        licence=licence or RESEARCH_TERMS.format(names=", ".join(names)),
        recipe=config.name,
    )
    model = EsrModel(card, shapes, stages)
    metrics = {}
    for source in config.validation:
        held = crop_held_out(
            source.name, _faces(source, config, roots), cache, size=config.size, margin=config.margin, progress=progress
        )
        metrics[held.metric] = round(held.error(model.answer(held.crops).points), 6)
    return EsrModel(replace(card, metrics=metrics), shapes, stages)


def _pupils(truth: Float32[np.ndarray, "m k 2"], config: FitConfig) -> float:
    """Mean distance of the pupils in pixels of the crops; for a scheme without pupils, its usual share of the box."""
    if not config.find_scheme().pupils:
        return USUAL_PUPILS * config.size / config.margin
    return float(inter_pupil(truth, config.find_scheme()).mean())


def _training_pictures(
    packs: Sequence[CropPack], config: FitConfig, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "m s s"], Float32[np.ndarray, "m k 2"]]:
    """Every face and its mirror image, augmented once each, as grey crops with their points."""
    pictures, points = [], []
    for pack in packs:
        view = View(size=config.size, margin=config.margin, pack_margin=pack.margin)
        for index in range(len(pack)):
            for flip in (0.0, 1.0):
                mirrored = random_flip(pack.sample(index), rng, chance=flip)
                sample = augment(mirrored, rng, config.augmentation, view)
                pictures.append(grey(sample.image))
                points.append(sample.points)
    truth = np.stack(points)
    if not np.isfinite(truth).all():
        raise DataError("A cascade needs every point of every training face, but some faces lack points")
    return np.stack(pictures), truth


def _faces(source: TrainSource | ValidationSource, config: FitConfig, roots: Mapping[str, Path]) -> list[Annotation]:
    root = dataset_root(roots, source.dataset)
    return adapted(load_dataset(source.dataset, root, source.split, scheme=config.find_scheme()), source.adapt)
