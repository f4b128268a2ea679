"""Lists of paths that users hand over: files, pipes and stdin, read as they come."""

from __future__ import annotations

import codecs
import os
import stat
import sys
import threading
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from dcmweb.errors import LocalError, NothingMatched, UsageError
from dcmweb.transfer.stop import Stop
from dcmweb.user_text import LONGEST_MARK, UTF_8, find_encoding

STDIN = "-"
NAP = 0.2  # seconds, after which a run that waits for a list sees that it is to stop


def listed_paths(path: str, stop: Stop, *, null: bool) -> Iterator[str]:
    """Yield the paths in a list as they come; `-` is stdin.

    Lines can end in CR LF, and the list can begin with a byte order mark, or be UTF-16. Blank
    lines, and lines that begin with #, are skipped; with `null`, paths end with NUL, and every
    character counts. Raises what stops the run while it waits for more, and UsageError for JSON.
    """
    end = b"\0" if null else b"\n"
    rest, is_first = b"", True
    for piece in _pieces(path, stop, null=null):
        *whole, rest = (rest + piece).split(end)
        for line in whole:
            if text := _path(line, null=null):
                _refuse_json(text, is_first=is_first)
                is_first = False
                yield text
    if text := _path(rest, null=null):
        _refuse_json(text, is_first=is_first)
        yield text


class PathList:
    """The paths in a list, which are read anew each time; for one that is a file."""

    def __init__(self, path: str, stop: Stop, *, null: bool) -> None:
        self._read = partial(listed_paths, path, stop, null=null)

    def __iter__(self) -> Iterator[str]:
        return self._read()


def _path(line: bytes, *, null: bool) -> str:
    if null:
        return os.fsdecode(line)
    line = line.removesuffix(b"\r")
    return "" if line.startswith(b"#") or not line.strip() else os.fsdecode(line)


def _refuse_json(text: str, *, is_first: bool) -> None:
    if is_first and text.lstrip().startswith(("[", "{")) and not os.path.exists(text):
        hint = "a search prints paths with --format uids"
        raise UsageError("the list is JSON, not paths, one per line", hint)


def _pieces(path: str, stop: Stop, *, null: bool) -> Iterator[bytes]:
    """Yield a list piece by piece, in UTF-8 or whatever bytes it has."""
    file = sys.stdin.buffer if path == STDIN else opened(path)
    with file:
        pieces = iter(partial(read_some, file, stop), b"")
        head = b""
        while len(head) < LONGEST_MARK and (piece := next(pieces, b"")):
            head += piece
        encoding, mark = find_encoding(head)
        if null and not mark:  # the NULs separate paths
            encoding = UTF_8
        yield from _decoded(head[mark:], pieces, encoding, path)


def _decoded(head: bytes, pieces: Iterator[bytes], encoding: str, path: str) -> Iterator[bytes]:
    if encoding == UTF_8:  # or whatever bytes names of files have
        yield head
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        yield decoder.decode(head).encode()
        for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:
        hint = "write it in UTF-8"
        raise UsageError(f"the list {path} is not valid {encoding.upper()}", hint) from None


def empty_list() -> NothingMatched:
    """Make the error for a list without a path."""
    hint = "it holds paths, one per line, as of a search with --format uids"
    return NothingMatched("the list has no paths in it", hint)


def is_stream(path: str) -> bool:
    """Return True if a list comes from elsewhere as it is read, such as /dev/fd/63 or a FIFO."""
    return os.path.exists(path) and not os.path.isfile(path)


def opened(path: str) -> BinaryIO:
    """Open a file that the user names. Raises LocalError if that fails."""
    try:
        return open(path, "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise LocalError(f"{path} cannot be opened: {reason}", path=path) from error


def read_some(file: BinaryIO, stop: Stop) -> bytes:
    """Read what there is, nothing at the end; raises what stops the run while it waits."""
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return _read_now(file)
    # Windows can neither wait for a pipe with a timeout nor interrupt a read: a thread waits.
    came: list[bytes | LocalError] = []

    def read() -> None:
        try:
            came.append(_read_now(file))
        except LocalError as error:
            came.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while reader.is_alive():
        reader.join(NAP)
        stop.check()
    if isinstance(came[0], LocalError):
        raise came[0]
    return came[0]


def _read_now(file: BinaryIO) -> bytes:
    try:
        return os.read(file.fileno(), 64 * 1024)
    except OSError as error:
        raise LocalError(f"{file.name} cannot be read: {error.strerror}") from error
