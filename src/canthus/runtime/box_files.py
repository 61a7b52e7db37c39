"""Face boxes that another detector or a person found, read from JSON, CSV or files as for WIDER FACE."""

import csv
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any, final

import numpy as np

from canthus.errors import DataError
from canthus.geometry import FAR, outside
from canthus.runtime.downloads import sha256
from canthus.types import Faces, Image

COLUMNS = ("image", "x1", "y1", "x2", "y2")


@final
class BoxFile:
    """Boxes of several pictures.

    Args:
        faces: faces by the name of the picture in the file.
        source: path of the file, or of the folder of files.
        min_score: faces of a lower score are left out; None for none.
    """

    def __init__(self, faces: Mapping[str, Faces], *, source: Path, min_score: float | None = None) -> None:
        least = -np.inf if min_score is None else min_score
        self.faces = {name: Faces(f.boxes[f.scores >= least], f.scores[f.scores >= least]) for name, f in faces.items()}
        self.source, self.min_score = source, min_score
        self._folder = source if source.is_dir() else source.parent
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for name in self.faces:
            for last in {PurePath(name).name, PureWindowsPath(name).name}:
                self._by_name[last].append(name)

    def sha256(self) -> str:
        """Hash of the file, or of all files of the folder, as they are now."""
        if not self.source.is_dir():
            return sha256(self.source)
        return hashlib.sha256("".join(map(sha256, sorted(self.source.rglob("*.txt")))).encode()).hexdigest()

    def _candidates(self, path: Path) -> tuple[Path, list[str]]:
        """The name to look for and the entries that may fit; WIDER FACE may leave the suffix of a picture out."""
        if path.name in self._by_name:
            return path, self._by_name[path.name]
        return path.with_suffix(""), self._by_name.get(path.stem, [])

    def faces_in(self, image: Image, picture: str | os.PathLike[str]) -> Faces:
        """The boxes of a picture, as ``find`` finds them, checked against its pixels.

        Raises:
            DataError: no entry, several that fit equally well, or a box that lies outside the picture.
        """
        faces = self.find(picture)
        height, width = image.shape[:2]
        for index in np.flatnonzero(outside(faces.boxes, width, height)):
            raise DataError(
                f"{os.fspath(picture)}: box {faces.boxes[index].tolist()} of {self.source} lies outside the picture of "
                f"{width} x {height} pixels"
            )
        return faces

    def find(self, picture: str | os.PathLike[str]) -> Faces:
        r"""Find the boxes of a picture.

        An entry belongs to the picture if it names the same file, read from the current folder or from the folder of
        the box file, or else if it is the end of the picture's path (``b.jpg`` or ``a/b.jpg`` for ``/photos/a/b.jpg``).
        An entry without the suffix of the picture fits where none with it does.
        A name with backslashes is also read as a Windows path.  Where the whole of it is an absolute Windows path, such
        as ``C:\photos\b.jpg``, the entry whose end agrees in most parts is taken.

        Raises:
            DataError: no entry, or several that fit equally well.
        """
        path, candidates = self._candidates(Path(picture))
        for name in candidates:
            if path.resolve() in (Path(name).resolve(), (self._folder / name).resolve()):
                return self.faces[name]
        shared = {name: _shared_end(name, path.absolute()) for name in candidates}
        ends = [name for name in candidates if shared[name]]
        if not ends:
            raise DataError(
                f"{os.fspath(picture)}: {self.source} has no entry for this picture; "
                "one without faces needs an entry too: an empty list in JSON, a count of 0 in a file as for WIDER FACE"
            )
        longest = max(shared.values())
        best = sorted(name for name in ends if shared[name] == longest)
        if len(best) > 1:
            raise DataError(f"{os.fspath(picture)}: {self.source} has several entries that fit: {', '.join(best)}")
        return self.faces[best[0]]


def read_boxes(path: str | os.PathLike[str], *, min_score: float | None = None) -> BoxFile:
    """Read a file of face boxes, or a folder of such files for single pictures.

    JSON as ``canthus detect --json`` writes it, a list of ``{"image", "faces": [{"box": [x1, y1, x2, y2], "score"}]}``;
    other fields are ignored and ``score`` may be absent.  Or CSV as ``--csv`` writes it, one row a face under a
    header with ``image, x1, y1, x2, y2`` and optionally ``score``.  Or ``.txt`` as detectors such as RetinaFace write
    it for WIDER FACE: the name of the picture, with or without suffix, the number of faces, and for each a line ``x y w
    h score``; a folder holds one such file for each picture, ``EVENT/PICTURE.txt``.  Coordinates are pixels of the
    upright picture.

    Args:
        min_score: faces of a lower score are left out; None for none.

    Raises:
        DataError: the file is missing or malformed, or a box has no area.
    """
    path = Path(path)
    return BoxFile(_read(path), source=path, min_score=min_score)


def _read(path: Path) -> dict[str, Faces]:
    if path.is_dir():
        return _from_folder(path)
    text = _text(path)
    if text.lstrip().startswith(("[", "{")):
        return _from_json(text, path)
    wider = path.suffix.lower() == ".txt" and "," not in text.lstrip().partition("\n")[0]  # .txt may hold CSV too
    return _from_wider(text, path) if wider else _from_csv(text, path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _from_folder(folder: Path) -> dict[str, Faces]:
    """Boxes of a folder with one file for each picture; the folders of the files are those of the pictures."""
    found: dict[str, Faces] = {}
    for path in sorted(folder.rglob("*.txt")):
        for name, faces in _from_wider(_text(path), path).items():
            inside = str(path.parent.relative_to(folder) / PurePath(name).name)
            if inside in found:
                raise DataError(f"{path}: {inside} was listed before")
            found[inside] = faces
    if not found:
        raise DataError(
            f"{folder}: holds no boxes; expected files EVENT/PICTURE.txt: name, count, lines 'x y w h score'"
        )
    return found


def _from_wider(text: str, path: Path) -> dict[str, Faces]:
    """Boxes as for WIDER FACE: for each picture its name, a count, and that many lines ``x y w h [score]``."""
    lines = [(f"{path}:{number}", line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    found: dict[str, Faces] = {}
    place = 0
    while place < len(lines):
        where, name = lines[place]
        count = lines[place + 1][1] if place + 1 < len(lines) else "nothing"
        if not count.isdecimal():
            raise DataError(
                f"{where}: expected the name of a picture and below it the number of its faces, found {count!r}"
            )
        rows = lines[place + 2 : place + 2 + int(count)]
        if len(rows) < int(count):
            raise DataError(
                f"{where}: {name} has {count} faces, found {len(rows)} lines 'x y w h score'; the file is cut"
            )
        if name in found:
            raise DataError(f"{where}: {name} was listed before")
        found[name] = _faces([_wider_row(line.split(), at) for at, line in rows])
        place += 2 + int(count)
    return found


def _wider_row(fields: list[str], where: str) -> list[float]:
    if len(fields) not in (4, 5):
        raise DataError(f"{where}: expected 'x y w h score', found {' '.join(fields)[:80]!r}")
    try:
        x, y, w, h, *score = (float(field) for field in fields)
    except ValueError as error:
        raise DataError(f"{where}: a box or score is no number ({error})") from error
    return _checked_row([x, y, x + w, y + h, *(score or [1.0])], where)


def _from_json(text: str, path: Path) -> dict[str, Faces]:
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    if not isinstance(entries, list):
        raise DataError(f"{path}: expected a list of pictures, found {type(entries).__name__}")
    found: dict[str, Faces] = {}
    for number, entry in enumerate(entries):
        where = f"{path}: entry {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise DataError(f'{where}: expected {{"image": "name", "faces": [...]}}, found {str(entry)[:80]}')
        if entry.get("error"):
            continue  # canthus detect could not read this picture
        if not isinstance(entry.get("faces"), list):
            raise DataError(f"{where} ({entry['image']}): expected a list 'faces', found {entry.get('faces')!r}")
        if entry["image"] in found:
            raise DataError(f"{where}: {entry['image']} was listed before")
        found[entry["image"]] = _faces([_json_row(face, where) for face in entry["faces"]])
    return found


def _json_row(face: Any, where: str) -> list[float]:
    box = face.get("box") if isinstance(face, dict) else None
    if not isinstance(box, list) or len(box) != 4:
        raise DataError(f'{where}: expected {{"box": [x1, y1, x2, y2]}}, found {str(face)[:80]}')
    return _checked_row([*box, face.get("score", 1.0)], where)


def _from_csv(text: str, path: Path) -> dict[str, Faces]:
    lines = csv.DictReader(text.splitlines())
    columns = [name.strip() for name in lines.fieldnames or ()]
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise DataError(f"{path}:1: the header lacks {', '.join(missing)}; expected {', '.join(COLUMNS)}[, score]")
    lines.fieldnames = columns
    rows: dict[str, list[list[float]]] = defaultdict(list)
    for line in lines:
        where = f"{path}:{lines.line_num}"
        if not line["image"]:
            raise DataError(f"{where}: the column 'image' is empty")
        values = [line[name] for name in COLUMNS[1:]]
        rows[line["image"]].append(_checked_row([*values, line.get("score") or 1.0], where))
    return {name: _faces(boxes) for name, boxes in rows.items()}


def _checked_row(values: Iterable[Any], where: str) -> list[float]:
    try:
        row = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: a box or score is no number ({error})") from error
    if not all(abs(value) < FAR for value in row):  # NaN is not below FAR either
        raise DataError(f"{where}: expected finite numbers below {FAR:g}; found box {row[:4]}")
    x1, y1, x2, y2 = np.array(row[:4], np.float32)  # as they are used: a tiny side has no area there
    if x2 <= x1 or y2 <= y1:
        raise DataError(f"{where}: expected x1 < x2 and y1 < y2; found box {row[:4]}")
    return row


def _faces(rows: Sequence[Sequence[float]]) -> Faces:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4])


def _shared_end(name: str, path: Path) -> int:
    """Number of parts in which an entry is the end of a path; 0 if it is not."""
    own = PurePath(name)
    if not own.is_absolute() and path.parts[-len(own.parts) :] == own.parts:
        return len(own.parts)
    windows = PureWindowsPath(name)
    parts = windows.parts[1:] if windows.drive else windows.parts
    same = [a == b for a, b in zip(reversed(parts), reversed(path.parts), strict=False)]
    count = same.index(False) if False in same else len(same)
    # A folder of another machine cannot be here, so an absolute path need not agree as a whole.
    return count if "\\" in name and (windows.drive or count == len(parts)) else 0
