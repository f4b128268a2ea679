"""Decoding in processes of their own, so that a malformed frame cannot end the archive."""

from __future__ import annotations

import atexit
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from pydicom.uid import UID, RLELossless

import dcmweb.archive.representations.decoding as in_process
from dcmweb.archive.representations.decoder_worker import read_message, write_message
from dcmweb.archive.representations.decoding import Array, check_size

_MOST_WORKERS = max(1, min(4, os.cpu_count() or 1))
_TIMEOUT = 60  # seconds for a frame
_REMEMBERED = 10_000  # frames that make decoders crash
_MODULE = "dcmweb.archive.representations.decoder_worker"


def decode(source: bytes, syntax: str, options: Mapping[str, Any]) -> tuple[Array, str]:
    """Decode one frame as `decoding.decode` does; raises ValueError if that fails.

    What needs native libraries is decoded in another process.
    """
    check_size(options)
    if not UID(syntax).is_encapsulated or syntax == RLELossless:
        with _POOL.places:
            return in_process.decode(source, syntax, options)
    return _POOL.decode(source, syntax, options)


class _Worker:
    """A process that decodes one frame at a time."""

    def __init__(self) -> None:
        package = Path(in_process.__file__).parents[3]
        given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        paths = [str(package), *(os.path.abspath(path) for path in given if path)]
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            [sys.executable, "-m", _MODULE],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "OPENBLAS_NUM_THREADS": "1",
            },
            cwd=package,  # modules are imported from there: never from among images
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def decode(
        self, source: bytes, syntax: str, options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bytes]:
        """Decode a frame; raises EOFError if the process ends, or takes too long."""
        timer = threading.Timer(_TIMEOUT, self._process.kill)
        timer.start()
        try:
            requests = cast("IO[bytes]", self._process.stdin)
            write_message(requests, {"syntax": syntax, "options": dict(options)}, source)
            answer = read_message(cast("IO[bytes]", self._process.stdout))
        except OSError:
            raise EOFError from None
        finally:
            timer.cancel()
        if answer is None:
            raise EOFError
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.communicate()


class _Pool:
    """As many processes as frames are decoded at a time, up to a limit."""

    def __init__(self) -> None:
        self.places = threading.Semaphore(_MOST_WORKERS)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._crashing: OrderedDict[bytes, None] = OrderedDict()  # digests of frames

    def decode(self, source: bytes, syntax: str, options: Mapping[str, Any]) -> tuple[Array, str]:
        """Decode a frame in another process; raises ValueError if that fails.

        What made a process crash is not tried again: to start another one takes a second.
        """
        if self._crashing and _digest(source, syntax) in self._crashing:
            raise ValueError("the decoder crashed or took too long")
        with self.places:
            head, data = self._answer(source, syntax, options)
        if "error" in head:
            raise ValueError(head["error"])
        array = np.frombuffer(data, head["dtype"]).reshape(head["shape"])
        return array, str(head["colours"])

    def _answer(
        self, source: bytes, syntax: str, options: Mapping[str, Any]
    ) -> tuple[dict[str, Any], bytes]:
        """Have a frame decoded; a new process is tried if an old one ends, for whatever reason."""
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            is_new = worker is None
            worker = worker or _Worker()
            began = time.monotonic()
            try:
                answer = worker.decode(source, syntax, options)
            except BaseException as error:
                worker.end()
                if not isinstance(error, EOFError):
                    raise
                if not is_new and time.monotonic() - began < _TIMEOUT:
                    continue
                self._note_crash(_digest(source, syntax))
                raise ValueError("the decoder crashed or took too long") from None
            with self._lock:
                self._idle.append(worker)
            return answer

    def _note_crash(self, digest: bytes) -> None:
        with self._lock:
            self._crashing[digest] = None
            while len(self._crashing) > _REMEMBERED:
                self._crashing.popitem(last=False)

    def close(self) -> None:
        """End the processes that are idle; the others end with this one."""
        with self._lock:
            workers, self._idle = self._idle, []
        for worker in workers:
            worker.end()


def _digest(source: bytes, syntax: str) -> bytes:
    return hashlib.sha256(syntax.encode() + source).digest()


_POOL = _Pool()
atexit.register(_POOL.close)
