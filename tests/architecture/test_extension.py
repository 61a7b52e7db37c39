"""A new network, a new loss and a new dataset are one file and one line each; nothing else has to know them."""

import importlib
import io
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from rich.console import Console

from canthus.cli.tables import report_tables
from canthus.data import DATASETS, load_dataset
from canthus.data.synthetic import draw_face
from canthus.evaluation.predictions import Prediction
from canthus.evaluation.report import score
from canthus.images import write_image
from canthus.losses import LOSSES
from canthus.models import MODELS
from canthus.recipes.build import load_network
from canthus.recipes.config import load_recipe
from canthus.recipes.train import Surroundings, pack_faces, train
from contract_checks import check_landmark_set, check_loss, check_network

NETWORK = '''
"""Two strided convolutions and one linear layer."""

from torch import Tensor, nn

from canthus.models.heads import SpreadHead
from canthus.models.output import Output


class Strides(nn.Module):
    def __init__(self, *, points: int, size: int, spread: bool = False) -> None:
        super().__init__()
        self.points, self.size, self.feature_channels = points, size, 16
        self.early = nn.Sequential(nn.Conv2d(3, 16, 4, 4, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.late = nn.Sequential(nn.Conv2d(16, 64, 4, 4, bias=False), nn.BatchNorm2d(64), nn.ReLU())
        self.head = nn.Linear(64 * (size // 16) ** 2, 2 * points)
        self.spread = SpreadHead(64, points) if spread else None

    def forward(self, image: Tensor) -> Output:
        features = self.early(image)
        deep = self.late(features)
        points = self.head(deep.flatten(1)).unflatten(1, (self.points, 2))
        spread = None if self.spread is None else self.spread(deep.mean(dim=(2, 3)))
        return Output(points=points, features=features, spread=spread, deep=deep)
'''

LOSS = '''
"""Squares near the truth, distances far from it."""

from torch import Tensor


def bowl_loss(predicted: Tensor, truth: Tensor, *, width: float = 1.0) -> Tensor:
    return (((predicted - truth) ** 2 + width**2).sqrt() - width).sum(dim=2).mean(dim=1)
'''

DATASET = '''
"""Pictures with the points of each in an array of the same name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from canthus.data.datasets import Dataset, Protocol, Scan, hull_face
from canthus.errors import DataError
from canthus.schemes import IBUG_68
from canthus.types import Annotation


def scan_arrays(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    labels = sorted(root.glob("*.npy"))
    if not labels:
        raise DataError(f"{root}: no labels, expected pictures with an array of points beside each")
    faces = [
        hull_face(p.stem, p.with_suffix(".png"), np.load(p), IBUG_68, group=p.stem, subset=f"of {int(p.stem) % 3}")
        for p in labels
    ]
    return Scan(faces, [])


DATASET = Dataset(
    name="arrays",
    parts={"all": ("all",), "fit": ("all",), "validation": ("all",)},
    scan_faces=scan_arrays,
    scheme=IBUG_68.name,
    folds="all",
    protocol=Protocol("nme_longer", "longer side of the box", "side", 0.05),
    unions={"all": {"first two": ("of 0", "of 1")}},
)
'''

RECIPE = """
name = "extended"
model = "strides"
loss = "bowl"
loss_settings = { width = 2.0 }
size = 64
epochs = 1
faces_per_epoch = 8
batch_size = 8
ema_decay = 0.0

[[train]]
dataset = "arrays"
split = "fit"

[[validation]]
dataset = "arrays"
split = "validation"
"""


@pytest.fixture
def extended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three files in a package of their own, each entered into its table."""
    package = tmp_path / "extension"
    package.mkdir()
    for name, text in {"__init__": "", "network": NETWORK, "loss": LOSS, "dataset": DATASET}.items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"extension.{name}")

    monkeypatch.setitem(MODELS, "strides", module("network").Strides)
    monkeypatch.setitem(LOSSES, "bowl", module("loss").bowl_loss)
    monkeypatch.setitem(DATASETS, "arrays", module("dataset").DATASET)


def write_arrays(root: Path, faces: int = 24) -> Path:
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(faces):
        sample = draw_face(rng, size=96)
        write_image(root / f"{number:02d}.png", sample.image)
        np.save(root / f"{number:02d}.npy", sample.points)
    return root


@pytest.mark.usefixtures("extended")
def test_additions_answer_the_questions_to_the_tables(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_network(MODELS["strides"])
    check_loss(LOSSES["bowl"])
    check_landmark_set("arrays", write_arrays(tmp_path / "arrays"), tmp_path / "empty")


@pytest.mark.usefixtures("extended")
def test_a_report_follows_the_protocol_and_the_unions_of_the_dataset(tmp_path: Path) -> None:
    root = write_arrays(tmp_path / "arrays")
    found = [
        Prediction(truth, truth.points + np.float32(2), found=True, box=truth.box, overlap=1.0)
        for truth in load_dataset("arrays", root, "all")
    ]
    report = score(found, model="m", dataset="arrays", split="all", boxes="truth", protocol="truth")
    assert [row.error for row in report.rows] == [row.nme_longer for row in report.rows]
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(*report_tables(report))
    text = console.export_text()
    assert "side" in text
    assert "over the longer side of the" in text
    assert "first two" in text
    assert f"{100 * sum(row.nme_longer for row in report.rows) / len(report.rows):.3f}" in text


@pytest.mark.usefixtures("extended")
def test_a_recipe_trains_with_all_three(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    config = load_recipe(str(tmp_path / "recipe.toml"))
    roots = {"arrays": write_arrays(tmp_path / "arrays")}
    place = Surroundings(roots=roots, cache=tmp_path / "cache", out=tmp_path / "run", accelerator="cpu")
    best = train(config, place, pack_faces(config, place))
    network, read = load_network(best)
    assert type(network) is MODELS["strides"]
    assert read == config
