"""Asking a server which instances it has, where its answers leave that open (PS3.18 10.6)."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator

from dcmweb.dicom.resources import Level, Resource
from dcmweb.dicom.tags import SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from dcmweb.errors import DcmwebError, Interrupted, NothingMatched, Stalled
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.search import paging
from dcmweb.transactions.search.listing import Lister, query_for
from dcmweb.transactions.search.paging import Pages, Query
from dcmweb.transactions.store.presence import Presence
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transfer.engine import Engine, RetryPolicy

FEW = 3  # instances of a series that are asked for one by one, rather than by a list of all
MOST_STALLS = 2  # searches that stall before none is made any more


class Inquiry:
    """Searches beside a run: retried once, and not counted among the exchanges that fail."""

    def __init__(self, context: RunContext) -> None:
        self._run = context.engine
        self._context = copy.copy(context)
        self._context.engine = Engine(
            workers=1,
            policy=RetryPolicy(min(1, context.settings.retries), context.settings.retry_time),
            stop=context.stop,
        )
        self._context.engine.meter.pauses = context.engine.meter.pauses
        self._stalls = 0
        self.has_stalled = False  # the last time

    def ask(self, batch: Batch) -> dict[str, Presence]:
        """Return what is known of each instance, by its path."""
        groups: dict[Resource, Batch] = defaultdict(list)
        for instance in batch:
            own = instance.identity.resource
            parent = Resource(own.study, own.series) if own.study and own.series else Resource()
            groups[parent].append(instance)
        found: dict[str, Presence] = {}
        self.has_stalled = False
        for parent, group in groups.items():
            if parent != Resource() and len(group) > FEW:
                found |= self._listed(parent, group)
            else:
                found |= {one.path: self.instance(one.identity.resource) for one in group}
        return found

    def listing(self, series: Resource, most: int) -> set[str] | None:
        """Return the UIDs of the instances of a series; None if there are more, or no answer."""
        found: set[str] = set()
        try:
            for uid in self._uids(series, ()):
                found.add(uid)
                if len(found) > most:
                    return None
        except Interrupted:
            raise
        except NothingMatched:
            return found if self._without(series.study) is Presence.MISSING else None
        except DcmwebError:
            return None
        return found

    def instance(self, resource: Resource) -> Presence:
        """Search for one instance."""
        uid, parent = resource.instance, Resource(resource.study, resource.series)
        if not (parent.study and parent.series):
            parent = Resource()
        return self._asked(parent, {uid}, (("SOPInstanceUID", uid),)).get(uid, Presence.UNCLEAR)

    def any_below(self, resource: Resource) -> Presence:
        """Search for a study or series; a server that lists it has instances of it."""
        query = query_for(resource)
        try:
            rows = Pages(self._context, query)
            known = any(
                paging.resource_of(row, query.level, query.resource) == resource for row in rows
            )
        except Interrupted:
            raise
        except NothingMatched:
            return Presence.MISSING
        except DcmwebError:
            return Presence.UNCLEAR
        return Presence.THERE if known else Presence.MISSING

    def has_service(self) -> bool:
        """Return False if searches are answered with 404 as well: the address is wrong."""
        try:
            paging.fetch_page(self._context, Query(Resource(), Level.STUDIES).target(1, 0))
        except Interrupted:
            raise
        except NothingMatched:
            return False
        except DcmwebError:
            return True
        return True

    def _listed(self, series: Resource, group: Batch) -> dict[str, Presence]:
        uids = {one.identity.resource.instance for one in group}
        found = self._asked(series, uids)
        return {one.path: found[one.identity.resource.instance] for one in group}

    def _asked(
        self, parent: Resource, uids: set[str], key: tuple[tuple[str, str], ...] = ()
    ) -> dict[str, Presence]:
        """Ask for instances below a resource, by a key or by a list of all."""
        if self._stalls >= MOST_STALLS:
            return dict.fromkeys(uids, Presence.UNCLEAR)
        listed: set[str] = set()
        otherwise = Presence.MISSING
        try:
            # Compared here as well: servers exist that ignore what they do not know.
            for uid in self._uids(parent, key):
                if uid in uids:
                    listed.add(uid)
                if len(listed) == len(uids):
                    break
            self._run.note_answer()
        except Interrupted:
            raise
        except NothingMatched:
            self._run.note_answer()
            otherwise = self._without(parent.study)
        except DcmwebError as error:
            if isinstance(error, Stalled):
                self._stalls += 1
                self.has_stalled = True
            otherwise = Presence.UNCLEAR
        return {uid: Presence.THERE if uid in listed else otherwise for uid in uids}

    def _uids(self, parent: Resource, key: tuple[tuple[str, str], ...]) -> Iterator[str]:
        if key:
            for row in Pages(self._context, Query(parent, Level.INSTANCES, key)):
                yield paging.uid(row, SOP_INSTANCE_UID)
            return
        for found, _ in Lister(self._context).instances(parent):
            if found is not None:
                yield found.instance

    def _without(self, study: str) -> Presence:
        """Say what 404 means: some servers have it for no results, others for no such search."""
        query = query_for(Resource(study))
        try:
            known = any(
                paging.uid(row, STUDY_INSTANCE_UID) == study for row in Pages(self._context, query)
            )
        except Interrupted:
            raise
        except DcmwebError:
            return Presence.UNCLEAR
        return Presence.UNCLEAR if known or not study else Presence.MISSING
