"""Multipart bodies as streams: every way a network can cut them gives the same parts."""

from __future__ import annotations

import email
import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

from dcmweb.errors import NothingMatched, ProtocolError, Truncated
from dcmweb.http import media_types
from dcmweb.http.multipart import Body, Part, read_parts
from dcmweb.http.part_stream import LONGEST_HEADERS, PIECE

BOUNDARY = "b0undary"
Parts = list[tuple[dict[str, str], bytes]]

# What looks like a delimiter, almost: all of it is payload.
NEAR_MISSES = (
    b"x--b0undary\r\n",  # not after a line end
    b"x\r\n--b0undar",
    b"\r\n--b0undarX\r\n",
    b"\r\n--b0undaryX\r\n",
    b"\n--b0undary\n",
    b"\r\n--b0undary\n",
    b"\r\n--b0undary x\r\n",
    b"\r\n--b0undary-\r\n",
    b"\r\n--B0UNDARY\r\n",
    b"\r\n-\r\n--\r\n--\r\r\n-\r",
    b"\r\n\r\n--b0undary\rX\r\n",
    b"\r\n--b0undary" + b" " * 300 + b"\r\n",
)
PAYLOADS = (b"one\r\n", b"", b"".join(NEAR_MISSES), bytes(range(256)), b"\r\n")


class Wire:
    """A body that arrives in pieces, never in larger ones than asked for."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = filter(None, pieces)
        self._rest = b""
        self.read = 0

    def __call__(self, size: int) -> bytes:
        data = self._rest or next(self._pieces, b"")
        data, self._rest = data[:size], data[size:]
        self.read += len(data)
        return data


def cut(body: bytes, *places: int) -> list[bytes]:
    return [body[a:b] for a, b in itertools.pairwise([0, *places, len(body)])]


def read(pieces: Iterable[bytes], boundary: str = BOUNDARY) -> Parts:
    return [
        (dict(part.headers), b"".join(part.body)) for part in read_parts(Wire(pieces), boundary)
    ]


def body_of(payloads: Iterable[bytes], head: bytes = b"Content-Type: a/b\r\n") -> bytes:
    parts = [b"--b0undary\r\n%s\r\n%s\r\n" % (head, payload) for payload in payloads]
    return b"".join(parts) + b"--b0undary--"


LONG = b"a preamble\r\n" + body_of(PAYLOADS) + b"\r\nan epilogue\r\n--b0undary\r\n\r\nno part"
SHORT = b"--b0undary \r\nA: b\r\n\r\n1\r\n--b0undar\r\n--b0undary\t\r\n\r\n\r\n--b0undary--\r\n"
EXPECTED_LONG = [({"content-type": "a/b"}, payload) for payload in PAYLOADS]
EXPECTED_SHORT: Parts = [({"a": "b"}, b"1\r\n--b0undar"), ({}, b"")]


def test_a_body_in_one_piece() -> None:
    assert read([LONG]) == EXPECTED_LONG
    assert read([SHORT]) == EXPECTED_SHORT


def test_every_single_cut_gives_the_same_parts() -> None:
    for place in range(len(LONG)):
        assert read(cut(LONG, place)) == EXPECTED_LONG, place


def test_every_pair_of_cuts_gives_the_same_parts() -> None:
    for places in itertools.combinations(range(len(SHORT)), 2):
        assert read(cut(SHORT, *places)) == EXPECTED_SHORT, places


@pytest.mark.parametrize("length", [20, 100, 101, 199, 300])
def test_boundaries_of_any_length_are_found(length: int) -> None:
    longer = b"b0undary" * (length // 8 + 1)
    body = b"a preamble\r\n" + body_of(PAYLOADS).replace(b"\r\n--b0undary", b"\r\n--" + longer)
    body = body.replace(b"\n--b0undary\r\n", b"\n--" + longer + b"\r\n", 1)
    boundary = longer.decode()
    for place in range(len(body)):
        assert read(cut(body, place), boundary) == read([body], boundary)
    assert read([body], boundary)[0] == EXPECTED_LONG[0]


def test_what_came_as_a_whole_is_given_as_a_whole() -> None:
    wholes = [part.whole for part in read_parts(Wire([LONG]), BOUNDARY)]
    # The third has what looks like a delimiter in it.
    assert wholes == [PAYLOADS[0], PAYLOADS[1], None, *PAYLOADS[3:]]


def test_what_comes_in_several_pieces_is_not_given_as_a_whole() -> None:
    body = body_of([b"x" * 1000, b"y"])
    for places, wholes in (((700,), [b"x" * 1000, b"y"]), ((600, 700), [None, b"y"])):
        parts = read_parts(Wire(cut(body, *places)), BOUNDARY)
        assert [part.whole for part in parts] == wholes


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(BOUNDARY) + 4])
def test_small_pieces_give_the_same_parts(size: int) -> None:
    assert read(cut(LONG, *range(size, len(LONG), size))) == EXPECTED_LONG


@pytest.mark.parametrize("payload", NEAR_MISSES)
def test_what_almost_is_a_delimiter_is_payload(payload: bytes) -> None:
    body = body_of([payload, b"next"])
    expected = [({"content-type": "a/b"}, data) for data in (payload, b"next")]
    assert read([body]) == expected
    assert read(cut(body, *range(1, len(body)))) == expected


@pytest.mark.parametrize("body", [LONG, SHORT])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "by byte"])
def test_a_body_cut_short_anywhere_is_truncated(body: bytes, whole: bool) -> None:
    end = body.index(b"--b0undary--") + len(b"--b0undary--")
    step = 1 if whole else 5
    for length in range(0, end, step):
        pieces = [body[:length]] if whole else cut(body[:length], *range(1, length))
        with pytest.raises(Truncated):
            read(pieces)
    assert read([body[:end]])


def test_parts_before_the_truncation_are_given() -> None:
    parts = read_parts(Wire([body_of([b"one", b"two"])[:-20]]), BOUNDARY)
    assert b"".join(next(parts).body) == b"one"
    with pytest.raises(Truncated):
        list(next(parts).body)


@pytest.mark.parametrize("taken", [0, 1])
def test_what_is_not_read_of_a_part_is_passed_over(taken: int) -> None:
    body = body_of([b"x" * 100, b"two"])
    parts = read_parts(Wire(cut(body, *range(10, len(body), 10))), BOUNDARY)
    list(itertools.islice(next(parts).body, taken))
    assert b"".join(next(parts).body) == b"two"
    assert list(parts) == []


@pytest.mark.parametrize("body", [b"--b0undary--\r\n", b"preamble\r\n--b0undary--"])
def test_a_body_without_a_part_is_an_error(body: bytes) -> None:
    with pytest.raises(ProtocolError, match="without a part"):
        read([body])


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"", {}),
        (b"CONTENT-type:a/b\r\nx-Y :  7 \r\n", {"content-type": "a/b", "x-y": "7"}),
        (b"A: one\r\n\ttwo\r\n  three\r\nB: x\r\n", {"a": "one two three", "b": "x"}),
        (b"A:\r\n", {"a": ""}),
        (b"A: b: c\r\n", {"a": "b: c"}),
        (b"A: \xff\xc3\xa9\r\n", {"a": "\ufffd\u00e9"}),
    ],
    ids=["none", "any case", "folded", "empty", "colon", "not ascii"],
)  # fmt: skip
def test_header_fields(block: bytes, expected: dict[str, str]) -> None:
    body = body_of([b"data"], block)
    assert read([body]) == [(expected, b"data")]
    assert read(cut(body, *range(1, len(body)))) == [(expected, b"data")]


@pytest.mark.parametrize(
    "block", [b"colon\r\n", b"no colon\r\n", b": no name\r\n", b"two words: x\r\n"]
)
def test_malformed_header_fields_are_an_error(block: bytes) -> None:
    with pytest.raises(ProtocolError, match="malformed"):
        read([body_of([b"data"], block)])


def test_a_part_whose_header_fields_break_off_is_not_begun() -> None:
    with pytest.raises(Truncated, match="within the header fields"):
        next(read_parts(Wire([b"--b0undary\r\nA: b\r\nContent-Le"]), BOUNDARY))


def test_a_delimiter_that_breaks_off_ends_its_part_in_an_error() -> None:
    part = next(read_parts(Wire([SHORT[: SHORT.index(b"\t")]]), BOUNDARY))
    with pytest.raises(Truncated, match="within a delimiter"):
        list(part.body)


def test_endless_header_fields_are_given_up() -> None:
    wire = Wire([b"--b0undary\r\n", *[b"A: %s\r\n" % (b"x" * 1000)] * 10_000])
    with pytest.raises(ProtocolError, match="endless") as caught:
        next(read_parts(wire, BOUNDARY))
    assert not isinstance(caught.value, Truncated)
    assert wire.read <= LONGEST_HEADERS + PIECE


@pytest.mark.parametrize("head", [b"", b"A: b\r\n"])
def test_a_part_without_a_body_may_lack_the_empty_line(head: bytes) -> None:
    """RFC 2046 section 5.1.1: the empty line belongs to the body, which is optional."""
    body = b"--b0undary\r\n" + head + b"\r\n" + body_of([b"next"], head)
    headers = {"a": "b"} if head else {}
    assert read([body]) == [(headers, b""), (headers, b"next")]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/related; boundary=b0undary",
        'multipart/related; type="application/dicom"; boundary="b0undary"',
        'Multipart/Related;BOUNDARY="b0undary";start=a',
        'multipart/related; type="a;boundary=x"; Boundary=b0undary; charset=utf-8',
        "multipart/related;  boundary = b0undary ; type=application/dicom",
    ],
)
def test_the_boundary_is_found_however_it_is_written(content_type: str) -> None:
    boundary = media_types.parse(content_type).parameters["boundary"]
    assert read([SHORT], boundary) == EXPECTED_SHORT


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\n", b"\r\n\r\n"])
def test_a_boundary_that_is_not_told_is_seen_in_the_body(before: bytes) -> None:
    body = before + SHORT
    for size in (1, 5, len(body)):
        assert read(cut(body, *range(size, len(body), size)), "") == EXPECTED_SHORT


@pytest.mark.parametrize("body", [b"", b"text", b"--\r\n", b"--" + b"x" * 500, b"text\r\n--B\r\n"])
def test_a_boundary_that_cannot_be_known_is_an_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read([body], "")
    with pytest.raises((ProtocolError, NothingMatched)) as caught:
        list(read_parts(Wire([body]), "", is_whole=True))
    assert not caught.value.retryable


def test_a_boundary_with_special_characters() -> None:
    boundary = "a+b(c)*?.=_ d"
    body = f"--{boundary}\r\n\r\n1\r\n--{boundary}--".encode()
    assert read([body], boundary) == [({}, b"1")]


def test_a_large_part_passes_through_without_being_held() -> None:
    """What has come and was not given out yet stays small, so no byte is searched many times."""
    piece = b"\r\n--b0undar" + bytes(4096)
    count = 4096
    head, tail = b"--b0undary\r\n\r\n", b"\r\n--b0undary--"
    wire = Wire(itertools.chain([head], itertools.repeat(piece, count), [tail]))
    given = 0
    for data in next(read_parts(wire, BOUNDARY)).body:
        given += len(data)
        assert wire.read - len(head) - given <= len(piece)
    assert given == count * len(piece)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("12", 12), (" 12 ", 12), ("0", 0), ("", None), ("-1", None), ("1.5", None), ("1_0", None),
        ("\u0661", None), pytest.param("9" * 5000, None, id="absurd"),
    ],
)  # fmt: skip
def test_the_declared_size_is_a_number_or_unknown(text: str, size: int | None) -> None:
    assert Part({"content-length": text}, iter(())).declared_size == size


def test_a_part_without_a_type_has_none() -> None:
    assert Part({}, iter(())).media_type.name == ""
    assert Part({}, iter(())).declared_size is None
    typed = Part({"content-type": "Image/JPEG; transfer-syntax=1.2"}, iter(()))
    assert typed.media_type.name == "image/jpeg"
    assert typed.media_type.parameters == {"transfer-syntax": "1.2"}


@dataclass
class Bytes:
    """A source that counts how often it was read."""

    data: bytes
    piece: int = 1000
    reads: int = field(default=0)

    @property
    def size(self) -> int:
        return len(self.data)

    def pieces(self) -> Iterator[bytes]:
        self.reads += 1
        for start in range(0, len(self.data), self.piece):
            yield self.data[start : start + self.piece]


PARTS = (b"", b"one", b"\r\n--x--\r\n", bytes(range(256)) * 20)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_body_says_how_long_it_is_and_starts_anew(count: int) -> None:
    sources = [Bytes(data) for data in PARTS[:count]]
    body = Body.related(sources, "application/dicom")
    first, second = b"".join(body), b"".join(body)
    assert first == second
    assert len(body) == len(first)
    assert [source.reads for source in sources] == [2] * count


def test_a_body_can_be_read_by_read_parts() -> None:
    body = Body.related([Bytes(data) for data in PARTS], "application/dicom")
    boundary = media_types.parse(body.content_type).parameters["boundary"]
    expected = [({"content-type": "application/dicom"}, data) for data in PARTS]
    assert read([b"".join(body)], boundary) == expected


def test_a_body_is_understood_by_others() -> None:
    body = Body.related([Bytes(b"one"), Bytes(b"two")], "application/dicom; transfer-syntax=1.2")
    head = f"Content-Type: {body.content_type}\r\n\r\n".encode()
    message = email.message_from_bytes(head + b"".join(body))
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == "application/dicom"
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [part.get_payload() for part in parts] == ["one", "two"]
    assert {part.get_content_type() for part in parts} == {"application/dicom"}
    assert message.defects == []


def test_the_boundary_of_a_body_is_its_own_and_stands_without_quotes() -> None:
    types = {Body.related([Bytes(b"")], "application/dicom").content_type for _ in range(10)}
    assert len(types) == 10
    for content_type in types:
        assert content_type.startswith('multipart/related; type="application/dicom"; boundary=')
        assert '"' not in content_type.partition("boundary=")[2]


def test_a_single_source_is_sent_as_it_is() -> None:
    body = Body.single(Bytes(b"data"), "application/dicom")
    assert (b"".join(body), len(body), body.content_type) == (b"data", 4, "application/dicom")


def test_small_pieces_are_joined_and_large_ones_are_not_held() -> None:
    body = Body.related([Bytes(bytes(PIECE // 2), 100), Bytes(bytes(4 * PIECE), PIECE)], "a/b")
    sizes = [len(piece) for piece in body]
    assert len(sizes) <= 6
    assert max(sizes) < 2 * PIECE


def test_an_error_of_a_source_ends_the_body() -> None:
    class Broken(Bytes):
        def pieces(self) -> Iterator[bytes]:
            yield b"x"
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(Body.related([Broken(b"xx")], "a/b"))


@pytest.mark.parametrize(
    "told", ["'b0undary'", "b0undar", "b0undaryX", "WITH", "--b0undary", "\u0161"]
)
@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_the_boundary_that_the_body_shows_goes_before_the_one_that_is_told(
    told: str, before: bytes
) -> None:
    body = before + SHORT
    for size in (1, 7, len(body)):
        assert read(cut(body, *range(size, len(body), size)), told) == EXPECTED_SHORT


@pytest.mark.parametrize("line", [b"--text\r\n", b"--text\r\nof two lines\r\n", b"text: text\r\n"])
def test_a_preamble_does_not_pass_for_a_delimiter(line: bytes) -> None:
    assert read([line + SHORT]) == EXPECTED_SHORT


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"text\r\n" + SHORT, "no line with its boundary"),
        (SHORT.replace(b"\r\n", b"\n"), "end with LF"),
        (b"", "empty"),
    ],
)
def test_a_whole_body_without_a_delimiter_is_not_said_to_break_off(body: bytes, words: str) -> None:
    with pytest.raises((ProtocolError, NothingMatched), match=words) as caught:
        list(read_parts(Wire([body]), "other", is_whole=True))
    assert not caught.value.retryable
    with pytest.raises(Truncated):
        list(read_parts(Wire([body]), "other"))


def test_what_breaks_off_before_its_delimiter_is_not_said_to_be_whole() -> None:
    def reading(_: int) -> bytes:
        raise Truncated("cut")

    with pytest.raises(Truncated, match="cut"):
        list(read_parts(reading, BOUNDARY, is_whole=True))


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_how_much_comes_at_once_does_not_decide_what_the_boundary_is(size: int) -> None:
    name = b"A" * 600
    file = io.BytesIO(b"\n--x\r\n" + name + b": b\r\n\r\n--x--")
    with pytest.raises(ProtocolError):
        list(read_parts(lambda wanted: file.read(min(size, wanted)), "b", is_whole=True))


def test_a_part_that_is_held_in_memory_has_a_limit() -> None:
    part = Part({}, iter([b"abc", b"de"]))
    assert part.content(5) == b"abcde"
    with pytest.raises(ProtocolError, match="too large"):
        Part({}, iter([b"abc", memoryview(b"def")])).content(5)


class Large(bytes):
    """A piece of a gigabyte, as far as it says."""

    def __len__(self) -> int:
        return 1 << 30


def test_a_part_that_is_held_in_memory_has_a_limit_where_none_is_given() -> None:
    with pytest.raises(ProtocolError, match="too large"):
        Part({}, iter([Large()])).content()
