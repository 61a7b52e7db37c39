"""What ``canthus evaluate-detector`` was asked for, made into reports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import final

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from canthus.data.scenes import SCENE_SETS, load_scenes
from canthus.errors import ConfigError
from canthus.evaluation.detection import MIN_OVERLAP, match_scenes
from canthus.evaluation.detection_report import DetectorReport
from canthus.evaluation.run import detect_scenes
from canthus.evaluation.wider_face import (
    LEVELS,
    WiderPrecision,
    prediction_key,
    read_wider_predictions,
    read_wider_truth,
    wider_precision,
    write_wider_predictions,
)
from canthus.lookup import lookup
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.detector import Detector
from canthus.runtime.detectors import create_detector, detector_name
from canthus.runtime.haar_detector import HaarDetector
from canthus.runtime.tiled_detector import TiledDetector
from canthus.runtime.yunet_detector import YuNetDetector
from canthus.types import Faces, Scene

LEAST_SCORE = 0.02
"""Scores from here on are measured, unless told otherwise: far below what is shown in use."""
_USUAL_SCORE = 0.5
"""Of finds that were read from files, which do not say."""


@final
@dataclass(frozen=True)
class DetectorRequest:
    """Options as they were given; None where they were not."""

    dataset: str
    root: Path
    split: str | None = None
    detectors: Sequence[str] = ()
    predictions: Sequence[Path] = ()
    model: Path | None = None
    size: int | None = None
    tiles: bool = False
    threads: int = 1
    least_score: float | None = None
    min_overlap: float | None = None
    write_predictions: Path | None = None
    official: bool = False

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ConfigError: an option is out of range or has no effect.
        """
        for name, value in (("least-score", self.least_score), ("min-overlap", self.min_overlap)):
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"--{name} is a fraction from 0 to 1, found {value:g}")
        if self.min_overlap == 0:
            raise ConfigError("--min-overlap 0 would take any box for any face; expected a fraction above 0")
        self._check_settings()
        _check_names([Path(name).stem for name in self.detectors] + [folder.name for folder in self.predictions])
        if self.write_predictions is not None and (len(self.detectors) != 1 or self.predictions):
            raise ConfigError("--write-predictions takes one --detector, so that its files do not mix with others")
        if self.official and (self.dataset, self.split or "val") != ("widerface", "val"):
            raise ConfigError("--official is the protocol of --dataset widerface --split val; leave it out here")

    def _check_settings(self) -> None:
        """Refuse settings that no detector, or more than one, would get."""
        given = {
            "--detector-model": self.model, "--detector-size": self.size,
            "--detector-tiles": self.tiles or None, "--least-score": self.least_score,
        }  # fmt: skip
        if not self.detectors and any(value is not None for value in given.values()):
            names = ", ".join(name for name, value in given.items() if value is not None)
            raise ConfigError(f"{names}: no effect with --predictions alone; leave it out")
        if self.model is not None and len(self.detectors) > 1:
            raise ConfigError("--detector-model is the file of one --detector; give files themselves as --detector")


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"Two rows would be called {twice[0]!r}; give each detector and each folder its own name")


def make_reports(request: DetectorRequest, console: Console) -> list[DetectorReport]:
    """Run or read every detector that was asked for; progress goes to ``console``.

    Raises:
        CanthusError: options contradict each other, or a file cannot be read.
    """
    if not request.detectors and not request.predictions:
        request = replace(request, detectors=("default",))
    request.check()
    request = replace(request, detectors=tuple(map(detector_name, request.detectors)))
    split, scenes = _scenes(request)
    cv2.setNumThreads(request.threads)
    opened = [_opened(name, request) for name in request.detectors]  # all first: a wrong name must not cost a run
    reports = []
    for name, (detector, usual) in zip(request.detectors, opened, strict=True):
        bar = track(detect_scenes(scenes, detector), name, total=len(scenes), console=console, transient=True)
        found = list(bar)
        seconds = np.array([detection.seconds for detection in found], np.float64)
        report = _report(request, split, scenes, [detection.faces for detection in found])
        reports.append(replace(report, detector=Path(name).stem, usual_score=usual, seconds=seconds))
    for folder in request.predictions:
        report = _report(request, split, scenes, read_wider_predictions(folder, scenes))
        reports.append(replace(report, detector=folder.name))
    if request.write_predictions is not None:
        write_wider_predictions(request.write_predictions, scenes, reports[0].found)
    return reports


def official_precision(root: Path, reports: Sequence[DetectorReport]) -> dict[str, Mapping[str, WiderPrecision]]:
    """Name of each detector -> level -> average precision by WIDER FACE's own protocol.

    Raises:
        DataError: the truth of the protocol is missing or damaged.
    """
    truth = read_wider_truth(root)
    results: dict[str, Mapping[str, WiderPrecision]] = {}
    for report in reports:
        found = {prediction_key(scene): faces for scene, faces in zip(report.scenes, report.found, strict=True)}
        habit = report.scenes[0].habit
        results[report.detector] = {level: wider_precision(truth, found, level=level, habit=habit) for level in LEVELS}
    return results


def _scenes(request: DetectorRequest) -> tuple[str, list[Scene]]:
    """The split, and its pictures."""
    dataset = lookup(SCENE_SETS, request.dataset, kind="set of pictures with faces")
    split = request.split or dataset.default_scene_split
    return split, load_scenes(request.dataset, request.root, split)


def _opened(name: str, request: DetectorRequest) -> tuple[Detector, float]:
    """The detector set to give all scores that are measured, and the score that it shows faces from in use."""
    create = partial(
        create_detector, name, model=request.model, size=request.size, tiles=request.tiles, threads=request.threads
    )
    usual = create()
    whole = usual.detector if isinstance(usual, TiledDetector) else usual
    if not isinstance(whole, HaarDetector | CanthusDetector | YuNetDetector):
        return usual, 0.0
    least = LEAST_SCORE if request.least_score is None else request.least_score
    return create(least_score=least), whole.least_score


def _report(request: DetectorRequest, split: str, scenes: Sequence[Scene], found: Sequence[Faces]) -> DetectorReport:
    min_overlap = MIN_OVERLAP if request.min_overlap is None else request.min_overlap
    return DetectorReport(
        detector="",
        dataset=request.dataset,
        split=split,
        min_overlap=min_overlap,
        usual_score=_USUAL_SCORE,
        scenes=scenes,
        found=found,
        rows=match_scenes(scenes, found, min_overlap=min_overlap),
        seconds=np.zeros(0),
    )
