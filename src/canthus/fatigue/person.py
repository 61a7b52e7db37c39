"""The normal of a person, learned from the video: open eyes, closed mouth and upright head."""

import math
from collections import deque
from dataclasses import dataclass
from typing import final

import numpy as np

from canthus.fatigue.measures import Observation
from canthus.fatigue.settings import FatigueSettings


@final
class Baseline:
    """The usual level of a signal for one person.

    The level is unknown until ``learn_s`` seconds of the signal were seen.  Then it is a quantile of the values seen,
    each weighted by its duration.  Afterwards it follows new values exponentially, with the time constant ``rise_s``
    upwards and ``fall_s`` downwards.  The result does not depend on the frame rate.
    """

    def __init__(self, *, quantile: float, learn_s: float, rise_s: float, fall_s: float) -> None:
        self.value = math.nan
        self._quantile, self._learn_s, self._rise_s, self._fall_s = quantile, learn_s, rise_s, fall_s
        self._seen: list[tuple[float, float]] = []
        self._seen_s = 0.0

    @property
    def known(self) -> bool:
        """Whether enough was seen."""
        return math.isfinite(self.value)

    def update(self, value: float, step_s: float) -> None:
        """Take in a value that lasted ``step_s`` seconds."""
        if self.known:
            rate_s = self._rise_s if value > self.value else self._fall_s
            self.value += (value - self.value) * -math.expm1(-step_s / rate_s)
            return
        self._seen.append((value, step_s))
        self._seen_s += step_s
        if self._seen_s >= self._learn_s - 1e-9:
            self.value = self._weighted_quantile()
            self._seen.clear()

    def _weighted_quantile(self) -> float:
        passed = 0.0
        ordered = sorted(self._seen)
        for value, step_s in ordered:
            passed += step_s
            if passed >= self._quantile * self._seen_s:
                return value
        return ordered[-1][0]


CLOSING_S = 0.2
"""Time constant, in seconds, with which the ratio of the shut eye follows eyes that close further than expected."""
MOUTH_COVERED = 0.07
"""Fall of the mouth's confidence below the person's usual one, with which it is covered unless it is seen wide open."""
COVERED_S = 0.3
"""Time constant, in seconds, of the confidence of the eyes, which can fall during a blink."""
PITCH_SHARE = 0.7
"""Share of the largest turn at which looking up or down hides the eyes; they are hidden earlier than aside."""
NORMAL_OPENNESS = 0.75
"""Openness above which the normal adapts to the eyes."""
LEARNING, UNSEEN, TURNED = "still learning", "lids hardly seen", "head turned"
FEW_BLINKS = 0.4
"""Ratio of the shut eye until blinks were seen; it counts as one of them."""
HARDLY_SEEN = 0.66
"""Ratio of the shut eye over the open one above which sleep cannot be told from looking down."""
KNOWN_BLINKS = 5
"""Blinks from which the person's shut eye is known."""
FORESHORTENED = 0.13
"""How far the corners of the mouth rise against the lip, in distances of the eyes, for each radian of looking down."""
SHALLOWEST = 0.75
"""Ratio of the shut eye over the open one beyond which dips are no guide to it."""


@final
@dataclass(frozen=True)
class Measures:
    """Measures of a frame relative to the person's normal. NaN means unknown.

    Attributes:
        openness: of the eyes, 1 for normally open and 0 for shut; NaN if they cannot be judged.
        lids: aspect ratio of the eyes over that of the person's open eyes; NaN if they cannot be judged.
        turned_lids: the same, known also while the head is turned, where only a change within a moment can be judged.
        upper_lids: the part of ``turned_lids`` above the line of the corners, which a laugh or squint moves less, as it
            pushes the lower lids up; ``turned_lids`` itself where it was not measured.
        mouth: mouth aspect ratio minus that of the closed mouth; NaN while it is covered, as by a hand.
        yaw: relative to looking straight ahead, radians.
        pitch: the same.
        smile: width of the mouth minus that of the person's resting mouth, in distances of the outer eye corners; less
            where the corners do not rise; NaN while it is covered.
        obstacle: why sleep cannot be told; "" if it can.
        closing: ``turned_lids`` relative to the person's own blinks: 1 for open, 0 for as far shut as in them.
    """

    openness: float = math.nan
    lids: float = math.nan
    turned_lids: float = math.nan
    upper_lids: float = math.nan
    mouth: float = math.nan
    yaw: float = math.nan
    pitch: float = math.nan
    smile: float = math.nan
    closing: float = math.nan
    obstacle: str = "no face"


@final
class Person:
    """Learns what is normal for one person in the first seconds, and adapts slowly.

    Eyes and mouth are measured in the person's own range.  A landmark network never follows the lids all the way, so a
    shut eye is not at zero but at ``closed_share`` of the open one.  The blinks that were seen show how far it follows
    the lids of this person.
    """

    def __init__(self, settings: FatigueSettings) -> None:
        rules = self._rules = settings
        self._right, self._left = (
            Baseline(quantile=0.6, learn_s=rules.learn_s, rise_s=rules.adapt_s / 4, fall_s=rules.adapt_s)
            for _ in range(2)
        )
        self._mouth = Baseline(quantile=0.3, learn_s=rules.learn_s, rise_s=rules.adapt_s, fall_s=rules.adapt_s / 4)
        self._yaw, self._pitch = (
            Baseline(quantile=0.5, learn_s=rules.learn_s, rise_s=rules.adapt_s, fall_s=rules.adapt_s) for _ in range(2)
        )
        self._width, self._corners = (
            Baseline(quantile=0.5, learn_s=rules.learn_s, rise_s=rules.adapt_s, fall_s=rules.adapt_s) for _ in range(2)
        )
        self._mouth_seen = Baseline(quantile=0.5, learn_s=rules.learn_s, rise_s=rules.adapt_s / 4, fall_s=rules.adapt_s)
        self._closed_share = rules.closed_share
        self._blinks: deque[float] = deque(maxlen=15)
        self._confidence = math.nan

    @property
    def known(self) -> bool:
        """Whether enough was seen."""
        return self._right.known

    @property
    def shut_ratio(self) -> float:
        """Aspect ratio of the shut eye over the open one, as blinks show it; ``FEW_BLINKS`` counts as one of them."""
        return min(float(np.median([*self._blinks, min(self._closed_share, FEW_BLINKS)])), SHALLOWEST)

    @property
    def lids_seen(self) -> bool:
        """Whether the network follows the lids of this person far enough, as far as is known."""
        return len(self._blinks) < KNOWN_BLINKS or self.shut_ratio <= HARDLY_SEEN

    def note_blink(self, least_ratio: float) -> None:
        """Learn how far the shut eye is seen to shut, from the lowest ratio of a blink."""
        self._blinks.append(least_ratio)

    def learn(self, seen: Observation, step_s: float) -> None:
        """Learn in the first seconds; afterwards adapt slowly, but never to shut eyes or a yawn."""
        self._follow_confidence(seen, step_s)
        if step_s <= 0 or self._confidence < self._rules.eye_confidence:  # NaN is not
            return
        openness = self._openness(self._lids(seen))
        for baseline, value in ((self._right, seen.right_eye), (self._left, seen.left_eye)):
            if not baseline.known or openness > NORMAL_OPENNESS:
                baseline.update(value, step_s)
        covered = self._learn_mouth(seen, step_s)
        straight = math.hypot(seen.yaw - self._yaw.value, seen.pitch - self._pitch.value) < self._rules.away / 2
        if not self._yaw.known or (straight and not covered):
            self._yaw.update(seen.yaw, step_s)
            self._pitch.update(seen.pitch, step_s)
        if self._right.known and openness < 0:
            share = (seen.right_eye / self._right.value + seen.left_eye / self._left.value) / 2
            self._closed_share += (share - self._closed_share) * -math.expm1(-step_s / CLOSING_S)

    def _learn_mouth(self, seen: Observation, step_s: float) -> bool:
        """Learn the closed mouth, its width, and how sure its points are; return whether it is covered."""
        if math.isfinite(seen.mouth_confidence):
            self._mouth_seen.update(seen.mouth_confidence, step_s)
        if self._mouth_is_covered(seen):
            return True
        if not self._mouth.known or abs(seen.mouth - self._mouth.value) < self._rules.yawn_opening / 3:
            self._mouth.update(seen.mouth, step_s)
        self._learn_smile(seen, step_s)
        return False

    def _mouth_is_covered(self, seen: Observation) -> bool:
        """Whether the mouth is hidden; its points are less certain then, and those of a hand or mask look closed."""
        unsure = seen.mouth_confidence < self._mouth_seen.value - MOUTH_COVERED  # NaN is not
        return unsure and seen.mouth - self._mouth.value < 2 / 3 * self._rules.yawn_opening

    def _learn_smile(self, seen: Observation, step_s: float) -> None:
        rests = abs(seen.mouth_width - self._width.value) < self._rules.laugh / 2  # NaN does not
        if rests or (not self._width.known and math.isfinite(seen.mouth_width)):
            self._width.update(seen.mouth_width, step_s)
            self._corners.update(seen.corners - FORESHORTENED * seen.pitch, step_s)

    def _follow_confidence(self, seen: Observation, step_s: float) -> None:
        """Update the confidence of the less certain visible eye: 0 behind dark glasses, NaN if unknown."""
        share = self._left_share(seen)
        eyes = ((seen.right_confidence, 1 - share), (seen.left_confidence, share))
        least = min(confidence for confidence, part in eyes if part >= 0.25)
        if math.isfinite(seen.under_eyes):
            bare = float(seen.under_eyes >= self._rules.dark_glasses)
            least = min(least, bare) if math.isfinite(least) else bare
        before = self._confidence if math.isfinite(self._confidence) else least
        self._confidence = before + (least - before) * -math.expm1(-step_s / COVERED_S)

    def _left_share(self, seen: Observation) -> float:
        """Weight of the left eye: the one nearer to the camera counts more when the head is turned."""
        # Positive yaw looks to the subject's right and brings the left eye nearer.
        yaw = seen.yaw - self._yaw.value if self._yaw.known else 0.0
        return min(max(0.5 + yaw / (2 * self._rules.turned), 0.0), 1.0)

    def _lids(self, seen: Observation) -> float:
        """Aspect ratio of both eyes relative to the open eyes; NaN while learning."""
        return self._both(seen, seen.right_eye, seen.left_eye)

    def _both(self, seen: Observation, right: float, left: float) -> float:
        """Measures of both eyes in aspect ratios of the open eyes, the nearer eye weighing more."""
        share = self._left_share(seen)
        return (1 - share) * right / self._right.value + share * left / self._left.value

    def _openness(self, lids: float) -> float:
        shut = self._closed_share
        if len(self._blinks) >= KNOWN_BLINKS:  # of some faces the network sees the lids fall in part only
            shut = max(shut, self.shut_ratio - 0.05)
        return (lids - shut) / (1 - shut)

    def measure(self, seen: Observation) -> Measures:
        """Measures of a frame with a face, relative to the person's normal."""
        yaw, pitch = seen.yaw - self._yaw.value, seen.pitch - self._pitch.value
        obstacle = self._obstacle(seen, yaw, pitch)
        wide = seen.eye_pixels >= self._rules.eye_pixels
        turned_lids = self._lids(seen) if not obstacle or (obstacle == TURNED and wide) else math.nan
        lids = math.nan if obstacle else turned_lids
        upper = self._both(seen, seen.right_upper, seen.left_upper)
        shut, covered = self.shut_ratio, self._mouth_is_covered(seen)
        return Measures(
            openness=min(max(self._openness(lids), 0.0), 1.5),
            lids=lids,
            turned_lids=turned_lids,
            upper_lids=upper if math.isfinite(upper + turned_lids) else turned_lids,
            mouth=math.nan if covered else seen.mouth - self._mouth.value,
            yaw=yaw,
            pitch=pitch,
            smile=math.nan if covered else self._smile(seen),
            closing=(turned_lids - shut) / (1 - shut),
            obstacle=obstacle or ("" if self.lids_seen else UNSEEN),
        )

    def _smile(self, seen: Observation) -> float:
        rise = seen.corners - FORESHORTENED * seen.pitch - self._corners.value
        return seen.mouth_width - self._width.value + min(3 * (rise + 0.01), 0.0)

    def _obstacle(self, seen: Observation, yaw: float, pitch: float) -> str:
        """Why the eyes cannot be judged, or ""."""
        rules = self._rules
        if not self._right.known:
            return "eyes covered" if self._confidence < rules.eye_confidence else LEARNING  # NaN is not
        right, left = (
            self._openness(ratio) for ratio in (seen.right_eye / self._right.value, seen.left_eye / self._left.value)
        )
        obstacles = {
            "eyes covered": self._confidence < rules.eye_confidence,  # NaN is not
            TURNED: not math.hypot(yaw, pitch / PITCH_SHARE) < rules.turned,
            "eyes too small": not seen.eye_pixels >= rules.eye_pixels,
            "the two eyes disagree": abs(right - left) > rules.disagreement,
        }
        return next((name for name, holds in obstacles.items() if holds), "")
