"""Tracks received instances of a study or series, and whether they are complete."""

from __future__ import annotations

from dataclasses import dataclass, field

from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, ProtocolError
from dcmweb.transactions.retrieve.receiving import Intake

FEW = 10  # instances that are fetched one by one rather than in a stream with others


@dataclass
class ReceivedInstances:
    """The instances of a study or series that were received, and what went wrong."""

    resource: Resource
    count: int | None
    intake: Intake
    instances: set[Resource] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)  # their SOP Instance UIDs
    problem: DcmwebError | None = None
    stranger: ProtocolError | None = None  # for a part that was not asked for
    partial_content: bool = False
    missing: int = 0  # of what is listed, before anything was retrieved

    @property
    def is_worth_a_stream(self) -> bool:
        """Whether the stream again is faster than a request for each missing instance."""
        return self.missing > max(FEW, len(self.instances))

    @property
    def is_broken(self) -> bool:
        """Whether a stream broke off. Another one may not."""
        return self.problem is not None and self.problem.retryable

    def part(self, series: Resource, count: int | None) -> ReceivedInstances:
        """Return what was received of one series."""
        came = {one for one in self.instances if one.series == series.series}
        return ReceivedInstances(
            series, count, self.intake, came, {one.instance for one in came}, self.problem
        )

    @property
    def is_complete(self) -> bool:
        """Whether as many instances were received as the server counts."""
        return (
            self.problem is None
            and not self.partial_content
            and self.count is not None
            and self.count <= len(self.instances)
        )

    def has(self, listed: Resource) -> bool:
        """Return True if an instance that the server lists was received.

        Some servers list a series by another UID than its files have, so the SOP Instance UID is
        enough. If fewer came than are counted, it may be one of two instances with that UID.
        """
        if listed in self.instances:
            return True
        is_short = self.count is not None and len(self.instances) < self.count
        return listed.instance in self.uids and not (listed.series and is_short)

    def add(self, found: Resource) -> bool:
        """Note a received instance; return True if it is new."""
        before = len(self.instances)
        self.instances.add(found)
        self.uids.add(found.instance)
        return len(self.instances) > before
