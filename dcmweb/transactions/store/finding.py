"""Finds the files to store, wherever they are: on this machine, in buckets, in archives.

An archive is opened if it is named, or matched by a mask that ends like archives do (`*.zip`). In
a folder it is a file like any other: beside an archive there often lies what was unpacked from it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from dcmweb.buckets.addresses import is_bucket
from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.local.archive_names import INSIDE, is_archive_name, split_member
from dcmweb.local.masks import find, find_listed
from dcmweb.sources import Found

_ODD = re.compile(r"/\.{0,2}(/|\Z)|" + re.escape(INSIDE))  # what an absolute path may need changed
_MEMBERS_AT_ONCE = 1000  # of an archive, that are looked for in one pass


def find_files(masks: Iterable[str]) -> Iterator[Found]:
    """Yield the files of all masks, folders and names; a mask without a match yields `missing`."""
    for mask in masks:
        archive, member = split_member(mask)
        for found in _found(mask):
            if found.missing and member and _is_there(archive):
                yield from _members([mask])
            elif is_archive_name(found.path) and (found.named or is_archive_name(mask)):
                yield from _files_in(found)
            else:
                yield found


def find_listed_files(paths: Iterable[str]) -> Iterator[Found]:
    """Yield files that are listed by their paths, in which no character has a meaning of its own.

    Members of archives that are listed one after another are found in one pass.
    """
    waiting: list[str] = []
    for path in paths:
        archive, member = split_member(path)
        is_member = bool(member) and not os.path.lexists(path)
        is_of_another = waiting and archive != split_member(waiting[0])[0]
        if waiting and (not is_member or is_of_another or len(waiting) >= _MEMBERS_AT_ONCE):
            yield from _members(waiting)
            waiting = []
        if is_member:
            waiting.append(path)
            continue
        for found in _listed(path):
            yield from _files_in(found) if found.named and is_archive_name(path) else (found,)
    if waiting:
        yield from _members(waiting)


def given_files(paths: Iterable[str], *, named: bool) -> Iterator[Found]:
    """Yield files that were found before, by their paths: no archive is opened, no folder walked.

    Members of archives that come one after another are found in one pass.
    """
    waiting: list[str] = []
    for path in paths:
        archive, member = split_member(path)
        is_member = bool(member) and not os.path.lexists(path)
        if waiting and (not is_member or archive != split_member(waiting[0])[0]):
            yield from (replace(found, named=named) for found in _members(waiting))
            waiting = []
        if is_member:
            waiting.append(path)
        elif is_bucket(path):
            yield from (replace(found, named=named) for found in _listed(path))
        else:
            yield Found(path, named, file=LocalFile(path))
    yield from (replace(found, named=named) for found in (_members(waiting) if waiting else ()))


def why_not_dicom(found: Found, words: str) -> str:
    """Say more of a file that is not DICOM, if it may be an archive."""
    if not is_archive_name(found.path) or found.named:
        return words
    if INSIDE in found.path:
        return f"{words}; an archive in an archive is not opened"
    return f"{words}; an archive is opened if you name it"


def record_name(path: str) -> str:
    """Name a file in records, so that its name is the same wherever a run is started."""
    if path.startswith("/") and os.sep == "/" and not _ODD.search(path):
        return path
    if is_bucket(path):
        return path
    archive, member = split_member(path)
    return f"{os.path.abspath(archive)}{INSIDE}{member}" if member else os.path.abspath(path)


# What few runs need is imported when it is needed: start-up is paid on every call.


def _found(mask: str) -> Iterator[Found]:
    if not is_bucket(mask):
        return find([mask])
    from dcmweb.buckets.finding import find_objects

    return find_objects(mask)


def _listed(path: str) -> Iterator[Found]:
    if not is_bucket(path):
        return find_listed([path])
    from dcmweb.buckets.finding import listed_object

    return listed_object(path)


def _files_in(archive: Found, only: Collection[str] = ()) -> Iterator[Found]:
    from dcmweb.local.archive_members import files_in

    return files_in(archive, only)


def _is_there(archive: str) -> bool:
    """Return True if an archive may be there; of one in a bucket, this is found out later."""
    return is_bucket(archive) or os.path.isfile(archive)


def _members(paths: list[str]) -> Iterator[Found]:
    """Find members of one archive by their names."""
    for found in _listed(split_member(paths[0])[0]):
        yield from _files_in(found, paths)
