"""Adaptations of labels: the fit, the file, the command, and recipes that name one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from canthus.cli.main import app
from canthus.data.formats import write_pts
from canthus.data.synthetic import head_points, random_shape, write_synthetic_300w
from canthus.errors import ConfigError, DataError
from canthus.geometry import hull_box
from canthus.recipes.adapt import Habit, adapted, agreement, find_habit, fit_habit, habit_names
from canthus.recipes.config import load_any_recipe, load_fit
from canthus.recipes.esr import fit_cascade
from canthus.schemes import FIVE, IBUG_68
from canthus.types import Annotation


def faces(count: int, seed: int = 0) -> np.ndarray:
    """Points of drawn faces at places and of sizes of their own, in pixels."""
    rng = np.random.default_rng(seed)
    shapes = np.stack([head_points(random_shape(rng))[0] for _ in range(count)])
    return (shapes * rng.uniform(20, 120, (count, 1, 1)) + rng.uniform(0, 500, (count, 1, 2))).astype(np.float32)


def other_habit(points: np.ndarray) -> np.ndarray:
    """Labels of the same faces, whose jaw lies further out and whose points lie further right."""
    side = np.ptp(points, axis=1).max(axis=1)[:, None, None]
    moved = points + side * np.array([0.02, 0.0])
    jaw = list(IBUG_68.part("jaw"))
    centre = moved.mean(axis=1, keepdims=True)
    moved[:, jaw] = centre + 1.04 * (moved[:, jaw] - centre)
    return np.asarray(moved, np.float32)


@pytest.fixture(scope="module")
def habit() -> Habit:
    labels = faces(200)
    return fit_habit(labels, other_habit(labels), IBUG_68, {"dataset": "drawn"})


def test_a_fit_learns_the_other_habit_and_leaves_gross_errors_out(habit: Habit) -> None:
    fresh = faces(50, seed=1)
    assert agreement(habit, fresh, other_habit(fresh)).before > 0.03
    assert agreement(habit, fresh, other_habit(fresh)).after < 0.004
    labels = faces(200)
    wrong = other_habit(labels)
    wrong[::10] += 0.5 * np.ptp(wrong[::10], axis=1, keepdims=True)  # the model looked elsewhere
    robust = fit_habit(labels, wrong, IBUG_68, {})
    assert agreement(robust, fresh, other_habit(fresh)).after < 0.004


def test_a_fit_needs_enough_faces_that_agree() -> None:
    labels = faces(60)
    with pytest.raises(DataError, match="agree on 60 of 60 faces to 8%.*needs at least 68"):
        fit_habit(labels, other_habit(labels), IBUG_68, {})


def face(points: np.ndarray) -> Annotation:
    return Annotation("a", Path("a.png"), points, IBUG_68, hull_box(points), np.ones(68, bool), group="a")


def test_faces_get_mapped_points_and_the_box_around_them(habit: Habit) -> None:
    one = face(faces(1)[0])
    mapped = habit.face(one)
    assert np.array_equal(mapped.points, habit.points(one.points[None])[0])
    assert np.array_equal(mapped.box, hull_box(mapped.points))
    own_box = replace(one, box=one.box + np.float32(3))
    assert np.array_equal(habit.face(own_box).box, own_box.box)
    with pytest.raises(DataError, match="a: has points of five; the adaptation is for ibug_68"):
        habit.face(replace(one, scheme=FIVE))
    with pytest.raises(DataError, match="a point has no position"):
        habit.face(replace(one, points=np.full((68, 2), np.nan, np.float32)))


def test_files_keep_everything_and_damage_is_told(habit: Habit, tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    habit.save(path)
    again = find_habit(str(path))
    assert (again.scheme, again.about) == (IBUG_68, {"dataset": "drawn"})
    one = face(faces(1)[0])
    assert np.array_equal(adapted([one], str(path))[0].points, habit.face(one).points)
    assert adapted([one], "") == [one]
    with pytest.raises(ConfigError, match=r"a file whose name ends in \.npz"):
        habit.save(tmp_path / "other.csv")
    replace(habit, shift=habit.shift * np.nan).save(path)
    with pytest.raises(DataError, match="expected finite numbers of 32 bits for the 68 points"):
        find_habit(str(path))
    np.savez(path, mean=habit.mean)
    with pytest.raises(DataError, match="not an adaptation of labels"):
        find_habit(str(path))
    with pytest.raises(ConfigError, match="ytf_to_300w"):
        find_habit("ytf_to_300")


def test_adaptations_of_the_package_are_whole() -> None:
    assert habit_names() == ["ytf_to_300w"]
    assert find_habit("ytf_to_300w").about["dataset"] == "ytf"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", "adapt", *map(str, arguments)])


def test_the_command_fits_to_a_model(tmp_path: Path) -> None:
    write_synthetic_300w(tmp_path / "drawn", 120, np.random.default_rng(0), size=96)
    out = tmp_path / "new" / "drawn.npz"
    result = run("300w", tmp_path / "drawn", "--out", out, "--split", "train", "--check", "")
    assert result.exit_code == 0, result.output
    (before, after) = (float(text.split()[-1].rstrip("%,")) for text in result.stdout.split("%", 2)[:2])
    assert after < 0.7 * before
    about = dict(find_habit(str(out)).about)
    assert len(about.pop("model_sha256")) == 64
    assert about == {"dataset": "300w", "split": "train", "like": "default", "faces": 84}
    write_pts(tmp_path / "labels.pts", faces(1)[0])
    assert "ends in .npz" in str(run("300w", tmp_path / "drawn", "--out", tmp_path / "labels.pts").exception)
    assert run("300w", tmp_path / "drawn", "--out", out, "--split", "train", "--check", "").exit_code == 0


def test_recipes_train_on_adapted_labels(tmp_path: Path) -> None:
    write_synthetic_300w(tmp_path, 12, np.random.default_rng(0), size=96)
    changes = ["cascade.stages=1", "cascade.ferns=1", "validation=[]"]

    def mean_shape(*more: str) -> np.ndarray:
        fit = load_fit("esr_68", [*changes, *more])
        return fit_cascade(fit, roots={"300w": tmp_path}, cache=tmp_path / "cache").shapes.mean

    assert load_any_recipe("pfld_68", ["train.0.adapt=ytf_to_300w"]).train[0].adapt == "ytf_to_300w"
    assert not np.allclose(mean_shape(), mean_shape("train.0.adapt=ytf_to_300w"), atol=1e-3)
    with pytest.raises(ConfigError, match="labels of face detectors are not adapted"):
        load_any_recipe("face_detector", ["train.0.adapt=ytf_to_300w"])
