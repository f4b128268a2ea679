"""What each option is about: options in the help, the manual and the site are grouped by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import click

from dcmweb.settings.options import BY_KEY, Group, options_of_destination

# Those of the table in settings/options.py have their group there; these are all others.
_GROUPS = {
    Group.WHAT: (
        *(
            "all",
            "count",
            "each",
            "exclude",
            "failed",
            "include",
            "newer-than",
            "sort",
            "files-from",
            "limit",
            "metadata",
            "null",
            "one-way",
        ),
        *(
            "parameters",
            "path",
            "shard",
            "show",
            "thorough",
            "unchecked",
            "bytes",
            "with-paths",
            "write-test",
        ),
    ),
    Group.WHERE: ("allow-origin", "host", "index", "layout", "output", "port", "storage-class"),
    Group.OUTPUT: (
        "contact-sheet",
        "fields",
        "format",
        "json",
        "keywords",
        "quality",
        "type",
        "viewport",
        "window",
    ),
    Group.SAFETY: (
        "dry-run",
        "max",
        "no-wait",
        "page-can-delete",
        "skip-existing",
        "strict",
        "verify",
        "yes",
    ),
    Group.RECORDS: ("failed-to", "manifest", "report"),
    Group.LOGGING: ("brief", "debug", "quiet", "verbose"),
    Group.OTHER: ("help", "version"),
}
_BY_NAME = {name: group for group, names in _GROUPS.items() for name in names}
_OF_DESTINATION = {option.name for option in options_of_destination()}


def long_name(option: click.Option) -> str:
    """Return the longest name of an option, without dashes."""
    return max(option.opts, key=len).lstrip("-")


def group_of(option: click.Option) -> Group | None:
    """Return the group of an option; None if nobody gave it one."""
    if of_table := BY_KEY.get(option.name or "") or BY_KEY.get(long_name(option).replace("-", "_")):
        return of_table.group
    name = long_name(option)
    return Group.DESTINATION if name in _OF_DESTINATION else _BY_NAME.get(name)


def grouped(parameters: Iterable[click.Parameter]) -> Iterator[tuple[Group, list[click.Option]]]:
    """Yield the groups in their order, each with its options in theirs."""
    options = [one for one in parameters if isinstance(one, click.Option) and not one.hidden]
    for group in Group:
        if found := [one for one in options if (group_of(one) or Group.OTHER) is group]:
            yield group, found
