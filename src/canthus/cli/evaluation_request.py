"""What ``canthus evaluate`` was asked for, made into a report."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import track

from canthus.data import LANDMARK_SETS, load_dataset
from canthus.errors import ConfigError, DataError, MissingExtraError
from canthus.evaluation.boxes import MIN_OVERLAP, BoxJitter
from canthus.evaluation.predictions import (
    carries_truth,
    match_detections,
    parse_predictions,
    read_json_list,
)
from canthus.evaluation.report import Report, score, write_report
from canthus.evaluation.rows import BOXES, read_rows
from canthus.evaluation.run import predict_on_detected, predict_on_truth
from canthus.evaluation.summary import UNIONS
from canthus.lookup import lookup, unknown_name
from canthus.runtime.cards import TOLERANCE
from canthus.runtime.detectors import create_detector, detector_name, usual_passes
from canthus.runtime.landmarker import Landmarker, open_model
from canthus.schemes import find_scheme
from canthus.types import Annotation

_WORST = 16
_DETECTOR = ("detector", "detector_model", "detector_size", "detector_tiles")


@final
@dataclass(frozen=True)
class Request:
    """Options as they were given; None where they were not."""

    model: str | None = None
    predictions: Path | None = None
    dataset: str | None = None
    root: Path | None = None
    split: str | None = None
    boxes: str | None = None
    detector: str | None = None
    detector_model: Path | None = None
    detector_size: int | None = None
    detector_tiles: bool | None = None
    min_overlap: float | None = None
    box_jitter: float | None = None
    seed: int | None = None
    scheme: str | None = None
    threads: int | None = None
    passes: int | None = None
    tolerance: float | None = None

    def refuse(self, names: Iterable[str], *, because: str) -> None:
        """Refuse options that would have no effect.

        Raises:
            ConfigError: one of them was given.
        """
        for name in names:
            if getattr(self, name) is not None:
                raise ConfigError(f"--{name.replace('_', '-')} has no effect {because}; leave it out")


def make_report(request: Request, console: Console) -> Report:
    """Run or read what was asked for, and score it; progress and notes go to ``console``.

    Raises:
        CanthusError: options contradict each other, or a file cannot be read.
    """
    if not logging.getLogger().handlers:
        handler = RichHandler(console=console, show_time=False, show_path=False)
        logging.basicConfig(format="%(message)s", handlers=[handler])
        logging.getLogger("canthus.data").setLevel(logging.INFO)
    if request.boxes is not None and request.boxes not in BOXES:
        raise unknown_name(request.boxes, BOXES, kind="source of boxes")
    if request.tolerance is not None and not request.tolerance > 0:
        raise ConfigError(f"--tolerance is a positive fraction of the face box, found {request.tolerance:g}")
    if request.predictions is not None:
        request.refuse(("model", *_DETECTOR, "box_jitter", "seed", "threads", "passes"), because="with --predictions")
        return _from_file(request, request.predictions)
    return _from_model(request, console)


def wanted_passes(request: Request) -> int:
    """How often each face is cut out: as asked for, else as suits where the boxes come from."""
    return request.passes or (usual_passes(request.detector or "default") if request.boxes == "detector" else 1)


def report_notes(out: Path, report: Report, worst: int | None) -> Iterator[str]:
    """Write the files of a report, and say which, and which not and why."""
    pictures = bool(report.predictions) and all(p.truth.path.is_file() for p in report.predictions)
    count = worst if worst is not None else _WORST * pictures
    try:
        for path in write_report(out, report, worst=count):
            yield f"wrote {path}"
    except MissingExtraError as error:
        yield f"no error curves: {error}"
    if worst is None and not pictures:
        yield "no worst faces: the pictures are not known; give --dataset and --root, or their folder as --root"


def _from_model(request: Request, console: Console) -> Report:
    request = _checked(request)
    request.refuse(("tolerance",), because="with a model, whose file states it")
    session = open_model(request.model or "default", threads=request.threads or 1)
    name, split, annotations = truth_of(request)
    count = wanted_passes(request)
    landmarker = Landmarker(session, passes=count)
    passes = f"; {count} passes" if count > 1 else ""
    if request.boxes == "detector":
        min_overlap = MIN_OVERLAP if request.min_overlap is None else request.min_overlap
        detector = create_detector(
            request.detector or "default",
            model=request.detector_model,
            size=request.detector_size,
            tiles=bool(request.detector_tiles),
            threads=request.threads or 1,
        )
        found = predict_on_detected(annotations, landmarker, detector, min_overlap=min_overlap)
        protocol = (
            f"detector {_detector(request)}, overlap above {min_overlap:g}; "
            f"missed faces are failures, outside NME{passes}"
        )
    else:
        jitter = None if request.box_jitter is None else BoxJitter(request.box_jitter, request.seed or 0)
        found = predict_on_truth(annotations, landmarker, jitter=jitter)
        moved = f", moved by up to {100 * jitter.fraction:g} % (seed {jitter.seed})" if jitter else ""
        protocol = f"truth{moved}{passes}"
    bar = track(found, "predicting", total=len(annotations), console=console, transient=True)
    calibration = session.card.calibration
    return score(
        list(bar),
        model=session.card.name,
        dataset=name,
        split=split,
        boxes=request.boxes or "truth",
        protocol=protocol,
        tolerance=calibration.tolerance if calibration else TOLERANCE,
    )


def _detector(request: Request) -> str:
    """Name or file of the detector with its settings."""
    words = [detector_name(request.detector or "default")]
    if request.detector_model is not None:
        words.append(str(request.detector_model))
    if request.detector_size is not None:
        words.append(f"at {request.detector_size} px")
    return " ".join(words + ["with tiles"] * bool(request.detector_tiles))


def _checked(request: Request) -> Request:
    if request.boxes == "detector":
        request.refuse(("box_jitter", "seed"), because="with --boxes detector")
    elif request.boxes in (None, "truth"):
        request.refuse((*_DETECTOR, "min_overlap"), because="without --boxes detector")
        if request.box_jitter is None:
            request.refuse(("seed",), because="without --box-jitter")
        elif not 0 <= request.box_jitter < 1:
            raise ConfigError(f"--box-jitter is a fraction from 0 up to 1, found {request.box_jitter}")
    else:
        raise ConfigError(f"A model needs boxes: expected --boxes truth or detector, found {request.boxes}")
    return request


def _from_file(request: Request, path: Path) -> Report:
    if path.suffix in (".csv", ".parquet"):
        request.refuse(("dataset", "root", "split", "min_overlap", "scheme", "tolerance"), because="with kept rows")
        return _from_rows(request, path)
    entries = read_json_list(path)
    if not carries_truth(entries):
        return _from_detections(request, path, entries)
    request.refuse(("dataset", "split", "min_overlap"), because="with predictions that carry their truth")
    scheme = find_scheme(request.scheme or str(entries[0].get("scheme", "ibug_68")))
    boxes = request.boxes or str(entries[0].get("boxes", "unstated"))
    found = parse_predictions(entries, scheme, root=request.root or Path(), source=str(path))
    tolerance = request.tolerance or _stated_tolerance(entries[0], path)
    return score(found, model=path.name, dataset=path.stem, split="", boxes=boxes, protocol=boxes, tolerance=tolerance)


def _stated_tolerance(entry: Mapping[str, Any], path: Path) -> float:
    """What a file of predictions counts as right, where it says so."""
    stated = entry.get("tolerance", TOLERANCE)
    if not isinstance(stated, int | float) or not stated > 0:
        raise DataError(f"{path}: expected a positive number 'tolerance', found {stated!r}")
    return float(stated)


def _from_rows(request: Request, path: Path) -> Report:
    rows = read_rows(path)
    if not rows:
        raise DataError(f"{path}: holds no rows")
    boxes = request.boxes or rows[0].boxes
    return Report(path.name, rows[0].dataset, rows[0].split, boxes, f"{boxes} (kept rows)", rows)


def _from_detections(request: Request, path: Path, entries: Sequence[Mapping[str, Any]]) -> Report:
    if request.dataset is None or request.root is None:
        raise ConfigError(f"{path} holds no truth; name the dataset it belongs to by --dataset and --root")
    name, split, annotations = truth_of(request)
    min_overlap = MIN_OVERLAP if request.min_overlap is None else request.min_overlap
    found = match_detections(entries, annotations, root=request.root, min_overlap=min_overlap, source=str(path))
    boxes = request.boxes or "detector"
    protocol = f"{boxes} of {path.name}, overlap above {min_overlap:g}; missed faces are failures, outside NME"
    tolerance = request.tolerance or TOLERANCE
    return score(found, model=path.name, dataset=name, split=split, boxes=boxes, protocol=protocol, tolerance=tolerance)


def truth_of(request: Request) -> tuple[str, str, list[Annotation]]:
    """Name of the dataset, split, and its faces.

    Raises:
        ConfigError: no dataset is named, or no split where one must be.
        DataError: the folder holds none of it.
    """
    if request.dataset is None or request.root is None:
        raise ConfigError("Name the dataset and its folder: --dataset 300w --root DIR")
    dataset = lookup(LANDMARK_SETS, request.dataset, kind="dataset")
    splits = (request.split,) if request.split else dataset.default_splits
    if not splits:
        raise ConfigError(f"Name a split of {request.dataset} by --split: {', '.join(dataset.splits)}")
    failures = []
    for split in splits:
        try:
            annotations = load_dataset(request.dataset, request.root, split, scheme=request.scheme)
        except DataError as error:
            failures.append(error)
            continue
        subsets = {annotation.subset for annotation in annotations}
        unions = UNIONS.get((request.dataset, split), {})
        if request.split or all(subsets.intersection(members) for members in unions.values()):
            return request.dataset, split, annotations
    raise failures[-1]
