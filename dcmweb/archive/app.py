"""The WSGI application: maps a URL to the transaction that answers it, in both dialects."""

from __future__ import annotations

import re
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    InternalServerError,
    NotAcceptable,
    NotFound,
    ServiceUnavailable,
)
from werkzeug.wrappers import Request, Response

from dcmweb.archive.access import Access
from dcmweb.archive.dialects import Dialect, GoogleDialect, StandardDialect, json_answer
from dcmweb.archive.google_resources import GoogleResources
from dcmweb.archive.json_patch import LONGEST_PATCH, parse_patch
from dcmweb.archive.negotiation import JSON_TYPES, accepted, not_acceptable
from dcmweb.archive.operations import Operations
from dcmweb.archive.pages.site import PageDialect, Pages, is_page
from dcmweb.archive.query import ParsedQuery
from dcmweb.archive.responses import as_xml_parts, json_response
from dcmweb.archive.retrieve import Retrieve, parse_frames
from dcmweb.archive.routes import (
    STANDARD_PATH,
    base_url,
    dataset_name,
    is_google_path,
    location_name,
    match,
    root_url,
    store_name,
)
from dcmweb.archive.search import IndexSearch
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.store import Store
from dcmweb.archive.update import patch_instances
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import BrokenDicom, LocalError, NotDicom
from dcmweb.http import media_types
from dcmweb.http.part_stream import PIECE

_LONGEST_UNREAD = 256 * 1024 * 1024  # bytes of a rejected body that are read and dropped


@dataclass(frozen=True)
class Call:
    """A request, and the parameters of its URL."""

    request: Request
    dialect: Dialect
    base_url: str
    args: Mapping[str, str]

    @property
    def resource(self) -> Resource:
        """The study, series or instance that the URL names."""
        study, series, instance = (self.args.get(n, "") for n in ("study", "series", "instance"))
        return Resource(study, series, instance)


class Archive:
    """The application on a storage."""

    def __init__(
        self,
        storage: Storage,
        access: Access | None = None,
        *,
        notify: Callable[[str], None] = lambda _line: None,
        is_strict: bool = False,
        logs_requests: bool = False,
        pages_can_delete: bool = False,
    ) -> None:
        self._storage = storage
        self._pages = Pages(storage, can_delete=pages_can_delete)
        self._page_dialect = PageDialect()
        self._access = access or Access()
        self._notify = notify
        self._logs_requests = logs_requests
        self._operations = Operations()
        self._resources = GoogleResources()
        self._standard = StandardDialect()
        self._google = GoogleDialect(self._operations, is_strict=is_strict)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, as PEP 3333 says."""
        request = Request({**environ, "QUERY_STRING": _ascii_query(environ)})
        started = time.monotonic()
        response = self._answer(request)
        if self._logs_requests:
            self._notify(_log_line(request, response.status_code, time.monotonic() - started))
        if not is_page(request):  # a page is for its own origin only
            self._access.add_cors_headers(request, response)
        response.headers["X-Content-Type-Options"] = "nosniff"  # stored documents may be HTML
        if response.status_code in (204, 304):
            response.headers.pop("Content-Type", None)  # of what is not there
        return response(environ, start_response)

    def _answer(self, request: Request) -> Response:
        dialect = self._dialect_of(request)
        try:
            if not _has_length(request):
                raise BadRequest("the Content-Length is not a valid length")
            self._access.check(request)
            if request.method == "OPTIONS":
                return Response(status=204)
            endpoint, args = match(request)
            dialect.check(endpoint, request, args)
            call = Call(request, dialect, base_url(request, args), args)
            answer: Callable[[Call], Response] = getattr(self, f"_{endpoint}")
            return self._with_first_piece(answer(call))
        except HTTPException as error:
            failure = error
        except Exception as error:
            failure = self._translated(error, request)
        response = dialect.error(failure, request)
        if not (_has_length(request) and _read_rest(request)):
            response.headers["Connection"] = "close"
        return response

    def _dialect_of(self, request: Request) -> Dialect:
        if is_page(request):
            return self._page_dialect
        return self._google if is_google_path(request) else self._standard

    def _translated(self, error: Exception, request: Request) -> HTTPException:
        """Make an HTTP error, which never contains a path of this machine."""
        if isinstance(error, (NotDicom, BrokenDicom)):
            return NotAcceptable(f"the instance cannot be read: {error.message}")
        if isinstance(error, FileNotFoundError):
            return NotFound("the instance has been deleted meanwhile")
        if isinstance(error, (LocalError, OSError, sqlite3.OperationalError)):
            self._notify(f"{request.method} failed: {error}")
            return ServiceUnavailable(f"the archive cannot use its folder: {_reason(error)}")
        traceback.print_exc(file=sys.stderr)
        return InternalServerError("a defect of the archive")

    def _with_first_piece(self, response: Response) -> Response:
        """Make the first piece of a body while an error can still be answered with a status."""
        pieces = iter(response.response)
        if close := getattr(pieces, "close", None):
            response.call_on_close(close)  # also where none are sent, as after HEAD
        first = next(pieces, b"")
        response.response = self._report_errors(chain([first], pieces))
        return response

    def _report_errors(self, pieces: Iterable[Any]) -> Iterator[Any]:
        """Report the error that ends a body early; the client sees that the body is incomplete."""
        try:
            yield from pieces
        except (HTTPException, LocalError) as error:
            self._notify(f"An answer broke off: {error}")
            raise
        except Exception:
            traceback.print_exc(file=sys.stderr)
            raise

    def _page(self, call: Call) -> Response:
        return self._pages.answer(call.request, call.resource, call.args)

    def _home(self, call: Call) -> Response:
        if is_page(call.request):
            return self._page(call)
        text = f"A dcmweb archive. Its base URL is {root_url(call.request)}{STANDARD_PATH}\n"
        response = Response(text, content_type="text/plain")
        response.headers["Vary"] = "Accept"
        return response

    def _store(self, call: Call, *, replaces: bool = False) -> Response:
        call.dialect.check_store(call.request)
        policy = call.dialect.store_policy(replaces=replaces)
        results = Store(self._storage, call.resource.study, policy).run(call.request)
        return call.dialect.stored(call.request, results, call.base_url)

    def _update(self, call: Call) -> Response:
        return self._store(call, replaces=True)

    def _patch(self, call: Call) -> Response:
        operations = parse_patch(call.request.stream.read(LONGEST_PATCH + 1))
        count = patch_instances(self._storage, call.resource, operations)
        if call.resource.level is Level.INSTANCES:
            return json_answer({})
        method = "UpdateSeriesMetadata" if call.resource.series else "UpdateStudyMetadata"
        return json_answer({"name": self._operations.add(dataset_name(call.args), method, count)})

    def _dataset_collection(self, call: Call) -> Response:
        parent = location_name(call.args)
        if call.request.method == "GET":
            return json_answer(self._resources.list(parent, "datasets"))
        created = self._resources.create(parent, "datasets", call.request)
        operation = self._operations.add(created["name"], "CreateDataset", 1, created)
        return json_answer({"name": operation})

    def _store_collection(self, call: Call) -> Response:
        parent = dataset_name(call.args)
        if call.request.method == "GET":
            return json_answer(self._resources.list(parent, "dicomStores"))
        return json_answer(self._resources.create(parent, "dicomStores", call.request))

    def _dataset_resource(self, call: Call) -> Response:
        return self._resource(call, dataset_name(call.args))

    def _store_resource(self, call: Call) -> Response:
        return self._resource(call, store_name(call.args))

    def _resource(self, call: Call, name: str) -> Response:
        if call.request.method == "GET":
            return json_answer(self._resources.get(name))
        if call.request.method == "PATCH":
            return json_answer(self._resources.update(name, call.request))
        return json_answer(self._resources.delete(name))

    def _search(self, call: Call) -> Response:
        arguments = call.request.args.items(multi=True)
        rules = call.dialect.query_rules
        query = ParsedQuery.parse(call.resource, Level(call.args["level"]), arguments, rules)
        search = IndexSearch(self._storage, query, call.dialect.most(query), call.dialect.row_rules)
        entries = search.entries()
        if not entries:
            return call.dialect.nothing_found()
        response = self._found(call, search.rows(entries, call.base_url))
        if search.remaining:
            call.dialect.remaining(response, call.base_url, search.remaining)
        return response

    def _found(self, call: Call, rows: Iterable[dict[str, Any]]) -> Response:
        for wanted in accepted(call.request):
            if wanted.is_single and any(map(wanted.covers, JSON_TYPES)):
                return json_response(rows)
            if wanted.is_multipart and wanted.covers(media_types.DICOM_XML):
                return as_xml_parts(rows)
        raise not_acceptable([media_types.DICOM_JSON, media_types.multipart(media_types.DICOM_XML)])

    def _retrieve(self, call: Call) -> Response:
        return self._of(call).instances()

    def _metadata(self, call: Call) -> Response:
        return self._of(call).metadata()

    def _frames(self, call: Call) -> Response:
        return self._of(call).frames(parse_frames(call.args["frames"]))

    def _rendered(self, call: Call) -> Response:
        return self._of(call).rendered(_frames_of(call))

    def _thumbnail(self, call: Call) -> Response:
        return self._of(call).thumbnail(_frames_of(call))

    def _bulkdata(self, call: Call) -> Response:
        return self._of(call).bulkdata(call.args["element"])

    def _of(self, call: Call) -> Retrieve:
        return Retrieve(
            self._storage,
            call.request,
            call.resource,
            call.base_url,
            call.dialect.row_rules.file_meta,
            call.dialect.rendered_types,
        )

    def _delete(self, call: Call) -> Response:
        count = self._storage.delete(call.resource)
        if not count:
            raise NotFound(f"there is no {call.resource}")
        return call.dialect.deleted(call.resource, count, dataset_name(call.args))

    def _operation(self, call: Call) -> Response:
        report = self._operations.report(
            f"{dataset_name(call.args)}/operations/{call.args['operation']}"
        )
        if report is None:
            raise NotFound("there is no such operation; those of an earlier run are not known")
        return json_answer(report)


def _reason(error: Exception) -> str:
    """Return what the system says of an error, without the path that it is about."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return (cause.strerror if isinstance(cause, OSError) else None) or "its log has the reason"


def _log_line(request: Request, status: int, seconds: float) -> str:
    """Describe an answered request, without the values of its query: they may be of patients."""
    names = ",".join(dict.fromkeys(request.args.keys()))
    query = f"?{names}" if names else ""
    return f"{request.method} {request.path}{query} {status} {seconds * 1000:.0f} ms"


def _ascii_query(environ: Mapping[str, Any]) -> str:
    """Return the query in percent-encoding: werkzeug 3.1 fails on bytes that are not UTF-8."""
    query = environ.get("QUERY_STRING", "")
    return re.sub("[^!-~]", lambda match: f"%{ord(match[0]):02X}", query)


def _has_length(request: Request) -> bool:
    length = request.headers.get("Content-Length", "0")
    return length.isascii() and length.isdigit()


def _read_rest(request: Request) -> bool:
    """Read the rest of a body, so that the client sees the answer; False if it is too long."""
    stream = request.environ["wsgi.input"]
    try:
        for _ in range(_LONGEST_UNREAD // PIECE):
            if not stream.read(PIECE):
                return not getattr(stream, "remaining", 0)
    except (ValueError, OSError):
        pass
    return False


def _frames_of(call: Call) -> list[int]:
    return parse_frames(call.args["frames"]) if "frames" in call.args else []
