"""Profiles: servers by name, with all that a client is told of them, in a file that users write."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dcmweb.errors import LocalError, UsageError
from dcmweb.settings.checks import check_number, check_range, check_seconds, read_size
from dcmweb.settings.credentials import SECRETS, is_reference
from dcmweb.settings.from_options import pair_of, settings_from
from dcmweb.settings.options import BY_KEY, PATHS, Kind, Option
from dcmweb.settings.settings import Settings
from dcmweb.user_text import read_text

FILE_VARIABLE = "DCMWEB_CONFIG"
URL = "url"
_NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class Profile:
    """One profile: values by the keys of options, and secrets by theirs."""

    name: str
    file: str
    values: Mapping[str, Any]
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict)  # of the file, by key

    @property
    def url(self) -> str:
        """The root of the service. Raises UsageError if the profile has none."""
        if not (url := self.values.get(URL)):
            raise UsageError(f"profile {self.name} in {self.file} has no url", "add one")
        return str(url)

    def settings(self) -> Settings:
        """Make settings of this profile alone."""
        values = {key: value for key, value in self.values.items() if key != URL}
        return settings_from(self.url, {**values, **self.secrets})


def config_file() -> str:
    """Return the path of the file of profiles; it need not exist."""
    if given := os.environ.get(FILE_VARIABLE):
        return given
    import platformdirs

    return os.path.join(platformdirs.user_config_dir("dcmweb", appauthor=False), "config.toml")


def read_profile(name: str) -> Profile:
    """Read one profile by its name. Raises UsageError if there is none, or anything is wrong."""
    file = config_file()
    text, tables = _tables(file)
    if name in tables:
        return _profile(name, file, tables[name], text)
    if not text:
        raise UsageError(
            f"there is no profile {name}: there is no file {file}",
            f"make one with: dcmweb config add {name} URL",
        )
    known = ", ".join(tables) or "none"
    raise UsageError(f"there is no profile {name} in {file}", f"it has: {known}")


def read_profiles(file: str) -> dict[str, Profile]:
    """Read all profiles of a file; none if there is no file.

    Raises UsageError, with the line, for what is not understood.
    """
    text, tables = _tables(file)
    return {name: _profile(name, file, table, text) for name, table in tables.items()}


def _tables(file: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Read the text of the file, and the tables in it; none if there is no file."""
    if not os.path.exists(file):
        return "", {}
    try:
        text = read_text(file)
    except LocalError as error:
        raise UsageError(error.message, error.hint) from None
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text).unwrap()
    except TOMLKitError as error:
        raise UsageError(f"{file} is not TOML: {error}") from None
    for name, table in document.items():
        if not isinstance(table, dict):
            line = _line_of(text, "", name)
            raise UsageError(
                f"{file}, line {line}: {name} is not in a profile",
                "write [NAME] above it, with the name of a server",
            )
        if not _NAME.fullmatch(name):
            line = _line_of(text, name, "")
            raise UsageError(
                f"{file}, line {line}: {name!r} cannot be the name of a profile",
                "use letters, digits, -, _ and .",
            )
    return text, document


def _profile(name: str, file: str, table: Mapping[str, Any], text: str) -> Profile:
    values: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    lines: dict[str, int] = {}
    for written, value in table.items():
        key = written.replace("-", "_")
        line = lines[key] = _line_of(text, name, written)
        where = f"{file}, line {line}"
        if key in SECRETS:
            secrets[key] = _text(value, f"{where}: {written}")
        elif key == URL:
            values[key] = _text(value, f"{where}: {written}")
        elif option := BY_KEY.get(key):
            values[key] = checked(option, value, f"{where}: {written}", os.path.dirname(file))
        else:
            raise UsageError(f"{where}: there is no option {written}", meant(key))
    for secret in SECRETS:
        _check_one_source(secret, file, {key: lines[key] for key in lines if key in _ways(secret)})
    return Profile(name, file, values, secrets, lines)


def _ways(secret: str) -> tuple[str, ...]:
    """Return the keys that say where a secret comes from."""
    return secret, f"{secret}_file", f"{secret}_command"


def _check_one_source(secret: str, file: str, given: Mapping[str, int]) -> None:
    if len(given) > 1:
        first, second, *_ = (key.replace("_", "-") for key in given)
        raise UsageError(
            f"{file}, line {max(given.values())}: {first} and {second} both give the "
            f"{secret.replace('_', ' ')}",
            "keep one of them; `dcmweb config unset` removes the other",
        )


def checked(option: Option, value: Any, name: str, folder: str) -> Any:
    """Check a value that a profile gives an option; return it as the command line has it.

    `name` is what it is called in errors, `folder` what paths are relative to. Raises UsageError.
    """
    if option.kind is Kind.FLAG:
        if not isinstance(value, bool):
            raise UsageError(f"{name} is not true or false")
        return value
    if option.kind in (Kind.COUNT, Kind.NUMBER, Kind.SECONDS):
        _check_number(option, value, name)
        return value
    if option.kind is Kind.SIZE:
        return read_size(name, value)
    if option.kind is Kind.TEXTS:
        texts = value if isinstance(value, list) else [value]
        return [_text(one, name) for one in texts]
    if option.kind is Kind.PAIRS:
        return [_with_folder(option, pair, folder) for pair in _pairs(option, value, name)]
    text = _text(value, name)
    if option.choices and text not in option.choices:
        raise UsageError(f"{name} is {text!r}", f"it can be {', '.join(option.choices)}")
    return _path(text, folder) if option.kind in PATHS else text


def _path(text: str, folder: str) -> str:
    return os.path.join(folder, os.path.expanduser(text))


def _with_folder(option: Option, text: str, folder: str) -> str:
    """Make the path of a file that holds the value of a pair one that holds everywhere."""
    name, value = pair_of(option, text)
    if value.startswith("@") and len(value) > 1:
        value = f"@{_path(value[1:], folder)}"
    return f"{name}{option.separator}{value}"


def _check_number(option: Option, value: Any, name: str) -> None:
    if option.kind is Kind.COUNT:
        check_range(name, value, option.lowest or 0, option.highest)
    elif option.kind is Kind.SECONDS:
        check_seconds(name, value)
    else:
        check_number(name, value)


def _pairs(option: Option, value: Any, name: str) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}{option.separator}{_text(one, name)}" for key, one in value.items()]
    texts = value if isinstance(value, list) else [value]
    return [_text(one, name) for one in texts]


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{name} is not text", 'write it in quotes, as in "text"')
    return value


def _line_of(text: str, table: str, key: str) -> int:
    """Find the line of a key, or of the heading of a table; libraries do not tell it."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        if heading := re.match(r"\s*\[\s*[\"']?(.*?)[\"']?\s*\]", line):
            current = heading[1]
            if not key and current == table:
                return number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]", line):
            return number
        elif current == f"{table}.{key}":
            return number - 1
    return 1


def meant(key: str) -> str:
    """Suggest the key that was probably meant."""
    import difflib

    known = [one.replace("_", "-") for one in (*BY_KEY, *SECRETS, URL)]
    near = difflib.get_close_matches(key.replace("_", "-"), known, 1)
    return f"did you mean {near[0]}?" if near else "see: dcmweb config --help"


def problems(profile: Profile) -> Iterator[str]:
    """Yield what is wrong with a profile that can be seen without its server."""
    try:
        profile.settings()
    except UsageError as error:
        yield str(error)
    for key, value in profile.values.items():
        option = BY_KEY.get(key)
        paths = [value] if option and option.kind is Kind.FILE else []
        if option and option.kind is Kind.PAIRS:
            values = (pair_of(option, text)[1] for text in value)
            paths = [one[1:] for one in values if one.startswith("@")]
        for path in paths:
            if not os.path.exists(path):
                yield f"line {profile.lines[key]}: there is no file {path}"
    if holds_secrets(profile) and others_can_read(profile.file):
        yield f"it holds a secret, and others can read {profile.file}: run chmod 600 on it"


def holds_secrets(profile: Profile) -> bool:
    """Return True if a profile has secrets in it, rather than where to read them."""
    pairs = [
        pair_of(BY_KEY[key], text)
        for key in ("header", "query", "auth_option")
        for text in profile.values.get(key, [])
    ]
    urls = (str(profile.values.get(key, "")) for key in (URL, "proxy"))
    return (
        bool(profile.secrets)
        or any(not is_reference(value) for _, value in pairs)
        or any(urlsplit(url).password for url in urls)
    )


def others_can_read(file: str) -> bool:
    """Return True if other users of this machine can read a file, as far as its mode says."""
    if os.name == "nt" or not os.path.exists(file):
        return False
    return bool(os.stat(file).st_mode & (stat.S_IRGRP | stat.S_IROTH))
