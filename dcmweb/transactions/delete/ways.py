"""How a resource is deleted: by DELETE, by Orthanc's own API, or after it was rejected.

DICOMweb has no standard deletion; Google, Azure and others answer DELETE on a resource.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from dcmweb.dicom.resources import Resource
from dcmweb.errors import (
    AuthError,
    DcmwebError,
    NetworkError,
    NothingMatched,
    Refused,
    Truncated,
    Unreachable,
    UsageError,
)
from dcmweb.http.response import not_dicomweb
from dcmweb.http.server_words import looks_like_html
from dcmweb.settings.servers import OTHER, Deletion
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete.operations import check_result, json_object

T = TypeVar("T")

_API_HINT = (
    "it may have no DICOMweb DELETE: in Orthanc, --orthanc-api auto deletes with its own REST API"
)
_REJECT_HINT = (
    "dcm4chee wants it rejected first: give --reject-as CODE, such as 113001^DCM (for quality "
    "reasons)"
)


@dataclass(frozen=True)
class Deleted:
    """What was done: what to say of it, and the operation that it began, if any."""

    note: str = ""
    operation: dict[str, Any] = field(default_factory=dict)


class Way(Protocol):
    """A way to delete."""

    def delete(self, resource: Resource) -> Deleted:
        """Delete a study, series or instance. Raises what went wrong."""


class DirectDeletion:
    """DELETE on the resource."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def delete(self, resource: Resource) -> Deleted:
        """Delete a resource; it may be gone when an earlier answer was lost."""

        def gone() -> dict[str, Any]:
            self._context.notify(f"{resource} is gone, after an attempt that broke off")
            return {}

        return Deleted(operation=attempt_once(self._context, lambda: self._request(resource), gone))

    def _request(self, resource: Resource) -> dict[str, Any]:
        """Send the request; return the operation it began, empty if it is done already."""
        with self._context.session.delete(str(resource), accept="*/*") as response:
            try:
                response.check()
            except (AuthError, Refused) as error:
                error.hint = self._hint(response.status, error.hint)
                raise
            body = b"" if response.is_nothing else response.content()
            if looks_like_html(body):
                raise not_dicomweb(response, body)
            answer = {} if response.is_nothing else json_object(response, body)
        check_result(f"delete {resource}", {"error": answer.get("error")})
        return answer if isinstance(answer.get("name"), str) else {}

    def _hint(self, status: int, usual: str) -> str:
        """Say what a refusal may be about, for this kind of server, or for one not known."""
        server = self._context.server
        may_reject = server is OTHER or server.deletion is Deletion.REJECTION
        if status == 403 and may_reject:
            return f"{usual}, or {_REJECT_HINT}"
        if status == 409 and may_reject:
            return _REJECT_HINT
        if status in (405, 501):
            if server.deletion is Deletion.NONE:
                return f"{server.label} has no DICOMweb DELETE"
            return _REJECT_HINT if server.deletion is Deletion.REJECTION else _API_HINT
        return usual


def attempt_once(context: RunContext, request: Callable[[], T], gone: Callable[[], T]) -> T:
    """Make a request, with retries; it may find nothing any more when an answer to it was lost.

    The error in the end leaves open whether it was done if an answer was lost.
    """
    may_be_gone = is_open = False

    def action() -> T:
        nonlocal may_be_gone, is_open
        try:
            return request()
        except NothingMatched:
            if not may_be_gone:
                raise
            return gone()
        except DcmwebError as error:
            is_open |= is_unanswered(error)
            may_be_gone |= is_open or (isinstance(error, Refused) and error.status >= 500)
            raise

    try:
        return context.engine.attempt(action)
    except DcmwebError as error:
        error.leaves_open |= is_open
        raise


def is_unanswered(error: DcmwebError) -> bool:
    """Return True if a request may have been done: no answer of the server itself came to it."""
    if isinstance(error, Refused):
        return error.status in (502, 504)  # of a proxy that lost it
    return isinstance(error, (NetworkError, Truncated)) and not isinstance(error, Unreachable)


def way_to_delete(context: RunContext, orthanc_api: str = "", reject_as: str = "") -> Way:
    """Choose how to delete. Raises UsageError for options that do not fit."""
    if orthanc_api and reject_as:
        raise UsageError("--orthanc-api and --reject-as are for different servers", "choose one")
    if orthanc_api:
        from dcmweb.transactions.delete.orthanc_api import OrthancApi

        return OrthancApi(context, orthanc_api)
    if reject_as:
        from dcmweb.transactions.delete.rejection import Rejection

        return Rejection(context, reject_as)
    return DirectDeletion(context)
