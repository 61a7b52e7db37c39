"""Timeline, plot, report and the choice of the face."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.fatigue.events import Event
from canthus.fatigue.monitor import MainFace, Status
from canthus.fatigue.person import Measures
from canthus.fatigue.report import FatigueReport, StatusCsv, Timeline, plot_timeline
from canthus.fatigue.settings import FatigueSettings
from canthus.images import read_image
from canthus.schemes import IBUG_68
from canthus.types import Faces, Frame, Landmarks, TrackedFrame

NAN = math.nan


def _status(time_s: float, openness: float = 1.0, **other: object) -> Status:
    return Status(time_s, measures=Measures(openness=openness, mouth=0.1, yaw=0.0, pitch=0.0), **other)  # type: ignore[arg-type]


def test_timeline_keeps_dips_in_bounded_memory() -> None:
    timeline = Timeline(step_s=0.02, most=100)
    for index in range(5000):
        openness = 0.1 if index == 2222 else NAN if index < 500 else 1.0
        timeline.add(_status(index / 25, openness, state="alert" if index > 500 else "unknown", perclos=0.1))
    assert len(timeline.times_s) == len(timeline.openness) == len(timeline.mouth) == len(timeline.perclos) <= 100
    lowest = int(np.nanargmin(timeline.openness))
    assert timeline.openness[lowest] == 0.1
    assert timeline.times_s[lowest] <= 2222 / 25 < timeline.times_s[lowest] + timeline.step_s
    assert math.isnan(timeline.openness[0])
    assert timeline.changes == [(0.0, "unknown"), (501 / 25, "alert")]
    assert np.diff(timeline.times_s).min() > 0


def test_plot_is_a_picture_and_its_refusals(tmp_path: Path) -> None:
    timeline = Timeline()
    for index in range(100):
        timeline.add(_status(index / 25, perclos=0.02))
    events = [Event("blink", 1.0, 1.2, 0.9), Event("yawn", 2.0, 3.9, 0.6), Event("away", 0.1, 1.5, 0.7)]
    plot_timeline(tmp_path / "new/plot.png", timeline, events, settings=FatigueSettings(), title="a test")
    image = read_image(tmp_path / "new/plot.png")
    assert image.shape[1] > 1000
    assert (np.abs(image.astype(int) - [0, 114, 178]).max(axis=2) < 3).sum() > 20  # the blink's blue
    plot_timeline(tmp_path / "empty.png", Timeline(), [], settings=FatigueSettings(), title="nothing")
    with pytest.raises(ConfigError, match="cannot be written"):
        plot_timeline(tmp_path / "a.nothing", timeline, [], settings=FatigueSettings(), title="")


def test_report_as_json() -> None:
    events = [Event("blink", 1.0, 1.2, 0.9), Event("blink", 2.0, 2.2, 0.8), Event("yawn", 3.0, 6.0, 0.6)]
    report = FatigueReport(10.0, 25.0, 250, 0.5, events, 0.04, 8.0)
    assert report.to_json() == {
        "duration_s": 10.0,
        "fps": 25.0,
        "frames": 250,
        "faces_lost_s": 0.5,
        "events": [event.to_json() for event in events],
        "perclos": 0.04,
        "blink_rate_hz": 0.25,
    }
    empty = FatigueReport(0.0, NAN, 0, 0.0, [], NAN, 0.0).to_json()
    assert json.loads(json.dumps(empty, allow_nan=False))["perclos"] is None
    assert (empty["fps"], empty["blink_rate_hz"]) == (None, None)


def test_csv_leaves_unknown_cells_empty() -> None:
    text = io.StringIO()
    rows = StatusCsv(text)
    rows.write(_status(0.04, NAN))
    rows.write(_status(0.08, 0.75, state="alert", perclos=0.1))
    first, second = csv.DictReader(text.getvalue().splitlines())
    assert (first["openness"], first["state"], first["perclos"]) == ("", "unknown", "")
    assert (second["time_s"], second["openness"], second["perclos"]) == ("0.0800", "0.7500", "0.1000")


def _tracked(time_s: float, faces: dict[int, float]) -> TrackedFrame:
    boxes = np.array([[0, 0, side, side] for side in faces.values()], np.float32).reshape(-1, 4)
    points = np.zeros((len(faces), 68, 2), np.float32)
    frame = Frame(Faces(boxes, np.ones(len(faces), np.float32)), Landmarks(points, IBUG_68))
    return TrackedFrame(frame, np.array(list(faces), np.int64), points, time_s)


def test_main_face_is_the_largest_and_is_waited_for() -> None:
    main = MainFace(patience_s=3.0)
    assert main.find(_tracked(0.0, {})) is None
    assert main.find(_tracked(0.1, {0: 50, 1: 90})) == 1
    assert main.find(_tracked(0.2, {0: 150, 1: 90})) == 1
    assert main.find(_tracked(3.0, {0: 150})) is None
    assert main.changes == 0
    assert main.find(_tracked(3.3, {0: 150})) == 0
    assert (main.number, main.changes) == (0, 1)
