"""Labels in JSON: lists of faces and COCO keypoints; files of labelme and Label Studio are told from them.

- A list of ``{"image", "points"}`` or ``{"image", "faces"}``, in pixels from the centre of the first: what
  ``canthus detect --json`` writes.
- COCO keypoints (cocodataset.org/#format-data): ``x, y, flag`` from the centre of the first pixel, flag 0 without
  position, 1 hidden, 2 seen; ``bbox`` is ``x, y, width, height`` of edges; ``categories`` name the points.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from canthus.data.formats import read_text
from canthus.data.label_drawn import is_labelme, is_task, read_labelme, read_tasks
from canthus.data.label_files import (
    Described,
    Label,
    LabelFile,
    checked_box,
    checked_points,
    json_text,
    known_scheme,
    number_rows,
    point_names,
    rounded,
)
from canthus.errors import DataError
from canthus.files import MARK
from canthus.schemes import SCHEMES


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg})") from error
    except ValueError as error:  # a whole number of thousands of digits
        raise DataError(f"{path}: not JSON that can be read ({error})") from error
    except RecursionError as error:
        raise DataError(f"{path}: not JSON of labels (lists and objects are nested too deep)") from error


def read_json_labels(path: Path, *, count: int | None = None, folder: str = "") -> LabelFile:
    """Read labels of any of the formats; an entry that cannot be read becomes a problem.

    Args:
        path: the file.
        count: number of points of a face; None where it is not known.
        folder: where a file of labelme lies below the root, from which pictures are named.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    data = read_json(path)
    if isinstance(data, dict) and isinstance(data.get("annotations"), list) and isinstance(data.get("images"), list):
        return _read_coco(path.name, data, count)
    if is_labelme(data):
        return read_labelme(path.name, data, folder=folder)
    if isinstance(data, dict) and is_task(data):
        data = [data]
    if isinstance(data, list):
        return read_tasks(path.name, data) if any(map(is_task, data)) else _read_list(path.name, data)
    found = f"an object with {', '.join(map(repr, list(data)[:6]))}" if isinstance(data, dict) else repr(data)[:60]
    raise DataError(
        f"{path}: expected a list of {{'image', 'points'}} or {{'image', 'faces'}}, a COCO file with 'images' and "
        f"'annotations', a labelme file with 'shapes' and 'imagePath', or a list of Label Studio's tasks; found {found}"
    )


def _read_list(name: str, entries: Sequence[Any]) -> LabelFile:
    found = LabelFile()
    for number, entry in enumerate(entries):
        where = f"{name}[{number}]"
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            found.damaged(where, "expected an object with a text 'image'")
            continue
        if any(isinstance(part, list) and "keypointlabels" in str(part[:1]) for part in entry.values()):
            raise DataError(f"{where}: is JSON-MIN of Label Studio, which lacks the faces of points; export it as JSON")
        found.pictures.add(entry["image"])
        faces = entry.get("faces", [entry])
        if not isinstance(faces, list):
            found.damaged(where, "expected a list under 'faces'")
            continue
        for index, face in enumerate(faces):
            place = f"{where}.faces[{index}]" if "faces" in entry else where
            found.add(place, face, partial(_label_of_face, entry["image"]))
    return found


def _label_of_face(picture: str, face: Any) -> Label:
    if not isinstance(face, dict) or "points" not in face:
        raise DataError("expected an object with 'points'")
    points = checked_points(number_rows(face["points"], "points", 2))
    scheme, visible = face.get("scheme"), face.get("visible")
    if scheme is not None and not isinstance(scheme, str):
        raise DataError(f"expected the name of a scheme under 'scheme', found {scheme!r}")
    if visible is not None:
        if not isinstance(visible, list) or [type(seen) for seen in visible] != [bool] * len(points):
            raise DataError(f"expected {len(points)} times true or false under 'visible'")
        visible = np.array(visible) & ~np.isnan(points).any(axis=1)
    box = checked_box(number_rows([face["box"]], "box", 4)[0]) if face.get("box") is not None else None
    return Label(picture, points, visible, box, scheme)


def list_text(pictures: Iterable[Described]) -> str:
    """A list of pictures with their faces, as ``canthus detect --json`` writes, with ``visible``."""
    entries = []
    for name, (width, height), faces in pictures:
        described = [
            {
                "box": rounded(face.box),
                "scheme": face.scheme.name,
                "points": [None if np.isnan(point).any() else rounded(point) for point in face.points],
                "visible": face.visible.tolist(),
            }
            for face in faces
        ]
        entries.append({"image": name, "width": width, "height": height, "faces": described})
    return json_text(entries)


def _read_coco(name: str, data: Mapping[str, Any], count: int | None) -> LabelFile:
    found, names = LabelFile(others_are="annotations of other categories"), {}
    for number, image in enumerate(data["images"]):
        if isinstance(image, dict) and isinstance(image.get("file_name"), str) and _is_id(image.get("id")):
            names[image["id"]] = image["file_name"]
        else:
            found.damaged(f"{name}: images[{number}]", "expected 'id' and 'file_name'")
    found.pictures.update(names.values())
    listed = data.get("categories")
    categories = {str(c.get("id")): c for c in listed if isinstance(c, dict)} if isinstance(listed, list) else {}
    faces = _faces_of_coco(data["annotations"], categories, count, found)
    # Flags: 0 not labelled, 1 labelled but hidden, 2 seen.  In files of others without any 2, 1 means seen.
    lists = [face.get("keypoints") for face in faces.values() if isinstance(face, dict)]
    graded = any(2 in keypoints[2::3] for keypoints in lists if isinstance(keypoints, list))
    info = data.get("info")
    graded = graded or (isinstance(info, dict) and info.get("description") == MARK.decode())
    described = {key: (_names_of_category(of), known_scheme(of.get("scheme"))) for key, of in categories.items()}
    for number, face in faces.items():
        own = described.get(_category(face), ((), None)) if isinstance(face, dict) else ((), None)
        found.names = found.names or own[0]
        found.add(f"{name}: annotations[{number}]", face, partial(_coco_face, names, graded, *own))
    return found


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)


def _names_of_category(category: Mapping[str, Any]) -> tuple[str, ...]:
    names = category.get("keypoints")
    named = isinstance(names, list) and all(isinstance(name, str) and name for name in names)
    return tuple(names or ()) if named and len(set(names or ())) == len(names or ()) else ()


def _faces_of_coco(
    annotations: Sequence[Any], categories: Mapping[str, Any], count: int | None, found: LabelFile
) -> dict[int, Any]:
    """The annotations of the categories that have the points of a face, by their place in the file; others are noted.

    Faces are the annotations with ``count`` keypoints, else with as many as a scheme has points, else with any; if
    there are several numbers, the most frequent.  Without any, all annotations are taken.
    """
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for entry in annotations:
        if isinstance(entry, dict) and isinstance(entry.get("keypoints"), list) and entry["keypoints"]:
            counts[_category(entry)][len(entry["keypoints"]) // 3] += 1
    total = sum(counts.values(), Counter())
    known = [{count}] if count is not None else [{scheme.count for scheme in SCHEMES.values()}, set(total)]
    usual = next((n for group in known for n, _ in total.most_common() if n in group), None)
    if usual is None:
        return dict(enumerate(annotations))
    taken = {category for category, of in counts.items() if of[usual]}
    kept = {i: e for i, e in enumerate(annotations) if not isinstance(e, dict) or _category(e) in taken}
    others = [_category(e) for i, e in enumerate(annotations) if i not in kept]
    found.others.update(str(categories[o].get("name", o)) if o in categories else o for o in others)
    return kept


def _category(annotation: Mapping[str, Any]) -> str:
    return str(annotation.get("category_id"))


def _coco_face(
    pictures: Mapping[Any, str], graded: bool, names: tuple[str, ...], scheme: str | None, annotation: Any
) -> Label:
    if not isinstance(annotation, dict) or "keypoints" not in annotation:
        raise DataError("expected an object with 'keypoints'")
    picture = annotation.get("image_id")
    if not _is_id(picture) or picture not in pictures:
        raise DataError(f"names image {picture!r}, which is not under 'images'")
    flat = annotation["keypoints"]
    if not isinstance(flat, list) or not flat or len(flat) % 3:
        raise DataError("expected triples x, y, flag under 'keypoints'")
    triples = number_rows([flat[i : i + 3] for i in range(0, len(flat), 3)], "keypoints", 3)
    flags = triples[:, 2]
    triples[flags == 0] = np.nan
    points, box = checked_points(triples[:, :2]), None
    if annotation.get("bbox") is not None:
        x, y, width, height = number_rows([annotation["bbox"]], "bbox", 4)[0]
        box = checked_box((x, y, x + width, y + height))
    visible = (flags == 2 if graded else flags > 0) & ~np.isnan(points).any(axis=1)
    return Label(pictures[picture], points, visible, box, scheme, names if len(names) == len(points) else ())


def coco_text(pictures: Iterable[Described]) -> str:
    """One file of COCO keypoints with the single category ``face``."""
    images: list[dict[str, Any]] = []
    faces: list[dict[str, Any]] = []
    category: dict[str, Any] = {"id": 1, "name": "face", "supercategory": "person", "skeleton": []}
    for name, (width, height), of_picture in pictures:
        images.append({"id": len(images) + 1, "file_name": name, "width": width, "height": height})
        for face in of_picture:
            category |= {"scheme": face.scheme.name, "keypoints": list(point_names(face.scheme))}
            there = ~np.isnan(face.points).any(axis=1)
            flags = np.where(there, 1 + face.visible, 0)
            x1, y1, x2, y2 = face.box.astype(np.float64)
            box = rounded(np.array([x1, y1, x2 - x1, y2 - y1]))
            faces.append({
                "id": len(faces) + 1,
                "image_id": len(images),
                "category_id": 1,
                "iscrowd": 0,
                "bbox": box,
                "area": round(box[2] * box[3], 2),
                "num_keypoints": int(there.sum()),
                "keypoints": [
                    value
                    for point, flag in zip(rounded(face.points), flags.tolist(), strict=True)
                    for value in ((*point, flag) if flag else (0, 0, 0))
                ],
            })  # fmt: skip
    return json_text({
        "info": {"description": MARK.decode(), "version": "1.0"},
        "licenses": [],
        "images": images,
        "annotations": faces,
        "categories": [category],
    })  # fmt: skip
