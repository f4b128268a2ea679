"""The DICOM JSON model (PS3.18 annex F).

A data set is a dict from tags (eight upper-case hexadecimal digits) to elements, each a dict with
`vr` and, as it has a value, `Value`, `InlineBinary` or `BulkDataURI`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from typing import IO, Any

from dcmweb.dicom import json_fast
from dcmweb.dicom.json_numbers import parse_float
from dcmweb.errors import ProtocolError

Dataset = dict[str, Any]
Row = Mapping[str, Any]  # a data set of a search, which may be text

# Levels of arrays and objects; those of 64 sequences within each other.
DEEPEST = 200
MOST_VALUES = 20_000_000  # of JSON that is held in memory
_LONGEST_VALUE = 256 * 1024 * 1024  # characters of a data set in a stream
_PIECE = 256 * 1024
_HELD = 8 * 1024 * 1024  # bytes of an answer that is read as a whole
# NaN and Infinity, which some servers send although JSON has no such numbers, as PS3.18 section
# F.2.3 writes them.
_NO_NUMBERS = {"NaN": "NaN", "Infinity": "inf", "-Infinity": "-inf"}


_DECODER = json.JSONDecoder(parse_constant=_NO_NUMBERS.get, parse_float=parse_float)


def values(dataset: Row, tag: str) -> list[Any]:
    """Return the values of an element; none if it is absent, empty or malformed."""
    element = dataset.get(tag)
    found = element.get("Value") if isinstance(element, dict) else None
    return found if isinstance(found, list) else []


def first(dataset: Row, tag: str) -> Any:
    """Return the first value of an element, or None."""
    found = values(dataset, tag)
    return found[0] if found else None


def text(dataset: Row, tag: str) -> str:
    """Return the first value of an element as text without padding, "" if it has none."""
    value = first(dataset, tag)
    if type(value) is str:
        return value.strip("\0 ")
    return str(value).strip("\0 ") if isinstance(value, (str, int, float)) else ""


def number(dataset: Row, tag: str) -> int | None:
    """Return the first value of an element as an integer; some servers write IS and US as text."""
    value = first(dataset, tag)
    try:
        if isinstance(value, str) and not value.strip("\0 ").lstrip("+-").isdecimal():
            value = float(value)  # such as 2.0
        return int(value) if isinstance(value, (str, int, float)) else None
    except (ValueError, OverflowError):
        return None


def first_character(start: bytes) -> str:
    """Return the first character of JSON or XML, behind white space and a byte order mark.

    The text may be in UTF-8, UTF-16 or UTF-32 (RFC 8259 section 8.1); "" if there is none.
    """
    encoding = json.detect_encoding(start)
    return start.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")[:1]


def items(dataset: Row, tag: str) -> Iterator[Dataset]:
    """Yield the items of a sequence."""
    return (item for item in values(dataset, tag) if isinstance(item, dict))


def bulk_references(
    dataset: Dataset, prepared: Callable[[Dataset], Dataset] = dict
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield path and element of all that refers to bulk data: `TAG`, or `TAG/ITEM/TAG` in items.

    Items are counted from 1. Each data set is `prepared` before it is searched.
    """
    for tag, element in sorted(prepared(dataset).items()):
        if not isinstance(element, dict):
            continue
        if "BulkDataURI" in element:
            yield tag, element
        if element.get("vr") != "SQ":
            continue
        for number, item in enumerate(values({tag: element}, tag), start=1):
            if isinstance(item, dict):
                for path, found in bulk_references(item, prepared):
                    yield f"{tag}/{number}/{path}", found


def weight(body: bytes) -> int:
    """Return how many values JSON has at most, and nearly, by the characters between them."""
    return body.count(b"{") + body.count(b"[") + body.count(b",")


def is_deeper(value: Any, levels: int) -> bool:
    """Return True if arrays and objects are nested deeper than so many levels."""
    inside = [value]
    for _ in range(levels + 1):
        inside = [
            one
            for outer in inside
            if isinstance(outer, (dict, list))
            for one in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not inside:
            return False
    return True


def parse_json(body: bytes, most: int = MOST_VALUES) -> list[Dataset]:
    """Read DICOM JSON: an array of data sets, or, as some servers answer, a single one.

    Raises ProtocolError for anything else, and for more than so many values: each takes far more
    memory than the two or three bytes that it can be written in.
    """
    if weight(body) > most:
        raise ProtocolError("the answer is JSON with too many values")
    parsed = json_fast.decoded(body) if json_fast.is_worth_it(len(body)) else None
    try:
        if parsed is None:
            parsed = _DECODER.decode(body.decode(json.detect_encoding(body)))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the answer is not JSON: {error}") from None
    datasets = [parsed] if isinstance(parsed, dict) else parsed
    if not isinstance(datasets, list) or not all(isinstance(item, dict) for item in datasets):
        raise ProtocolError("the answer is JSON, but not DICOM JSON")
    return datasets


def read_json(file: IO[bytes]) -> Iterator[Dataset]:
    """Read DICOM JSON from a file, one data set at a time: metadata of many instances is large.

    It may begin with a byte order mark, and be in UTF-16 (RFC 8259 section 8.1).

    Raises ProtocolError if it is not DICOM JSON, even after some data sets.
    """
    start = b""
    most = min(_HELD, _LONGEST_VALUE)
    while len(start) < most and (piece := file.read(_PIECE)):
        start += piece
    datasets = 0
    if len(start) < most:
        for dataset in json_fast.elements(start):
            if not isinstance(dataset, dict):
                break  # to be told by json
            yield dataset
            datasets += 1
    encoding = json.detect_encoding(start)
    pieces = codecs.iterdecode(chain([start], iter(partial(file.read, _PIECE), b"")), encoding)
    try:
        for dataset in islice(_objects(pieces), datasets, None):
            if not isinstance(dataset, dict):
                raise ProtocolError("the answer is JSON, but not DICOM JSON")
            yield dataset
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"the answer is not JSON: {error}") from None


def _objects(pieces: Iterator[str]) -> Iterator[Any]:
    """Yield the elements of an array, or the one value there is."""
    scanner = _Scanner(pieces)
    start = scanner.skip_space()
    if start != "[":
        if start:
            yield _DECODER.decode(scanner.rest())
        return
    scanner.step()
    is_first = True
    while (char := scanner.next_character()) != "]":
        if not is_first:
            if char != ",":
                raise ValueError("a comma is missing")
            scanner.step()
            scanner.next_character()
        is_first = False
        yield scanner.value()
    scanner.step()
    if scanner.skip_space():
        raise ValueError("something follows its end")


_SPACE = re.compile(r"\s*")


class _Scanner:
    """Text that arrives in pieces, and the place in it that has been reached.

    What has been read is dropped only once it is the larger part, so that the time for many small
    values does not depend on how much text is there.
    """

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._at = 0

    def _more(self, wanted: int = 1) -> bool:
        """Read on, at least so many characters; False if nothing is left."""
        found = []
        while wanted > 0 and (piece := next(self._pieces, None)) is not None:
            found.append(piece)
            wanted -= len(piece)
        self._text = self._text[self._at :] + "".join(found)
        self._at = 0
        return bool(found)

    def step(self) -> None:
        """Go on by a character."""
        self._at += 1

    def skip_space(self) -> str:
        """Go to the next character that is not white space, and return it; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def next_character(self) -> str:
        """Go to the next character, as `skip_space` does; raise ValueError at the end."""
        if not (char := self.skip_space()):
            raise ValueError("it breaks off")
        return char

    def rest(self) -> str:
        """Return all that is left."""
        return self._text[self._at :] + "".join(self._pieces)

    def value(self) -> Any:
        """Read a value, with as much more text as it needs: twice as much at each attempt."""
        while True:
            try:
                value, self._at = _DECODER.raw_decode(self._text, self._at)
                return value
            except ValueError:
                held = len(self._text) - self._at
                if held > _LONGEST_VALUE or not self._more(held):
                    raise
