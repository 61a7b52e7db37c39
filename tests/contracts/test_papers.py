"""The same questions to every paper."""

from pathlib import Path

import pytest

from canthus.errors import ConfigError
from canthus.papers import PAPERS
from canthus.recipes.build import init_file
from canthus.recipes.config import TrainConfig
from canthus.reproduce.measure import MEASURES
from canthus.reproduce.run import datasets_of, job_config, plan_config, plan_reproduction
from canthus.reproduce.values import CPU, FILE, FULL, PRUNE, QUICK, TRAIN, check_paper, jobs_of

CASES = [(name, scale) for name, paper in PAPERS.items() for scale in paper.scales]


@pytest.mark.parametrize("name", PAPERS)
def test_tables_name_only_what_is_there(name: str) -> None:
    paper = PAPERS[name]
    check_paper(paper)
    assert {FULL, QUICK} <= set(paper.scales) <= {FULL, CPU, QUICK}
    assert paper.measure in MEASURES
    for table in paper.tables.values():
        assert table.claims


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_every_recipe_and_change_is_understood(name: str, scale: str) -> None:
    paper = PAPERS[name]
    for job in jobs_of(paper, list(paper.tables), scale):
        if job.plan.way == FILE:
            assert init_file(job.plan.recipe).is_file()
        elif job.plan.way != PRUNE:
            assert job_config(job, Path("reproduced") / job.folder).name
    for entry in paper.entries.values():
        if entry.cost is not None:
            plan_config(entry.cost)


@pytest.mark.parametrize(("name", "scale"), [case for case in CASES if case[1] != FULL])
def test_small_scales_need_only_the_data_that_is_easily_had(name: str, scale: str) -> None:
    paper = PAPERS[name]
    jobs = jobs_of(paper, list(paper.tables), scale)
    assert set().union(*(datasets_of(job) for job in jobs)) <= {"300w", "ytf"}


@pytest.mark.parametrize("scale", [QUICK, CPU])
@pytest.mark.parametrize(("name", "table"), [(name, table) for name, paper in PAPERS.items() for table in paper.tables])
def test_rows_that_are_compared_have_equal_budgets(name: str, table: str, scale: str) -> None:
    rows = PAPERS[name].tables[table].rows
    jobs = [job for job in jobs_of(PAPERS[name], [table], scale) if job.plan.way == TRAIN and job.seed == 0]
    longer = {(CPU, "small")}  # as long as a student and its pruning
    jobs = [job for job in jobs if job.entry in rows and (scale, job.entry) not in longer]
    configs = [job_config(job, Path(job.folder)) for job in jobs]
    budgets = {(c.epochs, c.faces_per_epoch, c.batch_size, c.size, c.train) for c in configs}  # type: ignore[union-attr]
    assert len(budgets) <= 1


def test_half_the_width_is_trained_for_as_long_as_a_student_and_its_pruning() -> None:
    jobs = {job.entry: job for job in jobs_of(PAPERS["mobile_distill_prune"], ["steps"], CPU) if job.seed == 0}
    whole, half = (job_config(jobs[row], Path(jobs[row].folder)) for row in ("distilled", "small"))
    pruned, groups = jobs["pruned_50_refit"].plan, 28  # groups of filters of MobileNet V2
    assert isinstance(whole, TrainConfig)
    assert isinstance(half, TrainConfig)
    assert half.epochs == round(whole.epochs + groups * pruned.layer_epochs + pruned.final_epochs, 0)
    assert (half.train, half.faces_per_epoch, half.distill) == (whole.train, whole.faces_per_epoch, whole.distill)
    assert half.model_settings == whole.model_settings | {"width": 0.5}


def test_fan_sees_as_many_faces_as_mobilenet_l_at_full_length() -> None:
    jobs = jobs_of(PAPERS["mobilenet_l"], ["table_3"], FULL)
    configs = [job_config(job, Path(job.folder)) for job in jobs if job.plan.way == TRAIN]
    assert len(configs) == 3
    assert len({(c.epochs, c.faces_per_epoch, c.size, c.margin, c.train, c.augmentation) for c in configs}) == 1  # type: ignore[union-attr]


def test_rows_start_from_the_weights_that_are_given(tmp_path: Path) -> None:
    weights = tmp_path / "resnet50.pth"
    weights.touch()
    paper = PAPERS["mobile_distill_prune"]
    work = plan_reproduction(paper, "table_1", FULL, {"joint_resnet50_68": weights})
    inits = {job.entry: job_config(job, Path(job.folder)).init for job in work.jobs if job.plan.way == TRAIN}  # type: ignore[union-attr]
    assert inits["teacher"] == str(weights)
    assert set(inits.values()) == {str(weights), ""}
    for starts, message in (
        ({"joint_resnet50": weights}, "Did you mean 'joint_resnet50_68'"),
        ({"joint_resnet50_68": tmp_path / "none.pth"}, "no such checkpoint"),
    ):
        with pytest.raises(ConfigError, match=message):
            plan_reproduction(paper, None, FULL, starts)


def test_a_row_learns_from_or_prunes_the_training_with_its_own_seed() -> None:
    jobs = jobs_of(PAPERS["mobile_distill_prune"], ["steps"], CPU)
    taken = {job.folder: (job.of_seed, job.start_seed) for job in jobs}
    assert taken["distilled/seed_2"] == (2, 0)  # three teachers, one start
    assert taken["trained_on/seed_1"] == (1, 1)
    assert taken["pruned_75/seed_2"] == (2, 0)
