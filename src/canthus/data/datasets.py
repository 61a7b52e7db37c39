"""What the package knows of one dataset: how it is read, divided, checked and reported."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, TypeVar, final

import numpy as np
from jaxtyping import Bool, Float32

from canthus.data.splits import Grouped, parse_fold, split_by_group
from canthus.errors import ConfigError, DataError, printable
from canthus.geometry import BoxHabit, hull_box
from canthus.lookup import lookup
from canthus.plain_data import checked_name
from canthus.schemes import Scheme
from canthus.types import Annotation, Scene

_log = logging.getLogger(__name__)

UNLABELLED = "picture without points"
"""Kind of a picture that no label names.  Readers leave such pictures out with a warning."""
DAMAGED = "damaged label"
NO_PICTURE, NO_SCENE = "points without picture", "label without picture"
"""Kinds of a label whose picture is missing: of landmarks, and of boxes."""

SHOWN = 20
"""How many problems an error message, or notes of one kind, list."""

Progress = Callable[[int, int], None]
"""Called with the number of pictures done and the number of all pictures."""

Label = TypeVar("Label")
Read = TypeVar("Read")


@final
@dataclass(frozen=True)
class Problem:
    """One error in a dataset.

    Attributes:
        kind: short name of the error, the same for all errors of that sort.
        where: file, ``file:line`` or key of the face.
        message: what was found and what was expected.
    """

    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@final
class LabelError(DataError):
    """One label cannot be used."""

    def __init__(self, message: str, *, kind: str = DAMAGED) -> None:
        super().__init__(message)
        self.kind = kind


def read_labels(
    labels: Iterable[tuple[str, Label]], read: Callable[[Label], Read], problems: list[Problem]
) -> Iterator[Read]:
    """Read each label, given after its place (``file:line``), and add a problem for each that raises ``DataError``."""
    for where, label in labels:
        try:
            yield read(label)
        except DataError as error:
            kind = error.kind if isinstance(error, LabelError) else DAMAGED
            problems.append(Problem(kind, where, str(error)))


def damaged(path: Path, key: str, error: DataError) -> Problem:
    """Turn an error whose message begins with ``path``, and perhaps a line number, into a problem at ``key``."""
    line, _, message = str(error).removeprefix(str(path)).partition(": ")
    return Problem(DAMAGED, f"{key}{line}", message)


@final
@dataclass(frozen=True)
class Scan(Generic[Grouped]):
    """What the labels of a dataset hold, before any picture is opened.

    Attributes:
        items: the faces or scenes that can be read.
        problems: everything that cannot.
        notes: remarks that are no problems.
    """

    items: list[Grouped]
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)


def unique_keys(items: Iterable[Grouped]) -> list[Grouped]:
    """Number the second and later items with the same key, such as several faces of one picture: ``key#2``."""
    times: Counter[str] = Counter()
    numbered = []
    for item in items:
        times[item.key] += 1
        count = times[item.key]
        numbered.append(item if count == 1 else replace(item, key=f"{item.key}#{count}"))
    return numbered


def hull_face(
    key: str,
    path: Path,
    points: Float32[np.ndarray, "k 2"],
    scheme: Scheme,
    *,
    group: str,
    subset: str,
    attributes: Mapping[str, bool] | None = None,
) -> Annotation:
    """A face with all points visible and the hull of its points as its box."""
    visible = np.ones(len(points), np.bool_)
    return Annotation(key, path, points, scheme, hull_box(points), visible, group, subset, attributes or {})


def boxes_scene(
    key: str,
    path: Path,
    boxes: Float32[np.ndarray, "n 4"],
    habit: BoxHabit,
    *,
    group: str,
    subset: str = "",
    points: Float32[np.ndarray, "n 5 2"] | None = None,
    ignored: Bool[np.ndarray, " n"] | None = None,
    labels: tuple[str, ...] = (),
) -> Scene:
    """A picture in which every face has a box; without points, ignored faces or labels unless they are given."""
    n = len(boxes)
    return Scene(
        key=key,
        path=path,
        boxes=boxes,
        points=np.full((n, 5, 2), np.nan, np.float32) if points is None else points,
        ignored=np.zeros(n, np.bool_) if ignored is None else ignored,
        labels=labels or ("",) * n,
        complete=True,
        habit=habit,
        group=group,
        subset=subset,
    )


def _warn(root: Path, found: Scan[Any]) -> None:
    """Tell of pictures without labels and of notes, for readers that do not print them."""
    if found.problems:
        _log.warning("%s: %d pictures have no label and are left out", printable(str(root)), len(found.problems))
    for note in found.notes[:SHOWN]:
        _log.warning("%s", printable(f"{root}: {note}"))


@final
@dataclass(frozen=True)
class PartCount:
    """How many faces of one part of a dataset were found.

    Attributes:
        name: the part, as papers call it.
        faces: labelled faces found.
        published: faces in the published set; None for a folder of one's own.
        within: the part that already counts these faces; None where no other does.
    """

    name: str
    faces: int
    published: int | None = None
    within: str | None = None

    @property
    def status(self) -> str:
        """``complete``, ``partial``, ``absent``, ``larger`` than published, or ``counted`` where nothing is known."""
        if self.published is None:
            return "counted"
        if self.faces == self.published:
            return "complete"
        if self.faces == 0:
            return "absent"
        return "partial" if self.faces < self.published else "larger"


@final
@dataclass(frozen=True)
class Protocol:
    """How errors on a dataset are reported.

    Attributes:
        error: the number of ``FaceError`` that is compared.
        scale: the length that this error is divided by, in words.
        short: the same in a word or two, for captions of pictures and the columns of the error table.
        threshold: error above which a face counts as failed; a fraction.
        visible_only: whether hidden points are left out of every error.
    """

    error: str
    scale: str
    short: str
    threshold: float
    visible_only: bool = False


USUAL = Protocol("nme_ion", "inter-ocular distance", "ION", 0.08)
"""The protocol of most datasets."""
SCALES = {
    "ion": USUAL,
    "ipn": Protocol("nme_ipn", "inter-pupil distance", "IPN", 0.08),
    "box": Protocol("nme_box", "size of the face box, sqrt(w h)", "size", 0.07),
    "diagonal": Protocol("nme_diagonal", "diagonal of the face box", "diagonal", 0.05),
    "longer": Protocol("nme_longer", "longer side of the face box", "side", 0.07),
}
"""The protocols that an evaluation may ask for by their scale."""
WITHOUT_EYES = "longer"
"""Scale for schemes without eye corners, which have no inter-ocular distance."""


def _sizes(items: Sequence[Annotation] | Sequence[Scene], part_of: Callable[[Any], str]) -> Counter[str]:
    """Number of faces in each part."""
    sizes: Counter[str] = Counter()
    for item in items:
        sizes[part_of(item)] += len(item.boxes) if isinstance(item, Scene) else 1
    return sizes


@final
@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset.

    Attributes:
        name: how commands and recipes call it.
        parts: split -> the parts of the set (files or folders) that it reads.  Where ``fit`` and ``validation`` read
            the same parts, they divide them 9 to 1 by group.  A split named like an attribute of the faces holds the
            faces that have it.
        scan_faces: ``scan_faces(root, parts)`` reads landmarks; None for a set without landmarks.  It raises
            ``DataError`` where a file of labels is missing; a label that cannot be read becomes a problem of the scan.
        scan_scenes: the same for whole pictures with the boxes of all faces.
        faces_as_scenes: whether a set without ``scan_scenes`` trains face detectors by the hulls of its landmarks.
        scheme: name of the set's own scheme; None where the files decide.
        published: part -> number of faces in the published set.
        part_of: the key of ``published`` that a face or scene counts for.
        is_there: ``is_there(root, part)``: whether a check reads a part; None for all parts.
        count_subsets: counts parts that lie within other parts.
        folds: the split that cross-validation divides by group, as ``fold-1-of-3-train`` and ``fold-1-of-3-test``.
        default_splits: splits that an evaluation of landmarks tries where none is named; it takes the first of them
            that the folder holds.
        default_scene_split: the split that an evaluation of detectors takes where none is named.
        protocol: how errors of landmarks are reported.
        unions: split -> name -> subsets that papers report together beside the whole split.
    """

    name: str
    parts: Mapping[str, tuple[str, ...]]
    scan_faces: Callable[..., Scan[Annotation]] | None = None
    scan_scenes: Callable[[Path, Sequence[str]], Scan[Scene]] | None = None
    faces_as_scenes: bool = False
    scheme: str | None = None
    published: Mapping[str, int] = field(default_factory=dict)
    part_of: Callable[[Any], str] = attrgetter("subset")
    is_there: Callable[[Path, str], bool] | None = None
    count_subsets: Callable[[Path, Scan[Any]], list[PartCount]] | None = None
    folds: str = "train"
    default_splits: tuple[str, ...] = ()
    default_scene_split: str = "validation"
    protocol: Protocol = USUAL
    unions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_name(self.name, what="dataset")

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits."""
        return tuple(self.parts)

    def faces(self, root: Path, split: str, *, scheme: str | Scheme | None = None) -> list[Annotation]:
        """Read the faces of a split or fold, sorted by key.

        Args:
            root: folder of the dataset.
            split: a split, or a fold such as ``fold-1-of-3-test``.
            scheme: scheme of the files, for a set without a scheme of its own.

        Raises:
            ConfigError: unknown split, or a set without landmarks.
            DataError: labels are missing or damaged; the message lists the first problems.
        """
        if self.scan_faces is None:
            raise ConfigError(f"{self.name} has boxes of faces and no landmarks")
        scan = self.scan_faces if scheme is None else partial(self.scan_faces, scheme=scheme)
        return [face for face in self._read(scan, root, split) if face.attributes.get(split, True)]

    def scenes(self, root: Path, split: str) -> list[Scene]:
        """Read the pictures of a split or fold with all their faces, sorted by key; raises as ``faces`` does."""
        if self.scan_scenes is None:
            raise ConfigError(f"{self.name} has landmarks of single faces and no labelled pictures")
        return self._read(self.scan_scenes, root, split)

    def _read(self, scan: Callable[..., Scan[Grouped]], root: Path, split: str) -> list[Grouped]:
        fold = None if split in self.parts else parse_fold(split)
        parts = lookup(self.parts, split if fold is None else self.folds, kind=f"split of {self.name}")
        found = scan(root, parts)
        problems: list[Problem] = [problem for problem in found.problems if problem.kind != UNLABELLED]
        if problems:
            told = [str(problem) for problem in problems[:SHOWN]]
            if len(problems) > SHOWN:
                check = f"canthus data check {self.name} {root}"
                told.append(f"and {len(problems) - SHOWN} more; '{check}' lists them all")
            raise DataError(f"{root}: {counted(len(problems), 'problem')}: {'; '.join(told)}")
        if not found.items:
            raise DataError(f"{root}: the labels of {self.name} hold no face; expected at least one")
        _warn(root, found)
        sizes, published = _sizes(found.items, self.part_of), sum(self.published.get(part, 0) for part in parts)
        if published not in (0, sizes.total()):
            _log.info("%s: %d faces; the published parts behind '%s' hold %d", root, sizes.total(), split, published)
        items = sorted(unique_keys(found.items), key=attrgetter("key"))
        if fold is not None:
            return fold.faces(items)
        if split in ("fit", "validation") and self.parts["fit"] == self.parts["validation"]:
            return split_by_group(items)[split == "validation"]
        return items

    def scan(self, root: Path, *, scheme: str | Scheme | None = None) -> tuple[Scan[Any], list[PartCount]]:
        """Scan all parts that are there, and count their faces: of landmarks, or of scenes where there are none.

        Raises:
            DataError: ``root`` lacks the dataset's layout altogether.
        """
        every = list(dict.fromkeys(part for parts in self.parts.values() for part in parts))
        # Without any part the reader is asked for all of them, and its error names what is missing.
        parts = [part for part in every if self.is_there is None or self.is_there(root, part)] or every
        scan: Callable[..., Scan[Any]] = self.scan_faces or self.scan_scenes or (lambda root, parts: Scan([], []))
        found = scan(root, parts) if scheme is None else scan(root, parts, scheme=scheme)
        found = replace(found, items=sorted(unique_keys(found.items), key=attrgetter("key")))
        sizes = _sizes(found.items, self.part_of)
        counts = [PartCount(part, sizes[part], published) for part, published in self.published.items()]
        counts = counts or [PartCount(root.name, len(found.items))]
        return found, counts + (self.count_subsets(root, found) if self.count_subsets else [])


def counted(number: int, word: str) -> str:
    """``1 problem`` or ``2 problems``."""
    return f"{number} {word}{'' if number == 1 else 's'}"
