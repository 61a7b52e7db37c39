"""Labels that are mixed with the points of a teacher: of a trained network, or of a file of predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from canthus.data import load_dataset
from canthus.data.packs import PACK_MARGIN, CropPack
from canthus.data.synthetic import write_synthetic_300w
from canthus.data.transforms import View, plain_view, random_flip, view_affine
from canthus.errors import ConfigError, ModelFileError
from canthus.evaluation.predictions import Prediction, write_predictions
from canthus.geometry import Affine, unit_to_pixels
from canthus.recipes.build import load_network
from canthus.recipes.config import TrainConfig, load_any_recipe, load_fit, load_recipe
from canthus.recipes.export import export
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.runtime.cards import DETECTOR
from canthus.runtime.sessions import find_model
from canthus.training.task import network_input
from canthus.zoo import DEFAULT

TINY = (
    "epochs=1", "faces_per_epoch=32", "batch_size=16", "size=64", "init=", "model_settings={width=0.25}",
    "ema_decay=0.0", "precision=32-true", 'train=[{dataset="300w",split="fit"}]',
    'validation=[{dataset="300w",split="validation"}]',
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    faces = tmp_path_factory.mktemp("300w")
    write_synthetic_300w(faces, 60, np.random.default_rng(0))
    out = tmp_path_factory.mktemp("run") / "teacher"
    return Surroundings(roots={"300w": faces}, cache=faces / "cache", out=out, accelerator="cpu")


@pytest.fixture(scope="module")
def teacher(place: Surroundings) -> Path:
    config = load_recipe("pfld_68", TINY)
    return train(config, place, pack_faces(config, place))


def labels(place: Surroundings, *changes: str) -> CropPack:
    found = pack_faces(load_recipe("pfld_68", (*TINY, *changes)), place).train[0].pack
    assert isinstance(found, CropPack)
    return found


def test_a_teacher_changes_the_labels_by_its_share(place: Surroundings, teacher: Path, tmp_path: Path) -> None:
    def points(share: float, *more: str) -> np.ndarray:
        return labels(place, f"train.0.teacher={teacher}", f"train.0.teacher_share={share}", *more).points

    plain = labels(place)
    truth, taught, half = plain.points, points(1.0), points(0.5)
    np.testing.assert_array_equal(points(0.0), truth)
    np.testing.assert_allclose(half, (truth + taught) / 2, atol=1e-3)
    np.testing.assert_array_equal(points(1.0, "size=80"), taught)  # the teacher keeps its own input
    network, config = load_network(teacher)
    assert isinstance(config, TrainConfig)
    view = View(size=config.size, margin=config.margin, pack_margin=PACK_MARGIN)
    face = plain.sample(3)
    image = torch.from_numpy(plain_view(face, view).image)[None]
    mirrored = torch.from_numpy(plain_view(random_flip(face, np.random.default_rng(0), chance=1), view).image)[None]
    with torch.no_grad():
        a, b = (network(network_input(each)).points[0].numpy() for each in (image, mirrored))
    back = Affine.flip(config.size).apply(unit_to_pixels(b, config.size))[list(face.scheme.mirror)]
    seen = view_affine(view, len(face.image)).apply(taught[3])
    np.testing.assert_allclose(seen, (unit_to_pixels(a, config.size) + back) / 2, atol=0.3)  # edges differ by a pixel
    config = load_recipe("pfld_68", (*TINY, f"train.0.teacher={teacher}"))
    there = Surroundings(roots=place.roots, cache=place.cache, out=tmp_path / "trained", accelerator="cpu")
    train(config, there, pack_faces(config, there))
    assert json.loads((tmp_path / "trained" / "data.json").read_text())[str(teacher)]


def test_an_exported_model_teaches_what_its_checkpoint_teaches(
    place: Surroundings, teacher: Path, tmp_path: Path
) -> None:
    export(teacher, tmp_path / "m.onnx", roots={}, cache=place.cache)
    files = teacher, tmp_path / "m.onnx"
    found = [labels(place, f"train.0.teacher={path}", "train.0.teacher_share=1.0") for path in files]
    np.testing.assert_allclose(found[1].points, found[0].points, atol=0.05)
    embedded = labels(place, f"train.0.teacher={DEFAULT}", "train.0.teacher_share=1.0")
    assert np.abs(embedded.points - labels(place).points).max() > 1
    with pytest.raises(ModelFileError, match="is a face detector"):
        labels(place, f"train.0.teacher={find_model('face_detector', kind=DETECTOR)}")


def test_a_teacher_that_is_missing_or_not_asked_for_is_named(place: Surroundings) -> None:
    with pytest.raises(ConfigError, match=r"teacher = 'gone.ckpt', and there is no such checkpoint, model or file"):
        labels(place, "train.0.teacher=gone.ckpt")
    for name, load in (("face_detector", load_any_recipe), ("esr_68", load_fit)):
        with pytest.raises(ConfigError, match="learns from labels as they are"):
            load(name, ["train.0.teacher=gone.ckpt"])


def test_a_file_of_predictions_is_a_teacher(place: Surroundings, tmp_path: Path) -> None:
    truths = load_dataset("300w", place.roots["300w"], "fit")
    moved = [
        Prediction(truth, truth.points + 0.1 * (truth.box[2] - truth.box[0]), True, truth.box, 1.0) for truth in truths
    ]
    moved[0] = Prediction.missed(truths[0])
    path = tmp_path / "predictions.json"
    write_predictions(path, moved, boxes="truth")

    plain, taught = labels(place), labels(place, f"train.0.teacher={path}", "train.0.teacher_share=1.0")
    np.testing.assert_array_equal(taught.points[0], plain.points[0])
    for number in (1, len(truths) - 1):
        x1, y1, x2, y2 = truths[number].box
        expected = 0.1 * (x2 - x1) * plain.images.shape[1] / (plain.margin * max(x2 - x1, y2 - y1))
        np.testing.assert_allclose(taught.points[number] - plain.points[number], expected, atol=0.01)
    write_predictions(path, moved[:-2], boxes="truth")
    with pytest.raises(ConfigError, match=f"has no prediction for 2 of {len(truths)} faces, such as {truths[-2].key}"):
        labels(place, f"train.0.teacher={path}")
    path.write_text(path.read_text().replace("ibug_68", "wflw_98"))
    with pytest.raises(ConfigError, match="has points of wflw_98, the labels those of ibug_68"):
        labels(place, f"train.0.teacher={path}")
