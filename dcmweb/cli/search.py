"""`dcmweb BASE_URL search`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from dcmweb.cli import formats
from dcmweb.cli.activity import Activity
from dcmweb.cli.command import Command
from dcmweb.cli.options import Invocation, with_client
from dcmweb.cli.page_formats import BY_PAGE
from dcmweb.counted import plural
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import parse_search
from dcmweb.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from dcmweb.cli.fields import Field
    from dcmweb.library.client import Client
    from dcmweb.library.row_runs import SearchRows


_SEARCHING = Activity("Searching", "result", moves_bytes=False)


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[PATH] [PARAMETERS]...")
@click.option("--path", "named_path", metavar="PATH", help="The path, as a named option.")
@click.option(
    "--parameters", multiple=True, metavar="TEXT", help="The parameters, as a named option."
)
@click.option("--all", "every", is_flag=True, help="Print all results, page by page.")
@click.option(
    "--limit",
    "rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Print N results, whatever the page size of the server.",
)
@click.option("--count", is_flag=True, help="Print only the number of results.")
@click.option(
    "--format",
    "form",
    type=click.Choice(formats.FORMATS),
    default="json",
    show_default=True,
    help="Output format; uids are paths, for retrieve and delete.",
)
@click.option(
    "--fields",
    multiple=True,
    metavar="NAMES",
    help="Request and print these attributes, by keyword or tag: PatientID,StudyDate.",
)
@click.option(
    "--keywords",
    is_flag=True,
    help="Name attributes by keyword rather than by tag, in JSON for people: PatientID.",
)
@click.option("--unchecked", is_flag=True, help="Send parameters as they are, without checks.")
@with_client
def search(invocation: Invocation, client: Client, words: tuple[str, ...], **options: Any) -> int:
    """Search for studies, series or instances, and print DICOM JSON."""
    from dcmweb.transactions.search.parameters import parse_parameters

    path, rest = _path_and_parameters(words, options["named_path"])
    pairs = parse_parameters((*rest, *options["parameters"]))
    fields = _fields(options)
    _check(options, fields)
    _check_empty_keys(invocation, pairs, options)
    has_default_fields = not fields
    if options["form"] in formats.WITH_COLUMNS and not options["count"]:
        from dcmweb.cli.fields import default_fields

        fields = fields or default_fields(parse_search(path)[1])
    is_whole = options["every"] or options["count"] or options["rows"] is not None
    found = client.search(
        path,
        pairs,
        fields=[field.tag for field in fields],
        limit=options["rows"],
        complete=is_whole,
        check=not options["unchecked"],
    )
    if options["count"]:
        with invocation.console.watching(lambda: found.progress, _SEARCHING):
            count = sum(1 for _ in found)
        invocation.console.data(str(count))
        _explain_nothing(invocation, found, path, pairs, options["form"])
        return ExitCode.OK
    # What is not too much is held, so that there is all or nothing on stdout.
    is_bounded = not (options["every"] or options["rows"])
    if options["form"] == formats.TABLE and invocation.console.has_terminal_for_data:
        from dcmweb.cli.terminal_table import MEASURED

        with invocation.console.watching(lambda: found.progress, _SEARCHING):
            # A pager has the terminal to itself, so progress is shown before it begins.
            first = list(found if is_bounded else islice(found, MEASURED))
        rows: Iterable[Dataset] = chain(first, found)
        _show_table(invocation, rows, fields, may_leave_out=has_default_fields)
        code: int = ExitCode.OK
    else:
        with invocation.console.watching(lambda: found.progress, _SEARCHING):
            code = _print(
                invocation,
                found,
                options["form"],
                fields,
                keywords=options["keywords"],
                holds_all=is_bounded,
            )
    _explain_nothing(invocation, found, path, pairs, options["form"])
    if found.has_more:
        invocation.console.line(
            f"Please note: these are the first {plural(found.found, 'result')}; "
            "there are more, give --all, limit=N, or offset=N for the next ones"
        )
    return code


def _fields(options: dict[str, Any]) -> list[Field]:
    """Read the attributes that are wanted; none if nothing was said of them."""
    if not options["fields"]:
        return []
    from dcmweb.cli.fields import parse_fields

    return parse_fields(options["fields"])


def _check(options: dict[str, Any], fields: list[Field]) -> None:
    """Raise UsageError for options that contradict each other."""
    if options["every"] and options["rows"]:
        raise UsageError("--all and --limit are given", "choose one")
    others = ("rows", "keywords")
    if options["count"] and (
        fields or any(options[one] for one in others) or options["form"] != "json"
    ):
        hint = "leave out --limit, --format, --fields and --keywords"
        raise UsageError("--count prints a number alone", hint)
    if options["keywords"] and options["form"] not in formats.WITH_KEYWORDS:
        forms = " or ".join(formats.WITH_KEYWORDS)
        raise UsageError("--keywords is for JSON", f"use --format {forms}")
    if fields and options["form"] == formats.UIDS:
        raise UsageError("--format uids prints paths alone", "leave out --fields")


def _check_empty_keys(
    invocation: Invocation, pairs: Iterable[tuple[str, str]], options: dict[str, Any]
) -> None:
    """Say which keys have no value, and so match everything; refuse them for lists of paths.

    Raises UsageError, since `search ... --format uids | delete -` would delete the archive.
    """
    empty = [key for key, value in pairs if not value.strip()]
    if not empty or options["unchecked"]:
        return
    words = f"{empty[0]}= has no value, and matches everything"
    if options["form"] == formats.UIDS:
        hint = "is a variable unset? To match everything all the same: --unchecked"
        raise UsageError(words, hint)
    invocation.console.line(f"Please note: {words}")


def _explain_nothing(
    invocation: Invocation,
    found: SearchRows,
    path: str,
    pairs: Sequence[tuple[str, str]],
    form: str,
) -> None:
    """Say that nothing was found: below a table always, otherwise if there is a hint."""
    if found.found:
        return
    from dcmweb.transactions.search.hints import hint_for_nothing

    hint = hint_for_nothing(path, pairs)
    if form == formats.TABLE:
        invocation.console.note(f"0 {found.level.value}{f': {hint}' if hint else ''}")
    elif hint:
        invocation.console.note(f"Nothing was found: {hint}")


def _show_table(
    invocation: Invocation, rows: Iterable[Dataset], fields: list[Field], *, may_leave_out: bool
) -> None:
    """Print a table that fits the terminal; what is longer than that goes through a pager."""
    import shutil

    from dcmweb.cli.console import ReaderGone
    from dcmweb.cli.pager import page
    from dcmweb.cli.terminal_table import as_fitted_table

    width, height = shutil.get_terminal_size()
    cut: list[str] = []
    lines = as_fitted_table(
        rows,
        fields,
        width,
        may_leave_out=may_leave_out,
        on_cut=lambda: cut.append("the table is cut to fit; --format csv prints all of it"),
    )
    with suppress(ReaderGone):
        page(invocation.console, lines, height)
    for words in cut:
        invocation.console.note(f"Please note: {words}")


def _print(
    invocation: Invocation,
    found: SearchRows,
    form: str,
    fields: list[Field],
    *,
    keywords: bool,
    holds_all: bool,
) -> int:
    """Print results in a form, once all are there if `holds_all`; return the exit code."""
    is_whole = not fields and not keywords  # all that is in a row
    if form in BY_PAGE and (is_whole or form in formats.WITH_COLUMNS):
        pages = list(found.pages()) if holds_all else found.pages()
        invocation.console.stream(BY_PAGE[form](pages, fields))
        return ExitCode.OK
    rows: Iterable[Dataset] = list(found) if holds_all else found
    if form == formats.UIDS:
        return _print_paths(invocation, found, rows)
    if form in formats.WITH_COLUMNS:
        invocation.console.stream(formats.WITH_COLUMNS[form](rows, fields))
    else:
        rows = _only(rows, fields) if fields else rows
        rows = formats.with_keywords(rows) if keywords else rows
        invocation.console.stream(formats.OF_DATASETS[form](rows))
    return ExitCode.OK


def _only(rows: Iterable[Dataset], fields: list[Field]) -> Iterator[Dataset]:
    """Leave out what was not asked for."""
    from dcmweb.cli.fields import only

    return (only(row, fields) for row in rows)


def _print_paths(invocation: Invocation, found: SearchRows, rows: Iterable[Dataset]) -> int:
    """Print the paths of results; one without UIDs that can be used is a failure."""
    unusable = 0

    def paths() -> Iterator[str]:
        nonlocal unusable
        for row in rows:
            if path := found.path_of(row):
                yield f"{path}\n"
            else:
                unusable += 1

    invocation.console.stream(paths())
    if unusable:
        invocation.console.line(f"{plural(unusable, 'result')} without a usable UID left out")
        return ExitCode.SOME_FAILED
    return ExitCode.OK


def _path_and_parameters(
    words: tuple[str, ...], named_path: str | None
) -> tuple[str, tuple[str, ...]]:
    """Separate the path from the parameters."""
    from dcmweb.transactions.search.parameters import is_parameter

    if words and "?" in words[0] and not words[0].startswith("?"):
        path, _, parameters = words[0].partition("?")
        words = (path, parameters, *words[1:])
    if not words or is_parameter(words[0]):
        return named_path or "studies", words
    return one_path(words[0], named_path) or "", words[1:]


def one_path(path: str | None, named: str | None) -> str | None:
    """Return the one path that was given, if any. Raises UsageError for two."""
    if path is not None and named is not None:
        raise UsageError(f"two paths are given: {path} and {named}", "give one")
    return path if named is None else named
