"""Long-running operations, which Google begins instead of deleting at once.

They are resources of their own: https://google.aip.dev/151.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Iterator, Sized
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from dcmweb.errors import NetworkError, ProtocolError, Refused, Truncated, UsageError
from dcmweb.http.response import Response, not_dicomweb
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.on_error import OnError
from dcmweb.transfer.outcomes import Outcome, Outcomes, Status

FIRST_POLL, LONGEST_POLL, SLOWER = 0.25, 10.0, 1.5  # seconds, seconds, and the factor between


def wait(
    context: RunContext, names: Iterable[str], on_error: OnError = OnError.OUTCOME
) -> Outcomes:
    """Wait for operations, each by its name or URL; yield how each ended."""
    if isinstance(names, Sized):
        context.engine.meter.expect(len(names))
        context.engine.meter.expects_all = True
    yield from context.engine.run(
        partial(on_error.apply, context.engine, name, partial(_one, context, name))
        for name in names
    )


def _one(context: RunContext, given: str) -> Iterator[Outcome]:
    name = _name(context.settings.base_url, given)
    wait_for(context, {"name": name})
    yield Outcome(Status.FINISHED, name)


def _name(base_url: str, given: str) -> str:
    """Read the name of an operation, which may be given as a URL on the server."""
    if "://" not in given:
        name = given.strip().strip("/")
    else:
        root = operation_url(base_url, "")
        if not given.startswith(root):
            raise UsageError(f"operation {given} is on another server", "is BASE_URL right?")
        name = given.removeprefix(root)
    if not name or not name.isprintable():  # as what is not UTF-8 is not
        raise UsageError(f"{given!r} is not a valid operation", "write projects/.../operations/ID")
    return name


def wait_for(context: RunContext, operation: dict[str, Any]) -> None:
    """Poll an operation until it is done. Raises what it ended with, if not with success."""
    name: str = operation["name"]
    url = operation_url(context.settings.base_url, name)
    context.notify(f"Waiting for operation {name}")
    deadline = time.monotonic() + context.settings.operation_time
    delay = FIRST_POLL
    while not operation.get("done"):
        if time.monotonic() + delay > deadline:
            hint = f"wait for it: dcmweb {context.settings.base_url} wait {name}"
            raise NetworkError(f"operation {name} is still running", hint)
        context.engine.sleep(delay)
        delay = min(delay * SLOWER, LONGEST_POLL)
        operation = context.engine.attempt(lambda: _poll(context, url))
    check_result(f"operation {name}", operation)


def _poll(context: RunContext, url: str) -> dict[str, Any]:
    with context.session.get(url, accept="application/json") as response:
        response.check()
        body = response.content()
        operation = json_object(response, body)
        if "name" not in operation and "done" not in operation:
            raise not_dicomweb(response, body)
        return operation


def operation_url(base_url: str, name: str) -> str:
    """Return where an operation is asked for: at the API version of the base URL."""
    parts = urlsplit(base_url)
    version = re.match(r"(?:/.*?)??(?=/projects/)|(?:/.*?)?/v\d\w*(?=/|$)", parts.path)
    path = f"{version[0] if version else ''}/{quote(name.strip('/'), errors='replace')}"
    if not name.isprintable() or any(one in (".", "..") for one in path.split("/")):
        raise ProtocolError(f"the server names an operation {name!r}, which cannot be asked for")
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def check_result(name: str, operation: dict[str, Any]) -> None:
    """Raise Refused if an operation ended with an error, or with failures counted."""
    error = operation.get("error")
    if error:
        said = error.get("message") or error.get("code") if isinstance(error, dict) else error
        raise Refused(f"{name} failed: {said}", status=200)
    metadata = operation.get("metadata")
    counter = metadata.get("counter") if isinstance(metadata, dict) else None
    failures = str(counter.get("failure", "0")) if isinstance(counter, dict) else "0"
    if failures.strip() not in ("", "0"):
        logs = metadata.get("logsUrl") if isinstance(metadata, dict) else None
        raise Refused(
            f"{name} ended with {failures} failures",
            f"see {logs}" if logs else "",
            status=200,
        )


def json_object(response: Response, body: bytes) -> dict[str, Any]:
    """Read a JSON object, also as the one item of an array; {} for anything else.

    Raises Truncated for what may be the beginning of one, where nothing else shows the end.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        if not response.has_end and body.lstrip()[:1] in (b"", b"{", b"["):
            raise Truncated("the answer broke off, or does not say where it ends") from None
        return {}
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    return answer if isinstance(answer, dict) else {}
