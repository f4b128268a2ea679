"""Locks on open files, and whether a process still runs: what keeps runs from harming each other.

A lock belongs to one machine at least; some file systems (Lustre, NFS without locking) keep no
locks between machines, and some keep none at all.
"""

from __future__ import annotations

import errno
import os
import sys
from enum import Enum, auto
from typing import IO


class Locking(Enum):
    """The result of asking for a lock."""

    LOCKED = auto()
    TAKEN = auto()  # another open file holds it
    UNSUPPORTED = auto()  # the file system has no locks


def try_lock(file: IO[bytes]) -> Locking:
    """Ask for the exclusive lock of a file, which lasts until the file is closed.

    The file has to be open for writing, or NFS refuses. Windows keeps others from reading the
    locked part as well.
    """
    return _try_lock(file)


if sys.platform == "win32":

    def _try_lock(file: IO[bytes]) -> Locking:
        import portalocker

        try:
            portalocker.lock(file, portalocker.LOCK_EX | portalocker.LOCK_NB)
        except portalocker.AlreadyLocked:
            return Locking.TAKEN
        except (portalocker.LockException, OSError) as error:
            is_unsaid = getattr(error.__cause__, "errno", None) == 0  # as wine 8 leaves it
            return Locking.TAKEN if is_unsaid else Locking.UNSUPPORTED
        return Locking.LOCKED

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> Locking:
        # Without portalocker, which does the same there: this is done for each file retrieved.
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            is_taken = error.errno in (errno.EAGAIN, errno.EACCES)
            return Locking.TAKEN if is_taken else Locking.UNSUPPORTED
        return Locking.LOCKED


def is_running(process_id: int) -> bool:
    """Return True if this machine has a process of that number, or may have one."""
    if sys.platform == "win32":
        return _is_running_on_windows(process_id)
    try:
        os.kill(process_id, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


if sys.platform == "win32":

    def _is_running_on_windows(process_id: int) -> bool:
        # os.kill(n, 0) would send Ctrl-C there.
        import ctypes

        synchronize, invalid_parameter, timed_out = 1 << 20, 87, 0x102
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = ctypes.c_void_p
        kernel.WaitForSingleObject.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        kernel.CloseHandle.argtypes = [ctypes.c_void_p]
        handle = kernel.OpenProcess(synchronize, False, process_id & 0xFFFFFFFF)
        if not handle:
            return ctypes.get_last_error() != invalid_parameter
        try:
            return bool(kernel.WaitForSingleObject(handle, 0) == timed_out)
        finally:
            kernel.CloseHandle(handle)
