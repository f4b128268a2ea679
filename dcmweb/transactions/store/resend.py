"""What is sent again, how often, and what is said of it: the one table of the sender."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from dcmweb.errors import (
    DcmwebError,
    NetworkError,
    Refused,
    Stalled,
    Truncated,
    Unreachable,
    WrongAnswer,
)

# Bytes of a request that is worth a question before it is sent again.
LARGE = 1024 * 1024
# Seconds before the server is asked about what it accepted (202): some store it a little later.
WAITS = (0.0, 1.0, 4.0)


class Again(Enum):
    """How often the same request is sent again, in words."""

    NO = "no"
    ONCE = "once"
    RETRIES = "as `--retries` says"


class Then(Enum):
    """What follows when that did not help, in words."""

    NOTHING = "nothing is sent again"
    BY_ITSELF = "what is not found is sent once more, each file by itself"
    OTHERS_ALONE = "nothing is sent again; what comes after goes one by one"
    LATER = "it is sent again by itself, as often as `--retries` says"
    SMALLER = "requests half as large, from then on"
    GROUPS = "smaller requests, then each file by itself"
    OTHER_FORMAT = "the other format, once; from then on as well"
    PROBE = "one file of it, as often as `--retries` says; then the run stops (5)"
    STOP = "the run stops"


class Situation(Enum):
    """What a server did with a store request."""

    NAMED = "names the instance, with any 2xx, 400 or 409"
    RENAMED = "names one instance by another UID, where one was left open"
    MIXED_UP = "names instances by other UIDs, where several were left open"
    OUT_OF_RESOURCES = "names it as refused for want of resources (A7xxH), or as being stored"
    ACCEPTED = "202 that names nothing"
    SILENT = "another 2xx that does not name it"
    UNNAMED_REFUSAL = "400 or 409 that does not name it"
    OTHER_FORMAT = "415, 406; 400 or 501 to metadata"
    TOO_LARGE = "413; 404 with a web page, to a large request"
    BUSY = "408, 425, 429, 503"
    TROUBLED = "424, 507"
    FAULT = "500"
    REFUSED = "another 4xx or 5xx"
    LOST = "the connection breaks, the answer breaks off or names files of other requests; 502, 504"
    STALLED = "nothing moves for `--timeout`, or next to nothing"
    NO_CREDENTIALS = "there is no token for it: the token server cannot be reached, or fails"
    HOPELESS = "401, 403, 404, 405, 410, 501, 3xx; a web page as success; no connection"


class Rule(NamedTuple):
    """A line of the table: what is done in a situation.

    `together` is for a request of several files, `alone` for one of a single file. Where the
    server `is_asked`, what a search finds is stored, and never sent again.
    """

    situation: Situation
    together: Again
    alone: Again
    is_asked: str
    then: Then
    said: str


_FAILED_OR_UNKNOWN = "*failed* if the search says no, *unknown* if there is no search"

TABLE = (
    Rule(
        Situation.NAMED, Again.NO, Again.NO, "", Then.NOTHING,
        "*stored*, *already there* or *failed*, as the answer says",
    ),
    Rule(
        Situation.OUT_OF_RESOURCES, Again.NO, Again.NO, "", Then.LATER,
        "*failed*, with the server's reason",
    ),
    Rule(
        Situation.RENAMED, Again.NO, Again.NO, "", Then.NOTHING,
        "*stored*; the new UID is in the note, and in the record",
    ),
    Rule(Situation.MIXED_UP, Again.NO, Again.NO, "at once", Then.OTHERS_ALONE, "*unknown*"),
    Rule(
        Situation.ACCEPTED, Again.NO, Again.NO,
        f"after {', '.join(f'{wait:g}' for wait in WAITS)} seconds", Then.NOTHING,
        "*unknown*, until `--verify` or a later run finds it",
    ),
    Rule(Situation.SILENT, Again.NO, Again.NO, "at once", Then.BY_ITSELF, "*unknown*"),
    Rule(
        Situation.UNNAMED_REFUSAL, Again.NO, Again.NO, "", Then.GROUPS,
        "*failed*, with what is wrong with the file",
    ),
    Rule(
        Situation.OTHER_FORMAT, Again.NO, Again.NO, "", Then.OTHER_FORMAT,
        "*failed* if the server takes neither",
    ),
    Rule(Situation.TOO_LARGE, Again.NO, Again.NO, "", Then.SMALLER, "*failed*"),
    Rule(Situation.BUSY, Again.RETRIES, Again.RETRIES, "", Then.GROUPS, "*failed*"),
    Rule(Situation.TROUBLED, Again.NO, Again.NO, "", Then.PROBE, "*failed*"),
    Rule(Situation.FAULT, Again.NO, Again.RETRIES, "", Then.GROUPS, "*failed*"),
    Rule(Situation.REFUSED, Again.NO, Again.NO, "", Then.GROUPS, "*failed*"),
    Rule(
        Situation.LOST, Again.ONCE, Again.RETRIES,
        "before a request of 1 MiB or more is sent again, and in the end", Then.GROUPS,
        _FAILED_OR_UNKNOWN,
    ),
    Rule(
        Situation.STALLED, Again.NO, Again.RETRIES,
        "before a request of 1 MiB or more is sent again, and in the end", Then.GROUPS,
        f"{_FAILED_OR_UNKNOWN}; the run stops (6) if the search stalls as well",
    ),
    Rule(
        Situation.NO_CREDENTIALS, Again.RETRIES, Again.RETRIES, "", Then.STOP,
        "*failed*, as it was not sent",
    ),
    Rule(
        Situation.HOPELESS, Again.NO, Again.NO, "", Then.STOP,
        "*failed*; *unknown* if it was sent before and never answered for",
    ),
)  # fmt: skip

RULES = {rule.situation: rule for rule in TABLE}

_BY_STATUS = {
    **dict.fromkeys((404, 413), Situation.TOO_LARGE),  # a 404 that says so, see `exchange`
    **dict.fromkeys((408, 425, 429, 503), Situation.BUSY),
    **dict.fromkeys((424, 507), Situation.TROUBLED),
    **dict.fromkeys((502, 504), Situation.LOST),
    **dict.fromkeys((301, 302, 303, 307, 308, 405, 501), Situation.HOPELESS),
    500: Situation.FAULT,
}


def rule_for(error: DcmwebError) -> Rule:
    """Find what is done after a store request that failed as a whole."""
    return RULES[_situation(error)]


def _situation(error: DcmwebError) -> Situation:
    if error.lacks_credentials:
        return Situation.NO_CREDENTIALS
    match error:
        case Refused(status=status):
            return _BY_STATUS.get(status, Situation.REFUSED)
        case Unreachable():
            return Situation.HOPELESS
        case Stalled():
            return Situation.STALLED
        case NetworkError() | Truncated() | WrongAnswer():
            return Situation.LOST
        case _:
            return Situation.HOPELESS
