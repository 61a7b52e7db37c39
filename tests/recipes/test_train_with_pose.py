"""Training with the pose branch on drawn faces, and the recipes of the Blaze_ghost paper."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from canthus.data.synthetic import draw_face, write_synthetic_300w
from canthus.errors import ConfigError
from canthus.images import write_image
from canthus.models import create_model
from canthus.papers import PAPERS
from canthus.papers.blaze_ghost import OWN_LOSS
from canthus.pose import head_pose
from canthus.recipes.build import load_network
from canthus.recipes.config import TrainConfig, load_recipe, recipe_names, to_values
from canthus.recipes.train import Surroundings, pack_faces, refuse_other_run, train
from canthus.reproduce.run import Reporter, run_job
from canthus.reproduce.tables import table_markdown
from canthus.reproduce.values import FULL, jobs_of
from canthus.training.checkpoint import network_weights, read_checkpoint
from canthus.training.loader import CropDataset, Draw
from canthus.training.task import PoseConfig, PoseGuide

SMALL = ["epochs=2", "faces_per_epoch=32", "batch_size=8", "size=64", "model_settings={hidden=16}"]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Drawn faces as 300-W, YouTube Faces and WFLW."""
    above = tmp_path_factory.mktemp("sets")
    folders = {name: above / name for name in ("300w", "ytf", "wflw")}
    rng = np.random.default_rng(0)
    write_synthetic_300w(folders["300w"], 40, rng, size=96)
    for folder, people in (("training", 24), ("test", 4)):
        lines = []
        for person in range(people):
            sample, name = draw_face(rng, size=96), f"P{person}_Name_00.jpg"
            write_image(folders["ytf"] / folder / name, sample.image)
            lines.append(",".join([name, *(f"{v:.2f}" for v in sample.points.ravel())]))
        (folders["ytf"] / f"{folder}_frames_keypoints.csv").write_text("\n".join(lines), encoding="utf-8")
    lists = folders["wflw"] / "WFLW_annotations/list_98pt_rect_attr_train_test"
    lists.mkdir(parents=True)
    for part, count in (("train", 16), ("test", 4)):
        lines = []
        for number in range(count):
            sample, name = draw_face(rng, size=96), f"{part}_{number}.png"
            write_image(folders["wflw"] / "WFLW_images" / name, sample.image)
            points = sample.points[np.arange(98) % 68].ravel()
            lines.append(" ".join([*(f"{v:.4f}" for v in points), *"1200000000", name]))
        (lists / f"list_98pt_rect_attr_{part}.txt").write_text("\n".join(lines), encoding="utf-8")
    return folders


def run(config: TrainConfig, roots: dict[str, Path], out: Path) -> list[dict[str, float]]:
    place = Surroundings(roots=roots, cache=roots["300w"].parent / "cache", out=out, accelerator="cpu")
    train(config, place, pack_faces(config, place))
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith("blaze_ghost")])
def test_the_recipes_run_two_epochs(name: str, roots: dict[str, Path], tmp_path: Path) -> None:
    config = load_recipe(name, SMALL)
    rows = run(config, roots, tmp_path / "run")
    assert [row["epoch"] for row in rows] == [0, 1]
    assert all(np.isfinite(row["train/loss"]) and 0 < row["train/pose_error"] < 6 for row in rows)
    state = read_checkpoint(tmp_path / "run/last.ckpt")
    assert any(key.startswith("guide.branch.") for key in state["state_dict"])
    assert not any("branch" in key for key in network_weights(state)), "the branch stays behind"
    network, _ = load_network(tmp_path / "run/last.ckpt")
    assert network(torch.rand(1, 3, 64, 64)).points.shape == (1, 68, 2)


def test_rare_kinds_of_faces_weigh_more(roots: dict[str, Path], tmp_path: Path) -> None:
    changes = [*SMALL, "epochs=1", "class_weights=true"]
    config = load_recipe("blaze_ghost_wflw", changes)
    place = Surroundings(roots=roots, cache=roots["300w"].parent / "cache", out=tmp_path, accelerator="cpu")
    packs = pack_faces(config, place)
    weights = packs.train[0].face_weights
    assert weights is not None
    assert len(weights) == len(packs.train[0].pack)
    assert weights.min() >= 1
    assert len(set(weights.tolist())) > 1
    batches = CropDataset(packs.train, config.augmentation, size=64, margin=1.3, seed=0)
    assert batches.__getitems__([Draw(0, 3, 0, 0)]).weights.tolist() == [weights[3]]
    weighed = run(config, roots, tmp_path / "weighed")[0]["train/loss"]
    plain = run(load_recipe("blaze_ghost_wflw", changes[:-1]), roots, tmp_path / "plain")[0]["train/loss"]
    assert weighed > plain


def test_the_paper_runs_on_its_own_data(roots: dict[str, Path], tmp_path: Path) -> None:
    paper = PAPERS["blaze_ghost"]
    job = next(job for job in jobs_of(paper, ["table_6"], FULL) if job.entry == "blaze_ghost")
    short = replace(job, plan=replace(job.plan, changes=(*job.plan.changes, *SMALL, "epochs=1")))
    place = Surroundings(roots=roots, cache=roots["300w"].parent / "cache", out=tmp_path, accelerator="cpu")
    made = run_job(short, place, measure=paper.measure, scale=paper.scales[FULL], tell=Reporter())
    assert made.metrics["wflw/test:faces"] == 4
    text = table_markdown(paper, "table_6", paper.scales[FULL], {"blaze_ghost": [made.metrics]})
    assert f"0.056 / {made.metrics['wflw/test:nme_ion']:.4f}" in text


def test_the_recipes_say_what_the_paper_prints() -> None:
    """Yu et al. (2023), section 4.2."""
    config = load_recipe("blaze_ghost_wflw")
    assert (config.batch_size, config.epochs, config.size) == (16, 100, 112)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adadelta", 1.0)
    assert config.optimizer.settings == {"rho": 0.95, "eps": 1e-6}
    assert (config.loss, config.conversion, config.pose.branch) == ("huber_wing", "chord", True)


@pytest.mark.parametrize(
    "changes",
    [
        ["model=blaze_landmark"],
        ["model=resnet50", "model_settings={width=8}"],
        ["model=pfld", "model_settings={width=0.25}", "pose.face_weights=as_printed", "pose.loss_weight=0"],
        ["optimizer.name=sgd", "optimizer.learning_rate=0.001", "optimizer.settings={momentum=0.9}", "loss=wing",
         "loss_settings={}", "pose.branch=false"],
        ["model=pfld", "model_settings={width=0.25}", *OWN_LOSS],
        ["model_settings={mean_norm=true,dead_layer=true}", "loss_unit=sides"],
    ],
)  # fmt: skip
def test_the_cells_of_the_tables_run(changes: Sequence[str], roots: dict[str, Path], tmp_path: Path) -> None:
    config = load_recipe("blaze_ghost_68", [*SMALL, "epochs=1", *changes])
    rows = run(config, roots, tmp_path)
    assert np.isfinite(rows[0]["train/loss"])
    assert ("train/pose_error" in rows[0]) == config.pose.branch


def test_batches_carry_the_pose_after_augmentation(roots: dict[str, Path], tmp_path: Path) -> None:
    config = load_recipe("blaze_ghost_68", SMALL)
    packs = pack_faces(config, Surroundings(roots=roots, cache=tmp_path, out=tmp_path / "run"))
    sources = list(packs.train)
    draws = [Draw(0, face, epoch=0, number=face) for face in range(12)]
    with_pose, without = (
        CropDataset(sources, config.augmentation, size=64, margin=1.3, seed=0, angles=a).__getitems__(draws)
        for a in (True, False)
    )
    torch.testing.assert_close(with_pose.points, without.points)
    assert without.angles.shape == (12, 0)
    np.testing.assert_allclose(with_pose.angles.numpy(), head_pose(with_pose.points.numpy()).angles, atol=1e-3)
    assert with_pose.angles[:, 2].std() > 0.15, "the rotation of the augmentation is in the roll"


def test_the_guide_teaches_the_branch_and_the_backbone() -> None:
    torch.manual_seed(0)
    network = create_model("blaze_ghost", points=68, size=64, settings={"hidden": 16})
    guide = PoseGuide(network, size=64, config=PoseConfig(branch=True))
    output = network(torch.rand(4, 3, 64, 64))
    loss, error = guide(output.features, output.points.sum(dim=(1, 2)) * 0 + 1, torch.rand(4, 3))
    torch.autograd.backward(loss)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in guide.parameters())
    first = network.get_parameter("stem.1.0.weight").grad
    assert first is not None
    assert first.abs().sum() > 0
    assert float(loss.detach()) == pytest.approx(1 + 2 * float(error), rel=1e-4)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (PoseConfig(branch=True, face_weights="one_pls"), "Did you mean 'one_plus'"),
        (PoseConfig(branch=True, face_weights="none", loss_weight=0.0), "nothing trains it"),
    ],
)
def test_settings_without_meaning_are_refused(config: PoseConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PoseGuide(create_model("pfld", points=68, size=64, settings={"width": 0.25}), size=64, config=config)


def test_a_network_without_features_is_refused() -> None:
    with pytest.raises(ConfigError, match="Linear has no feature map"):
        PoseGuide(torch.nn.Linear(2, 2), size=64, config=PoseConfig(branch=True))


def test_a_run_starts_from_a_weight_file(roots: dict[str, Path], tmp_path: Path) -> None:
    source = create_model("blaze_ghost", points=68, size=64, settings={"hidden": 16})
    torch.save(source.state_dict(), tmp_path / "start.pth")
    changes = [*SMALL, "epochs=1", "optimizer.learning_rate=0.0", f"init='{tmp_path / 'start.pth'}'"]
    run(load_recipe("blaze_ghost_68", changes), roots, tmp_path / "run")
    kept = network_weights(read_checkpoint(tmp_path / "run/last.ckpt"))
    torch.testing.assert_close(kept["head.weight"], source.get_parameter("head.weight"), atol=1e-6, rtol=0)


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Settings that came later count as their defaults."""
    config = load_recipe("pfld_68_base")
    values = json.loads(json.dumps(to_values(config)))
    for later in ("pose", "init", "conversion"):
        del values[later]
    (tmp_path / "config.json").write_text(json.dumps(values))
    refuse_other_run(config, tmp_path)
    with pytest.raises(ConfigError, match=r"other settings \(pose\)"):
        refuse_other_run(load_recipe("pfld_68_base", ["pose.branch=true"]), tmp_path)
