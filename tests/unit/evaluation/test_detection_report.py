"""A detector run over pictures, and the files made of what it found."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import ImageError, OutputError
from canthus.evaluation.detection import match_scenes
from canthus.evaluation.detection_report import (
    DetectorReport,
    detector_figures,
    detector_json,
    found_offsets,
    write_detection_rows,
)
from canthus.evaluation.detectors import detect_scenes
from canthus.evaluation.plots import plot_detectors
from canthus.evaluation.sheets import (
    FALSE_COLOR,
    HIT_COLOR,
    MISSED_COLOR,
    NEUTRAL_COLOR,
    picture_faults,
    worst_pictures_sheet,
)
from canthus.evaluation.wider_face import WiderPrecision
from canthus.geometry import BoxHabit
from canthus.images import read_image, write_image
from canthus.types import Faces, Image, Scene

GREY = 90


def make_scene(folder: Path, key: str, boxes: list[list[float]], *, complete: bool = True, habit: float = 0.0) -> Scene:
    own = np.array(boxes, np.float32).reshape(-1, 4)
    write_image(folder / f"{key}.png", np.full((60, 120, 3), GREY, np.uint8))
    return Scene(
        key=f"{key}.png", path=folder / f"{key}.png", boxes=own, points=np.full((len(own), 5, 2), np.nan, np.float32),
        ignored=np.zeros(len(own), np.bool_), labels=("masked",) * len(own), complete=complete,
        habit=BoxHabit(centre=(habit, 0.0)), group=key,
    )  # fmt: skip


def faces(*rows: tuple[float, float, float, float, float]) -> Faces:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4])


@pytest.fixture
def report(tmp_path: Path) -> DetectorReport:
    """Picture a: one hit, one face missed. Picture b: a false find. Picture c, incomplete: a find on no label."""
    scenes = [
        make_scene(tmp_path, "a", [[10, 10, 50, 50], [70, 10, 90, 30]]),
        make_scene(tmp_path, "b", []),
        make_scene(tmp_path, "c", [[10, 10, 50, 50]], complete=False),
    ]
    found = [
        faces((12, 10, 52, 50, 0.9), (60, 40, 70, 50, 0.2)),
        faces((20, 20, 40, 40, 0.6)),
        faces((10, 10, 50, 50, 0.8), (80, 10, 110, 40, 0.7)),
    ]
    return DetectorReport(
        detector="mine", dataset="drawn", split="test", min_overlap=0.5, usual_score=0.5, scenes=scenes, found=found,
        rows=match_scenes(scenes, found), seconds=np.array([0.001, 0.002, 0.009]),
    )  # fmt: skip


def count_color(image: Image, color: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - np.array(color)).max(axis=-1) < 12).sum())


def test_a_detector_sees_each_picture_once(report: DetectorReport) -> None:
    seen = []

    def detect(image: Image) -> Faces:
        seen.append(image.shape)
        return faces((0, 0, 1, 1, 0.5))

    detections = list(detect_scenes(report.scenes, detect))
    assert seen == [(60, 120, 3)] * 3
    assert all(len(detection.faces) == 1 and detection.seconds >= 0 for detection in detections)


def test_a_picture_that_is_not_there_is_an_error(report: DetectorReport, tmp_path: Path) -> None:
    (tmp_path / "b.png").unlink()
    with pytest.raises(ImageError, match=r"b\.png"):
        list(detect_scenes(report.scenes, lambda _: Faces.empty()))


def test_figures_of_a_report(report: DetectorReport) -> None:
    figures = detector_figures(report)
    assert figures.pictures == (3, 2)
    assert figures.faces == 3
    assert figures.average_precision == pytest.approx(0.5)
    assert figures.recall_at[0.05] == pytest.approx(2 / 3)
    assert figures.usual.precision == 0.5
    assert figures.usual.recall == pytest.approx(2 / 3)
    assert (figures.usual.false_per_picture, figures.usual.other_per_picture) == (0.5, 1.0)
    assert figures.median_ms == pytest.approx(2)
    assert set(figures.by_label) == {"masked"}
    assert figures.by_label["masked"] == pytest.approx((3, 2 / 3))
    assert figures.offsets["pairs"] == 2
    np.testing.assert_allclose(np.sort(found_offsets(report).x), [0, 2 / 40], atol=1e-6)


def test_offsets_are_left_out_where_boxes_are_no_face_boxes(tmp_path: Path, report: DetectorReport) -> None:
    scenes = [make_scene(tmp_path, "d", [[10, 10, 50, 50]], habit=0.1)]
    found = [Faces.empty()]
    other = DetectorReport(
        "m", "drawn", "all", 0.5, 0.5, scenes, found, match_scenes(scenes, found), seconds=np.zeros(0)
    )
    figures = detector_figures(other)
    assert figures.offsets == {}
    assert math.isnan(figures.median_ms)
    assert math.isnan(figures.usual.precision)


def test_json_holds_fractions_and_null(report: DetectorReport) -> None:
    official = {"easy": WiderPrecision(official=0.25, exact=math.nan, faces=0)}
    value = json.loads(json.dumps(detector_json(replace(report, official=official))))
    assert (value["detector"], value["average_precision"], value["false_per_picture"]) == ("mine", 0.5, 0.5)
    assert value["recall_at_false_per_picture"]["0.1"] == pytest.approx(2 / 3)
    assert value["by_size"]["32-64"] == {"faces": 2, "recall": 1.0}
    assert value["wider_face"]["easy"] == {"official": 0.25, "exact": None, "faces": 0}
    assert "wider_face" not in detector_json(report)


def test_rows_hold_every_find_and_every_face(tmp_path: Path, report: DetectorReport) -> None:
    write_detection_rows(tmp_path / "deep" / "rows.csv", [report, report])
    with (tmp_path / "deep" / "rows.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (5 + 3)
    finds = [row for row in rows[:8] if row["row"] == "find"]
    assert [row["verdict"] for row in finds] == ["hit", "false", "false", "hit", "false"]
    assert [row["complete"] for row in finds] == ["True"] * 3 + ["False"] * 2
    labelled = [row for row in rows[:8] if row["row"] == "face"]
    assert [row["verdict"] for row in labelled] == ["found", "missed", "found"]
    assert [row["score"] for row in labelled][1] == ""
    assert (labelled[0]["x1"], labelled[0]["size"], labelled[0]["label"]) == ("10.0", "40.0", "masked")
    with pytest.raises(OutputError, match="cannot be written"):
        write_detection_rows(tmp_path, [report])


def test_plot_shows_both_halves_or_only_sizes(tmp_path: Path, report: DetectorReport) -> None:
    plot_detectors(tmp_path / "both.png", [report, report])
    both = read_image(tmp_path / "both.png")
    assert (both < 128).any()
    half = DetectorReport(
        "m", "drawn", "all", 0.5, 0.5, report.scenes[2:], report.found[2:],
        match_scenes(report.scenes[2:], report.found[2:]), seconds=np.zeros(0),
    )  # fmt: skip
    plot_detectors(tmp_path / "half.png", [half])
    assert read_image(tmp_path / "half.png").shape[1] < both.shape[1]


def test_faults_are_missed_faces_and_false_finds(report: DetectorReport) -> None:
    np.testing.assert_allclose(picture_faults(report), [20 / 32, 0.6, 0], rtol=1e-6)


def test_worst_sheet_draws_what_was_found_and_missed(report: DetectorReport) -> None:
    sheet = worst_pictures_sheet(report, count=9, tile=240)
    assert sheet.shape[1] == 480, "two pictures are at fault, the third is not shown"
    first, second = sheet[28:, :240], sheet[28:, 240:]
    assert min(count_color(first, color) for color in (HIT_COLOR, MISSED_COLOR)) > 50
    assert count_color(first, FALSE_COLOR) == 0, "its false find is below the usual score"
    assert count_color(second, FALSE_COLOR) > 50
    assert count_color(second, MISSED_COLOR) == 0
    assert worst_pictures_sheet(report, count=1, tile=240).shape[1] == 420
    with pytest.raises(ValueError, match="at least one"):
        worst_pictures_sheet(report, count=0)


def test_finds_that_may_be_unlabelled_faces_are_drawn_grey(tmp_path: Path) -> None:
    scenes = [make_scene(tmp_path, "e", [[10, 10, 50, 50]], complete=False)]
    found = [faces((60, 10, 100, 50, 0.9))]
    report = DetectorReport(
        "m", "drawn", "all", 0.5, 0.5, scenes, found, match_scenes(scenes, found), seconds=np.zeros(0)
    )
    sheet = worst_pictures_sheet(report, count=1, tile=240)
    assert count_color(sheet[28:], NEUTRAL_COLOR) > 50
    assert count_color(sheet[28:], FALSE_COLOR) == 0


def test_a_sheet_without_faults_is_its_legend(tmp_path: Path) -> None:
    scenes = [make_scene(tmp_path, "f", [[10, 10, 50, 50]])]
    found = [faces((10, 10, 50, 50, 0.9))]
    report = DetectorReport(
        "m", "drawn", "all", 0.5, 0.5, scenes, found, match_scenes(scenes, found), seconds=np.zeros(0)
    )
    assert worst_pictures_sheet(report, count=3).shape[0] == 28
