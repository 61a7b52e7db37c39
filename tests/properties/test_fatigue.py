"""The same person filmed at another frame rate gives the same events."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canthus.fatigue.events import Event
from canthus.fatigue.measures import Observation
from canthus.fatigue.monitor import FatigueMonitor, Status

Scene = Callable[[float], Observation]

OPEN, SHUT = 0.3, 0.15


def _bump(time_s: float, start_s: float, end_s: float, ramp_s: float) -> float:
    """0, up to 1 from ``start_s``, and back until ``end_s``, in straight lines."""
    return float(np.interp(time_s, [start_s, start_s + ramp_s, end_s - ramp_s, end_s], [0, 1, 1, 0]))


def _scene(
    *,
    lids: tuple[tuple[float, float], ...] = (),
    mouths: tuple[tuple[float, float, float], ...] = (),
    pitches: tuple[tuple[float, float, float], ...] = (),
    yaws: tuple[tuple[float, float, float], ...] = (),
    missing: tuple[float, float] = (1e9, 1e9),
) -> Scene:
    def at(time_s: float) -> Observation:
        if missing[0] <= time_s < missing[1]:
            return Observation(time_s)
        shut = max((_bump(time_s, start, end, 0.08) for start, end in lids), default=0.0)
        mouth = max((height * _bump(time_s, start, end, 0.3) for start, end, height in mouths), default=0.0)
        pitch = sum(angle * _bump(time_s, start, end, 0.2) for start, end, angle in pitches)
        yaw = sum(angle * _bump(time_s, start, end, 0.2) for start, end, angle in yaws)
        eye = OPEN + (SHUT - OPEN) * shut
        return Observation(time_s, eye, 1.1 * eye, 0.05 + mouth, 0.1 + yaw, -0.1 + pitch, 30.0)

    return at


def _watch(scene: Scene, times: np.ndarray) -> tuple[list[Event], FatigueMonitor, list[Status]]:
    monitor = FatigueMonitor()
    events, statuses = [], []
    for time_s in times:
        events += monitor.update(scene(float(time_s)))
        statuses.append(monitor.status)
    return events + monitor.finish(), monitor, statuses


FULL = _scene(
    lids=((2.0, 2.3), (6.0, 6.25), (10.0, 11.2), (30.0, 33.0)),
    mouths=((12.0, 16.0, 0.7), (18.0, 18.6, 0.7), (19.0, 19.6, 0.6), (20.0, 23.0, 0.2)),
    pitches=((25.0, 26.0, 0.45),),
    yaws=((36.0, 39.0, 0.8),),
)
EXPECTED = ["blink", "blink", "closure", "yawn", "nod", "closure", "away"]


@cache
def _finely_sampled() -> list[Event]:
    return sorted(_watch(FULL, np.arange(0, 45, 1 / 240))[0], key=lambda event: event.start_s)


@pytest.mark.parametrize("fps", [12.5, 15, 25, 30, 60])
def test_events_of_a_scene_at_any_frame_rate(fps: float) -> None:
    events, monitor, statuses = _watch(FULL, np.arange(0, 45, 1 / fps))
    events = sorted(events, key=lambda event: event.start_s)
    assert [event.kind for event in events] == EXPECTED  # neither words nor the laugh of 20 to 23 s are yawns
    for found, exact in zip(events, _finely_sampled(), strict=True):
        assert found.start_s == pytest.approx(exact.start_s, abs=1 / fps)
        assert found.end_s == pytest.approx(exact.end_s, abs=1 / fps)
    assert events[0].peak > 0.8
    assert monitor.blinks == 2
    assert monitor.perclos.total == pytest.approx(0.105, abs=0.02)
    states = {status.state for status in statuses}
    assert states == {"unknown", "alert", "tired", "asleep"}
    (asleep,) = {status.state for status in statuses if 32.5 < status.time_s < 32.7}
    assert asleep == "asleep"
    (turned,) = {status.state for status in statuses if 38.0 < status.time_s < 38.5}
    assert turned == "unknown"


@settings(max_examples=15)
@given(
    start=st.floats(5, 8),
    length=st.one_of(st.floats(0.25, 0.42), st.floats(0.75, 4)),
    seed=st.integers(0, 99),
)
def test_lids_at_uneven_frames(start: float, length: float, seed: int) -> None:
    times = np.cumsum(np.random.default_rng(seed).uniform(0.01, 0.06, 500))
    (event,), monitor, _ = _watch(_scene(lids=((start, start + length),)), times)
    assert event.kind == ("blink" if length < 0.5 else "closure")
    assert event.start_s == pytest.approx(start + 0.05, abs=0.06)
    assert event.end_s == pytest.approx(start + length - 0.05, abs=0.06)
    assert monitor.lost_s == 0


@settings(max_examples=5)
@given(scale=st.floats(0.5, 1.5), shift=st.floats(-0.3, 0.3))
def test_everything_is_relative_to_the_person(scale: float, shift: float) -> None:
    def other(time_s: float) -> Observation:
        seen = FULL(time_s)
        right, left = scale * seen.right_eye, scale * seen.left_eye
        return Observation(time_s, right, left, seen.mouth + 0.1, seen.yaw + shift, seen.pitch - shift, 20.0)

    times = np.arange(0, 45, 1 / 25)
    for found, same in zip(_watch(FULL, times)[0], _watch(other, times)[0], strict=True):
        assert found.kind == same.kind
        assert found.start_s == pytest.approx(same.start_s, abs=1e-6)


@pytest.mark.parametrize("fps", [15, 30])
@pytest.mark.parametrize(
    ("confidence", "eye", "until_s", "told"),
    [
        (0.7, 0.2, 9.5, True),  # the hand goes before the mouth is shut
        (0.7, OPEN, 9.5, False),  # open eyes: the person eats
        (0.98, 0.2, 9.5, False),  # no hand: the mouth is shut
        (math.nan, 0.2, 9.5, False),  # a model that tells no confidence
        (0.7, 0.2, 20.0, False),  # a hand that stays
    ],
)
def test_a_yawn_goes_on_behind_a_hand(confidence: float, eye: float, until_s: float, told: bool, fps: int) -> None:
    """From 6 s on the mouth is wide open, and from 7 s a hand hides it, whose points look like a shut mouth."""

    def at(time_s: float) -> Observation:
        hidden = 7.0 <= time_s < until_s
        mouth = 0.1 if hidden else 0.05 + 0.7 * _bump(time_s, 6.0, max(until_s, 9.0) + 0.6, 0.5)
        sure = confidence if hidden or math.isnan(confidence) else 0.98
        lids = eye if 6.5 < time_s < 9.5 else OPEN
        return Observation(time_s, lids, lids, mouth, 0.0, 0.0, 30.0, mouth_confidence=sure)

    yawns = [event for event in _watch(at, np.arange(0, 25, 1 / fps))[0] if event.kind == "yawn"]
    assert len(yawns) == told
    for yawn in yawns:
        assert (yawn.start_s, yawn.end_s) == pytest.approx((6.3, 9.9), abs=0.2)


def test_lost_face_is_counted_in_seconds_and_makes_unknown() -> None:
    for fps in (10.0, 50.0):
        times = np.arange(0, 20, 1 / fps)
        events, monitor, statuses = _watch(_scene(lids=((9.5, 14.0),), missing=(10.0, 13.0)), times)
        assert monitor.lost_s == pytest.approx(3.0, abs=0.11)
        assert [event.kind for event in events] in (["blink", "closure"], ["closure", "closure"])
        assert events[0].end_s == pytest.approx(10.0, abs=1 / fps)
        assert {s.state for s in statuses if 11.1 < s.time_s < 12.9} == {"unknown"}
        assert {s.state for s in statuses if s.time_s > 15} <= {"alert", "tired"}


def test_face_lost_while_learning_parts_what_came_before_and_after() -> None:
    events, monitor, _ = _watch(_scene(lids=((0.9, 3.1),), missing=(1.2, 2.8)), np.arange(0, 8, 0.04))
    assert [event.kind for event in events] == ["blink"]  # the other half has no beginning
    assert monitor.perclos.total_judged_s < 6.6


def test_small_eyes_and_disagreeing_eyes_are_not_judged() -> None:
    def tiny(time_s: float) -> Observation:
        seen = FULL(time_s)
        return Observation(time_s, seen.right_eye, seen.left_eye, seen.mouth, seen.yaw, seen.pitch, 5.0)

    def wink(time_s: float) -> Observation:
        right = SHUT if time_s > 5 else OPEN
        return Observation(time_s, right, OPEN, 0.05, 0.0, 0.0, 30.0)

    times = np.arange(0, 12, 0.04)
    assert {status.state for status in _watch(tiny, times)[2]} == {"unknown"}
    statuses = _watch(wink, times)[2]
    assert {status.state for status in statuses if status.time_s > 6.1} == {"unknown"}
    assert all(math.isnan(status.measures.openness) for status in statuses if status.time_s > 5.1)


def test_another_person_is_learned_anew() -> None:
    monitor = FatigueMonitor()
    for time_s in np.arange(0, 6, 0.04):
        monitor.update(_scene()(float(time_s)))
    assert monitor.status.state == "alert"
    monitor.new_person()
    monitor.update(_scene()(6.0))
    assert math.isnan(monitor.status.measures.openness)
    with pytest.raises(ValueError, match="advance"):
        monitor.update(_scene()(6.0))


def _course(ratio_at: Callable[[float], float], fps: float, until_s: float = 20.0) -> list[Event]:
    def at(time_s: float) -> Observation:
        eye = OPEN * ratio_at(time_s)
        return Observation(time_s, eye, eye, 0.05, 0.0, 0.0, 30.0)

    return _watch(at, np.arange(0, until_s, 1 / fps))[0]


@pytest.mark.parametrize("fps", [12.5, 15, 25, 30, 60])
def test_one_frame_alone_is_no_blink(fps: float) -> None:
    for lowest in (0.1, 0.5, 0.8):

        def at(time_s: float, low: float = lowest) -> float:
            return low if round(time_s * fps) == round(10 * fps) else 1.0

        assert _course(at, fps) == []


@pytest.mark.parametrize("fps", [15, 25, 30, 60])
def test_shallow_blinks_are_found_if_quick(fps: float) -> None:
    """Networks follow lids in part: a shut eye at 0.8 of the open one's ratio is still a blink, by its haste."""

    def at(time_s: float) -> float:
        return 1 - 0.2 * max(_bump(time_s, start, start + 0.28, 0.08) for start in (6.0, 9.0, 15.0))

    events = _course(at, fps)
    assert [event.kind for event in events] == ["blink"] * 3
    assert [event.start_s for event in events] == pytest.approx([6.05, 9.05, 15.05], abs=1 / fps)


@pytest.mark.parametrize("fps", [15, 25, 30, 60])
@pytest.mark.parametrize("pitch", [0.0, 0.6])
def test_blinks_of_low_lids_are_found(pitch: float, fps: float) -> None:
    """Against the lids just before, as in a squint, and with a head so low that nothing else is judged of the eyes."""
    starts = (8.0, 10.0, 11.5)

    def at(time_s: float) -> Observation:
        blink = max(_bump(time_s, start, start + 0.3, 0.08) for start in starts)
        eye = OPEN * min(1 - 0.26 * _bump(time_s, 6, 13, 0.3), 1 - 0.55 * blink)
        return Observation(time_s, eye, eye, 0.05, 0.0, pitch * _bump(time_s, 6, 13, 0.5), 30.0)

    events = [event for event in _watch(at, np.arange(0, 20, 1 / fps))[0] if event.kind in ("blink", "closure")]
    assert [event.kind for event in events] == ["blink"] * len(starts)  # eyes that are narrow only are not shut
    middles = [(event.start_s + event.end_s) / 2 for event in events]
    assert middles == pytest.approx([start + 0.15 for start in starts], abs=1 / fps)


@pytest.mark.parametrize("fps", [15, 25, 30, 60])
@pytest.mark.parametrize("start_s", [6.0, 9.7])
def test_a_blink_with_which_the_lids_sink_or_rise_is_found(start_s: float, fps: float) -> None:
    """People blink as they begin to laugh or look down, and as they end: one side of the notch is higher."""

    def at(time_s: float) -> float:
        return min(1 - 0.4 * _bump(time_s, 6.05, 9.95, 0.2), 1 - 0.75 * _bump(time_s, start_s, start_s + 0.3, 0.08))

    blinks = [event for event in _course(at, fps) if event.kind == "blink"]
    assert len(blinks) == 1
    assert start_s <= blinks[0].start_s < blinks[0].end_s <= start_s + 0.3 + 1 / fps


@pytest.mark.parametrize("fps", [15, 25, 60])
def test_lower_lids_that_move_in_a_laugh_are_no_blinks(fps: float) -> None:
    """The aspect ratio falls and rises with the lower lids; one blink of the upper ones is among that."""

    def at(time_s: float) -> Observation:
        laugh = _bump(time_s, 6, 10, 0.3)
        upper = 0.6 * OPEN * (1 - 0.2 * laugh) * (1 - _bump(time_s, 8.0, 8.25, 0.08))
        lower = 0.4 * OPEN * (1 - laugh * (0.4 + 0.3 * math.sin(2 * math.pi * 3 * time_s)))
        eye = upper + lower
        return Observation(time_s, eye, eye, 0.05, 0.0, 0.0, 30.0, right_upper=upper, left_upper=upper)

    blinks = [event for event in _watch(at, np.arange(0, 14, 1 / fps))[0] if event.kind == "blink"]
    assert [(event.start_s + event.end_s) / 2 for event in blinks] == pytest.approx([8.125], abs=1 / fps)


@pytest.mark.parametrize("fps", [15, 25, 60])
@pytest.mark.parametrize(
    ("low", "size", "pace_hz"),
    [
        (0.6, 0.08, 4.0),  # lids that tremble, as in laughing
        (0.45, 0.15, 0.4),  # shut lids that twitch
    ],
)
def test_low_lids_that_tremble_do_not_blink(low: float, size: float, pace_hz: float, fps: float) -> None:
    def at(time_s: float) -> float:
        wave = max(math.sin(2 * math.pi * pace_hz * time_s), 0.0) if pace_hz > 1 else _bump(time_s, 9, 9.3, 0.08)
        return min(1 - (1 - low) * _bump(time_s, 6, 12, 0.3), 1 - (1 - low + size * wave) * (6.5 < time_s < 11.5))

    assert [event.kind for event in _course(at, fps)] == ["closure"]


@pytest.mark.parametrize("fps", [12.5, 25, 60])
def test_lids_that_sink_a_little_are_nothing(fps: float) -> None:
    def at(time_s: float) -> float:
        return 1 - 0.2 * max(_bump(time_s, 6, 9, 0.3), _bump(time_s, 12, 14, 0.1))

    assert _course(at, fps) == []


@pytest.mark.parametrize("fps", [15, 25, 60])
def test_what_trembles_needs_deeper_dips(fps: float) -> None:
    """Noise of 4 % from frame to frame, as of faces far away: no blink in a minute, and deep ones are found."""
    rng = np.random.default_rng(0)

    def at(time_s: float) -> float:
        dips = max(_bump(time_s, start, start + 0.3, 0.08) for start in (20.0, 40.0))
        return 1 - 0.5 * dips + 0.04 * float(rng.normal())

    events = _course(at, fps, 60.0)
    assert [event.kind for event in events] == ["blink", "blink"]


def test_a_slow_reopening_is_one_closure() -> None:
    events = _course(lambda t: float(np.interp(t, [5, 5.1, 5.3, 6.4, 6.6], [1, 0.4, 0.4, 0.7, 1])), 25)
    assert [event.kind for event in events] == ["closure"]


@pytest.mark.parametrize("fps", [15, 60])
def test_covered_eyes_are_not_judged_where_the_model_tells(fps: float) -> None:
    """Confidence falls for good when a hand covers the eyes, and for a moment in each blink."""
    scene = _scene(lids=((6.0, 6.3), (8.0, 8.3), (16.0, 16.3)), yaws=((20.0, 24.0, 0.5),))

    def at(time_s: float) -> Observation:
        seen = scene(time_s)
        covered = 10 < time_s < 14
        blinks = any(start < time_s < start + 0.3 for start in (6.0, 8.0, 16.0))
        right = 0.1 if covered or blinks else 0.9
        return replace(seen, right_confidence=0.05 if time_s > 20 else right, left_confidence=right)

    events, _, statuses = _watch(at, np.arange(0, 26, 1 / fps))
    assert [event.kind for event in events] == ["blink", "blink", "blink"]
    assert {s.state for s in statuses if 11.6 < s.time_s < 14} == {"unknown"}
    # Turned aside, only the nearer eye must be seen; looking ahead with one eye covered, neither is judged.
    assert {s.state for s in statuses if 21 < s.time_s < 23.5} == {"alert"}
    assert math.isnan(statuses[-1].measures.openness)


def test_nothing_is_judged_behind_dark_glasses() -> None:
    scene = _scene(lids=((6.0, 6.3), (9.0, 9.3), (16.0, 16.3)))

    def at(time_s: float) -> Observation:
        return replace(scene(time_s), under_eyes=0.15 if 8 < time_s < 12 else 0.9)

    events, _, statuses = _watch(at, np.arange(0, 20, 0.04))
    assert [round(event.start_s) for event in events] == [6, 16]
    assert {s.state for s in statuses if 9.5 < s.time_s < 12} == {"unknown"}
    assert statuses[-1].state == "alert"


def test_a_hanging_jaw_turns_no_head() -> None:
    """The mouth of a yawn moves the points that the head's angles come from."""
    yawning = _scene(mouths=((8.0, 13.0, 0.7),), yaws=((8.5, 12.5, 0.7),), pitches=((15.0, 16.0, 0.4),))
    events = _watch(yawning, np.arange(0, 20, 0.04))[0]
    assert [event.kind for event in events] == ["yawn", "nod"]
