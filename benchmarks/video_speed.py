"""Measure the speed of tracking one face in a video.

Usage: python benchmarks/video_speed.py VIDEO [--model NAME|FILE] [--faces N] [--fatigue] [--draw]

The video is first converted to 640 x 480, so any clip of one face will do.  The script prints frames per second of wall
time and of processor time (which other programs disturb less), with one thread in each network and in the decoder, and
how often the landmark network alone would fit into the time of a frame, which can be compared between machines.  With
--draw every frame is also drawn on and encoded, and the hours of video per hour are printed too.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from canthus.evaluation.timing import time_in_turns
from canthus.fatigue.measures import Observation, observe
from canthus.fatigue.monitor import FatigueMonitor
from canthus.runtime.draw import draw_tracked
from canthus.runtime.landmarker import CropModel
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.tracker import Tracker, TrackerSettings
from canthus.runtime.video import VideoWriter, open_video, read_video

WIDTH, HEIGHT = 640, 480
MOST_FRAMES = 500


def network_time_s(session: CropModel) -> float:
    """Median processor time of the landmark network for one face."""
    crops = np.random.default_rng(0).integers(0, 256, (1, session.card.size, session.card.size, 3), np.uint8)
    (seconds,) = np.concatenate(
        list(time_in_turns([lambda: session.answer(crops)], rounds=20, clock=time.process_time)), axis=1
    )
    return float(np.median(seconds))


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--model", default="default")
    parser.add_argument("--faces", type=int, help="most faces that are followed")
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
        pipeline = load_pipeline(options.model)
        tracker, monitor = Tracker(pipeline, TrackerSettings(most_faces=options.faces)), FatigueMonitor()
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
    network_s = network_time_s(pipeline.landmarker.session)
    parts = "tracked" + ", judged" * options.fatigue + ", drawn and encoded" * options.draw
    print(f"{frames} frames of {WIDTH} x {HEIGHT} decoded, {parts}; detector run {tracker.detections} times")
    print(
        f"{frames / wall_s:.0f} frames/s, {frames / used_s:.0f} by processor time; {end_s / wall_s:.1f} hours an hour"
    )
    print(
        f"a frame takes {wall_s / frames / network_s:.2f} times the landmark network alone ({1e3 * network_s:.2f} ms) "
        f"by wall time, {used_s / frames / network_s:.2f} times by processor time"
    )


if __name__ == "__main__":
    main()
