"""Copies instances from one origin server to another, as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dcmweb.dicom.resources import Representation, Target, parse_named_target
from dcmweb.errors import AuthError, DcmwebError, Interrupted, LocalError, UsageError
from dcmweb.settings.options import to_destination
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.copy.holdings import Holdings
from dcmweb.transactions.copy.intake import CopyReceiver, EndedByDestination
from dcmweb.transactions.copy.options import CopyOptions
from dcmweb.transactions.jobs import Job
from dcmweb.transactions.retrieve.instances import InstanceRetriever
from dcmweb.transactions.retrieve.target_jobs import TargetJobs
from dcmweb.transactions.store.options import IfExists
from dcmweb.transactions.store.run import verified
from dcmweb.transactions.store.sender import Planner, Sender
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes, Status
from dcmweb.transfer.shard import Shard


def copy(
    context: RunContext,
    there: RunContext,
    targets: Iterable[Target | str],
    is_done: IsDone | None,
    options: CopyOptions,
) -> Outcomes:
    """Copy what is at and below the targets to the server of another context.

    The outcome of an instance is what the destination says of it. Instances that `is_done` knows,
    by their path, are not retrieved. The workers are those of the first context, and each does
    both: what slows one server down, slows both. Raises what stopped the run.
    """
    context.shard = Shard.parse(options.shard)
    _share_workers(context, there)
    jobs = TargetJobs(context, _Copy(context, there, is_done, options).jobs, options.on_error)
    outcomes = _from_source(_running(context, jobs.of(targets)))
    yield from verified(there, outcomes) if options.verify and not options.dry_run else outcomes


def _share_workers(context: RunContext, there: RunContext) -> None:
    """Let both servers slow the workers down."""
    there.engine.concurrency = context.engine.concurrency


def _running(context: RunContext, jobs: Iterator[Job]) -> Iterator[Outcome]:
    """Run jobs; the message of an error says whose it is."""
    try:
        yield from context.engine.run(jobs)
    except EndedByDestination as ended:
        error = ended.error
        if isinstance(error, AuthError):
            error.hint = to_destination(error.hint)
        raise _named(error, "destination") from None
    except DcmwebError as error:
        raise _named(error, "source") from None


def _named(error: DcmwebError, side: str) -> DcmwebError:
    if not isinstance(error, (Interrupted, LocalError, UsageError)):
        error.message = f"the {side}: {error.message}"
    return error


def _from_source(outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Say of what never came that it is the source that failed."""
    for outcome in outcomes:
        is_of_source = outcome.status is Status.FAILED and not outcome.instance
        yield (
            outcome._replace(reason=f"not retrieved: {outcome.reason}") if is_of_source else outcome
        )


class _Copy:
    """Makes the jobs of a copy."""

    def __init__(
        self,
        context: RunContext,
        there: RunContext,
        is_done: IsDone | None,
        options: CopyOptions,
    ) -> None:
        headers = {"Storage-Class": options.storage_class} if options.storage_class else None
        sender = (
            Planner(there)
            if options.dry_run
            else Sender(there, headers, options.if_exists, options.orthanc_api)
        )
        # By any other rule, the sender compares what came with what is there.
        holdings = Holdings(there) if options.if_exists is IfExists.SKIP else None
        receiver = CopyReceiver(context, sender, options.wanted, is_done, holdings)
        self._roots = context.settings.roots
        self._dry_run = options.dry_run
        self._instances = InstanceRetriever(context, receiver)

    def jobs(self, given: Target | str, *, spread: bool) -> Iterator[Job]:
        """Make the jobs of a target; `spread` makes many small ones for a study."""
        target = parse_named_target(given, *self._roots) if isinstance(given, str) else given
        check_target(target)
        if self._dry_run:
            yield from self._instances.plan(target.resource)
        else:
            yield from self._instances.jobs(target.resource, spread=spread)


def check_target(target: Target) -> None:
    """Raise UsageError for what is not a whole instance, or several of them."""
    if target.representation is not Representation.STORED or target.resource.frames:
        raise UsageError(
            f"{target} is not copied, as whole instances are",
            "name a study, series or instance",
        )
