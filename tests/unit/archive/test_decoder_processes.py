"""Processes that decode: what is said to them, what they may take, and how many there are."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from dcmweb.archive.representations import decoder_pool, decoder_worker, decoding
from dcmweb.archive.representations.decoder_worker import read_message, write_message

Answer = tuple[dict[str, Any], bytes]


def message(head: Mapping[str, Any], data: bytes) -> bytes:
    file = io.BytesIO()
    write_message(file, head, data)
    return file.getvalue()


def test_messages_are_read_until_the_end() -> None:
    file = io.BytesIO(message({"a": 1}, b"x") + message({}, b""))
    assert [read_message(file) for _ in range(3)] == [({"a": 1}, b"x"), ({}, b""), None]


@pytest.mark.parametrize("data", [b"xyz", b""])
def test_a_message_that_breaks_off_is_not_taken_for_one(data: bytes) -> None:
    whole = message({"error": "no"}, data)
    for size in range(1, len(whole)):
        with pytest.raises(EOFError):
            read_message(io.BytesIO(whole[:size]))


@pytest.fixture
def printing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have processes run a module that needs no libraries, and starts sooner."""
    monkeypatch.setattr(decoder_pool, "_MODULE", "this_module_prints")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "slow"))


@pytest.mark.usefixtures("printing")
def test_a_process_keeps_to_its_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It imports nothing of the current folder, and answers whatever its libraries print."""
    for name in ("json", "this_module_prints"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    worker = decoder_pool._Worker()
    try:
        for source in (b"first", b"second"):
            head, data = worker.decode(source, "1.2", {})
            assert (head["colours"], data) == ("1.2", source)
        if sys.platform != "win32":
            assert head["limits"] == [decoder_worker._MOST_MEMORY, 0]
        assert head["threads"] == "1"  # each of them takes memory
    finally:
        worker.end()
    assert worker._process.returncode is not None
    assert capfd.readouterr() == ("", "")


class Timer:
    """Stands in for a timer that takes note of what becomes of it."""

    became: ClassVar[list[str]] = []

    def __init__(self, _seconds: float, _function: object) -> None:
        pass

    def start(self) -> None:
        self.became.append("started")

    def cancel(self) -> None:
        self.became.append("cancelled")


@pytest.mark.usefixtures("printing")
def test_a_process_that_has_ended_is_known_to_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "Timer", Timer)
    worker = decoder_pool._Worker()
    worker._process.kill()
    worker._process.wait()
    with pytest.raises(EOFError):
        worker.decode(b"x" * 10**6, "1.2", {})
    worker.end()
    assert Timer.became == ["started", "cancelled"]


@pytest.mark.parametrize(
    ("error", "words"),
    [(MemoryError(), "a frame takes too much memory"), (OSError("a\n b" + "c" * 999), "a bccc")],
)
def test_what_a_decoder_raises_is_an_answer(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def decode(source: bytes, syntax: str, options: Mapping[str, Any]) -> None:
        raise error

    monkeypatch.setattr(decoding, "decode", decode)
    head, data = decoder_worker._answer({"syntax": "1.2", "options": {}}, b"")
    assert head["error"].startswith(words)
    assert len(head["error"]) <= 500
    assert data == b""


class Worker:
    """Stands in for a process; the class counts those that there were."""

    made = ended = 0
    error: BaseException | None = None

    def __init__(self) -> None:
        type(self).made += 1

    def decode(self, source: bytes, syntax: str, options: Mapping[str, Any]) -> Answer:
        if error := type(self).error:
            raise error
        return {"dtype": "u1", "shape": [len(source)], "colours": "RGB"}, source

    def end(self) -> None:
        type(self).ended += 1


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> type[Worker]:
    class Counted(Worker):
        """With counts of its own."""

    monkeypatch.setattr(decoder_pool, "_Worker", Counted)
    return Counted


def test_no_more_processes_work_at_a_time_than_there_may_be(
    monkeypatch: pytest.MonkeyPatch, workers: type[Worker]
) -> None:
    pool = decoder_pool._Pool()
    free: list[int] = []
    decode = workers.decode

    def decoding(self: Worker, *how: Any) -> Answer:
        free.append(pool.places._value)
        return decode(self, *how)

    monkeypatch.setattr(workers, "decode", decoding)
    for _ in range(2):
        pool.decode(b"x", "1.2", {})
    assert free == [decoder_pool._MOST_WORKERS - 1] * 2
    assert pool.places._value == decoder_pool._MOST_WORKERS
    pool.close()
    assert (workers.made, workers.ended) == (1, 1)


def test_what_is_decoded_in_this_process_takes_a_place_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = decoder_pool._Pool()
    monkeypatch.setattr(decoder_pool, "_POOL", pool)
    free = []
    monkeypatch.setattr(decoding, "decode", lambda *_: free.append(pool.places._value))
    decoder_pool.decode(b"", "1.2.840.10008.1.2.1", dict.fromkeys(SIZE, 1))
    assert free == [decoder_pool._MOST_WORKERS - 1]


SIZE = ("rows", "columns", "samples_per_pixel", "bits_allocated")


def test_a_process_is_ended_whatever_goes_wrong(workers: type[Worker]) -> None:
    pool = decoder_pool._Pool()
    for error in (TypeError("not JSON"), KeyboardInterrupt()):
        workers.error = error
        with pytest.raises(type(error)):
            pool.decode(b"x", "1.2", {})
    assert (workers.made, workers.ended) == (2, 2)


def test_a_process_that_took_all_its_time_is_not_replaced(
    monkeypatch: pytest.MonkeyPatch, workers: type[Worker]
) -> None:
    pool = decoder_pool._Pool()
    pool.decode(b"x", "1.2", {})
    workers.error = EOFError()
    monkeypatch.setattr(decoder_pool, "_TIMEOUT", 0)
    with pytest.raises(ValueError, match="took too long"):
        pool.decode(b"x", "1.2", {})
    assert workers.made == 1


def test_frames_that_crash_are_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch, workers: type[Worker]
) -> None:
    monkeypatch.setattr(decoder_pool, "_REMEMBERED", 2)
    workers.error = EOFError()
    pool = decoder_pool._Pool()
    for source in (b"a", b"b", b"c"):
        with pytest.raises(ValueError, match="crashed"):
            pool.decode(source, "1.2", {})
    assert len(pool._crashing) == 2
    with pytest.raises(ValueError, match="crashed"):
        pool.decode(b"c", "1.2", {})
    assert workers.made == 3
