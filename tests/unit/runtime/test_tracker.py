"""Following bright discs: the tiny model marks a ring about them, the detector here knows where they are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from canthus.data.synthetic import draw_face
from canthus.errors import ConfigError
from canthus.geometry import Affine, hull_box
from canthus.images import align_image
from canthus.runtime.cards import ModelCard
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.pipeline import Pipeline
from canthus.runtime.sessions import LandmarkSession
from canthus.runtime.tracker import Plausibility, Smoothing, Tracker, TrackerSettings
from canthus.schemes import IBUG_68, FaceBox, Scheme
from canthus.types import Faces, Landmarks, TrackedFrame

TinyModel = Callable[..., Path]
FIVE_CARD = ModelCard("five", "none", "five", 32, 1.5, ("nothing",), "Apache-2.0", "this test")
Discs = list[tuple[float, float]]


class Oracle:
    """A detector that is told where the discs are, and counts its calls; blind ones see nothing."""

    def __init__(self) -> None:
        self.discs: Discs = []
        self.blind = False
        self.calls = 0

    def __call__(self, image: np.ndarray) -> Faces:
        self.calls += 1
        if self.blind or not self.discs:
            return Faces.empty()
        boxes = np.array([[x - 20, y - 20, x + 21, y + 21] for x, y in self.discs], np.float32)
        return Faces(boxes, np.full(len(boxes), 0.9, np.float32))


def _picture(discs: Discs) -> np.ndarray:
    image = np.zeros((240, 320, 3), np.uint8)
    for x, y in discs:
        cv2.circle(image, (round(x * 16), round(y * 16)), 12 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    return image


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def pipeline(tiny_model: TinyModel, oracle: Oracle) -> Pipeline:
    # A ring two thirds of a crop of one and a half boxes wide: its hull is the box again.
    return Pipeline(oracle, Landmarker(LandmarkSession.open(tiny_model(spread=2 / 3))))


def _run(tracker: Tracker, oracle: Oracle, paths: list[Discs], fps: float = 25.0) -> list[TrackedFrame]:
    found = []
    for index, discs in enumerate(paths):
        oracle.discs = discs
        found.append(tracker(_picture(discs), index / fps))
    return found


def test_one_face_keeps_its_number_and_the_detector_rests(pipeline: Pipeline, oracle: Oracle) -> None:
    frames = _run(Tracker(pipeline), oracle, [[(60 + 2 * i, 100.0)] for i in range(60)])
    assert {tuple(frame.ids.tolist()) for frame in frames} == {(0,)}
    assert oracle.calls == 3  # at 0, 1 and 2 s
    centre = frames[-1].measured[0].mean(axis=0)
    np.testing.assert_allclose(centre, [60 + 2 * 59, 100], atol=1.0)


@pytest.mark.parametrize("fps", [10, 25, 100])
def test_detector_runs_by_time_not_by_frames(pipeline: Pipeline, oracle: Oracle, fps: int) -> None:
    _run(Tracker(pipeline), oracle, [[(100.0, 100.0)]] * (3 * fps + 1), fps)
    assert oracle.calls == 4


def test_two_faces_that_appear_one_after_the_other(pipeline: Pipeline, oracle: Oracle) -> None:
    first, second = (70.0, 120.0), (230.0, 120.0)
    frames = _run(Tracker(pipeline), oracle, [[first]] * 10 + [[second, first]] * 30)
    assert frames[-1].ids.tolist() == [0, 1]
    np.testing.assert_allclose(frames[-1].measured.mean(axis=1), [first, second], atol=1)
    assert frames[-1].frame.faces.boxes.shape == (2, 4)


def test_face_that_leaves_is_lost_and_comes_back_with_its_number(pipeline: Pipeline, oracle: Oracle) -> None:
    settings = TrackerSettings(unconfirmed_s=1.2, remember_s=3.0)
    here: Discs = [(100.0, 100.0)]
    frames = _run(Tracker(pipeline, settings), oracle, [here] * 10 + [[]] * 50 + [here] * 20)
    assert len(frames[55]) == 0
    assert frames[-1].ids.tolist() == [0]


def test_faces_that_come_and_go_are_forgotten(pipeline: Pipeline, oracle: Oracle) -> None:
    tracker = Tracker(pipeline, TrackerSettings(unconfirmed_s=1.2, remember_s=2.0))
    most = 0
    for index in range(300):
        oracle.discs = [(40 + 60 * (index // 10 % 5), 60 + 110 * (index // 50 % 2))]
        tracker(_picture(oracle.discs), index / 10)
        most = max(most, len(tracker._lost) + len(tracker._tracks))
    assert 1 < most <= 10


def test_unconfirmed_face_is_given_up_in_seconds(pipeline: Pipeline, oracle: Oracle) -> None:
    tracker = Tracker(pipeline, TrackerSettings(unconfirmed_s=2.0))
    oracle.discs = [(100.0, 100.0)]
    tracker(_picture(oracle.discs), 0.0)
    oracle.blind = True
    lengths = {time_s: len(tracker(_picture(oracle.discs), time_s)) for time_s in (0.5, 1.0, 1.9, 2.1)}
    assert lengths == {0.5: 1, 1.0: 1, 1.9: 1, 2.1: 0}


def test_a_leap_is_a_loss_and_the_number_is_kept_nearby(pipeline: Pipeline, oracle: Oracle) -> None:
    # The disc leaps by less than a box: points still follow it, but no face moves so fast.
    settings = TrackerSettings(plausibility=Plausibility(jump=0.1, jump_per_s=1.0))
    frames = _run(Tracker(pipeline, settings), oracle, [[(100.0, 100.0)]] * 5 + [[(112.0, 100.0)]] * 10)
    assert {tuple(frame.ids.tolist()) for frame in frames} == {(0,)}
    assert oracle.calls == 2  # the loss is made good by a search in the same frame ...
    np.testing.assert_array_equal(frames[5].frame.landmarks.points, frames[5].measured)  # ... and smoothing begins anew


def test_drifted_box_is_corrected_by_the_detector(tiny_model: TinyModel, oracle: Oracle) -> None:
    # A ring that is too small makes the box shrink from frame to frame; each detection sets it right.
    pipeline = Pipeline(oracle, Landmarker(LandmarkSession.open(tiny_model(spread=0.6))))
    frames = _run(Tracker(pipeline, TrackerSettings(detect_every_s=0.2)), oracle, [[(100.0, 100.0)]] * 60)
    sizes = [float(np.ptp(frame.measured[0], axis=0).max()) for frame in frames]
    assert min(sizes) > 18
    assert {tuple(frame.ids.tolist()) for frame in frames} == {(0,)}


def test_second_passes_are_for_detections_only(tiny_model: TinyModel, oracle: Oracle) -> None:
    # A ring a tenth too small shrinks the box once a pass; the detector runs in the first frame alone.
    twice = Pipeline(oracle, Landmarker(LandmarkSession.open(tiny_model(spread=0.6)), passes=2))
    frames = _run(Tracker(twice, TrackerSettings(smoothing=None)), oracle, [[(100.0, 100.0)]] * 3)
    sizes = [float(np.ptp(frame.measured[0], axis=0).max()) for frame in frames]
    np.testing.assert_allclose(sizes, 41 * 0.9 ** np.array([2, 3, 4]), rtol=0.03)


def test_smoothing_changes_the_points_only(pipeline: Pipeline, oracle: Oracle) -> None:
    rng = np.random.default_rng(0)
    paths: list[Discs] = [[(100 + float(rng.normal()), 100.0)] for _ in range(40)]
    plain = _run(Tracker(pipeline, TrackerSettings(smoothing=None)), oracle, paths)
    smooth = _run(Tracker(pipeline, TrackerSettings(smoothing=Smoothing(beta=0))), oracle, paths)
    for a, b in zip(plain, smooth, strict=True):
        np.testing.assert_array_equal(a.measured, b.measured)
        np.testing.assert_array_equal(a.frame.landmarks.points, a.measured)
        np.testing.assert_array_equal(b.frame.faces.boxes, hull_box(b.measured))
    steps = [np.diff([f.frame.landmarks.points[0, 0, 0] for f in run]).std() for run in (plain, smooth)]
    assert steps[1] < 0.5 * steps[0]


def test_no_face_gives_an_empty_frame_and_searches_now_and_then(pipeline: Pipeline, oracle: Oracle) -> None:
    frames = _run(Tracker(pipeline), oracle, [[]] * 26)
    assert [len(frame) for frame in frames] == [0] * 26
    assert frames[0].measured.shape == (0, 68, 2)
    assert oracle.calls == 6  # every 0.2 s


def test_refusals(pipeline: Pipeline, oracle: Oracle, tiny_model: TinyModel) -> None:
    tracker = Tracker(pipeline)
    tracker(_picture([]), 1.0)
    with pytest.raises(ValueError, match="advance"):
        tracker(_picture([]), 1.0)
    with pytest.raises(ConfigError, match="unconfirmed_s above detect_every_s"):
        TrackerSettings(unconfirmed_s=0.5)
    five = LandmarkSession.open(tiny_model("five.onnx", card=FIVE_CARD))
    with pytest.raises(ConfigError, match="jaw"):
        Tracker(Pipeline(oracle, Landmarker(five)))


RING = tuple(range(8))
OWN = {
    "the hull": (Scheme("ring", 8, RING, {"points": RING}), 2 / 3),
    "a face box": (Scheme("ring", 8, RING, {"points": RING}, face_box=FaceBox(size=(2.0, 2.0))), 1 / 3),
    "a group": (Scheme("ring", 8, RING, {"points": RING[::2], "other": RING[1::2]}, face_box=FaceBox("points")), 2 / 3),
    "one point": (Scheme("one", 1, (0,), {"points": (0,)}), 0.0),
}
"""What the next box is made of -> the scheme, and the size of the ring of points in crops."""


@pytest.mark.parametrize("what", OWN)
def test_points_of_ones_own_are_followed_by(what: str, tiny_model: TinyModel, oracle: Oracle) -> None:
    scheme, spread = OWN[what]
    card = replace(FIVE_CARD, scheme=scheme.name, own_scheme=scheme)
    session = LandmarkSession.open(tiny_model("own.onnx", card=card, spread=spread))
    frames = _run(Tracker(Pipeline(oracle, Landmarker(session))), oracle, [[(60 + i, 100.0)] for i in range(60)])
    assert {tuple(frame.ids.tolist()) for frame in frames} == {(0,)}
    assert oracle.calls == 3
    np.testing.assert_allclose(frames[-1].measured[0].mean(axis=0), [60 + 59, 100], atol=2.0)


def test_plausible_points_of_ones_own() -> None:
    bounds = Plausibility()

    def judged(points: list[tuple[float, float]], scheme: Scheme) -> bool:
        return bounds.is_face(np.array(points, np.float32), scheme, width=200, height=100)

    eyes = Scheme("eyes", 2, (1, 0), {"right_eye": (0,), "left_eye": (1,)}, (0, 1), ((0,), (1,)))
    assert judged([(50, 50), (90, 50)], eyes)  # on one line, which is no face of a jaw line
    assert not judged([(50, 50), (60, 50)], eyes)  # too small
    assert not judged([(190, 50), (290, 60)], eyes)  # mostly outside
    mouth = replace(eyes, count=3, mirror=(1, 0, 2), groups={**eyes.groups, "mouth": (2,)})
    assert judged([(50, 50), (90, 50), (70, 80)], mouth)
    assert not judged([(50, 50), (90, 50), (70, 20)], mouth)
    nose = Scheme("nose", 1, (0,), {"nose": (0,)})
    assert judged([(50, 50)], nose)
    assert not judged([(250, 50)], nose)


def _face() -> np.ndarray:
    """Points on a plain face of 100 pixels: only what the judgement looks at is in place."""
    points = np.full((68, 2), 100.0)
    points[:17] = np.stack([np.linspace(50, 150, 17), 90 + 60 * np.sin(np.linspace(0, np.pi, 17))], axis=1)
    points[36:42] = (80, 85)
    points[42:48] = (120, 85)
    points[[36, 45]] = (70, 85), (130, 85)
    points[48:68] = (100, 125)
    return points.astype(np.float32)


def test_judgement_of_a_face() -> None:
    bounds = Plausibility()

    def judged(points: np.ndarray, *, width: int = 300, height: int = 300) -> bool:
        return bounds.is_face(points.astype(np.float32), IBUG_68, width=width, height=height)

    face = _face()
    assert judged(face)
    assert judged((face - 100) @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 100)  # lying on its side
    assert not judged(np.where(np.arange(68)[:, None] == 3, np.nan, face))
    assert not judged((face - 100) * 0.1 + 100)  # too small
    assert not judged((face - 100) * [0.3, 1.0] + 100)  # too narrow
    assert not judged((face - 100) * [1.0, -1.0] + 100)  # mouth above the eyes
    assert not judged(face, width=90)  # mostly outside the picture


def test_judgement_of_a_movement() -> None:
    bounds = Plausibility(jump=0.25, jump_per_s=5.0, growth=1.4)
    box = np.array([0, 0, 100, 100], np.float32)
    assert bounds.follows(box + 40, box, step_s=0.1)
    assert not bounds.follows(box + 40, box, step_s=0.04)
    assert not bounds.follows(box * 1.5, box, step_s=0.1)


def test_a_face_that_turns_over_is_followed_without_the_detector() -> None:
    face = draw_face(np.random.default_rng(68), size=200)
    calls = []

    def once(image: np.ndarray) -> Faces:
        calls.append(image)
        return Faces(hull_box(face.points)[None], np.ones(1, np.float32))

    tracker = Tracker(
        Pipeline(once, Landmarker(LandmarkSession.open())),
        TrackerSettings(detect_every_s=9.0, unconfirmed_s=10.0, smoothing=None),
    )
    middle = (face.image.shape[1] / 2 - 0.5, face.image.shape[0] / 2 - 0.5)
    first = np.zeros((0, 2), np.float32)
    for frame in range(25):
        turn = Affine.about(middle, angle=np.deg2rad(7.5 * frame))
        tracked = tracker(align_image(face.image, turn, 200), frame / 25)
        assert tracked.ids.tolist() == [0]
        first = first if len(first) else tracked.frame.landmarks.points[0]
    assert len(calls) == 1
    assert np.linalg.norm(tracked.frame.landmarks.points[0] - turn.apply(first), axis=1).mean() < 5


def test_detector_rests_while_all_faces_are_known_and_sure(
    tiny_model: TinyModel, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure = {"value": 0.95}

    def landmarks(self: Landmarker, points: np.ndarray, scores: np.ndarray | None) -> Landmarks:
        return Landmarks(
            points, IBUG_68, np.full(points.shape[:2], 0.9, np.float32), np.full(len(points), sure["value"], np.float32)
        )

    monkeypatch.setattr(Landmarker, "landmarks", landmarks)
    landmarker = Landmarker(LandmarkSession.open(tiny_model(spread=2 / 3)))
    still, calls = [[(60.0, 120.0), (200.0, 120.0)]] * 250, {}
    for most, confidence in ((None, 0.95), (2, 0.95), (2, 0.8), (3, 0.95), (1, 0.95)):
        oracle.calls, sure["value"] = 0, confidence
        tracker = Tracker(Pipeline(oracle, landmarker), TrackerSettings(most_faces=most))
        frames = _run(tracker, oracle, still)
        assert {len(frame) for frame in frames} == {1 if most == 1 else 2}
        calls[most, confidence] = oracle.calls
    # Ten seconds: a look at the start and then every second, or every four seconds.
    assert calls == {(None, 0.95): 10, (2, 0.95): 3, (2, 0.8): 10, (3, 0.95): 10, (1, 0.95): 3}


def test_detector_looks_again_where_it_did_not_find_a_sure_face(
    pipeline: Pipeline, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Tracker, "_knows_all_faces", lambda self: any(t.confirmed_s == self._searched_s for t in self._tracks)
    )
    tracker = Tracker(pipeline, TrackerSettings(most_faces=1))
    _run(tracker, oracle, [[(60.0, 120.0)]] * 10)
    oracle.blind = True
    assert oracle.calls == 1
    for number in range(
        10, 140
    ):  # the look after 4 s misses it, those after 5 s as well: it is lost 5 s after the first
        frame = tracker(_picture([(60.0, 120.0)]), number / 25)
    assert oracle.calls > 2
    assert len(frame) == 0
