"""What can go wrong, as one tree; each class knows its exit code and whether a retry can help.

DcmwebError
 ├─ UsageError          2   the command line asks for something impossible
 ├─ NothingMatched      3   no file for a mask, no such resource
 ├─ AuthError           4   the server wants (other) credentials
 ├─ Refused             5   the server said no
 ├─ NetworkError        6   the exchange broke off
 │   ├─ Stalled             nothing came for too long
 │   └─ Unreachable         it never began: unknown host, refused connection, TLS
 ├─ LocalError          7   a file cannot be read or written
 │   ├─ NotDicom            a file is no DICOM instance
 │   └─ BrokenDicom         a file is a DICOM instance that cannot be identified
 │       └─ MissingUid        as it has no SOP Instance UID
 ├─ ProtocolError       8   not a DICOMweb answer
 │   ├─ Truncated           it ended before its end, or does not show where that is
 │   ├─ WrongAnswer         it is that to another request
 │   └─ IncompletePayload             it ended well, but what it brought is not whole
 └─ Interrupted  130, 143   a signal stopped the run
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the command line: the one table, from which the documentation is made."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Give each code its meaning in words."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    OK = 0, "all done (skipped and already-there items included)"
    SOME_FAILED = 1, "ran to the end, some items failed"
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
    """Base of all errors that are told to the user in one line: what happened, and what to do.

    `retryable`: the same request may succeed a moment later.
    `fatal`: no other item of the run can fare better, so the run stops.
    """

    exit_code = ExitCode.SOME_FAILED
    retryable = False
    fatal = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.request = ""  # the HTTP request it is about, as `GET URL`

    def __str__(self) -> str:
        about = f"{self.request}: {self.message}" if self.request else self.message
        return f"{about}; {self.hint}" if self.hint else about


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
    """The connection stands, but nothing moved on it for too long."""


class Unreachable(NetworkError):
    """No connection came about: unknown host, refused, TLS failure, no answer."""

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
    """The file is DICOM, but has no SOP Instance UID that could be read."""


class ProtocolError(DcmwebError):
    """The answer is not what DICOMweb says it should be."""

    exit_code = ExitCode.PROTOCOL


class Truncated(ProtocolError):
    """The answer ended before its end, or does not show where its end is."""

    retryable = True


class WrongAnswer(ProtocolError):
    """The answer is that to another request."""

    retryable = True


class IncompletePayload(ProtocolError):
    """The answer came to its end, but what it brought is not whole."""

    retryable = True


class Interrupted(DcmwebError):
    """A signal stopped the run; the exit code is 128 + the signal's number."""

    def __init__(self, signal_number: int = 2) -> None:
        super().__init__("interrupted")
        self.exit_code = {code.value: code for code in ExitCode}[128 + signal_number]
