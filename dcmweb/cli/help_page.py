"""Pages of help: what a command is for, its options in groups, and examples to paste.

The manual and the site are made from the same pages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc

import click

from dcmweb.cli.commands import LOCAL, WITH_SERVER, commands_of
from dcmweb.cli.examples import EXAMPLES, Example
from dcmweb.cli.option_groups import grouped

WIDEST = 100  # columns; longer lines are hard to read
_NARROWEST_TEXT = 35  # columns; below that, texts are written under the options
_OPTIONS_FIRST = 30  # columns; a longer option has its text on the next line


@dataclass(frozen=True)
class Section:
    """A heading, and rows below it: a name, and what it means."""

    heading: str
    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """The help of one command."""

    name: str  # as it is called, without BASE_URL: "dcmweb config add"
    usage: str
    text: str
    sections: Sequence[Section]
    examples: Sequence[Example]
    end: str = ""


def usage_name(ctx: click.Context) -> str:
    """Return how a command is called, with BASE_URL in its place."""
    words = ctx.command_path.split()
    if len(words) == 2 and words[1] in WITH_SERVER:
        words.insert(1, "BASE_URL")
    return " ".join(words)


def page_of(ctx: click.Context) -> Page:
    """Make the page of the command of a context."""
    command = ctx.command
    text = cleandoc(command.help or "").partition("\f")[0]
    is_root = ctx.parent is None
    sections = [*_commands(ctx), *([] if is_root else _options(ctx))]
    if is_root:
        usage = "dcmweb [OPTIONS] BASE_URL COMMAND [ARGS]..."
    else:
        usage = f"{usage_name(ctx)} {' '.join(command.collect_usage_pieces(ctx))}"
    key = ctx.command_path.removeprefix("dcmweb").strip()
    examples = EXAMPLES.get(key, ())
    return Page(ctx.command_path, usage, text, sections, examples, command.epilog or "")


def root_of(cli: click.Command) -> click.Context:
    """Return the context that all commands are described in: it knows `-h` as well."""
    return click.Context(cli, info_name="dcmweb", **cli.context_settings)


def pages(ctx: click.Context) -> Iterator[Page]:
    """Make the pages of a command, and of those that belong to it."""
    yield page_of(ctx)
    for name, command in commands_of(ctx).items():
        yield from pages(click.Context(command, parent=ctx, info_name=name))


def options_page(ctx: click.Context) -> Page:
    """Make the page of the options that all commands with a server share."""
    text = (
        "Options that all commands with a BASE_URL take, before BASE_URL or after the command.\n\n"
        "Each is a variable as well: --token-file is DCMWEB_TOKEN_FILE; and a key of profiles, "
        "which `dcmweb config` changes."
    )
    return Page("dcmweb", "dcmweb [OPTIONS] BASE_URL COMMAND [ARGS]...", text, [*_options(ctx)], ())


def written(page: Page, width: int | None = None) -> str:
    """Write a page as text, as wide as the terminal."""
    # Imported here: its import takes as long as that of click, and most calls show no help.
    from cloup.formatting import HelpFormatter, HelpSection

    formatter = HelpFormatter(
        width=width,
        max_width=WIDEST,
        col1_max_width=_OPTIONS_FIRST,
        col2_min_width=_NARROWEST_TEXT,
    )
    program, _, arguments = page.usage.partition(" ")
    formatter.write_usage(program, arguments)
    if page.text:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(page.text)
    formatter.write_many_sections(
        [HelpSection(one.heading, list(one.rows)) for one in page.sections]
    )
    if page.examples:
        formatter.write_paragraph()
        formatter.write_heading("Examples")
    for example in page.examples:  # which are not wrapped, so that they can be pasted
        formatter.write(f"  # {example.meaning}\n", f"  {example.line}\n")
    if page.end:
        formatter.write_paragraph()
        formatter.write_text(page.end)
    return formatter.getvalue().rstrip("\n")


def _commands(ctx: click.Context) -> Iterator[Section]:
    """Yield the commands of a group; those of the whole are divided by what they need."""
    if ctx.parent is None:
        yield Section("Commands, after BASE_URL", _short(ctx, WITH_SERVER))
        yield Section("Commands without BASE_URL", _short(ctx, LOCAL))
    elif known := commands_of(ctx):
        yield Section("Commands", _short(ctx, list(known)))


def _short(ctx: click.Context, names: Sequence[str]) -> list[tuple[str, str]]:
    known = commands_of(ctx)
    return [(name, known[name].get_short_help_str(limit=200)) for name in names]


def _options(ctx: click.Context) -> Iterator[Section]:
    for group, options in grouped(ctx.command.get_params(ctx)):
        rows = (option.get_help_record(ctx) for option in options)
        yield Section(group.value, [row for row in rows if row])
