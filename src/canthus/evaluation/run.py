"""Evaluate landmark models on a dataset: load the faces, predict their points, score them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, final, runtime_checkable

import numpy as np
from jaxtyping import Float32

from canthus.data import landmark_sets
from canthus.errors import ConfigError, DataError
from canthus.evaluation.boxes import MIN_OVERLAP, BoxJitter, match_boxes
from canthus.evaluation.predictions import (
    Prediction,
    carries_truth,
    match_detections,
    parse_predictions,
    read_json_list,
)
from canthus.evaluation.report import Report, score
from canthus.evaluation.rows import BOXES, read_rows
from canthus.evaluation.truth import StrPath, learned_faces, load_truth
from canthus.geometry import box_iou
from canthus.images import read_image
from canthus.lookup import unknown_name
from canthus.plain_data import from_values
from canthus.runtime.cards import TOLERANCE
from canthus.runtime.detectors import Detector, create_detector, detector_name, most_passes, usual_passes
from canthus.runtime.landmarker import CropModel, Landmarker, open_model
from canthus.schemes import CONVERSIONS, Scheme, carried_scheme, find_scheme, own_scheme
from canthus.types import Annotation, Faces, Image, Landmarks, by_picture

T = TypeVar("T")

_DETECTION = ("detector", "detector_model", "detector_size", "detector_tiles")


@runtime_checkable
class Predictor(Protocol):
    """Anything that predicts the landmarks of faces in given boxes, such as the runtime's ``Landmarker``."""

    def __call__(self, image: Image, boxes: Float32[np.ndarray, "n 4"]) -> Landmarks:
        """Landmarks in pixels of the picture, one row per box."""
        ...


@runtime_checkable
class Progress(Protocol):
    """Wraps an iterable to show how much of it is done; ``tqdm.tqdm`` is one."""

    def __call__(self, items: Iterable[T], what: str, total: int, /) -> Iterable[T]:
        """The same items."""
        ...


def no_progress(items: Iterable[T], what: str, total: int, /) -> Iterable[T]:
    """Show nothing."""
    return items


def refuse_options(because: str, **options: object) -> None:
    """Refuse options that would have no effect.

    Raises:
        ConfigError: one of them is not None.
    """
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"Option {name.replace('_', '-')!r} has no effect {because}; leave it out")


@final
@dataclass(frozen=True)
class _Options:
    """Arguments of ``evaluate``; None if not given."""

    model: StrPath | None
    dataset: str | None
    root: StrPath | None
    split: str | None
    boxes: str | None
    detector: StrPath | None
    detector_model: StrPath | None
    detector_size: int | None
    detector_tiles: bool | None
    min_overlap: float | None
    box_jitter: float | None
    seed: int | None
    scheme: str | None
    threads: int | None
    passes: int | None
    tolerance: float | None
    scale: str | None
    conversion: str | None

    @property
    def overlap(self) -> float:
        """Overlap above which a face counts as found."""
        return MIN_OVERLAP if self.min_overlap is None else self.min_overlap

    def refuse(self, *names: str, because: str) -> None:
        """Refuse options that would have no effect."""
        refuse_options(because, **{name: getattr(self, name) for name in names})


def evaluate(
    model: StrPath | None = None,
    dataset: str | None = None,
    root: StrPath | None = None,
    *,
    predictions: StrPath | None = None,
    split: str | None = None,
    boxes: str | None = None,
    detector: StrPath | None = None,
    detector_model: StrPath | None = None,
    detector_size: int | None = None,
    detector_tiles: bool = False,
    min_overlap: float | None = None,
    box_jitter: float | None = None,
    seed: int | None = None,
    scheme: str | None = None,
    threads: int | None = None,
    passes: int | None = None,
    tolerance: float | None = None,
    scale: str | None = None,
    conversion: str | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Evaluate a landmark model, or a file of predictions, on a dataset.

    Args:
        model: name of an embedded model, or a model file (``.onnx`` with a model card, ``.npz``); ``default`` if None.
        dataset: name of a dataset, a key of ``canthus.data.DATASETS``.
        root: folder of the dataset, or of the pictures of ``predictions``.
        predictions: file to score instead of a model: JSON with ground truth as ``write_predictions`` writes it, JSON
            of ``canthus detect`` (needs ``dataset`` and ``root``), or rows (``.csv``, ``.parquet``).
        split: part of the dataset; if None, the first of its ``default_splits`` that the folder holds.
        boxes: ``truth`` (hull of the true points; the default) or ``detector``; a name from ``BOXES`` for predictions.
        detector: face detector for ``boxes="detector"``, as in ``create_detector``.
        detector_model: ONNX file of the detector.
        detector_size: longer side in pixels to which pictures are resized for the detector.
        detector_tiles: also search tiles of large pictures.
        min_overlap: a face counts as found if the IoU of its detected and true box is above this; 0.3 if None.
        box_jitter: shift and scale true boxes by up to this fraction, see ``BoxJitter``.
        seed: random seed of the jitter; 0 if None.
        scheme: scheme to convert the dataset to, or the scheme of a ``folder`` or of predictions: a name, or the path
            of a scheme file.
        threads: threads of the model and of the detector; 1 if None.
        passes: crops per face; if None, 2 for boxes of ``haar`` and ``yunet``, else 1.
        tolerance: for predictions with confidence: a point is right if its error is at most this fraction of the
            longer side of the face box; what the file states, or 0.05, if None.
        scale: what the reported errors are divided by: ``ion``, ``ipn``, ``box``, ``diagonal`` or ``longer``; if None,
            the usual one of the dataset.
        conversion: variant by which the points of the dataset are converted to the scheme of the model, such as
            ``chord``; that of the model's card if None.

    Raises:
        ConfigError: a name is unknown, or options contradict each other.
        DataError: the folder does not hold the dataset, or a file is damaged.
        ImageError: a picture cannot be read.
        ModelFileError: a model file is missing or damaged.
    """
    options = _Options(
        model=model, dataset=dataset, root=root, split=split, boxes=boxes, detector=detector,
        detector_model=detector_model, detector_size=detector_size, detector_tiles=detector_tiles or None,
        min_overlap=min_overlap, box_jitter=box_jitter, seed=seed, scheme=scheme, threads=threads, passes=passes,
        tolerance=tolerance, scale=scale, conversion=conversion,
    )  # fmt: skip
    if boxes is not None and boxes not in BOXES:
        raise unknown_name(boxes, BOXES, kind="source of boxes")
    if predictions is None:
        return _evaluate_model(options, progress)
    options.refuse(
        "model", *_DETECTION, "box_jitter", "seed", "threads", "passes", "conversion", because="with predictions"
    )
    if tolerance is not None and not tolerance > 0:
        raise ConfigError(f"The tolerance is a positive fraction of the face box, found {tolerance:g}")
    return _evaluate_file(options, Path(predictions))


def _evaluate_model(options: _Options, progress: Progress) -> Report:
    options.refuse("tolerance", because="with a model, whose file states it")
    detected = options.boxes == "detector"
    if detected:
        options.refuse("box_jitter", "seed", because="with detected boxes")
    elif options.boxes in (None, "truth"):
        options.refuse(*_DETECTION, "min_overlap", because="without detected boxes")
        if options.box_jitter is None:
            options.refuse("seed", because="without box-jitter")
        elif not 0 <= options.box_jitter < 1:
            raise ConfigError(f"The box jitter is a fraction from 0 up to 1, found {options.box_jitter}")
    else:
        raise ConfigError(f"A model needs boxes: expected truth or detector, found {options.boxes}")
    session = open_model(options.model or "default", threads=options.threads or 1)
    scheme, conversion = truth_for(session, options.dataset, scheme=options.scheme, conversion=options.conversion)
    split, annotations = load_truth(options.dataset, options.root, options.split, scheme=scheme, conversion=conversion)
    name = options.detector or "default"
    if detected and options.passes is None:
        landmarker = Landmarker(
            session, passes=usual_passes(name, session.scheme), most_passes=most_passes(name, session.scheme)
        )
    else:
        landmarker = Landmarker(session, passes=1 if options.passes is None else options.passes)
    protocol, found = (_in_detected_boxes if detected else _in_true_boxes)(options, annotations, landmarker)
    learned = learned_faces(session.card, options.dataset, options.root, annotations)
    calibration = session.card.calibration
    report = score(
        list(progress(found, "predicting", len(annotations))),
        model=session.card.name,
        dataset=options.dataset or "",
        split=split,
        boxes=options.boxes or "truth",
        protocol=protocol
        + _passes_in_words(landmarker)
        + _conversion_in_words(options.dataset, conversion)
        + (learned and f"; {learned}"),
        tolerance=calibration.tolerance if calibration else TOLERANCE,
        passes=landmarker.passes,
        scale=options.scale,
    )
    return replace(report, conversion=conversion or "")


def truth_for(
    session: CropModel, dataset: str | None, *, scheme: str | None, conversion: str | None
) -> tuple[str | Scheme | None, str | None]:
    """Scheme and conversion in which a dataset is read for a model: those asked for, or else those of the model.

    A set of another scheme is converted where it is asked for, or where the card of the model names the conversion
    that its training used.  The labels of a folder are read in the scheme of the model if it is none of canthus.

    Raises:
        ConfigError: a conversion is asked for and there is nothing to convert.
    """
    known = landmark_sets().get(dataset or "")
    source = known.scheme if known else None
    if source is None:
        refuse_options("on labels that are read as they are", conversion=conversion)
        return scheme or (own_scheme(session.scheme) if known else None), None
    target = find_scheme(scheme).name if scheme else session.scheme.name
    variants = CONVERSIONS.get((source, target), {})
    if not variants:
        refuse_options(f"from {source} to {target}; there is nothing to convert", conversion=conversion)
        return scheme, None
    learned = session.card.conversion
    usual = next(iter(variants)) if scheme else None
    used = conversion or (learned if learned in variants else usual)
    return scheme or (session.scheme if used else None), used


def _conversion_in_words(dataset: str | None, conversion: str | None) -> str:
    return f"; points of {dataset} converted by {conversion}" if conversion else ""


def _passes_in_words(landmarker: Landmarker) -> str:
    words = f"; {landmarker.passes} passes" if landmarker.passes > 1 else ""
    more = landmarker.most_passes > landmarker.passes
    return words + (f", up to {landmarker.most_passes} while the points move" if more else "")


def _in_true_boxes(
    options: _Options, annotations: Sequence[Annotation], landmarker: Landmarker
) -> tuple[str, Iterator[Prediction]]:
    if options.box_jitter is None:
        return "truth", predict_on_truth(annotations, landmarker)
    jitter = BoxJitter(options.box_jitter, options.seed or 0)
    protocol = f"truth, moved by up to {100 * jitter.fraction:g} % (seed {jitter.seed})"
    return protocol, predict_on_truth(annotations, landmarker, jitter=jitter)


def _in_detected_boxes(
    options: _Options, annotations: Sequence[Annotation], landmarker: Landmarker
) -> tuple[str, Iterator[Prediction]]:
    name = options.detector or "default"
    words = [detector_name(str(name))]
    if options.detector_model is not None:
        words.append(str(options.detector_model))
    if options.detector_size is not None:
        words.append(f"at {options.detector_size} px")
    if options.detector_tiles:
        words.append("with tiles")
    detector = create_detector(
        name,
        model=options.detector_model,
        size=options.detector_size,
        tiles=bool(options.detector_tiles),
        threads=options.threads or 1,
    )
    found = predict_on_detected(annotations, landmarker, detector, min_overlap=options.overlap)
    return f"detector {' '.join(words)}, {_overlap_rule(options.overlap)}", found


def _overlap_rule(min_overlap: float) -> str:
    return f"overlap above {min_overlap:g}; missed faces are failures, outside NME"


def _evaluate_file(options: _Options, path: Path) -> Report:
    if path.suffix in (".csv", ".parquet"):
        options.refuse(
            "dataset", "root", "split", "min_overlap", "scheme", "tolerance", "scale", because="with kept rows"
        )
        rows = read_rows(path)
        if not rows:
            raise DataError(f"{path}: holds no rows")
        boxes = options.boxes or rows[0].boxes
        first = rows[0]
        return Report(path.name, first.dataset, first.split, boxes, f"{boxes} (kept rows)", rows, scale=first.scale)
    entries = read_json_list(path)
    if not carries_truth(entries):
        return _evaluate_detections(options, path, entries)
    options.refuse("dataset", "split", "min_overlap", because="with predictions that carry their truth")
    scheme = find_scheme(options.scheme) if options.scheme else _scheme_of_entries(entries, str(path))
    boxes = options.boxes or str(entries[0].get("boxes", "unstated"))
    found = parse_predictions(entries, scheme, root=Path(options.root or ""), source=str(path))
    stated = entries[0].get("tolerance", TOLERANCE)
    if options.tolerance is None and not (isinstance(stated, int | float) and stated > 0):
        raise DataError(f"{path}: expected a positive number 'tolerance', found {stated!r}")
    tolerance = options.tolerance or float(stated)
    return score(
        found,
        model=path.name,
        dataset=path.stem,
        split="",
        boxes=boxes,
        protocol=boxes,
        tolerance=tolerance,
        scale=options.scale,
    )


def _scheme_of_entries(entries: Sequence[Mapping[str, Any]], source: str) -> Scheme:
    """The scheme that predictions name, or carry in their first entry."""
    own = entries[0].get("own_scheme")
    carried = (
        from_values(Scheme, own, source=f"{source}: own_scheme", error=DataError) if isinstance(own, dict) else None
    )
    return carried_scheme(str(entries[0].get("scheme", "ibug_68")), carried)


def _evaluate_detections(options: _Options, path: Path, entries: Sequence[Mapping[str, Any]]) -> Report:
    if options.dataset is None or options.root is None:
        raise ConfigError(f"{path} holds no truth; give the dataset that it belongs to, and its root")
    split, annotations = load_truth(options.dataset, options.root, options.split, scheme=options.scheme)
    boxes = options.boxes or "detector"
    return score(
        match_detections(entries, annotations, root=Path(options.root), min_overlap=options.overlap, source=str(path)),
        model=path.name,
        dataset=options.dataset,
        split=split,
        boxes=boxes,
        protocol=f"{boxes} of {path.name}, {_overlap_rule(options.overlap)}",
        tolerance=options.tolerance or TOLERANCE,
        scale=options.scale,
    )


def predict_on_truth(
    annotations: Sequence[Annotation],
    predictor: Predictor,
    *,
    jitter: BoxJitter | None = None,
) -> Iterator[Prediction]:
    """Predict every labelled face in its true box.

    Faces of one picture are predicted together; ``jitter`` shifts and scales their boxes first.

    Raises:
        ConfigError: the model and the ground truth have different schemes.
        ImageError: a picture cannot be read.
    """
    for image, truths in pictures_of(annotations):
        boxes = np.stack([jitter.apply(truth.box, truth.key) if jitter else truth.box for truth in truths])
        faces = predict(predictor, image, boxes, truths[0])
        for truth, box, (points, scores) in zip(truths, boxes, faces, strict=True):
            overlap = float(box_iou(truth.box[None], box[None])[0, 0])
            yield Prediction(truth, points, found=True, box=box, overlap=overlap, scores=scores)


def predict_on_detected(
    annotations: Sequence[Annotation],
    predictor: Predictor,
    detector: Detector,
    *,
    min_overlap: float = MIN_OVERLAP,
) -> Iterator[Prediction]:
    """Detect faces in the whole picture, then predict each labelled face in the detected box that overlaps it most.

    A ``Landmarker`` takes faces as the pipeline does, in crops turned upright (``Landmarker.of_faces``).

    A labelled face is missed unless the IoU of its box with a detected box is above ``min_overlap``.

    Raises:
        ConfigError: the model and the ground truth have different schemes.
        ImageError: a picture cannot be read.
    """
    for image, truths in pictures_of(annotations):
        found = detector(image)
        detected = found.boxes
        matches = match_boxes(np.stack([truth.box for truth in truths]), detected, min_overlap=min_overlap)
        chosen = found[[match.index for match in matches if match.found]]
        faces = iter(predict(_of_detections(predictor, chosen), image, chosen.boxes, truths[0]))
        for truth, match in zip(truths, matches, strict=True):
            if match.found:
                points, scores = next(faces)
                box = detected[match.index]
                yield Prediction(truth, points, found=True, box=box, overlap=match.overlap, scores=scores)
            else:
                yield Prediction.missed(truth, overlap=match.overlap)


def _of_detections(predictor: Predictor, faces: Faces) -> Predictor:
    """The predictor itself, or one that turns the crops of faces upright by the five points of their detector."""
    return (lambda image, boxes: predictor.of_faces(image, faces)) if isinstance(predictor, Landmarker) else predictor


def pictures_of(annotations: Sequence[Annotation]) -> Iterator[tuple[Image, list[Annotation]]]:
    """Read each picture once, and give it with its labelled faces."""
    for path, truths in by_picture(annotations).items():
        yield read_image(path), truths


def predict(
    predictor: Predictor, image: Image, boxes: Float32[np.ndarray, "n 4"], truth: Annotation
) -> list[tuple[Float32[np.ndarray, "k 2"], Float32[np.ndarray, " k"] | None]]:
    """Predict the points of the face in each box, and their confidence if the model gives it.

    Raises:
        ConfigError: the model and ``truth`` have different schemes.
    """
    if len(boxes) == 0:
        return []
    landmarks = predictor(image, boxes)
    if not landmarks.scheme.is_numbered_as(truth.scheme):
        other = (
            "" if landmarks.scheme.name != truth.scheme.name else " with another number or mirror order of the points"
        )
        raise ConfigError(
            f"The model predicts {landmarks.scheme.name}, the truth of {truth.key} is {truth.scheme.name}{other}; "
            "choose a model and a dataset of the same scheme"
        )
    scores = [None] * len(landmarks) if landmarks.scores is None else list(landmarks.scores)
    return list(zip(landmarks.points, scores, strict=True))
