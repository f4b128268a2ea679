"""Names of archives and of their members, which are called `archive.zip!/path/inside`.

The name of a member is never used as a path: what is in it, such as `..`, leads nowhere.
"""

from __future__ import annotations

INSIDE = "!/"
ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


def is_archive_name(path: str) -> bool:
    """Return True if a name, or the end of a mask, is that of archives."""
    return path.lower().endswith(ENDINGS)


def split_member(path: str) -> tuple[str, str]:
    """Split the name of a member into that of the archive and the rest, "" if it is not one."""
    at = path.find(INSIDE)
    while at >= 0:
        if is_archive_name(path[:at]):
            return path[:at], path[at + len(INSIDE) :]
        at = path.find(INSIDE, at + 1)
    return path, ""
