"""Thresholds of the fatigue monitor, in seconds, radians and shares of the person's own range."""

import math
import os
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from canthus.errors import ConfigError
from canthus.plain_data import from_values


@final
@dataclass(frozen=True)
class FatigueSettings:
    """Thresholds of events and states.

    Attributes:
        learn_s: time with a usable face from which the person's own open eye, closed mouth and head pose are learned.
        adapt_s: time constant of the slow adaptation afterwards.
        closed_share: aspect ratio of a shut eye over that of the open one, as the landmark network sees it; lowered for
            a person whose eyes are seen to close further.
        shut: openness at or below which a blink or closure begins.
        reopen: openness above which a blink or closure ends.
        blink_dip: quick fall of the eye aspect ratio with which a blink begins, as a share of the open eye's ratio.
        blink_noise: the same in units of the mean noise; the larger of the two counts.
        blink_s: shortest blink.
        closure_s: length above which a blink is a closure.
        asleep_s: time with shut eyes after which the person is asleep.
        yawn_opening: mouth ratio above the person's closed mouth at which a yawn may begin; two thirds of it end it.
            Laughing is wide and low and stays below.
        yawn_s: shortest yawn; words are shorter.
        nod: drop of the head at which a nod begins; half of it ends it.
        nod_s: longest nod; anything longer is looking down.
        away: turn of the head from the person's own straight ahead; four fifths of it ends it.
        away_s: shortest look away.
        turned: turn beyond which the eyes are not judged.
        eye_pixels: least width of an eye that is judged.
        eye_confidence: least confidence of the eyes' points, over a third of a second, where the model gives any;
            below it the eyes count as covered.
        dark_glasses: brightness under the eyes over that of the cheeks, below which the eyes count as covered.
        disagreement: difference in openness of the two eyes, both of them visible, beyond which they are not judged.
        unknown_s: time without judged eyes after which the state is unknown.
        perclos_window_s: window of PERCLOS.
        perclos_least_s: judged time in the window needed for a value.
        long_perclos_window_s: window of the longer PERCLOS.
        tired_perclos: PERCLOS of the short window that alone makes tired.
        rested_perclos: PERCLOS of the short window that counts as nothing.
        tired_closures: closures of one second, right after each other, that make tired.
        tired_yawns: yawns within three minutes that make tired.
        yawns_window_s: time after which a yawn counts half.
        hold_s: shortest time of being tired.
        awake_s: time with open eyes after which sleep ends.
        look_down: fall of the head within 1.5 s from which the person looks down, if the lids go with it.
        lowered: aspect ratio of the eyes over that of the open ones at or below which the lids are lowered.
        lowered_s: time with lowered lids from which it is looking down, or laughing; longer than a blink.
        look_down_s: shortest look down that is told.
        laugh: growth of the width of the mouth, in distances of the outer eye corners, from which the person laughs, if
            the lids are lowered with it.
        laugh_s: shortest laugh.
        talk: range of the mouth ratio within a second beyond which the face is not at rest.
        turning: range of yaw or pitch within a second beyond which the head is not at rest.
        evidence: share of certainty from which a closure is taken for sleep; see ``docs/fatigue.md``.
        closure_evidence: the same, from which a closure is an event; below it, the eyes are narrow.
        told_evidence: the same, from which a closure that lasts is told as an alert.
        adding_s: time in which such closures are added up.
        added_s: sum of their lengths from which the person, with shut eyes, is asleep.
        half_life_s: time after which a closure counts half.
        tired_level: level of sleepiness, 1 to 9, from which the person is tired.
        rested_level: level below which it is tired no longer.
    """

    learn_s: float = 4.0
    adapt_s: float = 60.0
    closed_share: float = 0.5
    shut: float = 0.5
    reopen: float = 0.6
    blink_dip: float = 0.12
    blink_noise: float = 6.0
    blink_s: float = 0.08
    closure_s: float = 0.5
    asleep_s: float = 2.0
    yawn_opening: float = 0.45
    yawn_s: float = 2.0
    nod: float = 0.25
    nod_s: float = 2.5
    away: float = 0.5
    away_s: float = 1.0
    turned: float = 0.6
    eye_pixels: float = 8.0
    eye_confidence: float = 0.3
    dark_glasses: float = 0.3
    disagreement: float = 0.8
    unknown_s: float = 1.0
    perclos_window_s: float = 60.0
    perclos_least_s: float = 15.0
    tired_perclos: float = 0.15
    rested_perclos: float = 0.05
    tired_closures: float = 2.0
    tired_yawns: float = 2.0
    yawns_window_s: float = 120.0
    hold_s: float = 1.0
    awake_s: float = 1.0
    long_perclos_window_s: float = 180.0
    look_down: float = 0.08
    lowered: float = 0.88
    lowered_s: float = 0.4
    look_down_s: float = 0.5
    laugh: float = 0.07
    laugh_s: float = 0.5
    talk: float = 0.2
    turning: float = 0.2
    evidence: float = 0.6
    closure_evidence: float = 0.1
    told_evidence: float = 0.35
    adding_s: float = 30.0
    added_s: float = 4.0
    half_life_s: float = 60.0
    tired_level: float = 7.0
    rested_level: float = 5.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value}; expected a number above 0")
        for low, high in (("shut", "reopen"), ("rested_level", "tired_level"), ("rested_perclos", "tired_perclos")):
            if getattr(self, low) >= getattr(self, high):
                raise ConfigError(f"{low} is {getattr(self, low)}; expected less than {high}, {getattr(self, high)}")
        if self.closed_share >= 1:
            raise ConfigError(f"closed_share is {self.closed_share}; expected less than 1")


def read_settings(path: str | os.PathLike[str]) -> FatigueSettings:
    """Read settings from a TOML file with the names of ``FatigueSettings``; those that it lacks keep their defaults.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or holds another name or a value that is not possible.
    """
    try:
        values = tomllib.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{os.fspath(path)}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # a TOMLDecodeError is one, and so is text that is not UTF-8
        raise ConfigError(f"{os.fspath(path)}: is not TOML ({error})") from error
    return from_values(FatigueSettings, values, source=os.fspath(path))
