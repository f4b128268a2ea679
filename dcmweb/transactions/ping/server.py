"""What answers at BASE_URL: over which connection, as what, to whom, and by which clock."""

from __future__ import annotations

import email.utils
import statistics
import time
from collections.abc import Iterator

from dcmweb.http.media_types import DICOM_JSON
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.ping.finding import Finding, Verdict
from dcmweb.transactions.ping.requests import Tried, get

TIMED = 3  # searches for one study, of which the median counts
MOST_SKEW, SERIOUS_SKEW = 30.0, 240.0  # seconds; signatures and tokens allow for five minutes
EXPIRES_SOON = 30  # days

_STUDIES = "studies?limit=1"


def search_one(context: RunContext) -> Tried:
    """Search for one study: what every DICOMweb server answers."""
    return get(context, _STUDIES, DICOM_JSON)


def look_at_server(context: RunContext, studies: Tried) -> Iterator[Finding]:
    """Yield what an answer tells about the server; it need not be the one that was hoped for."""
    yield from _connection(context)
    if "date" in studies.headers:
        yield from _clock(studies)
    yield _identity(context, studies)


def look_at_time(context: RunContext, studies: Tried) -> Finding:
    """Measure how long an answer takes."""
    more = [search_one(context) for _ in range(TIMED - 1)]
    seconds = [tried.seconds for tried in [studies, *more] if tried.is_good]
    median = statistics.median(seconds)
    return Finding(
        "answer",
        Verdict.OK,
        f"{median * 1000:.0f} ms for a search for one study",
        {"seconds": round(median, 4), "all": [round(one, 4) for one in seconds]},
    )


def _connection(context: RunContext) -> Iterator[Finding]:
    """Say how the server is connected to, and of its certificate."""
    facts = context.session.connection
    if facts is None:
        return
    words = [f"{facts.address} in {facts.seconds * 1000:.0f} ms"]
    proxy = context.session.proxy
    if proxy:
        words.append(f"through proxy {proxy}")
    if facts.tls:
        words.append(facts.tls)
    details = {"address": facts.address, "seconds": round(facts.seconds, 4)}
    more = {"proxy": proxy, "tls": facts.tls}
    details |= {name: value for name, value in more.items() if value}
    yield Finding("connection", Verdict.OK, ", ".join(words), details)
    if facts.expires is None:
        if facts.tls:
            yield Finding("certificate", Verdict.WARNING, "it is not checked (--insecure)")
        return
    days = int((facts.expires - time.time()) // 86400)
    verdict = Verdict.OK if days >= EXPIRES_SOON else Verdict.WARNING
    said = f"trusted, issued by {facts.issuer or 'an unnamed CA'}, expires in {days} days"
    yield Finding("certificate", verdict, said, {"days": days, "issuer": facts.issuer})


def _clock(studies: Tried) -> Iterator[Finding]:
    """Compare the server's clock with this one; the Date field has seconds."""
    try:
        theirs = email.utils.parsedate_to_datetime(studies.headers["date"]).timestamp()
    except (ValueError, TypeError, OverflowError):
        return
    skew = theirs - time.time()
    details = {"seconds": round(skew, 1)}
    if abs(skew) <= MOST_SKEW:
        yield Finding("clock", Verdict.OK, "that of the server agrees with this one", details)
        return
    side = "ahead of" if skew > 0 else "behind"
    words = f"that of the server is {_duration(abs(skew))} {side} this one"
    if abs(skew) > SERIOUS_SKEW:
        words += ": signatures and tokens may be refused for it"
    yield Finding("clock", Verdict.WARNING, words, details)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _identity(context: RunContext, studies: Tried) -> Finding:
    """Say as whom requests are sent, and whether the server accepts that."""
    who = context.session.identity
    details = {"identity": who}
    if not studies.status:
        return Finding("identity", Verdict.UNTESTED, who, details)
    if studies.status == 401:
        return Finding("identity", Verdict.FAILED, f"{who}: refused", details)
    if studies.status == 403:
        return Finding("identity", Verdict.FAILED, f"{who}: known, but may not search", details)
    return Finding("identity", Verdict.OK, who, details)
