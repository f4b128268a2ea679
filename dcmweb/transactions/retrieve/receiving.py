"""The seam between retrieving instances and what becomes of them: files, or requests to store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Resource
from dcmweb.http.multipart import Part
from dcmweb.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from dcmweb.dicom.part10 import LocalInstance
    from dcmweb.transactions.retrieve.instance_parts import Requests


@dataclass(frozen=True)
class Received:
    """An instance that came whole: its outcome, or the instance where that is not known yet."""

    resource: Resource
    outcome: Outcome | None = None
    instance: LocalInstance | None = None
    note: str = ""
    let_go: Callable[[], None] = lambda: (
        None
    )  # of its bytes: at once, not when Python collects them


class Intake(Protocol):
    """Takes the instances of one job, each of which is received first, and then kept."""

    def receive(self, part: Part, asked: Resource, *, ends: bool = True) -> Received:
        """Take the bytes of an instance, and check them.

        `ends` says whether the end of the part is known for sure. Raises ProtocolError for what is
        not the instance that was asked for, or not whole.
        """

    def keep(self, received: Received) -> Iterator[Outcome]:
        """Keep an instance that is new; yield what is known by now of those that were kept."""

    def all_of(self, outcomes: Iterator[Outcome]) -> Iterator[Outcome]:
        """Yield the outcomes of the job, then those of what was kept until its end."""


class Receiver(Protocol):
    """Receives instances, and knows which need not be retrieved."""

    @property
    def requests(self) -> Requests:
        """How instances are asked for."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The attributes that are needed to know whether an instance is there."""

    @property
    def skips(self) -> bool:
        """Whether some instances may be there already."""

    def may_have(self, resource: Resource) -> bool:
        """Return True if some of a study or series may be there already."""

    def there(self, instance: Resource, row: Dataset) -> Outcome | None:
        """Return the outcome of an instance that need not be retrieved; None if it must be."""

    def intake(self) -> Intake:
        """Return what takes the instances of one job."""
