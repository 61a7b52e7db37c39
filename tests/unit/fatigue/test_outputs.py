"""Timeline, plot, report and the choice of the face."""

import base64
import csv
import io
import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.fatigue.events import Event
from canthus.fatigue.monitor import MainFace, Status
from canthus.fatigue.page import Thumbs, report_page
from canthus.fatigue.person import Measures
from canthus.fatigue.report import FatigueReport, StatusCsv, Timeline, plot_timeline
from canthus.fatigue.settings import FatigueSettings
from canthus.images import decode_image, read_image
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
        "perclos_1min_max": None,
        "perclos_3min_max": None,
        "level_max": None,
        "blink_s": 0.2,
        "blink_growth": None,
        "blink_avr_s": None,
        "states_s": {},
        "not_judged_s": {},
        "started": None,
    }
    empty = FatigueReport(0.0, NAN, 0, 0.0, [], NAN, 0.0).to_json()
    assert json.loads(json.dumps(empty, allow_nan=False))["perclos"] is None
    assert (empty["fps"], empty["blink_rate_hz"]) == (None, None)


def test_page_stands_alone_and_says_what_cannot_be_told() -> None:
    timeline, thumbs = Timeline(), Thumbs()
    picture = np.full((90, 120, 3), 77, np.uint8)
    for index in range(200):
        lasting = (("closure", 1.0),) if 20 < index < 40 else ()
        status = _status(
            index / 20, NAN if index > 150 else 1.0, state="alert", perclos=0.02, level=2.0, lasting=lasting
        )
        timeline.add(status)
        thumbs.add(picture, np.array([10, 10, 60, 60], np.float32), status)
    events = [Event("blink", 0.3, 0.5, 0.9), Event("closure", 1.0, 2.0, 1.0, evidence=0.8), Event("nod", 3.0, 3.5, 0.3)]
    began = datetime(2026, 5, 1, 8, 30, tzinfo=UTC)
    report = FatigueReport(
        10.0, 20.0, 200, 0.0, events, 0.02, 7.5, {"alert": 10.0}, {"head turned": 2.5}, (0.02, NAN, 2.0), NAN, began
    )
    page = report_page(report, timeline, thumbs, settings=FatigueSettings(asleep_s=1.5), title="<b>drive\x1b.mp4")
    assert "&lt;b&gt;drive\\x1b.mp4" in page
    assert "<b>drive" not in page
    assert not re.findall(r"(?:src|href)='(?!data:)", page)  # nothing beside the page
    data = re.findall(r"src='data:image/jpeg;base64,([^']+)'", page)
    assert len(data) == 1  # the closure; a blink has no row, and the nod was too short for a picture
    assert decode_image(base64.b64decode(data[0]), name="thumb").shape == (112, 112, 3)
    for told in ("head turned", "cannot be told", "0.80", "asleep_s = 1.5 <b>(usually 2)</b>", "08:30:01.000"):
        assert told in page
    assert page.count("<polyline") == 3  # the gap at the end of the first curve needs no further line


def test_csv_leaves_unknown_cells_empty() -> None:
    text = io.StringIO()
    rows = StatusCsv(text)
    rows.write(_status(0.04, NAN))
    rows.write(_status(0.08, 0.75, state="alert", perclos=0.1), datetime(2026, 5, 1, 8, 30, tzinfo=UTC))
    first, second = csv.DictReader(text.getvalue().splitlines())
    assert (first["openness"], first["state"], first["perclos"], first["clock"]) == ("", "unknown", "", "")
    assert second["clock"] == "2026-05-01T08:30:00.080+00:00"
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
