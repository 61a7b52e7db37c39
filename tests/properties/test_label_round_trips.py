"""Faces written in any format of label files are read back as they were."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from canthus.data.folder import DATASET
from canthus.data.label_conversion import FORMATS, convert_labels, losses
from canthus.errors import ConfigError
from canthus.images import write_image
from canthus.scheme_files import named_scheme
from canthus.schemes import FIVE
from canthus.types import Annotation

SIDES = {"a b.png": (31, 20), "sub/ä&'<c>.png": (7, 300)}
NAMED = named_scheme("own_5", ["nose", "right eye", "left eye", 'right "mouth" <10>', 'left "mouth" <10>'])
"""A scheme whose names are not in the order of their texts."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for number, (name, (width, height)) in enumerate(SIDES.items()):
        write_image(root / name, np.full((height, width, 3), number, np.uint8))
    return root


NUMBER = st.integers(2_000, 500_000).map(lambda thousandth: thousandth / 1000)
"""A coordinate away from (0, 0), which marks a missing point where it is there twice."""
FACE = st.tuples(
    st.sampled_from(sorted(SIDES)),
    st.lists(st.tuples(NUMBER, NUMBER), min_size=5, max_size=5, unique=True),
    st.lists(st.integers(0, 4), max_size=3),  # points without position
    st.lists(st.booleans(), min_size=5, max_size=5),  # visible points
    st.booleans(),  # a box of its own
)
FACES = st.tuples(st.sampled_from([FIVE, NAMED]), st.lists(FACE, min_size=1, max_size=4))


def faces(data: st.DataObject, root: Path) -> list[Annotation]:
    """Faces with hidden and missing points, and boxes of their own or those of their points, in two pictures."""
    scheme, drawn = data.draw(FACES)
    found = []
    for name, places, missing, seen, has_box in drawn:
        points = np.array(places, np.float32)
        points[missing] = np.nan
        visible = np.array(seen) & ~np.isnan(points).any(axis=1)
        box = scheme.face_boxes(points) + np.array([-1.5, -2, 3, 2.25], np.float32) * has_box
        found.append(Annotation(name, root / name, points, scheme, box.astype(np.float32), visible, name))
    return sorted(found, key=lambda face: face.key)


@contextmanager
def written(found: list[Annotation], root: Path, kind: str) -> Iterator[list[Annotation]]:
    """The faces as they are read from the files of a format."""
    with tempfile.TemporaryDirectory() as place:
        out = Path(place, "labels")
        out = out / f"labels{FORMATS[kind].suffix}" if FORMATS[kind].one_file else out
        convert_labels(found, root, out, kind, lossy=True, copy_pictures=True)
        scan, _ = DATASET.scan(out)
        assert scan.problems == []
        assert scan.notes in ([], [note for note in scan.notes if "at (-1, -1)" in note])
        yield [replace(face, key=face.key.partition("#")[0]) for face in scan.items]


def held(found: list[Annotation], kind: str) -> list[Annotation]:
    """The faces without what the format cannot hold."""
    form = FORMATS[kind]
    if not form.several:
        largest: dict[str, Annotation] = {}
        for face in found:
            size = float((face.box[2:] - face.box[:2]).prod())
            best = largest.get(face.key)
            if best is None or size > float((best.box[2:] - best.box[:2]).prod()):
                largest[face.key] = face
        found = list(largest.values())
    kept = []
    for face in found:
        points = face.points if form.fractions else np.rint(face.points)
        box = face.box if form.boxes else face.scheme.face_boxes(points)
        if not form.fractions:
            box = np.concatenate([np.floor(box[:2]), np.ceil(box[2:])])
        visible = face.visible if form.hidden else ~np.isnan(points).any(axis=1)
        kept.append(replace(face, points=points, box=box, visible=visible))
    return kept


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=25)
@given(data=st.data())
def test_faces_survive_the_way_through_a_file(folder: Path, kind: str, data: st.DataObject) -> None:
    found = faces(data, folder)
    with written(found, folder, kind) as read:
        expected = held(found, kind)
        assert [face.key for face in read] == [face.key for face in expected]
        for got, face in zip(read, expected, strict=True):
            assert got.scheme == face.scheme
            # Three decimals of .pts, and float32 at a few hundred pixels.
            np.testing.assert_allclose(got.points, face.points, atol=6e-4)
            np.testing.assert_allclose(got.box, face.box, atol=6e-4)
            np.testing.assert_array_equal(got.visible, face.visible)


@settings(max_examples=25)
@given(data=st.data())
def test_what_is_lost_is_told_and_refused_else(folder: Path, data: st.DataObject) -> None:
    found = faces(data, folder)
    for kind, form in FORMATS.items():
        same = [
            len(found) == len(held(found, kind)),
            *(
                np.array_equal(a.points, b.points, equal_nan=True) and np.array_equal(a.visible, b.visible)
                for a, b in zip(found, held(found, kind), strict=False)
            ),
            form.boxes or all(np.allclose(face.box, face.scheme.face_boxes(face.points)) for face in found),
            form.missing or not any(np.isnan(face.points).any() for face in found),
        ]
        told = list(losses(found, form))
        assert bool(told) == (not all(same)) or not form.fractions
        if told:
            with tempfile.TemporaryDirectory() as place:
                out = Path(place, "labels" + (form.suffix if form.one_file else ""))
                with pytest.raises(ConfigError, match="cannot hold .* Give --lossy"):
                    convert_labels(found, folder, out, kind)
                assert not out.exists()
