"""Kinds of faces that training sets have too few of."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from canthus.pose import head_pose
from canthus.schemes import IBUG_68, convert
from canthus.types import Annotation

CLASSES = ("profile", "frontal", "head_up", "head_down", "expression", "occlusion")
"""Kinds in the order of ``face_kinds``: Guo et al. (2019), "PFLD", section 2.2."""

TURNED, TILTED = math.radians(30), math.radians(15)
"""Profiles are turned, heads up and down are tilted by more than this; PFLD does not say by how much."""


def face_kinds(faces: Sequence[Annotation]) -> Bool[np.ndarray, "n 6"]:
    """Which face belongs to which of ``CLASSES``; a face may belong to several.

    Pose follows from the true points; expression and occlusion are the attributes of sets that have them, such as
    WFLW, and belong to no face of other sets.

    Args:
        faces: of a scheme that converts to the 68 points.

    Raises:
        ConfigError: their scheme does not convert.
    """
    kinds = np.zeros((len(faces), len(CLASSES)), np.bool_)
    if not faces:
        return kinds
    pose = head_pose(convert(np.stack([face.points for face in faces]), faces[0].scheme, IBUG_68))
    with np.errstate(invalid="ignore"):
        kinds[:, 0] = np.abs(pose.yaw) > TURNED
        kinds[:, 1] = np.abs(pose.yaw) <= TURNED
        kinds[:, 2] = pose.pitch < -TILTED
        kinds[:, 3] = pose.pitch > TILTED
    for column, name in ((4, "expression"), (5, "occlusion")):
        kinds[:, column] = [face.attributes.get(name, False) for face in faces]
    return kinds
