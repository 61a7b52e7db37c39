"""Evaluate face detectors on a dataset: run them or read their boxes, match the boxes to the labels, write files."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from canthus.data.scenes import load_scenes, scene_sets
from canthus.errors import ConfigError
from canthus.evaluation.detection import MIN_OVERLAP, match_scenes
from canthus.evaluation.detection_report import DetectorReport, detector_json, write_detection_rows
from canthus.evaluation.plots import plot_detectors
from canthus.evaluation.report import write_summary
from canthus.evaluation.run import Progress, no_progress, refuse_options
from canthus.evaluation.sheets import worst_pictures_sheet
from canthus.evaluation.truth import StrPath
from canthus.evaluation.wider_face import (
    LEVELS,
    prediction_key,
    read_wider_predictions,
    read_wider_truth,
    wider_precision,
)
from canthus.images import read_image, write_image
from canthus.lookup import lookup
from canthus.runtime.detectors import (
    Detector,
    ScoredDetector,
    create_detector,
    detector_name,
    found_faces,
    most_passes,
    usual_passes,
)
from canthus.runtime.landmarker import CropModel, Landmarker, open_model
from canthus.runtime.pipeline import Pipeline
from canthus.runtime.sessions import usable_threads
from canthus.types import Faces, Scene

LEAST_SCORE = 0.02
"""Detections of a lower score are left out, unless another limit is given; far below the score used in practice."""
_USUAL_SCORE = 0.5
"""Usual score of detections read from files, which do not state one."""
_WORST = 12
"""Pictures on the sheet of worst pictures, unless another number is given."""


def evaluate_detectors(
    dataset: str,
    root: StrPath,
    *,
    split: str | None = None,
    detectors: Sequence[str] = (),
    predictions: Sequence[Path] = (),
    detector_model: StrPath | None = None,
    detector_size: int | None = None,
    detector_tiles: bool = False,
    threads: int = 1,
    least_score: float | None = None,
    min_confidence: float = 0.0,
    min_overlap: float = MIN_OVERLAP,
    official: bool = False,
    progress: Progress = no_progress,
) -> list[DetectorReport]:
    """Evaluate face detectors on a dataset.

    Args:
        dataset: a key of ``canthus.data.DATASETS``.
        split: if None, the dataset's ``default_scene_split``.
        detectors: names or ONNX files as in ``create_detector``; the default one if there are no predictions either.
        predictions: folders of detections, ``<event>/<picture>.txt`` as for WIDER FACE.
        detector_model: ONNX file of the one detector.
        detector_size: longer side in pixels to which pictures are resized.
        detector_tiles: also search tiles of large pictures.
        least_score: leave out detections of a lower score; ``LEAST_SCORE`` if None.
        min_confidence: leave out detections whose landmarks, found by the embedded model, have a lower confidence of
            the whole face; the time of a picture then includes the landmarks.
        min_overlap: least IoU of a detection and a labelled face.
        official: also evaluate by WIDER FACE's own protocol.

    Returns:
        One report per detector, then one per folder of predictions.

    Raises:
        ConfigError: a name is unknown, or options contradict each other or are out of range.
        DataError: the folder does not hold the dataset, or a file is damaged.
        ImageError: a picture cannot be read.
    """
    detectors = [detector_name(name) for name in detectors or ([] if predictions else ["default"])]
    if official and (dataset, split or "val") != ("widerface", "val"):
        raise ConfigError("The official protocol is only for dataset widerface, split val; leave it out here")
    settings: dict[str, Any] = {"model": detector_model, "size": detector_size, "tiles": detector_tiles}
    limits = {"least_score": least_score, "min_confidence": min_confidence or None}
    _check(detectors, predictions, limits=limits, min_overlap=min_overlap, **settings)
    split = split or lookup(scene_sets(), dataset, kind="set of pictures with faces").default_scene_split
    scenes = load_scenes(dataset, root, split)
    threads = usable_threads(threads)
    cv2.setNumThreads(threads)
    least = LEAST_SCORE if least_score is None else least_score
    opened = {name: _opened(partial(create_detector, name, threads=threads, **settings), least) for name in detectors}
    session = open_model(threads=threads) if min_confidence > 0 else None
    report = partial(_report, scenes, dataset=dataset, split=split, min_overlap=min_overlap)
    reports = []
    for name, (detector, usual_score) in opened.items():
        used = detector if session is None else _sure_detector(detector, name, session, min_confidence)
        found = list(progress(detect_scenes(scenes, used), name, len(scenes)))
        seconds = [detection.seconds for detection in found]
        faces = [detection.faces for detection in found]
        reports.append(report(faces, detector=Path(name).stem, usual_score=usual_score, seconds=seconds))
    for folder in predictions:
        faces = read_wider_predictions(folder, scenes)
        reports.append(report(faces, detector=folder.name, usual_score=_USUAL_SCORE, seconds=()))
    return _with_official(reports, root) if official else reports


def _sure_detector(detector: Detector, name: str, session: CropModel, min_confidence: float) -> Detector:
    """A detector that leaves out the faces whose landmarks are not sure enough."""
    landmarker = Landmarker(
        session, passes=usual_passes(name, session.scheme), most_passes=most_passes(name, session.scheme)
    )
    pipeline = Pipeline(detector, landmarker, min_confidence=min_confidence)
    return lambda image: pipeline(image).faces


class Detection(NamedTuple):
    """Faces that a detector found in one picture, and its time without reading the picture."""

    faces: Faces
    seconds: float


def detect_scenes(scenes: Iterable[Scene], detector: Detector) -> Iterator[Detection]:
    """Run a detector on each picture, one at a time and in order.

    Raises:
        ImageError: a picture cannot be read.
    """
    for scene in scenes:
        image = read_image(scene.path)
        start = time.perf_counter()
        faces = found_faces(detector, image)
        yield Detection(faces, time.perf_counter() - start)


def write_detector_reports(
    folder: StrPath, reports: Sequence[DetectorReport], *, worst: int | None = None
) -> Iterator[Path]:
    """Write ``rows.csv``, ``summary.json``, ``worst_<detector>.png`` and last ``curves.png`` (extra: plots).

    Args:
        folder: created if it does not exist.
        worst: pictures on each sheet of worst pictures, 0 for no sheet; 12 if None.

    Yields:
        Each file once it is written.

    Raises:
        DataError: a file cannot be written.
        ImageError: a picture cannot be read.
        MissingExtraError: matplotlib is not installed; all other files are written by then.
    """
    folder = Path(folder)
    write_detection_rows(folder / "rows.csv", reports)
    yield folder / "rows.csv"
    yield write_summary(folder, [detector_json(report) for report in reports])
    count = _WORST if worst is None else worst
    for report in reports if count else ():
        path = folder / f"worst_{report.detector}.png"
        write_image(path, worst_pictures_sheet(report, count=count))
        yield path
    plot_detectors(folder / "curves.png", reports)
    yield folder / "curves.png"


def _check(
    detectors: Sequence[str],
    predictions: Sequence[Path],
    *,
    limits: Mapping[str, float | None],
    min_overlap: float,
    model: StrPath | None,
    size: int | None,
    tiles: bool,
) -> None:
    """Refuse options that contradict each other or are out of range."""
    names = [Path(name).stem for name in detectors] + [folder.name for folder in predictions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"Two detectors or folders are named {twice[0]!r}; rename one")
    if not detectors:
        settings = {"model": model, "size": size, "tiles": tiles or None}
        named = {f"detector_{name}": value for name, value in settings.items()}
        refuse_options("with predictions alone", **named, **limits)
    if model is not None and len(detectors) > 1:
        raise ConfigError("A detector-model is the file of one detector; name the files themselves as detectors")
    for option, value in {**limits, "min_overlap": min_overlap}.items():
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"Expected a fraction from 0 to 1 as {option.replace('_', '-')}, found {value:g}")
    if min_overlap == 0:
        raise ConfigError("With min-overlap 0 any box matches any face; expected a fraction above 0")


def _opened(create: Callable[..., ScoredDetector], least_score: float) -> tuple[ScoredDetector, float]:
    """A detector that gives all faces from ``least_score`` on, and its usual score."""
    usual = create()
    if usual.least_score is None:  # a detector without scores, as the whole picture
        return usual, 0.0
    return create(least_score=least_score), usual.least_score


def _report(
    scenes: Sequence[Scene], found: Sequence[Faces], *, seconds: Sequence[float], min_overlap: float, **fields: Any
) -> DetectorReport:
    return DetectorReport(
        scenes=scenes,
        found=found,
        rows=match_scenes(scenes, found, min_overlap=min_overlap),
        seconds=np.array(seconds, np.float64),
        min_overlap=min_overlap,
        **fields,
    )


def _with_official(reports: Sequence[DetectorReport], root: StrPath) -> list[DetectorReport]:
    """The reports with the average precision by WIDER FACE's own protocol."""
    truth = read_wider_truth(root)
    done = []
    for report in reports:
        found = {prediction_key(scene): faces for scene, faces in zip(report.scenes, report.found, strict=True)}
        habit = report.scenes[0].habit
        official = {level: wider_precision(truth, found, level=level, habit=habit) for level in LEVELS}
        done.append(replace(report, official=official))
    return done
