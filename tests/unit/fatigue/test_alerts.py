"""What is told when it begins, and what head and mouth say against sleep."""

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ConfigError
from canthus.fatigue.alerts import Alert, AlertCommand, AlertWatch
from canthus.fatigue.context import ClosureWatch, Context, Doubts, HeadDrop
from canthus.fatigue.events import EventKind
from canthus.fatigue.monitor import Status
from canthus.fatigue.person import Measures
from canthus.fatigue.settings import FatigueSettings, read_settings
from canthus.fatigue.state import State

RULES = FatigueSettings()
TIMES = np.arange(0, 10, 0.04)


def _ramp(time_s: float, start_s: float, end_s: float, ramp_s: float = 0.3) -> float:
    return float(np.interp(time_s, [start_s, start_s + ramp_s, end_s - ramp_s, end_s], [0, 1, 1, 0]))


@pytest.mark.parametrize(
    ("head", "lids", "told"),
    [
        ((3.0, 6.0, 0.3), (3.0, 6.0, 0.6), "look_down"),
        ((3.0, 6.0, 0.3), None, None),  # a nod with open eyes
        ((3.0, 6.0, 0.05), (3.0, 6.0, 0.6), None),  # the head hardly moves
        ((4.0, 6.0, 0.3), (3.0, 6.0, 0.1), None),  # the head sinks after the lids: sleep
        ((3.2, 6.0, 0.3), (3.0, 6.0, 0.1), "look_down"),  # the head goes with the lids
    ],
)
@pytest.mark.parametrize("fps", [15, 25, 60])
def test_looking_down_is_a_head_that_goes_with_the_lids(
    head: tuple[float, float, float], lids: tuple[float, float, float] | None, told: str | None, fps: int
) -> None:
    context, spans = Context(RULES), []
    for time_s in np.arange(0, 10, 1 / fps):
        pitch = head[2] * _ramp(time_s, *head[:2])
        ratio = 1.0 if lids is None else 1 - (1 - lids[2]) * _ramp(time_s, *lids[:2], 0.1)
        shut_s = lids[0] + 0.05 if lids and ratio < 0.5 and lids[2] < 0.5 else None
        found = Measures(openness=ratio, lids=ratio, mouth=0.0, yaw=0.0, pitch=pitch, smile=0.0)
        spans += [span for span in context.update(float(time_s), found, shut_s) if span]
    assert len(spans) == (told is not None)
    for span in spans:
        assert span.start_s == pytest.approx(head[0], abs=0.25)
        assert span.end_s == pytest.approx(6.0, abs=0.25)
        assert -span.lowest == pytest.approx(head[2], abs=0.02)


@pytest.mark.parametrize(("narrow", "told"), [(0.75, True), (0.95, False)])
def test_laughing_is_a_broad_mouth_with_narrow_eyes(narrow: float, told: bool) -> None:
    context, spans = Context(RULES), []
    for time_s in TIMES:
        laughs = _ramp(time_s, 3.0, 6.0)
        lids = 1 - (1 - narrow) * laughs
        found = Measures(openness=lids, lids=lids, mouth=0.1, yaw=0.0, pitch=0.0, smile=0.15 * laughs)
        spans += [span for span in context.update(float(time_s), found, None) if span]
    assert len(spans) == told
    for span in spans:
        assert (span.start_s, span.end_s) == pytest.approx((3.15, 5.85), abs=0.1)


def test_a_head_that_comes_back_from_looking_up_does_not_look_down() -> None:
    drop = HeadDrop(RULES)
    for time_s in TIMES:
        drop.update(float(time_s), -0.4 * _ramp(time_s, 2.0, 5.0), None)
        assert drop.since_s is None


@pytest.mark.parametrize(
    ("doubts", "closing", "range_", "least", "most"),
    [
        (Doubts(), 0.1, 0.7, 0.95, 1.0),
        (Doubts(), 0.42, 0.7, 0.1, 0.3),  # lids half down
        (Doubts(), 0.1, 0.25, 0.5, 0.7),  # lids that are seen in part
        (Doubts(moves=1.0), 0.1, 0.7, 0.2, 0.4),
        (Doubts(laugh=True), 0.1, 0.7, 0.0, 0.0),
        (Doubts(look_down=True), 0.1, 0.7, 0.0, 0.0),
    ],
)
def test_evidence_of_sleep(doubts: Doubts, closing: float, range_: float, least: float, most: float) -> None:
    watch = ClosureWatch()
    for time_s in np.arange(2, 4, 0.04):
        watch.update(float(time_s), 2.0, closing, range_, doubts=doubts)
    assert least <= watch.evidence <= most
    watch.update(4.0, None, 1.0, range_, doubts=Doubts())
    assert watch.evidence == 0
    assert least <= watch.judged(2.0)[0] <= most
    assert watch.judged(2.0)[1] == (doubts.laugh or doubts.look_down)
    assert watch.judged(1.0) == (0.0, False)


def test_alerts_are_told_once_when_they_begin() -> None:
    watch, told = AlertWatch(evidence=0.5), []
    for time_s in TIMES:
        shut = 2.0 <= time_s < 6.0
        lasting: tuple[tuple[EventKind, float], ...] = (("closure", 2.0),) if shut and time_s >= 2.5 else ()
        state: State = "asleep" if 4.0 <= time_s < 7.0 else "alert"
        evidence = 0.9 if time_s >= 3.0 and shut else 0.2
        told += watch.update(Status(float(time_s), state, level=3.0, lasting=lasting, evidence=evidence))
    assert [(alert.kind, round(alert.time_s, 2), round(alert.since_s, 2)) for alert in told] == [
        ("alert", 0.0, 0.0),
        ("closure", 3.0, 2.0),  # long enough at 2.5 s, sure enough at 3 s
        ("asleep", 4.0, 4.0),
        ("alert", 7.0, 7.0),
    ]


def test_alert_as_json() -> None:
    began = datetime(2026, 5, 1, 8, 30, tzinfo=UTC)
    alert = Alert("closure", 3.04, 2.5, 1.0, 0.71234)
    assert alert.to_json(started=began, latency_s=0.0042) == {
        "alert": "closure", "time_s": 3.04, "since_s": 2.5, "level": 1.0, "evidence": 0.712, "latency_ms": 4.2,
        "clock": "2026-05-01T08:30:03.040+00:00",
    }  # fmt: skip
    plain = Alert("unknown", 1.0, 1.0).to_json()
    assert plain["level"] is None
    assert "clock" not in plain


def test_program_gets_each_alert_and_its_failures_are_counted(tmp_path: Path) -> None:
    script = tmp_path / "note it.py"
    script.write_text(
        "import json, sys\nalert = json.loads(sys.stdin.read())\n"
        f"open({str(tmp_path)!r} + '/' + alert['alert'], 'w').write(str(alert['time_s']))\n"
        "sys.exit(alert['alert'] == 'tired')\n"
    )
    with AlertCommand(f"{sys.executable} '{script}'", patience_s=60.0) as command:
        for kind in ("asleep", "tired"):
            command.start({"alert": kind, "time_s": 2.5})
    assert (tmp_path / "asleep").read_text() == "2.5"
    assert command.failed == 1
    for wrong in ("", "no-such-program --x", "'open"):
        with pytest.raises(ConfigError, match="--on-alert"):
            AlertCommand(wrong)


def test_settings_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("asleep_s = 1.5\nyawn_s = 3\n")
    assert read_settings(path) == FatigueSettings(asleep_s=1.5, yawn_s=3.0)
    for text, message in (
        ("asleep = 1.5", "asleep_s"),
        ("asleep_s = 'x'", "asleep_s"),
        ("asleep_s = -1", "above 0"),
        ("shut = 0.7", "less than reopen"),
        ("asleep_s", "not TOML"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_settings(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_settings(tmp_path / "none.toml")
    assert all(math.isfinite(value) for value in json.loads(json.dumps(vars(RULES))).values())
