"""Facial landmarks: train light networks, measure them honestly, run them fast on a CPU."""

from importlib import import_module

from canthus.moved import keep_moved_modules

# Importing ``typing`` would cost ten times as much as all of this; type checkers take the name as true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from canthus.data import load_dataset as load_dataset
    from canthus.errors import CanthusError as CanthusError
    from canthus.errors import ConfigError as ConfigError
    from canthus.errors import DataError as DataError
    from canthus.errors import ImageError as ImageError
    from canthus.errors import ModelFileError as ModelFileError
    from canthus.errors import OutputError as OutputError
    from canthus.errors import VideoError as VideoError
    from canthus.evaluation.run import evaluate as evaluate
    from canthus.fatigue.monitor import FatigueMonitor as FatigueMonitor
    from canthus.geometry import Affine as Affine
    from canthus.images import read_image as read_image
    from canthus.images import read_images as read_images
    from canthus.images import write_image as write_image
    from canthus.pose import head_pose as head_pose
    from canthus.runtime.cards import ModelCard as ModelCard
    from canthus.runtime.detectors import Detector as Detector
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
    from canthus.types import Face as Face
    from canthus.types import Faces as Faces
    from canthus.types import Frame as Frame
    from canthus.types import Image as Image
    from canthus.types import Landmarks as Landmarks
    from canthus.types import TrackedFrame as TrackedFrame
    from canthus.zoo import embedded_detectors as embedded_detectors
    from canthus.zoo import embedded_models as embedded_models

    __version__: str

_MODULES = {
    "data": "load_dataset",
    "errors": "CanthusError ConfigError DataError ImageError ModelFileError OutputError VideoError",
    "evaluation.run": "evaluate",
    "fatigue.monitor": "FatigueMonitor",
    "geometry": "Affine",
    "images": "read_image read_images write_image",
    "pose": "head_pose",
    "runtime.cards": "ModelCard",
    "runtime.detectors": "Detector create_detector",
    "runtime.draw": "draw_frame",
    "runtime.landmarker": "Landmarker",
    "runtime.pipeline": "Pipeline load_pipeline",
    "runtime.sessions": "LandmarkSession",
    "runtime.tracker": "Tracker",
    "runtime.video": "VideoWriter open_video read_video",
    "schemes": "Scheme convert find_scheme",
    "types": "Face Faces Frame Image Landmarks TrackedFrame",
    "zoo": "embedded_detectors embedded_models",
}
"""Module -> the public names that it holds.  A module is imported when one of its names is first asked for."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}

__all__ = sorted(_HOMES)  # noqa: PLE0605  sorted gives a list

keep_moved_modules()


def __getattr__(name: str) -> object:
    if name == "__version__":
        value = import_module("importlib.metadata").version("canthus")
    elif name in _HOMES:
        value = getattr(import_module(f"canthus.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'canthus' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
