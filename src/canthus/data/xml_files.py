"""Elements of an xml file, read one by one within bounds on size and depth.

A file with a document type is refused, so that no entity can grow or name a file.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import final
from xml.parsers import expat

from canthus.data.formats import MAX_TEXT
from canthus.data.label_files import finite_number
from canthus.errors import DataError

_AT_ONCE, _START, _DEEPEST, _MOST = 1_000_000, 65_536, 50, 1_000_000
"""Bytes parsed at once; bytes in which the outermost element must begin; most levels; most elements in a wanted one."""


@final
@dataclass(frozen=True)
class Element:
    """One element of an xml file, and the line that it begins in."""

    tag: str
    attributes: dict[str, str]
    line: int
    children: list["Element"] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def text_of(self, tag: str) -> str:
        """The text of the first child called so; empty where there is none."""
        return next(("".join(child.texts) for child in self.children if child.tag == tag), "")

    def number(self, name: str) -> float:
        """A finite number among the attributes.

        Raises:
            DataError: it is missing, or something else.
        """
        return finite_number(self.attributes.get(name, ""), f"{name!r} in <{self.tag}>")

    def descendants(self, tag: str) -> Iterator["Element"]:
        """All elements below this one that are called so."""
        for child in self.children:
            if child.tag == tag:
                yield child
            yield from child.descendants(tag)


@final
class _Pieces:
    """Collects some elements of an xml file while it is parsed."""

    def __init__(self, tags: Collection[str]) -> None:
        self.tags = tags
        self.root = ""
        self.done: list[Element] = []
        self._open: list[Element] = []
        self._kept = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def _doctype(self, *_: object) -> None:
        raise DataError("has a document type (<!DOCTYPE), which no file of labels needs; remove it")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self.root = self.root or tag
        if len(self._open) >= _DEEPEST:
            raise DataError(f"line {self.parser.CurrentLineNumber} is nested deeper than any file of labels")
        self._open.append(Element(tag, attributes, self.parser.CurrentLineNumber))

    def _end(self, _: str) -> None:
        element = self._open.pop()
        if piece := self._piece():
            self._open[-1].children.append(element)
            self._kept += 1
            if self._kept > _MOST:
                raise DataError(
                    f"line {element.line}: more than {_MOST:,} elements in one <{piece}>, which are no labels"
                )
        elif element.tag in self.tags:
            self.done.append(element)
            self._kept = 0

    def _text(self, text: str) -> None:
        if self._piece():
            self._open[-1].texts.append(text)

    def _piece(self) -> str:
        """The outermost open element that is wanted; empty where none is."""
        return next((outer.tag for outer in self._open if outer.tag in self.tags), "")


def xml_root(path: Path) -> str:
    """Name of the outermost element of an xml file; empty where it has none, or cannot be read."""
    pieces = _Pieces(())
    try:
        with path.open("rb") as file:
            pieces.parser.Parse(file.read(_START), False)
    except (OSError, ValueError, LookupError, DataError, expat.ExpatError):
        pass  # whoever reads the file says what is wrong with it
    return pieces.root


def xml_elements(path: Path, tags: Collection[str]) -> Iterator[Element]:
    """The outermost elements of an xml file that are called by one of some names, in their order, one at a time.

    Raises:
        DataError: it cannot be read, is too large, is not xml, or has a document type.
    """
    pieces, size = _Pieces(tags), 0
    try:
        with path.open("rb") as file:
            while data := file.read(_AT_ONCE):
                size += len(data)
                if size > MAX_TEXT:
                    raise DataError(f"is longer than {MAX_TEXT / 1e6:.0f} MB, which is no file of labels")
                pieces.parser.Parse(data, False)
                yield from pieces.done
                pieces.done.clear()
        pieces.parser.Parse(b"", True)
        yield from pieces.done
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except expat.ExpatError as error:
        raise DataError(f"{path}:{error.lineno}: not xml ({expat.ErrorString(error.code)})") from error
    except (ValueError, LookupError, DataError) as error:  # an unknown encoding; what the handlers refuse
        raise DataError(f"{path}: {error}") from error
