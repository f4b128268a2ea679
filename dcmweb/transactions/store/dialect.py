"""What a server turned out to want of store requests, remembered for the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dcmweb.errors import DcmwebError, Refused
from dcmweb.http.media_types import DICOM_JSON, DICOM_XML
from dcmweb.settings import Settings
from dcmweb.settings.servers import OTHER, Server, StowForm
from dcmweb.transactions.store.request_body import Batch, BodyFormat, can_be_metadata

ENOUGH = 3  # files in a row that show if it helps to send files by themselves
# Bytes of a request that a 404 may be about before any was taken, and once one was.
LARGE_AT_FIRST, LARGE_LATER = 1_000_000, 64 * 1024

_NO_METADATA = (
    "The server takes no metadata with bulk data: DICOM files are made of it here, and sent instead"
)


class Dialect:
    """The format of a request, the media type of its answer, and how much is in one."""

    def __init__(
        self, settings: Settings, notify: Callable[[str], None], server: Server = OTHER
    ) -> None:
        self.batch_bytes = min(settings.batch_bytes, server.bytes or settings.batch_bytes)
        self.batch_count = settings.batch_count
        self.accept = DICOM_JSON
        self.waits_are_vain = False  # what was accepted was not found after a while
        self._notify = notify
        is_single = settings.stow_form == StowForm.SINGLE
        self._file_format = BodyFormat.SINGLE if is_single else BodyFormat.FILES
        self._takes_metadata = True
        self._format_is_sure = False
        self._largest_taken = 0
        self._helped = 0  # files in a row that were stored once they were sent by themselves
        self._not_helped = 0

    @property
    def file_format(self) -> BodyFormat:
        """The format in which DICOM files are sent."""
        return self._file_format

    def format_for(self, batch: Batch) -> BodyFormat:
        """Return the format in which to send instances."""
        takes_it = self._takes_metadata and can_be_metadata(batch)
        return BodyFormat.METADATA if takes_it else self._file_format

    def fitting(self, batch: Batch) -> Iterator[Batch]:
        """Split a batch into those that the server takes."""
        count = self.batch_count
        if self.format_for(batch) is BodyFormat.SINGLE:
            count = 1
        one: Batch = []
        size = 0
        for instance in batch:
            if one and (size + instance.size > self.batch_bytes or len(one) >= count):
                yield one
                one, size = [], 0
            one.append(instance)
            size += instance.size
        if one:
            yield one

    def note_taken(self, body_format: BodyFormat, size: int) -> None:
        """Remember a request that was answered as one for the Store transaction."""
        self._format_is_sure |= body_format is not BodyFormat.METADATA
        self._largest_taken = max(self._largest_taken, size)

    def takes_any(self) -> bool:
        """Return True once a request was taken."""
        return self._largest_taken > 0

    def may_be_too_large(self, size: int) -> bool:
        """Return True if a 404 may be about the size of a request.

        IIS answers 404 with a web page to what is longer than maxAllowedContentLength (404.13).
        """
        if not self.takes_any():
            return size > LARGE_AT_FIRST
        return size > max(self._largest_taken, LARGE_LATER)

    def make_smaller(self, batch: Batch) -> None:
        """Halve requests, as one of several instances was too large."""
        total = sum(instance.size for instance in batch)
        self.batch_bytes = min(self.batch_bytes, max(1, total // 2))

    def send_one_by_one(self) -> None:
        """Put no more than one instance in a request from now on."""
        self.batch_count = 1

    def note_sent_alone(self, *, helped: bool) -> None:
        """Remember what came of sending a file by itself, after an answer did not name it.

        Where that helps again and again, the server takes one instance of each request only.
        """
        self._helped = self._helped + 1 if helped else 0
        self._not_helped = 0 if helped else self._not_helped + 1
        if self._helped >= ENOUGH:
            self.send_one_by_one()

    @property
    def alone_is_vain(self) -> bool:
        """Whether it is of no use to send files by themselves: the server names none."""
        return self._not_helped >= ENOUGH

    def adapts_to(self, error: DcmwebError, body_format: BodyFormat) -> bool:
        """Change the format of requests as a refusal tells to; False if that cannot help."""
        status = error.status if isinstance(error, Refused) else 0
        if status in (415, 501) and body_format is BodyFormat.METADATA:
            is_news, self._takes_metadata = self._takes_metadata, False
            if is_news:
                self._notify(f"{_NO_METADATA} ({error.message})")
            return True
        if status == 415 and not self._format_is_sure:
            if body_format is not self._file_format:
                return True  # another worker has found out meanwhile
            self._format_is_sure = body_format is BodyFormat.SINGLE  # the second format is the last
            self._file_format = (
                BodyFormat.FILES if body_format is BodyFormat.SINGLE else BodyFormat.SINGLE
            )
            return True
        if status == 406 and self.accept == DICOM_JSON:
            self.accept = DICOM_XML
            return True
        return False
