"""Run commands without the time that Python and its imports take: as forks of one process.

A fork runs `dcmweb.cli.main` as `python -m dcmweb` does, in a process of its own, with streams,
environment and folder of its own; only what is imported is there already. What depends on the
start itself (imports, signals, settings of the interpreter) is tested with `python -m dcmweb`.
`DCMWEB_TESTS_FORK=0` runs all commands so.
"""

from __future__ import annotations

import array
import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock
from typing import IO, NoReturn

# Read by the interpreter when it starts, or by the C library: a fork would not see a change.
_READ_AT_THE_START = ("PYTHON", "LC_", "LANG", "TZ", "MALLOC", "LD_")
_STREAMS = 3
# Imported by the client when they are needed; what the archive needs is left out, and Dask, which
# reads its configuration then.
_NOT_IMPORTED = ("dcmweb.archive", "dcmweb.__main__", "dcmweb.executors.dask")
_LATER = ("google.auth.transport.requests", "pydicom", "requests", "tqdm", "wcwidth")


def is_possible(changed: Mapping[str, str]) -> bool:
    """Return True if a fork does what a new process would, with these variables changed."""
    return (
        hasattr(os, "fork")
        and os.environ.get("DCMWEB_TESTS_FORK") != "0"
        and not any(name.startswith(_READ_AT_THE_START) for name in changed)
    )


class ForkServer:
    """The process that is forked. It ends when the tests do."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._lock = Lock()
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forks", str(theirs.fileno())],
            cwd=Path(__file__).parent.parent,
            env={**environment},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def close(self) -> None:
        self._socket.close()
        self._process.wait()

    def run(
        self,
        args: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        stdin: bytes,
        timeout: float,
    ) -> tuple[int, bytes, bytes]:
        """Run a command; return its exit code, and what it wrote to stdout and stderr."""
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(_STREAMS))
            control, theirs = (stack.enter_context(end) for end in socket.socketpair())
            read_in, write_in = _pipe(stack)
            read_out, write_out = _pipe(stack)
            read_err, write_err = _pipe(stack)
            given: list[socket.socket | IO[bytes]] = [theirs, read_in, write_out, write_err]
            request = json.dumps([list(args), str(cwd), dict(environment)]).encode()
            self._send(request, [end.fileno() for end in given])
            for end in given:
                end.close()
            pool.submit(_write, write_in, stdin)
            out, err = pool.submit(read_out.read), pool.submit(read_err.read)
            control.settimeout(max(timeout, 60))  # a busy machine takes its time to fork
            pid = int.from_bytes(_read(control, 4), "big")
            control.settimeout(timeout)
            try:
                status = int.from_bytes(_read(control, 4), "big")
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(args), timeout) from None
            return os.waitstatus_to_exitcode(status), out.result(timeout), err.result(timeout)

    def _send(self, request: bytes, numbers: list[int]) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", numbers))]
        with self._lock:
            self._socket.sendmsg([len(request).to_bytes(4, "big")], ancillary)
            self._socket.sendall(request)


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return stack.enter_context(open(reading, "rb")), stack.enter_context(open(writing, "wb", 0))


def _write(pipe: IO[bytes], data: bytes) -> None:
    """Write what a command reads, which may be less than all."""
    with suppress(BrokenPipeError), pipe:
        while data:
            data = data[pipe.write(data) :]


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise EOFError("the process that is forked has ended")
        data += piece
    return data


def _import_all() -> None:
    """Import the client, and what it imports when it needs it."""
    import dcmweb

    for module in pkgutil.walk_packages(dcmweb.__path__, "dcmweb."):
        if not module.name.startswith(_NOT_IMPORTED):
            importlib.import_module(module.name)
    for name in _LATER:
        importlib.import_module(name)


def _next_command(requests: socket.socket) -> list[str]:
    """Take requests; return the arguments of each in the fork that is to run it."""
    running: dict[int, socket.socket] = {}
    woken, wakes = socket.socketpair()
    woken.setblocking(False)
    wakes.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    while True:
        ready, _, _ = select.select([requests, woken], [], [])
        if woken in ready:
            woken.recv(1000)
            _report_ends(running)
        if requests not in ready:
            continue
        numbers = array.array("i")
        size = (1 + _STREAMS) * numbers.itemsize
        head, ancillary, _, _ = requests.recvmsg(4, socket.CMSG_SPACE(size))
        if not head:
            os._exit(0)
        numbers.frombytes(ancillary[0][2][:size])
        args, cwd, environment = json.loads(_read(requests, int.from_bytes(head, "big")))
        control = socket.socket(fileno=numbers[0])
        command = os.fork()
        if not command:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for connection in (requests, woken, wakes, control, *running.values()):
                connection.close()
            for number, stream in enumerate(numbers[1:]):
                os.dup2(stream, number)
                os.close(stream)
            _open_streams()
            os.chdir(cwd)
            os.environ.clear()
            os.environ.update(environment)
            return list(args)
        for stream in numbers[1:]:
            os.close(stream)
        running[command] = control
        control.sendall(command.to_bytes(4, "big"))


def _report_ends(running: dict[int, socket.socket]) -> None:
    """Report how those commands ended that have ended."""
    for command in list(running):
        ended, status = os.waitpid(command, os.WNOHANG)
        if ended:
            with running.pop(command) as control, suppress(BrokenPipeError):
                control.sendall(status.to_bytes(4, "big"))


def _open_streams() -> None:
    """Open the standard streams, as the interpreter does when it starts."""
    old = sys.stdin
    new = open(0, encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
    sys.stdin = sys.__stdin__ = new  # type: ignore[misc]
    for name, number in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        new = open(  # noqa: SIM115
            number, "w", encoding=old.encoding, errors=old.errors, closefd=False
        )
        new.reconfigure(line_buffering=number == 2 or new.isatty())
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def main() -> None:
    """Import all, then run commands as they come, each in a fork."""
    _import_all()
    gc.collect()
    gc.freeze()  # what all share is not to be copied for the sake of a mark
    args = _next_command(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[:] = ["dcmweb", *args]

    from dcmweb.cli import main as run

    status: object = None
    try:
        run()
    except SystemExit as end:
        status = end.code
    _end(status)


def _end(status: object) -> NoReturn:
    """End as the interpreter does, but do not take down what was imported.

    That would touch, and so copy, all memory of the process that was forked: it takes longer than
    most commands.
    """
    assert status is None or isinstance(status, int), status
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BrokenPipeError):
            stream.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    main()
