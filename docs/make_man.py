"""Write the manual page from the pages of help: `docs/man/dcmweb.1`, which the wheel contains.

Run it after a change to a command, an option or an example; a test fails when it was forgotten.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from dcmweb.cli.app import cli
from dcmweb.cli.help_page import Page, Section, options_page, pages, root_of
from dcmweb.errors import ExitCode

FILE = Path(__file__).parent / "man" / "dcmweb.1"
SUMMARY = "move medical images in and out of DICOMweb servers"


def escaped(text: str) -> str:
    """Escape what roff would read as something else."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{text}" if text.startswith(".") else text


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        yield escaped(" ".join(paragraph.split()))


def _section(section: Section) -> Iterator[str]:
    yield ".PP"
    yield f"\\fI{escaped(section.heading)}\\fR"
    for name, meaning in section.rows:
        yield ".TP"
        yield f"\\fB{escaped(name)}\\fR"
        yield escaped(" ".join(meaning.split()))


def _own(page: Page, shared: set[tuple[str, str]]) -> Iterator[Section]:
    """Yield the sections of a page without the options that all commands share."""
    for section in page.sections:
        rows = [row for row in section.rows if row not in shared]
        if rows and section.heading != "Other":
            yield Section(section.heading, rows)


def _command(page: Page, shared: set[tuple[str, str]]) -> Iterator[str]:
    yield f".SS {escaped(page.name.removeprefix('dcmweb '))}"
    yield f"\\fB{escaped(page.usage)}\\fR"
    yield ".PP"
    yield from _paragraphs(page.text)
    for section in _own(page, shared):
        yield from _section(section)
    yield from _examples(page)


def _examples(page: Page) -> Iterator[str]:
    for example in page.examples:
        yield from (".PP", f"{escaped(example.meaning)}:", ".PP", ".nf", ".RS 4")
        yield from (escaped(example.line), ".RE", ".fi")


def manual() -> str:
    """Return the manual page."""
    root = root_of(cli)
    first, *others = pages(root)
    common = options_page(root)
    shared = {row for section in common.sections for row in section.rows}
    lines = [
        '.TH DCMWEB 1 "" "dcmweb" "User Commands"',
        *(".SH NAME", f"dcmweb \\- {escaped(SUMMARY)}"),
        *(".SH SYNOPSIS", f"\\fB{escaped(first.usage)}\\fR"),
        *(".SH DESCRIPTION", *list(_paragraphs(first.text))[2:]),
        *_examples(first),
        ".SH COMMANDS",
    ]
    for page in others:
        lines += _command(page, shared)
    lines += [".SH OPTIONS", *_paragraphs(common.text)]
    for section in common.sections:
        lines += _section(section)
    lines += [".SH EXIT STATUS"]
    for code in ExitCode:
        lines += [".TP", f"\\fB{code.value}\\fR", escaped(code.meaning)]
    lines += [
        ".SH ENVIRONMENT",
        *(".TP", "\\fBDCMWEB_URL\\fR", "BASE_URL, for command lines without one."),
        *(".TP", "\\fBDCMWEB_\\fINAME\\fR", "An option: DCMWEB_WORKERS is \\-\\-workers."),
    ]
    return "\n".join([*lines, ""])


def main() -> int:
    """Bring the page up to date; tell by the exit code whether that changed anything."""
    text = manual()
    changed = not FILE.exists() or FILE.read_text(encoding="utf-8") != text
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(text, encoding="utf-8", newline="\n")
    return int(changed)


if __name__ == "__main__":
    sys.exit(main())
