"""Baselines, spans, PERCLOS and the state, each alone."""

import math

import numpy as np
import pytest

from canthus.fatigue.events import Event, EventKind, LowSpans
from canthus.fatigue.measures import Observation
from canthus.fatigue.monitor import FatigueMonitor
from canthus.fatigue.person import Baseline
from canthus.fatigue.settings import FatigueSettings
from canthus.fatigue.state import Perclos, Sleepiness, StateMachine

NAN = math.nan


def test_baseline_learns_a_quantile_weighted_by_time() -> None:
    level = Baseline(quantile=0.6, learn_s=4, rise_s=10, fall_s=40)
    for value, step_s in ((0.1, 1.0), (0.3, 1.0), (0.3, 1.0)):
        level.update(value, step_s)
        assert not level.known
    level.update(0.4, 1.0)
    assert level.value == 0.3  # the lowest quarter is a blink, the highest a surprise


def test_baseline_adapts_at_two_speeds() -> None:
    for target, tau in ((0.5, 10.0), (0.1, 40.0)):
        level = Baseline(quantile=0.5, learn_s=1, rise_s=10, fall_s=40)
        level.update(0.3, 1.0)
        for _ in range(500):
            level.update(target, 0.01)
        assert level.value == pytest.approx(target + (0.3 - target) * math.exp(-5 / tau), rel=1e-6)


def test_spans_cross_between_samples_and_have_hysteresis() -> None:
    spans = LowSpans(enter=0.5, leave=0.6)
    values = [1.0, 0.0, 0.55, 0.3, 0.59, 1.0, 1.0]
    found = [spans.update(0.1 * i, v) for i, v in enumerate(values)]
    (span,) = [span for span in found if span]
    assert span.start_s == pytest.approx(0.05)
    assert span.end_s == pytest.approx(0.4 + 0.1 * 0.01 / 0.41)
    assert span.lowest == 0
    assert spans.open_since_s is None


def test_span_that_is_interrupted_ends_at_its_last_sample() -> None:
    spans = LowSpans(enter=0.5, leave=0.6)
    spans.update(1.0, 0.4)
    assert spans.open_since_s == 1.0
    spans.update(1.2, 0.2)
    span = spans.interrupt()
    assert span is not None
    assert (span.start_s, span.end_s, span.lowest) == (1.0, 1.2, 0.2)
    assert spans.interrupt() is None
    with pytest.raises(ValueError, match="leave >= enter"):
        LowSpans(enter=0.5, leave=0.4)


@pytest.mark.parametrize("fps", [7.0, 25.0, 111.0])
def test_perclos_of_a_known_share(fps: float) -> None:
    share = Perclos(window_s=60, least_s=15)
    for time_s in np.arange(0, 90, 1 / fps):
        # Ramps of 1 s and two seconds shut in ten: at or below 0.2 for 2.4 s of them.
        phase = time_s % 10
        share.update(float(time_s), float(np.interp(phase, [0, 1, 3, 4, 10], [1, 0, 0, 1, 1])))
        if time_s < 14.5:
            assert math.isnan(share.value)
    assert share.value == pytest.approx(0.24, abs=0.005)
    assert share.total == pytest.approx(0.24, abs=0.005)


def test_perclos_counts_judged_time_only_and_forgets() -> None:
    share = Perclos(window_s=10, least_s=2)
    times = np.arange(0, 30, 0.1)
    for time_s in times:
        share.update(float(time_s), 0.0 if time_s < 5 else NAN if time_s < 15 else 1.0)
        if 5 < time_s < 10:
            assert share.value == 1.0
        if 13.5 < time_s < 15:
            assert math.isnan(share.value)
    assert share.value == 0.0
    assert share.total == pytest.approx(5 / 20, abs=0.01)
    assert math.isnan(Perclos().total)


def test_perclos_does_not_count_a_pause() -> None:
    share = Perclos(window_s=60, least_s=2)
    for time_s in np.arange(0, 10, 0.1):
        share.update(float(time_s), 0.0)
    share.interrupt()
    for time_s in np.arange(3600, 3610, 0.1):
        share.update(float(time_s), 1.0)
    assert share.value == 0.0
    assert share.total == pytest.approx(0.5)
    assert share.total_judged_s == pytest.approx(19.8)


def test_a_pause_of_the_video_is_not_judged() -> None:
    monitor = FatigueMonitor()
    seen = {"right_eye": 0.3, "left_eye": 0.3, "eye_pixels": 30.0, "mouth": 0.0, "yaw": 0.0, "pitch": 0.0}
    times = [*np.arange(0, 10, 0.04), *np.arange(5000, 5010, 0.04)]
    for time_s in times:
        monitor.update(Observation(float(time_s), **seen))
    assert monitor.perclos.total_judged_s == pytest.approx(20 - 0.08, abs=0.1)


def test_event_as_json() -> None:
    event = Event("blink", 1.23456, 1.4, 0.81234)
    assert event.to_json() == {"kind": "blink", "start_s": 1.235, "end_s": 1.4, "depth": 0.812}
    assert event.duration_s == pytest.approx(0.16544)
    assert "angle_rad" in Event("nod", 0, 1, 0.4).to_json()


class TestState:
    """The machine, frame by frame at ten a second."""

    def run(self, machine: StateMachine, start: float, end: float, **now: float | bool | None) -> list[str]:
        given: dict[str, float | bool | None] = {"judged": True, "shut_since_s": None, "perclos": NAN, **now}
        return [machine.update(float(t), **given) for t in np.arange(start, end, 0.1)]  # type: ignore[arg-type]

    def test_unknown_until_judged_and_again_when_not(self) -> None:
        machine = StateMachine(FatigueSettings(unknown_s=1.0))
        assert set(self.run(machine, 0, 1, judged=False)) == {"unknown"}
        assert set(self.run(machine, 1, 2)) == {"alert"}
        states = self.run(machine, 2, 4, judged=False)
        assert states[:9] == ["alert"] * 9
        assert states[-1] == "unknown"

    def test_asleep_then_tired_until_the_evidence_fades(self) -> None:
        machine = StateMachine(FatigueSettings(asleep_s=2.0, awake_s=1.0))
        states = self.run(machine, 0, 3, shut_since_s=0.0)
        assert states[18] == "alert"
        assert states[21:] == ["asleep"] * 9
        machine.note(Event("closure", 0.0, 3.0, 1.0, evidence=1.0))
        states = self.run(machine, 3, 120)
        assert states[:9] == ["asleep"] * 9
        assert states[12] == "tired"
        assert states[-1] == "alert"
        assert 50 < states.count("tired") / 10 < 70

    def test_no_sleep_without_evidence(self) -> None:
        machine = StateMachine(FatigueSettings())
        assert set(self.run(machine, 0, 9, shut_since_s=0.0, evidence=0.3)) == {"alert"}

    def test_short_closures_add_up_to_sleep(self) -> None:
        machine = StateMachine(FatigueSettings(asleep_s=2.0, adding_s=30.0, added_s=4.0, tired_closures=100.0))
        for start in (0.0, 4.0, 8.0):
            assert "asleep" not in self.run(machine, start, start + 1.3, shut_since_s=start)
            machine.note(Event("closure", start, start + 1.3, 1.0, evidence=0.9))
            self.run(machine, start + 1.3, start + 3)
        assert self.run(machine, 12, 13, shut_since_s=12.0)[-1] == "asleep"  # 3.9 s of closures, and this one

    def test_a_sleeper_whose_head_sinks_out_of_sight_sleeps_on(self) -> None:
        for sinking, state in ((True, "asleep"), (False, "unknown")):
            machine = StateMachine(FatigueSettings(unknown_s=1.0))
            self.run(machine, 0, 3, shut_since_s=0.0)
            assert self.run(machine, 3, 8, judged=False, sinking=sinking)[-1] == state

    def test_perclos_with_hysteresis(self) -> None:
        machine = StateMachine(FatigueSettings(tired_perclos=0.15, rested_perclos=0.05, hold_s=1.0))
        assert set(self.run(machine, 0, 5, perclos=0.13)) == {"alert"}
        assert set(self.run(machine, 5, 6, perclos=0.16)) == {"tired"}
        assert set(self.run(machine, 6, 12, perclos=0.12)) == {"tired"}
        assert self.run(machine, 12, 15, perclos=0.08)[-1] == "alert"

    def test_two_yawns_or_two_closures_make_tired(self) -> None:
        kinds: tuple[EventKind, ...] = ("yawn", "closure")
        for kind in kinds:
            machine = StateMachine(FatigueSettings())
            machine.note(Event(kind, 0.0, 1.5, 0.5, evidence=1.0))
            assert set(self.run(machine, 1.5, 2)) == {"alert"}
            machine.note(Event(kind, 2.0, 3.5, 0.5, evidence=1.0))
            assert set(self.run(machine, 3.5, 4)) == {"tired"}
            assert self.run(machine, 300, 302)[-1] == "alert"


def test_watching_for_long_needs_no_more_memory() -> None:
    """Whatever is kept of single frames is kept for a time, whether the eyes can be judged or not."""
    monitor = FatigueMonitor()
    most = {"perclos": 0, "early": 0}
    for index in range(3000):
        time_s = index / 5
        covered = time_s > 300 or time_s < 100  # never learned at first, lost later
        eye = 0.1 if index % 17 == 0 else 0.3
        yaw = 2.0 if time_s > 500 else 0.0
        monitor.update(Observation(time_s, eye, eye, 0.1, yaw, 0.0, 30.0, under_eyes=0.1 if covered else 0.9))
        most["perclos"] = max(most["perclos"], len(monitor.perclos._steps))
        most["early"] = max(most["early"], len(monitor._early))
    assert most["perclos"] <= 60 * 5 + 1
    assert 1 < most["early"] <= 20 * 5 + 1
    assert len(monitor._lids._shut_spans) <= 1
    assert len(monitor._state._closures) <= 60
    assert not monitor._person._right._seen


def test_level_is_the_stated_formula() -> None:
    sleepiness = Sleepiness(FatigueSettings())
    assert sleepiness.level(0.0, NAN) == 1.0
    sleepiness.note(Event("closure", 0.0, 1.0, 1.0, evidence=0.8))
    sleepiness.note(Event("closure", 0.0, 1.0, 1.0, evidence=0.2))  # too little to count
    sleepiness.note(Event("yawn", 0.0, 3.0, 0.6))
    signs = 0.8 * (2 + 1) / 3 / 2 + 1.5 / 2
    assert sleepiness.level(0.0, 0.05) == pytest.approx(min(9, 1 + 6 * signs))
    later = 0.4 / 2 + 0.75 * 0.5**0.5 + (0.10 - 0.05) / (0.15 - 0.05)
    assert sleepiness.level(60.0, 0.10) == pytest.approx(1 + 6 * min(later, 8 / 6))


def test_blinks_that_grow_raise_the_level() -> None:
    sleepiness = Sleepiness(FatigueSettings())
    for index in range(30):
        length = 0.2 if index < 10 else 0.4
        sleepiness.note(Event("blink", 5.0 * index, 5.0 * index + length, 1.0))
        level = sleepiness.level(5.0 * index + 1, NAN)
        assert math.isnan(sleepiness.blink_growth) == (index < 9)
    assert sleepiness.blink_growth == pytest.approx(2.0)
    assert level == pytest.approx(1 + 6 * 0.3)
