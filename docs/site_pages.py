"""Pages of the site beside those of this folder: the README and others, and all commands.

MkDocs calls the functions that begin with `on_`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from dcmweb.cli.app import cli
from dcmweb.cli.help_page import Page, Section, options_page, pages, root_of

ROOT = Path(__file__).parent.parent
# Files of the folder above, and their names on the site.
ABOVE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not files of this folder."""
    from mkdocs.structure.files import File

    for name, page in ABOVE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=with_links_of_the_site(text)))
    files.append(File.generated(config, "commands.md", content=commands()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to files above lead to their pages."""
    return with_links_of_the_site(markdown)


def with_links_of_the_site(text: str) -> str:
    """Return a text whose links are those of the site."""

    def link(found: re.Match[str]) -> str:
        path = found[1].removeprefix("../").removeprefix("docs/")
        return f"]({ABOVE.get(path, path)}{found[2]})"

    return re.sub(r"\]\(((?:\.\./|docs/)?[\w-]+\.md)((?:#[\w-]*)?)\)", link, text)


def commands() -> str:
    """Write the page of all commands."""
    root = root_of(cli)
    first, *others = pages(root)
    common = options_page(root)
    shared = {row for section in common.sections for row in section.rows}
    lines = ["# Commands", ""]
    lines += _examples(first)
    for page in others:
        lines += [f"## {page.name.removeprefix('dcmweb ')}", ""]
        lines += [f"    {page.usage}", "", _text(page.text), ""]
        for section in page.sections:
            own = [row for row in section.rows if row not in shared]
            if own and section.heading != "Other":
                lines += _table(Section(section.heading, own))
        lines += _examples(page)
    lines += ["## Options of all commands with a server", "", _text(common.text), ""]
    for section in common.sections:
        lines += _table(section)
    return "\n".join(lines)


def _text(text: str) -> str:
    return escape(text, quote=False)


def _table(section: Section) -> Iterator[str]:
    yield from (f"| {section.heading} | |", "| --- | --- |")
    for name, meaning in section.rows:
        words = _text(" ".join(meaning.split())).replace("|", "&#124;").replace("*", "&#42;")
        yield f"| <code>{_text(name).replace('|', '&#124;')}</code> | {words} |"
    yield ""


def _examples(page: Page) -> Iterator[str]:
    if page.examples:
        yield "```sh"
        for example in page.examples:
            yield from (f"# {example.meaning}", example.line)
        yield from ("```", "")
