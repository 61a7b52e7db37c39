"""Tables of papers: cells, claims, files."""

import csv
import math
from dataclasses import replace
from pathlib import Path

import pytest

from canthus.errors import ConfigError
from canthus.reproduce.plots import plot_swept
from canthus.reproduce.tables import (
    Cell,
    Runs,
    answer,
    fold_tests_markdown,
    table_cells,
    table_markdown,
    write_table,
)
from canthus.reproduce.values import (
    FULL,
    PLAIN,
    QUICK,
    Claim,
    Column,
    Entry,
    Learned,
    Paper,
    PaperTable,
    Plan,
    Scale,
    check_paper,
    jobs_of,
)
from canthus.reproduce.verdicts import HOLDS, UNDECIDED, Verdict

NME = Column("nme_ion", "NME, %", factor=100)
TIME = Column("time_s", "time, ms", factor=1e3, per_set=False)
TIMES = Column("time_s", "times a", over="a", per_set=False)
GAIN = Column("nme_ion", "gain, %", factor=100, digits=1, gain_of="a")
CLAIM = Claim("a beats b", "a", "b", "NME, %")
FASTER = Claim("a is twice as fast as b", "a", "b", "time, ms", ratio=2.0)
TABLE = PaperTable(
    title="errors",
    where="Table 1",
    rows=("a", "b", "c"),
    columns=(NME, GAIN, TIME, TIMES),
    published={("a", "NME, %"): 3.5, ("b", "NME, %"): 4.25},
    claims=(CLAIM, FASTER),
)
SCALE = Scale(QUICK, sets=("300w/validation", "ytf/validation"), budget="short")
PAPER = Paper(
    title="A paper",
    measure=PLAIN,
    scales={QUICK: SCALE, FULL: Scale(FULL, sets=("wflw/test",), budget="long")},
    entries={
        "a": Entry("A", {QUICK: Plan("pfld_68", seeds=3), FULL: Plan("pfld_68")}),
        "b": Entry("B", {QUICK: Plan("pfld_68", seeds=2)}),
        "c": Entry("C"),
    },
    tables={"table_1": TABLE},
)


def nme(*values: float, tested: str = "300w/validation") -> list[dict[str, float]]:
    return [{f"{tested}:nme_ion": value} for value in values]


def cell_of(runs: Runs, row: str, heading: str, tested: str = "300w/validation") -> Cell:
    found = [c for c in table_cells(TABLE, SCALE, runs) if (c.row, c.heading, c.tested) == (row, heading, tested)]
    assert len(found) == 1
    return found[0]


def test_a_cell_has_mean_and_deviation_in_the_unit_of_its_column() -> None:
    cell = cell_of({"a": nme(0.03, 0.04, 0.05)}, "a", "NME, %")
    assert (cell.published, cell.seeds) == (3.5, 3)
    assert cell.ours == pytest.approx(4.0)
    assert cell.deviation == pytest.approx(1.0)


def test_what_was_not_run_is_no_number() -> None:
    cell = cell_of({}, "c", "NME, %")
    assert math.isnan(cell.ours)
    assert math.isnan(cell.published)
    assert cell.seeds == 0


def test_columns_that_compare_rows() -> None:
    runs = {"a": [*nme(0.03), {"time_s": 0.002}], "b": [*nme(0.04), {"time_s": 0.005}]}
    assert cell_of(runs, "b", "times a", "").ours == pytest.approx(2.5)
    assert cell_of(runs, "b", "gain, %").ours == pytest.approx(25.0)
    assert cell_of(runs, "a", "gain, %").ours == pytest.approx(0.0)


def test_markdown_shows_published_ours_and_not_run() -> None:
    text = table_markdown(PAPER, "table_1", SCALE, {"a": nme(0.03, 0.04, 0.05), "b": nme(0.05)})
    assert "| A | 3.5 / 4.00 ± 1.00 |" in text
    assert "Printed in the paper and not run here: C -" in text
    assert text.splitlines()[2].startswith("- **")
    assert "- **not run**: a beats b (ytf/validation); a is twice as fast as b" in text
    order = ("**not run**", "on 300w/validation", "on ytf/validation", "How it was made")
    assert [text.index(part) for part in order] == sorted(map(text.index, order))


def test_markdown_tells_the_test_behind_each_verdict_and_its_bound() -> None:
    scale = replace(SCALE, learned=Learned("nme_ion", 0.08, below={"b": "a"}, but=("c", "d")))
    paper = replace(PAPER, entries={**PAPER.entries, "d": Entry("D")})
    text = table_markdown(paper, "table_1", scale, {"a": nme(0.03, 0.04, 0.05), "b": nme(0.05, 0.06, 0.07)})
    line = "| a beats b | 300w/validation | **undecided** | 4.00 against 6.00 | +2.00, -0.27 to +4.27 | "
    assert f"{line}3 and 3 trainings | 0.07 |" in table_markdown(paper, "table_1", replace(scale, learned=None), {
        "a": nme(0.03, 0.04, 0.05), "b": nme(0.05, 0.06, 0.07)})  # fmt: skip
    assert "**not trained enough** | b has an error of 6.00 %; a verdict needs at most 4.00 % |  |  |  |" in text
    assert (
        "A claim about errors gets a verdict only where the mean error over the inter-ocular distance of both rows is "
        "at most 8 %, that of B also at most that of A; C have no bound.\n"
    ) in text


def test_the_answer_names_a_test_set_where_verdicts_differ() -> None:
    first, second = Claim("a beats b", "a", "b", "NME, %"), Claim("b beats c", "b", "c", "NME, %")
    found = [
        Verdict(first, "300w/validation", HOLDS, "1 against 2"), Verdict(first, "ytf/validation", UNDECIDED, "2"),
        Verdict(second, "300w/validation", UNDECIDED, "3"), Verdict(second, "ytf/validation", UNDECIDED, "4"),
    ]  # fmt: skip
    assert answer(found).splitlines() == [
        "- **holds**: a beats b (300w/validation)",
        "- **undecided**: a beats b (ytf/validation); b beats c",
    ]
    assert answer([]) == ""


def test_the_csv_has_one_line_a_cell(tmp_path: Path) -> None:
    page, data = write_table(tmp_path / "new", PAPER, "table_1", SCALE, {"a": nme(0.03)}, text="# text")
    assert page.read_text(encoding="utf-8") == "# text"
    rows = list(csv.DictReader(data.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 3 * (2 * 2 + 2)
    first = rows[0]
    assert (first["row"], first["test_set"], first["published"], first["ours"]) == ("a", "300w/validation", "3.5", "3")
    assert first["deviation"] == ""


def test_jobs_come_by_seed_so_that_an_early_stop_leaves_whole_tables() -> None:
    jobs = jobs_of(PAPER, ["table_1"], QUICK)
    assert [job.folder for job in jobs] == ["a/seed_0", "b/seed_0", "a/seed_1", "b/seed_1", "a/seed_2"]
    assert [job.entry for job in jobs_of(PAPER, ["table_1"], FULL)] == ["a"]


def test_slips_in_a_paper_are_named() -> None:
    check_paper(PAPER)
    wrong = PaperTable("x", "Table 2", ("a",), (NME,), {("a", "FR"): 1.0})
    with pytest.raises(ConfigError, match="'FR', which is no known"):
        check_paper(Paper("P", PLAIN, PAPER.scales, PAPER.entries, {"table_2": wrong}))


def test_a_row_that_needs_another_comes_behind_it() -> None:
    entries = {**PAPER.entries, "b": Entry("B", {QUICK: Plan("pfld_68", of="c")}), "c": Entry("C", {QUICK: Plan("x")})}
    paper = replace(PAPER, entries=entries)
    assert [job.folder for job in jobs_of(paper, ["table_1"], QUICK)][:3] == ["a/seed_0", "c/seed_0", "b/seed_0"]
    check_paper(paper)


def test_a_table_may_have_test_sets_of_its_own_and_columns_that_only_print() -> None:
    printed = Column("", "as printed", per_set=False)
    table = replace(
        TABLE, columns=(NME, printed), published={("a", "as printed"): 7.0}, claims=(), sets={QUICK: ("aflw/full",)}
    )
    paper = replace(PAPER, tables={"table_1": table})
    text = table_markdown(paper, "table_1", SCALE, {"a": nme(0.03, tested="aflw/full")})
    assert "| A | - / 3.00 |" in text
    assert "| A | 7 |" in text
    assert "300w" not in text


def test_rows_of_other_scales_are_named_in_one_line() -> None:
    text = table_markdown(PAPER, "table_1", PAPER.scales[FULL], {"a": nme(0.03, tested="wflw/test")})
    assert "Printed in the paper and not run here: B 4.25, -; C -, -.\n" in text
    paper = replace(PAPER, tables={"table_1": replace(TABLE, published={})})
    text = table_markdown(paper, "table_1", PAPER.scales[FULL], {"a": nme(0.03, tested="wflw/test")})
    assert "Run at other scales alone: B.\n" in text
    assert "| B |" not in text


def test_published_numbers_stand_only_beside_their_own_data(tmp_path: Path) -> None:
    table = replace(TABLE, published_at=(FULL,), claims=(), fold_tests={"a": "t 0.52"})
    paper = replace(PAPER, tables={"table_1": table})
    assert "| A | - / 3.00 |" in table_markdown(paper, "table_1", SCALE, {"a": nme(0.03)})
    full = table_markdown(paper, "table_1", PAPER.scales[FULL], {"a": nme(0.03, tested="wflw/test")})
    assert "| A | 3.5 / 3.00 |" in full
    assert "- A: ours not run\n" in fold_tests_markdown(paper, "table_1", SCALE, ())
    assert "- A: published t 0.52; ours not run\n" in fold_tests_markdown(paper, "table_1", PAPER.scales[FULL], ())


def test_a_figure_that_sweeps_a_setting_is_drawn(tmp_path: Path) -> None:
    table = PaperTable("share, %", "Figure 1", ("a", "b", "c"), (NME,), {}, sweep=True)
    entries = {"a": Entry("10 %"), "b": Entry("50 %"), "c": Entry("90 %")}
    paper = replace(PAPER, entries=entries, tables={"figure_1": table})
    runs = {"a": nme(0.03), "b": nme(0.04), "c": nme(0.2)}
    assert list(plot_swept(paper, "figure_1", SCALE, {"a": nme(0.03)}, tmp_path)) == []
    (drawn,) = plot_swept(paper, "figure_1", SCALE, runs, tmp_path)
    assert drawn.name == "figure_1.png"
    assert drawn.stat().st_size > 5000
