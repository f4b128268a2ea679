"""Lines of a manifest without a parser: what is read is what a parser reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmweb.transfer import manifest_lines
from dcmweb.transfer.manifest_lines import read_line, read_lines, write_line
from dcmweb.transfer.marks import Marks
from dcmweb.transfer.outcomes import Outcome, Status, as_event

EVENT: dict[str, Any] = {
    "type": "stored",
    "item": "/data/1.dcm",
    "size": 530000,
    "mtime_ns": 1795444642612996795,
    "study": "1.2.3",
    "attempts": 1,
}


def line_of(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": 0, "mtime_ns": 8 * 10**18},
        {"mtime_ns": "1795444642612996795"},
        {"item": "a b/[c]{d}, \": '~"},
        {"time": "2026-11-26T14:00:00.123Z", "run": "abc"},
        {"reason": "refused; not found"},
    ],
)
def test_what_dcmweb_writes_is_read(changes: dict[str, Any]) -> None:
    event = EVENT | changes
    found = read_line(line_of(event))
    if '"' in event["item"]:  # escapes are for the parser
        assert found is None
        return
    assert found is not None
    assert (found.kind, found.item) == ("stored", json.dumps(event["item"]))
    assert (found.size, found.mtime_ns) == (event["size"], int(event["mtime_ns"]))


def test_size_and_time_may_be_left_out_and_others_come_first() -> None:
    assert read_line(b'{"run": "x", "type": "failed", "item": "1"}\n') == ("failed", '"1"', 0, 0)


@pytest.mark.parametrize(
    "line",
    [
        b'{"type": "stored", "item": "1"}',
        b'{"type": "stored", "item": "1", "size": "1}\n',
        b'{"type": "stored", "item": "1", "size": 01}\n',
        b'{"type": "stored", "item": "1", "size": 9223372036854775808000}\n',
        b'{"type": "stored", "item": "1", "size": 1, "size": 2}\n',
        b'{"type": "stored", "item": "1", "study": "1", "item": "2"}\n',
        b'{"type": "stored", "item": "\xc3\xa9"}\n',
        b'{"type": "stored", "item": "1"} {"type": "stored", "item": "1"}\n',
        b'{"type": "end", "end": "complete", "exit_code": 0}\n',
    ],
)
def test_all_else_is_for_the_parser(line: bytes) -> None:
    assert read_line(line) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 150), st.integers(32, 126)), max_size=3))
def test_a_changed_line_is_never_read_in_another_way(changes: list[tuple[int, int]]) -> None:
    line = bytearray(line_of(EVENT))
    for at, value in changes:
        line[min(at, len(line) - 2)] = value
    if found := read_line(bytes(line)):
        event = json.loads(line)
        assert (found.kind, found.item) == (event["type"], json.dumps(event["item"]))
        assert found.size == int(event.get("size", 0))
        assert found.mtime_ns == int(event.get("mtime_ns", 0))


TEXTS = st.sampled_from(
    ["", "a", "1.2.3", "/data/\u5c71 1.dcm", 'x"y\\z', "\udcff\n\x00", "\U0001f600"]
)
NUMBERS = st.sampled_from([0, 1, 7, 2**53, 2**53 + 1, 2**63 - 1])


@given(
    st.builds(
        Outcome,
        st.sampled_from(Status),
        TEXTS,
        NUMBERS,
        TEXTS,
        TEXTS,
        NUMBERS,
        TEXTS,
        TEXTS,
        TEXTS,
        st.integers(0, 3),
        st.sampled_from([None, Status.UNKNOWN]),
        st.integers(0, 3),
        st.booleans(),
    ),
    TEXTS,
)
def test_a_line_is_written_as_json_writes_it(outcome: Outcome, item: str) -> None:
    marks = Marks("run")
    marks.now = lambda: "2026-11-26T14:00:00.123Z"  # type: ignore[method-assign]
    expected = json.dumps(marks.on({**as_event(outcome), "item": item})) + "\n"
    assert write_line(outcome, item, marks.members()) == expected


LINES = [
    line_of(EVENT),
    line_of(EVENT | {"type": "failed", "size": "5"}),
    b'{"type": "stored", "item": "1"}\n',
    b'{"type": "stored", "item": "\xc3\xa9"}\n',
    b'x{"type": "stored", "item": "1"}\n',
    b'{"type": "stored", "item": "1"}x\n',
    b'{"type": "stored", "item": "1"}\r\n',
    b'{"type": "stored", "item": "1"}',
    b'{"type": "end", "end": "complete"}\n',
    b"\n",
    b"",
]


@given(st.lists(st.sampled_from(LINES), max_size=6))
def test_lines_are_read_together_as_one_by_one_or_not_at_all(lines: list[bytes]) -> None:
    found = read_lines(b"".join(lines))
    one_by_one = [read_line(line) for line in b"".join(lines).splitlines(keepends=True)]
    if found is None:
        assert None in one_by_one or not one_by_one
    else:
        read = [(kind, item, int(size or 0), int(ns or 0)) for kind, item, size, ns in found]
        assert read == one_by_one


def test_usual_lines_are_read_as_all_others_are() -> None:
    marks = Marks("run")
    for outcome in (
        Outcome(Status.STORED, "/a.dcm"),
        Outcome(Status.STORED, "/a.dcm", 7, "", "http://s/1", 8, "1", "1.2", "1.2.3", 1),
        Outcome(Status.STORED, "/a.dcm", 2**53 + 1, mtime_ns=8 * 10**18),
        Outcome(Status.FAILED, "/a.dcm", reason="no"),
    ):
        line = write_line(outcome, outcome.item, marks.members()).encode()
        expected = [(outcome.status.name.lower(), '"/a.dcm"', outcome.size, outcome.mtime_ns)]
        assert [read_line(line)] == expected
        assert bool(manifest_lines._USUAL_LINE.fullmatch(line.decode())) == (
            not outcome.reason and outcome.size < 2**53
        )
        for at in range(len(line) - 1):  # whatever is changed, both read the same, or one does not
            for byte in b'1",}x':
                changed = (line[:at] + bytes([byte]) + line[at + 1 :]).decode()
                usual = manifest_lines._USUAL_LINE.fullmatch(changed)
                general = manifest_lines._LINE.fullmatch(changed)
                if usual is not None:
                    assert general is not None
                    kind, item, _, size, _, mtime_ns = general.groups("")
                    assert usual.groups("") == (kind, item, size, mtime_ns)
