"""Request a resource in several forms, since servers differ in what they accept."""

from __future__ import annotations

from collections.abc import Sequence

from dcmweb.errors import DcmwebError
from dcmweb.http.response import Response
from dcmweb.transactions.context import RunContext

_REFUSALS = (400, 406)


def ask(
    context: RunContext, path: str, forms: Sequence[str], *, may_be_partial: bool = False
) -> Response:
    """Get a resource in the first of several forms, values of Accept, that is not refused.

    Raises an error unless the answer is success with content.
    """
    *others, last = forms
    for accept in others:
        response = context.session.get(path, accept=accept, bulk=True)
        if response.status not in _REFUSALS:
            return checked_response(response, may_be_partial=may_be_partial)
        response.close()
    response = context.session.get(path, accept=last, bulk=True)
    return checked_response(response, may_be_partial=may_be_partial)


def checked_response(response: Response, *, may_be_partial: bool = False) -> Response:
    """Return an answer that is success, its body unread; raise an error for others."""
    try:
        response.check_content(may_be_partial=may_be_partial)
    except DcmwebError:
        response.close()
        raise
    return response
