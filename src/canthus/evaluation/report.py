"""The report of one evaluation, and its files."""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from canthus.errors import printable
from canthus.evaluation.plots import plot_error_curves, plot_reliability
from canthus.evaluation.predictions import Prediction, write_predictions
from canthus.evaluation.reliability import Reliability, score_reliability
from canthus.evaluation.rows import FaceError, face_error, protocol_of, scale_for, write_rows
from canthus.evaluation.sheets import worst_sheet
from canthus.evaluation.summary import Summary, divide, null_for_nan, summarize
from canthus.files import write_text
from canthus.images import write_image
from canthus.runtime.cards import TOLERANCE
from canthus.types import SCHEMA_VERSION

_log = logging.getLogger(__name__)

_WORST = 16
"""Default number of faces on the sheet of worst faces."""


@final
@dataclass(frozen=True)
class Report:
    """The result of one evaluation: one row of errors per face.

    ``len(report)`` is the number of labelled faces, ``for row in report`` iterates over their rows, ``print(report)``
    prints the main error, and ``report.to_dict()`` holds all numbers.

    Attributes:
        model: name of the model, or of the file of predictions.
        dataset: name of the dataset, or of the file of predictions.
        boxes: source of the face boxes, one of ``BOXES``.
        protocol: source of the face boxes in words, with its settings.
        rows: errors of each labelled face.
        predictions: predicted points in the order of ``rows``; empty if the report was made from a file of rows.
        reliability: quality of the confidence of the points; None if the predictions have no confidence.
        passes: crops per face.
        scale: key of ``SCALES`` where another error than that of the dataset's protocol is reported, or "".
        conversion: variant by which the true points were converted to the scheme of the model, or "".
    """

    model: str
    dataset: str
    split: str
    boxes: str
    protocol: str
    rows: Sequence[FaceError]
    predictions: Sequence[Prediction] = ()
    reliability: Reliability | None = None
    passes: int = 1
    scale: str = ""
    conversion: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[FaceError]:
        return iter(self.rows)

    def __str__(self) -> str:
        protocol, summary = protocol_of(self.dataset, self.scale), summarize(self.rows)
        error = f"NME {100 * getattr(summary, protocol.error):.3f} % of the {protocol.scale}"
        return f"{self.title}, boxes: {self.protocol}: {summary.faces} faces, {summary.missed} missed, {error}"

    def to_dict(self) -> dict[str, Any]:
        """All numbers of the report, as ``canthus evaluate --json`` writes them; see ``report_json``."""
        return report_json(self)

    @property
    def title(self) -> str:
        """Model, dataset and split; only the file's name for predictions that carry their ground truth."""
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
    passes: int = 1,
    scale: str | None = None,
) -> Report:
    """Score predictions; see ``Report`` for the arguments that it holds.

    Args:
        tolerance: a point with confidence is right if its error is at most this fraction of the longer side of the
            face box.
        scale: key of ``SCALES`` that the reported errors are divided by; None for the usual one of the dataset, or
            the longer side of the face box for a scheme without eye corners.

    Raises:
        ConfigError: the scheme has no such scale.
        DataError: the ground truth of a face lacks what its errors need.
    """
    used = scale_for(predictions[0].truth.scheme, dataset, scale) if predictions else ""
    if used and not scale:
        _log.warning(
            "%s has no eye corners, so there is no inter-ocular distance: errors are over the %s; the scales box and "
            "diagonal are others", printable(predictions[0].truth.scheme.name), protocol_of(dataset, used).scale,
        )  # fmt: skip
    rows = [face_error(p, dataset=dataset, split=split, boxes=boxes, scale=used) for p in predictions]
    found = score_reliability(predictions, tolerance=tolerance)
    return Report(model, dataset, split, boxes, protocol, rows, predictions, found, passes, used)


def report_json(report: Report) -> dict[str, Any]:
    """All numbers of a report as plain values for ``json``: fractions, and null if there was nothing to average."""
    summary = summarize(report.rows)
    values = {
        "model": report.model,
        "dataset": report.dataset,
        "split": report.split,
        "boxes": report.boxes,
        "protocol": report.protocol,
        **({"scale": report.scale} if report.scale else {}),
        **_numbers(summary),
        "groups": summary.parts,
        "subsets": {name: _numbers(summarize(rows)) for name, rows in divide(report.rows).items()},
    }
    if report.conversion:
        values["conversion"] = report.conversion
    if report.reliability is not None:
        values["confidence"] = asdict(report.reliability)
    return dict(null_for_nan(values)) | {"schema_version": SCHEMA_VERSION}


def write_summary(folder: Path, value: Any) -> Path:
    """Create ``folder`` if it does not exist, and write ``value`` to its ``summary.json``.

    Raises:
        OutputError: the folder cannot be created or written to.
    """
    write_text(folder / "summary.json", json.dumps(value, indent=1) + "\n")
    return folder / "summary.json"


def has_pictures(report: Report) -> bool:
    """Whether a report has predictions and their pictures are at hand, so that the worst faces can be drawn."""
    return bool(report.predictions) and all(prediction.truth.path.is_file() for prediction in report.predictions)


def write_report(folder: str | os.PathLike[str], report: Report, *, worst: int | None = None) -> Iterator[Path]:
    """Write ``summary.json``, ``rows.csv``, ``predictions.json``, ``worst.png`` and last the plots (extra: plots).

    The plots are ``errors.png`` and, for predictions with confidence, ``reliability.png``.  A report without
    predictions has no ``predictions.json`` and no ``worst.png``.

    Args:
        folder: created if it does not exist.
        worst: number of faces on ``worst.png``, 0 for no such file; if None, 16 faces if the pictures are at hand.

    Yields:
        Each file once it is written.

    Raises:
        DataError: the folder cannot be created or written to.
        ImageError: a picture for the sheet cannot be read.
        MissingExtraError: matplotlib is not installed; all other files are written by then.
    """
    folder = Path(folder)
    yield write_summary(folder, report_json(report))
    write_rows(folder / "rows.csv", report.rows)
    yield folder / "rows.csv"
    if report.predictions:
        tolerance = report.reliability.tolerance if report.reliability else None
        write_predictions(folder / "predictions.json", report.predictions, boxes=report.boxes, tolerance=tolerance)
        yield folder / "predictions.json"
    if worst is None:
        worst = _WORST * has_pictures(report)
    if report.predictions and worst:
        write_image(folder / "worst.png", worst_sheet(report.predictions, report.rows, count=worst))
        yield folder / "worst.png"
    divisions = {"all": report.rows, **divide(report.rows)}
    protocol = protocol_of(report.dataset, report.scale)
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
    values = asdict(summary)
    del values["parts"]
    values["openness"] = values.pop("openness")  # the last one in the file
    return values
