"""The folder: existing files are served where they are, stored files are added beside them.

An acknowledged instance is durable: its file is on disk, under its final name, before it is
indexed, and the index forgets an instance before its file is removed. Whenever the process dies,
the next start finds complete files and updates the index.
"""

from __future__ import annotations

import errno
import filecmp
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from werkzeug.exceptions import Forbidden

from dcmweb.archive.storage.header import Header, read_header
from dcmweb.archive.storage.index import DELETED, SERVED, Entry, Index
from dcmweb.archive.storage.index_place import cache_folder, claim_index, is_writable
from dcmweb.counted import plural
from dcmweb.dicom.byte_ranges import open_regular
from dcmweb.dicom.resources import Resource
from dcmweb.errors import BrokenDicom, LocalError, NotDicom
from dcmweb.local.moving import check_links, leads_out
from dcmweb.local.partial_files import (
    OWN_FOLDER,
    PartialFile,
    is_internal,
    make_folder,
    sync_file,
    sync_folder,
    writing_into,
)
from dcmweb.local.safe_names import instance_path
from dcmweb.local.windows import IS_WINDOWS
from dcmweb.locks import Locking, try_lock

_INDEX, _LOCK = "index.sqlite3", "lock"
_GONE = (errno.ENOENT, errno.ELOOP)  # a link that leads nowhere, or a file that was just removed
_TOGETHER = 1000  # files to a transaction when indexing

Notify = Callable[[str], None]
# Called with the number of files that were read, and of all to read; while these are looked for,
# with the number of files that were found, and None.
OnIndexed = Callable[[int, "int | None"], None]


class Kept(Enum):
    """The result of storing a file."""

    NEW = "new"
    SAME = "the same bytes are there"
    DIFFERENT = "it is there with other bytes"


@dataclass
class Received:
    """A completely received file that still has its partial name."""

    partial: PartialFile
    header: Header


class Storage:
    """A folder and its index; raises LocalError if it cannot be used."""

    def __init__(
        self,
        folder: str,
        notify: Notify = lambda _line: None,
        *,
        index_folder: str = "",
        on_indexed: OnIndexed = lambda _done, _all: None,
    ) -> None:
        self.folder = os.path.abspath(folder)
        if not os.path.isdir(self.folder):
            raise LocalError(f"there is no folder {folder}", path=folder)
        self.is_read_only = not is_writable(self.folder)
        if self.is_read_only and not index_folder:
            index_folder = cache_folder(self.folder)
            notify(f"The folder is read-only; its index is in {index_folder}")
        self._own = os.path.abspath(index_folder or os.path.join(self.folder, OWN_FOLDER))
        self._new_files = self.folder if index_folder else self._own  # on the same file system
        if not index_folder and os.path.islink(self._own):
            raise LocalError("the folder of the index is a symbolic link", path=self._own)
        with writing_into(self._own):
            os.makedirs(self._own, 0o700, exist_ok=True)  # its index has names of patients
            self._lock = self._locked()
        try:
            if index_folder:
                claim_index(self._own, self.folder)
            if not self.is_read_only:
                make_folder(self._new_files)
            self.index = Index(os.path.join(self._own, _INDEX))
            Scan(self, notify, on_indexed).run()
            self._finish_deletions()  # of what is in the folder: the index may be a stranger's
        except BaseException:
            self._lock.close()
            raise

    def _locked(self) -> io.BufferedWriter:
        """Lock the folder for the lifetime of this archive."""
        lock = open(os.path.join(self._own, _LOCK), "ab", opener=_open_own)  # noqa: SIM115
        match try_lock(lock):
            case Locking.LOCKED:
                return lock
            case Locking.TAKEN:
                reason, hint = "another archive is serving this folder", ""
            case Locking.UNSUPPORTED:
                reason, hint = "the file system of this folder has no locks", "choose another one"
        lock.close()
        raise LocalError(reason, hint, path=self.folder)

    def _finish_deletions(self) -> None:
        query = f"SELECT path FROM files WHERE own AND note = '{DELETED}'"
        self._unlink(os.fsdecode(path) for (path,) in self.index.connection().execute(query))

    def close(self) -> None:
        """Close the index and release the folder."""
        self.index.close()
        self._lock.close()

    @property
    def index_folder(self) -> str:
        """The folder of the index."""
        return self._own

    def path(self, entry: Entry) -> str:
        """Return the path of a file."""
        return os.path.join(self.folder, entry.path)

    def present_path(self, entry: Entry) -> str:
        """Return the path of a file; raise FileNotFoundError if it is not `present`."""
        if not self.present([entry]):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path(entry))
        return self.path(entry)

    def present(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return those whose file is still there, and is not a link out of the folder."""
        inside: dict[str, bool] = {}
        return [entry for entry in entries if self._is_present(entry, inside)]

    def _is_present(self, entry: Entry, inside: dict[str, bool]) -> bool:
        path = self.path(entry)
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                return stat.S_ISREG(os.stat(path).st_mode) and not leads_out(path, self.folder)
        except OSError:
            return False
        above = os.path.dirname(path)
        if above not in inside:
            inside[above] = not leads_out(above, self.folder)
        return stat.S_ISREG(status.st_mode) and inside[above]

    def new_file(self) -> PartialFile:
        """Open a partial file that lives until it is kept or discarded."""
        if self.is_read_only:
            raise Forbidden("the archive serves a read-only folder: nothing can be stored")
        with writing_into(self._new_files):
            return PartialFile(self._new_files)

    @staticmethod
    def look_at(partial: PartialFile) -> Received:
        """Read the header of a received file, and sync it to disk.

        Raises NotDicom or BrokenDicom, as `read_header` does.
        """
        with partial.reader() as reader:
            header = read_header(reader)
        sync_file(partial.file)
        partial.file.close()
        return Received(partial, header)

    def keep(self, received: Iterable[Received], *, replace: bool = False) -> list[Kept]:
        """Give files their final names and index them; they are durable afterwards.

        Instances with other bytes are replaced if that is wanted: their files are treated as if
        they were deleted.
        """
        replaced: list[Entry] = []
        with writing_into(self.folder), self.index.writing():
            folders: set[str] = set()
            kept = [self._keep(one, folders, replaced if replace else None) for one in received]
            for folder in folders:
                sync_folder(folder)
        self._unlink(entry.path for entry in replaced if entry.own)
        return kept

    def _keep(self, received: Received, folders: set[str], replaced: list[Entry] | None) -> Kept:
        header = received.header
        there = self.index.find(header.identity.resource)
        if there and not self.present([there]):
            self.index.remove([there.path])
            there = None
        if there:
            same = filecmp.cmp(received.partial.path, self.path(there), shallow=False)
            if same or replaced is None:
                received.partial.discard()
                return Kept.SAME if same else Kept.DIFFERENT
            replaced += self.index.mark_deleted(header.identity.resource)
        path = self._move(received.partial, header.identity.resource)
        final = os.path.join(self.folder, path)
        folders.update(_folders_between(self.folder, os.path.dirname(final)))
        self.index.add(path, header, own=True)
        return Kept.NEW

    def _move(self, partial: PartialFile, resource: Resource) -> str:
        """Give a file a path in the tree that retrieve writes; what lies there stays."""
        path, number = instance_path(resource, ".dcm"), 1
        while True:
            check_links(self.folder, os.path.dirname(path))
            try:
                partial.move_to(os.path.join(self.folder, path), replaces=False)
            except FileExistsError:
                number += 1
                path = instance_path(resource, f"-{number}.dcm")
            else:
                return path

    def delete(self, resource: Resource) -> int:
        """Stop serving a resource; returns the number of deleted instances.

        Files that the archive stored are removed; all others stay in the folder.
        """
        with self.index.writing():
            gone = self.index.mark_deleted(resource)
        self._unlink(entry.path for entry in gone if entry.own)
        return sum(entry.note == SERVED for entry in gone)

    def _unlink(self, paths: Iterable[str]) -> None:
        """Remove files, and folders that become empty, while nothing is being stored."""
        removed: list[str] = []
        with self.index.locked():
            for path in [] if self.is_read_only else list(paths):
                known = self.index.file(path)
                is_deleted = known is not None and known.note == DELETED  # and not stored again
                if not (is_deleted and self._remove(path)):
                    continue
                self._remove_empty(os.path.dirname(path))
                removed.append(path)
            self.index.forget_deleted(removed)

    def _remove(self, path: str) -> bool:
        """Remove a file; False if Windows keeps it while it is read, until the next start."""
        try:
            os.unlink(os.path.join(self.folder, path))
        except FileNotFoundError:
            return True
        except PermissionError:
            if IS_WINDOWS:
                return False
            raise
        return True

    def _remove_empty(self, folder: str) -> None:
        """Remove a folder and those above it, as far as they are empty; never the top."""
        with suppress(OSError):  # the folder is not empty, or already gone
            while folder:
                os.rmdir(os.path.join(self.folder, folder))
                folder = os.path.dirname(folder)


class Scan:
    """Updates the index from the folder; reads only new and changed files."""

    def __init__(self, storage: Storage, notify: Notify, on_indexed: OnIndexed) -> None:
        self._storage = storage
        self._index = storage.index
        self._notify = notify
        self._on_indexed = on_indexed
        self._no_dicom = self._outside = 0

    def run(self) -> None:
        """Visit all files, and remove missing ones from the index."""
        connection = self._index.connection()
        connection.execute("CREATE TEMP TABLE seen (path BLOB PRIMARY KEY) WITHOUT ROWID")
        connection.execute("CREATE TEMP TABLE waiting (path BLOB, size INTEGER, mtime_ns INTEGER)")
        waiting = 0
        for path, status in self._files():
            name = os.fsencode(path)
            connection.execute("INSERT INTO seen VALUES (?)", [name])
            known = self._index.file(path)
            if not known or (known.size, known.mtime_ns) != (status.st_size, status.st_mtime_ns):
                row = (name, status.st_size, status.st_mtime_ns)
                connection.execute("INSERT INTO waiting VALUES (?, ?, ?)", row)
                waiting += 1
                self._on_indexed(waiting, None)
        self._read_waiting(waiting)
        query = "SELECT path FROM files WHERE path NOT IN (SELECT path FROM seen)"
        vanished = [os.fsdecode(path) for (path,) in connection.execute(query).fetchall()]
        with self._index.writing():
            self._index.remove(vanished)
        connection.execute("DROP TABLE seen")
        connection.execute("DROP TABLE waiting")
        if self._no_dicom:
            self._notify(f"{self._no_dicom} new files are not served: they are not DICOM instances")
        if self._outside:
            self._notify(f"{self._outside} links are not served: they lead out of the folder")
        (served,) = connection.execute("SELECT COUNT(*) FROM instances").fetchone()
        self._notify(f"Serving {plural(served, 'instance')} in {self._storage.folder}")

    def _read_waiting(self, count: int) -> None:
        """Read the files that are new or have changed, some to a transaction."""
        done, last = 0, 0
        query = f"SELECT rowid, * FROM waiting WHERE rowid > ? ORDER BY rowid LIMIT {_TOGETHER}"
        while rows := self._index.connection().execute(query, [last]).fetchall():
            with self._index.writing():
                for _, name, size, mtime_ns in rows:
                    path = os.fsdecode(name)
                    self._index.remove([path])
                    note = self._note(path, size, mtime_ns)
                    if note != SERVED:
                        self._notify(f"{path} is not served: {note}")
                    done += 1
                    self._on_indexed(done, count)
            last = rows[-1][0]

    def _note(self, path: str, size: int, mtime_ns: int) -> str:
        """Read and index a file; returns the reason if it is not served."""
        try:
            with open_regular(os.path.join(self._storage.folder, path), 16 * 1024) as file:
                return self._index.add(path, read_header(file))
        except NotDicom as error:
            self._no_dicom += 1
            self._index.add_other(path, size, mtime_ns, error.message)
            return SERVED  # other files are only counted
        except BrokenDicom as error:
            self._index.add_other(path, size, mtime_ns, error.message)
            return error.message
        except OSError as error:  # it is tried again at the next start
            return error.strerror or str(error)

    def _files(self, below: str = "") -> Iterator[tuple[str, os.stat_result]]:
        """Yield the regular files of the folder, relative to it, in a stable order."""
        try:
            with os.scandir(os.path.join(self._storage.folder, below)) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._notify(f"{below or self._storage.folder} cannot be read: {error.strerror}")
            return
        for found in ordered:
            path = os.path.join(below, found.name)
            if is_internal(found.name) or found.path == self._storage.index_folder:
                continue
            try:
                is_folder = found.is_dir(follow_symlinks=False)
                status = found.stat()
            except OSError as error:
                if error.errno not in _GONE:
                    self._notify(f"{path} is not served: {error.strerror}")
                continue
            if is_folder:
                yield from self._files(path)
                continue
            if found.is_symlink() and leads_out(found.path, self._storage.folder):
                self._outside += 1
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _folders_between(top: str, folder: str) -> Iterator[str]:
    while len(folder) >= len(top):
        yield folder
        folder = os.path.dirname(folder)


def _open_own(path: str, flags: int) -> int:
    """Open a file of the archive itself, but not what a link in its place leads to."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o600)
