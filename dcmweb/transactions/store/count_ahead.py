"""Counts the files of a store run and their bytes, while they are being stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from dcmweb.buckets.addresses import is_bucket
from dcmweb.local.archive_names import is_archive_name, split_member
from dcmweb.local.masks import find, find_listed
from dcmweb.sources import Found
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.store.file_jobs import folder_of
from dcmweb.transactions.store.options import StoreOptions
from dcmweb.transfer.shard import Shard


def count_files(
    context: RunContext, masks: Iterable[str], listed: Iterable[str] | None, options: StoreOptions
) -> Iterator[tuple[int, int] | None]:
    """Yield the number of files and bytes, file by file; None if they cannot be counted.

    Archives would have to be decompressed, buckets listed once more, and a list that comes from a
    pipe can be read once only.
    """
    part, selection = Shard.parse(options.shard), options.selection
    if listed is None or any(map(_is_elsewhere, masks)):
        yield None
        return
    for found in chain(find(masks, in_order=False), _listed(listed)):
        if found is None or context.stop.is_set():
            yield None
            return
        is_ours = part is None or part.has(folder_of(found.path))
        if not found.missing and is_ours and (selection is None or selection.has(found)):
            stamp = found.file.stamp() if found.file else None
            yield 1, stamp.size if stamp else 0


def _listed(paths: Iterable[str]) -> Iterator[Found | None]:
    for path in paths:
        if _is_elsewhere(path):
            yield None
            return
        yield from find_listed([path])


def _is_elsewhere(path: str) -> bool:
    """Return True for what is in a bucket or an archive."""
    return is_bucket(path) or is_archive_name(path) or bool(split_member(path)[1])
