"""`dcmweb SOURCE_URL copy`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from dcmweb.cli import table_options
from dcmweb.cli.activity import Activity
from dcmweb.cli.command import Command
from dcmweb.cli.destination import destination_options, of_profile, read_destination
from dcmweb.cli.lists import empty_list, listed_paths
from dcmweb.cli.options import Invocation, with_client
from dcmweb.cli.records import keeping, record_options, shard_option
from dcmweb.cli.store import STORAGE_CLASSES
from dcmweb.cli.targets import read_targets, target_options
from dcmweb.cli.text import some_of
from dcmweb.dicom.resources import Target, parse_target
from dcmweb.errors import UsageError
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.library.client import Client


_COPYING = Activity("Copying", "instance")


@click.command(cls=Command)
@target_options("Copy", "[PATH]... DESTINATION_URL")
@click.option(
    "--type",
    "media_type",
    metavar="TYPE",
    help="Ask the source for 'application/dicom; transfer-syntax=...'. By default, instances are "
    "copied as they are stored.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Ask the destination afterwards whether it lists every instance.",
)
@click.option(
    "--storage-class",
    type=click.Choice(STORAGE_CLASSES, case_sensitive=False),
    help="Google only: storage class of the instances at the destination.",
)
@table_options.named("if-exists")
@destination_options
@shard_option
@record_options
@with_client
@click.pass_context
def copy(ctx: click.Context, /, invocation: Invocation, client: Client, **options: Any) -> int:
    """Copy studies, series or instances to another server; the whole store without a PATH.

    Nothing is kept on this machine. Each server has credentials of its own: those of the
    destination are in its URL or @PROFILE, or in the options that begin with --to.
    """
    given = _destination(options)
    texts, source = read_targets(options)
    destination, orthanc_api = read_destination(ctx, client.settings, given, options)
    listed = listed_paths(source, invocation.stop, null=options["null"]) if source else None
    targets = _targets(texts, listed, client.settings.roots)
    is_one = isinstance(targets, list) and len(targets) == 1
    names = ("media_type", "storage_class", "shard", "manifest")
    with keeping(invocation, options, [source], destination.base_url) as records:
        run = client.copy(
            targets,
            destination,
            **{name: options[name] or "" for name in names},
            if_exists=_rule(ctx, given, options),
            orthanc_api=orthanc_api,
            verify=options["verify"],
            dry_run=options["dry_run"],
            on_error=OnError.RAISE if is_one else OnError.OUTCOME,
        )
        what = some_of([*texts, *([f"what is listed in {source}"] if source else [])])
        start = (
            f"Copying {what or 'the whole store'} from {client.base_url} to {destination.base_url}"
        )
        invocation.console.start(start)
        summary = invocation.console.follow(run, _COPYING, describe=_describe, records=records)
    return summary.exit_code


def _destination(options: dict[str, Any]) -> str:
    """Take the last argument, which names the destination. Raises UsageError if there is none."""
    from dcmweb.library.other_side import is_server

    *paths, last = options["paths"] or ("",)
    if not is_server(last):
        hint = "give its URL, which begins with http:// or https://, or @PROFILE, as the last one"
        raise UsageError("there is no server to copy to", hint)
    if misplaced := next(filter(is_server, paths), ""):
        raise UsageError(f"there are two servers to copy to: {misplaced}, {last}", "name one")
    options["paths"] = tuple(paths)
    return str(last)


def _targets(
    texts: list[str], listed: Iterator[str] | None, roots: Sequence[str]
) -> Sequence[Target] | Iterator[Target | str]:
    """Return what to copy: the whole store, if nothing is named.

    Raises NothingMatched for an empty list.
    """
    named = [parse_target(text, *roots) for text in texts]
    if listed is None:
        return named or [Target()]
    every: Iterator[Target | str] = chain(named, listed)
    first = next(every, None)
    if first is None:
        raise empty_list()
    return chain([first], every)


def _rule(ctx: click.Context, given: str, options: dict[str, Any]) -> Any:
    """Return what to do with what is there; the profile of the source has no say in that."""
    own = options["if_exists"]
    if ctx.get_parameter_source("if_exists") is ParameterSource.DEFAULT_MAP:
        own = None
    return own or of_profile(given).get("if_exists") or "skip"


def _describe(outcome: Outcome) -> str:
    if outcome.status is Status.DONE_BEFORE:
        return ""
    if outcome.status is Status.PLANNED:
        return f"{outcome.item} would be copied"
    if outcome.status is not Status.STORED:
        return f"{outcome.item} {outcome.status.value}: {outcome.reason}"
    note = f", but: {outcome.reason}" if outcome.reason else ""
    return f"{outcome.item} copied to {outcome.place}{note}"
