"""Detectors by name and file, and the settings that each has."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import get_data_path

import canthus.zoo
from canthus.errors import ConfigError, ModelFileError
from canthus.geometry import box_iou
from canthus.images import read_image
from canthus.runtime.canthus_detector import CanthusDetector
from canthus.runtime.detectors import (
    DETECTORS,
    Detector,
    TiledDetector,
    WholePicture,
    create_detector,
    detector_name,
    usual_passes,
)
from canthus.runtime.downloads import YUNET, fetched_path
from canthus.runtime.haar_detector import HaarDetector
from canthus.runtime.pipeline import load_pipeline
from canthus.runtime.tracker import Tracker
from canthus.runtime.yunet_detector import YuNetDetector
from canthus.types import Image
from tiny_detectors import write_tiny_detector, write_tiny_yunet


@pytest.fixture(scope="module")
def portrait() -> Image:
    return read_image(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the embedded models, empty at first; the cache lies there as well."""
    monkeypatch.setattr(canthus.zoo, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_the_default_is_the_embedded_detector() -> None:
    assert detector_name("default") == "canthus"
    assert isinstance(create_detector(), CanthusDetector)
    assert (usual_passes("default"), usual_passes("haar")) == (1, 2)


def test_the_embedded_detector_finds_a_face_and_its_five_points(portrait: Image) -> None:
    faces = create_detector()(portrait)
    assert len(faces) == 1
    assert faces.scores[0] > 0.7
    assert faces.points is not None
    x1, y1, x2, y2 = faces.boxes[0]
    assert ((faces.points[0] > (x1, y1)) & (faces.points[0] < (x2, y2))).all()
    right_eye, left_eye, nose, right_mouth, left_mouth = faces.points[0]
    assert right_eye[0] < nose[0] < left_eye[0]
    assert max(right_eye[1], left_eye[1]) < nose[1] < min(right_mouth[1], left_mouth[1])


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 3.0])
def test_a_face_is_found_whatever_its_size(portrait: Image, scale: float) -> None:
    """The default detector takes a button or the badge of the cap for a face at some sizes; the landmarks do not."""
    height, width = portrait.shape[:2]
    size = (round(width * scale), round(height * scale))
    resized = np.asarray(cv2.resize(portrait, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    pipeline, upright = load_pipeline(), create_detector("face_detector")
    for found, whole in (
        (pipeline(resized).faces, pipeline(portrait).faces),
        (Tracker(pipeline)(resized, 0.0).frame.faces, Tracker(pipeline)(portrait, 0.0).frame.faces),
        (upright(resized), upright(portrait)),
    ):
        assert len(found) == 1
        assert box_iou(found.boxes / scale, whole.boxes)[0, 0] > 0.75
    assert box_iou(create_detector()(resized).boxes / scale, create_detector()(portrait).boxes)[0, 0] > 0.75


def test_a_face_that_fills_the_picture_is_one_face(portrait: Image) -> None:
    x1, y1, x2, y2 = (int(v) for v in create_detector()(portrait).boxes[0])
    side = max(x2 - x1, y2 - y1)
    pad = side // 8
    closeup = np.ascontiguousarray(portrait[max(0, y1 - pad) : y2 + pad, max(0, x1 - pad) : x2 + pad])
    closeup = np.asarray(cv2.resize(closeup, (640, 640)), dtype=np.uint8)
    assert len(create_detector()(closeup)) == 1


def test_every_detector_gives_faces_of_any_picture(bare: Path) -> None:
    write_tiny_detector(bare / "face_detector_any_angle.onnx")
    models = {"yunet": write_tiny_yunet(bare / "yunet.onnx")}
    for name in DETECTORS:
        for tiles in (False, True)[: 1 if name == "none" else 2]:
            detector = create_detector(name, model=models.get(name), tiles=tiles)
            found = detector(np.zeros((1, 1, 3), np.uint8))
            assert isinstance(detector, Detector)
            assert found.boxes.shape == (len(found), 4)
            assert found.scores.shape == (len(found),)


def test_none_takes_the_whole_picture() -> None:
    found = create_detector("none")(np.zeros((30, 40, 3), np.uint8))
    assert found.boxes.tolist() == [[0, 0, 40, 30]]
    assert found.scores.tolist() == [1]
    assert isinstance(create_detector("none"), WholePicture)


def test_a_detector_comes_from_a_file_or_an_embedded_name(bare: Path) -> None:
    path = write_tiny_detector(bare / "face_detector_small.onnx")
    for detector in (
        create_detector(path),
        create_detector(str(path), size=320),
        create_detector("face_detector_small"),
        create_detector("canthus", model=path),
    ):
        assert isinstance(detector, CanthusDetector)
        assert detector.session.card.name == "tiny_detector"
    assert usual_passes(path) == usual_passes(str(path)) == 1


def test_size_and_tiles_reach_the_detector(bare: Path) -> None:
    write_tiny_detector(bare / "face_detector_any_angle.onnx")
    yunet = write_tiny_yunet(bare / "yunet.onnx")
    small, cascade, other = (
        create_detector("canthus", size=320, tiles=True),
        create_detector("haar", size=320, tiles=True),
        create_detector("yunet", model=yunet, size=320, tiles=True),
    )
    for detector in (small, cascade, other):
        assert isinstance(detector, TiledDetector)
        assert detector.size == 320
    assert isinstance(cascade, TiledDetector)
    assert isinstance(cascade.detector, HaarDetector)
    assert cascade.detector.long_side == 320
    assert isinstance(other, TiledDetector)
    assert isinstance(other.detector, YuNetDetector)


def test_yunet_needs_a_file_of_the_users_or_a_fetched_one(bare: Path) -> None:
    with pytest.raises(ConfigError, match="No yunet model has been fetched; run: canthus fetch yunet"):
        create_detector("yunet")
    fetched_path(YUNET).parent.mkdir(parents=True)
    write_tiny_yunet(fetched_path(YUNET))
    with pytest.raises(ModelFileError, match="is cut short"):
        create_detector("yunet")
    assert isinstance(create_detector("yunet", model=fetched_path(YUNET)), YuNetDetector)


def test_unknown_names_and_missing_files(bare: Path) -> None:
    with pytest.raises(ConfigError, match="Unknown detector 'harr'. Did you mean 'haar'.* Known: canthus, haar, none"):
        create_detector("harr")
    with pytest.raises(ModelFileError, match=r"retina.onnx: no such file; embedded detectors: none"):
        create_detector("models/retina.onnx")
    with pytest.raises(ModelFileError, match="embedded detector 'face_detector_any_angle' is not in this installation"):
        create_detector("canthus")


def test_settings_without_effect_are_refused(bare: Path) -> None:
    path = write_tiny_detector(bare / "own.onnx")
    for name, settings, reason in (
        ("haar", {"model": path}, "A model of the detector has no effect with 'haar'"),
        ("none", {"size": 320}, "A size of the detector has no effect with 'none'"),
        ("none", {"tiles": True}, "Tiles have no effect with the detector 'none'"),
        (str(path), {"model": path}, "A model of the detector has no effect with .*own.onnx"),
        ("haar", {"size": 10}, "at least 24 pixels, found 10"),
    ):
        with pytest.raises(ConfigError, match=reason):
            create_detector(name, **settings)
