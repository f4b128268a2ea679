"""QIDO-RS: the parameters of a search (PS3.18 sections 8.3.4 and 10.6.1)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from werkzeug.exceptions import BadRequest

from dcmweb.archive.storage.attributes import (
    AVAILABLE_TRANSFER_SYNTAX,
    INDEXED,
    MODALITIES_IN_STUDY,
    SOP_CLASSES_IN_STUDY,
    TRANSFER_SYNTAX_COLUMN,
    QueryAttribute,
    find_attribute,
)
from dcmweb.archive.storage.matching import How, matcher
from dcmweb.dicom.resources import Level, Resource

MOST_KEYS = 100
MOST_INCLUDED = 1000
_NOT_KEYS = (
    "limit",
    "offset",
    "includefield",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
    "accept",
    "charset",
)
# Keywords of attributes begin with a capital letter, and tags with a digit or A to F: what begins
# otherwise belongs to a server or a viewer, such as `alt`, `key` and `$.xgafv` of Google's APIs.
_ATTRIBUTE_NAME = re.compile(r"[A-Z]|[0-9A-Fa-f]{8}(?:\.|$)")
_COLUMNS = {
    MODALITIES_IN_STUDY.keyword: "Modality",
    SOP_CLASSES_IN_STUDY.keyword: "SOPClassUID",
    AVAILABLE_TRANSFER_SYNTAX.keyword: TRANSFER_SYNTAX_COLUMN,
}


@dataclass(frozen=True)
class QueryRules:
    """What a server refuses of a query, and whether values are matched literally."""

    is_literal: bool = False
    filters: Mapping[Level, Collection[str]] | None = None  # keywords of keys; None for all
    parameters: Collection[str] | None = None  # that are not attributes; None for all


LENIENT = QueryRules()


@dataclass(frozen=True)
class Key:
    """A search key: an attribute, or one within the items of a sequence, and the wanted value."""

    path: tuple[QueryAttribute, ...]
    wanted: str

    @property
    def column(self) -> str:
        """The column of the index that holds it; "" if it has to be read from the files."""
        keyword = _COLUMNS.get(self.path[0].keyword, self.path[0].keyword)
        is_column = keyword in INDEXED or keyword == TRANSFER_SYNTAX_COLUMN
        return keyword if len(self.path) == 1 and is_column else ""

    @property
    def vr(self) -> str:
        """The VR of the attribute whose value is wanted."""
        return self.path[-1].vr


@dataclass(frozen=True)
class ParsedQuery:
    """A search; `limit` None means the maximum of the server."""

    resource: Resource
    level: Level
    keys: Sequence[Key] = ()
    include: Sequence[QueryAttribute] = ()
    include_all: bool = False
    limit: int | None = None
    offset: int = 0
    how: How = How.PLAIN

    @classmethod
    def parse(
        cls,
        resource: Resource,
        level: Level,
        args: Iterable[tuple[str, str]],
        rules: QueryRules = LENIENT,
    ) -> ParsedQuery:
        """Read the query parameters; raises BadRequest for an invalid query."""
        given = list(args)
        single = {name: value for name, value in given if name in _NOT_KEYS}
        keys = _keys(given, level, rules)
        how = _how(single, rules)
        for key in keys:
            matcher(key.vr, key.wanted, how)
        include, include_all = _included(given)
        limit, offset = _number(single, "limit"), _number(single, "offset") or 0
        return cls(resource, level, keys, include, include_all, limit, offset, how)


def _included(given: Iterable[tuple[str, str]]) -> tuple[list[QueryAttribute], bool]:
    names = [n for k, v in given if k == "includefield" for n in v.split(",") if n]
    unique = dict.fromkeys(name.rpartition(".")[2] for name in names)
    if len(unique) > MOST_INCLUDED:
        raise BadRequest(f"more than {MOST_INCLUDED} attributes are asked for by includefield")
    return [find_attribute(name) for name in unique if name != "all"], "all" in unique


def _keys(given: Iterable[tuple[str, str]], level: Level, rules: QueryRules) -> list[Key]:
    """Read the search keys; those of the same UID are a list (PS3.18 section 8.3.4.1)."""
    keys: dict[tuple[str, str], Key] = {}
    for name, wanted in given:
        if name in _NOT_KEYS:
            continue
        if not _ATTRIBUTE_NAME.match(name):
            if rules.parameters is not None and name not in rules.parameters:
                raise BadRequest(f"unknown query parameter {name}")
            continue
        path = tuple(find_attribute(part) for part in name.split("."))
        _check_filter(path, level, rules)
        tags = ".".join(attribute.tag for attribute in path)
        is_uid = path[-1].vr == "UI"
        at = (tags, "" if is_uid else wanted)
        listed = [keys[at].wanted, wanted] if at in keys and is_uid else [wanted]
        keys[at] = Key(path, ",".join(listed))
    if len(keys) > MOST_KEYS:
        raise BadRequest(f"a search can have {MOST_KEYS} keys at most")
    return list(keys.values())


def _check_filter(path: Sequence[QueryAttribute], level: Level, rules: QueryRules) -> None:
    if rules.filters is None:
        return
    keyword = path[0].keyword if len(path) == 1 else ""
    if keyword not in rules.filters[level]:
        name = ".".join(attribute.keyword or attribute.tag for attribute in path)
        raise BadRequest(f"{name} is not a supported {level.value} filter")


def _how(single: Mapping[str, str], rules: QueryRules) -> How:
    """Read how values are matched (PS3.18 sections 8.3.4.2 and 8.3.4.6)."""
    how = How.LITERAL if rules.is_literal else How.PLAIN
    for name, flag in (
        ("fuzzymatching", How.FUZZY),
        ("emptyvaluematching", How.EMPTY_VALUES),
        ("multiplevaluematching", How.MULTIPLE_VALUES),
    ):
        if single.get(name, "false").lower() == "true":
            how |= flag
    return how


def _number(args: Mapping[str, str], name: str) -> int | None:
    text = args.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadRequest(f"{name} is not a number: {text!r}")
    return int(text)
