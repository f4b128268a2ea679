"""JSON by msgspec, for answers that are large, and only where json would give the same.

What is returned is what json would return. None stands for all that json has to look at: what is
not valid, and what msgspec reads or writes in another way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, Any

from dcmweb.dicom.json_numbers import parse_float

if TYPE_CHECKING:
    import msgspec

LARGE = 256 * 1024  # bytes of answers from which it is sooner to load msgspec
# Numbers that Python writes in another way: with another exponent, or with one.
_OTHER_NUMBER = re.compile(rb"[0-9]e-?[0-9]|0\.0000")
INDENT = 2


class _Seen:
    size = 0  # bytes of answers so far


def is_worth_it(size: int) -> bool:
    """Return True if msgspec is there, and worth loading: with these bytes there is much JSON."""
    _Seen.size += size
    return _Seen.size >= LARGE and _loaded() is not None


@cache
def _loaded() -> Any:
    """Return msgspec; None where it is not installed, as there are no wheels of it."""
    try:
        import msgspec
    except ImportError:
        return None
    return msgspec


@cache
def _decoder() -> msgspec.json.Decoder[Any]:
    import msgspec

    return msgspec.json.Decoder(float_hook=parse_float)


def errors() -> tuple[type[Exception], ...]:
    """Return the errors of reading what is not JSON in UTF-8, or not of the types that are read."""
    import msgspec

    return msgspec.MsgspecError, ValueError, RecursionError


@cache
def encoder() -> msgspec.json.Encoder:
    """Return what writes JSON without spaces, keys sorted."""
    import msgspec

    return msgspec.json.Encoder(order="sorted")


def decoded(body: bytes | msgspec.Raw) -> Any:
    """Read JSON in UTF-8; None for what is not, and for what json has to look at."""
    try:
        return _decoder().decode(body)
    except errors():
        return None


def elements(body: bytes) -> Iterator[Any]:
    """Yield the elements of an array, up to the first that json has to look at.

    None if that is the array itself, or a small one.
    """
    if not is_worth_it(len(body)):
        return
    try:
        check_encoding(body)
        texts = raw_decoder().decode(body)
    except errors():
        return
    for text in texts:
        element = decoded(text)
        if element is None:
            return
        yield element


def check_encoding(body: bytes) -> None:
    """Raise UnicodeDecodeError unless all is UTF-8: msgspec checks only the texts that it reads."""
    if not body.isascii():
        body.decode()


@cache
def raw_decoder() -> msgspec.json.Decoder[list[msgspec.Raw]]:
    """Return what separates the elements of an array."""
    import msgspec

    return msgspec.json.Decoder(list[msgspec.Raw])


def compact(value: Any) -> bytes | None:
    """Write JSON in ASCII without spaces, keys sorted; None for what json has to write.

    That is everything as long as little JSON was read.
    """
    if not is_worth_it(0):
        return None
    try:
        text = encoder().encode(value)
    except (TypeError, ValueError, RecursionError):  # numbers that know how they were written
        return None
    # null may be a number that is infinite.
    return None if b"null" in text or _OTHER_NUMBER.search(text) else in_ascii(text)


def in_ascii(text: bytes) -> bytes:
    r"""Write all characters but those of ASCII as `\u00e9`, and DEL, as json does.

    Raises UnicodeDecodeError for what is not UTF-8.
    """
    if text.isascii() and b"\x7f" not in text:
        return text
    # The quotes and backslashes are there already: once is enough.
    escaped = quoted(text.decode())[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return escaped.encode("ascii")


def tight(text: bytes) -> bytes:
    """Write JSON without spaces and lines."""
    import msgspec

    return msgspec.json.format(text, indent=-1)


def spaced(text: bytes) -> str:
    """Write JSON in one line, with spaces behind commas and colons."""
    import msgspec

    return msgspec.json.format(text, indent=0).decode("ascii")


def indented(text: bytes) -> str:
    """Write JSON in lines that are indented by two more spaces for each level."""
    import msgspec

    return msgspec.json.format(text, indent=INDENT).decode("ascii")
