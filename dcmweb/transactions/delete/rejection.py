"""Deletion in dcm4chee-arc, which wants studies rejected first.

`POST .../reject/CODE` rejects a study, series or instance (IHE RAD TF-3 4.66, IOCM), after which
the server hides it. Only studies can be deleted then, whose files go with that
(github.com/dcm4che/dcm4chee-arc-light: IocmRS, StudyMgtRS).
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from dcmweb.dicom.resources import Resource
from dcmweb.errors import AuthError, DcmwebError, NothingMatched, ProtocolError, Refused, UsageError
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete.ways import Deleted, DirectDeletion, attempt_once

_LONGEST = 64 * 1024
_CODE = re.compile(r"[^\s^/?#]+\^[^\s^/?#]+")
_ALREADY = re.compile(r"already rejected", re.IGNORECASE)
_UNKNOWN_CODE = re.compile(r"rejection note code", re.IGNORECASE)
_BEFORE = "it was rejected before"


class Rejection:
    """Rejects resources, and then deletes studies."""

    def __init__(self, context: RunContext, code: str) -> None:
        if not _CODE.fullmatch(code):
            raise UsageError(
                f"--reject-as {code} is not a code", "write VALUE^SCHEME, as 113001^DCM"
            )
        self._context = context
        self._code = code
        self._direct = DirectDeletion(context)

    def delete(self, resource: Resource) -> Deleted:
        """Reject a resource; delete it if it is a study."""
        try:
            note = attempt_once(self._context, lambda: self._reject(resource), lambda: _BEFORE)
        except NothingMatched as error:
            if not resource.series:
                return self._rejected_before(resource, error)
            raise
        if resource.series:
            return Deleted(note)
        try:
            self._direct.delete(resource)
        except NothingMatched:
            pass  # it went with its last instance
        except (Refused, AuthError) as error:
            raise Refused(
                f"{note}, but not deleted: {error.message}",
                "the server hides it; delete it again, or let the server delete what is rejected",
                status=getattr(error, "status", 403),
            ) from error
        return Deleted(note)

    def _rejected_before(self, study: Resource, error: NothingMatched) -> Deleted:
        """Delete a study in which nothing is left to be rejected. Raises `error` if it is gone."""
        try:
            self._direct.delete(study)
        except NothingMatched:
            raise error from None
        return Deleted(_BEFORE)

    def _reject(self, resource: Resource) -> str:
        """Send the request; return what was done, in words."""
        path = f"{resource}/reject/{quote(self._code, safe='^')}"
        with self._context.session.post(path, None, accept="application/json") as response:
            try:
                response.check()
            except DcmwebError as error:
                if _UNKNOWN_CODE.search(error.message):
                    hint = "--reject-as wants a code that the server is configured with"
                    raise Refused(error.message, hint, status=response.status) from error
                if response.status == 400 and _ALREADY.search(error.message):
                    return _BEFORE
                raise
            body = response.content(_LONGEST)
        count = _count(body)
        if count < 1 or (resource.instance and count != 1):
            raise ProtocolError(
                f"the server does not say how much of {resource} it rejected",
                "is it dcm4chee? Others do not know --reject-as",
            )
        return f"rejected as {self._code}, {count:,} instance{'s' * (count != 1)}"


def _count(body: bytes) -> int:
    try:
        count = json.loads(body)["count"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return 0
    return count if isinstance(count, int) and not isinstance(count, bool) else 0
