"""Measure the speed of tracking one face in a video.

Usage: python benchmarks/video_speed.py VIDEO [--model NAME|FILE] [--draw]

The video is first converted to 640 x 480, so any clip of one face will do.  The script prints frames per second of wall
time and of processor time (which other programs disturb less), for one thread.  With --draw every frame is also drawn
on and encoded, and the hours of video per hour are printed too.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from canthus.fatigue.measures import Observation, observe
from canthus.fatigue.monitor import FatigueMonitor
from canthus.runtime.draw import draw_tracked
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.tracker import Tracker
from canthus.runtime.video import VideoWriter, open_video, read_video

WIDTH, HEIGHT = 640, 480
MOST_FRAMES = 500


def main() -> None:
    """Measure, print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--model", default="default")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--fatigue", action="store_true")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        scaled, drawn = Path(folder) / "scaled.mp4", Path(folder) / "drawn.mp4"
        with VideoWriter(scaled, width=WIDTH, height=HEIGHT, fps=25) as writer:
            for number, (image, time_s) in enumerate(read_video(options.video)):
                if number == MOST_FRAMES:
                    break
                writer.write(np.asarray(cv2.resize(image, (WIDTH, HEIGHT))), time_s)
        tracker, monitor = Tracker(load_pipeline(options.model)), FatigueMonitor()
        frames, end_s, wall_s, used_s = 0, 0.0, time.perf_counter(), time.process_time()
        with open_video(scaled) as video, VideoWriter(drawn, width=WIDTH, height=HEIGHT, fps=25) as writer:
            for image, end_s in video:
                tracked = tracker(image, end_s)
                if options.fatigue:
                    monitor.update(observe(tracked.measured[0], end_s) if len(tracked) else Observation(end_s))
                if options.draw:
                    writer.write(draw_tracked(image, tracked), end_s)
                frames += 1
        wall_s, used_s = time.perf_counter() - wall_s, time.process_time() - used_s
    parts = "tracked" + ", judged" * options.fatigue + ", drawn and encoded" * options.draw
    print(f"{frames} frames of {WIDTH} x {HEIGHT} decoded, {parts}; detector run {tracker.detections} times")
    print(
        f"{frames / wall_s:.0f} frames/s, {frames / used_s:.0f} by processor time; {end_s / wall_s:.1f} hours an hour"
    )


if __name__ == "__main__":
    main()
