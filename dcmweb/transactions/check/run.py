"""Compares a server with files, a manifest, or another server: first by counts, then by UIDs.

A study of which both sides count as many instances costs one row of a search. The counts of a
server are trusted if it gives them unasked (PS3.18 table 10.6.3-3), and if they are those of its
listings wherever both are known: in all studies that differ, and in a sample of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial

from dcmweb.counted import plural
from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Interrupted, NothingMatched
from dcmweb.transactions.check.contents import ContentComparison
from dcmweb.transactions.check.files import Files, ManifestFiles
from dcmweb.transactions.check.inventory import UNCOUNTED, Inventory, Side, Study
from dcmweb.transactions.check.options import CheckOptions
from dcmweb.transactions.check.server import Server
from dcmweb.transactions.check.verdicts import Report
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.jobs import Job
from dcmweb.transfer.outcomes import Outcome, Outcomes

FEW = 100  # studies that are asked for one by one, rather than listing all that the server has

# Conditions on studies.
_AGREED = "here = there AND here >= 0"
_ONLY_THERE = "here IS NULL"
_ONLY_HERE = "there IS NULL"
_IN_DOUBT = f"here IS NOT NULL AND there IS NOT NULL AND NOT ({_AGREED})"


def check(
    context: RunContext,
    reference: Files | ManifestFiles | RunContext,
    studies: Iterable[Resource] | None,
    options: CheckOptions,
) -> Outcomes:
    """Compare a server with a reference; yield what is equal, missing, extra and different.

    An outcome is of the largest resource whose instances all have the same. With `studies`, only
    these are compared. Raises NothingMatched if the reference has no instances, and what stopped
    the run otherwise.
    """
    with closing(Inventory()) as inventory:
        yield from _Check(context, reference, inventory, options).outcomes(studies)


class _Check:
    """One comparison."""

    def __init__(
        self,
        context: RunContext,
        reference: Files | ManifestFiles | RunContext,
        inventory: Inventory,
        options: CheckOptions,
    ) -> None:
        self._context = context
        self._engine = context.engine
        self._inventory = inventory
        self._options = options
        self._there = Server(context, Side.THERE)
        self._here: Server | None = None
        self._files: Files | ManifestFiles | None = None
        if isinstance(reference, RunContext):
            self._here = Server(reference, Side.HERE)
        else:
            self._files = reference
        self._servers = [self._there, *([self._here] if self._here else [])]
        name = f"on {self._here.name}" if self._here else ""
        self._report = Report(inventory, options, name or (self._files.name if self._files else ""))
        self._contents = ContentComparison(inventory, self._there, self._here)

    def outcomes(self, studies: Iterable[Resource] | None) -> Iterator[Outcome]:
        """Read and list both sides, then compare them."""
        if studies is not None:
            self._inventory.restrict(one.study for one in studies)
        instances = 0
        if self._files is not None:
            for outcome in self._files.read(self._context, self._inventory):
                if not outcome.status.is_good:
                    self._report.in_doubt.add(Side.HERE)
                yield outcome
            instances = self._inventory.count_files()
            if not instances and studies is None:
                raise self._files.nothing()
        asks_each = studies is not None or (
            self._options.one_way and self._files is not None and self._inventory.number() <= FEW
        )
        if not asks_each:
            self._engine.meter.begin("listing studies", "study", later="comparing")
            yield from self._engine.run(self._listing_jobs())
            self._report.in_doubt |= {one.side for one in self._servers if one.lacks_some}
            if self._here is not None and not self._inventory.number("here IS NOT NULL"):
                raise NothingMatched(
                    f"{self._here.name} lists no studies", "there is nothing to compare with"
                )
        self._engine.meter.expect(self._inventory.expected())
        self._engine.meter.expects_all = True
        self._engine.meter.begin_items()
        if asks_each:
            yield from self._compare_all("1")
        else:
            yield from self._compare_listed()
        self._report.notify(self._context)

    def _listing_jobs(self) -> Iterator[Job]:
        for server in self._servers:
            yield partial(server.list_studies, self._inventory)

    def _compare_listed(self) -> Iterator[Outcome]:
        """Compare studies that were listed: by their counts where these can be trusted."""
        if self._options.lists_all:
            both = "here IS NOT NULL AND there IS NOT NULL"
            yield from self._compare_all(f"({both}) OR {self._lone()}")
            return
        yield from self._only_on_one_side()
        yield from self._compare_all(_IN_DOUBT)
        sample = self._inventory.some(_AGREED) if self._trusts_counts else []
        yield from self._engine.run(partial(self._compare, study) for study in sample)
        if not self._trusts_counts:
            done = {one.key for one in sample}
            yield from self._compare_all(_AGREED, without=done)
            return
        known = {one.key for one in sample}
        for study in self._inventory.studies(_AGREED):
            self._context.stop.check()
            if study.key not in known:
                yield self._report.by_count(study)

    @property
    def _trusts_counts(self) -> bool:
        return all(server.trusts_counts for server in self._servers)

    def _lone(self) -> str:
        """Return the condition on studies that one side alone has."""
        return _ONLY_HERE if self._options.one_way else f"{_ONLY_HERE} OR {_ONLY_THERE}"

    def _only_on_one_side(self) -> Iterator[Outcome]:
        for study in self._inventory.studies(self._lone()):
            self._context.stop.check()
            yield self._report.lone(study)

    def _compare_all(
        self, condition: str, without: Iterable[int] = frozenset()
    ) -> Iterator[Outcome]:
        jobs = (
            partial(self._compare, study)
            for study in self._inventory.studies(condition)
            if study.key not in without
        )
        yield from self._engine.run(jobs)

    def _compare(self, study: Study) -> Iterator[Outcome]:
        """Compare a study by what both sides list of it. Its failure does not end the run."""
        try:
            problem = ""
            for server in self._servers:
                for outcome in server.list_instances(self._inventory, study):
                    problem = outcome.reason
                problem = problem or self._check_count(server, study)
            yield from self._compare_instances(study, problem)
        except Interrupted:
            raise
        except DcmwebError as error:
            yield self._report.failed(study, error.message)
            if any(server.context.engine.gives_up(error) for server in self._servers):
                raise
        finally:
            self._inventory.forget(study, *(server.side for server in self._servers))

    def _check_count(self, server: Server, study: Study) -> str:
        """Compare a listing with the server's count; return why the listing is in doubt, or ""."""
        count = study.there if server.side is Side.THERE else study.here
        if count is None:
            return ""
        where = "[bt]" if server.side is Side.THERE else "[bh]"
        listed = self._inventory.count(study, where)
        if not listed:
            return f"{server.name} lists the study, but none of its instances"
        if count in (UNCOUNTED, listed) or not server.context.has_counts:
            return ""
        server.trusts_counts = False
        words = f"{server.name} counts {plural(count, 'instance')}, but lists {listed:,}"
        if not self._options.lists_all:
            self._context.notify_once(
                f"{study.resource}: {words}: its counts are not trusted; --thorough uses listings"
            )
        # A listing that lacks something may still have all that is looked for.
        return "" if self._options.lists_all or count < listed else words

    def _compare_instances(self, study: Study, problem: str) -> Iterator[Outcome]:
        state, count = self._inventory.state(study)
        if not count:
            yield self._report.failed(study, problem or "neither side has it")
            return
        if self._options.one_way and state == "t":
            yield self._report.nothing_to_compare(study)
            return
        if state != "b":
            self._inventory.match_aliases(study)
            self._report.match_moved(study)
        if self._options.contents and self._inventory.count(study, "b"):
            self._contents.compare(study)
        yield from self._report.outcomes(study, problem)
