"""A face that moves by a known course gives the same events, however the picture is taken."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from fatigue_day import Course, frames
from matplotlib import get_data_path
from puppet import SIDE, Puppet

from canthus.fatigue.events import Event, EventKind
from canthus.fatigue.monitor import FatigueMonitor
from canthus.images import read_image
from canthus.runtime.pipeline import Pipeline, load_pipeline
from canthus.runtime.tracker import Tracker, TrackerSettings
from canthus.types import Image
from canthus.zoo import FATIGUE

PORTRAIT = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
MOTIONS: dict[EventKind, tuple[float, float]] = {
    "blink": (5.5, 5.75),
    "closure": (6.6, 8.1),
    "look_down": (9.2, 11.2),
    "laugh": (12.0, 13.6),
}


@cache
def _pipeline() -> Pipeline:
    return load_pipeline(FATIGUE)


def _course(rate_hz: float) -> Course:
    course = Course(14.5, np.random.default_rng(0), rate_hz)
    course.add(course.bump(*MOTIONS["blink"], 0.08, 0.12), lids=1.0)
    course.add(course.bump(*MOTIONS["closure"], 0.3, 0.2), lids=1.0)
    course.add(course.bump(*MOTIONS["look_down"], 0.3, 0.3), pitch=0.35, lids=0.6, gaze=1.0)
    course.add(course.bump(*MOTIONS["laugh"], 0.3, 0.3), smile=1.1, lower=0.3, lids=0.3, mouth=0.12)
    return course


def _drawn(rate_hz: float) -> Iterator[tuple[Image, float]]:
    photo = read_image(PORTRAIT)
    return frames(Puppet(photo, _pipeline()(photo).landmarks.points[0]), _course(rate_hz))


@cache
def _drawn_once() -> list[tuple[Image, float]]:
    return list(_drawn(15.0))


def _check(
    pictures: Iterator[tuple[Image, float]] | list[tuple[Image, float]], change: Callable[[Image], Image]
) -> None:
    tracker, monitor, events = Tracker(_pipeline(), TrackerSettings(smoothing=None)), FatigueMonitor(), list[Event]()
    for picture, time_s in pictures:
        image = np.ascontiguousarray(change(picture))
        events += monitor.watch(tracker(image, time_s), image)
    events += monitor.finish()
    found = {event.kind: (event.start_s, event.end_s) for event in events if event.kind in MOTIONS}
    assert sorted(event.kind for event in events if event.kind != "nod") == sorted(MOTIONS)
    for kind, (start_s, end_s) in MOTIONS.items():
        assert found[kind] == pytest.approx((start_s, end_s), abs=0.4), kind
    (closure,) = (event for event in events if event.kind == "closure")
    assert closure.evidence > 0.5
    assert monitor.status.state == "alert"


def _turned(image: Image, degrees: float) -> Image:
    turn = cv2.getRotationMatrix2D((SIDE / 2, 0.45 * SIDE), degrees, 1.0)
    return np.asarray(cv2.warpAffine(image, turn, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE))


CHANGES: dict[str, Callable[[Image], Image]] = {
    "as drawn": lambda image: image,
    "mirrored": lambda image: image[:, ::-1],
    "dark": lambda image: np.asarray(0.35 * image, np.uint8),
    "grey, as at night": lambda image: np.repeat(
        np.asarray(0.6 * image.mean(axis=2, keepdims=True), np.uint8), 3, axis=2
    ),
    "smaller": lambda image: np.asarray(cv2.resize(image, (150, 150), interpolation=cv2.INTER_AREA)),
    "larger": lambda image: np.asarray(cv2.resize(image, (448, 448))),
    "turned by 5 degrees": lambda image: _turned(image, 5.0),
    "turned by 15 degrees": lambda image: _turned(image, 15.0),
    "turned by 25 degrees": lambda image: _turned(image, 25.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_events_in_other_pictures(name: str) -> None:
    _check(_drawn_once(), CHANGES[name])


@pytest.mark.parametrize("rate_hz", [30.0, 60.0])
def test_the_same_events_at_other_frame_rates(rate_hz: float) -> None:
    _check(_drawn(rate_hz), CHANGES["as drawn"])
