"""Rows of DICOM JSON that stay text: most of them are written as they came, their keys in order.

Only plain rows do: rows with nothing in them that would be written in another way than it came,
apart from white space, the order of keys and what is not ASCII.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

from dcmweb.dicom import json_fast
from dcmweb.dicom.json_model import MOST_VALUES, Dataset, Row, weight
from dcmweb.dicom.json_variants import as_dataset
from dcmweb.errors import ProtocolError

_TAG = re.compile("[0-9A-F]{8}")
_MOST_TAGS = 500  # of rows that are read at a time
_MOST_VARIETIES = 50  # of tags, in the answers to a search
_LONGEST = 4000  # bytes of a row; a longer one can hold an integer that Python does not read
# All but what is between values. Texts have no quotes in them where there are no backslashes.
_NO_STRUCTURE = bytes(set(range(256)) - set(b'{}[]:,"'))
_MOST_STRUCTURES = 1000
# Names whose groups are in order, as items of lists.
_NAME = re.compile(
    rb'\{"Alphabetic":"(?<=[\[,]\{"Alphabetic":")[^"{]*"'
    rb'(?:,"Ideographic":"[^"{]*")?(?:,"Phonetic":"[^"{]*")?\}'
)
# All but SQ: sequences are for data sets.
_Vr = Literal[
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OD", "OF",
    "OL", "OV", "OW", "PN", "SH", "SL", "SS", "ST", "SV", "TM", "UC", "UI", "UL", "UN",
    "UR", "US", "UT", "UV",
]  # fmt: skip


class TextRow(Row):
    """A row that is text, and a data set whose elements are read one by one when asked for."""

    __slots__ = ("parts", "text")

    def __init__(self, text: bytes, parts: Any) -> None:
        self.text = text  # without spaces, in ASCII, keys sorted
        self.parts = parts  # elements by their `attribute_of`, each with its `vr` and `Value`

    def __getitem__(self, tag: str) -> dict[str, Any]:
        vr, value = self.raw(tag)
        if not vr:
            raise KeyError(tag)
        return {"vr": vr, "Value": json_fast.decoded(value)} if value else {"vr": vr}

    def __iter__(self) -> Iterator[str]:
        names = (name[1:] for name in self.parts.__struct_fields__)
        return (tag for tag in names if self.raw(tag)[0])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def raw(self, tag: str) -> tuple[str, bytes]:
        """Return the VR of an element, and its values as they came; "" for what is not there."""
        part = getattr(self.parts, attribute_of(tag), None)
        if not part:
            return "", b""
        return part.vr, bytes(part.Value) if part.Value else b""

    def without(self, tag: str) -> bytes:
        """Return its text without an element."""
        part = getattr(self.parts, attribute_of(tag), None)
        if not part:
            return self.text
        written = json_fast.in_ascii(json_fast.encoder().encode(part))
        before, _, after = self.text.partition(b'"%b":%b' % (tag.encode(), written))
        return before + after[1:] if after.startswith(b",") else before.rstrip(b",") + after


def attribute_of(tag: str) -> str:
    """Name the attribute of the parts of a row that is an element; it may be absent, or unset."""
    return f"_{tag}"


def only_text(value: bytes) -> str | None:
    """Return the one text that is the value of an element; None for other values."""
    if value[:2] == b'["' and value[-2:] == b'"]' and value.count(b'"') == 2:
        return value[2:-2].decode()
    return None


class RowReader:
    """Reads answers to a search as rows that stay text. It remembers which tags these have."""

    def __init__(self) -> None:
        self._tags: set[str] = set()
        self._decoder: Any = None
        self._varieties = 0
        self._plain: set[bytes] = set()  # structures of plain rows

    def read(self, body: bytes) -> list[Row] | None:
        """Return the rows of an array: text where they are plain, data sets for all others.

        None for what is better read as a whole: a small answer, and what is not an array of data
        sets of the model.
        """
        if not json_fast.is_worth_it(len(body)) or weight(body) > MOST_VALUES:
            return None
        try:
            return self._read(body)
        except ProtocolError:
            return None
        except json_fast.errors():
            return None

    def _read(self, body: bytes) -> list[Row]:
        json_fast.check_encoding(body)
        body = json_fast.tight(body)
        rows = self._parts_of(body)
        if rows is None:
            self._learn(body)
            rows = self._parts_of(body)
        if rows is None:
            texts = enumerate(json_fast.raw_decoder().decode(body), start=1)
            return [self._row_of(bytes(text), number) for number, text in texts]
        return [self._row(parts, number) for number, parts in enumerate(rows, start=1)]

    def _parts_of(self, body: bytes) -> list[Any] | None:
        """Read rows of known tags whose elements have nothing but VR and values; None for others.

        Raises errors of msgspec for what is not JSON.
        """
        import msgspec

        if self._decoder is None:
            return None
        try:
            return self._decoder.decode(body)  # type: ignore[no-any-return]
        except msgspec.ValidationError:
            return None

    def _row(self, parts: Any, number: int) -> Row:
        text = json_fast.encoder().encode(parts)
        if len(text) <= _LONGEST and not _is_odd(text) and self._is_plain(text):
            return TextRow(json_fast.in_ascii(text), parts)
        return _dataset(text, number)

    def _is_plain(self, text: bytes) -> bool:
        """Return True if a row has a plain structure; those of most rows are the same."""
        structure = text.translate(None, _NO_STRUCTURE)
        if structure in self._plain:
            return True
        if not _has_plain_structure(text):
            return False
        # It says all of objects with one member, but not whether several are in order.
        if b'","":"' not in structure and len(self._plain) < _MOST_STRUCTURES:
            self._plain.add(structure)
        return True

    def _row_of(self, text: bytes, number: int) -> Row:
        parts = self._parts_of(b"[%b]" % text)
        return self._row(parts[0], number) if parts else _dataset(text, number)

    def _learn(self, body: bytes) -> None:
        """Make a decoder for the tags in an answer, if there are new ones."""
        tags = self._tags.union(*_members().decode(body))
        tags = set(filter(_TAG.fullmatch, tags))
        if tags == self._tags or len(tags) > _MOST_TAGS or self._varieties == _MOST_VARIETIES:
            return
        self._varieties += 1
        self._tags = tags
        self._decoder = _decoder_of(sorted(tags))


def _dataset(text: bytes, number: int) -> Dataset:
    """Read a row as a data set. Raises ValueError for what json has to look at."""
    parsed = json_fast.decoded(text)
    if parsed is None:
        raise ValueError
    return as_dataset(parsed, number)


def _is_odd(text: bytes) -> bool:
    """Return True for texts that may be written in several ways, and -0, which Python writes as 0.

    All other numbers come out as they came.
    """
    return b"\\" in text or b"-0" in text


def _has_plain_structure(text: bytes) -> bool:
    """Return True if a row of known tags has only lists of texts, numbers and names.

    There are no backslashes, so no quotes in texts: each `":{` is a key and the start of its
    element. So all elements have a VR, and a list of values or none. No list is in another, and
    all objects in lists are names.
    """
    elements = text.count(b'":{')
    lists = text.count(b"[")
    names = text.count(b"{") - 1 - elements
    return (
        elements == text.count(b'"vr":"') > 0
        and lists == text.count(b'"Value":[') == text.count(b'"Value":')
        and names == len(_NAME.findall(text))
    )


@cache
def _members() -> Any:
    """Make a decoder that finds the tags of rows."""
    import msgspec

    return msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def _decoder_of(tags: list[str]) -> Any:
    """Make a decoder of rows with these tags and no others, which leaves values as they are."""
    import msgspec

    unset, unset_type = msgspec.UNSET, msgspec.UnsetType
    element = msgspec.defstruct(
        "Element",
        [("Value", msgspec.Raw | unset_type, unset), ("vr", _Vr)],
        kw_only=True,
        forbid_unknown_fields=True,
        gc=False,
    )
    of_tags = msgspec.defstruct(
        "RowOfTags",
        [(attribute_of(tag), element | unset_type, unset) for tag in tags],
        rename={attribute_of(tag): tag for tag in tags},
        forbid_unknown_fields=True,
        gc=False,
    )
    return msgspec.json.Decoder(list[of_tags])  # type: ignore[valid-type]
