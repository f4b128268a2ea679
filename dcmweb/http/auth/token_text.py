"""Finds a token and its expiry in text: a token, a header field, JSON of many kinds, a JWT."""

from __future__ import annotations

import base64
import json
import math
import re
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from dcmweb.errors import AuthError
from dcmweb.http.auth.tokens import Token

# What people copy along with a token, as from a header field.
_BEFORE_TOKEN = re.compile(r"(Authorization:\s*)?(Bearer\s+)?", re.IGNORECASE)
# RFC 6749 section 5.1; Azure's command line; gcloud and plug-ins of kubectl.
_TOKENS = ("access_token", "accessToken", "token")
# Azure, kubectl, Amazon, and others; `expires_on` comes first, as it has no time zone to be lost.
_MOMENTS = ("expires_on", "expiresOn", "expires_at", "expirationTimestamp", "expiration", "expiry")
_LOCAL = ("expiresOn",)  # Azure's command line prints the local time, without a zone
_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?\s*(?:(Z|UTC)|([+-]\d\d):?(\d\d))?"
)
_MILLISECONDS = 1e11  # a number of seconds this large would be in the year 5138


def token_in(text: str, origin: str) -> str:
    """Find the token in a text: a token, a header field, or the JSON of a token server.

    Raises AuthError if there is none; `origin` is where the text came from.
    """
    return read_token(text, origin).value


def read_token(text: str, origin: str, issued: float | None = None) -> Token:
    """Find a token and its expiry in a text; `issued` is when the text was made, now by default.

    Raises AuthError as `token_in` does.
    """
    text = text.strip().removeprefix("\ufeff").strip()
    expires = None
    if text[:1] in ("{", '"'):
        found = _parsed(text)
        text = value_in(found) or ""
        if not text:
            raise AuthError(f"{origin} holds JSON without an access_token", "give the token alone")
        if isinstance(found, dict):
            expires = expiry_in(found, time.time() if issued is None else issued)
    value = _BEFORE_TOKEN.sub("", text, count=1)
    if not is_token(value):
        raise AuthError(f"{origin} does not hold a token", "it must be one line of plain text")
    return Token(value, expires if expires is not None else expiry_of_jwt(value))


def is_token(text: str) -> bool:
    """Return True for what can be sent as a token in a header field."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def value_in(found: object) -> str | None:
    """Find the token in what JSON says."""
    if isinstance(found, str):
        return found.strip()
    if not isinstance(found, dict):
        return None
    either = (place.get(name) for place in _places(found) for name in _TOKENS)
    return next((one.strip() for one in either if isinstance(one, str) and one.strip()), None)


def expiry_in(found: Mapping[str, Any], issued: float) -> float | None:
    """Find when the token in JSON expires: as a moment, or seconds after it was issued."""
    for place in _places(found):
        for name in _MOMENTS:
            moment = _moment(place.get(name), is_local=name in _LOCAL)
            if moment is not None:
                return moment
        seconds = _number(place.get("expires_in"))
        if seconds is not None:
            return issued + seconds
    return None


def expiry_of_jwt(token: str) -> float | None:
    """Read when a JSON Web Token expires (RFC 7519 section 4.1.4), without verification."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = _parsed(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)).decode())
    except ValueError:
        return None
    return _number(claims.get("exp")) if isinstance(claims, dict) else None


def _places(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return where a token may be; plug-ins of kubectl print it below `status`."""
    below = found.get("status")
    return [found, below] if isinstance(below, dict) else [found]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _number(value: object) -> float | None:
    """Read a number, which Azure writes as text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _moment(value: object, *, is_local: bool) -> float | None:
    number = _number(value)
    if number is not None:
        return number / 1000 if number > _MILLISECONDS else number
    match = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    day, hour, in_utc, hours, minutes = match.groups()
    zone = f"{hours}:{minutes}" if hours else "" if is_local and not in_utc else "+00:00"
    try:
        moment = datetime.fromisoformat(f"{day}T{hour}{zone}")
        return (moment if zone == "" else moment.astimezone(timezone.utc)).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
