"""Labels of tools in which people draw points on pictures: labelme and Label Studio.

- labelme (github.com/wkentaro/labelme, ``label_file.py``): one JSON file a picture, a shape of type ``point`` for each
  point; ``group_id`` tells the faces of a picture apart, a ``rectangle`` of the group is its box.
- Label Studio (labelstud.io/tags/keypointlabels, labelstud.io/guide/task_format): places in percent of the sides of the
  picture; a point belongs to the rectangle that ``parentID`` names.

Both count from the corner of the picture and know no hidden points; a flag of the shape, or a choice of the region,
``occluded`` or ``hidden``, marks one.
"""

import os.path
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np
from jaxtyping import Float64

from canthus.data.label_files import (
    CENTRE,
    HIDDEN,
    OCCLUDED,
    Described,
    Label,
    LabelFile,
    NamedPoint,
    Sides,
    checked_box,
    finite_number,
    json_text,
    known_scheme,
    named_label,
    number_rows,
    placed_points,
    rounded,
)
from canthus.errors import DataError
from canthus.images import IMAGE_SUFFIXES
from canthus.types import Annotation

_ANNOTATIONS = ("annotations", "completions")
"""Where Label Studio keeps the work of people; the second is the name before version 1."""
_PERCENT, _PERCENT_DIGITS = 100, 9
_STUDIO_KINDS = ("keypointlabels", "rectanglelabels", "rectangle", "choices", "relation")
"""Results of Label Studio that are read, or that say nothing about faces."""


def is_labelme(data: Any) -> bool:
    """Whether this is what a labelme file holds."""
    return isinstance(data, dict) and "shapes" in data and "imagePath" in data


def read_labelme(name: str, data: Mapping[str, Any], *, folder: str = "") -> LabelFile:
    """The faces of a labelme file: the points of each group.

    Args:
        name: of the file, for messages.
        data: its content.
        folder: where the file lies below the root; the picture is named from there.
    """
    found, groups = LabelFile(first=CENTRE, others_are="shapes of other types", is_labelme=True), defaultdict(list)
    shapes, picture = data["shapes"], data["imagePath"]
    if not isinstance(picture, str) or not picture or not isinstance(shapes, list):
        found.damaged(name, "expected a text 'imagePath' and a list 'shapes'")
        return found
    name = (PurePosixPath(folder) / name).as_posix()
    picture = os.path.normpath(PurePosixPath(folder) / picture.replace("\\", "/"))
    found.pictures.add(picture)
    for index, shape in enumerate(shapes):
        kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else "point"
        if kind in ("point", "rectangle"):
            groups[str(shape.get("group_id")) if isinstance(shape, dict) else ""].append((index, shape))
        else:
            found.others[str(kind)] += 1
    faces = {group: of for group, of in groups.items() if any(_is_point(shape) for _, shape in of)}
    alone = [entry for of in groups.values() for entry in of] if len(faces) == 1 else []
    for group, of in faces.items():
        boxes = [entry for entry in alone or of if not _is_point(entry[1])]
        where = name if len(faces) == 1 else f"{name}: group_id {group}"
        points = [entry for entry in of if _is_point(entry[1])]
        found.add(where, points, partial(_labelme_face, picture, boxes, known_scheme(data.get("scheme"))))
    return found


def _is_point(shape: Any) -> bool:
    return not isinstance(shape, dict) or shape.get("shape_type") == "point"


def _labelme_face(
    picture: str, boxes: Sequence[tuple[int, Any]], scheme: str | None, shapes: Sequence[tuple[int, Any]]
) -> Label:
    points = []
    for index, shape in shapes:
        name = shape.get("label") if isinstance(shape, dict) else None
        if not isinstance(name, str):
            raise DataError(f"shapes[{index}]: expected an object with a text 'label'")
        [[x, y]] = _corners(index, shape, 1)
        flags = shape.get("flags")
        hidden = isinstance(flags, dict) and any(flags.get(flag) is True for flag in HIDDEN)
        points.append(NamedPoint(name, x - CENTRE, y - CENTRE, not hidden))
    box = None
    if len(boxes) == 1:
        corners = _corners(*boxes[0], None)
        box = checked_box((*corners.min(axis=0), *corners.max(axis=0)))
    apart = "give the points of each face a group_id of its own"
    return named_label(picture, points, box=box, apart=apart, scheme=scheme)


def _corners(index: int, shape: Mapping[str, Any], count: int | None) -> Float64[np.ndarray, "n 2"]:
    """The finite places of a shape."""
    try:
        places = number_rows(shape.get("points"), "points", 2)
    except DataError as error:
        raise DataError(f"shapes[{index}]: {error}") from error
    if not np.isfinite(places).all() or (len(places) != count if count else len(places) < 2):
        raise DataError(f"shapes[{index}]: expected {count or 'two or more'} finite 'points', found {len(places)}")
    return places


def labelme_text(pictures: Iterable[Described]) -> str:
    """The labelme file of one picture."""
    [(name, (width, height), faces)] = pictures
    shapes: list[dict[str, Any]] = []
    for group, face in enumerate(faces, start=1):
        x1, y1, x2, y2 = rounded(face.box)
        shape = {"label": "face", "points": [[x1, y1], [x2, y2]], "group_id": group, "shape_type": "rectangle"}
        shapes.append({**shape, "description": "", "flags": {}, "mask": None})
        for point, position, seen in placed_points(face):
            shape = {"label": point, "points": [rounded(position)], "group_id": group, "shape_type": "point"}
            shapes.append({**shape, "description": "", "flags": {} if seen else {OCCLUDED: True}, "mask": None})
    start: dict[str, Any] = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
    return json_text({**start, "imageHeight": height, "imageWidth": width, "scheme": faces[0].scheme.name}, indent=2)


def is_task(entry: Any) -> bool:
    """Whether this is a task of Label Studio."""
    return isinstance(entry, dict) and isinstance(entry.get("data"), dict) and "image" not in entry


def read_tasks(name: str, tasks: Sequence[Any]) -> LabelFile:
    """The faces of Label Studio's tasks; one that cannot be read becomes a problem."""
    found = LabelFile(first=CENTRE, others_are="results of other types")
    for number, task in enumerate(tasks):
        where = f"{name}[{number}]"
        try:
            picture = _picture_of_task(task)
            results = _results(task)
        except DataError as error:
            found.damaged(where, str(error))
            continue
        found.pictures.add(picture)
        scheme = known_scheme(task["data"].get("scheme"))
        kinds = {index: str(result.get("type")).lower() for index, result in results.items()}
        found.others.update(kind for kind in kinds.values() if kind not in _STUDIO_KINDS)
        hidden = {
            str(result.get("id")) for index, result in results.items() if kinds[index] == "choices" and _hides(result)
        }
        boxes = {str(results[i].get("id")): results[i] for i, kind in kinds.items() if kind.startswith("rectangle")}
        faces: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        for index in (index for index, kind in kinds.items() if kind == "keypointlabels"):
            faces[str(results[index].get("parentID"))].append((index, results[index]))
        for parent, points in faces.items():
            box = next(iter(boxes.values())) if len(faces) == len(boxes) == 1 else boxes.get(parent)
            place = where if len(faces) == 1 else f"{where}: parentID {parent}"
            found.add(place, points, partial(_studio_face, picture, box, hidden, scheme))
    return found


def _hides(result: Mapping[str, Any]) -> bool:
    value = result.get("value")
    choices = value.get("choices") if isinstance(value, dict) else None
    return isinstance(choices, list) and any(str(choice).lower() in HIDDEN for choice in choices)


def _picture_of_task(task: Any) -> str:
    """The picture of a task, without the address of the server or the folder for uploads."""
    if not is_task(task):
        raise DataError("expected a task with 'data' and 'annotations'")
    texts = [text for text in task["data"].values() if isinstance(text, str)]
    pictures = [text for text in texts if PurePosixPath(text).suffix.lower() in IMAGE_SUFFIXES]
    address = task["data"].get("image") or next(iter(pictures), None)
    if not isinstance(address, str):
        raise DataError("expected the address of a picture as 'image' under 'data'")
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise DataError(f"expected the address of a picture as 'image' under 'data', found {address[:80]!r}") from error
    local = parse_qs(parts.query).get("d") if parts.path.endswith("/local-files/") else None
    if local:
        return local[0]
    if parts.scheme in ("http", "https"):  # the folders of a server say nothing
        return PurePosixPath(unquote(parts.path)).name or address
    if parts.scheme or address.startswith("/data/"):
        return re.sub(r"^/data/upload/\d+/", "", unquote(parts.path)).lstrip("/")
    return address


def _results(task: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """The results of the first annotation of a task that was not cancelled, one marked as the truth before others."""
    lists = [task[key] for key in _ANNOTATIONS if isinstance(task.get(key), list)]
    made = [a for a in (lists or [[]])[0] if isinstance(a, dict) and not a.get("was_cancelled")]
    made.sort(key=lambda annotation: not annotation.get("ground_truth"))
    results = made[0].get("result") if made else []
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise DataError("expected a list of objects under 'result' of the annotation")
    return dict(enumerate(results))


def _studio_face(
    picture: str,
    box: Mapping[str, Any] | None,
    hidden: AbstractSet[str],
    scheme: str | None,
    results: Sequence[tuple[int, Any]],
) -> Label:
    points = []
    for index, result in results:
        try:
            (x, y), value = _studio_place(result, ("x", "y"))
            names = value.get("keypointlabels")
            if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
                raise DataError(f"expected one text under 'keypointlabels', found {names!r}"[:120])
        except DataError as error:
            raise DataError(f"result[{index}]: {error}") from error
        points.append(NamedPoint(names[0], x - CENTRE, y - CENTRE, str(result.get("id")) not in hidden))
    sides = None
    if box is not None:
        (x, y, width, height), value = _studio_place(box, ("x", "y", "width", "height"))
        if value.get("rotation"):
            raise DataError(f"the rectangle is turned by {value['rotation']} degrees; expected an upright one")
        sides = checked_box((x, y, x + width, y + height))
    apart = "draw a rectangle for each, and make it the parent of its points"
    return named_label(picture, points, box=sides, apart=apart, scheme=scheme)


def _studio_place(result: Mapping[str, Any], keys: Sequence[str]) -> tuple[list[float], Mapping[str, Any]]:
    """Numbers of a result in pixels, and its value."""
    value = result.get("value")
    if not isinstance(value, dict):
        raise DataError("expected an object under 'value'")
    if result.get("image_rotation"):
        raise DataError(f"the picture is turned by {result['image_rotation']} degrees; turn it back and label it again")
    sides = [finite_number(result.get(f"original_{side}"), f"'original_{side}'") for side in ("width", "height")]
    if min(sides) <= 0:
        raise DataError(f"expected the sides of the picture in pixels, found {sides[0]:g} x {sides[1]:g}")
    return [finite_number(value.get(k), repr(k)) * sides[k in ("y", "height")] / _PERCENT for k in keys], value


def label_studio_text(pictures: Iterable[Described]) -> str:
    """Tasks of Label Studio with annotations; its server finds the pictures below the root of its local files."""
    tasks = []
    for number, (name, sides, faces) in enumerate(pictures, start=1):
        results = [result for index, face in enumerate(faces) for result in _studio_results(index, face, sides)]
        address = f"/data/local-files/?d={quote(name)}"
        shown = {"image": address, "scheme": faces[0].scheme.name}
        tasks.append({"id": number, "data": shown, "annotations": [{"result": results}]})
    return json_text(tasks)


def _studio_results(number: int, face: Annotation, sides: Sides) -> Iterator[dict[str, Any]]:
    """A rectangle, its points, and a choice for each that is hidden."""
    start = {"to_name": "image", "original_width": sides[0], "original_height": sides[1], "image_rotation": 0}
    percent = _PERCENT / np.array(sides, np.float64)
    low, size = face.box[:2] * percent, (face.box[2:] - face.box[:2]) * percent
    x, y, width, height = np.round([*low, *size], _PERCENT_DIGITS).tolist()
    parent = f"face{number}"
    value: dict[str, Any] = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    value["rectanglelabels"] = ["face"]
    yield {"id": parent, "from_name": "face", "type": "rectanglelabels", **start, "value": value}
    for name, point, seen in placed_points(face):
        x, y = np.round(point * percent, _PERCENT_DIGITS).tolist()
        own = {"id": f"{parent}_{name}", **start}
        value = {"x": x, "y": y, "width": 0.5, "keypointlabels": [name]}
        yield {**own, "parentID": parent, "from_name": "point", "type": "keypointlabels", "value": value}
        if not seen:
            value = {"x": x, "y": y, "width": 0.5, "choices": [OCCLUDED]}
            yield {**own, "from_name": "visibility", "type": "choices", "value": value}
