"""Finding objects: by names, prefixes and masks, as they are listed, a page at a time."""

from __future__ import annotations

from collections.abc import Iterator

from dcmweb.buckets.addresses import Address, parse_address
from dcmweb.buckets.connection import bucket_at, is_missing, root_of, translating
from dcmweb.buckets.objects import ObjectFile, stamp_of
from dcmweb.errors import LocalError
from dcmweb.sources import Found
from dcmweb.wildcards import Pattern, first_wildcard

PAGE = 100  # keys that are waited for; S3 lists 1,000 in an answer


def find_objects(mask: str) -> Iterator[Found]:
    """Yield the objects that a mask, a prefix or a name means; `missing` if there is none.

    `*`, `?`, `[...]` and `**` mean what they mean in masks of files. Where a listing fails, that
    is the error of the mask.
    """
    address = parse_address(mask)
    parts = address.key.split("/")
    wild = first_wildcard(parts)
    if wild is not None:
        prefix, pattern = "/".join(parts[:wild]), Pattern([p for p in parts[wild:] if p])
        yield from _or_missing(mask, _listed(mask, address, prefix, pattern))
        return
    if address.key and not address.key.endswith("/"):
        named = _named(mask, address)
        if named is not None:
            yield named
            return
    yield from _or_missing(mask, _listed(mask, address, address.key, None))


def listed_object(path: str) -> Iterator[Found]:
    """Yield the object of a path in a list, which is asked for when it is opened.

    No character has a meaning of its own, but for a slash at the end: all below that prefix.
    """
    address = parse_address(path)
    if not address.key or address.key.endswith("/"):
        yield from _or_missing(path, _listed(path, address, address.key, None))
    else:
        file = ObjectFile(path, bucket_at(root_of(address)), address.key)
        yield Found(path, named=True, file=file)


def _named(path: str, address: Address) -> Found | None:
    """Look for an object of just this name; None if there is none."""
    bucket = bucket_at(root_of(address))
    import obstore

    try:
        with translating(path):
            meta = obstore.head(bucket, address.key)
    except LocalError as error:
        if error.__cause__ is not None and is_missing(error.__cause__):
            return None
        return Found(path, named=True, error=OSError(0, error.message))
    file = ObjectFile(path, bucket, address.key, stamp_of(meta))
    return Found(path, named=True, file=file)


def _listed(mask: str, address: Address, prefix: str, pattern: Pattern | None) -> Iterator[Found]:
    bucket, prefix = bucket_at(root_of(address)), prefix.strip("/")
    import obstore

    skipped = len(prefix) + 1 if prefix else 0
    try:
        with translating(mask):
            for page in obstore.list(bucket, prefix or None, chunk_size=PAGE):
                for meta in page:
                    key = meta["path"]
                    if pattern is None or pattern.accepts(tuple(key[skipped:].split("/"))):
                        path = f"{address.root}/{key}"
                        yield Found(path, file=ObjectFile(path, bucket, key, stamp_of(meta)))
    except LocalError as error:
        yield Found(mask, named=True, error=OSError(0, error.message))


def _or_missing(mask: str, found: Iterator[Found]) -> Iterator[Found]:
    first = next(found, None)
    if first is None:
        yield Found(mask, named=True, missing=True)
        return
    yield first
    yield from found
