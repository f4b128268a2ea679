"""Search parameters as people write them, made into those of a query (PS3.18 section 8.3.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from urllib.parse import unquote

from dcmweb.dicom.dictionary import attributes
from dcmweb.errors import UsageError
from dcmweb.transactions.search import date_ranges

Pair = tuple[str, str]

# Of PS3.18; of Google's APIs; of dcm4chee.
_STANDARD = (
    "limit",
    "offset",
    "includefield",
    "fuzzymatching",
    "emptyvaluematching",
    "multiplevaluematching",
    "accept",
    "charset",
)
_GOOGLE = ("access_token", "alt", "fields", "key", "prettyPrint", "quotaUser", "$.xgafv")
_DCM4CHEE = ("orderby", "includedefaults", "expired", "incomplete", "retrievefailed", "batchID")
_KNOWN = frozenset([*_STANDARD, *_GOOGLE, *_DCM4CHEE])

# A & begins another parameter where a name and = follow; elsewhere it belongs to the value.
_SEPARATOR = re.compile(r"&(?=[A-Za-z$][A-Za-z0-9._]*(?:=|[<>])|[0-9A-Fa-f]{8}[=.<>]|&|$)")
_KEY_AND_VALUE = re.compile(r"([^=<>]*)(>=|<=|[=<>])(.*)", re.DOTALL)
_WITH_RANGES = ("DA", "TM", "DT")


def is_parameter(text: str) -> bool:
    """Return True if a word is a search parameter, rather than a path, which has no such sign."""
    return any(sign in text for sign in "=<>")


def parse_parameters(texts: Iterable[str]) -> list[Pair]:
    """Read parameters: `KEY=VALUE`, `A=1&B=2`, with or without `?`; `KEY>=VALUE` for ranges.

    `%XX` is decoded; `+` and what stands after the first `=` belong to the value. Raises
    UsageError for what has no key.
    """
    pairs = []
    for text in texts:
        for item in filter(None, _SEPARATOR.split(text.strip().removeprefix("?"))):
            match = _KEY_AND_VALUE.fullmatch(item)
            key, sign, value = match.groups() if match else ("", "", "")
            if not key.strip():
                raise UsageError(
                    f"{item!r} is not a valid search parameter",
                    "write it as KEY=VALUE, as in StudyDate=2024",
                )
            comparison = "" if sign == "=" else sign
            pairs.append((_decode(key.strip()), comparison + _decode(value)))
    return pairs


def checked_parameters(pairs: Iterable[Pair]) -> list[Pair]:
    """Check keys against the dictionary, and write dates and times as DICOM has them.

    Raises UsageError for keys that are neither attributes nor parameters that servers are known
    to have, and for what is not a valid date.
    """
    found: dict[str, list[str]] = {}
    order: list[Pair] = []
    for key, value in pairs:
        vr = _vr(key)
        if key.lower() == "includefield":
            _check_fields(value)
        if vr in _WITH_RANGES:
            found.setdefault(key, []).append(date_ranges.translate(value, vr))
        elif value.startswith(date_ranges.COMPARISONS) and vr:
            raise UsageError(f"{key} has no ranges", "only dates and times have")
        order.append((key, value))
    merged = {key: iter(date_ranges.joined(values)) for key, values in found.items()}
    return [
        (key, translated)
        for key, value in order
        if (translated := next(merged[key], None) if key in merged else value) is not None
    ]


def _vr(key: str) -> str:
    """Return the VR of the attribute that a key names; "" for other parameters."""
    if key in _KNOWN or key.lower() in _STANDARD:
        return ""
    try:
        return attributes(key)[-1].vr
    except UsageError as error:
        if not key[:1].isupper() and (close := get_close_matches(key, _KNOWN, n=1, cutoff=0.8)):
            error.hint = f"did you mean {close[0]}?"
        error.hint = f"{error.hint} To send it all the same: --unchecked".strip()
        raise


def _check_fields(text: str) -> None:
    for name in text.split(","):
        if name.strip() and name.strip() != "all":
            attributes(name.strip())


def _decode(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        return text
