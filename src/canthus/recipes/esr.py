"""Fit a cascade of ferns by a recipe."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from canthus.data import LANDMARK_SETS, load_dataset
from canthus.data.packs import CropPack, load_crops
from canthus.data.transforms import View, augment, plain_view, random_flip
from canthus.errors import ConfigError, DataError
from canthus.evaluation.errors import inter_ocular, inter_pupil, normalized_error
from canthus.lookup import lookup
from canthus.recipes.config import FitConfig, TrainSource, ValidationSource
from canthus.runtime.cards import ModelCard
from canthus.runtime.esr import EsrModel, grey
from canthus.schemes import find_scheme
from canthus.training.esr import fit_esr

Progress = Callable[[str, int, int], None]

RESEARCH_TERMS = "research use only: fitted on research datasets with non-commercial terms ({names})"


def fit_cascade(
    config: FitConfig,
    roots: Mapping[str, Path],
    cache: Path,
    *,
    licence: str | None = None,
    progress: Progress = lambda what, done, total: None,
) -> EsrModel:
    """Fit, and score on the validation sets.

    Args:
        config: the recipe.
        roots: folder of each dataset, by name.
        cache: folder of the packed crops.
        licence: terms of the model; unless given, research terms naming the sets.
        progress: called with (what, done, total).

    Raises:
        ConfigError: unknown names, a dataset without a folder, or sizes that do not work.
        DataError: a dataset is not there or damaged, or a face to learn from lacks points.
    """
    if config.augmentation.flip:
        raise ConfigError("A cascade sees every picture and its mirror image; leave augmentation.flip at 0")
    rng = np.random.default_rng(config.seed)
    packs = [_pack(source, config, roots, cache, progress) for source in config.train]
    pictures, truth = _material(packs, config, rng)
    scheme = find_scheme(config.scheme)
    shapes, stages = fit_esr(
        pictures,
        truth,
        config.cascade,
        rng,
        pupils=float(inter_pupil(truth, scheme).mean()),
        progress=lambda done, total: progress("fitting stages", done, total),
    )
    card = _card(config, licence)
    metrics = {}
    for held in config.validation:
        pack = _pack(held, config, roots, cache, progress)
        metrics[f"{held.name}/nme_ion"] = _error(EsrModel(card, shapes, stages), pack, config)
    return EsrModel(replace(card, metrics=metrics), shapes, stages)


def _card(config: FitConfig, licence: str | None) -> ModelCard:
    names = tuple(dict.fromkeys(source.dataset for source in config.train))
    return ModelCard(
        name=config.name,
        architecture="esr",
        scheme=config.scheme,
        size=config.size,
        margin=config.margin,
        training_data=names,
        licence=licence or RESEARCH_TERMS.format(names=", ".join(names)),
        recipe=config.name,
    )


def _material(
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
        raise DataError("A cascade learns from faces of which all points are known; some lack points")
    return np.stack(pictures), truth


def _error(model: EsrModel, pack: CropPack, config: FitConfig) -> float:
    view = View(size=config.size, margin=config.margin, pack_margin=pack.margin)
    samples = [plain_view(pack.sample(index), view) for index in range(len(pack))]
    truth = np.stack([sample.points for sample in samples])
    found = model.answer(np.stack([sample.image for sample in samples])).points
    return round(float(normalized_error(found, truth, inter_ocular(truth, pack.scheme)).mean()), 6)


def _pack(
    source: TrainSource | ValidationSource,
    config: FitConfig,
    roots: Mapping[str, Path],
    cache: Path,
    progress: Progress,
) -> CropPack:
    lookup(LANDMARK_SETS, source.dataset, kind="dataset")
    if source.dataset not in roots:
        raise ConfigError(f"The recipe needs the dataset {source.dataset!r}; say where it is with --data or --root")
    faces = load_dataset(source.dataset, roots[source.dataset], source.split, scheme=config.scheme)
    what = f"{source.dataset}/{source.split}"
    return load_crops(faces, cache, progress=lambda done, total: progress(what, done, total))
