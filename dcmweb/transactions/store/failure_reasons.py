"""Failure and warning reasons of the Store transaction, in words: the one table.

Sources: PS3.18 section I.2.2, PS3.4 section B.2.3, PS3.7 annex C, and the conformance statements
of Google Cloud Healthcare and Azure Health Data Services.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from dcmweb.errors import DcmwebError
from dcmweb.settings.servers import says_exists


class Verdict(Enum):
    """What a reason means for the instance it is given for."""

    REFUSED = "refused"
    EXISTS = "already there"
    BUSY = "try again"


# Stands for the reasons with which a server asks for another try: how long to wait, and why.
NO_ROOM = DcmwebError("the server is out of resources")


class Reason(NamedTuple):
    """A range of codes, what they say, and what follows."""

    first: int
    last: int
    words: str
    verdict: Verdict = Verdict.REFUSED


FAILURES = (
    Reason(0x0105, 0x0105, "no such attribute"),
    Reason(0x0106, 0x0106, "invalid attribute value"),
    Reason(0x0107, 0x0107, "attribute list error"),
    Reason(0x0110, 0x0110, "processing failure"),
    Reason(0x0111, 0x0111, "duplicate SOP Instance", Verdict.EXISTS),
    Reason(0x0112, 0x0112, "no such SOP Instance"),
    Reason(0x0115, 0x0115, "invalid argument value"),
    Reason(0x0116, 0x0116, "attribute value out of range"),
    Reason(0x0117, 0x0117, "invalid SOP Instance"),
    Reason(0x0118, 0x0118, "no such SOP Class"),
    Reason(0x0119, 0x0119, "class-instance conflict"),
    Reason(0x0120, 0x0120, "missing attribute"),
    Reason(0x0121, 0x0121, "missing attribute value"),
    Reason(0x0122, 0x0122, "SOP Class not supported"),
    Reason(0x0124, 0x0124, "not authorised"),
    Reason(0xA700, 0xA7FF, "the server is out of resources", Verdict.BUSY),
    Reason(0xA900, 0xA9FF, "the data set does not match its SOP Class"),
    Reason(0xA901, 0xA901, "the Study Instance UID is not that of the request"),
    Reason(0xB00E, 0xB00E, "already stored, or being stored", Verdict.EXISTS),
    Reason(0xB00F, 0xB00F, "another store of this instance is under way", Verdict.BUSY),
    Reason(0xC000, 0xCFFF, "the server cannot understand the instance"),
    Reason(0xC122, 0xC122, "transfer syntax not supported"),
)

WARNINGS = (
    Reason(0x0001, 0x0001, "stored, though attributes that are not required are invalid"),
    Reason(0xB000, 0xB000, "data elements were coerced"),
    Reason(0xB006, 0xB006, "data elements were discarded"),
    Reason(0xB007, 0xB007, "the data set does not match its SOP Class"),
)

_UNNAMED = "no reason given"


def failure(code: int | None, detail: str = "") -> tuple[Verdict, str]:
    """Return what a failure reason means, and say it in words with the server's own detail.

    Google gives "processing failure" for an instance that exists with other bytes, and tells it
    only in its detail.
    """
    reason = _lookup(FAILURES, code)
    verdict = reason.verdict if reason else Verdict.REFUSED
    if verdict is Verdict.REFUSED and says_exists(detail):
        verdict = Verdict.EXISTS
    return verdict, _in_words(reason, code, detail)


def warning(code: int | None, detail: str = "") -> str:
    """Say a warning reason in words."""
    return _in_words(_lookup(WARNINGS, code), code, detail)


def _lookup(table: tuple[Reason, ...], code: int | None) -> Reason | None:
    """Find the narrowest range with the code."""
    fitting = [r for r in table if code is not None and r.first <= code <= r.last]
    return min(fitting, key=lambda r: r.last - r.first, default=None)


def _in_words(reason: Reason | None, code: int | None, detail: str) -> str:
    if code is None:
        return detail or _UNNAMED
    words = f"{reason.words if reason else 'unlisted reason'} ({code:04X}H)"
    return f"{words}: {detail}" if detail else words
