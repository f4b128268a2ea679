"""Runs in worker processes, for `--on`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from dcmweb.errors import LocalError, UsageError
from dcmweb.executors.base import Executor
from dcmweb.executors.choice import read_on
from dcmweb.library.handed_secrets import HandedSecrets, with_whole_paths
from dcmweb.settings import Settings
from dcmweb.transfer.outcomes import IsDone, Outcome, Outcomes
from dcmweb.transfer.unit import Growing, Unit

if TYPE_CHECKING:
    from dcmweb.library.distribution import Distribution
    from dcmweb.library.worker import Order, Probe
    from dcmweb.transactions.context import RunContext
    from dcmweb.transactions.retrieve.options import RetrieveOptions
    from dcmweb.transactions.store.file_jobs import Files
    from dcmweb.transactions.store.options import StoreOptions

Begin = Callable[["RunContext", IsDone], Outcomes]


class On:
    """Where units are done; `profile` names the one that secrets of the client are from."""

    def __init__(self, on: str, profile: str = "") -> None:
        """Read what `--on` names. Raises UsageError for what is not known."""
        if not isinstance(on, str):
            raise UsageError(f"on is of type {type(on).__name__}", "give it as text")
        self._on = on
        self._profile = profile
        self._open = read_on(on)

    @contextmanager
    def opened(self) -> Iterator[Executor]:
        """Open the executor for the time of a block."""
        executor = self._open()
        try:
            yield executor
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def secrets(self, settings: Settings, executor: Executor) -> HandedSecrets:
        """Find what workers need to be handed beside the settings."""
        return HandedSecrets.of(
            settings, self._profile, is_private=executor.is_private, on=self._on
        )


def store_on(
    on: On,
    make_files: Callable[[], Files],
    options: StoreOptions,
    plain: Begin,
    *,
    has_manifest: bool,
) -> Begin:
    """Return what begins a run that stores by worker processes."""

    def begin(context: RunContext, is_done: IsDone) -> Outcomes:
        from dcmweb.library.worker import Probe
        from dcmweb.transactions.store.run import verified
        from dcmweb.transactions.store.units import probe_of, store_units

        def probe(unit: Unit) -> Probe | None:
            found = probe_of(unit)
            return Probe(path=found[0], size=found[1]) if found else None

        with on.opened() as executor:
            order = _order(on, executor, context, "store", options)
            if options.dry_run:
                _check(executor, context, order, None)
                yield from plain(context, is_done)
                return
            distribution = _distribution(context, executor, order, probe)
            units = store_units(
                make_files(),
                is_done if has_manifest else None,
                Growing(distribution.shares.running),
                identifies_all=options.verify,
            )
            outcomes = distribution.run(units)
            yield from verified(context, outcomes) if options.verify else outcomes

    return begin


def retrieve_on(
    on: On,
    make_units: Callable[[RunContext, IsDone], Iterator[Unit | Outcome]],
    folder: str,
    options: RetrieveOptions,
    plain: Begin,
) -> Begin:
    """Return what begins a run that retrieves by worker processes."""

    def begin(context: RunContext, is_done: IsDone) -> Outcomes:
        from dcmweb.buckets.addresses import is_bucket

        with on.opened() as executor, ExitStack() as stack:
            output = folder if is_bucket(folder) else os.path.abspath(folder)
            order = _order(on, executor, context, "retrieve", options, output)
            if options.dry_run:
                _check(executor, context, order, None)
                yield from plain(context, is_done)
                return
            probe = None if is_bucket(folder) else stack.enter_context(_probing(output))
            distribution = _distribution(context, executor, order, lambda _: probe)
            yield from distribution.run(make_units(context, is_done))

    return begin


def _order(
    on: On,
    executor: Executor,
    context: RunContext,
    command: str,
    options: StoreOptions | RetrieveOptions,
    output: str = "",
) -> Order:
    from dcmweb.library.worker import Order

    return Order(
        run=secrets.token_hex(8),
        command=command,  # type: ignore[arg-type]
        settings=with_whole_paths(context.settings),
        secrets=on.secrets(context.settings, executor),
        options=options,
        output=output,
    )


def _distribution(
    context: RunContext,
    executor: Executor,
    order: Order,
    probe: Callable[[Unit], Probe | None],
) -> Distribution:
    from dcmweb.library.distribution import Distribution

    return Distribution(
        context, executor, order, lambda unit: _check(executor, context, order, probe(unit))
    )


def _check(executor: Executor, context: RunContext, order: Order, probe: Probe | None) -> None:
    from dcmweb.library.worker import check, sealed_check

    executor.check_workers(check, sealed_check(order, probe), context.notify_once)


@contextmanager
def _probing(folder: str) -> Iterator[Probe]:
    """Put a file into the folder that workers must see, for the time of a block."""
    from dcmweb.library.worker import Probe
    from dcmweb.local.partial_files import make_folder, partial_file

    make_folder(folder)
    with partial_file(folder) as file:
        file.write(secrets.token_bytes(16))
        if not os.path.exists(file.path):
            raise LocalError(f"{folder} cannot be written into", path=folder)
        yield Probe(path=file.path, size=file.size, is_output=True)
