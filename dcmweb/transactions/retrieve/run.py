"""The Retrieve transaction (WADO-RS, PS3.18 section 10.4): which part of it does what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from dcmweb.dicom.resources import Level, Representation, Target, parse_named_target
from dcmweb.errors import UsageError
from dcmweb.http.media_types import DICOM, DICOM_AS_STORED, ZIP, MediaType
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.retrieve.bulkdata import BulkDataRetriever
from dcmweb.transactions.retrieve.frames import FrameRetriever
from dcmweb.transactions.retrieve.instance_parts import FolderReceiver
from dcmweb.transactions.retrieve.instances import InstanceRetriever
from dcmweb.transactions.retrieve.metadata import METADATA_TYPES, MetadataRetriever
from dcmweb.transactions.retrieve.options import RetrieveOptions
from dcmweb.transactions.retrieve.output import Destination
from dcmweb.transactions.retrieve.rendered import (
    RenditionRetriever,
    is_rendered,
    is_whole_rendition,
)
from dcmweb.transactions.retrieve.target_jobs import TargetJobs
from dcmweb.transactions.retrieve.zip_archive import ZipRetriever
from dcmweb.transfer.outcomes import Outcome, Outcomes, Status
from dcmweb.transfer.shard import Shard


def retrieve(
    context: RunContext,
    targets: Iterable[Target | str],
    destination: Destination,
    options: RetrieveOptions,
) -> Outcomes:
    """Retrieve resources in the representations that are wanted; yield the outcome of each item.

    Paths that are given as text are read when their turn comes. A dry run lists what would be
    retrieved. Raises what stopped the run.
    """
    context.shard = Shard.parse(options.shard)
    if not options.dry_run:
        destination.folder.prepare()
    retrieval = _Retrieval(context, destination, options)
    jobs = TargetJobs(context, retrieval.jobs, options.on_error)
    yield from context.engine.run(jobs.of(targets))


def check_and_classify(
    context: RunContext, destination: Destination, options: RetrieveOptions
) -> Callable[[Target], bool]:
    """Return what checks a target, and says whether whole instances are retrieved for it."""
    retrieval = _Retrieval(context, destination, options)

    def has_instances(target: Target) -> bool:
        retrieval.check(target)
        return is_stored(target, options.wanted)

    return has_instances


class _Retrieval:
    """The parts that do the retrieving, each for one representation of a resource."""

    def __init__(
        self, context: RunContext, destination: Destination, options: RetrieveOptions
    ) -> None:
        self._meter = context.engine.meter
        self._roots = context.settings.roots
        self._wanted = wanted = options.wanted
        self._rendering = rendering = options.rendering
        self._dry_run = options.dry_run
        self._layout = destination.layout
        stored = wanted if wanted and wanted.name == DICOM else DICOM_AS_STORED
        self._instances = InstanceRetriever(context, FolderReceiver(context, destination, stored))
        self._frames = FrameRetriever(context, destination, wanted, rendering)
        self._renditions = RenditionRetriever(context, destination, wanted, rendering)
        self._metadata = MetadataRetriever(context, destination, wanted)
        self._bulk_data = BulkDataRetriever(context, destination, wanted)
        self._zips = ZipRetriever(context, destination, wanted)

    def jobs(self, given: Target | str, *, spread: bool) -> Iterator[Job]:
        """Make the jobs of a target; `spread` makes many small ones for a study."""
        target = parse_named_target(given, *self._roots) if isinstance(given, str) else given
        self.check(target)
        self._expect_unless_stored(target)
        if self._dry_run:
            yield from self._planned(target)
            return
        resource, wanted = target.resource, self._wanted
        match target.representation:
            case Representation.METADATA:
                yield from self._metadata.jobs(resource)
            case Representation.BULKDATA:
                yield from self._bulk_data.jobs(target)
            case Representation.THUMBNAIL:
                yield from self._renditions.jobs(target)
            case Representation.RENDERED if resource.level is Level.INSTANCES:
                yield from self._renditions.jobs(target)
            case Representation.STORED if _is_zip(wanted):
                yield from self._zips.jobs(resource)
            case Representation.STORED if is_stored(target, wanted):
                yield from self._instances.jobs(resource, spread=spread)
            case _ if is_whole_rendition(wanted) and not resource.frames:
                yield from self._renditions.jobs_below(resource)
            case representation:
                yield from self._frames.jobs(
                    resource, is_rendered=representation is Representation.RENDERED
                )

    def _expect_unless_stored(self, target: Target) -> None:
        """Say that it is not known how many files there will be, where no count is that number."""
        if not is_stored(target, self._wanted):
            self._meter.expect(None)

    def _planned(self, target: Target) -> Iterator[Job]:
        """Make jobs that say what would be retrieved."""
        is_stored = target.representation is Representation.STORED and not target.resource.frames
        is_one = (
            target.resource.instance
            or target.address
            or target.representation is Representation.THUMBNAIL
        )
        if is_one and not is_stored:
            yield partial(iter, [Outcome(Status.PLANNED, str(target))])
        else:
            yield from self._instances.plan(target.resource)

    def check(self, target: Target) -> None:
        """Raise UsageError for what was asked for in vain, as this target has no use for it."""
        name = self._wanted.name if self._wanted else ""
        is_picture = target.representation in (
            Representation.RENDERED,
            Representation.THUMBNAIL,
        ) or is_rendered(self._wanted)
        if self._rendering.query and not is_picture:
            raise UsageError(
                f"{target} is not rendered, so there is no viewport, window or quality",
                "add /rendered to the path, or --type image/png",
            )
        if target.representation is Representation.METADATA and name not in ("", *METADATA_TYPES):
            raise UsageError(
                f"metadata does not come as {name}", f"it comes as {' or '.join(METADATA_TYPES)}"
            )
        if target.representation is Representation.STORED and name in METADATA_TYPES:
            raise UsageError(f"{name} is for metadata", f"ask for {target}/metadata")
        if target.representation in (
            Representation.RENDERED,
            Representation.THUMBNAIL,
        ) and name in (DICOM, ZIP):
            raise UsageError(f"what is rendered does not come as {name}", "leave out --type")
        is_placed = target.resource.instance or target.representation not in (
            Representation.THUMBNAIL,
            Representation.BULKDATA,
        )
        if not self._layout.is_default and not (is_placed and not _is_zip(self._wanted)):
            raise UsageError(f"a layout places instances, and {target} is something else")


def is_stored(target: Target, wanted: MediaType | None) -> bool:
    """Return True if what is at and below a target is retrieved as instances, one file for each."""
    is_plain = target.representation is Representation.STORED and not target.resource.frames
    return is_plain and (wanted is None or wanted.name == DICOM)


def _is_zip(wanted: MediaType | None) -> bool:
    return wanted is not None and wanted.name == ZIP
