"""Kinds of faces for class weights."""

from pathlib import Path

import numpy as np
import pytest

from canthus.data.splits import CLASSES, face_kinds
from canthus.data.synthetic import FaceShape, head_points
from canthus.errors import ConfigError
from canthus.geometry import hull_box
from canthus.schemes import IBUG_68, find_scheme
from canthus.types import Annotation


def face(shape: FaceShape, **attributes: bool) -> Annotation:
    points = head_points(shape)[0].astype(np.float32)
    seen = np.ones(68, np.bool_)
    return Annotation("a", Path("a.png"), points, IBUG_68, hull_box(points), seen, "a", attributes=attributes)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (FaceShape(), "frontal"),
        (FaceShape(yaw=0.8), "profile"),
        (FaceShape(yaw=-0.8), "profile"),
        (FaceShape(pitch=-0.5), "head_up"),
        (FaceShape(pitch=0.5), "head_down"),
    ],
)
def test_pose_tells_the_kind(shape: FaceShape, kind: str) -> None:
    kinds = dict(zip(CLASSES, face_kinds([face(shape)])[0], strict=True))
    assert kinds[kind]
    assert kinds["frontal"] != kinds["profile"]
    assert not (kinds["head_up"] and kinds["head_down"])
    assert not kinds["expression"]


def test_attributes_tell_expression_and_occlusion() -> None:
    kinds = face_kinds([face(FaceShape(), expression=True), face(FaceShape(), occlusion=True, expression=False)])
    assert kinds[:, 4:].tolist() == [[True, False], [False, True]]


def test_no_faces_and_schemes_without_the_68_points() -> None:
    assert face_kinds([]).shape == (0, 6)
    cofw = find_scheme("cofw_29")
    points = np.random.default_rng(0).random((29, 2)).astype(np.float32)
    other = Annotation("a", Path("a.png"), points, cofw, hull_box(points), np.ones(29, np.bool_), "a")
    with pytest.raises(ConfigError):
        face_kinds([other])
