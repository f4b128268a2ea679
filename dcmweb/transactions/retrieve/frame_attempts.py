"""Outcomes of the requests for the frames of an instance, one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Refused
from dcmweb.transfer.outcomes import Outcome, Status

ALIKE = 2  # refusals that decide how often the other frames of an instance are asked for
_BUSY = (408, 425, 429, 502, 503, 504)


def is_refusal(error: DcmwebError) -> bool:
    """Return True if a server refused what was asked for, rather than being busy or down.

    Orthanc 1.10 answers 500 for frames that it cannot transcode.
    """
    return isinstance(error, Refused) and error.status not in _BUSY


def is_never(_error: DcmwebError) -> bool:
    """Return False: of no error."""
    return False


@dataclass
class FrameAttempts:
    """The failures of the frames of an instance; those before the first success are held back.

    `is_all`: it is about all frames that were asked for. If none of these came and the server said
    the same of each, that is the error of the whole.
    """

    is_all: bool = True
    _failures: list[tuple[Resource, DcmwebError]] = field(default_factory=list)
    _last: tuple[object, ...] = ()
    _alike: int = 0
    _any_came: bool = False

    @property
    def are_hopeless(self) -> bool:
        """Whether so many frames were refused alike that one request for each other will do."""
        return self._alike >= ALIKE

    def note_success(self) -> list[Outcome]:
        """Note that a frame came; return the failures that were held back."""
        self._any_came, self._alike, self._last = True, 0, ()
        failures, self._failures = self._failures, []
        return [_outcome(*failure) for failure in failures]

    def note_failure(self, frame: Resource, error: DcmwebError) -> list[Outcome]:
        """Note that a frame did not come; return its outcome unless that is held back."""
        kind = _kind(error)
        self._alike = self._alike + 1 if kind == self._last else 1
        self._last = kind
        if self._any_came or not self.is_all:
            return [_outcome(frame, error)]
        self._failures.append((frame, error))
        return []

    def held(self) -> Iterator[Outcome]:
        """Yield what is held back, once there are no more frames.

        Raises the error if it is the same for all frames.
        """
        kinds = {_kind(error) for _, error in self._failures}
        if len(kinds) == 1 and not self._any_came:
            raise self._failures[0][1]
        yield from (_outcome(*failure) for failure in self._failures)
        self._failures = []


def _kind(error: DcmwebError) -> tuple[object, ...]:
    """Return what errors alike have in common: numbers, as of frames, make no difference."""
    return type(error), getattr(error, "status", 0), re.sub(r"[0-9]+", "0", error.message)


def _outcome(frame: Resource, error: DcmwebError) -> Outcome:
    return Outcome(Status.FAILED, str(frame), reason=error.message)
