"""``canthus evaluate``: errors of a model, or of a file of predictions, on a dataset."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, final

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import track

from canthus.cli.options import (
    DetectorModelOption,
    DetectorOption,
    DetectorSizeOption,
    DetectorTilesOption,
    JsonFractionsOption,
)
from canthus.cli.output import markup, write_json
from canthus.cli.tables import corrupted_tables, covered_tables, jitter_table, report_tables, sets_in_words
from canthus.data import landmark_sets
from canthus.data.datasets import SCALES
from canthus.errors import ConfigError, MissingExtraError
from canthus.evaluation.conditions import CORRUPTED, PROTOCOLS, conditions_of
from canthus.evaluation.covered_sheets import model_sheets, sheet_names
from canthus.evaluation.jitter import evaluate_jitter
from canthus.evaluation.occlusion import cover_json, evaluate_covered, write_cover_report
from canthus.evaluation.plots import plot_jitter
from canthus.evaluation.report import has_pictures, write_report
from canthus.evaluation.rows import check_rows_path, write_rows
from canthus.evaluation.run import evaluate as evaluate_on
from canthus.evaluation.run import refuse_options
from canthus.files import check_targets
from canthus.images import write_image
from canthus.lookup import lookup
from canthus.runtime.landmarker import open_model
from canthus.types import Image

T = TypeVar("T")

ModelOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME|FILE",
        help="Model: a name from 'canthus models', an ONNX file with a model card, or a .npz of 'canthus fit'. May be "
        "repeated with --occlusion and --corruption.",
        show_default="default",
    ),
]
PredictionsOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Score this file instead of a model: JSON of predictions, JSON of 'canthus detect', or rows from --rows. "
        "May be repeated with --occlusion and --corruption, for files of rows."
    ),
]
DatasetOption = Annotated[
    list[str] | None,
    typer.Option(
        help=f"One of {', '.join(landmark_sets())}. May be repeated with --occlusion and --corruption, each with its "
        "--root: the faces are pooled."
    ),
]
RootOption = Annotated[
    list[Path] | None, typer.Option(help="Folder of the dataset, or of the pictures of --predictions.")
]
SplitOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Part of the dataset: common, challenging, full, train, fit, validation ... By default, the first usual "
        "one that the folder holds."
    ),
]
BoxesOption = Annotated[
    str | None, typer.Option(help="Face boxes: truth (hull of the true points) or detector.", show_default="truth")
]
OverlapOption = Annotated[
    float | None,
    typer.Option(help="A face is found if the IoU of its detected and true box is above this.", show_default="0.3"),
]
JitterOption = Annotated[
    float | None, typer.Option(help="Shift and scale true boxes at random by up to this fraction.")
]
SeedOption = Annotated[
    int | None, typer.Option(help="Random seed of --box-jitter, --occlusion or --corruption.", show_default="0")
]
SchemeOption = Annotated[
    str | None,
    typer.Option(help="Point scheme of a folder, or of predictions that do not state it.", show_default="ibug_68"),
]
PICTURES = ("worst.png", "errors.png", "reliability.png", "occlusion.png", "corruption.png")
"""Files that may be written to the folder of ``--out``, beside text."""
OutOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder for summary, rows, predictions, error curves and worst faces."),
]
RowsOption = Annotated[Path | None, typer.Option(metavar="FILE.csv|.parquet", help="Write one row per face.")]
WorstOption = Annotated[
    int | None, typer.Option(min=0, help="Number of faces on the sheet of worst faces in --out.", show_default="16")
]
ThreadsOption = Annotated[
    int | None, typer.Option(min=1, help="Threads of the model and of the detector.", show_default="1")
]
PassesOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Crops per face. 2 re-crops around the first landmarks; helps with loose boxes.",
        show_default="2 for haar and yunet, else 1",
    ),
]
JitterReportOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE.png", help="Print and plot the error in true boxes with a jitter of 0 to 20 %."),
]
ToleranceOption = Annotated[
    float | None,
    typer.Option(
        help="For --predictions with confidence: a point is right if its error is at most this fraction of the longer "
        "side of the face box.",
        show_default="what the file states, or 0.05",
    ),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(SCALES),
        help="What errors are divided by: inter-ocular or inter-pupil distance; size sqrt(w h), diagonal or longer "
        "side of the true face box.",
        show_default="the usual one of the dataset; longer for points without eye corners",
    ),
]
ConversionOption = Annotated[
    str | None,
    typer.Option(
        metavar="chord|thirds|picks",
        help="How points of another scheme, such as the 98 of wflw, are converted to those of the model.",
        show_default="that of the model card, else thirds with --scheme",
    ),
]
OcclusionOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(PROTOCOLS),
        help="Cover the faces: in six classes of the covered share, of the face or of the picture, and by squares; or "
        "by natural things.",
    ),
]
CorruptionOption = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(CORRUPTED),
        help="Spoil the faces, each kind in five strengths: blur, motion, low and one-sided light, glare, noise, JPEG, "
        "low resolution, near infrared, occlusion.",
    ),
]
MasksOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder of black and white masks for --occlusion paper_c or paper_c_picture; black hides."
    ),
]
MasksWhiteOption = Annotated[bool, typer.Option("--masks-white", help="White hides in the masks of --masks.")]
SheetOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder for sheets of six faces with --occlusion (original, covered, truth, predicted) or --corruption.",
    ),
]


@final
@dataclass(frozen=True)
class _Outputs:
    """Where results go besides the tables; None if not given."""

    json: str | None
    rows: Path | None
    out: Path | None
    worst: int | None
    jitter_report: Path | None
    sheet: Path | None

    def check(self, inputs: Sequence[str | Path | None]) -> None:
        """Refuse outputs that would replace something else."""
        if self.worst is not None and self.out is None:
            raise ConfigError("--worst needs --out DIR, the folder for the sheet of worst faces")
        if self.rows is not None:
            check_rows_path(self.rows)
        pictures = {"--jitter-report": self.jitter_report}
        if self.out is not None:
            pictures |= {f"--out, {name}": self.out / name for name in PICTURES}
        check_targets(inputs, text={"--json": self.json, "--rows": self.rows}, picture=pictures)


@final
@dataclass(frozen=True)
class _Change:
    """What is done to the faces before they are given to the model; None if not given."""

    occlusion: str | None
    corruption: str | None
    masks: Path | None
    masks_white: bool

    @property
    def protocol(self) -> str | None:
        """Name of the protocol; None for faces as they are."""
        if self.occlusion and self.corruption:
            raise ConfigError("Faces are either covered or spoiled: give --occlusion or --corruption")
        if self.occlusion:
            lookup(PROTOCOLS, self.occlusion, kind="occlusion protocol")
        if self.corruption:
            lookup(CORRUPTED, self.corruption, kind="corruption protocol")
        return self.occlusion or self.corruption


def evaluate(
    model: ModelOption = None,
    predictions: PredictionsOption = None,
    dataset: DatasetOption = None,
    root: RootOption = None,
    split: SplitOption = None,
    boxes: BoxesOption = None,
    detector: DetectorOption = None,
    detector_model: DetectorModelOption = None,
    detector_size: DetectorSizeOption = None,
    detector_tiles: DetectorTilesOption = False,
    min_overlap: OverlapOption = None,
    box_jitter: JitterOption = None,
    seed: SeedOption = None,
    scheme: SchemeOption = None,
    json: JsonFractionsOption = None,
    out: OutOption = None,
    rows: RowsOption = None,
    worst: WorstOption = None,
    threads: ThreadsOption = None,
    passes: PassesOption = None,
    jitter_report: JitterReportOption = None,
    tolerance: ToleranceOption = None,
    scale: ScaleOption = None,
    occlusion: OcclusionOption = None,
    conversion: ConversionOption = None,
    corruption: CorruptionOption = None,
    sheet: SheetOption = None,
    masks: MasksOption = None,
    masks_white: MasksWhiteOption = False,
) -> None:
    """Evaluate a landmark model, or a file of predictions, on a dataset."""
    options = {
        "dataset": dataset, "root": root, "split": split, "boxes": boxes, "detector": detector,
        "detector_model": detector_model, "detector_size": detector_size, "detector_tiles": detector_tiles,
        "min_overlap": min_overlap, "box_jitter": box_jitter, "seed": seed, "scheme": scheme, "threads": threads,
        "passes": passes, "tolerance": tolerance, "scale": scale,
        "conversion": conversion,
    }  # fmt: skip
    outputs = _Outputs(json=json, rows=rows, out=out, worst=worst, jitter_report=jitter_report, sheet=sheet)
    outputs.check([*(model or []), *(predictions or []), detector_model])
    change = _Change(occlusion, corruption, masks, masks_white)
    if change.protocol is None:
        refuse_options("without occlusion or corruption", sheet=sheet, masks=masks, masks_white=masks_white or None)
        _evaluate(model or [], predictions or [], options, outputs)
    else:
        _evaluate_changed(change, model or [], predictions or [], options, outputs)


def _only(name: str, values: Sequence[T]) -> T | None:
    """The value of an option that may be given once where faces are not changed."""
    if len(values) > 1:
        raise ConfigError(f"Several --{name} can only be compared or pooled with --occlusion or --corruption; give one")
    return next(iter(values), None)


def _evaluate(models: list[str], files: list[Path], options: dict[str, Any], outputs: _Outputs) -> None:
    model, file = _only("model", models), _only("predictions", files)
    options |= {name: _only(name, options[name] or []) for name in ("dataset", "root", "split")}
    if outputs.jitter_report is not None:
        refuse_options(
            "with jitter-report, which evaluates a model", predictions=file, box_jitter=options["box_jitter"]
        )
    errors = Console(stderr=True, highlight=False)
    _show_notes(errors)
    progress = partial(track, console=errors, transient=True)
    report = evaluate_on(model, predictions=file, progress=progress, **options)
    console = errors if outputs.json == "-" else Console(highlight=False)
    console.print(*report_tables(report))
    if outputs.jitter_report is not None:
        jitter = evaluate_jitter(report, model, threads=options["threads"], progress=progress)
        console.print(jitter_table(jitter))
        plot_jitter(outputs.jitter_report, jitter.curves(), lines=jitter.lines(), title=jitter.title)
    if outputs.json is not None:
        write_json(outputs.json, report.to_dict())
    if outputs.rows is not None:
        write_rows(outputs.rows, report.rows)
    if outputs.out is not None:
        _print_written(write_report(outputs.out, report, worst=outputs.worst), errors, missing="error curves")
        if outputs.worst is None and not has_pictures(report):
            note = "no worst faces: the pictures are not known; give --dataset and --root, or their folder as --root"
            errors.print(note, soft_wrap=True)


def _evaluate_changed(
    change: _Change, models: list[str], files: list[Path], options: dict[str, Any], outputs: _Outputs
) -> None:
    protocol, how = change.protocol or "", "occlusion" if change.occlusion else "corruption"
    unused = ("boxes", "detector", "detector_model", "detector_size", "min_overlap", "box_jitter", "tolerance", "scale")
    refuse_options(
        f"with {how}", **{name: options.pop(name) for name in unused},
        detector_tiles=options.pop("detector_tiles") or None, worst=outputs.worst, jitter_report=outputs.jitter_report,
    )  # fmt: skip
    if outputs.rows is not None and len(models) + len(files) > 1:
        raise ConfigError("--rows holds one model; for several, --out DIR writes one file per model")
    options |= {name: options[name] or None for name in ("dataset", "root", "split")}
    options |= {"masks": change.masks, "masks_white": change.masks_white}
    _check_sheets(protocol, models, files, outputs)
    errors = Console(stderr=True, highlight=False)
    progress = partial(track, console=errors, transient=True)
    found = evaluate_covered(protocol, models=models, kept=files, progress=progress, **options)
    console = errors if outputs.json == "-" else Console(highlight=False)
    console.print(*(covered_tables if change.occlusion else corrupted_tables)(found, protocol=protocol))
    first = next(iter(found.values()))
    if outputs.json is not None:
        write_json(outputs.json, cover_json(found))
    if outputs.rows is not None:
        write_rows(outputs.rows, first)
    if outputs.out is not None:
        title = f"{sets_in_words(first)}, {how} {protocol}"
        _print_written(write_cover_report(outputs.out, found, title=title), errors, missing="plot")
    if outputs.sheet is not None:
        sheets = model_sheets(protocol, models=models, progress=progress, **options)
        _print_written(_written_sheets(outputs.sheet, sheets), errors, missing="sheets")


def _check_sheets(protocol: str, models: Sequence[str], files: Sequence[Path], outputs: _Outputs) -> None:
    """Refuse sheets that would replace other pictures, before a long evaluation."""
    if outputs.sheet is None:
        return
    if files and not models:
        raise ConfigError("--sheet needs a --model: files of rows do not hold the predicted points")
    names = [open_model(model).card.name for model in models or ["default"]]
    sheets = [f"{name}_{sheet}.png" for name in names for sheet in sheet_names(conditions_of(protocol))]
    check_targets([*models, *files], picture={f"--sheet, {name}": outputs.sheet / name for name in sheets})


def _written_sheets(folder: Path, sheets: Iterator[tuple[str, Image]]) -> Iterator[Path]:
    for name, picture in sheets:
        write_image(folder / f"{name}.png", picture)
        yield folder / f"{name}.png"


def _show_notes(console: Console) -> None:
    """Print the notes of the readers of datasets, unless the program has its own logging."""
    if not logging.getLogger().handlers:
        handler = RichHandler(console=console, show_time=False, show_path=False)
        logging.basicConfig(format="%(message)s", handlers=[handler])
        logging.getLogger("canthus.data").setLevel(logging.INFO)


def _print_written(paths: Iterator[Path], console: Console, *, missing: str) -> None:
    """Print each file that is written; ``missing`` is what needs matplotlib and comes last."""
    try:
        for path in paths:
            console.print(f"wrote {markup(path)}", soft_wrap=True)
    except MissingExtraError as error:
        console.print(f"no {missing}: {markup(error)}", soft_wrap=True)
