"""Points of one's own from labels to a running model, and the tutorial's commands, on drawn faces."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import canthus
from canthus.compression.prune import PruneSettings
from canthus.data import check_dataset, load_dataset
from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError
from canthus.geometry import hull_box
from canthus.images import read_image, write_image
from canthus.recipes.build import load_network, start_network
from canthus.recipes.config import TrainConfig, load_recipe
from canthus.recipes.export import export
from canthus.recipes.prune import PruneRun, prune, pruning_config
from canthus.recipes.quantize import QuantizeSettings, quantize
from canthus.recipes.quantize_report import QuantizeReport
from canthus.recipes.train import Surroundings, pack_faces, train
from canthus.runtime.draw import draw_frame
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.pipeline import Pipeline
from canthus.runtime.sessions import LandmarkSession
from canthus.runtime.tracker import Tracker
from canthus.scheme_files import FILE, scheme_toml
from canthus.schemes import IBUG_68, SCHEMES, FaceBox, Scheme
from canthus.types import Faces
from command import run_command

DOC = Path(__file__).parents[2] / "docs" / "own_points.md"
TWELVE = (36, 39, 42, 45, 30, 31, 35, 48, 54, 51, 57, 8)
OF_68: dict[str, tuple[int, ...]] = {
    "twelve": TWELVE,
    "seven": (27, 30, 33, 48, 54, 51, 57),
    "four": (48, 54, 51, 57),
    "one": (30,),
    "five_own": (36, 45, 30, 48, 54),
    "most": (*range(68), *range(31), 33, 36, 39, 42, 45, 51, 57),
}
"""Scheme -> which of the 68 points it has; ``most`` has 106, of which 38 stand twice."""
RECIPE = """
name = "mine"
model = "pfld"
model_settings = { width = 0.125 }
scheme = "scheme.toml"
size = 32
epochs = 1
faces_per_epoch = 16
batch_size = 16
ema_decay = 0.0

[[train]]
dataset = "folder"
split = "fit"

[[validation]]
dataset = "folder"
split = "validation"

[augmentation]
flip = 0.5
cover = 1.0
"""


def own_scheme_of(name: str) -> Scheme:
    """The scheme of some of the 68 points: their mirror order, and their groups in one or two parts."""
    indices = OF_68[name]
    place = {point: number for number, point in enumerate(indices[:68])}
    again = {point: number for number, point in enumerate(indices[68:], start=68)}
    mirror = [place[IBUG_68.mirror[p]] for p in indices[:68]] + [again[IBUG_68.mirror[p]] for p in indices[68:]]
    corners = tuple(place[c] for c in IBUG_68.eye_corners) if {36, 45} <= place.keys() else ()
    groups = {g: tuple(i for i, p in enumerate(indices) if p in of) for g, of in IBUG_68.groups.items()}
    groups = {group: members for group, members in groups.items() if members}
    return Scheme(name, len(indices), tuple(mirror), groups, eye_corners=corners)


def write_faces(folder: Path, indices: tuple[int, ...], *, count: int = 40, size: int = 96, boxes: bool = True) -> Path:
    """Drawn faces and some of their points."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    labels = []
    for number in range(count):
        sample = draw_face(rng, size=size)
        write_image(folder / f"{number:02d}.png", sample.image)
        label = {"image": f"{number:02d}.png", "points": sample.points[list(indices)].tolist()}
        labels.append(label | ({"box": hull_box(sample.points).tolist()} if boxes else {}))
    (folder / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    return folder


def trained(folder: Path, *changes: str) -> tuple[Path, TrainConfig, Surroundings]:
    (folder / "mine.toml").write_text(RECIPE, encoding="utf-8")
    config = load_recipe(str(folder / "mine.toml"), changes)
    place = Surroundings(
        roots={"folder": folder}, cache=folder.parent / "cache", out=folder.parent / "run", accelerator="cpu"
    )
    return train(config, place, pack_faces(config, place)), config, place


@pytest.mark.parametrize("name", OF_68)
def test_any_number_of_points_goes_all_the_way(name: str, tmp_path: Path) -> None:
    scheme = own_scheme_of(name)
    folder = write_faces(tmp_path / "faces", OF_68[name])
    (folder / FILE).write_text(scheme_toml(scheme), encoding="utf-8")
    report = check_dataset("folder", folder)
    assert report.clean, report.problems
    best, config, place = trained(folder)
    assert config.own_scheme == scheme
    made = export(best, tmp_path / "mine.onnx", roots=place.roots, cache=place.cache)
    metric = "folder/validation/nme_ion" if scheme.eye_corners else "folder/validation/nme_longer"
    assert set(made.metrics) == {metric}
    (folder / FILE).unlink()  # the file of the model knows its points

    session = LandmarkSession.open(tmp_path / "mine.onnx")
    assert session.scheme == scheme
    assert session.card.own_scheme == scheme
    found = canthus.evaluate(tmp_path / "mine.onnx", "folder", folder, split="validation")
    assert found.scale == ("" if scheme.eye_corners else "longer")
    assert np.mean([row.error for row in found]) == pytest.approx(made.metrics[metric], rel=0.05)
    settings = QuantizeSettings("folder/fit", "folder/validation", crops=8, force=True)
    int8 = quantize(tmp_path / "mine.onnx", tmp_path / "int8.onnx", settings, roots=place.roots, cache=place.cache)
    assert isinstance(int8, QuantizeReport)
    assert int8.metric == metric
    assert LandmarkSession.open(int8.path).scheme == scheme

    image = read_image(folder / "00.png")
    box = load_dataset("folder", folder, "all", scheme=scheme)[0].box
    pipeline = Pipeline(lambda _: Faces(box[None], np.ones(1, np.float32)), Landmarker(session))
    frame = pipeline(image)
    assert frame[0].to_dict()["scheme"] == name
    assert (draw_frame(image, frame) != image).any()
    tracker = Tracker(pipeline)
    followed = [tracker(image, step / 25) for step in range(3)]
    assert {len(frame) for frame in followed} <= {0, 1}  # after one epoch the points need not look like a face


def test_a_network_of_own_points_is_pruned_and_trained_on(tmp_path: Path) -> None:
    scheme = replace(own_scheme_of("twelve"), face_box=FaceBox(shift=(0.0, -0.1), size=(1.2, 1.2)))
    folder = write_faces(tmp_path / "faces", TWELVE)
    (folder / FILE).write_text(scheme_toml(scheme), encoding="utf-8")
    best, config, place = trained(folder)
    keep = tuple(f"stage_8.{n}.layers.{m}" for n in range(7) for m in ("0.0", "2"))
    run = PruneRun(PruneSettings(0.5, keep=keep), images=4, layer_epochs=0)
    place = replace(place, out=tmp_path / "pruned")
    pruned = prune(best, pruning_config(best, run), place, pack_faces(config, place), run)
    assert pruned.parameters < pruned.parameters_before
    export(pruned.checkpoint, tmp_path / "pruned.onnx", roots={}, cache=place.cache)
    assert LandmarkSession.open(tmp_path / "pruned.onnx").scheme == scheme

    other = own_scheme_of("seven")
    (folder / "seven.toml").write_text(scheme_toml(other), encoding="utf-8")
    said: list[str] = []
    start = load_recipe(str(folder / "mine.toml"), [f"init={best}", f"scheme={folder / 'seven.toml'}"])
    network = start_network(start, report=lambda taken: said.append(str(taken)))
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes["head.bias"] == (14,)
    assert "of another shape, so random at the start: head.weight" in said[0]
    before, _ = load_network(best)
    first = next(key for key in shapes if key.startswith("stem."))
    assert (network.state_dict()[first] == before.state_dict()[first]).all()


def test_changed_schemes_are_not_mixed_up(tmp_path: Path) -> None:
    scheme = own_scheme_of("twelve")
    folder = write_faces(tmp_path / "faces", TWELVE, count=24)
    (folder / FILE).write_text(scheme_toml(scheme), encoding="utf-8")
    trained(folder)
    other = replace(scheme, mirror=(*scheme.mirror[:7], 7, 8, *scheme.mirror[9:]))
    (folder / FILE).write_text(scheme_toml(other), encoding="utf-8")
    with pytest.raises(ConfigError, match="other settings"):
        trained(folder)
    (tmp_path / "first.toml").write_text(scheme_toml(scheme), encoding="utf-8")
    with pytest.raises(ConfigError, match="another name, number or mirror order; remove or correct one"):
        check_dataset("folder", folder, scheme=str(tmp_path / "first.toml"))
    with pytest.raises(ConfigError, match="has twelve points, the recipe wants ibug_68.*the path of their scheme file"):
        trained(folder, "scheme=ibug_68")
    with pytest.raises(ConfigError, match="No conversion from twelve.*Head pose"):
        trained(folder, "pose.branch=true")


def commands() -> list[list[str]]:
    """The commands of the tutorial's shell blocks."""
    text = re.sub(r"<!-- not run: [^>]*-->\s*```sh\n.*?```", "", DOC.read_text(encoding="utf-8"), flags=re.DOTALL)
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("canthus ")]


QUICK = {
    "train": ["--set", "epochs=1", "--set", "faces_per_epoch=32", "--set", "name=mine"],
    "quantize": ["--force"],
    "benchmark": ["--repeats", "2"],
}
"""Options that make the tutorial's commands quick."""


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    make_video = pytest.importorskip("videos").make_video
    steps = commands()
    assert 8 <= len(steps) <= 12
    write_faces(tmp_path / "my_faces", TWELVE, size=128, boxes=False)
    image = read_image(tmp_path / "my_faces" / "00.png")
    write_image(tmp_path / "photo.jpg", image)
    make_video(tmp_path / "film.mp4", [0.0, 0.04, 0.08], images=[image] * 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _, *arguments in steps:
        done = run_command(monkeypatch, capfd, *arguments, *QUICK.get(arguments[0], []))
        assert done.code == 0, (arguments, done.err)
        assert "Traceback" not in done.err
    snippet = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)[0]
    exec(compile(snippet, str(DOC), "exec"), {})
    assert "(12, 2) (4, 2) own_12" in capfd.readouterr().out
    made = {path.name for path in tmp_path.iterdir()}
    assert made >= {"scheme.png", "mine.onnx", "mine_int8.onnx", "faces.json", "drawn", "film.jsonl", "followed.mp4"}
    assert "own_12" not in SCHEMES
