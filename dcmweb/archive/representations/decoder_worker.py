"""A process that decodes frames: malformed ones make native decoders crash, or take much memory.

GDCM 3.2 ends its process on some JPEG files; OpenJPEG allocates what the codestream announces.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any

_LENGTHS = struct.Struct(">LQ")
# Bytes of address space: OpenJPEG takes 1.9 GB for the largest frame that is decoded.
_MOST_MEMORY = 5 * 1024**3 // 2
Message = tuple[dict[str, Any], bytes]


def write_message(file: IO[bytes], head: Mapping[str, Any], data: bytes) -> None:
    """Write a JSON object and bytes."""
    text = json.dumps(head).encode()
    file.write(_LENGTHS.pack(len(text), len(data)) + text)
    file.write(data)
    file.flush()


def read_message(file: IO[bytes]) -> Message | None:
    """Read what `write_message` wrote; None at the end. Raises EOFError if it breaks off."""
    lengths = file.read(_LENGTHS.size)
    if not lengths:
        return None
    if len(lengths) < _LENGTHS.size:
        raise EOFError
    text_length, data_length = _LENGTHS.unpack(lengths)
    text, data = file.read(text_length), file.read(data_length)
    if (len(text), len(data)) != (text_length, data_length):
        raise EOFError
    head: dict[str, Any] = json.loads(text)
    return head, data


def main() -> None:
    """Answer requests on stdin until it is closed; libraries may write what they like to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the archive ends this process
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _limit_memory()
    while (message := read_message(sys.stdin.buffer)) is not None:
        write_message(answers, *_answer(*message))


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(head: Mapping[str, Any], source: bytes) -> Message:
    from dcmweb.archive.representations.decoding import decode

    try:
        array, colours = decode(source, head["syntax"], head["options"])
    except MemoryError:
        return {"error": "a frame takes too much memory"}, b""
    except Exception as error:
        return {"error": " ".join(str(error).split())[:500]}, b""
    return {"shape": array.shape, "dtype": array.dtype.str, "colours": colours}, array.tobytes()


if __name__ == "__main__":
    main()
