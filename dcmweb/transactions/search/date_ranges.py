"""Translate dates, times and ranges as people write them for queries (PS3.4 C.2.2.2.5)."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable
from datetime import date, timedelta

from dcmweb.errors import UsageError

COMPARISONS = (">=", "<=", ">", "<")

_DATE_HINT = "write a date like 2024-01-31, a range like 2024-01-01..2024-03-31, or >=2024-01-01"
_TIME_HINT = "write a time like 10:30, a range like 10:00..12:30, or >=10:00"
# Values in the form of DICOM, and wildcards, are sent as they are.
_AS_IT_IS = re.compile(r'|""|.*[*?\\].*|[0-9.]{8,26}(-[0-9.]{8,26})?|[0-9.]{8,26}-|-[0-9.]{8,26}')
_TIME_AS_IT_IS = re.compile(
    r'|""|.*[*?\\].*|[0-9.]{2,13}(-[0-9.]{2,13})?|[0-9.]{2,13}-|-[0-9.]{2,13}'
)
_DATE = re.compile(r"([0-9]{4})(?:[-/.]?([0-9]{2})(?:[-/.]?([0-9]{2}))?)?")
_TIME = re.compile(r"([01][0-9]|2[0-3])(?::?([0-5][0-9])(?::?([0-5][0-9]|60)(\.[0-9]{1,6})?)?)?")
_ZONE = re.compile(r"(Z|[+-][0-9]{2}:?[0-9]{2})$")

Bounds = tuple[str, str]  # the first and the last moment of what was written, as DICOM has them


def translate(value: str, vr: str) -> str:
    """Translate a value of VR DA, TM or DT into the form of DICOM, ranges included.

    A value in that form is not changed. Raises UsageError if it is not a valid date or time; as
    all errors do, it leaves out the value, which may be a date of birth.
    """
    value = value.strip()
    pattern = _TIME_AS_IT_IS if vr == "TM" else _AS_IT_IS
    is_day = vr == "DA" and re.fullmatch("[0-9]{8}", value)
    if ".." not in value and not is_day and pattern.fullmatch(value):
        return value
    bounds = {"DA": _day_bounds, "TM": _time_bounds, "DT": _moment_bounds}[vr]
    for comparison in COMPARISONS:
        if value.startswith(comparison):
            return _compared(comparison, value.removeprefix(comparison).strip(), vr, bounds)
    if ".." in value:
        return _range(value, vr, bounds)
    first, last = bounds(value)
    return first if first == last or vr == "TM" else f"{first}-{last}"


def joined(values: list[str]) -> list[str]:
    """Join two half-open ranges, as two comparisons are, into one range."""
    if len(values) == 2:
        since = [v.removesuffix("-") for v in values if v.endswith("-")]
        until = [v.removeprefix("-") for v in values if v.startswith("-")]
        if len(since) == len(until) == 1:
            if _comparable(since[0]) > _comparable(until[0], "9"):
                raise UsageError("the range ends before it begins")
            return [f"{since[0]}-{until[0]}"]
    return values


def _compared(comparison: str, text: str, vr: str, bounds: Callable[[str], Bounds]) -> str:
    first, last = bounds(text)
    if comparison in (">", "<") and vr != "DA":
        raise UsageError(f"{comparison} cannot be asked for", f"write {comparison}=")
    match comparison:
        case ">=":
            return f"{first}-"
        case "<=":
            return f"-{last}"
        case ">":
            return f"{_moved(last, 1)}-"
        case _:
            return f"-{_moved(first, -1)}"


def _range(value: str, vr: str, bounds: Callable[[str], Bounds]) -> str:
    since, _, until = (part.strip(" .") if part else "" for part in value.partition(".."))
    if not since and not until:
        raise UsageError("the range has neither a beginning nor an end", _DATE_HINT)
    first = bounds(since)[0] if since else ""
    last = bounds(until)[1] if until else ""
    # A range of times may be over midnight, as dcm4chee matches it.
    if vr != "TM" and since and until and _comparable(first) > _comparable(last, "9"):
        raise UsageError("the range ends before it begins", "write the earlier date first")
    return f"{first}-{last}"


def _comparable(moment: str, padding: str = "0") -> str:
    return re.sub(r"[^0-9]", "", moment.partition("+")[0]).ljust(20, padding)


def _moved(day: str, days: int) -> str:
    try:
        moved = date(int(day[:4]), int(day[4:6]), int(day[6:])) + timedelta(days)
    except OverflowError:
        raise UsageError("there is no date beyond this one", _DATE_HINT) from None
    return f"{moved:%Y%m%d}"


def _day_bounds(text: str) -> Bounds:
    """Read a day, month or year; return its first and its last day."""
    today = date.today()
    known = {"today": today, "yesterday": today - timedelta(1)}
    if found := known.get(text.lower()):
        return (found.strftime("%Y%m%d"),) * 2
    match = _DATE.fullmatch(text)
    if not match:
        raise UsageError("this is not a valid date", _DATE_HINT)
    year, month, day = (int(part) if part else 0 for part in match.groups())
    try:
        first = date(year, month or 1, day or 1)
        last_day = day or calendar.monthrange(year, month or 12)[1]
        last = date(year, month or 12, last_day)
    except ValueError:
        raise UsageError("this is not a valid date: there is no such day", _DATE_HINT) from None
    return f"{first:%Y%m%d}", f"{last:%Y%m%d}"


def _time_bounds(text: str) -> Bounds:
    """Read a time of day, in full or in part; the server decides what a part matches."""
    match = _TIME.fullmatch(text)
    if not match:
        raise UsageError("this is not a valid time of day", _TIME_HINT)
    written = "".join(filter(None, match.groups()))
    return written, written


def _moment_bounds(text: str) -> Bounds:
    """Read a date with or without a time of day and a time zone."""
    match = _ZONE.search(text)
    moment, zone = (text[: match.start()], match[0]) if match else (text, "")
    day, separator, clock = moment.replace(" ", "T").partition("T")
    if zone and not separator:  # it was part of the date, not a time zone
        return _moment_bounds_of_day(text)
    if not separator:
        return _moment_bounds_of_day(day)
    first, last = _day_bounds(day)
    if first != last:
        raise UsageError("this is not a valid date and time", "write it like 2024-01-31T10:30")
    offset = "+0000" if zone == "Z" else zone.replace(":", "")
    moment = f"{first}{_time_bounds(clock)[0]}{offset}"
    return moment, moment


def _moment_bounds_of_day(text: str) -> Bounds:
    first, last = _day_bounds(text)
    return first, f"{last}235959.999999"
