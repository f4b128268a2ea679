"""The pages of the archive: which one a URL means, and what is on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.exceptions import BadRequest, HTTPException, NotAcceptable, NotFound
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from dcmweb.archive.dialects import StandardDialect, with_headers_of
from dcmweb.archive.negotiation import accepted
from dcmweb.archive.pages.deletion import DeletionForm
from dcmweb.archive.pages.downloads import zip_file
from dcmweb.archive.pages.html import command_line, note_picture, page, revalidated, safe, static
from dcmweb.archive.pages.metadata import Row, metadata_rows
from dcmweb.archive.pages.paging import whole
from dcmweb.archive.pages.series import Stack, first_of, instances_of, series_of
from dcmweb.archive.pages.studies import Modalities, StudySearch
from dcmweb.archive.representations.rendering import (
    Rendering,
    Viewport,
    Window,
    parse_window,
    render,
    shown_window,
)
from dcmweb.archive.routes import PAGES_PATH, STANDARD_PATH, root_url
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.storage.index import Entry
from dcmweb.dicom.dictionary import uid_name
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import BrokenDicom

_SIDES = (240, 480)  # pixels of thumbnails
_PRESETS = {  # of computed tomography, in Hounsfield units: center and width
    "CT": {
        "Soft tissue": (40, 400),
        "Lung": (-600, 1500),
        "Bone": (400, 1800),
        "Brain": (40, 80),
    }
}


def is_page(request: Request) -> bool:
    """Return True for a request for a page, or a part of one; `/` is one for browsers only."""
    if request.path == "/":
        return any(wanted.name == "text/html" for wanted in accepted(request))
    return request.path.startswith(f"{PAGES_PATH}/")


class PageDialect(StandardDialect):
    """Answers to people."""

    def error(self, error: HTTPException, request: Request) -> Response:
        """Answer with a page that says what is wrong."""
        text = error.description or error.name
        response = page("error.html", error.code or 500, reason=text, name=error.name)
        return with_headers_of(error, response)


class Pages:
    """Answers requests for pages of a storage."""

    def __init__(self, storage: Storage, *, can_delete: bool) -> None:
        self._storage = storage
        self._deletion = DeletionForm(is_allowed=can_delete)
        self._modalities = Modalities(storage)

    def answer(self, request: Request, resource: Resource, args: Mapping[str, str]) -> Response:
        """Answer a request, by the name of the page."""
        match args.get("page", "studies"):
            case "studies":
                answer = self._studies(request)
            case "static":
                answer = static(args["name"], request)
            case "picture":
                answer = self._picture(request, resource, args["number"])
            case "at":
                found, _ = Stack(self._storage, resource).at(whole(args, "number"))
                answer = safe(redirect(_url(found.resource)))
            case "zip":
                answer = self._zip(resource)
            case "delete":
                answer = self._delete(request, resource)
            case _:
                answer = self._resource(request, resource)
        return answer

    def _resource(self, request: Request, resource: Resource) -> Response:
        by_level = {Level.STUDIES: self._study, Level.SERIES: self._series}
        return by_level.get(resource.level, self._instance)(request, resource)

    def _studies(self, request: Request) -> Response:
        search = StudySearch.parse(request.args)
        found = search.find(self._storage, whole(request.args, "page"))
        keys = search.keys(self._storage)
        return page(
            "studies.html",
            search=search,
            found=found,
            url=_url,
            modalities=self._modalities.list(),
            is_searched=bool(search.parameters),
            is_same=keys is not None,
            command=_command(
                request, "search", "studies", *(keys or ()), "--all", "--format", "table"
            ),
            base_url=_base_url(request),
        )

    def _study(self, request: Request, study: Resource) -> Response:
        return page(
            "study.html",
            found=series_of(self._storage, study, whole(request.args, "page")),
            url=_url,
            **self._common(request, study),
        )

    def _common(self, request: Request, resource: Resource) -> dict[str, Any]:
        """Return what all pages of a study show, or of what is below it."""
        return {
            "first": first_of(self._storage, resource),
            "resource": resource,
            "here": _url(resource),
            "above": [(one.level.value, _url(one)) for one in resource.above],
            "dicomweb": f"{STANDARD_PATH}/{resource}",
            "can_delete": self._deletion.is_allowed,
            "command": _command(request, "retrieve", str(resource), "--output", "./data"),
        }

    def _series(self, request: Request, series: Resource) -> Response:
        number = whole(request.args, "page")
        return page(
            "series.html",
            found=instances_of(self._storage, series, number),
            url=_url,
            class_name=uid_name,
            viewer=self._viewer(request, series),
            **self._common(request, series),
        )

    def _instance(self, request: Request, instance: Resource) -> Response:
        common = self._common(request, instance)
        entry: Entry = common["first"]
        rows: list[Row] = []
        has_more, problem = False, ""
        try:
            rows, has_more = metadata_rows(self._storage, entry)
        except (BrokenDicom, FileNotFoundError) as error:
            problem = _why(error)
        common["command"] = [
            common["command"],
            _command(request, "retrieve", f"{instance}/metadata"),
        ]
        return page(
            "instance.html",
            entry=entry,
            rows=rows,
            has_more=has_more,
            problem=problem,
            class_name=uid_name,
            viewer=self._viewer(request, instance),
            **common,
        )

    def _viewer(self, request: Request, resource: Resource) -> dict[str, Any] | None:
        """Return what the viewer shows first; None if there are no pictures."""
        stack = Stack(self._storage, resource)
        if not len(stack):
            return None
        number = min(whole(request.args, "image", stack.middle), len(stack))
        problem, shown, modality = "", None, ""
        try:
            entry, frame = stack.at(number)
            modality = entry.values.get("Modality", "")
            shown = shown_window(self._storage.path(entry), frame)
        except (NotFound, NotAcceptable, BrokenDicom, FileNotFoundError) as error:
            problem = _why(error)
        chosen = _window(request.args) if shown else None
        return {
            "number": number,
            "count": len(stack),
            "default": shown,
            "chosen": chosen,
            "window": chosen or shown,
            "presets": _PRESETS.get(modality, {}),
            "problem": problem,
        }

    def _picture(self, request: Request, resource: Resource, given: str) -> Response:
        stack = Stack(self._storage, resource)
        number = stack.middle if given == "middle" else whole({"picture": given}, "picture")
        entry, frame = stack.at(number)
        side, window = whole(request.args, "side", 0), _window(request.args)
        if side and side not in _SIDES:
            raise BadRequest(f"the side is one of {', '.join(map(str, _SIDES))}")
        viewport = Viewport(side, side) if side else None
        tag = f"{entry.id}-{entry.mtime_ns}-{entry.size}-{frame}-{side}-{window}"
        if request.if_none_match.contains(tag := tag.replace('"', "")):
            return revalidated(safe(Response()), tag, request)
        try:
            content = render(
                self._storage.path(entry), frame, "image/jpeg", Rendering(viewport, window)
            )
        except (NotFound, NotAcceptable, BrokenDicom, FileNotFoundError) as error:
            return note_picture(_why(error))
        response = safe(Response(content, content_type="image/jpeg"))
        return revalidated(response, tag, request)

    def _zip(self, resource: Resource) -> Response:
        first_of(self._storage, resource)
        entries = self._storage.present(self._storage.index.entries(resource))
        return zip_file(self._storage, resource, entries)

    def _delete(self, request: Request, resource: Resource) -> Response:
        self._deletion.check_allowed()
        if request.method != "POST":
            counted = list(self._storage.index.entries(resource))
            response = page(
                "delete.html",
                **self._common(request, resource),
                instances=len(counted),
                own=sum(entry.own for entry in counted),
                token=self._deletion.token,
            )
            # Otherwise browsers send `Origin: null` with the form.
            response.headers["Referrer-Policy"] = "same-origin"
            return response
        self._deletion.check(request)
        if not self._storage.delete(resource):
            raise NotFound(f"there is no {resource}")
        return safe(redirect(self._nearest(resource), 303))

    def _nearest(self, resource: Resource) -> str:
        """Return the page of what is left above a resource that was deleted."""
        for above in reversed(resource.above):
            if next(self._storage.index.entries(above), None):
                return _url(above)
        return "/"


def _why(error: Exception) -> str:
    """Return why something cannot be shown."""
    if isinstance(error, FileNotFoundError):  # whose text has a path of this machine
        return "its file is not in the folder any more"
    return str(getattr(error, "message", "") or getattr(error, "description", error))


def _url(resource: Resource) -> str:
    return f"{PAGES_PATH}/{resource}"


def _base_url(request: Request) -> str:
    return root_url(request) + STANDARD_PATH


def _command(request: Request, *arguments: str) -> str:
    given = request.authorization
    user = given.username if given and given.type == "basic" else ""
    return command_line([_base_url(request), *arguments], user or "")


def _window(args: Mapping[str, str]) -> Window | None:
    """Read the window of the form; None for that of the file."""
    if not (args.get("center") and args.get("width")):
        return None
    return parse_window(f"{args['center']},{args['width']},linear")
