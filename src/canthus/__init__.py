"""Facial landmarks: train light networks, measure them honestly, run them fast on a CPU."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from canthus.moved import keep_moved_modules

if TYPE_CHECKING:
    from canthus.errors import CanthusError as CanthusError
    from canthus.errors import ConfigError as ConfigError
    from canthus.errors import DataError as DataError
    from canthus.errors import ImageError as ImageError
    from canthus.errors import ModelFileError as ModelFileError
    from canthus.errors import VideoError as VideoError
    from canthus.geometry import Affine as Affine
    from canthus.images import read_image as read_image
    from canthus.images import read_images as read_images
    from canthus.images import write_image as write_image
    from canthus.runtime.cards import ModelCard as ModelCard
    from canthus.runtime.detector import Detector as Detector
    from canthus.runtime.detectors import create_detector as create_detector
    from canthus.runtime.draw import draw_frame as draw_frame
    from canthus.runtime.landmarker import Landmarker as Landmarker
    from canthus.runtime.pipeline import Pipeline as Pipeline
    from canthus.runtime.pipeline import load_pipeline as load_pipeline
    from canthus.runtime.sessions import LandmarkSession as LandmarkSession
    from canthus.runtime.tracker import Tracker as Tracker
    from canthus.runtime.video import VideoWriter as VideoWriter
    from canthus.runtime.video import open_video as open_video
    from canthus.runtime.video import read_video as read_video
    from canthus.schemes import Scheme as Scheme
    from canthus.schemes import convert as convert
    from canthus.schemes import find_scheme as find_scheme
    from canthus.types import Faces as Faces
    from canthus.types import Frame as Frame
    from canthus.types import Image as Image
    from canthus.types import Landmarks as Landmarks
    from canthus.types import TrackedFrame as TrackedFrame
    from canthus.zoo import embedded_detectors as embedded_detectors
    from canthus.zoo import embedded_models as embedded_models

# Loaded when first asked for, so that `import canthus` costs next to nothing.
_HOMES = {
    "Affine": "geometry",
    "CanthusError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "Detector": "runtime.detector",
    "Faces": "types",
    "Frame": "types",
    "Image": "types",
    "ImageError": "errors",
    "LandmarkSession": "runtime.sessions",
    "Landmarker": "runtime.landmarker",
    "Landmarks": "types",
    "ModelCard": "runtime.cards",
    "ModelFileError": "errors",
    "Pipeline": "runtime.pipeline",
    "Scheme": "schemes",
    "TrackedFrame": "types",
    "Tracker": "runtime.tracker",
    "VideoError": "errors",
    "VideoWriter": "runtime.video",
    "convert": "schemes",
    "create_detector": "runtime.detectors",
    "draw_frame": "runtime.draw",
    "embedded_detectors": "zoo",
    "embedded_models": "zoo",
    "find_scheme": "schemes",
    "load_pipeline": "runtime.pipeline",
    "open_video": "runtime.video",
    "read_image": "images",
    "read_images": "images",
    "read_video": "runtime.video",
    "write_image": "images",
}

__all__ = [
    "Affine",
    "CanthusError",
    "ConfigError",
    "DataError",
    "Detector",
    "Faces",
    "Frame",
    "Image",
    "ImageError",
    "LandmarkSession",
    "Landmarker",
    "Landmarks",
    "ModelCard",
    "ModelFileError",
    "Pipeline",
    "Scheme",
    "TrackedFrame",
    "Tracker",
    "VideoError",
    "VideoWriter",
    "convert",
    "create_detector",
    "draw_frame",
    "embedded_detectors",
    "embedded_models",
    "find_scheme",
    "load_pipeline",
    "open_video",
    "read_image",
    "read_images",
    "read_video",
    "write_image",
]


keep_moved_modules()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'canthus' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"canthus.{_HOMES[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
