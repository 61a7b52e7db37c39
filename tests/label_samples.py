"""Label files as CVAT, dlib, labelme, Label Studio and COCO's API write them."""

import json
from pathlib import Path
from typing import Any

POINTS = [[10.0, 10.0], [20.0, 10.5], [15.0, 15.0], [11.0, 20.0], [19.0, 20.0]]
NAMES = ["right_eye", "left_eye", "nose", "mouth_right", "mouth_left"]


def save(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


CVAT_START = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <job>
      <id>7</id><size>2</size><mode>annotation</mode><overlap>0</overlap><bugtracker></bugtracker>
      <labels>
        <label><name>face</name><color>#ff0000</color><type>skeleton</type><attributes></attributes>
          <svg>&lt;circle r="1.5" data-label-name="2"&gt;</svg></label>
        {}
        <label><name>car</name><color>#00ff00</color><type>rectangle</type><attributes></attributes></label>
      </labels>
      <owner><username>five</username><email></email></owner>
    </job>
    <dumped>2024-01-02 03:04:05.000000+00:00</dumped>
  </meta>
"""
CVAT_LABEL = "<label><name>{}</name><type>points</type><attributes></attributes><parent>face</parent></label>"


def skeleton(names: list[str], shift: float = 0.5, extra: str = 'z_order="0"') -> str:
    """A skeleton as CVAT dumps it: in an order of its own, one point outside, one occluded."""
    lines = []
    for number, (name, (x, y)) in reversed(list(enumerate(zip(names, POINTS, strict=True)))):
        state = f'outside="{int(number == 3)}" occluded="{int(number == 1)}"'
        place = f'points="{x + shift:.2f},{y + shift:.2f}"'
        lines.append(f'<points label="{name}" source="manual" {state} {place}></points>')
    return f'<skeleton label="face" source="manual" {extra}>\n{"".join(lines)}\n</skeleton>'


def cvat(names: list[str], *images: str) -> str:
    start = CVAT_START.format("".join(CVAT_LABEL.format(name) for name in names))
    return start + "\n".join(images) + "\n</annotations>\n"


def cvat_image(name: str, body: str) -> str:
    return f'<image id="0" name="{name}" subset="train" task_id="3" width="40" height="32">\n{body}\n</image>'


DLIB = """<?xml version='1.0' encoding='ISO-8859-1'?>
<?xml-stylesheet type='text/xsl' href='image_metadata_stylesheet.xsl'?>
<dataset>
<name>imglab dataset</name>
<comment>Created by imglab tool.</comment>
<images>
  <image file='images\\b.jpg' width='40' height='32'>
    <box top='8' left='9' width='20' height='21' difficult='1' pose='1' detection_score='0.5'>
      <label>face</label>
      {parts}
    </box>
    <box top='1' left='1' width='5' height='5' ignore='1'/>
    <box top='1' left='1' width='5' height='5'/>
  </image>
  <image file='{absolute}'/>
</images>
</dataset>"""


def parts(points: list[list[float]], first: int = 0) -> str:
    return "".join(f"<part name='{i + first}' x='{x:.0f}' y='{y:.0f}'/>\n" for i, (x, y) in enumerate(points))


def shape(label: str, points: Any, kind: str = "point", **more: Any) -> dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
    } | more


def labelme(shapes: list[Any], picture: str = "a.jpg") -> dict[str, Any]:
    start = {"version": "5.5.0", "flags": {"checked": True}, "shapes": shapes, "imagePath": picture}
    return {**start, "imageData": "AAAA", "imageHeight": 32, "imageWidth": 40, "user": "me"}


def drawn(names: list[str], **more: Any) -> list[dict[str, Any]]:
    """Shapes of the points, as one draws them: in any order, on the scale of the canvas."""
    pairs = list(zip(names, POINTS, strict=True))
    return [shape(name, [[x + 0.5, y + 0.5]], **more) for name, (x, y) in reversed(pairs)]


def keypoint(name: str, place: list[float], **more: Any) -> dict[str, Any]:
    x, y = (place[0] + 0.5) / 40 * 100, (place[1] + 0.5) / 32 * 100
    value = {"x": x, "y": y, "width": 0.6, "keypointlabels": [name]}
    start: dict[str, Any] = {"original_width": 40, "original_height": 32, "image_rotation": 0, "origin": "manual"}
    return {
        "id": f"id{name}",
        "from_name": "kp",
        "to_name": "img",
        "type": "keypointlabels",
        "value": value,
        **start,
    } | more


def task(picture: str, results: list[Any], **annotation: Any) -> dict[str, Any]:
    made = {"id": 1, "was_cancelled": False, "ground_truth": False, "completed_by": 10, "lead_time": 4.2} | annotation
    return {"id": 1, "data": {"image": picture}, "annotations": [made | {"result": results}], "predictions": []}


def region(**value: Any) -> dict[str, Any]:
    sides = {"x": 12.5, "y": 25.0, "width": 50.0, "height": 50.0, "rotation": 0, "rectanglelabels": ["face"]}
    return keypoint("0", [0, 0], id="box1", type="rectanglelabels", value=sides | value)


def studio(name: str, place: list[float], **more: Any) -> list[dict[str, Any]]:
    """Tasks with one result."""
    return [task("a.jpg", [keypoint(name, place, **more)])]


def coco(names: list[str] | None, **annotation: Any) -> dict[str, Any]:
    category: dict[str, Any] = {"id": 1, "name": "face", "supercategory": "person", "skeleton": [[1, 2]]}
    keypoints = [value for place in POINTS for value in (*place, 2)]
    face = {"id": 7, "image_id": "x", "category_id": 1, "iscrowd": 0, "keypoints": keypoints, "segmentation": []}
    images = [{"id": "x", "file_name": "part/c.png", "license": 2, "width": 40, "height": 32, "coco_url": ""}]
    category |= {"keypoints": names} if names is not None else {}
    info = {"year": 2020, "description": "of others"}
    return {
        "info": info,
        "images": images,
        "annotations": [face | annotation],
        "categories": [category],
        "licenses": [],
    }
