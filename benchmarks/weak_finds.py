"""What weak finds and further looks bring and cost: recall, false finds and time of the pipeline with and without.

    python benchmarks/weak_finds.py DATASET ROOT [--split test] [--detector NAME|FILE] [--model NAME|FILE] [--every N]

A weak find has a score below the threshold of the detector, and the landmarks say that it is a face; where they call
nothing a face, the pipeline looks again (``Pipeline``).  Both pipelines are those of ``load_pipeline``, one thread
each; ``--min-score`` of the other one is the threshold itself: it keeps sure finds only and does not look again.
Times are processor time of all pictures without reading them, in turns.  A set without faces comes from
``benchmarks/no_faces.py``, as the dataset ``facemask``.
"""

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from canthus.data.scenes import load_scenes
from canthus.evaluation.detection import match_scenes
from canthus.evaluation.detection_report import at_score
from canthus.images import read_image
from canthus.runtime.detectors import create_detector, weak_detector
from canthus.runtime.pipeline import MOST_WEAK, load_pipeline
from canthus.types import Faces


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("root", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--detector", default="default")
    parser.add_argument("--model", default="default")
    parser.add_argument("--every", type=int, default=1, help="only every Nth picture")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    detector = create_detector(options.detector, tiles="auto")
    lower, threshold = weak_detector(detector), detector.least_score
    if lower is None or threshold is None:
        parser.error(f"the detector {options.detector} has no weak finds")
    pipelines = {
        "sure": load_pipeline(options.model, detector=options.detector, min_score=threshold),
        "weak": load_pipeline(options.model, detector=options.detector),
    }
    scenes = load_scenes(options.dataset, options.root, options.split)[:: options.every]
    found: dict[str, list[Faces]] = {name: [] for name in pipelines}
    seconds = dict.fromkeys(pipelines, 0.0)
    candidates = []
    for scene in scenes:
        image = read_image(scene.path)
        candidates.append(int((lower(image).scores < threshold).sum()))
        for name, pipeline in pipelines.items():
            start = time.process_time()
            found[name].append(pipeline(image).faces)
            seconds[name] += time.process_time() - start
    print(f"{len(scenes)} pictures of {options.dataset}/{options.split}, detector {options.detector}")
    print("finds   recall %   false a picture   finds   ms a picture")
    for name, faces in found.items():
        figures = at_score(match_scenes(scenes, faces), 0.0)
        total, each = sum(map(len, faces)), 1e3 * seconds[name] / len(scenes)
        print(f"{name}    {100 * figures.recall:8.2f}   {figures.false_per_picture:15.4f}   {total:5}   {each:12.1f}")
    counts = np.array(candidates)
    print(
        f"weak candidates a picture: mean {counts.mean():.2f}, most {counts.max()}; {int((counts > MOST_WEAK).sum())} "
        f"pictures have more than {MOST_WEAK}; time {seconds['weak'] / seconds['sure']:.3f} times"
    )


if __name__ == "__main__":
    main()
