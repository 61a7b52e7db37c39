from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.runtime.detectors import create_detector
from canthus.runtime.haar_detector import HaarDetector
from tiny_detectors import tiny_detector_card, write_tiny_detector


def test_a_least_score_reaches_the_network(tmp_path: Path) -> None:
    path = write_tiny_detector(tmp_path / "cells.onnx", card=tiny_detector_card(strides=(32,), size=64))
    image = np.zeros((64, 64, 3), np.uint8)
    image[:32, :32] = 235  # above nine tenths of white: a score of 0.896, which needs no closer look
    image[32:, 32:] = 205  # eight tenths: the logit is about -10
    assert len(create_detector(path)(image)) == 1
    assert len(create_detector(path, least_score=1e-6)(image)) == 2
    assert len(create_detector(path, least_score=0.9)(image)) == 0


def test_a_least_score_reaches_the_cascade() -> None:
    usual, lower = create_detector("haar"), create_detector("haar", least_score=0.1)
    assert isinstance(usual, HaarDetector)
    assert isinstance(lower, HaarDetector)
    assert (usual.least_score, lower.least_score) == (0.4, 0.1)


def test_the_whole_picture_has_no_score() -> None:
    with pytest.raises(ConfigError, match="least score"):
        create_detector("none", least_score=0.5)
