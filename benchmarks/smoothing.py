"""Measure lag and jitter of the landmark smoother on known motions. Usage: python benchmarks/smoothing.py.

The filter smooths sixty-eight moving points with white noise of 0.4 % of the face size.  For each motion and frame rate
the script prints the jitter before and after (root mean square over points of the frame-to-frame change of the
residual, over the face size), and the lag in milliseconds (the delay of the true motion that fits the result best).
"""

import math

import numpy as np

from canthus.runtime.smoother import OneEuroFilter

SIZE = 100.0
NOISE = 0.004
SECONDS = 20.0


def motions(time_s: np.ndarray) -> dict[str, np.ndarray]:
    """Displacement over time, in face sizes."""
    blink = np.exp(-0.5 * (((time_s % 3.0) - 1.5) / 0.06) ** 2)
    return {
        "at rest": np.zeros_like(time_s),
        "slow sway, 0.2 sizes at 0.3 Hz": 0.2 * np.sin(2 * math.pi * 0.3 * time_s),
        "nod, 0.3 sizes at 1 Hz": 0.3 * np.sin(2 * math.pi * 1.0 * time_s),
        "shake, 0.3 sizes at 2.5 Hz": 0.3 * np.sin(2 * math.pi * 2.5 * time_s),
        "eyelid, 0.06 sizes in 0.14 s": 0.06 * blink,
    }


def measured(shift: np.ndarray, fps: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """Jitter before, jitter after, lag in seconds."""
    truth = np.repeat(shift[:, None, None], 68, axis=1) * np.array([0.6, 0.8]) * SIZE
    seen = (truth + rng.normal(scale=NOISE * SIZE, size=truth.shape)).astype(np.float32)
    smooth = OneEuroFilter()
    found = np.stack([smooth(points, index / fps, size=SIZE) for index, points in enumerate(seen)])
    steps = [np.diff(values - truth, axis=0) / SIZE for values in (seen, found)]
    jitter = [float(np.sqrt(np.square(step).sum(axis=-1).mean())) for step in steps]
    return jitter[0], jitter[1], lag_s(found.mean(axis=1) @ [0.6, 0.8], truth.mean(axis=1) @ [0.6, 0.8], fps)


def lag_s(found: np.ndarray, truth: np.ndarray, fps: float) -> float:
    """Delay of ``truth`` that is nearest to ``found``; NaN where nothing moves."""
    if np.ptp(truth) < 1e-9:
        return math.nan
    frames = np.arange(len(truth), dtype=float)
    delays = np.linspace(0, 0.3, 301)
    errors = [np.square(np.interp(frames - d * fps, frames, truth) - found)[int(fps) :].mean() for d in delays]
    return float(delays[int(np.argmin(errors))])


def main() -> None:
    """Print one Markdown row for each motion and frame rate."""
    rng = np.random.default_rng(0)
    print("| motion | frames/s | jitter before | after | lag |")
    print("|---|---|---|---|---|")
    for fps in (15.0, 25.0, 60.0):
        for name, shift in motions(np.arange(0, SECONDS, 1 / fps)).items():
            before, after, lag = measured(shift, fps, rng)
            late = "" if math.isnan(lag) else f"{1000 * lag:.0f} ms"
            print(f"| {name} | {fps:.0f} | {100 * before:.2f} % | {100 * after:.2f} % | {late} |")


if __name__ == "__main__":
    main()
