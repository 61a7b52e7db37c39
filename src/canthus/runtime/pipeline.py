"""From a picture to faces with landmarks: a detector followed by a landmarker."""

import math
import os
import pickle
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, final

import cv2
import numpy as np
from jaxtyping import Bool

from canthus.errors import CanthusError, ConfigError
from canthus.geometry import box_iou, outside
from canthus.images import checked_image, decode_image, read_image
from canthus.runtime.backends import CPU, ONNXRUNTIME, find_device
from canthus.runtime.canthus_detector import MOST_WITHIN, CanthusDetector, distinct_boxes
from canthus.runtime.detectors import (
    DETECTORS,
    SURE_SCORE,
    Detector,
    TiledDetector,
    Tiles,
    create_detector,
    found_faces,
    most_passes,
    sure_detector,
    turned_look,
    usual_passes,
    weak_detector,
)
from canthus.runtime.landmarker import Landmarker, gives_face_confidence, open_model
from canthus.runtime.processes import Processes, in_order
from canthus.runtime.sessions import processors
from canthus.types import DOUBTFUL, Faces, Frame, Image, Landmarks
from canthus.zoo import embedded_detectors, embedded_models

CARD_THREADS = 16
"""Pictures that are at work at the same time for a graphics card, in one process."""
APART = 0.2
"""Largest overlap (intersection over union) of a weak find with a better one, and of a doubtful find with a face of a
further look, that leaves both."""
MOST_WEAK = 8
"""Weak finds of a picture, best first, that the landmarks judge, one crop each, so that no picture costs much more.

On 2,000 turned faces of ``300w/validation``, further crops of doubtful weak finds would have brought 5 faces.
"""
MOST_AGAIN = 2
"""Weak finds, best first, that are looked at in all directions where the landmarks call no better find a face."""
Picture: TypeAlias = Any
"""A picture as ``as_image`` takes it: RGB array, path or content of a picture file, or PIL image."""


def as_image(picture: Picture) -> Image:
    """The pixels of a picture that is given as an RGB array, as the path or the bytes of a file, or as a PIL image.

    A file is turned upright by its EXIF orientation.  A PIL image is taken as its pixels are, so that points fit it.

    Raises:
        ImageError: the file cannot be read.
        TypeError: anything else.
        ValueError: an array that is no RGB picture, or a PIL image of more than 8 bits.
    """
    if isinstance(picture, str | os.PathLike):
        return read_image(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        return decode_image(bytes(picture), name="the given bytes")
    pillow = sys.modules.get("PIL.Image")  # a PIL image exists only where PIL is imported
    if pillow is not None and isinstance(picture, pillow.Image):
        if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
            raise ValueError(f"Expected a PIL image of 8 bits, found mode {picture.mode!r}; convert it to 'RGB' first")
        return checked_image(np.array(picture.convert("RGB")))
    if not isinstance(picture, np.ndarray):
        kind = type(picture).__name__
        raise TypeError(
            "Expected a picture: an RGB array uint8 (h, w, 3), a path, the bytes of a file, or a PIL image; "
            f"found {kind}"
        )
    return checked_image(picture)


def _called_faces(frame: Frame) -> Bool[np.ndarray, " n"]:
    """Whether the landmarks call each find a face."""
    confidence = frame.landmarks.face_confidence
    return np.zeros(len(frame), bool) if confidence is None else confidence >= DOUBTFUL


def _joined(first: Frame, second: Frame) -> Frame:
    """The faces of two frames of one picture and one detector, best first."""

    def both(a: Any, b: Any, name: str) -> Any:
        parts = [getattr(part, name) for part in (a, b)]
        return None if any(part is None for part in parts) else np.concatenate(parts)

    faces = {name: both(first.faces, second.faces, name) for name in ("boxes", "scores", "points")}
    marks = {name: both(first.landmarks, second.landmarks, name) for name in ("points", "scores", "face_confidence")}
    joined = Frame(Faces(**faces), replace(second.landmarks, **marks))
    return joined[np.argsort(-joined.faces.scores, kind="stable")]


@final
class Pipeline:
    """Find faces and their landmarks in pictures.

    Threads may share a pipeline.  One that ``load_pipeline`` made can be pickled, for other processes.

    Args:
        detector: finds the faces.
        landmarker: finds their landmarks.
        min_confidence: faces with a lower confidence of the whole face are left out; 0 keeps all.
        weak: the detector with a lower score threshold (``weak_detector``).  What it finds below the threshold of
            ``detector``, or below ``SURE_SCORE`` where that is higher, is kept where the landmarks say that it is a
            face: their confidence is at least ``DOUBTFUL``.
            The best two weak ones that are better than what they call a face are looked at in all directions.  Where
            they call nothing a face then, the detector looks at the picture turned by ``LOOK_TURN`` (``turned_look``).

    Raises:
        ConfigError: the confidence is outside [0, 1], or the landmark model gives none; weak finds without such a
            confidence, or without a score threshold of ``detector``.

    Example:
        >>> pipeline = load_pipeline()
        >>> frame = pipeline(read_image("portrait.jpg"))
        >>> frame.landmarks.points.shape
        (1, 68, 2)
    """

    def __init__(
        self,
        detector: Detector,
        landmarker: Landmarker,
        *,
        min_confidence: float = 0.0,
        weak: CanthusDetector | TiledDetector | None = None,
    ) -> None:
        if not 0 <= min_confidence <= 1:
            raise ConfigError(f"Expected a least confidence from 0 to 1, found {min_confidence:g}")
        if min_confidence > 0 and not gives_face_confidence(landmarker.session):
            raise ConfigError(
                f"The model {landmarker.session.card.name!r} gives no confidence of the whole face; "
                "leave out the least confidence"
            )
        sure_score = getattr(detector, "least_score", None)
        if weak is not None and (sure_score is None or not gives_face_confidence(landmarker.session)):
            raise ConfigError(
                "Weak finds need a detector with a score threshold and a landmark model with a confidence of the whole "
                "face; leave them out"
            )
        self.detector = detector
        self.landmarker = landmarker
        self.min_confidence = min_confidence
        self._weak, self._sure_score = weak, math.inf if sure_score is None else max(sure_score, SURE_SCORE)
        self._made_with: dict[str, Any] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments of ``load_pipeline`` that make this pipeline again, files by their absolute paths.

        Raises:
            TypeError: the pipeline was not made by ``load_pipeline``, so that its settings are not known.
        """
        if self._made_with is None:
            raise TypeError("Only a pipeline made by canthus.load_pipeline can be pickled; this one was put together")
        return self._made_with | {"min_confidence": self.min_confidence}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings, not the networks: the other process opens the models anew."""
        return partial(load_pipeline, **self.settings), ()

    def __call__(self, image: Picture) -> Frame:
        """Faces and landmarks of one picture, best first; the frame has length 0 if there is no face.

        Args:
            image: RGB array, path or bytes of a picture file, or PIL image; see ``as_image``.

        Raises:
            ImageError: the file cannot be read.
            TypeError: not a picture, or the detector did not return ``Faces``.
            ValueError: an array that is no RGB picture, uint8 ``(h, w, 3)``.
        """
        image = as_image(image)
        if self._weak is None:
            return self._marked(image, found_faces(self.detector, image))
        faces = found_faces(self._weak, image)
        sure = int((faces.scores >= self._sure_score).sum())
        frame = self._judged(image, faces, sure=sure)
        surest = frame.faces.scores[_called_faces(frame)].max(initial=0.0)
        better = faces[sure:][faces.scores[sure:] > surest][:MOST_AGAIN]
        if len(better):
            frame = self._with_more(frame, image, better, retried=MOST_AGAIN)
        if not _called_faces(frame).any():
            frame = self._with_more(frame, image, turned_look(self._weak, image), retried=0)
        return frame

    def _with_more(self, frame: Frame, image: Image, finds: Faces, *, retried: int) -> Frame:
        """The frame with those of other finds that the landmarks call faces, the first ``retried`` in any direction."""
        more = self._judged(image, finds, sure=0, retried=retried)
        apart = box_iou(frame.faces.boxes, more.faces.boxes).max(axis=1, initial=0) < APART
        joined = _joined(frame[apart], more)
        return joined[distinct_boxes(joined.faces.boxes, most_within=MOST_WITHIN)]

    def _judged(self, image: Image, faces: Faces, *, sure: int, retried: int | None = None) -> Frame:
        """The first ``sure`` finds, and the best of the others that the landmarks call faces."""
        least = faces.scores[sure - 1] if sure else math.inf
        frame = self._marked(image, faces[: sure + MOST_WEAK], retried=sure if retried is None else retried)
        kept = frame.faces.scores >= least
        good = np.flatnonzero(kept | _called_faces(frame))
        kept[good[distinct_boxes(frame.faces.boxes[good], most_overlap=APART)]] = True
        return frame if kept.all() else frame[kept]

    def mark(self, image: Picture, faces: Faces) -> Frame:
        """Landmarks of faces that are already known, from another detector or drawn by hand.

        Their boxes should be face boxes (``docs/coordinates.md``); with other boxes, use two passes.

        Raises:
            ImageError: the file cannot be read.
            TypeError: not a picture, or not ``Faces``.
            ValueError: an array that is no RGB picture; or a box that is not finite, has no area, or lies outside the
                picture.
        """
        image = as_image(image)
        if not isinstance(faces, Faces):
            raise TypeError(f"Expected canthus.Faces, found {type(faces).__name__}")
        height, width = image.shape[:2]
        for index in np.flatnonzero(outside(faces.boxes, width, height)):
            box = faces.boxes[index].tolist()
            raise ValueError(f"Box {index} is {box}; it lies outside the picture of {width} x {height} pixels")
        return self._marked(image, faces)

    def _marked(self, image: Image, faces: Faces, *, retried: int | None = None) -> Frame:
        frame = Frame(faces, self.landmarker.of_faces(image, faces, retried=retried))
        sure = self.is_sure(frame.landmarks)
        return frame if sure.all() else frame[sure]

    def is_sure(self, landmarks: Landmarks) -> Bool[np.ndarray, " n"]:
        """Whether each face has the confidence of ``min_confidence``."""
        if landmarks.face_confidence is None:
            return np.ones(len(landmarks), bool)
        return landmarks.face_confidence >= self.min_confidence

    def is_kept(self, finds: Frame) -> Bool[np.ndarray, " n"]:
        """Whether the score of each find is sure enough, or the landmarks call it a face; all, without weak finds."""
        sure = -math.inf if self._weak is None else self._sure_score
        kept: Bool[np.ndarray, " n"] = (finds.faces.scores >= sure) | _called_faces(finds)
        return kept

    @property
    def on_card(self) -> bool:
        """Whether ``load_pipeline`` was asked for a graphics card or the like, where one is to be had."""
        made_with = self._made_with or {"device": CPU, "backend": ONNXRUNTIME}
        return find_device(made_with["device"], made_with["backend"]) != CPU

    def batch(
        self, images: Iterable[Picture], *, workers: int | None = None, processes: bool = False
    ) -> Iterator[Frame]:
        """Yield the frame of each picture, in order, with several pictures at work at the same time.

        At most twice as many pictures as workers are in memory; ``images`` may be an endless generator.  On a card, the
        runs of all threads that wait go to it together.

        Args:
            images: as for a call; paths are read by the workers.
            workers: number of threads or processes; by default one for each processor, on a card ``CARD_THREADS``.
            processes: use processes, which open the models anew and need the line ``if __name__ == "__main__":`` in a
                script.  Threads share Python's lock, which a picture needs for about a sixth of its time.

        Raises:
            CanthusError: a process ended on its own.
            ConfigError: ``workers`` is below one.
            ImageError, TypeError, ValueError: as for a call, when it is the turn of the picture.
            TypeError: processes, and the pipeline was not made by ``load_pipeline``.
        """
        count = workers if workers is not None else CARD_THREADS if self.on_card else processors()
        if count < 1:
            raise ConfigError(f"Expected at least 1 worker, found {count}")
        packed = pickle.dumps(self) if processes else None
        return self._in_threads(images, count) if packed is None else _in_processes(packed, images, count)

    def _in_threads(self, images: Iterable[Picture], workers: int) -> Iterator[Frame]:
        with ThreadPoolExecutor(workers, thread_name_prefix="canthus-batch") as pool:
            yield from in_order(lambda image: pool.submit(self, image), images, ahead=2 * workers)

    def stream(self, images: Iterable[Picture]) -> Iterator[Frame]:
        """Yield the frame of each picture, in order; ``images`` may be an endless generator."""
        for image in images:
            yield self(image)


def _in_processes(packed: bytes, images: Iterable[Picture], workers: int) -> Iterator[Frame]:
    processes = Processes(workers, _opened, packed)
    try:
        yield from in_order(lambda image: processes.submit(Pipeline.__call__, image), images, ahead=2 * workers)
    except BrokenProcessPool as error:
        raise CanthusError(
            "A process ended on its own, perhaps for want of memory; or the script lacks the line: "
            "if __name__ == '__main__':"
        ) from error
    finally:
        processes.close()


def _opened(packed: bytes) -> Pipeline:
    """The pipeline of a process, one of as many as there are processors."""
    cv2.setNumThreads(1)
    pipeline: Pipeline = pickle.loads(packed)  # noqa: S301  from the process that started this one
    return pipeline


def load_pipeline(
    model: str | os.PathLike[str] | bytes = "default",
    *,
    detector: str | os.PathLike[str] | Detector = "default",
    detector_model: str | os.PathLike[str] | None = None,
    detector_size: int | None = None,
    detector_tiles: Tiles = "auto",
    threads: int = 1,
    passes: int | None = None,
    min_score: float | None = None,
    min_confidence: float = 0.0,
    device: str = CPU,
    backend: str = ONNXRUNTIME,
) -> Pipeline:
    """Open a landmark model and a detector.

    Args:
        model: ``default``, a name that ``canthus models`` lists, an ONNX file of ``canthus export``, an ``.npz`` file
            of ``canthus fit``, or the content of an ONNX file.
        detector: a name or file that ``create_detector`` accepts, or any function from a picture to ``Faces``.
        detector_model: ONNX file for the detector ``canthus`` or ``yunet``.
        detector_size: longer side in pixels to which the detector resizes pictures.
        detector_tiles: also search tiles of larger pictures for small faces; ``auto`` searches those of pictures that
            the detector would shrink to less than a half, see ``create_detector``.
        threads: threads of the landmark model and of the canthus detector.
        passes: crops per face.  2 crops each face again around the first landmarks, which is slower and depends less on
            the box.  By default what suits the detector; see ``usual_passes``.
        min_score: score threshold of the detector, from 0 to 1.  By default the detector's own, and of a named detector
            or file also what it finds from ``WEAK_SCORE`` on, where the landmarks say that it is a face (``Pipeline``);
            a model without a confidence of the face cannot, so that finds need ``SURE_SCORE`` then.
        min_confidence: faces with a lower confidence of the whole face (``Face.face_confidence``) are left out.
        device: ``cpu``; ``cuda``, ``directml`` or ``coreml``, where the installed ONNX Runtime has it; or ``auto``, the
            first of these that it has, else the processor.
        backend: ``onnxruntime``, ``openvino`` or ``openvino-bf16``, for both networks.

    Raises:
        ConfigError: an unknown model or detector, a setting without effect, a number below one, or a device or back end
            that does not work here.
        MissingExtraError: OpenVINO is not installed.
        ModelFileError: a file is missing, or is not of the expected kind.
    """
    find_device(device, backend)
    settings: dict[str, Any] = {
        "size": detector_size, "tiles": detector_tiles, "threads": threads, "device": device, "backend": backend,
    }  # fmt: skip
    found: Detector
    if isinstance(detector, str | os.PathLike):
        found = create_detector(detector, model=detector_model, least_score=min_score, **settings)
    elif detector_tiles is True or any(value is not None for value in (detector_model, detector_size, min_score)):
        raise ConfigError("Settings of the detector have no effect on a detector that exists already; leave them out")
    else:
        found = detector
    session = open_model(model, threads=threads, device=device, backend=backend)
    if passes is None:
        usual, most = usual_passes(detector, session.scheme), most_passes(detector, session.scheme)
        landmarker = Landmarker(session, passes=usual, most_passes=most)
    else:
        landmarker = Landmarker(session, passes=passes)
    weak = None
    if min_score is None and found is not detector:
        judged = gives_face_confidence(session)
        found, weak = (found, weak_detector(found)) if judged else (sure_detector(found), None)
    pipeline = Pipeline(found, landmarker, min_confidence=min_confidence, weak=weak)
    pipeline._made_with = {  # noqa: SLF001  its maker
        "model": _lasting(model), "detector": _lasting(detector), "detector_model": _lasting(detector_model),
        "detector_size": detector_size, "detector_tiles": detector_tiles, "threads": threads, "passes": passes,
        "min_score": min_score, "device": device, "backend": backend,
    }  # fmt: skip
    return pipeline


def _lasting(model: Any) -> Any:
    """A file by its absolute path, which other processes understand as well; names and all others as they are."""
    names = {"default", *DETECTORS, *embedded_models(), *embedded_detectors()}
    if not isinstance(model, str | os.PathLike) or (isinstance(model, str) and model in names):
        return model
    return Path(model).absolute() if Path(model).is_file() else model
