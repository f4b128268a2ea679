"""Which instance is meant by what an answer says (PS3.18 section 10.5.3)."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field, replace
from threading import Lock

from dcmweb.dicom.part10 import LocalInstance
from dcmweb.transactions.store.request_body import Batch
from dcmweb.transactions.store.response_module import NotStored, Stored, StoreResponse

Said = Stored | NotStored
REMEMBERED = 10_000  # instances that were sent last, so that memory has a bound


class Sent:
    """The names of the instances that any worker of a run has sent last.

    A server or proxy that answers a request twice lets the second answer come for the next request.
    What it names was sent, so that it is not a new UID that the server gave to something else.
    """

    def __init__(self) -> None:
        self._requests: deque[set[str]] = deque()  # the names of each
        self._last: dict[str, set[str]] = {}  # of each name, the last request with it
        self._lock = Lock()

    def note(self, batch: Batch) -> None:
        """Remember the instances of a request."""
        names = _own_names(batch)
        with self._lock:
            self._requests.append(names)
            self._last.update(dict.fromkeys(names, names))
            while len(self._last) > REMEMBERED and len(self._requests) > 1:
                first = self._requests.popleft()
                for name in first:
                    if self._last[name] is first:
                        del self._last[name]

    def only_own(self, batch: Batch, response: StoreResponse) -> StoreResponse | None:
        """Return what an answer says of instances that are not those of other requests.

        None if it names instances of other requests, and none of this one.
        """
        told = {*response.stored, *response.failed}
        own = _own_names(batch)
        others = self._others(told - own)
        if not others:
            return response
        plain = set(map(_plain, own))
        if not any(_plain(uid) in plain for uid in told):
            return None
        stored = {uid: one for uid, one in response.stored.items() if uid not in others}
        failed = {uid: one for uid, one in response.failed.items() if uid not in others}
        return replace(response, stored=stored, failed=failed)

    def _others(self, strange: set[str]) -> set[str]:
        """Return those of some names that were sent in any request."""
        if not strange:
            return strange
        with self._lock:
            return {uid for uid in strange if uid in self._last}


@dataclass
class Matched:
    """What an answer says of each instance, and the instances it does not name.

    `strangers` counts instances that it says were stored, under UIDs that are not among those sent.
    """

    said: list[tuple[LocalInstance, Said]] = field(default_factory=list)
    unnamed: Batch = field(default_factory=list)
    strangers: int = 0


def match(batch: Batch, response: StoreResponse) -> Matched:
    """Look up every instance in an answer: by its UIDs, then by what is left on both sides."""
    found = Matched()
    names = _names(batch)
    for instance in batch:
        said = response.about(names[instance.identity.resource.instance])
        if said is None:
            found.unnamed.append(instance)
        else:
            found.said.append((instance, said))
    if not found.unnamed:
        return found
    own = _own_names(batch)
    strangers = [one for uid, one in response.stored.items() if uid not in own]
    failures = [one for uid, one in response.failed.items() if uid not in own]
    _match_by_plain_uids(found, strangers)
    _match_by_plain_uids(found, failures)
    failures += response.other_failures
    if len(failures) == len(found.unnamed) and not strangers:
        # Failures of nobody that was sent, as many as there are instances without a word: these.
        found.said += zip(found.unnamed, failures, strict=True)
        found.unnamed = []
    elif len(strangers) == len(found.unnamed) == 1 and not failures:
        found.said.append((found.unnamed.pop(), strangers.pop()))  # under another UID
    found.strangers = len(strangers)
    return found


def _own_names(batch: Batch) -> set[str]:
    names = {one.identity.resource.instance for one in batch}
    names.update([one.identity.meta_sop_instance for one in batch])
    names.discard("")
    return names


def _match_by_plain_uids(found: Matched, strangers: list[Stored] | list[NotStored]) -> None:
    """Match what a server wrote in another way, such as without leading zeros."""
    calls = Counter(_plain(one.identity.resource.instance) for one in found.unnamed)
    by_uid = {_plain(one.sop_instance): one for one in strangers}
    for instance in list(found.unnamed):
        uid = _plain(instance.identity.resource.instance)
        if calls[uid] == 1 and uid in by_uid:
            found.said.append((instance, by_uid[uid]))
            found.unnamed.remove(instance)
            strangers.remove(by_uid[uid])  # type: ignore[arg-type]  # one of the same list


def _plain(uid: str) -> str:
    """Write a UID without what PS3.5 section 9.1 has no place for: spaces, leading zeros."""
    return ".".join(part.lstrip("0") or "0" for part in uid.strip(" \0").split("."))


def _names(batch: Batch) -> dict[str, tuple[str, ...]]:
    """By which UIDs each instance may be called; none by which another may be as well.

    The UID in the file meta information can differ from that of the data set, and some servers go
    by it. But another instance may really have it.
    """
    identities = [instance.identity for instance in batch]
    if all(one.meta_sop_instance in ("", one.resource.instance) for one in identities):
        return {one.resource.instance: (one.resource.instance,) for one in identities}
    calls = Counter(name for one in identities for name in one.names)
    names = {}
    for instance in batch:
        own = instance.identity.resource.instance
        others = (name for name in instance.identity.names if name != own and calls[name] == 1)
        names[own] = (own, *others)
    return names
