"""The panel below the frames, and text."""

import math

import numpy as np

from canthus.fatigue.film import Gauge, GaugePanel
from canthus.runtime.draw import draw_text

RED, BLUE = (255, 0, 0), (0, 0, 255)


def _columns(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return np.flatnonzero((picture == color).all(axis=2).any(axis=0))


def _draw(panel: GaugePanel, time_s: float, value: float) -> np.ndarray:
    image = np.full((120, 320, 3), 200, np.uint8)
    return panel.draw(image, time_s, title=("alert", BLUE), gauges=[Gauge("eyes", value, RED)], lines=["blink"])


def test_panel_lies_below_the_picture_and_bars_follow_the_value() -> None:
    panel = GaugePanel(320)
    full, half, none = (_draw(panel, i / 25, value) for i, value in enumerate((1.0, 0.5, math.nan)))
    assert full.shape == (120 + panel.height, 320, 3)
    assert panel.height % 2 == 0
    lengths = [len(_columns(picture[120:], RED)) for picture in (full, half, none)]
    assert lengths[0] > 50
    assert abs(lengths[1] - lengths[0] / 2) <= 1
    assert lengths[2] == 0
    assert (full[60:120] == 200).all()  # the line of text is at the top


def test_strip_moves_with_time() -> None:
    panel = GaugePanel(320, window_s=10.0)
    lengths = []
    for index in range(60):
        picture = _draw(panel, index / 4, 0.5)
        lengths.append(len(_columns(picture[-panel.height // 2 :, 140:], BLUE)))
    assert lengths[10] < lengths[30] < lengths[-1] <= 180
    assert lengths[45] == lengths[-1]  # full: older seconds fall out


def test_text_stays_inside_the_picture() -> None:
    for place in ((-50.0, -50.0), (500.0, 500.0)):
        canvas = np.full((40, 120, 3), 128, np.uint8)
        draw_text(canvas, "12.5 s", place, height=10)
        drawn = (canvas != 128).any(axis=2)
        assert drawn.sum() > 100
        assert not drawn[:, -1].any()
