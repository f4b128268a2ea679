"""The Search transaction (QIDO-RS, PS3.18 section 10.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from dcmweb.dicom.model import Dataset
from dcmweb.dicom.paths import parse_search
from dcmweb.errors import UsageError
from dcmweb.transactions.client import Client
from dcmweb.transactions.qido import Pages, Query, fetch_page

DEFAULT_LIMIT = 5000

# A & begins another parameter where a name and = follow; elsewhere it belongs to the value.
_SEPARATOR = re.compile(r"&(?=[A-Za-z][A-Za-z0-9.]*=|[0-9A-Fa-f]{8}[=.]|&|$)")


@dataclass(frozen=True)
class SearchResult:
    """The rows found, as DICOM JSON; `more` tells whether the server has further ones."""

    rows: list[Dataset]
    more: bool = False


def parse_parameters(texts: Iterable[str]) -> list[tuple[str, str]]:
    """Read parameters as people write them: `KEY=VALUE`, `A=1&B=2`, with or without `?`.

    `%XX` is decoded; `+` and what stands after the first `=` belong to the value. Raises
    UsageError for what has no key.
    """
    pairs = []
    for text in texts:
        for item in filter(None, _SEPARATOR.split(text.strip().removeprefix("?"))):
            key, equals, value = item.partition("=")
            if not key.strip() or not equals:
                raise UsageError(
                    f"{item!r} is no search parameter",
                    "write it as KEY=VALUE, as in StudyDate=2024",
                )
            pairs.append((_decode(key.strip()), _decode(value)))
    return pairs


def search(client: Client, path: str, parameters: Iterable[str]) -> SearchResult:
    """Search for studies, series or instances, up to the limit asked for, or 5000."""
    resource, level = parse_search(path)
    pairs = parse_parameters(parameters)
    limit, offset = _whole(pairs, "limit"), _whole(pairs, "offset")
    others = tuple(pair for pair in pairs if pair[0].lower() not in ("limit", "offset"))
    query = Query(resource, level, others, offset=offset or 0)
    if limit == 0:  # servers differ in what that means: let this one say
        return SearchResult(fetch_page(client, query.target(0, query.offset)).rows)
    pages = Pages(client, query, wanted=limit or DEFAULT_LIMIT, limit=limit)
    rows = list(pages)
    if pages.complete or limit is not None:
        return SearchResult(rows, more=False)
    return SearchResult(rows, more=_is_more(client, query, len(rows)))


def _is_more(client: Client, query: Query, found: int) -> bool:
    """Ask for one row beyond those found."""
    return bool(fetch_page(client, query.target(1, query.offset + found)).rows)


def _whole(pairs: list[tuple[str, str]], name: str) -> int | None:
    """Take a parameter that is a number. Raises UsageError where it is none."""
    found = [value.strip() for key, value in pairs if key.lower() == name]
    if not found:
        return None
    if len(found) > 1 or not (found[0].isascii() and found[0].isdigit()):
        raise UsageError(f"{name} must be one whole number", f"write it as {name}=10")
    return int(found[0])


def _decode(text: str) -> str:
    return unquote(text, errors="strict") if _decodable(text) else text


def _decodable(text: str) -> bool:
    try:
        unquote(text, errors="strict")
    except UnicodeDecodeError:
        return False
    return True
