"""What callers of the library pass, in any of its shapes, read into one."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, Union

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import (
    Representation,
    Resource,
    Target,
    parse_named_target,
    parse_resource,
)
from dcmweb.errors import LocalError, UsageError
from dcmweb.settings import Credentials
from dcmweb.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from dcmweb.transactions.search.parameters import Pair
    from dcmweb.transactions.store.metadata_instance import Metadata

AnyPath = str | os.PathLike[str]
Paths = AnyPath | Iterable[AnyPath]
Targets = str | Target | Iterable[str | Target]
Resources = str | Resource | Iterable[str | Resource]
# Values can be text, numbers, dates, or several of them; a type with all that would not let type
# checkers accept a mixed dict.
Parameters = str | Mapping[str, object] | Iterable[tuple[str, object]]
AnyMetadata = Union[AnyPath, "Metadata", Dataset, Sequence[Dataset]]

_E = TypeVar("_E", bound=Enum)
_T = TypeVar("_T")


def member(kind: type[_E], value: _E | str, name: str) -> _E:
    """Return the member of an enumeration by its value. Raises UsageError for any other."""
    try:
        return kind(value)
    except ValueError:
        known = " or ".join(repr(one.value) for one in kind)
        raise UsageError(f"{name} is {value!r}", f"it can be {known}") from None


def one_of(credentials: Credentials | None, others: Credentials) -> Credentials:
    """Return the credentials that are given. Raises UsageError if they are given in two ways."""
    if credentials is None:
        return others
    if others != Credentials():
        raise UsageError("credentials are given in two ways", "put all of them into Credentials")
    return credentials


def read_paths(paths: Paths) -> list[str]:
    """Return the paths of files, of which there can be one alone. Raises UsageError for "" ."""
    found = [_path(one) for one in _each(paths, (str, bytes, os.PathLike), "a path of a file")]
    if "" in found:
        raise UsageError("a path is empty", "name a file, or . for this folder")
    return found


def read_path(path: AnyPath, name: str) -> str:
    """Return the path of one file or folder, "" for none. Raises UsageError for what is not one."""
    found = _path(path)
    if "\0" in found:
        raise UsageError(f"{name} has a null character in it", "check the path")
    return found


def read_listed(listed: Iterable[AnyPath]) -> Iterator[str]:
    """Read the paths of a list one by one, as they are needed."""
    return map(_path, _each(listed, (str, bytes, os.PathLike), "a path of a file"))


def read_listed_again(listed: Iterable[AnyPath]) -> Iterator[str] | None:
    """Read the paths of a list once more; None if they can be read once only."""
    return None if isinstance(listed, Iterator) else read_listed(listed)


def read_targets(paths: Targets, roots: Sequence[str]) -> Iterable[Target | str]:
    """Read paths of a server now if they are at hand; those of an iterator, one by one later.

    Raises UsageError if there is none: that does not mean the whole store.
    """
    given = _each(paths, (str, Target), "a path")
    if not isinstance(given, Collection):
        return (_checked(one, Target, "a path") for one in given)
    if not given:
        raise UsageError("no path is given", "name a study, series or instance")
    return [_target(one, roots) for one in given]


def read_metadata_targets(paths: Targets, roots: Sequence[str]) -> Iterable[Target | str]:
    """Read paths of metadata, of which /metadata may be left out."""
    targets = read_targets(paths, roots)
    return [_as_metadata(one) for one in targets] if isinstance(targets, list) else targets


def read_resources(paths: Resources) -> list[Resource]:
    """Read paths of resources. Raises UsageError if there is none, or "" among them."""
    found = []
    for given in _each(paths, (str, Resource), "a path"):
        one = _checked(given, Resource, "a path")
        if isinstance(one, str) and not one.strip():
            raise UsageError("a path is empty", "name a study, series or instance")
        found.append(parse_resource(one) if isinstance(one, str) else one)
    if not found:
        raise UsageError("no path is given", "name a study, series or instance")
    return found


def read_operations(operations: str | Iterable[str]) -> Iterable[str]:
    """Read names of operations now if they are at hand. Raises UsageError if there is none."""
    given = _each(operations, (str,), "the name of an operation")
    if isinstance(given, Collection) and not given:
        raise UsageError("no operation is given", "write projects/.../operations/ID")
    names = (_checked(one, str, "the name of an operation") for one in given)
    return list(names) if isinstance(given, Collection) else names


def read_pairs(parameters: Parameters) -> list[Pair]:
    """Read search parameters: text as in a URL, a mapping, or pairs; values may be several."""
    from dcmweb.transactions.search.parameters import parse_parameters

    if isinstance(parameters, str):
        return parse_parameters([parameters])
    pairs = parameters.items() if isinstance(parameters, Mapping) else parameters
    found: list[Pair] = []
    for pair in _each(pairs, (), "a pair of key and value"):
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise UsageError("a search parameter is not a pair of key and value")
        found += _pairs_of(*pair)
    return found


def read_fields(fields: Iterable[str]) -> list[str]:
    """Read the names of attributes, of which there can be one alone."""
    return [_checked(one, str, "an attribute") for one in _each(fields, (str,), "an attribute")]


def read_limit(limit: object) -> int | None:
    """Check how many rows are wanted; None is all."""
    if limit is None:
        return None
    if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1:
        return limit
    raise UsageError(f"limit is {limit!r}", "give a whole number of at least 1")


def _pairs_of(key: object, value: object) -> Iterator[Pair]:
    if not isinstance(key, str) or not key.strip():
        raise UsageError("a search key is not text", "write it like PatientID or 00100020")
    values = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    if not values:  # it would find everything
        raise UsageError(f"search key {key} has no value", "leave the key out, or give it one")
    for one in values:
        if not isinstance(one, (str, int, float, date)) or isinstance(one, bool):
            raise UsageError(
                f"a value of search key {key} is of type {type(one).__name__}", "give it as text"
            )
        yield key, one.strftime("%Y%m%d") if type(one) is date else str(one)


# Which can be iterated over, but are one thing each: the parts of a Resource are not paths.
_SINGLE = (str, bytes, bytearray, Resource, Target, Outcome)


def _each(given: object, alone: tuple[type, ...], what: str) -> Iterable[Any]:
    """Return what is given as something to iterate over, be it one of them alone."""
    if isinstance(given, alone):
        return [given]
    if isinstance(given, _SINGLE) or not isinstance(given, Iterable):
        raise UsageError(f"{type(given).__name__} is not the type of {what}")
    return given


def _checked(given: object, kind: type[_T], what: str) -> _T | str:
    if isinstance(given, (str, kind)):
        return given
    raise UsageError(f"{type(given).__name__} is not the type of {what}", "give it as text")


def _path(given: object) -> str:
    if isinstance(given, (str, bytes, os.PathLike)):
        return os.fsdecode(given)
    raise UsageError(f"{type(given).__name__} is not the type of a path of a file")


def read_metadata(given: AnyMetadata) -> Metadata:
    """Read metadata from a file, or take data sets as they are."""
    from dcmweb.transactions.store.metadata_instance import Metadata

    if isinstance(given, Metadata):
        return given
    if not isinstance(given, (str, os.PathLike)):
        try:
            return Metadata("metadata", json.dumps(given).encode())
        except (TypeError, ValueError) as error:
            raise UsageError(f"the metadata cannot be written as JSON: {error}") from None
    path = read_path(given, "the path of the metadata")
    try:
        with open(path, "rb") as file:
            return Metadata(path, file.read(), os.fstat(file.fileno()).st_mtime_ns)
    except OSError as error:
        raise LocalError(f"{path} cannot be read: {error.strerror}", path=path) from error


def _target(given: object, roots: Sequence[str]) -> Target:
    one = _checked(given, Target, "a path")
    return parse_named_target(one, *roots) if isinstance(one, str) else one


def _as_metadata(target: Target | str) -> Target | str:
    is_plain = isinstance(target, Target) and target.representation is Representation.STORED
    if is_plain and isinstance(target, Target):
        return target._replace(representation=Representation.METADATA)
    return target
