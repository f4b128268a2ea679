"""Archives as handlers of an origin server: the embedded one, and one to go wrong with."""

from __future__ import annotations

import io
import json
import re
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import pydicom
from werkzeug.test import create_environ, run_wsgi_app

from dcmweb.archive.app import Archive as App
from dcmweb.archive.storage.folder import Storage
from dcmweb.dicom.resources import Resource
from dcmweb.http import media_types
from dcmweb.http.multipart import read_parts
from tests.functional.origin import Answer, Request

BOUNDARY = "a1b2c3"
UIDS = ("0020000D", "0020000E", "00080018")
LEVELS = ("studies", "series", "instances")


def multipart_body(
    parts: Iterable[bytes], media_type: str = "application/dicom", boundary: str = BOUNDARY
) -> bytes:
    head = f"--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def multipart_answer(
    parts: Iterable[bytes], media_type: str = "application/dicom", **how: Any
) -> Answer:
    header = f'multipart/related; type="{media_type}"; boundary={BOUNDARY}'
    return Answer(200, multipart_body(parts, media_type), {"Content-Type": header}, **how)


def json_answer(content: Any, status: int = 200, **headers: str) -> Answer:
    headers = {"Content-Type": "application/dicom+json", **headers}
    return Answer(status, json.dumps(content).encode(), headers)


def sent_parts(request: Request) -> list[bytes]:
    """Split the body of a store request."""
    content_type = media_types.parse(request.headers["content-type"])
    if not content_type.is_multipart:
        return [request.body]
    stream = io.BytesIO(request.body)
    parts = read_parts(stream.read, content_type.parameters["boundary"])
    return [b"".join(part.body) for part in parts]


def store_response(
    stored: Iterable[tuple[str, str]] = (), failed: Iterable[tuple[str, str, int]] = ()
) -> dict[str, Any]:
    """Make a store response module of (class, instance) and (class, instance, reason)."""

    def item(sop_class: str, instance: str) -> dict[str, Any]:
        return {
            "00081150": {"vr": "UI", "Value": [sop_class]},
            "00081155": {"vr": "UI", "Value": [instance]},
        }

    module: dict[str, Any] = {}
    if good := [item(*one) for one in stored]:
        module["00081199"] = {"vr": "SQ", "Value": good}
    if bad := [
        {**item(sop_class, uid), "00081197": {"vr": "US", "Value": [reason]}}
        for sop_class, uid, reason in failed
    ]:
        module["00081198"] = {"vr": "SQ", "Value": bad}
    return module


class Archive:
    """The embedded archive, as the handler of an origin server; `page` caps its answers."""

    def __init__(self, *files: bytes, page: int = 10_000) -> None:
        folder = tempfile.TemporaryDirectory()
        self._storage = Storage(folder.name)
        weakref.finalize(self, _close, self._storage, folder)
        self._app = App(self._storage)
        self.page = page
        for data in files:
            self.add(data)

    @property
    def files(self) -> dict[tuple[str, str, str], bytes]:
        """What it holds, by study, series and instance."""
        found: dict[tuple[str, str, str], bytes] = {}
        for entry in self._storage.index.entries(Resource()):
            one = entry.resource
            path = Path(self._storage.path(entry))
            found[one.study, one.series, one.instance] = path.read_bytes()
        return found

    def add(self, data: bytes) -> tuple[str, str]:
        partial = self._storage.new_file()
        partial.write(data)
        received = self._storage.look_at(partial)
        self._storage.keep([received])
        identity = received.header.identity
        return identity.sop_class, identity.resource.instance

    def tree(self, path: str = "") -> dict[str, bytes]:
        """What retrieving a path is to leave on disk."""
        files = self.files
        return {"/".join(key) + ".dcm": files[key] for key in self.matching(path)}

    def matching(self, path: str) -> list[tuple[str, str, str]]:
        wanted = [unquote(uid) for uid in re.findall(r"(?:studies|series|instances)/([^/]+)", path)]
        return [key for key in self.files if list(key[: len(wanted)]) == wanted]

    def __call__(self, request: Request) -> Answer:
        environ = create_environ(
            request.path,
            query_string=self._capped(request),
            method=request.method,
            headers=request.headers,
            input_stream=io.BytesIO(request.body),
        )
        body, status, headers = run_wsgi_app(self._app, environ)
        kept = {name: value for name, value in headers.items() if name != "Content-Length"}
        return Answer(int(status.split()[0]), b"".join(body), kept)

    store = __call__

    def _capped(self, request: Request) -> str:
        """The query, asking for no more than a page."""
        if request.method != "GET" or request.path.rpartition("/")[2] not in LEVELS:
            return request.query
        given = parse_qs(request.query)
        limit = min(int(given.get("limit", ["10000"])[0]), self.page)
        others = [part for part in request.query.split("&") if not part.startswith("limit=")]
        return "&".join([*filter(None, others), f"limit={limit}"])


def _close(storage: Storage, folder: tempfile.TemporaryDirectory[str]) -> None:
    storage.close()
    folder.cleanup()


class Scripted:
    """Does as PS3.18 says, in plain methods for tests to replace by ways to go wrong."""

    def __init__(self, *files: bytes, page: int = 10_000) -> None:
        self.page = page
        self.files: dict[tuple[str, str, str], bytes] = {}
        for data in files:
            self.add(data)

    def add(self, data: bytes) -> tuple[str, str]:
        found = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        key = (found.StudyInstanceUID, found.SeriesInstanceUID, found.SOPInstanceUID)
        self.files[str(key[0]), str(key[1]), str(key[2])] = data
        return str(found.SOPClassUID), str(found.SOPInstanceUID)

    def tree(self, path: str = "") -> dict[str, bytes]:
        """What retrieving a path is to leave on disk."""
        return {"/".join(key) + ".dcm": self.files[key] for key in self.matching(path)}

    def __call__(self, request: Request) -> Answer:
        path = request.path.removeprefix("/dicomweb/").strip("/")
        if request.method == "POST":
            return self.store(request)
        if request.method == "DELETE":
            return self.delete(path)
        if path.rpartition("/")[2] in LEVELS:
            return self.search(path, request.query)
        return self.retrieve(path)

    def store(self, request: Request) -> Answer:
        return json_answer(store_response([self.add(part) for part in sent_parts(request)]))

    def matching(self, path: str) -> list[tuple[str, str, str]]:
        wanted = [unquote(uid) for uid in re.findall(r"(?:studies|series|instances)/([^/]+)", path)]
        return [key for key in self.files if list(key[: len(wanted)]) == wanted]

    def rows(self, path: str, query: str) -> list[dict[str, Any]]:
        parent, _, level = f"/{path}".rpartition("/")
        depth = LEVELS.index(level) + 1
        given = parse_qs(query)
        filters = {
            "0020000D": given.get("StudyInstanceUID"),
            "0020000E": given.get("SeriesInstanceUID"),
            "00080018": given.get("SOPInstanceUID"),
        }
        keys = dict.fromkeys(key[:depth] for key in self.matching(parent))
        rows = [
            {tag: {"vr": "UI", "Value": [uid]} for tag, uid in zip(UIDS, key, strict=False)}
            for key in keys
        ]
        return [
            row
            for row in rows
            if all(
                not uids or row[tag]["Value"][0] in uids
                for tag, uids in filters.items()
                if tag in row
            )
        ]

    def search(self, path: str, query: str) -> Answer:
        given = parse_qs(query)
        limit, offset = int(given.get("limit", ["10000"])[0]), int(given.get("offset", ["0"])[0])
        rows = self.rows(path, query)[offset : offset + min(limit, self.page)]
        return json_answer(rows) if rows else Answer(204)

    def retrieve(self, path: str) -> Answer:
        found = [self.files[key] for key in self.matching(path)]
        return multipart_answer(found) if found else Answer(404)

    def delete(self, path: str) -> Answer:
        found = self.matching(path)
        for key in found:
            del self.files[key]
        return Answer(204) if found else Answer(404)
