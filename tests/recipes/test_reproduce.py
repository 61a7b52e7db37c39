"""Making a paper's tables again, on drawn faces."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.data.synthetic import write_synthetic_300w
from canthus.errors import ConfigError, DataError
from canthus.evaluation.rows import read_rows
from canthus.images import read_image
from canthus.papers import PAPERS
from canthus.recipes.config import TrainConfig
from canthus.recipes.train import Surroundings
from canthus.reproduce.measure import errors_of, measure_model, write_errors
from canthus.reproduce.plots import draw_faces, plot_costs, plot_covers
from canthus.reproduce.run import (
    Reporter,
    finished_job,
    job_config,
    kept_costs,
    measure_costs,
    plan_reproduction,
    run_job,
)
from canthus.reproduce.tables import fold_tests_markdown
from canthus.reproduce.values import (
    COVERED,
    FILE,
    FIT,
    PLAIN,
    PRUNE,
    QUICK,
    Column,
    Entry,
    Job,
    Made,
    Paper,
    PaperTable,
    Plan,
    Scale,
    check_paper,
    jobs_of,
)
from canthus.zoo import DEFAULT
from command import run_command

TINY = (
    "epochs=1", "faces_per_epoch=32", "batch_size=16", "size=64", "init=", "model_settings={width=0.25}",
    "precision=32-true", 'validation=[{dataset="300w",split="validation"}]', "ema_decay=0.0",
)  # fmt: skip
TINY_ESR = ("cascade.stages=2", "cascade.ferns=10", "cascade.starts=2", "cascade.pixels=50")
SCALE = Scale("tiny", sets=("300w/validation",), budget="tiny")
TRAINED = Job("net", Plan("pfld_68", TINY), 0)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Surroundings:
    folder = tmp_path_factory.mktemp("data") / "300w"
    write_synthetic_300w(folder, 60, np.random.default_rng(0))
    out = tmp_path_factory.mktemp("reproduced")
    return Surroundings(roots={"300w": folder}, cache=folder / "cache", out=out, accelerator="cpu")


@pytest.fixture(scope="module")
def made(place: Surroundings) -> Made:
    return run_job(TRAINED, place, measure=PLAIN, scale=SCALE, tell=Reporter())


def test_a_network_is_trained_exported_and_measured(made: Made) -> None:
    assert made.model.name == "model.onnx"
    assert 0 < made.metrics["300w/validation:nme_ion"] < 1
    assert (made.folder / "rows_300w_validation.csv").is_file()
    assert json.loads((made.folder / "result.json").read_text())["settings"]["epochs"] == 1


def test_faces_of_two_sets_are_also_counted_together(made: Made, place: Surroundings, tmp_path: Path) -> None:
    scale = replace(SCALE, sets=("300w/validation", "300w/fit", "300w/validation + 300w/fit"))
    there = replace(place, out=tmp_path)
    metrics = measure_model(made.model, TRAINED, there, measure=PLAIN, scale=scale, progress=Reporter().progress)
    sets = [read_rows(tmp_path / f"rows_300w_{split}.csv") for split in ("validation", "fit")]
    errors = [row.nme_ion for rows in sets for row in rows]
    assert metrics["300w/validation + 300w/fit:nme_ion"] == pytest.approx(np.mean(errors))
    assert metrics["300w/validation:nme_ion"] != pytest.approx(metrics["300w/fit:nme_ion"])
    together = replace(made, folder=tmp_path)
    found = errors_of(together, scale.sets[2], "nme_ion", measure=PLAIN)
    assert sorted(found.values()) == pytest.approx(sorted(errors))
    with pytest.raises(ConfigError, match="name its sets before it"):
        check_paper(Paper("P", PLAIN, {"tiny": replace(scale, sets=scale.sets[::-1])}, {}, {}))


def test_errors_of_faces_are_kept_for_later_tests(made: Made, tmp_path: Path) -> None:
    tested = "300w/validation"
    errors = errors_of(made, tested, "nme_ion", measure=PLAIN)
    assert len(errors) == len(read_rows(made.folder / "rows_300w_validation.csv"))
    (path,) = write_errors(tmp_path, [made], tested, ["nme_ion", "fr_10"], measure=PLAIN)
    elsewhere = replace(made, folder=tmp_path / made.job.folder)  # without rows
    assert errors_of(elsewhere, tested, "nme_ion", measure=PLAIN) == pytest.approx(errors, rel=1e-5)
    assert errors_of(elsewhere, tested, "fr_10", measure=PLAIN) == {}
    assert errors_of(elsewhere, "300w/fit", "nme_ion", measure=PLAIN) == {}
    assert list(write_errors(tmp_path, [elsewhere], "300w/fit", ["nme_ion"], measure=PLAIN)) == []
    list(write_errors(tmp_path, [made], tested, ["nme_ipn"], measure=PLAIN))  # as another table asks for
    assert errors_of(elsewhere, tested, "nme_ion", measure=PLAIN) == pytest.approx(errors, rel=1e-5)
    assert errors_of(elsewhere, tested, "nme_ipn", measure=PLAIN).keys() == errors.keys()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / path.name).write_text(f"metric,face,{made.job.folder}\nnme_ion,a,much\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no errors of faces"):
        errors_of(replace(made, folder=damaged / made.job.folder), tested, "nme_ion", measure=PLAIN)


def test_what_is_finished_is_not_made_again(made: Made, place: Surroundings) -> None:
    lines: list[str] = []
    again = run_job(TRAINED, place, measure=PLAIN, scale=SCALE, tell=Reporter(write=lines.append))
    assert again == made
    assert lines == []


def test_an_export_that_was_cut_off_goes_on_without_training(made: Made, place: Surroundings) -> None:
    (made.folder / "result.json").unlink()
    lines: list[str] = []
    again = run_job(TRAINED, place, measure=PLAIN, scale=SCALE, tell=Reporter(write=lines.append))
    assert again.metrics == made.metrics
    assert lines == []


def test_a_result_of_other_settings_is_refused(made: Made, place: Surroundings) -> None:
    other = Job("net", Plan("pfld_68", (*TINY, "optimizer.learning_rate=0.5")), 0)
    with pytest.raises(ConfigError, match="holds a result of other settings"):
        finished_job(other, place.out, measure=PLAIN, scale=SCALE)
    assert finished_job(replace(TRAINED, seed=1), place.out, measure=PLAIN, scale=SCALE) is None


def test_a_result_of_an_earlier_version_still_counts(made: Made, place: Surroundings) -> None:
    path = made.folder / "result.json"
    values = json.loads(path.read_text())
    del values["settings"]["spread_weight"]
    path.write_text(json.dumps(values))
    assert finished_job(TRAINED, place.out, measure=PLAIN, scale=SCALE) is not None


def test_processes_divide_the_rows_of_a_folder(
    place: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = replace(place, out=tmp_path)
    entries = {name: Entry(name, {QUICK: replace(TRAINED.plan, start="a" if name == "b" else "")}) for name in "abcd"}
    paper = Paper("drawn", PLAIN, {QUICK: SCALE}, entries, {"t": PaperTable("t", "t", tuple("abcd"), (), {})})
    code = (
        "import sys; from pathlib import Path; from canthus.training.run_folder import held\n"
        "with held(Path(sys.argv[1]), 'row.lock'): print('held', flush=True); sys.stdin.read()"
    )
    command, order, lines = [sys.executable, "-c", code, str(tmp_path / "a/seed_0")], list[str](), list[str]()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:

        def make(job: Job, place: Surroundings, **_: object) -> Made:
            order.append(job.entry)
            return Made(job, place.out, Path(), {})

        def end_the_other(_: float) -> None:
            other.communicate()

        monkeypatch.setattr("canthus.reproduce.run.run_job", make)
        monkeypatch.setattr("canthus.reproduce.run.time.sleep", end_the_other)
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        made = plan_reproduction(paper, None, QUICK).run(place, Reporter(write=lines.append))
    assert order == ["c", "d", "a", "b"]  # a is the other's until it ends, and b starts from a
    assert [one.job.entry for one in made] == ["a", "b", "c", "d"]
    assert lines[2] == "waiting for 2 rows that other processes work on"


def test_covered_faces_and_a_cascade(place: Surroundings, tmp_path: Path) -> None:
    jobs = [Job("esr", Plan("esr_68", TINY_ESR, FIT), 0), Job("ours", Plan(DEFAULT, way=FILE), 0)]
    made = [run_job(job, place, measure=COVERED, scale=SCALE, tell=Reporter()) for job in jobs]
    assert made[0].model.suffix == ".npz"
    for one in made:
        assert one.metrics["300w/validation:nmse/all/50-60 %"] > 0
        assert one.metrics["300w/validation:faces/all"] > 0
    paper = Paper("P", COVERED, {}, {"esr": Entry("ESR"), "ours": Entry("ours")}, {})
    plots = list(plot_covers(paper, SCALE, made, tmp_path))
    assert [path.name for path in plots] == ["occlusion_300w_validation.png"]
    assert plots[0].stat().st_size > 5000


def test_costs_are_those_of_the_networks_with_random_weights(made: Made, tmp_path: Path) -> None:
    small, large = (Plan("pfld_68", (*TINY, f"model_settings={{width={width}}}")) for width in (0.25, 0.5))
    size = Column("size_bytes", "size, MB", per_set=False)
    paper = Paper(
        "P",
        PLAIN,
        {},
        {"net": Entry("trained"), "small": Entry("small", cost=small), "large": Entry("large", cost=large)},
        {"t": PaperTable("costs", "Table 1", ("net", "small", "large"), (size,), {})},
    )
    assert kept_costs(tmp_path) == {}
    costs = measure_costs(paper, ["t"], {"net": made.model}, tmp_path, tell=Reporter())
    assert kept_costs(tmp_path) == costs
    assert costs["large"]["size_bytes"] > costs["small"]["size_bytes"]
    assert costs["small"]["size_bytes"] == pytest.approx(
        costs["net"]["size_bytes"], rel=0.05
    )  # equal tensors are kept once
    assert all(cost["time_s"] > 0 for cost in costs.values())


def test_pictures_show_faces_with_the_points_of_each_row(made: Made, place: Surroundings, tmp_path: Path) -> None:
    table = PaperTable("t", "Figure 3", ("net", "other"), (Column("nme_ion", "ION"),), {}, pictures=True)
    tables = {"t": table, "none": replace(table, pictures=False)}
    paper = Paper("P", PLAIN, {}, {"net": Entry("Net"), "other": Entry("Other")}, tables)
    here = replace(place, out=tmp_path)
    assert list(draw_faces(paper, "t", SCALE, [made], here)) == [tmp_path / "t.png"]
    assert list(draw_faces(paper, "none", SCALE, [made], here)) == []
    assert list(draw_faces(paper, "t", SCALE, [], here)) == []
    original, truth, net = np.split(read_image(tmp_path / "t.png")[40:].astype(int), 3, axis=1)
    assert not np.array_equal(original, truth)
    assert not np.array_equal(truth, net)


def test_error_against_size_and_time_is_drawn_where_a_table_tells_them(tmp_path: Path) -> None:
    columns = (
        Column("nme_ion", "NME"),
        Column("time_s", "ms", per_set=False),
        Column("size_bytes", "MB", per_set=False),
    )
    entries = {"a": Entry("A"), "b": Entry("B"), "c": Entry("C")}
    paper = Paper("P", PLAIN, {}, entries, {"t": PaperTable("t", "Table 1", ("a", "b", "c"), columns, {})})
    whole = {"300w/validation:nme_ion": 0.04, "time_s": 1.0, "size_bytes": 2.0}
    runs = {"a": [whole], "b": [{**whole, "time_s": 3.0}], "c": [{"time_s": 1.0}]}
    assert [path.name for path in plot_costs(paper, "t", SCALE, runs, tmp_path)] == ["t_300w_validation.png"]
    assert list(plot_costs(paper, "t", SCALE, {"a": [whole]}, tmp_path)) == []


Fixtures = tuple[pytest.MonkeyPatch, pytest.CaptureFixture[str]]


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Fixtures:
    return monkeypatch, capfd


def test_the_command_lists_papers_and_shows_empty_tables(console: Fixtures, tmp_path: Path) -> None:
    assert all(name in run_command(*console, "reproduce", "list").out for name in PAPERS)
    shown = run_command(*console, "reproduce", "blaze_ghost", "table_6", "--show", "--out", tmp_path)
    assert "0.081 / not run" in shown.out
    assert list(tmp_path.iterdir()) == [], "--show only prints"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "Unknown paper 'nothing'"),
        (("blaze_ghost", "table_9"), "Unknown table 'table_9'"),
        (("blaze_ghost", "--scale", "huge"), "Unknown scale 'huge'"),
        (("blaze_ghost",), "dataset '300w' is needed"),
        (("blaze_ghost", "--scale", "full"), "dataset 'wflw' is needed"),
        (("blaze_ghost", "--show", "--time-again"), "--show only prints, and --time-again measures"),
    ],
)
def test_what_cannot_be_run_is_said_at_once(console: Fixtures, arguments: tuple[str, ...], message: str) -> None:
    done = run_command(*console, "reproduce", *arguments)
    assert done.code == 2
    assert message in " ".join(done.err.split())


JOINT = (
    "epochs=1", "faces_per_epoch=32", "batch_size=16", "size=64", "loss_settings.scale=100.0",
    "model_settings={backbone=\"mobilenet_v2\",width=0.125,top=false,hidden=[8],heatmap_hidden=[8,8,8],heatmap_side=16}",
)  # fmt: skip
FOLD_SETS = (
    'train=[{dataset="300w",split="fold-{fold}-of-2-train"}]',
    'validation=[{dataset="300w",split="fold-{fold}-of-2-test"}]',
)
WHOLE_SETS = ('train=[{dataset="300w",split="fit"}]', 'validation=[{dataset="300w",split="validation"}]')


def test_a_student_learns_from_another_row_and_is_pruned(place: Surroundings) -> None:
    changes = (*JOINT, *WHOLE_SETS, "distill.teacher={of}")
    student = Plan("joint_mobilenet_distilled_68", changes, of="teacher", start="begun")
    points_alone = ("model_settings.heatmaps=false", "loss_settings.heatmap_weight=0.0")
    entries = {
        "begun": Entry("start", {QUICK: Plan("joint_mobilenet_68", (*JOINT, *WHOLE_SETS, *points_alone))}),
        "teacher": Entry("teacher", {QUICK: Plan("joint_mobilenet_68", (*JOINT, *WHOLE_SETS))}),
        "student": Entry("student", {QUICK: student}),
        "pruned": Entry("pruned", {QUICK: Plan(way=PRUNE, of="student", rate=0.5, final_epochs=1)}),
    }
    table = PaperTable("t", "Table 1", ("pruned",), (Column("nme_ion", "NME"),), {})
    jobs = jobs_of(Paper("P", PLAIN, {}, entries, {"t": table}), ["t"], QUICK)
    assert [job.entry for job in jobs] == ["begun", "teacher", "student", "pruned"]
    asked = job_config(jobs[2], place.out / jobs[2].folder)
    assert isinstance(asked, TrainConfig)
    assert asked.init == str(place.out / "begun/seed_0/last.ckpt")
    made = {job.entry: run_job(job, place, measure=PLAIN, scale=SCALE, tell=Reporter()) for job in jobs}
    assert all(one.metrics["300w/validation:nme_ion"] > 0 for one in made.values())
    assert made["pruned"].model.stat().st_size < 0.6 * made["student"].model.stat().st_size
    assert finished_job(jobs[-1], place.out, measure=PLAIN, scale=SCALE) == made["pruned"]
    other = replace(jobs[-1], plan=replace(jobs[-1].plan, rate=0.25))
    with pytest.raises(ConfigError, match="other settings"):
        finished_job(other, place.out, measure=PLAIN, scale=SCALE)


def test_folds_are_trained_apart_and_compared(place: Surroundings) -> None:
    sets = ("300w/fold-{fold}-of-2-test",)
    plan = Plan("joint_mobilenet_68", (*JOINT, *FOLD_SETS), seeds=2, sets=sets)
    table = PaperTable("t", "Table 3", ("cv",), (Column("mse_unit", "MSE"),), {}, fold_tests={"cv": "t 0.5"})
    paper = Paper("P", PLAIN, {}, {"cv": Entry("crossed", {QUICK: plan})}, {"t": table})
    jobs = jobs_of(paper, ["t"], QUICK)
    assert "ours not run" in fold_tests_markdown(paper, "t", SCALE, [])
    made = [run_job(job, place, measure=PLAIN, scale=SCALE, tell=Reporter()) for job in jobs]
    keys = [{row.key for row in read_rows(one.folder / "rows_300w_fold-k-of-2-test.csv")} for one in made]
    assert keys[0].isdisjoint(keys[1])
    assert {"300w/fold-k-of-2-test:mse_unit"} <= set(made[0].metrics) & set(made[1].metrics)
    text = fold_tests_markdown(paper, "t", SCALE, made)
    assert "published t 0.5; ours t " in text
    assert "p of Levene" in text


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_cut_results_are_one_line(made: Made, place: Surroundings, tmp_path: Path, share: float) -> None:
    out = tmp_path / "out"
    shutil.copytree(made.folder, out / TRAINED.folder)
    (out / "costs.json").write_text(json.dumps({"rows": {"net": {"size_bytes": 1.0, "time_s": 0.1}}}))
    assert finished_job(TRAINED, out, measure=PLAIN, scale=SCALE) is not None
    assert kept_costs(out) == {"net": {"size_bytes": 1.0, "time_s": 0.1}}
    for path in (out / TRAINED.folder / "result.json", out / "costs.json"):
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"result.json: .*delete it to measure the model again"):
        finished_job(TRAINED, out, measure=PLAIN, scale=SCALE)
    with pytest.raises(DataError, match=r"costs.json: .*delete it to measure again"):
        kept_costs(out)


@pytest.mark.parametrize("text", ["[]", "{}", '{"metrics": 3}', '{"rows": null}', '{"rows": {"net": {"time_s": "x"}}}'])
def test_results_of_another_shape_are_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(DataError, match=r"costs.json: "):
        kept_costs(tmp_path)
