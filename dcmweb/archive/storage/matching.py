"""Matching of QIDO-RS: whether a value matches a search key (PS3.4 section C.2.2.2)."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable, Iterable
from enum import Flag, auto

from werkzeug.exceptions import BadRequest

from dcmweb.dicom.person_names import split_groups

Matches = Callable[[str | None], bool]

_DATE = r"[0-9]{4}\.?[0-9]{2}\.?[0-9]{2}"
_TIME = r"[0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:\.[0-9]{1,6})?)?)?"
_RANGED = {"DA": _DATE, "TM": _TIME, "DT": r"[0-9]{4,14}(?:\.[0-9]{1,6})?"}
_WIDTHS = {"DA": 8, "TM": 13, "DT": 21}
_LONGEST_KEY = 1024  # characters; longer than any value that is matched (PS3.5 table 6.2-1)
_NUMBERS = ("IS", "DS", "US", "SS", "UL", "SL", "FL", "FD", "SV", "UV")


class How(Flag):
    """How values are matched; by default, as PS3.4 section C.2.2.2 says."""

    PLAIN = 0
    FUZZY = auto()  # names by the beginnings of their words
    LITERAL = auto()  # no wildcards, no lists
    EMPTY_VALUES = auto()  # `""` matches what has no value (PS3.4 section C.2.2.2.7)
    MULTIPLE_VALUES = auto()  # a backslash separates values (PS3.4 section C.2.2.2.8)


def matcher(vr: str, wanted: str, how: How = How.PLAIN) -> Matches:
    """Make the test for a search key; values are in the form of the index.

    Raises BadRequest for a malformed key, such as an invalid date.
    """
    if wanted == "" or (wanted == "*" and not how & How.LITERAL):
        return lambda _value: True
    if wanted == '""' and how & How.EMPTY_VALUES:
        return lambda value: not value
    if len(wanted) > _LONGEST_KEY and vr != "UI":
        raise BadRequest(f"a search value is longer than {_LONGEST_KEY} characters")
    if vr == "UI":
        uids = {wanted} if how & How.LITERAL else set(re.split(r"[,\\]", wanted))
        return _any_of(lambda value: value in uids)
    if "\\" in wanted and how & How.MULTIPLE_VALUES:
        return _alternatives(vr, wanted.split("\\"), how)
    if vr == "CS" and re.search(r"[,\\]", wanted) and not how & How.LITERAL:
        # No value of VR CS has a comma: OHIF 3 sends ModalitiesInStudy=CT,MR.
        return _alternatives(vr, re.split(r"[,\\]", wanted), how)
    return _single_value(vr, wanted, how)


def _alternatives(vr: str, wanted: Iterable[str], how: How) -> Matches:
    tests = [_single_value(vr, part, how) for part in wanted if part]
    return lambda value: any(test(value) for test in tests)


def _single_value(vr: str, wanted: str, how: How) -> Matches:
    if vr in _RANGED:
        return _range(vr, wanted)
    if vr == "PN" and how & How.FUZZY:
        return _fuzzy_name(wanted)
    if vr in _NUMBERS:
        return _number(wanted)
    if how & How.LITERAL:
        groups = "=" if vr == "PN" else "\\"
        return _any_of(lambda value: wanted in (value, *value.split(groups)))
    return _name(wanted) if vr == "PN" else _any_of(_wildcard(wanted))


def _any_of(test: Callable[[str], bool]) -> Matches:
    """Test each value of several."""
    return lambda value: value is not None and any(map(test, value.split("\\")))


def _wildcard(wanted: str, flags: int = 0) -> Callable[[str], bool]:
    """Make a test for a value with `*` and `?`.

    The pattern of fnmatch never goes back to an earlier `*`, so that the time of a search does
    not grow exponentially with the number of wildcards.
    """
    compiled = re.compile(fnmatch.translate(wanted.replace("[", "[[]")), flags)
    return lambda value: compiled.match(value) is not None


def _name(wanted: str) -> Matches:
    """Match any group of a person name, ignoring case and empty components at the end."""
    fits = _wildcard(_trimmed(wanted), re.IGNORECASE)
    return _any_of(
        lambda value: any(fits(_trimmed(group)) for group in [value, *split_groups(value).values()])
    )


def _trimmed(name: str) -> str:
    return name.rstrip("^= ")


def _fuzzy_name(wanted: str) -> Matches:
    """Match names in which each of the wanted words is the beginning of some word."""
    words = _words(wanted)

    def fits(value: str) -> bool:
        there = _words(value)
        return all(any(word.startswith(start) for word in there) for start in words)

    return _any_of(fits)


def _words(name: str) -> list[str]:
    """Split a name into words without case and accents."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(char for char in folded if not unicodedata.combining(char))
    return re.findall(r"\w+", plain)


def _number(wanted: str) -> Matches:
    try:
        number = float(wanted)
    except ValueError:
        raise BadRequest(f"{wanted!r} is not a number") from None

    def fits(value: str) -> bool:
        try:
            return float(value) == number
        except ValueError:
            return False

    return _any_of(fits)


def _range(vr: str, wanted: str) -> Matches:
    """Match a date or time, or a range of them that may be open at one end."""
    one = _RANGED[vr]
    match = re.fullmatch(rf"({one})?(-)?({one})?", wanted)
    if not match or wanted == "-" or (match[1] and match[3] and not match[2]):
        raise BadRequest(f"{wanted!r} is neither a value of VR {vr} nor a range of them")
    width = _WIDTHS[vr]
    first, last = _plain(match[1] or ""), _plain(match[3] or "")
    if not match[2]:
        last = first
    low = first.ljust(width, "0")
    high = (last or "9").ljust(width, "9")
    # Parts that a key omits, such as seconds, match any value.
    return _any_of(lambda value: bool(value) and low <= _plain(value).ljust(width, "0") <= high)


def _plain(value: str) -> str:
    """Remove the separators that older editions of the standard allowed in dates and times."""
    return value.replace(":", "").replace(".", "").strip() if value[:1].isdigit() else value
