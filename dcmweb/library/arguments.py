"""What callers of the library pass, in any of its shapes, read into one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, TypeVar, Union

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Representation, Resource, Target, parse_resource, parse_target
from dcmweb.errors import LocalError, UsageError

if TYPE_CHECKING:
    from dcmweb.transactions.search.parameters import Pair
    from dcmweb.transactions.store.metadata_instance import Metadata

AnyPath = str | os.PathLike[str]
Paths = AnyPath | Iterable[AnyPath]
Targets = str | Target | Iterable[str | Target]
Resources = str | Resource | Iterable[str | Resource]
Parameters = str | Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]]
AnyMetadata = Union[AnyPath, "Metadata", Dataset, Sequence[Dataset]]

_E = TypeVar("_E", bound=Enum)


def member(kind: type[_E], value: _E | str, name: str) -> _E:
    """Return the member of an enumeration by its value. Raises UsageError for any other."""
    try:
        return kind(value)
    except ValueError:
        known = " or ".join(repr(one.value) for one in kind)
        raise UsageError(f"{name} is {value!r}", f"it can be {known}") from None


def read_paths(paths: Paths) -> list[str]:
    """Return the paths of files, of which there can be one alone. Raises UsageError for "" ."""
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    found = [os.fspath(one) for one in given]
    if "" in found:
        raise UsageError("a path is empty", "name a file, or . for this folder")
    return found


def read_targets(paths: Targets, base_url: str) -> Iterable[Target | str]:
    """Read paths of a server now if they are at hand; those of an iterator, one by one later."""
    if isinstance(paths, (str, Target)):
        paths = [paths]
    if not isinstance(paths, Sequence):
        return paths
    return [_target(one, base_url) for one in paths]


def read_metadata_targets(paths: Targets, base_url: str) -> Iterable[Target | str]:
    """Read paths of metadata, of which /metadata may be left out."""
    targets = read_targets(paths, base_url)
    return [_as_metadata(one) for one in targets] if isinstance(targets, list) else targets


def read_resources(paths: Resources) -> list[Resource]:
    """Read paths of resources. Raises UsageError if there is none, or "" among them."""
    given = [paths] if isinstance(paths, (str, Resource)) else paths
    found = []
    for one in given:
        if one == "":
            raise UsageError("a path is empty", "name a study, series or instance")
        found.append(parse_resource(one) if isinstance(one, str) else one)
    if not found:
        raise UsageError("no path is given", "name a study, series or instance")
    return found


def read_pairs(parameters: Parameters) -> list[Pair]:
    """Read search parameters: text as in a URL, a mapping, or pairs; values may be several."""
    from dcmweb.transactions.search.parameters import parse_parameters

    if isinstance(parameters, str):
        return parse_parameters([parameters])
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
    return [pair for key, value in pairs for pair in _pairs_of(key, value)]


def _pairs_of(key: object, value: object) -> Iterator[Pair]:
    if not isinstance(key, str) or not key.strip():
        raise UsageError("a search key is not text", "write it like PatientID or 00100020")
    for one in value if isinstance(value, (list, tuple)) else [value]:
        yield key, str(one)


def read_metadata(given: AnyMetadata) -> Metadata:
    """Read metadata from a file, or take data sets as they are."""
    from dcmweb.transactions.store.metadata_instance import Metadata

    if isinstance(given, Metadata):
        return given
    if not isinstance(given, (str, os.PathLike)):
        return Metadata("metadata", json.dumps(given).encode())
    path = os.fspath(given)
    try:
        with open(path, "rb") as file:
            return Metadata(path, file.read(), os.fstat(file.fileno()).st_mtime_ns)
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}", path=path) from error


def _target(given: str | Target, base_url: str) -> Target:
    if isinstance(given, Target):
        return given
    if not given.strip():
        raise UsageError(
            "a path is empty", "name a study, or leave the path out for the whole store"
        )
    return parse_target(given, base_url)


def _as_metadata(target: Target | str) -> Target | str:
    is_plain = isinstance(target, Target) and target.representation is Representation.STORED
    if is_plain and isinstance(target, Target):
        return replace(target, representation=Representation.METADATA)
    return target
