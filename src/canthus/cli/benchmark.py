"""``canthus benchmark``: what models cost on this machine."""

from pathlib import Path
from typing import Annotated

import typer

_MODEL_HELP = "Embedded name, any ONNX file, or a cascade (.npz); may be repeated, the first is the yardstick."
_WHOLE_HELP = "Time all that a face asks for: cut it out, run the model, map its points back. Landmark models only."
_SHAPE_HELP = "Shape of an input whose open sides are not guessed right; may be repeated."


def benchmark(
    model: Annotated[list[str], typer.Option(help=_MODEL_HELP)],
    threads: Annotated[int, typer.Option(min=1, help="Threads inside one operator.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Faces in one run.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs of each model.")] = 200,
    shape: Annotated[list[str], typer.Option(metavar="INPUT=N,C,H,W", help=_SHAPE_HELP)] = [],  # noqa: B006
    whole: Annotated[bool, typer.Option("--whole", help=_WHOLE_HELP)] = False,
    json: Annotated[str | None, typer.Option(metavar="FILE|-", help="Write the numbers as JSON.")] = None,
) -> None:
    """Measure latency, size, parameters and multiply-adds of models in one run."""
    from rich.console import Console
    from rich.progress import Progress

    from canthus.cli.tables import cost_table, write_json
    from canthus.evaluation.benchmark import benchmark_json, benchmark_models

    paths, shapes = model_files(model), parse_shapes(shape)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("measuring", total=None)

        def on_round(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        result = benchmark_models(
            paths, threads=threads, batch=batch, repeats=repeats, shapes=shapes, whole=whole, on_round=on_round
        )
    console = Console(stderr=json == "-", highlight=False)
    machine = result.machine
    console.print(
        f"{machine.cpu}, {machine.cores} cores, {machine.system}; ONNX Runtime {machine.onnxruntime}, "
        f"Python {machine.python}; {threads} thread{'s' * (threads > 1)}, batch {batch}, "
        f"{result.repeats} runs of each in turns",
        soft_wrap=True,
        markup=False,
    )
    console.print(f"measured peak: {result.peak_flops / 1e9:.0f} GFLOP/s (float32 matrix product)")
    if whole:
        console.print("whole step: faces cut out of a drawn picture, the model, its points mapped back")
    console.print(cost_table(result))
    for cost in result.models:
        inputs = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in cost.shapes.items())
        console.print(f"{cost.name}: input {inputs}", soft_wrap=True, markup=False)
        if cost.uncounted:
            console.print(f"{cost.name}: not counted: {cost.uncounted}", soft_wrap=True, markup=False)
        elif cost.count and cost.count.uncounted:
            console.print(f"{cost.name}: multiply-adds without those of {', '.join(cost.count.uncounted)}")
    if json is not None:
        write_json(json, benchmark_json(result))


def model_files(models: list[str]) -> dict[str, Path]:
    """Name -> file, for files and embedded names; a name given twice is measured once more under ``name#2``."""
    from canthus.runtime.cards import DETECTOR, LANDMARKS
    from canthus.runtime.sessions import find_model
    from canthus.zoo import embedded_detectors

    detectors = embedded_detectors()
    files: dict[str, Path] = {}
    for model in models:
        repeat = sum(name.partition("#")[0] == model for name in files) + 1
        kind = DETECTOR if model in detectors else LANDMARKS
        files[model if repeat == 1 else f"{model}#{repeat}"] = find_model(model, kind=kind)
    return files


def parse_shapes(entries: list[str]) -> dict[str, tuple[int, ...]]:
    """``input=1,3,112,112`` as name -> shape.

    Raises:
        ConfigError: an entry reads otherwise.
    """
    from canthus.errors import ConfigError

    shapes = {}
    for entry in entries:
        name, _, sides = entry.rpartition("=")
        if not name or not all(side.isdecimal() and int(side) > 0 for side in sides.split(",")):
            raise ConfigError(f"Cannot read --shape {entry!r}; expected INPUT=N,C,H,W such as image=1,3,112,112")
        shapes[name] = tuple(int(side) for side in sides.split(","))
    return shapes
