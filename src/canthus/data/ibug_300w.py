"""300-W (Sagonas et al., 2013 and 2016): 68 points on AFW, HELEN, LFPW, iBUG and the private test set.

The official layout is ``afw/``, ``helen/{trainset,testset}/``, ``lfpw/{trainset,testset}/``, ``ibug/`` and, for the
private test, ``300W/01_Indoor/`` and ``300W/02_Outdoor/``: each picture beside its ``.pts`` file.  Case of the folder
names does not matter.  Mirrored copies (``*_mirror.*``), which some downloads carry, are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from canthus.data.datasets import NO_PICTURE, UNLABELLED, Dataset, Problem, Scan, damaged, hull_face
from canthus.data.formats import read_pts
from canthus.errors import DataError
from canthus.schemes import IBUG_68
from canthus.types import Annotation

LFPW_COPIES = (
    (3, 52), (11, 44), (35, 53), (43, 317), (86, 118), (121, 122), (134, 140, 155), (154, 176), (163, 192), (164, 187),
    (188, 190), (251, 252), (279, 313, 321), (342, 343, 366), (344, 351), (345, 384), (349, 392), (374, 376),
    (407, 454), (413, 415, 445, 458), (419, 449), (436, 420), (439, 435), (453, 426), (482, 494, 503), (491, 516),
    (502, 518), (544, 548, 583), (573, 592, 598),
    (601, 617, 622, 623, 631, 633, 635, 639, 647, 648, 651, 658),
    (636, 641), (680, 698, 724), (682, 204, 704), (685, 719), (686, 727), (691, 692), (708, 710), (712, 683, 695, 730),
    (733, 743), (809, 825, 847), (816, 824, 856, 858), (827, 843),
)  # fmt: skip
"""Numbers of the files in ``lfpw/trainset``."""

HELEN_COPIES = ((1207662328, 1218567979),)
"""Numbers of the photos in ``helen/trainset``."""

_FIRST = {
    **{f"lfpw/trainset/image_{n:04d}": f"lfpw/trainset/image_{row[0]:04d}" for row in LFPW_COPIES for n in row},
    **{f"photo/{n}": f"photo/{row[0]}" for row in HELEN_COPIES for n in row},
}
"""Name of a photo -> its first name, for photos with several."""

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})


@final
@dataclass(frozen=True)
class Part:
    """One folder of the set.

    Attributes:
        name: as the papers call it.
        subset: the ``Annotation.subset`` of its faces.
        folders: places where downloads keep it, below the root; all that exist are read.
        official: number of faces in the published set.
        prefixes: beginnings of the file names, where the folder may hold other things.
    """

    name: str
    subset: str
    folders: tuple[str, ...]
    official: int
    prefixes: tuple[str, ...] = ("",)


AFW = Part("AFW", "afw", ("afw",), 337)
HELEN_TRAIN = Part("HELEN train", "helen", ("helen/trainset",), 2000)
HELEN_TEST = Part("HELEN test", "helen", ("helen/testset",), 330)
LFPW_TRAIN = Part("LFPW train", "lfpw", ("lfpw/trainset",), 811)
LFPW_TEST = Part("LFPW test", "lfpw", ("lfpw/testset",), 224)
IBUG = Part("iBUG", "ibug", ("ibug",), 135)
PRIVATE = Part(
    "private",
    "private",
    tuple(
        f"{above}{below}"
        for above in ("300w/", "test/", "private/", "300w_private/", "")
        for below in ("01_indoor", "02_outdoor", "indoor", "outdoor", "")
    ),
    600,
    ("indoor_", "outdoor_"),
)
PARTS = (AFW, HELEN_TRAIN, HELEN_TEST, LFPW_TRAIN, LFPW_TEST, IBUG, PRIVATE)


def _scan_faces(root: Path, parts: Sequence[str]) -> Scan[Annotation]:
    """Read every ``.pts`` file of some parts, given by name; a part whose folder is missing has none."""
    faces: list[Annotation] = []
    problems: list[Problem] = []
    chosen = [part for part in PARTS if part.name in parts]
    for part in chosen:
        files = list(_part_files(root, part))
        pictures = {path.with_suffix(""): path for path in files if path.suffix.lower() != ".pts"}
        labels = {path.with_suffix(""): path for path in files if path.suffix.lower() == ".pts"}
        for stem, label in labels.items():
            if stem not in pictures:
                problems.append(Problem(NO_PICTURE, _key(root, label), "no picture of that name beside it"))
                continue
            try:
                faces.append(_face(root, part, pictures[stem], label))
            except DataError as error:
                problems.append(damaged(label, _key(root, label), error))
        problems += [
            Problem(UNLABELLED, _key(root, picture), "no .pts file of that name beside it")
            for stem, picture in pictures.items()
            if stem not in labels
        ]
    if not faces and not problems:
        raise DataError(_nothing_found(root, chosen))
    return Scan(faces, problems)


def _nothing_found(root: Path, parts: Sequence[Part]) -> str:
    """The message for a root that holds no file of some parts."""
    if not root.is_dir():
        return f"{root}: no such folder; expected the root of 300-W, holding afw/, helen/, lfpw/ or ibug/"
    wanted = ", ".join(f"{part.folders[0]}/" for part in parts)
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    inside = [path for path in folders if any(_folder(path, part.folders[0]) for part in parts)]
    found = ", ".join(f"{path.name}/" for path in folders[:8]) or "no folder"
    hint = f" Did you mean {inside[0]}?" if inside else ""
    return f"{root}: no face of 300-W; expected .pts files in {wanted}; found {found}.{hint}"


def _part_files(root: Path, part: Part) -> Iterator[Path]:
    """Every picture and ``.pts`` file of a part, mirrored copies left out."""
    seen: set[Path] = set()
    for name in part.folders:
        folder = _folder(root, name)
        if folder is None or folder in seen:
            continue
        seen.add(folder)
        for path in sorted(folder.iterdir()):
            wanted = path.suffix.lower() in {*PICTURE_SUFFIXES, ".pts"}
            if wanted and path.name.lower().startswith(part.prefixes) and not path.stem.endswith("_mirror"):
                yield path


def photo(part: Part, stem: str) -> str:
    """Name of the photo that a face was cut from; a split must not divide faces of one photo.

    AFW and HELEN name files ``<photo>_<face>`` with the photo's number at the site both were collected from, so
    the two share one space of names.  iBUG names files ``image_<photo>_<face>``.  LFPW and the private set hold one
    face a file, but LFPW holds some photos several times (``LFPW_COPIES``).
    """
    if part.subset in ("afw", "helen"):
        name = f"photo/{stem.rpartition('_')[0] or stem}"
    elif part.subset == "ibug":
        name = f"ibug/{(stem.rpartition('_')[0] or stem).strip()}"
    else:
        name = f"{part.folders[0] if part.subset == 'lfpw' else part.subset}/{stem}"
    return _FIRST.get(name, name)


def _face(root: Path, part: Part, picture: Path, label: Path) -> Annotation:
    points = read_pts(label)
    if len(points) != IBUG_68.count:
        raise DataError(f"{label}: expected {IBUG_68.count} points, found {len(points)}")
    group = photo(part, picture.stem)
    return hull_face(_key(root, picture), picture, points, IBUG_68, group=group, subset=part.subset)


def _part_of(face: Annotation) -> str:
    """Name of the part that a face comes from: of HELEN and LFPW, the folder in its key."""
    return next((part for part in PARTS if face.key.lower().startswith(f"{part.folders[0]}/")), PRIVATE).name


def _key(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _folder(root: Path, name: str) -> Path | None:
    """``root/name`` whatever the case of its folders, or None."""
    folder = root
    for wanted in filter(None, name.split("/")):
        matches = sorted(path for path in folder.iterdir() if path.name.lower() == wanted) if folder.is_dir() else []
        if not matches:
            return None
        folder = matches[0]
    return folder if folder.is_dir() else None


_TRAIN = ("AFW", "HELEN train", "LFPW train")

DATASET = Dataset(
    name="300w",
    parts={
        **dict.fromkeys(("train", "fit", "validation"), _TRAIN),
        "common": ("HELEN test", "LFPW test"),
        "challenging": ("iBUG",),
        "full": ("HELEN test", "LFPW test", "iBUG"),
        "private": ("private",),
    },
    scan_faces=_scan_faces,
    faces_as_scenes=True,
    scheme=IBUG_68.name,
    published={part.name: part.official for part in PARTS},
    part_of=_part_of,
    default_splits=("full", "common", "challenging", "validation"),
    unions={"full": {"common": ("helen", "lfpw"), "challenging": ("ibug",)}},
)
"""``fit`` and ``validation`` divide the training faces by photo."""
