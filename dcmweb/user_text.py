"""Text that users hand over: files in UTF-8 or UTF-16, with or without a byte order mark, pipes."""

from __future__ import annotations

import codecs
from typing import BinaryIO

from dcmweb.errors import LocalError

UTF_8 = "utf-8"
_MARKS = (
    (codecs.BOM_UTF8, UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LONGEST_MARK = 4  # bytes, from which the encoding can be found


def find_encoding(start: bytes) -> tuple[str, int]:
    """Find the encoding of a text by its first bytes; return it, and the length of its mark.

    Text without a mark is UTF-8, unless every second of its first four bytes is zero, as in
    UTF-16 that Windows programs write without a mark.
    """
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, len(mark)
    zeros = [byte == 0 for byte in start[:LONGEST_MARK]]
    if zeros == [False, True, False, True]:
        return "utf-16-le", 0
    if zeros == [True, False, True, False]:
        return "utf-16-be", 0
    return UTF_8, 0


def decode_text(data: bytes, name: str, *, errors: str = "strict") -> str:
    """Decode a text in whatever encoding it is; `name` is what it is called in errors.

    With `errors="surrogateescape"`, bytes that are not UTF-8 are kept, as in names of files.
    Raises LocalError if it cannot be decoded.
    """
    encoding, mark = find_encoding(data)
    try:
        return data[mark:].decode(encoding, errors if encoding == UTF_8 else "strict")
    except UnicodeDecodeError:
        raise LocalError(
            f"{name} is not {encoding.upper()} text", "save it as UTF-8", path=name
        ) from None


def read_text(source: str | BinaryIO, *, name: str = "", errors: str = "strict") -> str:
    """Read a text from a file, a pipe such as `/dev/fd/63`, or a stream.

    `name` is what it is called in errors, by default its path. Raises LocalError if it cannot be
    read or decoded.
    """
    name = name or (source if isinstance(source, str) else str(source.name))
    try:
        if isinstance(source, str):
            with open(source, "rb") as file:
                data = file.read()
        else:
            data = source.read()
    except OSError as error:
        raise LocalError(f"cannot read {name}: {error.strerror}", path=name) from error
    return decode_text(data, name, errors=errors)
