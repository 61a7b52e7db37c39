"""Thresholds of the fatigue monitor, in seconds, radians and shares of the person's own range."""

from dataclasses import dataclass
from typing import final


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
        tired_perclos: PERCLOS from which the person is tired.
        rested_perclos: PERCLOS below which it no longer counts as tired.
        tired_closures: closures within the PERCLOS window from which the person is tired.
        tired_yawns: yawns within ``yawns_window_s`` from which the person is tired.
        yawns_window_s: window of the yawns.
        hold_s: shortest time of being tired.
        awake_s: time with open eyes after which sleep ends.
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
    rested_perclos: float = 0.08
    tired_closures: int = 2
    tired_yawns: int = 2
    yawns_window_s: float = 180.0
    hold_s: float = 10.0
    awake_s: float = 1.0
