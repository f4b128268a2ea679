"""Deletion with Orthanc's own REST API, as Orthanc has no DICOMweb DELETE (up to 1.12).

https://orthanc.uclouvain.be/book/users/rest.html: resources have identifiers of their own, which
`POST /tools/lookup` finds by a UID.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from threading import Lock
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import NothingMatched, ProtocolError, UsageError
from dcmweb.http.multipart import Body
from dcmweb.settings.base_url import parse_base_url
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete.ways import Deleted, attempt_once

AUTO = "auto"
_LONGEST = 1024 * 1024  # of answers, which are short
_KINDS = {Level.STUDIES: "Study", Level.SERIES: "Series", Level.INSTANCES: "Instance"}
_HINT = "give the URL of Orthanc's own API with --orthanc-api URL"


class OrthancApi:
    """Deletes what Orthanc finds by UIDs, at the root of its API."""

    def __init__(self, context: RunContext, url: str) -> None:
        self._context = context
        self.root = _root(context.settings.base_url, url)
        self._lock = Lock()
        self._is_checked = False

    def delete(self, resource: Resource) -> Deleted:
        """Delete a resource; all of its UID, as Orthanc may have it for several patients."""
        self._check()
        places = list(self._places(resource))
        if not places:
            raise NothingMatched(f"Orthanc has no {resource}", "check the path")
        for place in places:
            attempt_once(self._context, lambda place=place: self._delete(place), lambda: None)  # type: ignore[misc]
        return Deleted()

    def _check(self) -> None:
        """Raise ProtocolError unless Orthanc is at the address: nothing else is sent a DELETE."""
        with self._lock:
            if self._is_checked:
                return
            try:
                system = self._get("system")
            except NothingMatched:
                system = None
            if not isinstance(system, dict) or "ApiVersion" not in system:
                raise ProtocolError(f"{self.root} is not the REST API of Orthanc", _HINT)
            self._is_checked = True

    def _places(self, resource: Resource) -> Iterator[str]:
        """Find a resource by its UID, and by those of what it is in."""
        kind = _KINDS[resource.level]
        uid = resource.instance or resource.series or resource.study
        for found in self._lookup(uid):
            place = found.get("Path") if found.get("Type") == kind else None
            if isinstance(place, str) and self._is_in(place.strip("/"), resource):
                yield place.strip("/")

    def _is_in(self, place: str, resource: Resource) -> bool:
        """Return True if something is in the study, and the series, that the path names."""
        if resource.series and not self._has_uid(
            f"{place}/study", "StudyInstanceUID", resource.study
        ):
            return False
        return not resource.instance or self._has_uid(
            f"{place}/series", "SeriesInstanceUID", resource.series
        )

    def _has_uid(self, place: str, keyword: str, uid: str) -> bool:
        found = self._get(place)
        tags = found.get("MainDicomTags") if isinstance(found, dict) else None
        return isinstance(tags, dict) and tags.get(keyword) == uid

    def _lookup(self, uid: str) -> list[dict[str, Any]]:
        """Ask which resources have a UID."""

        def request() -> Any:
            body = Body([uid.encode()], "text/plain")
            url = f"{self.root}/tools/lookup"
            with self._context.session.post(url, body, accept="application/json") as response:
                response.check()
                return _json(self.root, response.content(_LONGEST))

        found = self._context.engine.attempt(request)
        if not isinstance(found, list):
            raise ProtocolError(f"{self.root}/tools/lookup answers with something else", _HINT)
        return [one for one in found if isinstance(one, dict)]

    def _get(self, place: str) -> Any:
        def request() -> Any:
            url = f"{self.root}/{quote(place)}"
            with self._context.session.get(url, accept="application/json") as response:
                response.check()
                return _json(self.root, response.content(_LONGEST))

        return self._context.engine.attempt(request)

    def _delete(self, place: str) -> None:
        url = f"{self.root}/{quote(place)}"
        with self._context.session.delete(url, accept="*/*") as response:
            response.check()
            if not response.is_nothing:
                _json(self.root, response.content(_LONGEST))


def _json(root: str, body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ProtocolError(f"{root} does not answer as the REST API of Orthanc", _HINT) from None


def _root(base_url: str, given: str) -> str:
    """Return the root of the API: the one that was given, or one level above BASE_URL."""
    if given != AUTO:
        if "://" not in given:
            raise UsageError(
                f"--orthanc-api {given} is not a URL", "give auto, or a URL as http://HOST:8042"
            )
        return parse_base_url(given, "--orthanc-api")[0]
    parts = urlsplit(base_url)
    if not parts.path.strip("/"):
        raise UsageError("the root of Orthanc's API cannot be told from BASE_URL", _HINT)
    return urlunsplit(parts._replace(path=parts.path.rpartition("/")[0]))
