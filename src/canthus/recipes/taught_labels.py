"""Labels of a training set mixed with the points of trained networks, as self-training and label distillation do.

The teacher is a checkpoint, an exported model, also an embedded one by its name, or a file of predictions, which any
network or committee can have made.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from canthus.data.packs import CropPack
from canthus.data.transforms import View, plain_view, view_affine
from canthus.errors import ConfigError
from canthus.evaluation.predictions import parse_predictions, read_json_list
from canthus.files import written
from canthus.geometry import Affine, crop_square, pixels_to_unit, unit_to_pixels
from canthus.models.output import Output
from canthus.recipes.build import load_network
from canthus.recipes.config import Progress, TrainConfig, TrainSource
from canthus.runtime.cards import ModelCard
from canthus.runtime.sessions import LandmarkSession
from canthus.schemes import Scheme
from canthus.training.checkpoint import file_digest
from canthus.training.task import network_input
from canthus.types import Annotation
from canthus.zoo import embedded_models

_BATCH = 128


def teacher_file(teacher: str) -> Path:
    """File that the setting ``teacher`` of a training set names: an embedded model, or a path."""
    return embedded_models().get(teacher, Path(teacher))


def taught(
    source: TrainSource,
    pack: CropPack,
    faces: Callable[[], Sequence[Annotation]],
    *,
    cache: Path,
    progress: Progress,
) -> CropPack:
    """The pack with labels that are partly the points of the source's teacher; unknown points stay unknown.

    Args:
        faces: gives the faces of the pack, which a file of predictions needs.
        cache: folder in which the points of a teacher for a pack are kept.

    Raises:
        ConfigError: there is no such file, it lacks a face, or its points are numbered in another way.
        DataError: a file of predictions is damaged.
        ModelFileError: not a checkpoint.
    """
    if not source.teacher:
        return pack
    path = teacher_file(source.teacher)
    if not path.is_file():
        raise ConfigError(
            f"{source.name} has teacher = '{path}', and there is no such checkpoint, model or file of predictions. "
            "Make it first, name another with --set train.0.teacher=FILE, or take the labels as they are with --set "
            "train.0.teacher="
        )
    key = hashlib.sha256(f"{file_digest(path)}|{pack.content}|{len(pack)}".encode()).hexdigest()
    kept = cache / f"taught-{key[:16]}.npy"
    if pack.content and kept.is_file():
        points = np.load(kept)
    else:
        told = functools.partial(progress, f"points of the teacher for {source.name}")
        points = _predicted(path, pack, faces()) if path.suffix == ".json" else _points_of(path, pack, told)
        if pack.content:
            cache.mkdir(parents=True, exist_ok=True)
            with written(kept) as aside, aside.open("wb") as stream:
                np.save(stream, points)
    share = np.float32(source.teacher_share)
    return replace(pack, points=pack.points + share * (points - pack.points))


def _predicted(path: Path, pack: CropPack, faces: Sequence[Annotation]) -> Float32[np.ndarray, "n k 2"]:
    """Points of a file of predictions, in pixels of the packed crops; the labels where a face was missed."""
    entries = read_json_list(path)
    if (scheme := str(entries[0].get("scheme", pack.scheme.name))) != pack.scheme.name:
        raise ConfigError(
            f"{path} has points of {scheme}, the labels those of {pack.scheme.name}; choose another teacher"
        )
    found = {one.truth.key: one for one in parse_predictions(entries, pack.scheme, root=Path(), source=str(path))}
    missing = [face.key for face in faces if face.key not in found]
    if missing:
        raise ConfigError(
            f"{path} has no prediction for {len(missing)} of {len(faces)} faces, such as {missing[0]}; make it of the "
            "split that is trained on, as 'canthus evaluate --out DIR' does"
        )
    points = np.array(pack.points)
    for number, face in enumerate(faces):
        if (one := found[face.key]).found:
            crop = Affine.crop(crop_square(face.box, pack.margin), pack.images.shape[1])
            points[number] = crop.apply(one.points)
    return points


def _points_of(path: Path, pack: CropPack, progress: Callable[[int, int], None]) -> Float32[np.ndarray, "n k 2"]:
    network, made = _exported(path) if path.suffix == ".onnx" else load_network(path)
    if not isinstance(made, ModelCard | TrainConfig) or not made.find_scheme().is_numbered_as(pack.scheme):
        raise ConfigError(
            f"The teacher {path} has points of {getattr(made, 'scheme', 'a face detector')}, the labels those of "
            f"{pack.scheme.name}; choose another teacher"
        )
    view = View(size=made.size, margin=made.margin, pack_margin=pack.margin)
    return teacher_points(network, pack, view, progress=progress)


def _exported(path: Path) -> tuple[nn.Module, ModelCard]:
    session = LandmarkSession.open(path)
    return _Exported(session), session.card


@final
class _Exported(nn.Module):
    """An exported model in the place of a network."""

    def __init__(self, session: LandmarkSession) -> None:
        super().__init__()
        self._session = session

    def forward(self, image: Tensor) -> Output:
        crops = (image.permute(0, 2, 3, 1) * 255).round().byte().cpu().numpy()
        points = pixels_to_unit(self._session(crops), self._session.card.size)
        return Output(torch.from_numpy(points).to(image.device))


def teacher_points(
    network: nn.Module, pack: CropPack, view: View, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> Float32[np.ndarray, "n k 2"]:
    """Points of a network for the faces of a pack, in pixels of the packed crops.

    They are the mean of those in the crop, without augmentation, and in its mirror image.  An accelerator is used
    where there is one.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.eval().to(device)
    found: list[np.ndarray] = []
    loader: DataLoader[Any] = DataLoader(_Crops(pack, view), batch_size=_BATCH)
    with torch.no_grad():
        for images in loader:
            unit = mean_of_mirrored(network, network_input(images.to(device)), pack.scheme)
            found.append(unit.cpu().numpy())
            progress(min(len(found) * _BATCH, len(pack)), len(pack))
    back = view_affine(view, pack.images.shape[1]).inverse()
    return back.apply(unit_to_pixels(np.concatenate(found), view.size))


def mean_of_mirrored(network: Callable[[Tensor], Any], images: Tensor, scheme: Scheme) -> Tensor:
    """Mean of the points in pictures ``(n, 3, s, s)`` and in their mirror images: ``(n, k, 2)`` in the unit frame."""
    plain: Tensor = network(images).points.float()
    mirrored: Tensor = network(images.flip(3)).points.float()[:, list(scheme.mirror)]
    return (plain + torch.stack([1 - mirrored[..., 0], mirrored[..., 1]], dim=-1)) / 2


@final
class _Crops(Dataset[Tensor]):
    """Crops of a pack as inference cuts them, uint8 ``(s, s, 3)``."""

    def __init__(self, pack: CropPack, view: View) -> None:
        self._pack, self._view = pack, view

    def __len__(self) -> int:
        return len(self._pack)

    def __getitem__(self, face: int) -> Tensor:
        return torch.from_numpy(plain_view(self._pack.sample(face), self._view).image)
