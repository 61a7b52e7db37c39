"""Face detectors by name or file."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from canthus.errors import ConfigError
from canthus.lookup import unknown_name
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.detector import Detector, WholePicture
from canthus.runtime.downloads import YUNET, fetched_file
from canthus.runtime.haar_detector import HaarDetector
from canthus.runtime.sessions import DetectorSession
from canthus.runtime.tiled_detector import TiledDetector
from canthus.runtime.yunet_detector import YuNetDetector
from canthus.zoo import embedded_detectors

PASSES = {"haar": 2, "yunet": 2}
"""Passes of the landmarker that suit a detector's boxes, where one is not enough: see ``usual_passes``."""


@final
@dataclass(frozen=True)
class _Settings:
    """As they were given; None where they were not."""

    model: str | os.PathLike[str] | None
    size: int | None
    threads: int
    least_score: float | None = None

    def refuse(self, *names: str, detector: str) -> None:
        """Refuse settings that a detector does not have."""
        for name in names:
            if getattr(self, name) is not None:
                raise ConfigError(
                    f"A {name.replace('_', ' ')} of the detector has no effect with {detector!r}; leave it out"
                )


def _canthus(settings: _Settings) -> tuple[Detector, int]:
    session = DetectorSession.open(settings.model or "default", threads=settings.threads)
    detector = CanthusDetector(session, size=settings.size, least_score=settings.least_score)
    return detector, detector.size


def _haar(settings: _Settings) -> tuple[Detector, int]:
    settings.refuse("model", detector="haar")
    detector = HaarDetector(**_given(long_side=settings.size, least_score=settings.least_score))
    return detector, detector.long_side


def _yunet(settings: _Settings) -> tuple[Detector, int]:
    model = fetched_file(YUNET) if settings.model is None else settings.model
    detector = YuNetDetector(model, **_given(size=settings.size, least_score=settings.least_score))
    return detector, detector.size


def _none(settings: _Settings) -> tuple[Detector, None]:
    settings.refuse("model", "size", "least_score", detector="none")
    return WholePicture(), None


def _given(**settings: Any) -> dict[str, Any]:
    """Settings that are not None; the others stay with the detector."""
    return {name: value for name, value in settings.items() if value is not None}


DETECTORS: dict[str, Callable[[_Settings], tuple[Detector, int | None]]] = {
    "canthus": _canthus,
    "haar": _haar,
    "none": _none,
    "yunet": _yunet,
}
"""Each gives the detector, and the longer side in pixels of what it sees at once."""


def detector_name(name: str) -> str:
    """The name itself; for ``default``, the name of the detector used where none is named."""
    return "canthus" if name == "default" else name


def usual_passes(detector: str | os.PathLike[str] | Detector) -> int:
    """How often the landmarker should cut out a face found by this detector.

    The cascade's boxes are off by a tenth of the face; a second look by the points found first undoes that (on the
    validation photos of 300-W it takes the error back to that of true boxes).  How YuNet's boxes lie is assumed, so
    they get a second look as well.  Other boxes are taken as they are.
    """
    return PASSES.get(detector_name(detector), 1) if isinstance(detector, str) else 1


def create_detector(
    name: str | os.PathLike[str] = "default",
    *,
    model: str | os.PathLike[str] | None = None,
    size: int | None = None,
    tiles: bool = False,
    threads: int = 1,
    least_score: float | None = None,
) -> Detector:
    """A detector ready to run.

    Args:
        name: ``canthus`` (the embedded network), ``haar`` (OpenCV's cascade for frontal faces), ``yunet`` (OpenCV's
            FaceDetectorYN), ``none`` (the whole picture is one face), an embedded detector that ``canthus models``
            lists, or a detector's ONNX file.
        model: the ONNX file of ``canthus`` or ``yunet``; without it, the embedded or the fetched one.
        size: longer side in pixels to which pictures are brought; 640 usually.
        tiles: look at tiles in full resolution as well, where a picture is larger than ``size``.
        threads: of the detector network of canthus.
        least_score: faces scored lower are left out; the detector's own if None.

    Raises:
        ConfigError: the name is unknown, or a setting has no effect with this detector or is out of range.
        ModelFileError: the file is missing or not of this detector.
    """
    settings = _Settings(model, size, threads, least_score)
    named = detector_name(os.fspath(name))
    if isinstance(name, str) and named in DETECTORS:
        detector, seen = DETECTORS[named](settings)
    elif named in embedded_detectors() or Path(named).suffix or Path(named).exists():
        settings.refuse("model", detector=named)
        detector, seen = _canthus(replace(settings, model=name))
    else:
        raise unknown_name(named, [*DETECTORS, *embedded_detectors()], kind="detector")
    if not tiles:
        return detector
    if seen is None:
        raise ConfigError(f"Tiles have no effect with the detector {named!r}; leave them out")
    return TiledDetector(detector, size=seen)
