"""CelebA-HQ: 30,000 pictures of one face each, with a file of points that a landmark network made.

Layout: pictures ``0.jpg`` to ``29999.jpg`` (or ``.png``, with or without leading zeros) in ``CelebA-HQ-img``, and
beside that folder ``points.csv`` or ``points.txt``: a line a picture, its name and 136 numbers x0 y0 ... x67 y67 in
pixels counted from zero, parted by commas or blanks; what ``canthus data label`` writes.  The set has no such points.

The MobileNet-L paper (2025) divides the pictures 29,500 / 200 / 300 and does not say which are which; here the parts
follow the numbers.  Karras et al. (2018), "Progressive Growing of GANs".
"""

from pathlib import Path

import numpy as np

from canthus.data.datasets import Dataset
from canthus.data.problems import DAMAGED, Problem, Scan, readable
from canthus.errors import DataError
from canthus.geometry import hull_box
from canthus.lookup import lookup
from canthus.schemes import IBUG_68
from canthus.types import Annotation

IMAGES = "CelebA-HQ-img"
POINT_FILES = ("points.csv", "points.txt")
PARTS = {"train": range(29_500), "validation": range(29_500, 29_700), "test": range(29_700, 30_000)}
"""Part -> numbers of its pictures."""

SPLITS = {"train": "train", "validation": "validation", "test": "test", "fit": "train"}
"""Split -> part; ``fit`` is another name of ``train``, beside which ``validation`` has pictures of its own."""

_SUFFIXES = (".jpg", ".png")


def read_celeba_hq(root: Path, split: str) -> list[Annotation]:
    """Read one split, sorted by key.

    Raises:
        ConfigError: unknown split.
        DataError: the file of points is not there, a line is damaged, or a picture is missing.
    """
    part = lookup(SPLITS, split, kind="split of celeba_hq")
    faces = readable(scan_celeba_hq(root), name="celeba_hq", root=root)
    return [face for face in faces if face.subset == part]


def points_path(root: Path) -> Path:
    """The file of points.

    Raises:
        DataError: there is none.
    """
    for name in POINT_FILES:
        if (root / name).is_file():
            return root / name
    raise DataError(
        f"{root}: expected {' or '.join(POINT_FILES)} beside {IMAGES}; CelebA-HQ has no points of its own, "
        f"'canthus data label {root / IMAGES} --out {root / POINT_FILES[0]}' makes them"
    )


def scan_celeba_hq(root: Path) -> Scan:
    """Every face of the set, and every line that is no face.

    Raises:
        DataError: the file of points is not there or cannot be read.
    """
    path = points_path(root)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    faces: dict[str, Annotation] = {}
    problems: list[Problem] = []
    for number, line in enumerate(lines, start=1):
        fields = line.replace(",", " ").split()
        if not fields or (number == 1 and fields[0] == "image"):
            continue
        try:
            face = _annotation(root / IMAGES, fields)
            if face.key in faces:
                raise DataError(f"a second line for {face.key}")
            faces[face.key] = face
        except DataError as error:
            problems.append(Problem(DAMAGED, f"{path.name}:{number}", str(error)))
    return Scan(sorted(faces.values(), key=lambda face: face.key), problems)


def _annotation(images: Path, fields: list[str]) -> Annotation:
    name = Path(fields[0]).name
    stem = Path(name).stem
    if len(fields) != 1 + 2 * IBUG_68.count or not stem.isdigit():
        raise DataError(
            f"expected a number as the picture's name and {2 * IBUG_68.count} coordinates, found {name!r} and "
            f"{len(fields) - 1} fields"
        )
    part = next((part for part, numbers in PARTS.items() if int(stem) in numbers), None)
    if part is None:
        raise DataError(f"CelebA-HQ ends at 29999, found {name}")
    try:
        points = np.array(fields[1:], np.float64).astype(np.float32).reshape(-1, 2)
    except ValueError as error:
        raise DataError(f"expected numbers: {error}") from error
    if not np.isfinite(points).all():
        raise DataError("expected finite numbers, found inf or nan")
    path = next((p for s in _SUFFIXES if (p := images / f"{stem}{s}").is_file()), None)
    if path is None:
        raise DataError(f"{IMAGES}/{name} is not there")
    key = f"{int(stem):05d}"
    seen = np.ones(len(points), np.bool_)
    return Annotation(key, path, points, IBUG_68, hull_box(points), seen, group=key, subset=part)


DATASET = Dataset(splits=tuple(SPLITS), faces=lambda root, split, _: read_celeba_hq(root, split), scheme=IBUG_68.name)
