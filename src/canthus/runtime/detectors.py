"""Face detectors: what a detector is, detectors by name or file, and detection in tiles."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, final, runtime_checkable

import numpy as np

from canthus.errors import ConfigError
from canthus.geometry import Affine, box_size
from canthus.images import crop_image, halve_image
from canthus.lookup import unknown_name
from canthus.runtime.backends import CPU, ONNXRUNTIME
from canthus.runtime.canthus_detector import DOUBTED, CanthusDetector, merge_faces
from canthus.runtime.cards import DETECTOR
from canthus.runtime.downloads import YUNET, fetched_file
from canthus.runtime.haar_detector import HaarDetector
from canthus.runtime.sessions import DetectorSession, find_model
from canthus.runtime.yunet_detector import YuNetDetector
from canthus.schemes import Scheme, own_scheme
from canthus.types import Faces, Image
from canthus.zoo import embedded_detectors

PASSES = {"haar": 2, "none": 2, "yunet": 2}
"""Passes of the landmarker for detectors whose boxes need more than one; see ``usual_passes``."""
MOST_PASSES = {"none": 4}
"""Passes of the landmarker for faces whose points still move, where that is more than the usual passes."""
Tiles: TypeAlias = bool | Literal["auto"]
"""Whether a detector also searches tiles of a picture; ``auto``: of pictures that it would shrink too much."""
MOST_SHRINK = 2
"""Automatic tiles are for pictures that would be shrunk by more than this factor.  The network sees about one in six
faces of 50 to 60 pixels that it gets at a third of their size, and nearly all that it gets at two thirds."""
MOST_TILES = 24
"""Largest number of automatic tiles; the picture is halved until they suffice."""
OVERLAP = 0.25
"""Smallest share of the side of a tile that overlaps the next tile."""
CUT = 0.05
"""A face nearer than this to a border with another tile, in longer sides of its box, counts as cut off."""
SMALLEST_FACE = 16
"""Side in pixels from which a face is found reliably."""


@runtime_checkable
class Detector(Protocol):
    """Any function from a picture to its faces.

    The boxes must be *face boxes*: the tight hull of the 68 landmarks, from brows to chin and ear to ear (see
    ``docs/coordinates.md``).  A detector with other boxes maps them before it returns them.
    """

    def __call__(self, image: Image) -> Faces:
        """Faces of one picture, best first; length 0 if there are none."""
        ...


@runtime_checkable
class ScoredDetector(Detector, Protocol):
    """A detector with a score threshold, as ``create_detector`` makes them."""

    @property
    def least_score(self) -> float | None:
        """Score threshold in [0, 1]; None for a detector without scores."""
        ...


def found_faces(detector: Detector, image: Image) -> Faces:
    """Run a detector, which may be a caller's own function, and check that it returned ``Faces``.

    Raises:
        TypeError: it returned something else.
    """
    faces: Any = detector(image)
    if not isinstance(faces, Faces):
        raise TypeError(f"Expected canthus.Faces from the detector, found {type(faces).__name__}")
    return faces


@final
class WholePicture:
    """Take the whole picture as one face box, for pictures that are already cropped to a face."""

    def __init__(self) -> None:
        self.least_score: float | None = None

    def __call__(self, image: Image) -> Faces:
        """One face with score 1."""
        height, width = image.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))


@final
class TiledDetector:
    """Run a detector on the whole picture and on overlapping tiles in full resolution.

    Faces cut off by the border of a tile are left to the next tile, whose overlap contains them, or to the whole
    picture.  In very large pictures some faces are too large for the overlap and too small in the whole picture; tiles
    of the picture at a quarter of its size (a sixteenth, ...) find them.  One tile at a time is in memory.

    Args:
        detector: run on the whole picture and on each tile.
        size: side of the tiles, and longer side in pixels to which ``detector`` resizes pictures.
        automatic: search tiles only of pictures more than ``MOST_SHRINK`` times as large as ``size``, and at most
            ``MOST_TILES``, of the picture at a half, a quarter, ... of its size.
    """

    def __init__(self, detector: Detector, *, size: int, automatic: bool = False) -> None:
        self.detector = detector
        self.size = size
        self.automatic = automatic
        self.least_score: float | None = getattr(detector, "least_score", None)

    def __call__(self, image: Image) -> Faces:
        """Faces of one picture, best first."""
        found = [found_faces(self.detector, image)]
        level, shrink = image, 1
        for wanted in self._shrinks(*image.shape[:2]):
            while shrink < wanted:
                level, shrink = halve_image(level), shrink * 2
            grow = Affine(np.array([[shrink, 0, shrink / 2 - 0.5], [0, shrink, shrink / 2 - 0.5]]))
            found += [faces.moved(grow) for faces in self._in_tiles(level)]
        return merge_faces(found) if len(found) > 1 else found[0]

    def _shrinks(self, height: int, width: int) -> Iterator[int]:
        """Factors by which the picture is shrunk before it is cut into tiles, ascending."""
        if not self.automatic:
            yield from _shrinks(max(height, width), self.size)
        elif max(height, width) > MOST_SHRINK * self.size:
            yield automatic_shrink(height, width, self.size)

    def _in_tiles(self, image: Image) -> Iterator[Faces]:
        """Faces of each tile, without those that reach a border (left, top, right, bottom) with another tile."""
        height, width = image.shape[:2]
        high, wide = min(self.size, height), min(self.size, width)
        for top in tile_starts(height, high):
            for left in tile_starts(width, wide):
                faces = found_faces(self.detector, image[top : top + high, left : left + wide])
                inner = np.array([left > 0, top > 0, left + wide < width, top + high < height])
                ends = np.array([wide, high], np.float32)
                room = np.concatenate([faces.boxes[:, :2], ends - faces.boxes[:, 2:]], axis=1)
                near = room < CUT * box_size(faces.boxes).max(axis=1, keepdims=True, initial=0.0)
                whole = ~(near & inner).any(axis=1)
                yield faces[whole].moved(Affine(np.array([[1.0, 0, left], [0, 1.0, top]])))


@final
@dataclass(frozen=True)
class _Settings:
    """Settings of ``create_detector``; None where they were not given."""

    model: str | os.PathLike[str] | None
    size: int | None
    threads: int
    device: str
    backend: str
    least_score: float | None = None

    def refuse(self, *names: str, detector: str) -> None:
        """Refuse settings that a detector does not have."""
        for name in names:
            if getattr(self, name) is not None:
                raise ConfigError(
                    f"A {name.replace('_', ' ')} of the detector has no effect with {detector!r}; leave it out"
                )


def _canthus(settings: _Settings) -> tuple[ScoredDetector, int]:
    session = DetectorSession.open(
        settings.model or "default", threads=settings.threads, device=settings.device, backend=settings.backend
    )
    detector = CanthusDetector(session, size=settings.size, least_score=settings.least_score)
    return detector, detector.size


def _haar(settings: _Settings) -> tuple[ScoredDetector, int]:
    settings.refuse("model", detector="haar")
    detector = HaarDetector(**_given(long_side=settings.size, least_score=settings.least_score))
    return detector, detector.long_side


def _yunet(settings: _Settings) -> tuple[ScoredDetector, int]:
    model = fetched_file(YUNET) if settings.model is None else settings.model
    detector = YuNetDetector(model, **_given(size=settings.size, least_score=settings.least_score))
    return detector, detector.size


def _none(settings: _Settings) -> tuple[ScoredDetector, None]:
    settings.refuse("model", "size", "least_score", detector="none")
    return WholePicture(), None


def _given(**settings: Any) -> dict[str, Any]:
    """Settings that are not None, so that the others keep the detector's defaults."""
    return {name: value for name, value in settings.items() if value is not None}


DETECTORS: dict[str, Callable[[_Settings], tuple[ScoredDetector, int | None]]] = {
    "canthus": _canthus,
    "haar": _haar,
    "none": _none,
    "yunet": _yunet,
}
"""Name -> function that creates the detector and returns it with the longer side to which it resizes pictures."""


def detector_name(name: str) -> str:
    """The name itself, or the name of the default detector for ``default``."""
    return "canthus" if name == "default" else name


def usual_passes(detector: str | os.PathLike[str] | Detector, scheme: Scheme | None = None) -> int:
    """Number of passes of the landmarker that suits the boxes of a detector and the points of a model.

    The boxes of the cascade are off by a tenth of the face.  A second pass, cropped around the points of the first,
    corrects this: on the validation photos of 300-W the error falls to that of true boxes.  The map of YuNet's boxes is
    assumed, not measured, so they get a second pass as well, and so do whole pictures, which are rarely cut as closely
    as a face box.  Boxes of other detectors get one pass.

    Points of one's own without a jaw line get two passes as well, because they were trained in crops around themselves.
    A network of twelve points that learned from 362 photos of 300-W had an error of 3.75 % of the inter-ocular distance
    after one pass and 3.24 % after two, 3.25 % in true boxes (38 other photos).
    """
    own = None if scheme is None else own_scheme(scheme)
    least = 2 if own is not None and own.count > 1 and not own.has_jaw_line else 1
    return max(least, PASSES.get(detector_name(detector), 1) if isinstance(detector, str) else 1)


def most_passes(detector: str | os.PathLike[str] | Detector, scheme: Scheme | None = None) -> int:
    """Number of passes for faces whose points still move; at least ``usual_passes``.

    A picture cut at 1.3 face sizes is right after two passes, one cut at twice the size after four.
    """
    usual = usual_passes(detector, scheme)
    return max(usual, MOST_PASSES.get(detector, usual)) if isinstance(detector, str) else usual


def create_detector(
    name: str | os.PathLike[str] = "default",
    *,
    model: str | os.PathLike[str] | None = None,
    size: int | None = None,
    tiles: Tiles = False,
    threads: int = 1,
    least_score: float | None = None,
    device: str = CPU,
    backend: str = ONNXRUNTIME,
) -> ScoredDetector:
    """Create a face detector.

    Args:
        name: ``canthus`` (the embedded network), ``haar`` (OpenCV's cascade for frontal faces), ``yunet`` (OpenCV's
            FaceDetectorYN), ``none`` (the whole picture is one face), an embedded detector that ``canthus models``
            lists, or the ONNX file of a detector.
        model: ONNX file for ``canthus`` or ``yunet``; by default the embedded or the fetched one.
        size: longer side in pixels to which pictures are resized, usually 640.
        tiles: also run on tiles in full resolution if a picture is larger than ``size``.  ``auto`` does so from
            ``MOST_SHRINK`` times the size on, with at most ``MOST_TILES`` tiles, for which the picture is halved.
        threads: threads of the canthus network.
        least_score: score threshold; by default the detector's own.
        device: ``cpu``, ``cuda``, ``directml``, ``coreml`` or ``auto``, for the canthus network; OpenCV runs ``haar``
            and ``yunet`` on the processor.
        backend: ``onnxruntime``, ``openvino`` or ``openvino-bf16``, likewise.

    Raises:
        ConfigError: the name is unknown, or a setting is out of range or has no effect with this detector.
        MissingExtraError: OpenVINO is not installed.
        ModelFileError: the file is missing, or is not a model of this detector.
    """
    settings = _Settings(model, size, threads, device, backend, least_score)
    named = detector_name(os.fspath(name))
    if isinstance(name, str) and named in DETECTORS:
        detector, seen = DETECTORS[named](settings)
    elif named in embedded_detectors() or Path(named).suffix or Path(named).exists():
        settings.refuse("model", detector=named)
        detector, seen = _canthus(replace(settings, model=name))
    else:
        raise unknown_name(named, [*DETECTORS, *embedded_detectors()], kind="detector")
    if tiles not in (True, False, "auto"):
        raise ConfigError(f"Expected True, False or 'auto' as tiles of the detector, found {tiles!r}")
    if not tiles or (tiles == "auto" and seen is None):
        return detector
    if seen is None:
        raise ConfigError(f"Tiles have no effect with the detector {named!r}; leave them out")
    return TiledDetector(detector, size=seen, automatic=tiles == "auto")


def detector_file(name: str | os.PathLike[str], model: str | os.PathLike[str] | None = None) -> Path | None:
    """The ONNX file of a detector that ``create_detector`` makes of the same arguments; None for one without a file."""
    named = detector_name(os.fspath(name))
    if model is not None:
        return Path(model)
    if isinstance(name, str) and named in ("haar", "none"):
        return None
    if isinstance(name, str) and named == "yunet":
        return fetched_file(YUNET)
    return find_model("default" if isinstance(name, str) and named == "canthus" else name, kind=DETECTOR)


def frame_detector(detector: Detector) -> Detector:
    """The detector for the frames of a video: one that chooses tiles by itself does not, for they take too long."""
    return detector.detector if isinstance(detector, TiledDetector) and detector.automatic else detector


WEAK_SCORE = DOUBTED[0]
"""Least score of weak finds.  Down to 0.2, 4 more of 1,193 faces of ``wild21`` II are found, and 11 more false ones."""
LOOK_TURN = math.radians(45)
"""Turn of the picture in the second look: halfway between the sides to which faces are turned most often."""


SURE_SCORE = 0.6
"""Score from which a find is kept whatever the landmarks say.

In 200 pictures without faces 0.005 false faces a picture are found by ``face_detector_any_angle``, with 0.55 it would
be 0.015, with 0.5 0.040.
"""


def weak_detector(detector: Detector) -> CanthusDetector | TiledDetector | None:
    """The detector with a threshold of ``WEAK_SCORE``, on the same network, where its own is above that.

    What it finds from its own threshold on stays the same, because a box is only dropped for one of a better score.

    Returns:
        None for a detector other than the networks of canthus: what low scores of others mean was not measured.
    """
    own = getattr(detector, "least_score", None)
    return None if own is None or own <= WEAK_SCORE else _with_score(detector, WEAK_SCORE)


def sure_detector(detector: Detector) -> Detector:
    """The detector with a threshold of at least ``SURE_SCORE``, where it is a network of canthus; else itself."""
    own = getattr(detector, "least_score", None)
    return detector if own is None or own >= SURE_SCORE else _with_score(detector, SURE_SCORE) or detector


def _with_score(detector: Detector, least_score: float) -> CanthusDetector | TiledDetector | None:
    """A network of canthus with another threshold; None for other detectors."""
    if isinstance(detector, TiledDetector):
        inner = _with_score(detector.detector, least_score)
        return inner and TiledDetector(inner, size=detector.size, automatic=detector.automatic)
    if not isinstance(detector, CanthusDetector):
        return None
    return CanthusDetector(detector.session, size=detector.size, least_score=least_score)


def turned_look(detector: CanthusDetector | TiledDetector, image: Image) -> Faces:
    """Faces that a detector finds in the picture turned by ``LOOK_TURN``, without tiles, in pixels of the picture.

    Each box has the sides that it has in the turned picture, about its centre, as ``Landmarker`` takes boxes of turned
    faces.  The view is a square of at most the ``size`` of the detector, black outside the picture.
    """
    height, width = image.shape[:2]
    middle, half = np.array([width, height]) / 2, (width + height) / math.sqrt(8)  # of the square that holds all of it
    side = max(1, min(round(2 * half), detector.size))
    view, to_view = crop_image(image, np.concatenate([middle - half, middle + half]), side, turn=LOOK_TURN)
    inner = detector.detector if isinstance(detector, TiledDetector) else detector
    faces = found_faces(inner, view)
    back, boxes = to_view.inverse(), faces.boxes
    centres = back.apply((boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5) + 0.5
    halves = (boxes[:, 2:] - boxes[:, :2]) * (half / side)
    points = None if faces.points is None else back.apply(faces.points)
    return Faces(np.concatenate([centres - halves, centres + halves], axis=1), faces.scores, points)


def tile_starts(side: int, tile: int) -> list[int]:
    """Positions of tiles along a side of a picture, evenly spaced from end to end; all in pixels."""
    if side <= tile:
        return [0]
    step = max(1, int(tile * (1 - OVERLAP)))
    count = 1 + -(-(side - tile) // step)
    return [round(start) for start in np.linspace(0, side - tile, count).tolist()]


def automatic_shrink(height: int, width: int, size: int) -> int:
    """Smallest power of two, at least 2, by which a picture is shrunk so that ``MOST_TILES`` tiles suffice.

    Half the size still shows the faces that are large enough for landmarks, and takes a quarter of the tiles.
    """
    shrink = 2
    while len(tile_starts(height // shrink, size)) * len(tile_starts(width // shrink, size)) > MOST_TILES:
        shrink *= 2
    return shrink


def _shrinks(side: int, size: int) -> Iterator[int]:
    """Factors by which the picture is shrunk before it is cut into tiles: 1, then 4, 16, ... while a gap remains."""
    reach = max(1.0, OVERLAP * size / SMALLEST_FACE)
    shrink = 1
    if side > size:
        yield shrink
    while side / (size * shrink) > reach:
        shrink *= 4
        yield shrink
