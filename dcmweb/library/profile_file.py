"""Changes the file of profiles, and leaves all else in it as it is: comments, order, spaces."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from dcmweb.errors import LocalError, UsageError
from dcmweb.library.profiles import read_profiles
from dcmweb.settings.base_url import PROFILE_MARK
from dcmweb.user_text import read_text

_FIRST_LINES = "# Profiles of dcmweb: `dcmweb @NAME COMMAND`. See `dcmweb config --help`.\n"


def add(file: str, name: str, values: Mapping[str, Any]) -> None:
    """Add a profile. Raises UsageError if there is one of this name."""

    def change(document: Any) -> None:
        if name in document:
            raise UsageError(
                f"there is a profile {name} already", f"change it with: dcmweb config set {name}"
            )
        import tomlkit

        table = tomlkit.table()
        for key, value in values.items():
            table.add(key, value)
        document[name] = table

    _change(file, change)


def set_values(file: str, name: str, values: Mapping[str, Any]) -> None:
    """Set keys of a profile; None removes one. Raises UsageError if there is no such profile."""

    def change(document: Any) -> None:
        table = _table(document, name)
        for key, value in values.items():
            if value is not None:
                table[key] = value
            elif key in table:
                del table[key]
            else:
                raise UsageError(f"profile {name} has no {key}")

    _change(file, change)


def remove(file: str, name: str) -> None:
    """Remove a profile. Raises UsageError if there is none of this name."""

    def change(document: Any) -> None:
        _table(document, name)
        del document[name]

    _change(file, change)


def make(file: str) -> None:
    """Make the file if there is none, so that it can be edited."""
    if not os.path.exists(file):
        _write(file, _FIRST_LINES)


def _table(document: Any, name: str) -> Any:
    if name not in document:
        raise UsageError(
            f"there is no profile {name}", f"make one with: dcmweb config add {name} URL"
        )
    return document[name]


def _change(file: str, change: Callable[[Any], None]) -> None:
    """Change the file as a whole, or not at all: what comes of it must be understood."""
    import tomlkit

    read_profiles(file)  # raises what is wrong with it
    text = read_text(file) if os.path.exists(file) else _FIRST_LINES
    document = tomlkit.parse(text)
    change(document)
    _write(file, tomlkit.dumps(document))


def _write(file: str, text: str) -> None:
    """Write the file beside its place, check it, and rename it. Raises UsageError, LocalError."""
    import tempfile

    place = os.path.realpath(file)  # people keep it elsewhere, behind a link
    folder = os.path.dirname(place)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        mode = stat.S_IMODE(os.stat(place).st_mode) if os.path.exists(place) else 0o600
        handle, beside = tempfile.mkstemp(prefix=".config-", suffix=".toml", dir=folder)
        try:
            with open(handle, "w", encoding="utf-8", newline="\n") as written:
                written.write(text)
            os.chmod(beside, mode)
            read_profiles(beside)
            os.replace(beside, place)
        except BaseException:
            with suppress(OSError):
                os.unlink(beside)
            raise
    except UsageError as error:
        raise UsageError(error.message.replace(beside, file), error.hint) from None
    except OSError as error:
        raise LocalError(f"{file} cannot be written: {error.strerror}", path=file) from error


def profile_name(given: str) -> str:
    """Return the name of a profile, which may be written as it is used: @NAME."""
    return given.removeprefix(PROFILE_MARK)
