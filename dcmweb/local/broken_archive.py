"""What is raised where the members of an archive cannot be found."""

from __future__ import annotations


class BrokenArchive(Exception):
    """An archive is damaged: members may be missing. Its text says what is wrong, and where."""
