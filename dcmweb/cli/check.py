"""`dcmweb BASE_URL check`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.activity import Activity
from dcmweb.cli.check_rows import FORMATS, PATHS, TABLE, UIDS, RowWriter
from dcmweb.cli.command import Command
from dcmweb.cli.console import ReaderGone
from dcmweb.cli.lists import empty_list, listed_paths
from dcmweb.cli.options import Invocation, with_client
from dcmweb.cli.records import keeping
from dcmweb.cli.targets import read_targets, target_options
from dcmweb.cli.text import some_of
from dcmweb.errors import ExitCode, UsageError
from dcmweb.transfer.outcomes import Outcome, Status

if TYPE_CHECKING:
    from dcmweb.library.client import Client

_COMPARING = Activity("Comparing", "instance", moves_bytes=False)
_SHOWN = ("equal", "missing", "extra", "different", "failed", "unknown")
_NOT_EQUAL = _SHOWN[1:]


@click.command(cls=Command)
@target_options("Compare", "OTHER [PATH]...")
@click.option(
    "--bytes",
    "contents",
    is_flag=True,
    help="Also compare the contents of every instance that both sides have, by digest.",
)
@click.option(
    "--thorough", is_flag=True, help="Compare every UID, rather than trust the server's counts."
)
@click.option("--one-way", is_flag=True, help="Ignore what only the server has.")
@click.option(
    "--each", is_flag=True, help="Print a row for each instance, not for a whole study or series."
)
@click.option(
    "--show",
    multiple=True,
    metavar="NAMES",
    help=f"Print these rows: {','.join(_SHOWN)}. By default all but equal.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Output format, table by default; uids are paths for retrieve, copy and delete, paths are "
    "files for store.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON event for each row to stdout.")
@click.option(
    "-0", "--null", "null", is_flag=True, help="Separate paths in lists by NUL, not line ends."
)
@with_client
def check(invocation: Invocation, client: Client, **options: Any) -> int:
    """Compare the server with OTHER, and print what is missing, extra or different.

    OTHER is a folder (or files, masks, archives, buckets), a manifest, or the URL or @PROFILE of
    another server.
    With a PATH, only these studies are compared. Nothing is changed. The exit code is 0 only if
    both are equal.
    """
    others, paths, source = _sides(options)
    shown = _read_shown(options)
    form = options["form"] or TABLE
    if form == PATHS and any(map(_is_server, others)):
        raise UsageError("--format paths prints files, and a server has none", "use --format uids")
    if source:
        paths += listed_paths(source, invocation.stop, null=options["null"])
        if not paths:
            raise empty_list()
    writer = RowWriter(invocation.console, form, shown, null=options["null"])
    with keeping(invocation, {**options, "failed_to": None}, [*others, source]) as records:
        if not options["as_json"]:
            records.append(writer.write)
            writer.begin()
        run = client.check(
            others,
            paths if paths else None,
            thorough=options["thorough"],
            contents=options["contents"],
            one_way=options["one_way"],
            each=options["each"] or form == PATHS,
        )
        try:
            invocation.console.start(
                f"Comparing {client.base_url} with {some_of(list(map(_without_password, others)))}"
            )
            describe = _describing(writer)
            summary = invocation.console.follow(run, _COMPARING, describe=describe, records=records)
        except ReaderGone:  # as `head` is: the rest was not compared
            return ExitCode.SOME_FAILED
    writer.end()
    return summary.exit_code


def _sides(options: dict[str, Any]) -> tuple[list[str], list[str], str | None]:
    """Separate what is compared with the server from paths of studies, and from a list of these."""
    texts, source = read_targets(options)
    paths = [text for text in texts[1:] if text.startswith("studies/")]
    others = [*texts[:1], *(text for text in texts[1:] if text not in paths)]
    if not others:
        raise UsageError(
            "there is nothing to compare with", "name a folder, a manifest or another URL"
        )
    return others, paths, source


def _without_password(other: str) -> str:
    from dcmweb.http.redaction import without_query

    return without_query(other) if _is_server(other) else other


def _is_server(text: str) -> bool:
    from dcmweb.library.other_side import is_server

    return is_server(text)


def _read_shown(options: dict[str, Any]) -> frozenset[Status]:
    """Read which rows are to be printed. Raises UsageError for a list of several kinds of rows."""
    form = options["form"]
    if options["as_json"] and (form or options["show"]):
        raise UsageError("--json prints all events", "leave out --format and --show")
    names = [name.strip() for text in options["show"] for name in text.split(",")]
    for name in names:
        if name not in _SHOWN:
            raise UsageError(f"--show: {name!r} is not a kind of row", f"use {', '.join(_SHOWN)}")
    if options["one_way"] and "extra" in names:
        raise UsageError("--one-way ignores what is extra", "leave out --one-way, or --show extra")
    if form == PATHS and "extra" in names:
        raise UsageError("what is extra has no file here", "use --format uids, and retrieve it")
    if form == UIDS and not names:
        raise UsageError(
            "--format uids is for one kind of row, as delete and retrieve do not know which is "
            "which",
            "add --show missing, --show extra or --show different",
        )
    default = ("missing",) if form == PATHS else _NOT_EQUAL
    return frozenset(Status(name) for name in names or default)


def _describing(writer: RowWriter) -> Callable[[Outcome], str]:
    """Describe on stderr what is not on stdout: failures, and files that are not instances."""

    def describe(outcome: Outcome) -> str:
        if outcome.status not in (Status.FAILED, Status.UNKNOWN, Status.SKIPPED):
            return ""
        if writer.shows(outcome):
            return ""
        return f"{outcome.item} {outcome.status.value}: {outcome.reason}"

    return describe
