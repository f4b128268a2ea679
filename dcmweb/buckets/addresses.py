"""Addresses of buckets and of objects in them: `s3://bucket/prefix/name`, `gs://`, `az://`."""

from __future__ import annotations

import re
from typing import NamedTuple

from dcmweb.errors import UsageError

_ADDRESS = re.compile(r"(s3|gs|az)://([^/]*)/?(.*)", re.DOTALL)


class Address(NamedTuple):
    """A bucket (of Azure: a container), and the key of an object or the beginning of keys."""

    scheme: str
    bucket: str
    key: str

    @property
    def root(self) -> str:
        """The address of the bucket."""
        return f"{self.scheme}://{self.bucket}"


def is_bucket(path: str) -> bool:
    """Return True if a path is an address of a bucket, or in one."""
    return _ADDRESS.match(path) is not None


def parse_address(path: str) -> Address:
    """Read an address. Raises UsageError if it names no bucket."""
    found = _ADDRESS.fullmatch(path)
    if not found or not found[2]:
        raise UsageError(f"{path} names no bucket", "write it like s3://bucket/folder")
    return Address(*found.groups())
