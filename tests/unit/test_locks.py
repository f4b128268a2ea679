"""Locks on open files, and processes that live."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dcmweb.locks import Locking, is_running, try_lock


def test_one_open_file_has_the_lock_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with open(path, "wb") as first, open(path, "r+b") as second:
        assert try_lock(first) is Locking.LOCKED
        assert try_lock(second) is Locking.TAKEN
        first.close()
        assert try_lock(second) is Locking.LOCKED


def test_another_process_has_the_lock_until_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "x"
    code = (
        "import sys; from dcmweb.locks import try_lock; file = open(sys.argv[1], 'wb'); "
        "print(try_lock(file).name, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == b"LOCKED"
        with open(path, "r+b") as file:
            assert try_lock(file) is Locking.TAKEN
        process.kill()
    with open(path, "r+b") as file:
        assert try_lock(file) is Locking.LOCKED


def test_a_lock_moves_nothing_in_the_file(tmp_path: Path) -> None:
    with open(tmp_path / "x", "w+b") as file:
        file.write(b"0123456789")
        file.seek(4)
        try_lock(file)
        assert file.read(2) == b"45"


@pytest.mark.skipif(os.name == "nt", reason="portalocker asks Windows")
def test_a_file_system_without_locks_is_told_from_a_lock_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with open(tmp_path / "x", "wb") as file:
        assert try_lock(file) is Locking.UNSUPPORTED


def test_processes_that_live_and_that_have_ended() -> None:
    assert is_running(os.getpid())
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert is_running(process.pid)
        process.kill()
    assert not is_running(process.pid)
    assert not is_running(10**30 if os.name != "nt" else 4_000_000_001)


@pytest.mark.skipif(os.name == "nt", reason="POSIX says that somebody else's process is there")
def test_a_process_of_somebody_else_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert is_running(1)
