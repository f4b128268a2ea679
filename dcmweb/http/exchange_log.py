"""Exchanges in words, for the log: neither secrets nor what names a patient."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit, urlunsplit

log = logging.getLogger(__name__)

_SECRET = re.compile(r"auth|cookie|token|secret|api-?key|password", re.IGNORECASE)
# Parameters whose values say nothing of a patient; those of all others are left out.
_HARMLESS = re.compile(
    r"limit|offset|includefield|fuzzymatching|quality|viewport|window|(Study|Series|SOP)InstanceUID"
    r"|0020000[DE]|00080018|Modality|ModalitiesInStudy|SOPClassUID",
    re.IGNORECASE,
)


def log_answer(method: str, url: str, size: int, status: int, seconds: float) -> None:
    """Tell of an exchange in one line: what was sent, what was answered, after how long."""
    sent = f", {size:,} bytes" if size else ""
    log.info("%s %s%s: %d after %.3f s", method, without_values(url), sent, status, seconds)


def log_headers(mark: str, headers: Mapping[str, str | bytes]) -> None:
    """Tell of the header fields of a request (`>`) or an answer (`<`)."""
    if log.isEnabledFor(logging.DEBUG):
        for line in _lines(headers.items()):
            log.debug("%s %s", mark, line)


def _lines(fields: Iterable[tuple[str, str | bytes]]) -> Iterable[str]:
    for name, value in fields:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        yield f"{name}: {'[redacted]' if _SECRET.search(name) else without_values(text)}"


def without_values(url: str) -> str:
    """Leave the values of parameters out of a URL, but those that name no patient."""
    if "://" not in url:
        return url
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
    query = "&".join(
        f"{key}{equals}{value if _HARMLESS.fullmatch(key) else '...'}"
        for key, equals, value in pairs
    )
    return urlunsplit((parts.scheme, host, parts.path, query, ""))
