"""Finding files: names, folders and masks, visited lazily and in a stable order.

`*`, `?` and `[...]` match within one name; `**` matches any number of folders. A `**` glued to
other text (`./**.dcm`) is recursive too. Like a shell's, a wildcard skips names beginning with a
dot; a folder means all below it. On Windows `\\` separates folders as `/` does, and case does not
count; elsewhere `\\` is a character like any other.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.local import windows
from dcmweb.local.partial_files import is_internal
from dcmweb.sources import Found
from dcmweb.wildcards import Left, Pattern, first_wildcard

NAMES_AT_ONCE = 100_000  # names of one folder held in memory; a larger folder is read in passes
_AND_MORE = 2  # times as many, before those that come later are dropped again


def find(masks: Iterable[str], *, in_order: bool = True) -> Iterator[Found]:
    """Yield the files of all masks, folders and names; a mask without a match yields `missing`.

    Whoever only counts them need not have them `in_order`, which is faster.
    """
    for mask in masks:
        empty = True
        for found in _find_one(mask, in_order=in_order):
            empty = False
            yield found
        if empty:
            yield Found(mask, named=True, missing=True)


def find_listed(paths: Iterable[str]) -> Iterator[Found]:
    """Yield files that are listed by their paths, in which no character has a meaning of its own.

    A folder means all below it; a path where there is nothing yields an error.
    """
    for path in paths:
        try:
            is_folder = stat.S_ISDIR(os.stat(path).st_mode)
        except (OSError, ValueError) as error:
            cause = error if isinstance(error, OSError) else OSError(0, str(error))
            yield Found(path, named=True, error=cause)
            continue
        if is_folder:
            yield from _Walk(None).files(path)
        else:
            yield Found(path, named=True, file=LocalFile(path))


def why_nothing(masks: Iterable[str]) -> tuple[str, str]:
    """Say why no mask has a file, and what to do; without masks, files were to be in a list."""
    masks = list(masks)
    if not masks:
        return "the list has no paths in it", "it holds paths of files, one per line"
    said = f"No files found matching {' '.join(masks)}"
    if all(map(os.path.isdir, masks)):
        return said, "a folder without files" if len(masks) == 1 else "folders without files"
    return said, "check the path"


def _find_one(mask: str, *, in_order: bool) -> Iterator[Found]:
    base, parts = _split(mask)
    pattern = Pattern(parts, ignores_case=windows.IS_WINDOWS) if parts else None
    try:
        mode = os.stat(windows.long_path(mask)).st_mode
    except ValueError:  # as of a zero byte, which no path has
        return
    except (FileNotFoundError, NotADirectoryError):
        if pattern:
            yield from _Walk(pattern, in_order=in_order).files(base)
        return
    except OSError as error:
        if pattern and windows.IS_WINDOWS:  # which does not take wildcards for a name
            yield from _Walk(pattern, in_order=in_order).files(base)
        else:
            yield Found(mask, named=True, error=error)
        return
    if stat.S_ISDIR(mode):
        yield from _Walk(None, in_order=in_order).files(mask)
    else:
        yield Found(mask, named=True, file=LocalFile(mask))


def _split(mask: str) -> tuple[str, list[str]]:
    """Split a mask into the folder it begins in and the names below, from the first wildcard on.

    There are no names if there is no wildcard.
    """
    drive, rest = os.path.splitdrive(mask)
    parts = (rest.replace("\\", "/") if windows.IS_WINDOWS else rest).split("/")
    wild = first_wildcard(parts)
    if wild is None:
        return mask, []
    base = drive + (os.sep.join(parts[:wild]) or os.sep * bool(wild))
    return base, [part for part in parts[wild:] if part not in ("", ".")]


_Identity = tuple[int, int]  # of a folder: its device and its number there
_Names = tuple[str, ...]  # from the top of a walk down to a folder


class _Walk:
    """A walk through a folder and those below it.

    Symbolic links are followed, but not where all that matches was found on the way to them, or by
    another link to the same folder. Otherwise a few folders that link to each other have more
    paths than anyone can visit.
    """

    def __init__(self, pattern: Pattern | None, *, in_order: bool = True) -> None:
        self._pattern = pattern
        self._entries = _entries if in_order else _unsorted
        self._linked: set[tuple[_Identity, Left | None]] = set()  # where links have led to

    def files(
        self, folder: str, below: _Names = (), above: tuple[tuple[_Identity, _Names], ...] = ()
    ) -> Iterator[Found]:
        """Yield the files below a folder; `below` are the names from the top of the walk."""
        is_begun = bool(below)
        try:
            status = os.stat(folder or ".")
            identity = (status.st_dev, status.st_ino)
            if self._leads_back(identity, below, above):
                return
            pattern, start = self._pattern, os.path.join(folder, "")
            here = (*above, (identity, below))
            for name, is_link in self._entries(folder or "."):
                is_begun = True
                path = start + name
                if windows.IS_WINDOWS:
                    path = windows.long_path(path)
                if is_link is None:
                    if pattern is None or pattern.accepts((*below, name)):
                        yield Found(path, file=LocalFile(path))
                    continue
                parts = (*below, name)
                if self._enters(parts) and not (is_link and self._is_known(path, parts, here)):
                    yield from self.files(path, parts, here)
        except (FileNotFoundError, NotADirectoryError) as error:
            if is_begun:  # otherwise the mask matches nothing
                yield Found(folder, error=error)
        except OSError as error:
            yield Found(folder, error=error)

    def _enters(self, parts: _Names) -> bool:
        """Return True if there can be matches below a folder."""
        return self._pattern is None or self._pattern.enters(parts)

    def _leads_back(
        self, identity: _Identity, parts: _Names, above: Iterable[tuple[_Identity, _Names]]
    ) -> bool:
        """Return True if a folder is one of those above, and no more matches below it here."""
        return any(
            identity == one and (self._pattern is None or self._pattern.has_less(parts, names))
            for one, names in above
        )

    def _is_known(
        self, path: str, parts: _Names, above: Iterable[tuple[_Identity, _Names]]
    ) -> bool:
        """Return True if nothing new is below a folder that a link leads to."""
        try:
            status = os.stat(path)
        except OSError:  # which the walk meets again, and names
            return False
        identity = (status.st_dev, status.st_ino)
        if self._leads_back(identity, parts, above):
            return True
        visit = (identity, self._pattern.left_below(parts) if self._pattern else None)
        is_known = visit in self._linked
        self._linked.add(visit)
        return is_known


# A name in a folder; of a folder, whether a symbolic link leads to it, and None of all else.
_Entry = tuple[str, bool | None]


def _entries(folder: str) -> Iterator[_Entry]:
    """Yield what is in a folder, sorted by name.

    What an interrupted run left behind is left out. A folder too large to be sorted in memory
    is read several times, each time for the next names.
    """
    last: str | None = ""
    while last is not None:
        names, folders = _next_names(folder, last)
        last = names[-1] if len(names) == NAMES_AT_ONCE else None
        for name in names:
            yield name, folders.get(name)


def _next_names(folder: str, last: str) -> tuple[list[str], dict[str, bool]]:
    """Read a folder for the names that follow one; of folders, whether a link leads to each."""
    names: list[str] = []
    folders: dict[str, bool] = {}
    end = ""  # a name that is too late, once there is one
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name <= last or (end and name >= end) or is_internal(name):
                continue
            names.append(name)
            is_link = _folder(entry)
            if is_link is not None:
                folders[name] = is_link
            if len(names) > _AND_MORE * NAMES_AT_ONCE:
                names.sort()
                end = names[NAMES_AT_ONCE]
                for later in names[NAMES_AT_ONCE:]:
                    folders.pop(later, None)
                del names[NAMES_AT_ONCE:]
    names.sort()
    del names[NAMES_AT_ONCE:]
    return names, folders


def _unsorted(folder: str) -> Iterator[_Entry]:
    """Yield what is in a folder as it comes; folders last, so that few are open at a time."""
    folders: list[_Entry] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            is_link = _folder(entry)
            if is_link is not None:
                folders.append((entry.name, is_link))
            elif not is_internal(entry.name):
                yield entry.name, None
    yield from (one for one in folders if not is_internal(one[0]))


def _folder(entry: os.DirEntry[str]) -> bool | None:
    """Return whether a symbolic link leads to a folder; None for all else.

    If that cannot be found out, it is treated as a file.
    """
    try:
        return entry.is_symlink() if entry.is_dir() else None
    except OSError:
        return None
