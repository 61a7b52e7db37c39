"""Labels in xml: CVAT for images 1.1, and the files of dlib's imglab.

- CVAT (docs.cvat.ai/docs/other/xml_format; its dumper is ``dataset_manager/formats/cvat.py``): in each ``image`` a
  ``skeleton`` with one ``points`` element a point (``outside="1"``: no position, ``occluded="1"``: hidden), or
  ``points`` alone: several pairs of numbers are a face, single ones are points of the face of their ``group_id``.  A
  ``box`` of the group is the box of the face.  Places begin at the corner of the picture, see ``label_files``.
- dlib (dlib/data_io/image_dataset_metadata.cpp): in each ``image`` a ``box`` a face, ``left top width height`` of
  whole pixels, and a ``part`` for each point with a position, counted from the centre of the first pixel.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from canthus.data.label_files import (
    CENTRE,
    Described,
    Label,
    LabelFile,
    NamedPoint,
    checked_box,
    checked_points,
    finite_number,
    known_scheme,
    named_label,
    placed_points,
    point_names,
    rounded,
)
from canthus.data.xml_files import Element, xml_elements, xml_root
from canthus.errors import DataError
from canthus.types import Annotation

CVAT, DLIB = "annotations", "dataset"
"""Names of the outermost elements."""
_PIECES = ("image", "meta", "name", "track")
"""Elements that are read one at a time."""
_CONTROL = {code: None for code in range(32) if chr(code) not in "\t\n\r"}


def read_xml_labels(path: Path) -> LabelFile:
    """Read a file of CVAT or of dlib; a face that cannot be read becomes a problem.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    root = xml_root(path)
    if root not in (CVAT, DLIB):
        next(xml_elements(path, _PIECES), None)  # names the line, where it is no xml at all
        told = f"found <{root}>" if root else "found no element"
        raise DataError(f"{path}: expected <annotations> of CVAT for images 1.1, or <dataset> of dlib's imglab; {told}")
    found = LabelFile(first=CENTRE if root == CVAT else 0, others_are="elements without points of a face")
    scheme = None
    for piece in xml_elements(path, _PIECES):
        where = f"{path.name}:{piece.line}"
        if piece.tag == "track":
            raise DataError(f"{where}: is CVAT for video; export the task as 'CVAT for images 1.1'")
        if piece.tag in ("meta", "name"):
            tasks = (task.text_of("name") for task in piece.descendants("task"))
            remarks = ("".join(piece.texts),) if piece.tag == "name" else tasks
            scheme = next(filter(None, map(known_scheme, remarks)), scheme)
            found.names = found.names or _declared(piece)
            continue
        key = "name" if root == CVAT else "file"
        picture = piece.attributes.get(key, "")
        if not picture:
            found.damaged(where, f"expected the name of the picture under {key!r} of <image>")
            continue
        found.pictures.add(picture)
        (_add_cvat if root == CVAT else _add_dlib)(found, path.name, picture, piece)
    found.labels = [(where, replace(label, scheme=scheme)) for where, label in found.labels]
    return found


def _declared(meta: Element) -> tuple[str, ...]:
    """Names of the points of the first skeleton that the labels of a CVAT task declare."""
    points: dict[str, list[str]] = defaultdict(list)
    for label in meta.descendants("label"):
        if label.text_of("parent"):
            points[label.text_of("parent")].append(label.text_of("name"))
    names = next(iter(points.values()), [])
    return tuple(names) if len(set(names)) == len(names) else ()


def _add_cvat(found: LabelFile, name: str, picture: str, image: Element) -> None:
    """Add the faces of a picture: skeletons, points of several places, and groups of single points."""
    boxes, singles = defaultdict(list), defaultdict(list)
    whole: list[Element] = []
    for shape in image.children:
        if shape.tag == "box":
            boxes[shape.attributes.get("group_id", "")].append(shape)
        elif shape.tag == "points" and ";" not in shape.attributes.get("points", ""):
            singles[shape.attributes.get("group_id", "")].append(shape)
        elif shape.tag in ("skeleton", "points"):
            whole.append(shape)
        else:
            found.others[shape.tag] += 1
    faces = [(shape, [shape]) for shape in whole] + [(points[0], points) for points in singles.values()]
    every = [box for of in boxes.values() for box in of]
    for first, shapes in faces:
        group = first.attributes.get("group_id", "")
        own = every if len(faces) == 1 else boxes[group] if group else []
        found.add(f"{name}:{first.line}", shapes, partial(_cvat_face, picture, own[0] if len(own) == 1 else None))


def _cvat_face(picture: str, box: Element | None, shapes: Sequence[Element]) -> Label:
    sides = None
    if box is not None:
        if box.attributes.get("rotation"):
            raise DataError(f"line {box.line}: the box is turned; expected an upright one")
        sides = checked_box(box.number(side) for side in ("xtl", "ytl", "xbr", "ybr"))
    places = shapes[0].attributes.get("points", "")
    if shapes[0].tag == "points" and ";" in places:
        points = checked_points(np.array(_pairs(places), np.float64) - CENTRE)
        return Label(picture, points, np.full(len(points), shapes[0].attributes.get("occluded") != "1"), sides)
    shapes = [s for s in shapes[0].children if s.tag == "points"] if shapes[0].tag == "skeleton" else shapes
    if not shapes:
        raise DataError("expected <points> in the <skeleton>, found none")
    named = [_cvat_point(shape) for shape in shapes]
    return named_label(picture, named, box=sides, apart="group the points of each, or label them as skeletons")


def _cvat_point(shape: Element) -> NamedPoint:
    name, seen = shape.attributes.get("label", ""), shape.attributes.get("occluded") != "1"
    if shape.attributes.get("outside") == "1":
        return NamedPoint(name, np.nan, np.nan, visible=False)
    try:
        places = _pairs(shape.attributes.get("points", ""))
    except DataError as error:
        raise DataError(f"line {shape.line}: {error}") from error
    if len(places) != 1:
        raise DataError(f"line {shape.line}: expected one place 'x,y' of the point {name!r}, found {len(places)}")
    [(x, y)] = places
    return NamedPoint(name, x - CENTRE, y - CENTRE, seen)


def _pairs(text: str) -> list[tuple[float, float]]:
    """Places ``x,y;x,y``."""
    pairs = [pair.split(",") for pair in text.split(";")]
    if any(len(pair) != 2 for pair in pairs):
        raise DataError(f"expected places 'x,y;x,y;...' under 'points', found {text[:40]!r}")
    return [(finite_number(x, "in 'points'"), finite_number(y, "in 'points'")) for x, y in pairs]


def _add_dlib(found: LabelFile, name: str, picture: str, image: Element) -> None:
    for box in image.children:
        if box.tag != "box" or box.attributes.get("ignore") == "1" or not any(c.tag == "part" for c in box.children):
            found.others["ignored box" if box.attributes.get("ignore") == "1" else f"{box.tag} without part"] += 1
        else:
            found.add(f"{name}:{box.line}", box, partial(_dlib_face, picture))


def _dlib_face(picture: str, box: Element) -> Label:
    left, top, width, height = (box.number(side) for side in ("left", "top", "width", "height"))
    parts = [part for part in box.children if part.tag == "part"]
    points = [NamedPoint(part.attributes.get("name", ""), part.number("x"), part.number("y")) for part in parts]
    sides = checked_box((left, top, left + width, top + height))
    return named_label(picture, points, box=sides, apart="give each a box")


def cvat_text(pictures: Iterable[Described]) -> str:
    """A file of CVAT for images 1.1: a skeleton ``face`` and its box for each face."""
    body: list[str] = []
    names: tuple[str, ...] = ()
    size, scheme = 0, ""
    for size, (picture, (width, height), faces) in enumerate(pictures, start=1):
        body.append(_tag("image", id=size - 1, name=picture, width=width, height=height, depth=1, close=False))
        for group, face in enumerate(faces, start=1):
            scheme, names = face.scheme.name, point_names(face.scheme)
            body += _cvat_lines(face, group)
        body.append("  </image>")
    labels = [_cvat_label("face", "skeleton"), *(_cvat_label(name, "points", parent="face") for name in names)]
    meta = f"<size>{size}</size><mode>annotation</mode>\n    <labels>\n" + "\n".join(labels) + "\n    </labels>"
    start = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>'
    return "\n".join(
        [start, f"  <meta><task><name>{_escaped(scheme)}</name>{meta}</task></meta>", *body, "</annotations>\n"]
    )


def _cvat_label(name: str, kind: str, parent: str = "") -> str:
    inner = f"<parent>{_escaped(parent)}</parent>" if parent else ""
    text = f"<name>{_escaped(name)}</name><type>{kind}</type><attributes></attributes>{inner}"
    return f"      <label>{text}</label>"


def _cvat_lines(face: Annotation, group: int) -> Iterator[str]:
    shown: dict[str, Any] = {"label": "face", "source": "manual"}
    sides: dict[str, Any] = dict(zip(("xtl", "ytl", "xbr", "ybr"), rounded(face.box), strict=True))
    yield _tag("box", **shown, occluded=0, **sides, z_order=0, group_id=group, depth=2)
    yield _tag("skeleton", **shown, z_order=0, group_id=group, depth=2, close=False)
    there = {name: (rounded(place), seen) for name, place, seen in placed_points(face)}
    for name in point_names(face.scheme):
        (x, y), seen = there.get(name, ((0.0, 0.0), True))
        state: dict[str, Any] = {"outside": int(name not in there), "occluded": int(not seen)}
        yield _tag("points", label=name, source="manual", **state, points=f"{x},{y}", depth=3)
    yield "    </skeleton>"


def dlib_text(pictures: Iterable[Described]) -> str:
    """A file of dlib's imglab, whose numbers are whole; boxes are widened to whole pixels."""
    described = list(pictures)
    scheme = described[0][2][0].scheme.name
    lines = ["<?xml version='1.0' encoding='UTF-8'?>", "<dataset>", f"<name>{_escaped(scheme)}</name>", "<images>"]
    for picture, (width, height), faces in described:
        lines.append(_tag("image", file=picture, width=width, height=height, depth=1, close=False))
        for face in faces:
            low, high = np.floor(face.box[:2]).astype(int), np.ceil(face.box[2:]).astype(int)
            (left, top), (wide, high) = low.tolist(), (high - low).tolist()
            lines.append(_tag("box", top=top, left=left, width=wide, height=high, depth=2, close=False))
            for name, place, _ in placed_points(face):
                x, y = np.rint(place - CENTRE).astype(int).tolist()
                lines.append(_tag("part", name=name, x=x, y=y, depth=3))
            lines.append("    </box>")
        lines.append("  </image>")
    return "\n".join([*lines, "</images>", "</dataset>\n"])


def _tag(tag: str, *, depth: int, close: bool = True, **attributes: Any) -> str:
    """A line with one element.

    Raises:
        DataError: xml cannot hold the name of a picture.
    """
    shown = " ".join(f"{name}={quoteattr(_checked(str(value)))}" for name, value in attributes.items())
    return f"{'  ' * depth}<{tag} {shown}{'/' if close else ''}>"


def _escaped(text: str) -> str:
    return quoteattr(_checked(text))[1:-1]


def _checked(text: str) -> str:
    """Text that xml can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{text!r} is not valid text, which xml needs; rename it or choose a JSON format") from error
    if text.translate(_CONTROL) != text or "\ufffe" in text or "\uffff" in text:
        raise DataError(f"{text!r} holds control characters, which xml cannot hold; rename it or choose a JSON format")
    return text
