"""``canthus benchmark``: cost of models on this machine, and their error on a dataset."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from canthus.cli import options
from canthus.cli.output import markup, plural, write_json
from canthus.cli.progress import ProgressBar
from canthus.cli.tables import cost_table
from canthus.errors import ConfigError
from canthus.evaluation.benchmark import (
    Benchmark,
    Errors,
    benchmark_json,
    benchmark_models,
    measure_errors,
    model_files,
)
from canthus.evaluation.plots import plot_cost
from canthus.evaluation.run import refuse_options
from canthus.files import check_targets

ModelsOption = Annotated[
    list[str],
    typer.Option(
        help="Embedded name, ONNX file, or .npz of 'canthus fit'. May be repeated; ratios are relative to the first."
    ),
]
WholeOption = Annotated[
    bool,
    typer.Option(
        "--whole", help="Time the whole step per face: crop, inference, mapping points back. Landmark models only."
    ),
]
ShapeOption = Annotated[
    list[str],
    typer.Option(metavar="INPUT=N,C,H,W", help="Shape of an input whose sides the model leaves open. May be repeated."),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(help="Also measure the error of each landmark model on this dataset with true boxes; needs --root."),
]
RootOption = Annotated[Path | None, typer.Option(help="Folder of the dataset.")]
SplitOption = Annotated[
    str | None,
    typer.Option(help="Part of the dataset.", show_default="the first usual one that the folder holds"),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Plot error against time and size. Needs --dataset and the extra 'plots'."),
]


def benchmark(
    model: ModelsOption,
    threads: Annotated[int, typer.Option(min=1, help="Threads within one operator.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Faces per run.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs of each model.")] = 200,
    shape: ShapeOption = [],  # noqa: B006 - typer reads the default, nobody changes it
    whole: WholeOption = False,
    dataset: DatasetOption = None,
    root: RootOption = None,
    split: SplitOption = None,
    plot: PlotOption = None,
    json: options.JsonOption = None,
) -> None:
    """Measure latency, size, parameters and multiply-adds of models in one run.

    With --dataset, also measure the error of landmark models.
    """
    if dataset is None:
        refuse_options("without --dataset", root=root, split=split, plot=plot)
    elif root is None:
        raise ConfigError(f"--dataset {dataset} needs --root DIR, the folder of its pictures")
    check_targets(model, text={"--json": json}, picture={"--plot": plot})
    paths, shapes = model_files(model), parse_shapes(shape)
    errors = None
    if dataset is not None and root is not None:
        progress = partial(track, console=Console(stderr=True), transient=True)
        errors = measure_errors(paths, dataset=dataset, root=root, split=split, progress=progress)
    with ProgressBar(Console(stderr=True)) as bar:
        bar("measuring", 0, None)
        result = benchmark_models(
            paths, threads=threads, batch=batch, repeats=repeats, shapes=shapes, whole=whole,
            on_round=partial(bar, "measuring"),
        )  # fmt: skip
    result = replace(result, errors=errors)
    _print(result, Console(stderr=json == "-", highlight=False))
    if plot is not None and errors is not None:
        _plot(plot, result, errors)
    if json is not None:
        write_json(json, benchmark_json(result))


def _plot(path: Path, result: Benchmark, errors: Errors) -> None:
    stems = [Path(cost.name).stem for cost in result.models]
    shown = {
        stem if stems.count(stem) == 1 else cost.name: (
            100 * errors.of[cost.name], 1000 * cost.latency.median_s, cost.size_bytes / 1e6
        )
        for stem, cost in zip(stems, result.models, strict=True)
    }  # fmt: skip
    title = f"{result.machine.cpu}, {plural(result.threads, 'thread')}, batch {result.batch}"
    plot_cost(path, shown, error=f"{errors.unit}, {errors.tested}, %", title=title)


def _print(result: Benchmark, console: Console) -> None:
    machine = result.machine
    console.print(
        f"{machine.cpu}, {machine.cores} cores, {machine.system}; ONNX Runtime {machine.onnxruntime}, "
        f"Python {machine.python}; {plural(result.threads, 'thread')}, batch {result.batch}, "
        f"{result.repeats} runs of each in turns",
        soft_wrap=True,
        markup=False,
    )
    console.print(f"measured peak: {result.peak_flops / 1e9:.0f} GFLOP/s (float32 matrix product)")
    if result.whole:
        console.print("whole step: crop from a synthetic picture, inference, mapping points back")
    console.print(cost_table(result))
    if result.errors:
        console.print(f"error: {result.errors.unit} on {result.errors.tested}, true boxes", markup=False)
    for cost in result.models:
        inputs = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in cost.shapes.items())
        console.print(markup(f"{cost.name}: input {inputs}"), soft_wrap=True)
        if cost.uncounted:
            console.print(markup(f"{cost.name}: not counted: {cost.uncounted}"), soft_wrap=True)
        elif cost.count and cost.count.uncounted:
            console.print(markup(f"{cost.name}: multiply-adds without those of {', '.join(cost.count.uncounted)}"))


def parse_shapes(entries: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """``input=1,3,112,112`` as name -> shape.

    Raises:
        ConfigError: an entry has another form.
    """
    shapes = {}
    for entry in entries:
        name, _, sides = entry.rpartition("=")
        if not name or not all(side.isdecimal() and int(side) > 0 for side in sides.split(",")):
            raise ConfigError(f"Cannot read --shape {entry!r}; expected INPUT=N,C,H,W such as image=1,3,112,112")
        shapes[name] = tuple(int(side) for side in sides.split(","))
    return shapes
