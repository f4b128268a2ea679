"""Request a resource in several forms, since servers differ in what they accept."""

from __future__ import annotations

from collections.abc import Sequence

from dcmweb.errors import DcmwebError
from dcmweb.http.response import Response
from dcmweb.transactions.context import RunContext

_REFUSALS = (400, 406)


def ask(context: RunContext, path: str, forms: Sequence[str], *good: int) -> Response:
    """Get a resource in the first of several forms, values of Accept, that is not refused.

    Raises an error unless the status of the answer is one of the good ones.
    """
    *others, last = forms
    for accept in others:
        response = context.session.get(path, accept=accept, bulk=True)
        if response.status not in _REFUSALS:
            return checked_response(response, *good)
        response.close()
    return checked_response(context.session.get(path, accept=last, bulk=True), *good)


def checked_response(response: Response, *good: int) -> Response:
    """Return an answer with a good status, its body unread; raise an error for others."""
    try:
        response.check(*good)
    except DcmwebError:
        response.close()
        raise
    return response
