"""`dcmweb manifest`: adds up what manifests say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli.command import Command
from dcmweb.cli.console import failed_in_words
from dcmweb.cli.options import Invocation
from dcmweb.cli.text import visible
from dcmweb.counted import size
from dcmweb.errors import ExitCode, UsageError
from dcmweb.transfer.outcomes import exact

if TYPE_CHECKING:
    from dcmweb.library.manifests import ManifestSummary


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="MANIFEST...")
@click.option("--failed", is_flag=True, help="Print the items that failed instead, one per line.")
@click.option("-0", "--null", "null", is_flag=True, help="Separate them by NUL, not line ends.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def manifest(
    invocation: Invocation, files: tuple[str, ...], failed: bool, null: bool, as_json: bool
) -> int:
    """Add up manifests: counts, what failed, and which parts of a divided run are missing.

    The exit code is 0 if every part came to its end and nothing failed, otherwise 1.
    """
    from dcmweb.library.manifests import Manifests

    if failed and as_json:
        raise UsageError("--failed prints paths, and --json counts", "choose one")
    if null and not failed:
        raise UsageError("-0 is for --failed, which prints paths", "leave it out")
    console = invocation.console
    with closing(Manifests(files)) as manifests:
        summaries = manifests.summaries()
        if failed:
            console.paths(manifests.failed(), b"\0" if null else b"\n")
        elif as_json:
            console.data(json.dumps([_as_json(one) for one in summaries], indent=2))
        else:
            for summary in summaries:
                for line in _lines(summary):
                    console.data(visible(line))
    return ExitCode.OK if all(one.is_good for one in summaries) else ExitCode.SOME_FAILED


def _lines(summary: ManifestSummary) -> Iterator[str]:
    counts = [f"{status.value} {count:,}" for status, count in summary.counts.items()]
    said = ", ".join(counts) or "nothing"
    yield f"{summary.command} at {summary.base_url}: {said}; {size(summary.bytes)} in all"
    yield from map(failed_in_words, summary.failures)
    for path, how in summary.unfinished.items():
        yield f"{path}: {how}"
    if summary.missing:
        yield f"no manifest of shard {', '.join(summary.missing)}"


def _as_json(summary: ManifestSummary) -> dict[str, Any]:
    return {
        "base_url": summary.base_url,
        "command": summary.command,
        "counts": {status.name.lower(): count for status, count in summary.counts.items()},
        "bytes": exact(summary.bytes),
        "missing": list(summary.missing),
        "unfinished": summary.unfinished,
        "failures": [
            {"type": one.status.name.lower(), "reason": one.reason, "count": one.count}
            for one in summary.failures
        ],
        "exit_code": int(summary.exit_code),
    }
