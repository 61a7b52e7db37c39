"""Has the output of an embedded model moved?

``face.png`` is a drawn face, kept so that a change of the drawing does not matter here; ``<model>.json`` holds the
points found on it.  After a new model was released on purpose, write them anew and read the difference:

    pytest tests/golden --update-golden
"""

import json
from pathlib import Path

import numpy as np
import pytest

from canthus.data.synthetic import draw_face
from canthus.geometry import hull_box
from canthus.images import read_image, write_image
from canthus.runtime.landmarker import Landmarker
from canthus.runtime.sessions import LandmarkSession
from canthus.zoo import DEFAULT, FATIGUE, FLOAT, embedded_models

HERE = Path(__file__).parent
PICTURE = HERE / "face.png"
BOXES = HERE / "face.json"
TOLERANCE_PX = 0.05
"""Processors sum float32 in different orders; that moves a point of the 320-pixel picture by less than 0.01."""


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


def draw_picture() -> None:
    face = draw_face(np.random.default_rng(68), size=320)
    write_image(PICTURE, face.image)
    BOXES.write_text(json.dumps({"box": np.round(hull_box(face.points), 2).tolist()}) + "\n", encoding="utf-8")


def points_of(name: str, *, passes: int) -> np.ndarray:
    box = np.array([json.loads(BOXES.read_text(encoding="utf-8"))["box"]], np.float32)
    session = LandmarkSession.open(embedded_models()[name])
    return np.asarray(Landmarker(session, passes=passes)(read_image(PICTURE), box).points[0])


def test_the_models_of_each_task_are_embedded() -> None:
    assert {DEFAULT, FATIGUE, FLOAT} <= embedded_models().keys()


def test_the_model_to_convert_is_embedded_and_of_floats() -> None:
    assert LandmarkSession.open(embedded_models()[FLOAT]).card.quantization is None


@pytest.mark.parametrize("name", sorted(embedded_models()))
def test_points_have_not_moved(name: str, update: bool) -> None:
    path = HERE / f"{name}.json"
    if update:
        if not PICTURE.exists():
            draw_picture()
        found = {f"passes_{n}": np.round(points_of(name, passes=n).astype(float), 3).tolist() for n in (1, 2)}
        path.write_text(json.dumps(found) + "\n", encoding="utf-8")
    golden = json.loads(path.read_text(encoding="utf-8"))
    for passes in (1, 2):
        np.testing.assert_allclose(points_of(name, passes=passes), golden[f"passes_{passes}"], atol=TOLERANCE_PX)
