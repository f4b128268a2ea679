"""What has come of a study or series, and whether that is all of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, ProtocolError

FEW = 10  # instances that are fetched one by one rather than in a stream with others


@dataclass
class ReceivedInstances:
    """What has come of a study or series so far, and what went wrong on the way."""

    resource: Resource
    count: int | None
    instances: set[Resource] = field(default_factory=set)
    uids: set[str] = field(default_factory=set)  # their SOP Instance UIDs
    problem: DcmwebError | None = None
    stranger: ProtocolError | None = None  # a part that is not what was asked for
    partial_content: bool = False
    missing: int = 0  # of what is listed, before anything was retrieved

    @property
    def is_worth_a_stream(self) -> bool:
        """Whether so much is missing that all in one stream is sooner there than one by one."""
        return self.missing > max(FEW, len(self.instances))

    @property
    def is_broken(self) -> bool:
        """Whether a stream broke off, as another one may not."""
        return self.problem is not None and self.problem.retryable

    def part(self, series: Resource, count: int | None) -> ReceivedInstances:
        """Take out what has come of one series."""
        came = {one for one in self.instances if one.series == series.series}
        return ReceivedInstances(series, count, came, {one.instance for one in came}, self.problem)

    @property
    def is_complete(self) -> bool:
        """Whether what came is all there is, by the server's own count."""
        return (
            self.problem is None
            and not self.partial_content
            and self.count is not None
            and self.count <= len(self.instances)
        )

    def has(self, listed: Resource) -> bool:
        """Whether an instance that the server lists has come.

        Servers exist that list a series by another UID than its files have; only where the count
        shows that something is missing, it may be one of two with the same SOP Instance UID.
        """
        if listed in self.instances:
            return True
        is_short = self.count is not None and len(self.instances) < self.count
        return listed.instance in self.uids and not (listed.series and is_short)

    def add(self, found: Resource) -> bool:
        """Note an instance that has come; tell whether it is new."""
        is_new = found not in self.instances
        self.instances.add(found)
        self.uids.add(found.instance)
        return is_new
