"""A report for a supervisor: one page of HTML that needs nothing beside it."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import final

import cv2
import numpy as np
from jaxtyping import Float32

from canthus.fatigue.alerts import clock
from canthus.fatigue.events import PEAK_NAMES, Event, EventKind
from canthus.fatigue.monitor import Status
from canthus.fatigue.report import EVENT_COLORS, STATE_COLORS, FatigueReport, Timeline
from canthus.fatigue.settings import FatigueSettings
from canthus.types import Image

THUMB_PX = 112
"""Side of the picture of an event."""
MOST_THUMBS = 300
"""Events with a picture at most, the first ones, so that the page stays small."""
WIDTH, LEFT = 1080, 84
"""Width of the timeline, and of the names at its left, in its own unit."""


@final
class Thumbs:
    """Keeps a small picture of the face at the beginning of each event that lasts.

    Attributes:
        pictures: JPEG by kind and beginning of the event.
    """

    def __init__(self) -> None:
        self.pictures: dict[tuple[EventKind, float], bytes] = {}

    def add(self, image: Image, box: Float32[np.ndarray, " 4"] | None, status: Status) -> None:
        """Take in a frame, with the box of the face in it."""
        fresh = [act for act in status.lasting if act not in self.pictures]
        if not fresh or box is None or len(self.pictures) >= MOST_THUMBS:
            return
        x1, y1, x2, y2 = (float(value) for value in box)
        half = 0.7 * max(x2 - x1, y2 - y1)
        scale = THUMB_PX / max(2 * half, 1.0)
        place = np.array(
            [[scale, 0, THUMB_PX / 2 - scale * (x1 + x2) / 2], [0, scale, THUMB_PX / 2 - scale * (y1 + y2) / 2]]
        )
        chip = cv2.warpAffine(image, place, (THUMB_PX, THUMB_PX), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
        written, data = cv2.imencode(".jpg", np.ascontiguousarray(chip[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 80])
        if written:
            self.pictures |= dict.fromkeys(fresh, data.tobytes())

    def of(self, event: Event) -> bytes | None:
        """The picture of an event; the beginning of a look down can move while it lasts."""
        near = [start for kind, start in self.pictures if kind == event.kind and event.start_s <= start <= event.end_s]
        return self.pictures.get((event.kind, event.start_s)) or (self.pictures[event.kind, near[0]] if near else None)


def report_page(
    report: FatigueReport, timeline: Timeline, thumbs: Thumbs, *, settings: FatigueSettings, title: str
) -> str:
    """The page.

    Args:
        title: what was watched.
    """
    parts = [
        f"<h1>Signs of fatigue</h1><p class='sub'>{_text(title)}{_when(report)}</p>",
        _figures(report),
        "<h2>Over time</h2>",
        _timeline(report, timeline, settings),
        _cannot(report),
        "<h2>Events</h2>",
        _counts(report),
        _events(report, thumbs),
        "<h2>Settings</h2>",
        _settings(settings),
        _NOTE,
    ]
    body = "\n".join(parts)
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>Fatigue: {_text(title)}</title>"
        f"<meta name='viewport' content='width=device-width, initial-scale=1'><style>{_STYLE}</style></head>\n"
        f"<body><main>{body}</main></body></html>\n"
    )


_NOTE = (
    "<p class='note'>The level is named after the Karolinska Sleepiness Scale (1 to 9) but was not compared with what "
    "people say of themselves. This is no medical device, and no alarm that a life may depend on.</p>"
)
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--faint:#667;--line:#ccd2d8;--card:#f5f7f9;--paper:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--faint:#9aa4ae;--line:#3a424a;--card:#20262c;--paper:#14181c}}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
main{max-width:1100px;margin:0 auto;padding:24px 16px 48px}
h1{font-size:24px;margin:0}h2{font-size:17px;margin:30px 0 8px}
.sub,.note,.faint{color:var(--faint)}.sub{margin:2px 0 18px}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px}
.card{background:var(--card);border-radius:8px;padding:10px 12px}.card b{display:block;font-size:20px}
.card span{color:var(--faint);font-size:13px}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:5px 10px 5px 0;border-bottom:1px solid var(--line);vertical-align:middle}
th{color:var(--faint);font-weight:500}td img{display:block;border-radius:6px;width:84px;height:84px}
.dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
svg text{fill:var(--faint);font-size:11px}svg .curve{fill:none;stroke:var(--ink);stroke-width:1}
svg .rule{stroke:var(--line);stroke-width:1}svg .mark{stroke:var(--faint);stroke-dasharray:4 3}
.settings{columns:3 240px;font-size:13px}.settings div{break-inside:avoid}
"""


def _text(text: object) -> str:
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
    return html.escape(shown, quote=True)


def _when(report: FatigueReport) -> str:
    return "" if report.started is None else f" &middot; from {_text(clock(report.started, 0.0))}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _number(value: float, form: str = "{:.1f}") -> str:
    return form.format(value) if math.isfinite(value) else "cannot be told"


def _figures(report: FatigueReport) -> str:
    rate = report.blink_rate_hz * 60
    cards = [
        (_time(report.duration_s), "length"),
        *((_time(report.seconds.get(state, 0.0)), state) for state in STATE_COLORS),
        (_number(report.most[2]), "highest level, 1 to 9"),
        (_number(100 * report.most[0], "{:.1f} %"), "highest PERCLOS of 1 min"),
        (_number(100 * report.most[1], "{:.1f} %"), "highest PERCLOS of 3 min"),
        (_number(rate, "{:.1f} a minute"), "blinks"),
        (_number(1000 * report.blink_median(lambda event: event.duration_s), "{:.0f} ms"), "length of a blink, median"),
        (_number(report.blink_growth, "{:.2f} times"), "blinks of the last minute, against the first ten"),
        (
            _number(1000 * report.blink_median(lambda event: event.avr_s), "{:.0f} ms"),
            "amplitude-velocity ratio, median",
        ),
    ]
    return (
        "<div class='cards'>"
        + "".join(f"<div class='card'><b>{b}</b><span>{s}</span></div>" for b, s in cards)
        + "</div>"
    )


def _timeline(report: FatigueReport, timeline: Timeline, settings: FatigueSettings) -> str:
    """Curves of openness, level and PERCLOS, a strip of states, and a row for each kind of event."""
    end_s = max(report.duration_s, 1e-3)
    scale = (WIDTH - LEFT - 10) / end_s
    curves = [
        ("eyes", timeline.openness, 1.2, settings.shut),
        ("level", [value - 1 for value in timeline.level], 8.0, settings.tired_level - 1),
        ("PERCLOS", timeline.perclos, 2 * settings.tired_perclos, settings.tired_perclos),
    ]
    parts, top = [], 8
    for name, values, most, mark in curves:
        parts.append(f"<text x='0' y='{top + 30}'>{name}</text>")
        y = top + 56 - 56 * mark / most
        parts.append(f"<line class='mark' x1='{LEFT}' x2='{WIDTH - 10}' y1='{y:.1f}' y2='{y:.1f}'/>")
        parts += _curve(timeline.times_s, values, scale, top=top, most=most, lowest=name == "eyes")
        top += 68
    parts.append(f"<text x='0' y='{top + 12}'>state</text>")
    ends = [*(time_s for time_s, _ in timeline.changes), end_s][1:]
    for (start_s, state), until_s in zip(timeline.changes, ends, strict=True):
        parts.append(_bar(start_s, until_s, scale, top, STATE_COLORS[state], told=f"{state} from {_time(start_s)}"))
    for kind, color in EVENT_COLORS.items():
        top += 20
        parts.append(f"<text x='0' y='{top + 12}'>{kind.replace('_', ' ')}</text>")
        for event in report.events:
            if event.kind == kind:
                told = f"{kind} {_time(event.start_s)}, {event.duration_s:.2f} s"
                parts.append(_bar(event.start_s, event.end_s, scale, top, color, told=told))
    top += 26
    parts.append(f"<line class='rule' x1='{LEFT}' x2='{WIDTH - 10}' y1='{top}' y2='{top}'/>")
    for tick in np.linspace(0, end_s, 7).tolist():
        place = f"x='{LEFT + tick * scale:.0f}' y='{top + 14}' text-anchor='{'end' if tick == end_s else 'middle'}'"
        parts.append(f"<text {place}>{_time(tick)}</text>")
    legend = "".join(f"<span class='dot' style='background:{c}'></span>{s} &nbsp; " for s, c in STATE_COLORS.items())
    picture = f"<svg viewBox='0 0 {WIDTH} {top + 20}' role='img' aria-label='timeline'>{''.join(parts)}</svg>"
    below = f"<p class='faint'>{legend}<br>Dashed: the threshold. A gap in a curve cannot be told.</p>"
    return f"<div class='scroll'>{picture}</div>{below}"


def _bar(start_s: float, end_s: float, scale: float, top: float, color: str, *, told: str) -> str:
    width = max((end_s - start_s) * scale, 1.5)
    place = f"x='{LEFT + start_s * scale:.1f}' y='{top}' width='{width:.1f}' height='14'"
    return f"<rect {place} fill='{color}'><title>{_text(told)}</title></rect>"


def _curve(
    times: Sequence[float], values: Sequence[float], scale: float, *, top: float, most: float, lowest: bool
) -> list[str]:
    """Lines of at most one point a unit of width, with gaps where nothing is known."""
    columns: dict[int, list[float]] = {}
    for time_s, value in zip(times, values, strict=True):
        columns.setdefault(round(time_s * scale), []).append(value)
    lines: list[list[str]] = [[]]
    for x, found in columns.items():
        known = [value for value in found if math.isfinite(value)]
        if not known:
            lines.append([])
            continue
        value = min(known) if lowest else max(known)
        lines[-1].append(f"{LEFT + x},{top + 56 - 56 * min(max(value / most, 0.0), 1.0):.1f}")
    return [f"<polyline class='curve' points='{' '.join(line)}'/>" for line in lines if len(line) > 1]


def _cannot(report: FatigueReport) -> str:
    rows = sorted(report.obstacles.items(), key=lambda item: -item[1])
    told = "".join(f"<tr><td>{_text(name)}</td><td>{_time(seconds)}</td></tr>" for name, seconds in rows if seconds > 0)
    share = 100 * report.judged_s / report.duration_s if report.duration_s > 0 else 0.0
    head = (
        f"<h2>What cannot be told</h2><p>The eyes were judged for {_time(report.judged_s)} ({share:.0f} % of the time)."
    )
    if not told:
        return head + "</p>"
    return f"{head} Not judged, because:</p><table><tr><th>reason</th><th>time</th></tr>{told}</table>"


def _counts(report: FatigueReport) -> str:
    kinds = [event.kind for event in report.events]
    dots = (
        f"<span class='dot' style='background:{color}'></span>{kinds.count(kind)} {kind.replace('_', ' ')} &nbsp; "
        for kind, color in EVENT_COLORS.items()
    )
    return f"<p>{''.join(dots)}</p>"


def _events(report: FatigueReport, thumbs: Thumbs) -> str:
    """A row for each event but the blinks, which are too many."""
    rows = []
    for event in sorted(report.events, key=lambda event: event.start_s):
        if event.kind == "blink":
            continue
        picture = thumbs.of(event)
        shown = "" if picture is None else _picture(picture, f"{event.kind} at {_time(event.start_s)}")
        on_clock = (
            ""
            if report.started is None
            else f"<br><span class='faint'>{_text(clock(report.started, event.start_s))}</span>"
        )
        evidence = f"{event.evidence:.2f}" if math.isfinite(event.evidence) else ""
        peak = f"{PEAK_NAMES[event.kind].removesuffix('_rad')} {event.peak:.2f}"
        name = f"<span class='dot' style='background:{EVENT_COLORS[event.kind]}'></span>{event.kind.replace('_', ' ')}"
        cells = (shown, name, f"{_time(event.start_s)}{on_clock}", f"{event.duration_s:.2f} s", peak, evidence)
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    if not rows:
        return "<p>Nothing but blinks.</p>"
    head = "<tr><th></th><th>event</th><th>begins</th><th>length</th><th>peak</th><th>evidence of sleep</th></tr>"
    return f"<div class='scroll'><table>{head}{''.join(rows)}</table></div>"


def _picture(data: bytes, told: str) -> str:
    return f"<img alt='{_text(told)}' src='data:image/jpeg;base64,{base64.b64encode(data).decode()}'>"


def _settings(settings: FatigueSettings) -> str:
    usual: Mapping[str, float] = asdict(FatigueSettings())
    rows = (
        f"<div>{name} = {value:g}{'' if value == usual[name] else f' <b>(usually {usual[name]:g})</b>'}</div>"
        for name, value in asdict(settings).items()
    )
    return f"<div class='settings'>{''.join(rows)}</div>"
