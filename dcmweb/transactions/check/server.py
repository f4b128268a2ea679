"""A server as one side of a comparison: what it lists, and what it sends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from dcmweb.dicom.content_digest import ContentDigest, digest_file
from dcmweb.dicom.resources import Resource
from dcmweb.errors import NothingMatched
from dcmweb.http.media_types import DICOM_AS_STORED
from dcmweb.local.folder import LocalFolder
from dcmweb.local.windows import long_path
from dcmweb.temporary import temporary_folder
from dcmweb.transactions.check.inventory import Inventory, Side, Study
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.retrieve.instance_jobs import unusable
from dcmweb.transactions.retrieve.instance_parts import FolderReceiver
from dcmweb.transactions.retrieve.instances import InstanceRetriever
from dcmweb.transactions.retrieve.output import Destination
from dcmweb.transactions.search.listing import Lister
from dcmweb.transfer.outcomes import Outcome, Status

TOGETHER = 1000  # rows that are taken up at a time
# Instances to a page: several workers hold a page each, and a row takes some kilobytes.
PAGE = 1000


class Server:
    """One of the servers of a comparison."""

    def __init__(self, context: RunContext, side: Side) -> None:
        self.context = context
        self.side = side
        self._lister = Lister(context)
        self.trusts_counts = True
        self.lacks_some = False  # a study is listed without a usable UID

    @property
    def name(self) -> str:
        """How messages call it."""
        return "the server" if self.side is Side.THERE else self.context.settings.base_url

    def list_studies(self, inventory: Inventory) -> Iterator[Outcome]:
        """Take up all studies with their counts; yield a failure for each without a usable UID."""
        rows: list[tuple[str, int | None]] = []
        for study, count in self._lister.studies():
            self.context.stop.check()
            self.context.engine.meter.advance()
            if study is None:
                self.lacks_some = True
                yield unusable(Resource())
                continue
            rows.append((study.study, count))
            if len(rows) == TOGETHER:
                inventory.add_studies(self.side, rows)
                rows = []
        inventory.add_studies(self.side, rows)
        # A count that had to be asked for may be one that is in the file.
        self.trusts_counts &= self.context.has_counts

    def list_instances(self, inventory: Inventory, study: Study) -> Iterator[Outcome]:
        """Take up the instances of a study, none if the server does not know it."""
        rows: list[Resource] = []
        self.context.page_size = min(self.context.page_size, PAGE)
        with suppress(NothingMatched):
            for found, _ in self._lister.instances(study.resource):
                if found is None:
                    yield unusable(study.resource)
                    continue
                rows.append(found)
                if len(rows) == TOGETHER:
                    inventory.add_listed(study, self.side, rows)
                    rows = []
        inventory.add_listed(study, self.side, rows)

    def contents(self, study: Study) -> Iterator[tuple[Outcome, ContentDigest | None]]:
        """Retrieve a study as it is stored; yield each instance with its digest, or a failure.

        Files are removed as soon as their digest is made.
        """
        with temporary_folder() as folder:
            receiver = FolderReceiver(
                self.context, Destination(LocalFolder(folder)), DICOM_AS_STORED
            )
            retriever = InstanceRetriever(self.context, receiver)
            for job in retriever.jobs(study.resource, spread=False):
                for outcome in job():
                    if outcome.status is not Status.RETRIEVED:
                        yield outcome, None
                        continue
                    path = long_path(outcome.place)
                    found = digest_file(path)
                    os.unlink(path)
                    yield outcome, found
