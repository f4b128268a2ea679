"""`dcmweb BASE_URL search`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dcmweb.cli.options import Run, with_client
from dcmweb.cli.paths import one_path
from dcmweb.cli.text import as_json, plural
from dcmweb.errors import ExitCode

if TYPE_CHECKING:
    from dcmweb.transactions import Client


@click.command()
@click.argument("words", nargs=-1, metavar="[PATH] [PARAMETERS]...")
@click.option("--path", "named_path", metavar="PATH", help="The path, by name.")
@click.option("--parameters", multiple=True, metavar="TEXT", help="The parameters, by name.")
@with_client
def search(
    run: Run,
    client: Client,
    words: tuple[str, ...],
    named_path: str | None,
    parameters: tuple[str, ...],
) -> int:
    """Search for studies, series or instances; prints DICOM JSON.

    \b
    search                                      all studies
    search studies PatientName=Doe* limit=10
    search instances StudyDate=19941013
    search studies/1.2.3/series "limit=1&offset=2"
    """
    from dcmweb import transactions

    path, rest = _path_and_parameters(words, named_path)
    result = transactions.search(client, path, (*rest, *parameters))
    run.console.data(as_json(result.rows))
    if result.more:
        run.console.line(
            f"Please note: these are the first {plural(len(result.rows), 'result')}; "
            "there are more, give limit=N, or offset=N for the next ones"
        )
    return ExitCode.OK


def _path_and_parameters(
    words: tuple[str, ...], named_path: str | None
) -> tuple[str, tuple[str, ...]]:
    """Tell the path from the parameters: these have a `=`, which no path has."""
    if words and "?" in words[0] and not words[0].startswith("?"):
        path, _, parameters = words[0].partition("?")
        words = (path, parameters, *words[1:])
    if not words or "=" in words[0]:
        return named_path or "studies", words
    return one_path(words[0], named_path) or "", words[1:]
