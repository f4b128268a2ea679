"""All errors as one tree. Each class has its exit code, and whether a retry can help.

DcmwebError
 ├─ ItemsFailed         1   a run came to its end, but some of its items failed
 ├─ UsageError          2   the command line asks for something impossible
 ├─ NothingMatched      3   no file for a mask, no such resource
 ├─ AuthError           4   the server wants (other) credentials
 ├─ Refused             5   the server said no
 ├─ NetworkError        6   the exchange broke off
 │   ├─ Stalled             nothing came for too long
 │   └─ Unreachable         it never began: unknown host, refused connection, TLS
 ├─ LocalError          7   a file cannot be read or written
 │   ├─ NotDicom            the file is not a DICOM instance
 │   └─ BrokenDicom         the file is DICOM, but cannot be identified
 │       └─ MissingUid          it has no SOP Instance UID
 ├─ ProtocolError       8   not a DICOMweb answer
 │   ├─ Truncated           the answer was cut short, or does not show where it ends
 │   ├─ WrongAnswer         the answer is that to another request
 │   └─ IncompletePayload   the answer is complete, but its content is not
 └─ Interrupted     128+n   signal n stopped the run: 130 for SIGINT, 143 for SIGTERM
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """The exit codes of the command line. The table in the documentation is made from this one."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Make a code with its meaning in words."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    OK = 0, "all done (skipped and already-there items included)"
    SOME_FAILED = 1, "ran to the end, some items failed, or `check` found a difference"
    USAGE = 2, "usage error"
    NOTHING_MATCHED = 3, "nothing matched: no file for a mask, no such resource"
    AUTH = 4, "authentication or authorisation"
    REFUSED = 5, "the server refused the request"
    NETWORK = 6, "network: DNS, connection, TLS, timeout, after retries"
    LOCAL_IO = 7, "local I/O: unreadable, permission, disk full"
    PROTOCOL = 8, "protocol: not a DICOMweb answer, truncated, malformed"
    DEFECT = 70, "a defect of dcmweb's own"
    SIGINT = 130, "interrupted by SIGINT (Ctrl-C)"
    SIGTERM = 143, "interrupted by SIGTERM"


class DcmwebError(Exception):
    """Base of all errors that the user sees as one line: what happened, and what to do.

    `retryable`: the same request may succeed a moment later.
    `fatal`: every other item of the run would fail as well, so the run stops.

    Errors can be pickled, so that they pass between the processes of a pool.
    """

    exit_code: int = ExitCode.SOME_FAILED
    retryable = False
    fatal = False
    lacks_credentials = False  # the request was not sent, as there was no token for it
    leaves_open = False  # no answer came: the server may have done what it was asked to do
    may_be_wrong_root = False  # perhaps BASE_URL is not the root of a DICOMweb service

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reported_as = ""  # the item whose outcome it is already
        self.request = ""  # the HTTP request that failed, as `GET URL`
        self.attempted = ""  # the same for the log, also where the message names the server

    def __str__(self) -> str:
        about = f"{self.request}: {self.message}" if self.request else self.message
        return f"{about}; {self.hint}" if self.hint else about

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the attributes, since `args` lacks what is given by keyword only."""
        return _restored, (type(self), self.args, vars(self))


def _restored(kind: type[DcmwebError], args: tuple[Any, ...], state: dict[str, Any]) -> DcmwebError:
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error


class ItemsFailed(DcmwebError):
    """A run ended, but some of its items failed; `summary` is that of the run."""

    def __init__(self, message: str, hint: str = "", *, summary: object = None) -> None:
        super().__init__(message, hint)
        self.summary = summary


class UsageError(DcmwebError):
    """The command line asks for something impossible."""

    exit_code = ExitCode.USAGE


class NothingMatched(DcmwebError):
    """No file for a mask, or no such resource on the server (404, 410)."""

    exit_code = ExitCode.NOTHING_MATCHED


class AuthError(DcmwebError):
    """No credentials, or the server does not accept them (401, 403)."""

    exit_code = ExitCode.AUTH

    def __init__(self, message: str, hint: str = "", *, fatal: bool = True) -> None:
        super().__init__(message, hint)
        self.fatal = fatal


class Refused(DcmwebError):
    """The server answered with an error status; `status` is the HTTP status code."""

    exit_code = ExitCode.REFUSED

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        status: int,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


class NetworkError(DcmwebError):
    """The connection broke, or nothing came for too long."""

    exit_code = ExitCode.NETWORK
    retryable = True


class Stalled(NetworkError):
    """The connection is open, but no data moved on it for too long."""


class Unreachable(NetworkError):
    """No connection could be made: unknown host, refused, TLS failure, no answer."""

    fatal = True

    def __init__(self, message: str, hint: str = "", *, retryable: bool = True) -> None:
        super().__init__(message, hint)
        self.retryable = retryable


class LocalError(DcmwebError):
    """A file or folder of this machine cannot be read or written; `path` names it."""

    exit_code = ExitCode.LOCAL_IO

    def __init__(
        self, message: str, hint: str = "", *, path: str = "", fatal: bool = False
    ) -> None:
        super().__init__(message, hint)
        self.path = path
        self.fatal = fatal


class NotDicom(LocalError):
    """The file is not a DICOM instance: empty, another format, a DICOMDIR."""


class BrokenDicom(LocalError):
    """The file is DICOM but cannot be identified: truncated, without UIDs."""


class MissingUid(BrokenDicom):
    """The file is DICOM, but has no readable SOP Instance UID."""


class ProtocolError(DcmwebError):
    """The answer does not follow DICOMweb (PS3.18)."""

    exit_code = ExitCode.PROTOCOL


class Truncated(ProtocolError):
    """The answer was cut short, or does not show where it ends."""

    retryable = True


class WrongAnswer(ProtocolError):
    """The answer is that to another request."""

    retryable = True


class IncompletePayload(ProtocolError):
    """The answer is complete, but its content is not."""

    retryable = True


class Interrupted(DcmwebError):
    """A signal stopped the run; the exit code is 128 + the signal's number."""

    def __init__(self, signal_number: int = 2) -> None:
        super().__init__("interrupted")
        code = 128 + signal_number
        self.exit_code = next((known for known in ExitCode if known == code), code)
