"""``canthus evaluate --occlusion``: errors of models on faces covered on purpose."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from canthus.cli.evaluation_request import Request, truth_of
from canthus.errors import ConfigError, MissingExtraError
from canthus.evaluation.occlusion import (
    PROFILE_YAW,
    PROTOCOLS,
    CoverLine,
    cover_lines,
    score_covered,
    write_cover_report,
)
from canthus.evaluation.rows import FaceError, read_rows
from canthus.lookup import lookup
from canthus.runtime.landmarker import Landmarker, open_model

Rows = Mapping[str, Sequence[FaceError]]


def cover_rows(
    request: Request, protocol: str, models: Sequence[str], kept: Sequence[Path], console: Console
) -> dict[str, list[FaceError]]:
    """Rows of every model: measured now, or kept by ``--rows`` before.

    Args:
        request: dataset, root, split and the rest of what was asked for.
        protocol: key of ``PROTOCOLS``.
        models: names or files of models to measure.
        kept: files of rows.
        console: where progress shows.

    Raises:
        CanthusError: options contradict each other, or a file cannot be read.
    """
    request.refuse(
        ("boxes", "detector", "detector_model", "detector_size", "detector_tiles", "min_overlap", "box_jitter"),
        because="with --occlusion, which uses truth boxes",
    )
    request.refuse(("tolerance",), because="with --occlusion, which scores no confidence")
    conditions = lookup(PROTOCOLS, protocol, kind="occlusion protocol")
    rows = {path.stem.removeprefix("rows_"): _kept(path) for path in kept}
    if kept and not models:
        request.refuse(("dataset", "root", "split", "seed", "threads", "passes", "scheme"), because="with kept rows")
        return _of_one_set(rows)
    name, split, annotations = truth_of(request)
    for model in models or ["default"]:
        session = open_model(model, threads=request.threads or 1)
        if session.card.name in rows:
            raise ConfigError(f"Two models or files are called {session.card.name!r}; rename one")
        landmarker = Landmarker(session, passes=request.passes or 1)
        found = score_covered(annotations, landmarker, conditions, seed=request.seed or 0, dataset=name, split=split)
        total = len(annotations) * len(conditions)
        bar = track(found, session.card.name, total=total, console=console, transient=True)
        rows[session.card.name] = list(bar)
    return _of_one_set(rows)


def cover_tables(models: Rows, *, protocol: str) -> Iterator[Table]:
    """For each model a table of all faces; then one of all models over frontal and profile faces."""
    for name, rows in models.items():
        table = _table(f"{name}: {_what(rows)}, occlusion {protocol}")
        for heading in ("faces", "covered\n%", "NME\nION %", "x none", "visible\nION %", "hidden\nION %"):
            table.add_column(heading, justify="right", no_wrap=True)
        for line in cover_lines(rows):
            table.add_row(escape(line.occlusion), *_numbers(line))
        yield table
    limit = round(math.degrees(PROFILE_YAW))
    for group, meaning in (("frontal", f"yaw up to {limit} degrees"), ("profile", f"yaw above {limit} degrees")):
        lines = {name: {line.occlusion: line for line in cover_lines(rows, group)} for name, rows in models.items()}
        table = _table(
            f"{group} faces ({meaning})",
            "printed: NMSE by the paper's formula, which is the error over the inter-pupil distance\n"
            "squared: mean squared error over the squared inter-pupil distance; both in %",
        )
        table.add_column("faces", justify="right")
        for name in models:
            table.add_column(f"{escape(name)}\nprinted", justify="right")
            table.add_column("\nsquared", justify="right")
        for condition in dict.fromkeys(key for found in lines.values() for key in found):
            ours = [found.get(condition) for found in lines.values()]
            count = max(line.faces for line in ours if line)
            table.add_row(escape(condition), str(count), *(cell for line in ours for cell in _both(line)))
        yield table


def cover_notes(out: Path, models: Rows, *, protocol: str) -> Iterator[str]:
    """Write the files of a report, and say which, and which not and why."""
    title = f"{_what(next(iter(models.values())))}, occlusion {protocol}"
    try:
        for path in write_cover_report(out, models, title=title):
            yield f"wrote {path}"
    except MissingExtraError as error:
        yield f"no plot: {error}"


def _of_one_set(models: dict[str, list[FaceError]]) -> dict[str, list[FaceError]]:
    """The same, unless some were measured on other faces or under other conditions."""
    kinds = {name: {(row.dataset, row.split, row.key, row.occlusion) for row in rows} for name, rows in models.items()}
    first, *others = kinds
    for other in others:
        if kinds[other] != kinds[first]:
            raise ConfigError(
                f"{first} and {other} were measured on different faces or conditions; they do not compare"
            )
    return models


def _kept(path: Path) -> list[FaceError]:
    rows = read_rows(path)
    if not rows or not all(row.occlusion for row in rows):
        raise ConfigError(f"{path}: holds no rows of covered faces; expected what 'evaluate --occlusion --rows' writes")
    return rows


def _what(rows: Sequence[FaceError]) -> str:
    return f"{rows[0].dataset} {rows[0].split}"


def _table(title: str, caption: str | None = None) -> Table:
    table = Table(title=escape(title), caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.add_column("covered")
    return table


def _numbers(line: CoverLine) -> tuple[str, ...]:
    ratio = "-" if math.isnan(line.ratio) else f"{line.ratio:.2f}"
    return (
        str(line.faces),
        _percent(line.covered, 1),
        _percent(line.nme_ion),
        ratio,
        _percent(line.nme_visible),
        _percent(line.nme_hidden),
    )


def _both(line: CoverLine | None) -> tuple[str, str]:
    return ("-", "-") if line is None else (_percent(line.nmse_as_printed), _percent(line.nmse_squared, 3))


def _percent(fraction: float, digits: int = 2) -> str:
    return "-" if math.isnan(fraction) else f"{100 * fraction:.{digits}f}"
