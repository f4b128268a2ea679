"""Writing what a server sends: safe names, and files that are complete or absent."""

from __future__ import annotations

import errno
import filecmp
import hashlib
import io
import itertools
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache
from typing import BinaryIO

from dcmweb.counted import plural
from dcmweb.dicom.resources import Resource
from dcmweb.errors import LocalError
from dcmweb.local import windows
from dcmweb.locks import Locking, is_running, try_lock
from dcmweb.sources import Stamp

LONGEST_NAME = 100
OWN_FOLDER = ".dcmweb"
PARTIAL_PREFIX, PARTIAL_SUFFIX = ".dcmweb-", ".part"
OLD = 7 * 24 * 3600  # seconds; a partial file untouched for so long is nobody's any more

_PARTIAL = re.compile(r"\.dcmweb-([0-9a-f]{8})-([0-9]+)-([0-9a-f]{8})-[0-9]+\.part")
_NUMBERS = itertools.count(1)
_DIGEST = re.compile(r"-[0-9a-f]{12}$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HOPELESS = (*_FULL, errno.EROFS, errno.EIO)
# What file systems without hard links say: exFAT, some network and FUSE file systems.
_NO_LINKS = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
_PATIENCE = 20  # times to try what Windows refuses while a virus scanner, say, reads the file


def is_internal(name: str) -> bool:
    """Return True if a file or folder belongs to dcmweb itself: a partial file, an index."""
    if not name.startswith("."):  # as nearly all names
        return False
    return name == OWN_FOLDER or (name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX))


def safe_name(text: str) -> str:
    """Make a text into the name of a file or folder, on any system.

    What has to be changed gets a digest of the original, so that two never share a name.
    """
    name = _UNSAFE.sub("_", text)[:LONGEST_NAME] or "_"
    if name.startswith("."):
        name = "_" + name[1:]
    if windows.is_device(name):
        name = "_" + name
    if name != text or name.endswith(".") or _DIGEST.search(name):
        name += distinguishing_suffix(text)
    return name


@lru_cache(maxsize=1024)  # the names of studies and series come again and again
def uid_name(uid: str) -> str:
    """Make a UID into the name of a file or folder; UIDs as they should be stay as they are.

    Those with capital letters are changed: some file systems take them for small ones.
    """
    name = safe_name(uid)
    is_ambiguous = name == uid and uid != uid.lower()
    return name + distinguishing_suffix(uid) if is_ambiguous else name


def distinguishing_suffix(text: str) -> str:
    """Make what tells a changed name from others."""
    return "-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def instance_path(instance: Resource, extension: str = "") -> str:
    """Place an instance in the tree of study, series and instance, relative."""
    uids = (instance.study, instance.series, instance.instance)
    return os.path.join(*map(uid_name, uids)) + extension


def folder_path(resource: Resource) -> str:
    """Tell the folder of a study or series in that tree, relative; "" for the whole."""
    return os.path.join(*(uid_name(uid) for uid in (resource.study, resource.series) if uid), "")


class PartialFile:
    """A file being written beside its final place; only `move_to` gives it a name of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._is_moved = False
        self.size = 0
        while True:
            name = f"{_own_prefix()}{next(_NUMBERS)}{PARTIAL_SUFFIX}"
            self.path = windows.long_path(os.path.join(folder, name))
            self.file = open(self.path, "x+b", buffering=0)  # noqa: SIM115 - closed by discard
            if try_lock(self.file) is not Locking.TAKEN and os.fstat(self.file.fileno()).st_nlink:
                return
            self.file.close()  # another run took it for a leftover

    @property
    def stamp(self) -> Stamp:
        """Size and time of the file, while it is open."""
        status = os.fstat(self.file.fileno())
        return Stamp(status.st_size, status.st_mtime_ns)

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        size = len(data)
        self.size += size
        written = self.file.write(data)
        while written < size:
            data = memoryview(data)[written:]
            size -= written
            written = self.file.write(data)

    @contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        """Read what has been written so far."""
        buffered = io.BufferedReader(self.file)
        try:
            yield buffered
        finally:
            buffered.detach()

    def move_to(self, path: str, *, replaces: bool = True) -> str:
        """Give the file its final path, relative to the folder, and close it; return that whole.

        Raises FileExistsError if something is there already, unless the file `replaces` it, and
        OSError if a symbolic link in place of one of its folders leads out of the folder.
        The file stays locked until it has its name, except on Windows, which moves no open file.
        """
        final = os.path.join(self._folder, path)
        place = windows.long_path(final)
        if not os.path.isabs(path):
            check_links(self._folder, os.path.dirname(path))
        move = _replace if replaces else _move_if_free
        if windows.IS_WINDOWS:
            self.file.close()
        elif not self.file.closed:
            # Network file systems say only at a close that a write has failed.
            os.close(os.dup(self.file.fileno()))
        try:
            move(self.path, place)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            move(self.path, place)
        self._is_moved = True
        self.file.close()
        return final

    def is_same_as(self, path: str) -> bool:
        """Return True if a file of the folder has the same bytes, once all has been written."""
        other = windows.long_path(os.path.join(self._folder, path))
        return os.path.isfile(other) and filecmp.cmp(self.path, other, shallow=False)

    def discard(self) -> None:
        """Close and remove the file; harmless after `move_to`."""
        self.file.close()
        if not self._is_moved:
            with suppress(FileNotFoundError):
                os.unlink(self.path)


@contextmanager
def partial_file(folder: str) -> Iterator[PartialFile]:
    """Open a partial file that is gone at the end unless it was moved.

    Raises LocalError when it cannot be written; a full disk ends the run.
    """
    with writing_into(folder):
        partial = PartialFile(folder)
        try:
            yield partial
        finally:
            partial.discard()


def check_space(folder: str, size: int) -> None:
    """Raise LocalError, which ends the run, if a folder has no room for this number of bytes."""
    with writing_into(folder):
        free = shutil.disk_usage(folder).free
    if size > free:
        raise LocalError(
            f"{plural(size, 'byte')} are to come into {folder}, where {free:,} are free",
            "free some space and start again",
            path=folder,
            fatal=True,
        )


def writing_into(folder: str) -> AbstractContextManager[None]:
    """Translate errors of writing below a folder into LocalError."""
    return _WritingInto(folder)


class _WritingInto:
    """A class of its own rather than a generator, since it is entered for each file."""

    __slots__ = ("_folder",)

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise _not_written(self._folder, error) from error


def _not_written(folder: str, error: OSError) -> LocalError:
    words = error.strerror or str(error)
    hint = "free some space and start again" if error.errno in _FULL else ""
    is_fatal = error.errno in _HOPELESS
    return LocalError(f"cannot write into {folder}: {words}", hint, path=folder, fatal=is_fatal)


def sync_file(file: BinaryIO | io.FileIO) -> None:
    """Have the content of a file on the disk for good."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):  # as network file systems do not know it
            fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # fsync leaves it in the disk's cache there
            return
    os.fsync(file.fileno())


def sync_folder(folder: str) -> None:
    """Have the names in a folder on the disk for good; Windows does so by itself."""
    if windows.IS_WINDOWS:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: str) -> None:
    """Make the output folder if it is missing, and check that it can be written into.

    Partial files in it that belong to no run any more are removed: those of processes of this
    machine that have ended, and those of other machines once they are a week old.
    Raises LocalError when the folder cannot be written into.
    """
    with writing_into(folder):
        os.makedirs(folder, exist_ok=True)
        for name in os.listdir(folder):
            if name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX):
                _remove_leftover(os.path.join(folder, name))
        with partial_file(folder):
            pass


def _remove_leftover(path: str) -> None:
    """Remove a partial file whose run has ended for certain, or that nobody touched for long."""
    with suppress(OSError):  # what cannot be removed, being gone or somebody else's, does no harm
        is_old = time.time() - os.stat(path).st_mtime > OLD
        if not (is_old or _is_ownerless(os.path.basename(path))):
            return
        with open(path, "r+b") as file:
            if try_lock(file) is Locking.TAKEN:
                return
            if not windows.IS_WINDOWS:
                os.unlink(path)
                return
        os.unlink(path)  # which Windows refuses for a file that a run has open


def _is_ownerless(name: str) -> bool:
    """Return True if the name of a partial file says that its run was here and has ended."""
    parts = _PARTIAL.fullmatch(name)
    if not parts or parts[1] != _host():
        return False
    if int(parts[2]) == os.getpid():  # of this run, or of one that had its number
        return not name.startswith(_own_prefix())
    return not is_running(int(parts[2]))


def _own_prefix() -> str:
    """Return how names of partial files of this process begin: with machine, process and run."""
    return _prefix(os.getpid())  # another one in a process that was forked


@lru_cache(maxsize=1)
def _prefix(process_id: int) -> str:
    return f"{PARTIAL_PREFIX}{_host()}-{process_id}-{secrets.token_hex(4)}-"


@lru_cache
def _host() -> str:
    """Name what process numbers are of: this machine, or a container on it."""
    name = socket.gethostname()
    with suppress(OSError, AttributeError):
        name += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def leads_out(path: str, folder: str) -> bool:
    """Return True if what a path leads to is not in the folder, once all links are followed."""
    inside = os.path.join(os.path.realpath(folder), "")
    return not os.path.join(os.path.realpath(path), "").startswith(inside)


def check_links(folder: str, below: str) -> None:
    """Raise OSError if a link in place of one of the folders below a folder leads out of it."""
    place = folder
    for name in below.split(os.sep):
        place = os.path.join(place, name)
        try:
            status = os.lstat(windows.long_path(place))
        except FileNotFoundError:
            return
        # A junction of Windows is not a symbolic link, but has a tag of its own.
        is_link = stat.S_ISLNK(status.st_mode) or bool(getattr(status, "st_reparse_tag", 0))
        if is_link and leads_out(place, folder):
            raise OSError(errno.ELOOP, "a symbolic link there leads out of the folder", place)


def _move_if_free(source: str, final: str) -> None:
    """Rename a file; raise FileExistsError, at no moment replacing anything, if the name is taken.

    Two runs that want the same name at once cannot both get it.
    """
    if windows.IS_WINDOWS:
        _patiently(os.rename, source, final)
        return
    try:
        os.link(source, final)
    except FileExistsError:
        if not os.path.samefile(source, final):  # NFS says so when it did it and lost its answer
            raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _claim_and_replace(source, final)
        return
    os.unlink(source)


def _claim_and_replace(source: str, final: str) -> None:
    """Take a name with an empty file, which only one run can make, then put the file there."""
    os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        os.replace(source, final)
    except BaseException:
        os.unlink(final)
        raise


def _replace(source: str, final: str) -> None:
    _patiently(os.replace, source, final)


def _patiently(move: Callable[[str, str], None], source: str, final: str) -> None:
    """Move a file, on Windows a few times: it refuses while another program reads either file."""
    for left in reversed(range(_PATIENCE if windows.IS_WINDOWS else 1)):
        try:
            move(source, final)
        except PermissionError:
            if not left or os.path.isdir(final):
                raise
            time.sleep(0.05)
        else:
            return
