"""Names of persons: their groups and components (PS3.5 section 6.2.1, PS3.18 section F.2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")


def split_groups(text: str) -> dict[str, str]:
    """Read a name as files hold it: its groups by what the JSON model calls them."""
    return dict(zip(GROUPS, text.split("="), strict=False))


def groups_of(name: Mapping[str, Any]) -> dict[str, str]:
    """Return the groups of a name of the JSON model, each as text.

    Some servers put all groups into `Alphabetic`, as files hold them. A `=` cannot be part of a
    group (PS3.5 section 6.2), so it is read as what it is there.
    """
    found = {group: str(name.get(group) or "") for group in GROUPS}
    if "=" in found["Alphabetic"]:
        inside = split_groups(found["Alphabetic"])
        found = {group: inside.get(group) or found[group] for group in GROUPS}
        found["Alphabetic"] = inside["Alphabetic"]
    return found


def join_groups(name: Mapping[str, Any]) -> str:
    """Write a name of the JSON model as files hold it, without the groups that are left out."""
    return "=".join(str(name.get(group) or "") for group in GROUPS).rstrip("=")


def split_components(group: str) -> dict[str, str]:
    """Read a group: all its components, "" for those left out; the last takes what is too much."""
    found = group.split("^", len(COMPONENTS) - 1)
    return {**dict.fromkeys(COMPONENTS, ""), **dict(zip(COMPONENTS, found, strict=False))}


def join_components(components: Iterable[str]) -> str:
    """Write a group, without empty components at its end."""
    return "^".join(components).rstrip("^")
