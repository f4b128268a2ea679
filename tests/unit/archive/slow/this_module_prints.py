"""A decoder whose libraries write to stdout while it is interrupted, as a process of its own."""

import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from dcmweb.archive.representations import decoder_worker

_CHATTER = b"\0" * 1000


def _answer(head: Mapping[str, Any], source: bytes) -> decoder_worker.Message:
    os.write(1, _CHATTER)
    sys.stdout.write("chatter")
    sys.stdout.flush()
    os.write(2, b"chatter")
    if sys.platform != "win32":
        os.kill(os.getpid(), signal.SIGINT)
    threads = os.environ.get("OPENBLAS_NUM_THREADS")
    return {"limits": _limits(), "threads": threads, "colours": head["syntax"]}, source


def _limits() -> list[int]:
    try:
        import resource
    except ImportError:
        return []
    return [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_CORE)]


decoder_worker._answer = _answer
decoder_worker.main()
