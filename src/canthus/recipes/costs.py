"""Size and time of the models of a paper's tables, all in turns in one run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError
from canthus.evaluation.cost import latency, time_in_turns
from canthus.evaluation.machine import describe_machine
from canthus.geometry import hull_box
from canthus.recipes.config import FitConfig
from canthus.recipes.experiments import Paper, Plan
from canthus.recipes.export import export_untrained
from canthus.recipes.reproduce import Reporter, plan_config
from canthus.runtime.crop_model import open_model
from canthus.runtime.landmarker import Landmarker

COSTS = "costs.json"
ROUNDS, CALLS = 20, 3

Costs = dict[str, dict[str, float]]
"""Row -> ``size_bytes`` and ``time_s``."""


def measure_costs(
    paper: Paper, tables: Sequence[str], models: Mapping[str, Path], out: Path, *, tell: Reporter
) -> Costs:
    """Size and time of every row of the tables that tell either.

    Args:
        paper: with its tables.
        tables: keys of ``paper.tables``.
        models: file of each row that was made.
        out: folder for the networks with random weights, and for ``costs.json``.
        tell: who is told.

    Returns:
        ``time_s`` is the median of a whole step for one face on one thread: from picture and box to points.
    """
    rows = [row for row in rows_with_costs(paper, tables) if paper.entries[row].cost or row in models]
    files = {row: _file(row, paper.entries[row].cost, models, out, tell) for row in rows}
    costs = _measured(files, tell)
    out.mkdir(parents=True, exist_ok=True)
    values = {"machine": asdict(describe_machine()), "threads": 1, "runs": ROUNDS * CALLS, "rows": costs}
    (out / COSTS).write_text(json.dumps(values, indent=1) + "\n")
    return costs


def kept_costs(out: Path) -> Costs:
    """What ``costs_of`` measured before; empty where it did not."""
    path = out / COSTS
    if not path.exists():
        return {}
    rows: Costs = json.loads(path.read_text())["rows"]
    return rows


def rows_with_costs(paper: Paper, tables: Sequence[str]) -> list[str]:
    """Rows of the tables that tell a size or a time."""
    chosen = [paper.tables[name] for name in tables]
    telling = [table for table in chosen if any(not column.per_set for column in table.columns)]
    return list(dict.fromkeys(row for table in telling for row in table.rows))


def _file(row: str, cost: Plan | None, models: Mapping[str, Path], out: Path, tell: Reporter) -> Path:
    if cost is None:
        return models[row]
    config = plan_config(cost)
    if isinstance(config, FitConfig):
        raise ConfigError(f"The cost of {row} cannot be told without fitting it; leave out its plan for the cost")
    path = out / "untrained" / f"{row}.onnx"
    if not path.exists():
        tell.write(f"exporting {row} with random weights, for its size and time")
        export_untrained(config, path)
    return path


def _measured(files: Mapping[str, Path], tell: Reporter) -> Costs:
    face = draw_face(np.random.default_rng(0), size=256)
    boxes = hull_box(face.points)[None]
    steps = [partial(Landmarker(open_model(path)), face.image, boxes) for path in files.values()]
    rounds = []
    for seconds in time_in_turns(steps, rounds=ROUNDS, calls=CALLS):
        rounds.append(seconds)
        tell.progress("timing", len(rounds), ROUNDS)
    taken = np.concatenate(rounds, axis=1)
    return {
        row: {"size_bytes": float(path.stat().st_size), "time_s": latency(taken[index]).median_s}
        for index, (row, path) in enumerate(files.items())
    }
