"""The two dialects of the archive: how answers to the same request differ.

`StandardDialect` follows PS3.18. `GoogleDialect` follows the Cloud Healthcare API: its DICOM
conformance statement, its error model, and recorded answers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.wrappers import Request, Response

from dcmweb.archive.google_strict import (
    RENDERED_TYPES,
    STRICT_QUERIES,
    STRICT_ROWS,
    check_endpoint,
    check_metadata,
)
from dcmweb.archive.negotiation import accepted, choose_type
from dcmweb.archive.operations import Operations
from dcmweb.archive.query import LENIENT, ParsedQuery, QueryRules
from dcmweb.archive.representations.rendering import RENDERED
from dcmweb.archive.search import RowRules
from dcmweb.archive.store import DUPLICATE, Result, StorePolicy
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.native_xml import write_native_xml
from dcmweb.dicom.resources import Level, Resource
from dcmweb.dicom.tags import (
    ERROR_COMMENT,
    FAILED_ATTRIBUTES_SEQUENCE,
    FAILED_SOP_SEQUENCE,
    FAILURE_REASON,
    GOOGLE_ERROR_JSON,
    GOOGLE_ERROR_XML,
    OTHER_FAILURES_SEQUENCE,
    REFERENCED_SOP_CLASS_UID,
    REFERENCED_SOP_INSTANCE_UID,
    REFERENCED_SOP_SEQUENCE,
    RETRIEVE_URL,
)
from dcmweb.http import media_types

_STANDARD_ANSWERS = (media_types.DICOM_JSON, "application/json", media_types.DICOM_XML)
_GOOGLE_ANSWERS = (media_types.DICOM_XML, media_types.DICOM_JSON)
STORAGE_CLASSES = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")


class Dialect(Protocol):
    """What differs between the dialects."""

    query_rules: QueryRules
    row_rules: RowRules
    rendered_types: Sequence[str]

    def check(self, endpoint: str, request: Request, args: Mapping[str, str]) -> None:
        """Reject a transaction that the server does not have."""

    def store_policy(self, *, replaces: bool) -> StorePolicy:
        """Return what a store request, or one that replaces instances, may do."""

    def check_store(self, request: Request) -> None:
        """Reject a store request by its header fields."""

    def stored(self, request: Request, results: Sequence[Result], base_url: str) -> Response:
        """Report the result of each instance."""

    def most(self, query: ParsedQuery) -> int:
        """Return the most rows of a search; raise BadRequest if it asks for too many."""

    def nothing_found(self) -> Response:
        """Answer a search without results."""

    def remaining(self, response: Response, base_url: str, count: int) -> None:
        """Report that there are more results than were sent."""

    def deleted(self, resource: Resource, count: int, dataset: str) -> Response:
        """Report that a resource with so many instances was deleted."""

    def error(self, error: HTTPException, request: Request) -> Response:
        """Report an error."""


class StandardDialect:
    """Answers according to PS3.18."""

    query_rules = LENIENT
    row_rules = RowRules()
    rendered_types: Sequence[str] = RENDERED
    _MOST = 10_000

    def check(self, endpoint: str, request: Request, args: Mapping[str, str]) -> None:
        """Accept everything that has a URL."""

    def store_policy(self, *, replaces: bool) -> StorePolicy:
        """Accept what can be stored."""
        return StorePolicy(replaces=replaces)

    def check_store(self, request: Request) -> None:
        """Check that the answer is available in an accepted media type."""
        choose_type(accepted(request), _STANDARD_ANSWERS)

    def stored(self, request: Request, results: Sequence[Result], base_url: str) -> Response:
        """Answer 200 for all, 202 for some, 409 for none (PS3.18 section 10.5.3)."""
        name = choose_type(accepted(request), _STANDARD_ANSWERS)
        stored = sum(result.is_stored for result in results)
        status = 200 if stored == len(results) else 202 if stored else 409
        module = response_module(results, base_url, _standard_detail)
        return _module_response(module, name, status)

    def most(self, query: ParsedQuery) -> int:
        """Cap the number of rows; a Warning reports the rest."""
        return self._MOST

    def nothing_found(self) -> Response:
        """Answer 204 (PS3.18 section 10.6.3)."""
        return Response(status=204)

    def remaining(self, response: Response, base_url: str, count: int) -> None:
        """Add the Warning of PS3.18 section 8.3.4.4."""
        response.headers["Warning"] = (
            f'299 {base_url} "There are {count} additional results that can be requested"'
        )

    def deleted(self, resource: Resource, count: int, dataset: str) -> Response:
        """Answer 204."""
        return Response(status=204)

    def error(self, error: HTTPException, request: Request) -> Response:
        """Answer with a line of text."""
        response = Response(f"{error.description}\n", error.code, content_type="text/plain")
        return with_headers_of(error, response)


_DEFAULT_LIMITS = {Level.STUDIES: 100, Level.SERIES: 100, Level.INSTANCES: 1000}
_LIMITS = {Level.STUDIES: 5000, Level.SERIES: 5000, Level.INSTANCES: 50_000}
_MOST_OFFSET = 1_000_000
_PROCESSING_FAILURE = 0x0110
_ROWS = RowRules(all_levels=False, empty_attributes=False, file_meta=True)


class GoogleDialect:
    """Answers as the Cloud Healthcare API does."""

    def __init__(self, operations: Operations, *, is_strict: bool = False) -> None:
        self._operations = operations
        self._is_strict = is_strict
        self.query_rules = STRICT_QUERIES if is_strict else LENIENT
        self.row_rules = STRICT_ROWS if is_strict else _ROWS
        self.rendered_types: Sequence[str] = RENDERED_TYPES if is_strict else RENDERED

    def check(self, endpoint: str, request: Request, args: Mapping[str, str]) -> None:
        """Reject what the API does not have, if the archive is strict."""
        if self._is_strict:
            check_endpoint(endpoint, request, args)

    def store_policy(self, *, replaces: bool) -> StorePolicy:
        """Replace instances by DICOM files only; check JSON if the archive is strict."""
        if replaces:
            return StorePolicy(replaces=True, media_types=(media_types.DICOM,))
        if self._is_strict:
            return StorePolicy(
                media_types=(media_types.DICOM, media_types.DICOM_JSON),
                check_metadata=check_metadata,
            )
        return StorePolicy()

    def check_store(self, request: Request) -> None:
        """Check the storage class and the accepted media types."""
        choose_type(accepted(request), _GOOGLE_ANSWERS)
        name = request.headers.get("Storage-Class")
        if name is not None and name not in STORAGE_CLASSES:
            raise BadRequest(f"Storage-Class {name} is not one of {', '.join(STORAGE_CLASSES)}")

    def stored(self, request: Request, results: Sequence[Result], base_url: str) -> Response:
        """Answer 200 for all, 409 if any failed; XML unless JSON is asked for."""
        name = choose_type(accepted(request), _GOOGLE_ANSWERS)
        status = 200 if all(result.is_stored for result in results) else 409
        is_json = name == media_types.DICOM_JSON
        detail = self._json_detail if is_json else self._detail
        module = response_module(results, base_url, detail, names_failed=not self._is_strict)
        return _module_response(module, name, status)

    def _json_detail(self, result: Result) -> Dataset:
        return self._failure(result, GOOGLE_ERROR_JSON)

    def _detail(self, result: Result) -> Dataset:
        return self._failure(result, GOOGLE_ERROR_XML)

    def _failure(self, result: Result, tag: str) -> Dataset:
        reason = _PROCESSING_FAILURE if result.reason == DUPLICATE else result.reason
        return {
            FAILURE_REASON: {"vr": "US", "Value": [reason]},
            tag: {"vr": "LT", "Value": [result.detail], "privateCreator": "GOOGLE"},
        }

    def most(self, query: ParsedQuery) -> int:
        """Use the default if no limit is given; reject what is over the limits."""
        most = _LIMITS[query.level]
        if query.limit is not None and query.limit > most:
            raise BadRequest(
                f"limit {query.limit} is over {most}, the most for {query.level.value}"
            )
        if query.offset > _MOST_OFFSET:
            raise BadRequest(f"offset {query.offset} is over {_MOST_OFFSET}")
        return most if query.limit is not None else _DEFAULT_LIMITS[query.level]

    def nothing_found(self) -> Response:
        """Answer 204, as Google's client EZ-WSI-DICOMweb expects."""
        return Response(status=204)

    def remaining(self, response: Response, base_url: str, count: int) -> None:
        """Add nothing: Google sends no Warning."""

    def deleted(self, resource: Resource, count: int, dataset: str) -> Response:
        """Answer `{}` for an instance, an operation for a study or a series."""
        if resource.level is Level.INSTANCES:
            return json_answer({})
        method = "DeleteSeries" if resource.series else "DeleteStudy"
        return json_answer({"name": self._operations.add(dataset, method, count)})

    def error(self, error: HTTPException, request: Request) -> Response:
        """Answer with Google's error object; reading requests get it in an array."""
        code = (
            400 if error.code == 415 else error.code or 500
        )  # the conformance statement has no 415
        body: Any = {
            "error": {
                "code": code,
                "message": error.description,
                "status": _GOOGLE_STATUSES.get(code, "UNKNOWN"),
            }
        }
        if request.method == "GET" and "/dicomWeb" in request.path:
            body = [body]
        return with_headers_of(error, json_answer(body, code))


_GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    406: "INVALID_ARGUMENT",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


def response_module(
    results: Sequence[Result], base_url: str, failure: Any, *, names_failed: bool = True
) -> Dataset:
    """Make the store response module (PS3.18 table I.2.1-1); `failure` describes why one failed.

    Google's failed items have no UIDs, and there are no other failures (an answer recorded in
    dcmjs-org/dcmjs#249): so it is if `names_failed` is False.
    """
    stored = [r for r in results if r.is_stored]
    not_stored = [r for r in results if not r.is_stored]
    failed = [r for r in not_stored if r.resource.instance or not names_failed]
    others = [r for r in not_stored if names_failed and not r.resource.instance]
    module: Dataset = {}
    studies = {r.resource.study for r in stored}
    if len(studies) == 1:
        module[RETRIEVE_URL] = _url(f"{base_url}/{Resource(studies.pop())}")
    for tag, items in (
        (
            FAILED_SOP_SEQUENCE,
            [{**(_reference(r) if names_failed else {}), **failure(r)} for r in failed],
        ),
        (
            REFERENCED_SOP_SEQUENCE,
            [_reference(r) | {RETRIEVE_URL: _url(f"{base_url}/{r.resource}")} for r in stored],
        ),
        (OTHER_FAILURES_SEQUENCE, [failure(r) for r in others]),
    ):
        if items:
            module[tag] = {"vr": "SQ", "Value": items}
    return module


def _reference(result: Result) -> Dataset:
    return {
        REFERENCED_SOP_CLASS_UID: {"vr": "UI", "Value": [result.sop_class]},
        REFERENCED_SOP_INSTANCE_UID: {"vr": "UI", "Value": [result.resource.instance]},
    }


def _url(url: str) -> dict[str, Any]:
    return {"vr": "UR", "Value": [url]}


def _standard_detail(result: Result) -> Dataset:
    """Add the reason, and an Error Comment in the place where Azure DICOM service v2 has it."""
    return {
        FAILURE_REASON: {"vr": "US", "Value": [result.reason]},
        FAILED_ATTRIBUTES_SEQUENCE: {
            "vr": "SQ",
            "Value": [{ERROR_COMMENT: {"vr": "LO", "Value": [result.detail]}}],
        },
    }


def _module_response(module: Dataset, name: str, status: int) -> Response:
    if name == media_types.DICOM_XML:
        return Response(write_native_xml(module), status, content_type=name)
    body = json.dumps(_without_creators(module))
    return Response(body, status, content_type=name)


def _without_creators(value: Any) -> Any:
    """Leave out private creators, which do not exist in the JSON model."""
    if isinstance(value, dict):
        return {k: _without_creators(v) for k, v in value.items() if k != "privateCreator"}
    return [_without_creators(v) for v in value] if isinstance(value, list) else value


def json_answer(content: Any, status: int = 200) -> Response:
    """Answer with JSON other than DICOM JSON."""
    body = json.dumps(content, indent=2) + "\n"
    return Response(body, status, content_type="application/json; charset=utf-8")


def with_headers_of(error: HTTPException, response: Response) -> Response:
    """Add the header fields of an error, such as what it asks for."""
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers.add(name, value)
    return response
