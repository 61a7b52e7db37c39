"""The models embedded in the package, each an ONNX file that contains its card.

Names of face detectors begin with ``face_detector``; every other file is a landmark model.
"""

from pathlib import Path

DEFAULT = "resnet_slim_68"
"""Landmark model used by default."""
FATIGUE = "pfld_68_128"
"""Landmark model of ``canthus fatigue`` and of the page in the browser: their rules were set with what it sees."""
FLOAT = "pfld_68_128"
"""The best embedded landmark model in float: the one to convert for other runtimes, and to quantize."""
DETECTOR_PREFIX = "face_detector"
DEFAULT_DETECTOR = "face_detector_any_angle"
"""Detector used by default."""


def embedded_models() -> dict[str, Path]:
    """Name -> file of every embedded landmark model, sorted by name."""
    return {name: path for name, path in _files().items() if not name.startswith(DETECTOR_PREFIX)}


def embedded_detectors() -> dict[str, Path]:
    """Name -> file of every embedded face detector, sorted by name."""
    return {name: path for name, path in _files().items() if name.startswith(DETECTOR_PREFIX)}


def _files() -> dict[str, Path]:
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.onnx"))}
