import numpy as np
import pytest
from jaxtyping import Float32

from canthus.errors import ConfigError, ImageError
from canthus.evaluation.boxes import BoxJitter
from canthus.evaluation.rows import face_error
from canthus.evaluation.run import Predictor, predict_on_detected, predict_on_truth
from canthus.runtime.detectors import Detector
from canthus.schemes import IBUG_68, WFLW_98, Scheme
from canthus.types import Annotation, Faces, Image, Landmarks

Boxes = Float32[np.ndarray, "n 4"]


def corner_predictor(scheme: Scheme = IBUG_68) -> Predictor:
    """All points of a face in the corner of its box."""

    def predict(image: Image, boxes: Boxes) -> Landmarks:
        points = np.repeat(boxes[:, None, :2], scheme.count, axis=1)
        return Landmarks(points.astype(np.float32), scheme)

    return predict


def detector_of(boxes: list[Float32[np.ndarray, " 4"]]) -> Detector:
    def detect(image: Image) -> Faces:
        found = np.array(boxes, np.float32).reshape(-1, 4)
        return Faces(found, np.ones(len(found), np.float32))

    return detect


def test_truth_boxes_reach_the_network_unchanged(faces: list[Annotation]) -> None:
    predictions = list(predict_on_truth(faces, corner_predictor()))
    assert [p.truth.key for p in predictions] == ["a_1", "b_1", "b_2"]
    for prediction in predictions:
        np.testing.assert_array_equal(prediction.box, prediction.truth.box)
        np.testing.assert_array_equal(prediction.points[0], prediction.truth.box[:2])
        assert prediction.overlap == pytest.approx(1.0)


def test_faces_of_one_picture_go_through_the_network_together(faces: list[Annotation]) -> None:
    sizes = []

    def predict(image: Image, boxes: Boxes) -> Landmarks:
        sizes.append(len(boxes))
        return corner_predictor()(image, boxes)

    assert len(list(predict_on_truth(faces, predict))) == 3
    assert sizes == [1, 2]


def test_jittered_boxes_reach_the_network(faces: list[Annotation]) -> None:
    jitter = BoxJitter(0.2, seed=1)
    for prediction in predict_on_truth(faces, corner_predictor(), jitter=jitter):
        np.testing.assert_array_equal(prediction.box, jitter.apply(prediction.truth.box, prediction.truth.key))
        assert prediction.overlap < 1


def test_detected_faces_are_matched_and_others_missed(faces: list[Annotation]) -> None:
    detector = detector_of([faces[2].box, faces[0].box + 1])
    found = {p.truth.key: p for p in predict_on_detected(faces, corner_predictor(), detector)}
    np.testing.assert_array_equal(found["a_1"].points[0], faces[0].box[:2] + 1)
    np.testing.assert_array_equal(found["b_2"].points[0], faces[2].box[:2])
    strict = {p.truth.key: p for p in predict_on_detected(faces, corner_predictor(), detector, min_overlap=0.9)}
    assert [key for key, p in strict.items() if p.found] == ["a_1", "b_2"]


def test_no_detection_is_a_missed_face_and_no_call(faces: list[Annotation]) -> None:
    def never(image: Image, boxes: Boxes) -> Landmarks:
        raise AssertionError("there is no box to predict in")

    predictions = list(predict_on_detected(faces, never, detector_of([])))
    assert not any(p.found for p in predictions)
    assert np.isnan(predictions[0].points).all()
    assert np.isnan(face_error(predictions[0], dataset="d", split="s", boxes="detector").nme_ion)


def test_another_scheme_is_refused(faces: list[Annotation]) -> None:
    with pytest.raises(ConfigError, match=r"predicts wflw_98, the truth of a_1 is ibug_68"):
        list(predict_on_truth(faces, corner_predictor(WFLW_98)))


def test_unreadable_picture_stops_the_evaluation(faces: list[Annotation]) -> None:
    faces[0].path.write_bytes(b"")
    with pytest.raises(ImageError, match="empty"):
        list(predict_on_truth(faces, corner_predictor()))


def test_no_faces_give_no_predictions() -> None:
    assert list(predict_on_truth([], corner_predictor())) == []
