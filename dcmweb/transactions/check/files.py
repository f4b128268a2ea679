"""Files and manifests as one side of a comparison: which instances they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

from dcmweb.dicom import part10
from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.dicom.content_digest import digest
from dcmweb.dicom.part10 import Identity
from dcmweb.dicom.resources import Level, Resource, parse_resource
from dcmweb.errors import LocalError, NotDicom, NothingMatched, UsageError
from dcmweb.local.masks import why_nothing
from dcmweb.sources import Found, SourceFile, Stamp
from dcmweb.temporary import Spool
from dcmweb.transactions.check.inventory import Entry, Inventory
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.store.finding import find_files, why_not_dicom
from dcmweb.transfer.engine import Engine
from dcmweb.transfer.manifest import VERSION, last_events, read_events
from dcmweb.transfer.outcomes import Event, Outcome, Status

TOGETHER = 256  # files that are identified by one job
IN_MEMORY = 4 * 1024 * 1024  # bytes of a file that cannot be read twice
_SKIPPED = (Status.SKIPPED.name.lower(), Status.PLANNED.name.lower())


class Files:
    """The instances in files, folders and masks, also in buckets and archives.

    With `contents`, those in buckets and archives are read whole, once; files of this machine are
    read only when they are compared.
    """

    name = "among the files"

    def __init__(self, masks: Sequence[str], *, contents: bool = False) -> None:
        self._masks = masks
        self._contents = contents

    def read(self, context: RunContext, inventory: Inventory) -> Iterator[Outcome]:
        """Take up all instances; yield the outcome of each file that is not one.

        Several workers read at the same time. Raises NothingMatched if there are no files.
        """
        context.engine.meter.begin("reading files", "file", later="comparing")
        yield from context.engine.run(self._jobs(context.engine, inventory))

    def _jobs(self, engine: Engine, inventory: Inventory) -> Iterator[Job]:
        group: list[Found] = []
        unmatched: list[str] = []
        any_found = False
        for found in find_files(self._masks):
            if found.missing:
                unmatched.append(found.path)
                continue
            any_found = True
            if found.file is not None and found.file.is_passing:  # it is gone by its turn
                done = list(self._identify_all([found], engine, inventory))
                yield partial(iter, done)
                continue
            group.append(found)
            if len(group) == TOGETHER:
                yield partial(self._identify_all, group, engine, inventory)
                group = []
        if not any_found:
            raise NothingMatched(*why_nothing(self._masks))
        yield partial(self._identify_all, group, engine, inventory)
        reason = "no such file, or nothing matches"
        yield partial(iter, [Outcome(Status.FAILED, one, reason=reason) for one in unmatched])

    def _identify_all(
        self, group: list[Found], engine: Engine, inventory: Inventory
    ) -> Iterator[Outcome]:
        entries = []
        for found in group:
            engine.stop.check()
            engine.meter.advance()
            one = _identify(found, contents=self._contents)
            if isinstance(one, Outcome):
                yield one
            else:
                entries.append(one)
        inventory.add_files(entries)

    def nothing(self) -> NothingMatched:
        """Make the error for files without an instance among them."""
        names = " ".join(self._masks)
        return NothingMatched(f"there are no DICOM instances in {names}", "check the path")


def _identify(found: Found, *, contents: bool) -> Entry | Outcome:
    """Identify a file. Junk that was merely found is skipped; a file that was named is DICOM."""
    file = found.file
    if file is None:
        reason = found.error.strerror or str(found.error) if found.error else "it is not there"
        return Outcome(Status.FAILED, found.path, reason=reason)
    try:
        identity, digest = _read(file, contents=contents)
    except NotDicom as error:
        status = Status.FAILED if found.named else Status.SKIPPED
        size = (file.stamp() or Stamp(0, 0)).size
        return Outcome(status, found.path, size, why_not_dicom(found, error.message))
    except LocalError as error:
        return Outcome(Status.FAILED, found.path, reason=error.message)
    one = identity.resource
    for name, uid in (("Study", one.study), ("Series", one.series)):
        if not uid:
            reason = f"it has no {name} Instance UID, by which to look for it"
            return Outcome(Status.FAILED, found.path, reason=reason)
    alias = identity.meta_sop_instance
    return Entry(one, found.path, alias if alias != one.instance else "", digest)


def _read(file: SourceFile, *, contents: bool) -> tuple[Identity, str]:
    """Return what a file is, and the digest of its contents if nobody can open it by its path."""
    with closing(Spool(IN_MEMORY)) as spool:
        instance = part10.identify_file(file, keeper=spool)
        if not contents or isinstance(file, LocalFile) or instance.file is None:
            return instance.identity, ""
        with instance.file.open() as reader:
            found = digest(reader)
        instance.file.check()
        return instance.identity, str(found)


class ManifestFiles:
    """The instances that manifests of `store`, `copy` or `retrieve` have recorded."""

    name = "in the manifest"

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths

    def read(self, context: RunContext, inventory: Inventory) -> Iterator[Outcome]:
        """Take up the instances; yield the failure of each file that has no UIDs.

        Of `store` and `copy`, all of them, as they should be on the server. Of `retrieve`, those
        that were retrieved.
        """
        for path in self._paths:
            yield from self._read(path, context, inventory)

    def _read(self, path: str, context: RunContext, inventory: Inventory) -> Iterator[Outcome]:
        events = read_events(path)
        read = _READERS[_command(path, next(events, None))]
        entries: list[Entry] = []
        failed = others = 0
        context.engine.meter.begin("reading the manifest", "line", later="comparing")
        for event in last_events(events):
            context.stop.check()
            context.engine.meter.advance()
            one = read(event)
            if isinstance(one, Entry):
                entries.append(one)
            elif isinstance(one, Outcome):
                yield one
            elif event.get("type") == Status.FAILED.name.lower():
                failed += 1
            else:
                others += 1
            if len(entries) == TOGETHER:
                inventory.add_files(entries)
                entries = []
        inventory.add_files(entries)
        for count, why in ((failed, "were not retrieved"), (others, "are not instances")):
            if count:
                context.notify(f"{path}: {count:,} of its items {why}, and are left out")

    def nothing(self) -> NothingMatched:
        """Make the error for manifests without instances."""
        names = " ".join(self._paths)
        return NothingMatched(f"there are no instances in the manifest {names}", "check the path")


def _command(path: str, header: Event | None) -> str:
    """Return the command that a manifest is of. Raises UsageError if it is not one of files."""
    if header is None:
        raise UsageError(f"{path} is not a manifest", "its first line is incomplete")
    if header.get("version") != VERSION:
        raise UsageError(f"{path} is not a manifest of version {VERSION}", "choose another file")
    command = _text(header, "command")
    if command not in _READERS:
        commands = ", ".join(_READERS)
        raise UsageError(f"{path} is a manifest of {command}", f"check one of {commands}")
    return command


def _stored(event: Event) -> Entry | Outcome | None:
    """Return what the last line on a file means; None for a file that is not an instance."""
    item, resource = _text(event, "item"), _resource(event)
    if event.get("type") in _SKIPPED:
        return None
    if resource is None:
        reason = _text(event, "reason") or "the manifest has no UIDs for it"
        return Outcome(Status.FAILED, item, reason=f"in the manifest: {reason}")
    return Entry(resource, item)


def _copied(event: Event) -> Entry | Outcome | None:
    """Return what the last line on an instance means; it is in no file."""
    one = _stored(event)
    return Entry(one.resource, "") if isinstance(one, Entry) else one


def _retrieved(event: Event) -> Entry | None:
    """Return the instance that a line says is here; None if there is not one."""
    is_here = event.get("type") in ("retrieved", "exists")
    resource = _resource(event)
    if not is_here or resource is None or _named(_text(event, "item")) != resource:
        return None
    return Entry(resource, _text(event, "place"))


def _named(item: str) -> Resource | None:
    try:
        return parse_resource(item)
    except UsageError:  # such as a rendered instance
        return None


def _resource(event: Event) -> Resource | None:
    found = Resource(_text(event, "study"), _text(event, "series"), _text(event, "instance"))
    is_whole = found.study and found.series and found.level is Level.INSTANCES
    return found if is_whole else None


def _text(event: Event, name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


_READERS = {"store": _stored, "copy": _copied, "retrieve": _retrieved}
