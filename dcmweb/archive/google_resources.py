"""Datasets and DICOM stores of the Cloud Healthcare API, as far as scripts create and list them.

All names lead to the same instances; what is created is only remembered while the archive runs.
"""

from __future__ import annotations

import json
import re
import threading
from typing import Any

from werkzeug.exceptions import BadRequest, Conflict, NotFound, TooManyRequests
from werkzeug.wrappers import Request

_ID = re.compile(r"[\w.-]{1,256}")
_LONGEST_BODY = 64 * 1024
_MOST_RESOURCES = 1000  # that are remembered
_OWN_FIELDS = {"name"}  # which the server sets


class GoogleResources:
    """Created resources by name; raises the HTTP errors of the API."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def create(self, parent: str, collection: str, request: Request) -> dict[str, Any]:
        """Create `PARENT/COLLECTION/ID`, the ID being in the query.

        409 if it exists, 429 if there are too many.
        """
        parameter = {"datasets": "datasetId", "dicomStores": "dicomStoreId"}[collection]
        identifier = request.args.get(parameter, "")
        if not _ID.fullmatch(identifier):
            raise BadRequest(f"{parameter} is missing or not a valid ID")
        name = f"{parent}/{collection}/{identifier}"
        body = _body(request)
        with self._lock:
            if name in self._known:
                raise Conflict(f"{name} already exists")
            if len(self._known) >= _MOST_RESOURCES:
                raise TooManyRequests(f"there can be {_MOST_RESOURCES:,} resources at most")
            self._known[name] = {**_without(body, _OWN_FIELDS), "name": name}
            return self._known[name]

    def get(self, name: str) -> dict[str, Any]:
        """Return a resource; 404 if it has not been created."""
        with self._lock:
            if name not in self._known:
                raise NotFound(f"{name} has not been created")
            return self._known[name]

    def list(self, parent: str, collection: str) -> dict[str, Any]:
        """List the resources of a parent."""
        start = f"{parent}/{collection}/"
        with self._lock:
            found = [
                resource
                for name, resource in sorted(self._known.items())
                if name.startswith(start) and "/" not in name.removeprefix(start)
            ]
        return {collection: found} if found else {}

    def update(self, name: str, request: Request) -> dict[str, Any]:
        """Change the fields of a resource that the updateMask names."""
        body = _body(request)
        mask = [field for field in request.args.get("updateMask", "").split(",") if field]
        if not mask or any(field in _OWN_FIELDS for field in mask):
            raise BadRequest("updateMask has to name fields that can be changed")
        self.get(name)
        with self._lock:
            kept = _without(self._known[name], set(mask))
            self._known[name] = {**kept, **{f: body[f] for f in mask if f in body}}
            return self._known[name]

    def delete(self, name: str) -> dict[str, Any]:
        """Forget a resource and those below it; the instances stay."""
        self.get(name)
        with self._lock:
            for known in list(self._known):
                if known == name or known.startswith(f"{name}/"):
                    del self._known[known]
        return {}


def _without(body: dict[str, Any], fields: set[str]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in fields}


def _body(request: Request) -> dict[str, Any]:
    """Read a JSON object, {} if there is no body."""
    data = request.stream.read(_LONGEST_BODY + 1)
    try:
        body = json.loads(data) if data.strip() else {}
    except (ValueError, RecursionError):
        raise BadRequest("Invalid JSON payload received") from None
    if len(data) > _LONGEST_BODY or not isinstance(body, dict):
        raise BadRequest("Invalid JSON payload received")
    return body
