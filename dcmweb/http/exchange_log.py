"""Logs requests and answers, without secrets and without patient data."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping

from dcmweb.counted import plural
from dcmweb.http.redaction import Redaction, without_values

log = logging.getLogger(__name__)

_SECRETS = r"(?i)auth|cookie|token|secret|api-?key|password"


def named(method: str, url: str) -> str:
    """Name a request, without values of its parameters."""
    return f"{method} {without_values(url)}"


def log_answer(method: str, url: str, size: int, status: int, seconds: float) -> None:
    """Log an exchange in one line: what was sent, what was answered, after how long."""
    if not log.isEnabledFor(logging.INFO):
        return
    sent = f", {plural(size, 'byte')}" if size else ""
    log.info("%s%s: %d after %.3f s", named(method, url), sent, status, seconds)


def log_headers(
    mark: str, headers: Mapping[str, str | bytes], url: str, redaction: Redaction
) -> None:
    """Log the header fields of a request for a URL (`>`), or of the answer to it (`<`)."""
    if log.isEnabledFor(logging.DEBUG):
        for line in _lines(headers.items(), url, redaction):
            log.debug("%s %s", mark, line)


def _lines(
    fields: Iterable[tuple[str, str | bytes]], url: str, redaction: Redaction
) -> Iterable[str]:
    for name, value in fields:
        text = value.decode("latin-1") if isinstance(value, bytes) else value
        shown = without_values(redaction.hide(text, url))
        yield f"{name}: {'[redacted]' if re.search(_SECRETS, name) else shown}"
