"""One evaluation and the files that are written of it."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from canthus.errors import DataError
from canthus.evaluation.plots import plot_error_curves, plot_reliability
from canthus.evaluation.predictions import Prediction, write_predictions
from canthus.evaluation.reliability import Reliability, score_reliability
from canthus.evaluation.rows import FaceError, face_error, protocol_of, write_rows
from canthus.evaluation.summary import Summary, divide, summarize
from canthus.evaluation.worst import worst_sheet
from canthus.images import write_image
from canthus.runtime.cards import TOLERANCE

_NUMBERS = (
    "nme_ion", "nme_ipn", "fr_8", "fr_10", "auc_8", "nme_visible", "nme_hidden", "nme_eyes",
    "nme_box", "nme_diagonal", "nme_longer", "fr_box_7", "auc_box_7", "mse_unit",
)  # fmt: skip


@final
@dataclass(frozen=True)
class Report:
    """Rows of one evaluation with what they mean.

    Attributes:
        model: network or file of predictions.
        dataset: name of the set, or of the file of predictions.
        split: part of it.
        boxes: one of ``BOXES``.
        protocol: how the boxes came about, in words.
        rows: one per labelled face.
        predictions: in the order of ``rows``; empty where only rows were kept.
        reliability: of the confidence of the points; None where the predictions have none.
    """

    model: str
    dataset: str
    split: str
    boxes: str
    protocol: str
    rows: Sequence[FaceError]
    predictions: Sequence[Prediction] = ()
    reliability: Reliability | None = None

    @property
    def title(self) -> str:
        """What was measured; predictions that carry their truth have no split, and stand for themselves."""
        return f"{self.model} on {self.dataset} {self.split}" if self.split else self.model


def score(
    predictions: Sequence[Prediction],
    *,
    model: str,
    dataset: str,
    split: str,
    boxes: str,
    protocol: str,
    tolerance: float = TOLERANCE,
) -> Report:
    """A report of predictions.

    Args:
        predictions: what to score.
        model: network or file of predictions.
        dataset: name of the set, or of the file of predictions.
        split: part of it.
        boxes: one of ``BOXES``.
        protocol: how the boxes came about, in words.
        tolerance: what confidence counts as right, fraction of the longer side of the face box.

    Raises:
        DataError: the truth of a face cannot be scored.
    """
    rows = [face_error(prediction, dataset=dataset, split=split, boxes=boxes) for prediction in predictions]
    found = score_reliability(predictions, tolerance=tolerance)
    return Report(model, dataset, split, boxes, protocol, rows, predictions, found)


def report_json(report: Report) -> dict[str, Any]:
    """The numbers of a report, ready for ``json``: fractions, and null where nothing could be averaged."""
    divisions = {name: _numbers(summarize(rows)) for name, rows in divide(report.rows).items()}
    summary = summarize(report.rows)
    return {
        "model": report.model,
        "dataset": report.dataset,
        "split": report.split,
        "boxes": report.boxes,
        "protocol": report.protocol,
        **_numbers(summary),
        "groups": {name: _plain(value) for name, value in summary.parts.items()},
        "subsets": divisions,
    } | ({} if report.reliability is None else {"confidence": _reliability_json(report.reliability)})


def _reliability_json(found: Reliability) -> dict[str, Any]:
    names = ("right", "confidence", "ece", "auroc", "rank_correlation", "seen", "hidden")
    bins = [{"points": b.points, "confidence": b.confidence, "right": b.right} for b in found.bins]
    numbers = {name: _plain(getattr(found, name)) for name in names}
    return {"tolerance": found.tolerance, "points": found.points, **numbers, "bins": bins}


def write_report(folder: str | os.PathLike[str], report: Report, *, worst: int) -> Iterator[Path]:
    """Write ``summary.json``, ``rows.csv``, ``predictions.json``, ``worst.png`` and last the plots (extra: plots).

    These are ``errors.png`` and, of predictions with confidence, ``reliability.png``.  Without predictions, and for
    ``worst`` the pictures they belong to, the files made of them are left out.

    Args:
        folder: made where absent.
        report: what to write.
        worst: faces on the sheet; 0 for none.

    Yields:
        Each file once it is written.

    Raises:
        DataError: the folder cannot be made or written to.
        ImageError: a picture for the sheet cannot be read.
        MissingExtraError: matplotlib is not installed; all other files are written by then.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps(report_json(report), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(f"{folder}: cannot be written to ({error.strerror}); choose another folder") from error
    yield folder / "summary.json"
    write_rows(folder / "rows.csv", report.rows)
    yield folder / "rows.csv"
    if report.predictions:
        tolerance = report.reliability.tolerance if report.reliability else None
        write_predictions(folder / "predictions.json", report.predictions, boxes=report.boxes, tolerance=tolerance)
        yield folder / "predictions.json"
    if report.predictions and worst:
        write_image(folder / "worst.png", worst_sheet(report.predictions, report.rows, count=worst))
        yield folder / "worst.png"
    divisions = {"all": report.rows, **divide(report.rows)}
    protocol = protocol_of(report.dataset)
    plot_error_curves(
        folder / "errors.png",
        {name: np.array([row.error for row in rows], np.float64) for name, rows in divisions.items()},
        threshold=protocol.threshold,
        scale=protocol.scale,
        boxes=report.protocol,
        title=report.title,
    )
    yield folder / "errors.png"
    if report.reliability:
        plot_reliability(folder / "reliability.png", report.reliability, title=report.title, boxes=report.protocol)
        yield folder / "reliability.png"


def _numbers(summary: Summary) -> dict[str, Any]:
    counts = {"faces": summary.faces, "missed": summary.missed}
    openness = {name: _plain(value) for name, value in asdict(summary.openness).items()}
    return counts | {name: _plain(getattr(summary, name)) for name in _NUMBERS} | {"openness": openness}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
