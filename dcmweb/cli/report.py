"""`dcmweb report`: a page about the runs that manifests have recorded."""

from __future__ import annotations

from contextlib import closing

import click

from dcmweb.cli.command import Command
from dcmweb.cli.lists import STDIN
from dcmweb.cli.options import Invocation
from dcmweb.cli.own_files import check_apart, check_page, written_whole
from dcmweb.errors import ExitCode


@click.command(cls=Command)
@click.argument("files", nargs=-1, required=True, metavar="MANIFEST...")
@click.option("-o", "--output", metavar="FILE", help="Write the page to FILE instead of stdout.")
@click.option(
    "--with-paths",
    is_flag=True,
    help="Name the files that failed. Their names may be those of patients.",
)
@click.pass_obj
def report(
    invocation: Invocation, files: tuple[str, ...], output: str | None, with_paths: bool
) -> int:
    """Make an HTML page of runs, from their manifests, for the person who signs them off.

    It has counts, failures by reason, the rate over time, when each run began and ended and with
    which exit code, and the parts of a divided run that are missing. It is one file that needs no
    network, and holds no data of patients.

    The exit code is 0 if the page was made, whatever it says.
    """
    from dcmweb.cli.report_page import page
    from dcmweb.library.manifests import Manifests

    if output and output != STDIN:
        check_apart(output, "--output", files)
        check_page(output)
    with closing(Manifests(files, with_history=True)) as manifests:
        data = page(manifests, with_paths=with_paths)
    if not output or output == STDIN:
        invocation.console.raw(data)
        return ExitCode.OK
    with written_whole(output) as file:
        file.write(data)
    return ExitCode.OK
