import json
from pathlib import Path

import numpy as np
import pytest

from canthus.errors import DataError
from canthus.runtime.box_files import BoxFile, read_boxes


def written(tmp_path: Path, text: str, name: str = "boxes.json") -> BoxFile:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_boxes(tmp_path / name)


def as_json(*entries: tuple[str, list[list[float]]]) -> str:
    return json.dumps([{"image": name, "faces": [{"box": box} for box in boxes]} for name, boxes in entries])


def test_json_needs_only_image_and_box(tmp_path: Path) -> None:
    boxes = written(tmp_path, as_json(("a.jpg", [[1, 2, 3, 4], [5, 6, 7.5, 8]]), ("b.jpg", [])))
    found = boxes.find("a.jpg")
    assert found.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7.5, 8]]
    assert found.boxes.dtype == np.float32
    assert found.scores.tolist() == [1, 1]
    assert len(boxes.find("b.jpg")) == 0


def test_csv_with_and_without_scores(tmp_path: Path) -> None:
    text = "image, x1, y1, x2, y2, score\na.jpg,1,2,3,4,0.5\na.jpg,5,6,7.5,8,\nb.jpg,0,0,9,9,1\n"
    found = written(tmp_path, text, "boxes.csv").find("a.jpg")
    assert found.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7.5, 8]]
    assert found.scores.tolist() == [0.5, 1]
    assert len(written(tmp_path, "\ufeffimage,x1,y1,x2,y2\r\na.jpg,1,2,3,4\r\n", "b.csv").find("a.jpg")) == 1


def test_entries_are_found_from_here_from_the_file_and_by_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    text = as_json(("x/a.jpg", [[0, 0, 1, 1]]), ("../y/a.jpg", [[0, 0, 2, 2]]), ("deep/b.jpg", [[0, 0, 3, 3]]))
    (tmp_path / "lists/boxes.json").write_text(text, encoding="utf-8")
    boxes = read_boxes("lists/boxes.json")
    assert boxes.find("x/a.jpg").boxes[0, 2] == 1
    assert boxes.find(tmp_path / "x/a.jpg").boxes[0, 2] == 1
    assert boxes.find("y/a.jpg").boxes[0, 2] == 2
    assert boxes.find("anywhere/deep/b.jpg").boxes[0, 2] == 3


def test_the_longest_fitting_end_wins(tmp_path: Path) -> None:
    boxes = written(tmp_path, as_json(("a.jpg", [[0, 0, 1, 1]]), ("x/a.jpg", [[0, 0, 2, 2]])))
    assert boxes.find("/photos/x/a.jpg").boxes[0, 2] == 2
    assert boxes.find("/photos/y/a.jpg").boxes[0, 2] == 1


@pytest.mark.parametrize(
    ("entry", "picture"),
    [
        (r"photos\x\a.jpg", "/data/photos/x/a.jpg"),
        (r"a.jpg", "/data/photos/x/a.jpg"),
        (r"photos\x/a.jpg", "photos/x/a.jpg"),
        (r"C:\set\one\x\a.jpg", "/data/two/x/a.jpg"),
        (r"C:\a.jpg", "a.jpg"),
    ],
)
def test_windows_paths_belong_to_the_pictures_that_they_name(tmp_path: Path, entry: str, picture: str) -> None:
    assert written(tmp_path, as_json((entry, [[0, 0, 1, 1]]))).find(picture).boxes[0, 2] == 1


def test_windows_paths_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    boxes = written(tmp_path, as_json((r"D:\set\x\a.jpg", [[0, 0, 1, 1]]), (r"D:\set\y\a.jpg", [[0, 0, 2, 2]])))
    assert boxes.find("/data/y/a.jpg").boxes[0, 2] == 2
    with pytest.raises(DataError, match="several entries that fit"):
        boxes.find("/data/z/a.jpg")
    with pytest.raises(DataError, match="no entry"):
        written(tmp_path, as_json((r"other\a.jpg", [[0, 0, 1, 1]]))).find("/data/y/a.jpg")


def test_a_name_may_hold_a_backslash(tmp_path: Path) -> None:
    assert written(tmp_path, as_json((r"a\b.jpg", [[0, 0, 1, 1]]))).find(r"/data/a\b.jpg").boxes[0, 2] == 1


@pytest.mark.parametrize("box", [[40, 0, 50, 10], [-20, 0, 0, 10], [0, 30, 5, 60], [5, -9, 9, -1]])
def test_a_box_outside_the_picture_is_named(tmp_path: Path, box: list[float]) -> None:
    boxes = written(tmp_path, as_json(("a.jpg", [[-5, -5, 1, 1], box])))
    with pytest.raises(DataError, match=rf"a.jpg: box \[{float(box[0])}, .*outside the picture of 40 x 30 pixels"):
        boxes.faces_in(np.zeros((30, 40, 3), np.uint8), "a.jpg")


def test_a_picture_without_entry_is_told(tmp_path: Path) -> None:
    boxes = written(tmp_path, as_json(("x/a.jpg", [[0, 0, 1, 1]])))
    for name in ("b.jpg", "y/a.jpg"):
        with pytest.raises(DataError, match=rf"{name}: .*boxes.json has no entry for this picture"):
            boxes.find(name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[", "not JSON"),
        ("{}", "expected a list of pictures, found dict"),
        ("[3]", "entry 0: expected .*found 3"),
        ('[{"image": 5, "faces": []}]', "entry 0: expected"),
        ('[{"image": "a"}]', r"entry 0 \(a\): expected a list 'faces', found None"),
        ('[{"image": "a", "faces": [{}]}]', "entry 0: expected .*box"),
        ('[{"image": "a", "faces": [{"box": [1, 2, 3]}]}]', "entry 0: expected .*box"),
        ('[{"image": "a", "faces": [{"box": [1, 2, "x", 4]}]}]', "a box or score is no number"),
        ('[{"image": "a", "faces": [{"box": [3, 2, 1, 4]}]}]', "expected x1 < x2 and y1 < y2"),
        ('[{"image": "a", "faces": [{"box": [1, 2, NaN, 4]}]}]', "expected finite numbers below 1e\\+07"),
        ('[{"image": "a", "faces": [{"box": [5, 5, 5.0000001, 6]}]}]', "expected x1 < x2 and y1 < y2"),
        ('[{"image": "a", "faces": [{"box": [0, 0, 3e38, 6]}]}]', "expected finite numbers"),
        ('[{"image": "a", "faces": []}, {"image": "a", "faces": []}]', "entry 1: a was listed before"),
        ("", ":1: the header lacks image, x1, y1, x2, y2"),
        ("image,x1,y1\n", ":1: the header lacks x2, y2"),
        ("image,x1,y1,x2,y2\na.jpg,1,2,3\n", ":2: a box or score is no number"),
        ("image,x1,y1,x2,y2\na.jpg,1,2,3,4\na.jpg,1,2,0,4\n", ":3: expected x1 < x2"),
        ("image,x1,y1,x2,y2\n,1,2,3,4\n", ":2: the column 'image' is empty"),
    ],
)
def test_malformed_files_say_where(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        written(tmp_path, text)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_boxes(tmp_path / "none.json")


RETINA = "12_Group_a\n2\n10 20 30 40 0.99\n1 2 3.5 4 0.03 \n"


def test_files_of_retinaface_are_read_one_by_one_and_as_a_folder(tmp_path: Path) -> None:
    """The boxes that RetinaFace writes for WIDER FACE: EVENT/PICTURE.txt, names without suffix, corner and sides."""
    (tmp_path / "finds" / "12--Group").mkdir(parents=True)
    (tmp_path / "finds" / "12--Group" / "12_Group_a.txt").write_text(RETINA)
    (tmp_path / "finds" / "12--Group" / "b.txt").write_text("b.jpg\n0\n")
    boxes = read_boxes(tmp_path / "finds")
    found = boxes.find("/photos/12--Group/12_Group_a.jpg")
    assert found.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4.5, 6]]
    assert found.scores.tolist() == pytest.approx([0.99, 0.03])
    assert len(boxes.find("12--Group/b.jpg")) == 0
    with pytest.raises(DataError, match="no entry for this picture"):
        boxes.find("elsewhere/12_Group_a.jpg")
    single = read_boxes(tmp_path / "finds" / "12--Group" / "12_Group_a.txt", min_score=0.5)
    assert single.find("anywhere/12_Group_a.png").boxes.tolist() == [[10, 20, 40, 60]]
    before = boxes.sha256()
    (tmp_path / "finds" / "12--Group" / "b.txt").write_text("b.jpg\n1\n0 0 1 1\n")
    assert read_boxes(tmp_path / "finds").sha256() != before


def test_several_pictures_in_one_file_and_csv_named_txt(tmp_path: Path) -> None:
    boxes = written(tmp_path, RETINA + "x/b.jpg\n1\n0 0 5 6 1\n", "finds.txt")
    assert boxes.find("x/b.jpg").boxes.tolist() == [[0, 0, 5, 6]]
    assert len(written(tmp_path, "image,x1,y1,x2,y2\na.jpg,1,2,3,4\n", "csv.txt").find("a.jpg")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg\nb\n", r"finds.txt:1: expected the name of a picture and below it the number of its faces, found 'b'"),
        ("a.jpg\n", "found 'nothing'"),
        ("a.jpg\n2\n1 2 3 4 1\n", "a.jpg has 2 faces, found 1 lines"),
        ("a.jpg\n1\n1 2 3 4 1 0\n", "finds.txt:3: expected 'x y w h score'"),
        ("a.jpg\n1\n1 2 three 4 1\n", "finds.txt:3: a box or score is no number"),
        ("a.jpg\n1\n1 2 0 4 1\n", "finds.txt:3: expected x1 < x2"),
        ("a.jpg\n0\na.jpg\n0\n", "a.jpg was listed before"),
    ],
)
def test_damaged_files_of_wider_face(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        written(tmp_path, text, "finds.txt")


def test_a_folder_without_boxes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no boxes"):
        read_boxes(tmp_path)
