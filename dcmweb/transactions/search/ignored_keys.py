"""Keys that a server ignored: every row contradicts them.

Some servers leave out keys that they do not support (PS3.18 section 8.3.4.1 asks for a Warning
then), and answer with everything there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from dcmweb.dicom import json_model
from dcmweb.dicom.dictionary import attributes
from dcmweb.dicom.json_model import Row
from dcmweb.errors import UsageError

# VRs whose single values are compared for equality (PS3.4 section C.2.2.2.1).
_COMPARABLE = ("AE", "CS", "DA", "IS", "LO", "PN", "SH", "UI")
_WILDCARDS = "*?\\,"
_FUZZY = "fuzzymatching"


@dataclass
class _Key:
    name: str
    tag: str
    value: str
    contradicted: int = 0
    matched: int = 0

    def compare(self, row: Row) -> None:
        """Count whether a row has the value, has another one, or does not say."""
        found = [_comparable(one) for one in json_model.values(row, self.tag)]
        if self.value in found:
            self.matched += 1
        elif any(found):
            self.contradicted += 1


def noting_ignored_keys(
    pages: Iterable[Sequence[Row]], pairs: Iterable[tuple[str, str]], notify: Callable[[str], None]
) -> Iterator[Sequence[Row]]:
    """Yield the rows of each page; at the end, say which keys no row has the value of."""
    keys = _single_values(list(pairs))
    for rows in pages:
        for row, key in product(rows, keys):
            key.compare(row)
        yield rows
    for key in keys:
        if key.contradicted and not key.matched:
            notify(
                f"Please note: the server ignored {key.name}, since all results have other values"
            )


def _single_values(pairs: list[tuple[str, str]]) -> list[_Key]:
    """Choose the keys whose values are compared as they are."""
    is_fuzzy = any(key.lower() == _FUZZY and value.lower() == "true" for key, value in pairs)
    keys = []
    for name, value in pairs:
        try:
            path = attributes(name)
        except UsageError:  # a parameter such as limit
            continue
        is_range = path[-1].vr == "DA" and not value.isdigit()
        is_plain = not any(sign in value for sign in _WILDCARDS) and not is_range
        is_comparable = path[-1].vr in _COMPARABLE and not (is_fuzzy and path[-1].vr == "PN")
        if len(path) == 1 and value.strip() and is_plain and is_comparable:
            keys.append(_Key(name, path[0].tag, _comparable(value)))
    names = [key.tag for key in keys]
    return [key for key in keys if names.count(key.tag) == 1]  # several are alternatives


def _comparable(value: object) -> str:
    """Write a value so that two that servers take for equal are equal.

    Of a name, that is its first group.
    """
    if isinstance(value, dict):
        value = value.get("Alphabetic") or ""
    return str(value).partition("=")[0].strip().rstrip("^").casefold()
