"""Asking for a resource in the forms that servers differ in."""

from __future__ import annotations

from collections.abc import Sequence

from dcmweb.errors import DcmwebError
from dcmweb.http.session import Response
from dcmweb.transactions.context import Client

_REFUSALS = (400, 406)


def ask(client: Client, path: str, forms: Sequence[str], *good: int) -> Response:
    """Get a resource in the first of several forms, as written in Accept, that is not refused.

    Raises the error that an answer is, unless its status is one of the good ones.
    """
    *others, last = forms
    for accept in others:
        response = client.session.get(path, accept=accept, bulk=True)
        if response.status not in _REFUSALS:
            return checked(response, *good)
        response.close()
    return checked(client.session.get(path, accept=last, bulk=True), *good)


def checked(response: Response, *good: int) -> Response:
    """Return an answer that is good, its body still to be read; raise the error it is if not."""
    try:
        response.check(*good)
    except DcmwebError:
        response.close()
        raise
    return response
