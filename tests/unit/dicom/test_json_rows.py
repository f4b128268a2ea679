"""Rows that stay text: what is printed of them is what json would have made of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmweb.cli import formats, page_formats
from dcmweb.cli.fields import parse_fields
from dcmweb.dicom import json_fast
from dcmweb.dicom.json_model import Row, parse_json, read_json, text, values
from dcmweb.dicom.json_rows import RowReader, TextRow
from dcmweb.dicom.json_text import as_line, indented
from dcmweb.dicom.json_variants import as_datasets
from dcmweb.dicom.resources import Level
from dcmweb.errors import ProtocolError
from dcmweb.transactions.search import paging

FIELDS = parse_fields(["PatientName,StudyDate,StudyTime,StudyInstanceUID,Rows,StudyDescription"])
Read = Callable[[bytes], Sequence[Row]]


@contextmanager
def _seen(size: int) -> Iterator[None]:
    """Have so many bytes of JSON seen already."""
    before, json_fast._Seen.size = json_fast._Seen.size, size
    try:
        yield
    finally:
        json_fast._Seen.size = before


@contextmanager
def _without_msgspec() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_fast, "_loaded", lambda: None)
        yield


def by_json(body: bytes) -> Sequence[Row]:
    with _without_msgspec():
        return as_datasets(parse_json(body))


def by_msgspec(body: bytes) -> Sequence[Row]:
    with _seen(json_fast.LARGE):
        rows = RowReader().read(body)
        return as_datasets(parse_json(body)) if rows is None else rows


def outputs(read: Read, body: bytes) -> dict[str, Any]:
    """All that is printed of an answer, and which rows are the same; or the error that it is."""
    try:
        rows = read(body)
        pages = [rows[:1], rows[1:]]
        found: dict[str, Any] = {
            form: "".join(write(pages, FIELDS)) for form, write in page_formats.BY_PAGE.items()
        }
        found["keys"] = [paging._key(row, Level.STUDIES, once=False) for row in rows]
    except ProtocolError as error:
        return {"error": str(error)}
    return found


def expected(body: bytes) -> dict[str, Any]:
    with _without_msgspec():
        found = outputs(by_json, body)
        if "error" in found:
            return found
        rows: Any = by_json(body)
        found["json"] = "".join(formats.as_json(rows))
        found["ndjson"] = "".join(formats.as_ndjson(rows))
        for form, write in formats.WITH_COLUMNS.items():
            if form in found:
                found[form] = "".join(write(rows, FIELDS))
        return found


def printed(body: bytes) -> dict[str, Any]:
    with _seen(json_fast.LARGE):
        return outputs(by_msgspec, body)


def in_json(value: str) -> st.SearchStrategy[str]:
    return st.booleans().map(lambda ascii_: json.dumps(value, ensure_ascii=ascii_))


SPACE = st.sampled_from(["", "", "", " ", "\n  ", "\t", "\r\n"])
NUMBERS = st.sampled_from(
    [
        *("0", "-0", "-0.0", "1", "-5", "0.50", "71.5", "1e400", "-1e400", "1E2", "1e16", "1e+16"),
        *("1e22", "1e-7", "0.00001", "0.0001", "0.1234567890123456789", "18446744073709551616"),
        *("-9223372036854775809", "123456789012345678901234567890", "5e-324", "9" * 4400, "1e5"),
        *("01", "1.", ".5", "-", "NaN", "Infinity", "-Infinity", "0x1", "+1", "1_0"),
    ]
) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
TEXTS = st.sampled_from(
    [
        *('"CT"', '"Doe^J"', '"20240229"', '"20240229 "', '"101112.123"', '"x\\/y"', '"\\u00e9"'),
        *('"\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"a\x7fb"', '"{"', '"[CT]"', '"a,b: c"'),
        *('"\\"vr\\":\\"CS\\""', '"é"', '"山田^太郎"', '"😀"', '"\x01"', '"\u2028"', '"\\x"', '""'),
        *('"}"', '"]"', '":{"', '"Value"', '"-0"', '"a-0"', '"null"', '"1e5"', '"\\\\"', '"1.2.3"'),
    ]
) | st.text().flatmap(in_json)
SCALARS = TEXTS | NUMBERS | st.sampled_from(["null", "true", "false"])
GROUPS = st.sampled_from(["Alphabetic", "Ideographic", "Phonetic", "Other", "vr", "Value"])


def _list(inner: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[str]:
    return st.tuples(SPACE, SPACE, st.lists(inner, max_size=most)).map(
        lambda found: f"[{found[0]}{(',' + found[1]).join(found[2])}{found[0]}]"
    )


def _object(
    keys: st.SearchStrategy[str], inner: st.SearchStrategy[str], most: int
) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(keys, SPACE, inner), max_size=most)
    return st.tuples(members, SPACE).map(
        lambda found: (
            "{" + ("," + found[1]).join(f'"{k}":{s}{v}' for k, s, v in found[0]) + found[1] + "}"
        )
    )


TAGS = st.sampled_from(
    ["00080020", "00080030", "00100010", "0020000D", "00280010", "00081030", "00081190"] * 3
    + ["0020000d", "0020,000D", "PatientName", "vr"]
)
VRS = st.sampled_from([*("CS DA TM PN UI US LO DS IS UR SH" * 2).split(), "SQ", "OB", "xx", "ui"])
NAMES = _object(GROUPS, TEXTS, 3)
PLAIN = st.tuples(VRS, _list(SCALARS | NAMES), SPACE, st.booleans()).map(
    lambda p: (
        f'{{"vr":{p[2]}"{p[0]}",{p[2]}"Value":{p[1]}}}'
        if p[3]
        else f'{{"Value":{p[1]},"vr":"{p[0]}"}}'
    )
)
EMPTY = VRS.map(lambda vr: f'{{"vr":"{vr}"}}')
MEMBERS = st.sampled_from(["vr", "Value", "Value", "InlineBinary", "BulkDataURI", "value", "more"])


def _elements(items: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    odd = _object(MEMBERS, SCALARS | _list(SCALARS | NAMES | items) | NAMES, 4)
    sequence = _list(items).map(lambda value: f'{{"vr":"SQ","Value":{value}}}')
    return PLAIN | PLAIN | PLAIN | PLAIN | EMPTY | odd | sequence | SCALARS


ITEMS = st.recursive(
    _object(TAGS, PLAIN, 2), lambda inner: _object(TAGS, _elements(inner), 2), max_leaves=3
)
ODD_ROWS = _object(TAGS, _elements(ITEMS), 8)
# Most of these stay text.
GOOD_SCALARS = st.sampled_from(
    [
        *(
            '"CT"',
            '"Doe^J"',
            '"20240229"',
            '"20240229 "',
            '"101112.123"',
            '"é"',
            '"山田^太郎"',
            '""',
        ),
        *('"😀"', '"\u2028"', '"}"', '"a,b: c"', '"null"', '"1e5"', '"a\x7fb"', '"1.2.3"', "null"),
        *("0", "1", "-5", "0.50", "71.5", "1e400", "1E2", "1e16", "0.1234567890123456789", "true"),
    ]
)
GOOD_NAMES = st.sampled_from(
    [
        *('{"Alphabetic":"Doe^J"}', '{"Alphabetic":"Doe^J=山田"}', '{"Ideographic":"山田^太郎"}'),
        *('{"Alphabetic":"a","Phonetic":"b"}', '{"Phonetic":"b","Alphabetic":"a"}', '{"vr":"CS"}'),
        *('{"Alphabetic":"a","Alphabetic":"b"}', '{"Alphabetic":1}', '{"Alphabetic" :"a", "b":2}'),
    ]
)
GOOD_VALUES = _list(GOOD_SCALARS | GOOD_NAMES)
GOOD_VRS = st.sampled_from(["CS", "DA", "TM", "PN", "UI", "US", "LO", "DS", "IS", "SH", "UN"])
GOOD_ELEMENTS = st.tuples(GOOD_VRS, GOOD_VALUES, SPACE).map(
    lambda p: f'{{{p[2]}"vr":"{p[0]}",{p[2]}"Value":{p[1]}}}'
)
GOOD_TAGS = st.sampled_from(
    ["00080020", "00080030", "00100010", "0020000D", "00280010", "00081190"]
)
GOOD_ROWS = _object(GOOD_TAGS, GOOD_ELEMENTS | EMPTY, 5)
ROWS = GOOD_ROWS | GOOD_ROWS | GOOD_ROWS | _object(TAGS, PLAIN | EMPTY, 8) | ODD_ROWS
BODIES = st.tuples(_list(GOOD_ROWS, 5) | _list(ROWS, 5) | ODD_ROWS, SPACE).map(
    lambda b: b[1] + b[0] + b[1]
)
ENCODED: st.SearchStrategy[bytes] = st.tuples(
    BODIES, st.sampled_from(["utf-8"] * 20 + ["utf-8-sig", "utf-16", "utf-32", "latin-1"])
).map(lambda found: found[0].encode(found[1], "replace"))


@settings(deadline=None)
@given(ENCODED)
def test_what_is_printed_is_what_json_makes_of_it(body: bytes) -> None:
    assert printed(body) == expected(body)


@settings(deadline=None)
@given(ENCODED, st.integers(0, 1000), st.binary(max_size=2))
def test_so_it_is_of_what_is_broken(body: bytes, place: int, put: bytes) -> None:
    place %= len(body) + 1
    body = body[:place] + put + body[place + len(put) // 2 :]
    assert printed(body) == expected(body)


def metadata(body: bytes) -> list[Any]:
    """What is read and printed of an answer with metadata, up to the error in it."""
    found: list[Any] = []
    try:
        for dataset in read_json(io.BytesIO(body)):
            found += [dataset, as_line(dataset), indented(dataset)]
    except ProtocolError as error:
        found.append(str(error))
    return found


@settings(deadline=None)
@given(ENCODED)
def test_metadata_is_read_and_printed_as_by_json(body: bytes) -> None:
    with _without_msgspec():
        by_json = metadata(body)
    with _seen(json_fast.LARGE):
        assert metadata(body) == by_json


def element(vr: str, *given: object) -> dict[str, Any]:
    return {"vr": vr, "Value": list(given)}


USUAL: dict[str, Any] = {
    "00080020": element("DA", "20240229"),
    "00080090": {"vr": "PN"},
    "00081190": element("UR", "http://there/studies/1.2"),
    "00100010": element("PN", {"Alphabetic": "Müller^Jörg", "Ideographic": "山田^太郎"}),
    "00101030": element("DS", 71.5),
    "0020000D": element("UI", "1.2"),
    "00201208": element("IS", 500),
}


@pytest.fixture
def much() -> Iterator[None]:
    with _seen(json_fast.LARGE):
        yield


@pytest.mark.usefixtures("much")
@pytest.mark.skipif(find_spec("msgspec") is None, reason="msgspec is not installed")
class TestUsualRows:
    def test_they_stay_text(self) -> None:
        (row,) = RowReader().read(json.dumps([USUAL], ensure_ascii=False).encode()) or []
        assert type(row) is TextRow
        assert dict(row) == USUAL
        assert len(row) == len(USUAL)
        assert row.get("00100020") is None
        assert values(row, "00100010") == USUAL["00100010"]["Value"]
        assert text(row, "0020000D") == "1.2"

    def test_the_other_rows_of_a_page_are_data_sets(self) -> None:
        odd = {"0020000D": element("UI", "1.3"), "00081110": element("SQ", {"00081155": USUAL})}
        body = json.dumps([USUAL, odd, USUAL]).encode()
        kinds = [type(row) for row in RowReader().read(body) or []]
        assert kinds == [TextRow, dict, TextRow] or kinds[1] is dict

    def test_new_tags_on_a_later_page_are_learned(self) -> None:
        reader = RowReader()
        for more in ({}, {"00100020": element("LO", "1")}, {"00080050": element("SH", "2")}):
            row = USUAL | more
            found = reader.read(json.dumps([row, USUAL]).encode()) or []
            assert [dict(one) for one in found] == [row, USUAL]
            assert {type(one) for one in found} <= {TextRow, dict}

    def test_the_retrieve_url_does_not_tell_rows_apart(self) -> None:
        other = USUAL | {"00081190": element("UR", "http://elsewhere/studies/1.2")}
        body = json.dumps([USUAL, other, USUAL | {"00101030": element("DS", 71)}]).encode()
        one, same, differs = (
            paging._key(row, Level.STUDIES, once=False) for row in RowReader().read(body) or []
        )
        assert one == same
        assert one.uids == differs.uids
        assert one != differs

    def test_hostile_answers_end_the_learning(self) -> None:
        reader = RowReader()
        for number in range(60):
            body = json.dumps([{f"{number:08X}": element("LO", "x")}]).encode()
            (row,) = reader.read(body) or [{}]
            assert dict(row) == json.loads(body)[0]
        assert len(reader._tags) <= 50

    def test_many_tags_are_not_learned(self) -> None:
        row = {f"{number:08X}": element("LO", "x") for number in range(2000)}
        (found,) = RowReader().read(json.dumps([row]).encode()) or []
        assert found == row


def test_little_is_read_by_json() -> None:
    with _seen(0):
        assert RowReader().read(b'[{"0020000D": {"vr": "UI", "Value": ["1.2"]}}]') is None
        assert json_fast.compact(USUAL) is None


def test_without_msgspec_all_is_read_by_json() -> None:
    with _seen(json_fast.LARGE), _without_msgspec():
        body = json.dumps([USUAL]).encode()
        assert RowReader().read(body) is None
        assert parse_json(body) == [USUAL]


def test_too_many_values_are_left_to_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcmweb.dicom.json_rows.MOST_VALUES", 3)
    with _seen(json_fast.LARGE):
        assert RowReader().read(json.dumps([USUAL]).encode()) is None
