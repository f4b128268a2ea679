"""Deletion by a form: only the archive's own pages can send it."""

from __future__ import annotations

import hmac
import secrets

from werkzeug.exceptions import Forbidden
from werkzeug.wrappers import Request

from dcmweb.archive.access import is_own_origin

_LARGEST_FORM = 10_000  # bytes


class DeletionForm:
    """Whether pages may delete, and the token that their forms carry.

    Another page can make a browser send a form. It can neither read the token, nor pretend to be
    another origin.
    """

    def __init__(self, *, is_allowed: bool) -> None:
        self.is_allowed = is_allowed
        self.token = secrets.token_urlsafe(32)

    def check_allowed(self) -> None:
        """Raise Forbidden unless pages may delete."""
        if not self.is_allowed:
            raise Forbidden("this page cannot delete: start it with --page-can-delete")

    def check(self, request: Request) -> None:
        """Raise Forbidden unless a form comes from a page of this archive."""
        self.check_allowed()
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if site != "same-origin" or not is_own_origin(request):
            raise Forbidden("the form does not come from a page of this archive")
        request.max_content_length = _LARGEST_FORM
        given = request.form.get("token", "")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise Forbidden("the form is of an earlier start of the archive: go back and reload it")
