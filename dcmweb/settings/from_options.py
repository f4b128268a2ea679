"""Settings made of the values of options, wherever these come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from dcmweb.errors import UsageError
from dcmweb.settings.credentials import Credentials
from dcmweb.settings.options import BY_KEY, Kind, Option
from dcmweb.settings.settings import ADAPTIVE_WORKERS, Settings

_OF_CREDENTIALS = {one.name for one in fields(Credentials)}


def settings_from(base_url: str, values: Mapping[str, Any]) -> Settings:
    """Make settings of values by the keys of options, and of secrets; None is not given.

    Raises UsageError for what cannot be.
    """
    settings: dict[str, Any] = {}
    credentials: dict[str, Any] = {}
    for key, value in values.items():
        option, name = BY_KEY.get(key), field_of(key)
        if not name or value is None:
            continue
        owner = credentials if name in _OF_CREDENTIALS else settings
        owner[name] = _as_field(option, value)
    adapts = bool(values.get("parallel")) and not values.get("workers")
    settings["workers"] = ADAPTIVE_WORKERS if adapts else values.get("workers") or 1
    return Settings(
        base_url=base_url,
        credentials=Credentials(**credentials),
        adapts=adapts,
        limits_all=bool(values.get("workers")),
        **settings,
    )


def field_of(key: str) -> str:
    """Return the field of Settings or Credentials that a value is for, by its key."""
    option = BY_KEY.get(key)
    return option.field if option else key


def is_credential(key: str) -> bool:
    """Return True for the key of an option, or of a secret, that is for Credentials."""
    return field_of(key) in _OF_CREDENTIALS


def _as_field(option: Option | None, value: Any) -> Any:
    if option and option.kind is Kind.PAIRS:
        return tuple(pair_of(option, one) for one in value)
    return tuple(value) if isinstance(value, (list, tuple)) else value


def pair_of(option: Option, text: str) -> tuple[str, str]:
    """Split the name from the value. Raises UsageError if one of them is missing."""
    name, separator, value = text.partition(option.separator)
    if not (name.strip() and separator and value.strip()):
        form = option.metavar.strip("'")
        raise UsageError(f"--{option.name} lacks a name or a value", f"write it as {form}")
    return name.strip(), value.strip()
