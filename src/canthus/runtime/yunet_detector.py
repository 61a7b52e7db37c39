"""The face detector YuNet, run by OpenCV from a file of the user."""

import os
import threading
from pathlib import Path
from typing import Any, final

import cv2
import numpy as np

from canthus.errors import ConfigError, ModelFileError
from canthus.geometry import BoxHabit
from canthus.images import fit_image
from canthus.runtime.canthus_detector import checked_score
from canthus.runtime.onnx_checks import check_onnx
from canthus.runtime.sessions import check_answer, read_model
from canthus.types import Faces, Image

MOST_OVERLAP = 0.3
"""Of two faces whose boxes overlap by more (intersection over union), the lower score is dropped; OpenCV's default."""
MOST_CANDIDATES = 1000
SMALLEST_SIZE = 32
"""OpenCV pads the input of the network to multiples of this."""
HABIT = BoxHabit(centre=(0.0, 0.1), size=(1.0, 0.8))
"""The face box is the lower four fifths of YuNet's box, because YuNet was trained on boxes that begin at the hairline.

This is assumed from the boxes of WIDER FACE, not measured; a landmarker with two passes corrects the difference.
"""


@final
class YuNetDetector:
    """The network of Wu, Peng and Yu (2023), "YuNet: A Tiny Millisecond-level Face Detector", run by OpenCV.

    Threads may share a detector: OpenCV's network keeps the size of its input, so each thread has its own.

    Args:
        model: ONNX file of OpenCV's model zoo.
        least_score: score threshold.
        size: longer side in pixels to which a picture is resized; it is enlarged at most twice.

    Raises:
        ConfigError: the size is below 32 pixels, or the score is outside [0, 1].
        ModelFileError: the file is missing, ``onnx_checks.check_onnx`` refuses it, or OpenCV cannot use it.
    """

    def __init__(self, model: str | os.PathLike[str], *, least_score: float = 0.6, size: int = 640) -> None:
        if size < SMALLEST_SIZE:
            raise ConfigError(f"The detector needs a size of at least {SMALLEST_SIZE} pixels, found {size}")
        self.size = size
        self.least_score = checked_score(least_score)
        self._source = os.fspath(model)
        if not Path(model).is_file():
            raise ModelFileError(f"{self._source}: no such file, expected the ONNX file of YuNet")
        data = read_model(model)
        check_onnx(data, source=self._source, fixed=False)
        self._data = np.frombuffer(data, np.uint8)
        self._here = threading.local()
        self._network()

    def _network(self) -> Any:
        """The network of this thread."""
        if not hasattr(self._here, "network"):
            seen = (self.size, self.size)
            try:
                self._here.network = cv2.FaceDetectorYN.create(
                    "onnx", self._data, np.zeros(0, np.uint8), seen, self.least_score, MOST_OVERLAP, MOST_CANDIDATES
                )
            except cv2.error as error:
                raise self._unusable(error) from error
        return self._here.network

    def __call__(self, image: Image) -> Faces:
        """Faces of one picture with their five points, best first."""
        canvas, to_picture = fit_image(image, self.size)
        seen = (canvas.shape[1], canvas.shape[0])
        try:
            network = self._network()
            if network.getInputSize() != seen:
                network.setInputSize(seen)
            found: Any = network.detect(cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR))[1]
        except cv2.error as error:
            raise self._unusable(error) from error
        rows = np.zeros((0, 15), np.float32) if found is None else np.asarray(found, np.float32).reshape(-1, 15)
        check_answer(rows, rows.shape, name="faces", source=self._source)
        rows = rows[np.argsort(-rows[:, 14], kind="stable")]
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        # Its points count from the corner of the picture, half a pixel from the centre of the first pixel.
        points = rows[:, 4:14].reshape(-1, 5, 2) - np.float32(0.5)
        scores = np.minimum(rows[:, 14], np.float32(1))
        return Faces(HABIT.face_boxes(boxes), scores, points).moved(to_picture)

    def _unusable(self, error: cv2.error) -> ModelFileError:
        reason = (error.err or str(error)).strip().splitlines()[0]
        return ModelFileError(f"{self._source}: is no YuNet model that OpenCV can use ({reason})")
