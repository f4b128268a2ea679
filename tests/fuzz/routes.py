"""The routes of the archive as it describes them itself, with values that fit and that do not."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from urllib.parse import quote
from xml.etree import ElementTree

from PIL import Image

from dcmweb.archive.routes import URLS
from tests.fuzz import archive
from tests.fuzz.target import Target

_KNOWN = {
    "study": "1.2.3",
    "series": "1.2.3.4",
    "instance": "1.2.3.4.1",
    "frames": "1",
    "number": "1",
    "element": "7FE00010",
    "version": "v1beta1",
    "name": "page.css",
}
_CHANGED = {"study": "1.2.9", "series": "1.2.9.1", "instance": "1.2.9.1.1"}  # all others stay
_ODD = (
    "1.2.9", "0", "1,1", "2", "-1", "1,2,x", "1" * 70, "..", "%2e%2e", "%00", "%FF", "a%2Fb", " ",
    "é", "7FE00010/Value/0", "00081140/0/00081155", "9" * 400, "[", "*",
)  # fmt: skip
_PARAMETERS = {
    "limit": ("1", "0", "-1", "9" * 30, "x"),
    "offset": ("1", "0", "-1", "9" * 30, ""),
    "includefield": ("all", "00100010", "PatientName,StudyDate", "x", ""),
    "fuzzymatching": ("true", "false", "maybe"),
    "PatientName": ("Test*", "*", "?", "a^b=c", "\\"),
    "StudyDate": ("20200101-", "-", "20209999", "x"),
    "00081140.00081155": ("1.2", "*"),
    "ModalitiesInStudy": ("CT,MR", ""),
    "viewport": ("1,1", "0,0", "99999,99999", "1,2,3,4,5,6", "x", "-1,-1", "nan,nan"),
    "window": ("40,400,linear", "1,0,linear", "nan,inf,sigmoid", "x"),
    "quality": ("1", "100", "0", "x"),
    "annotation": ("patient", "x"),
    "charset": ("utf-8", "x"),
    "updateMask": ("labels", "x"),
    "datasetId": ("x", "..", ""),
    "dicomStoreId": ("x", ""),
    "page": ("1", "-1", "x"),
}
_ACCEPT = (
    "", "*/*", "application/dicom+json", "application/json", "text/html", "image/png", "image/jpeg",
    'multipart/related; type="application/dicom"; transfer-syntax=*', "image/gif",
    "application/pdf", 'multipart/related; type="application/dicom+xml"', "application/dicom",
    "application/zip", 'multipart/related; type="application/octet-stream"', "x", "*/*;q=0",
)  # fmt: skip
_METHODS = ("GET", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
_RULES = sorted({rule.rule for rule in URLS.iter_rules()})
_KINDS = ("", "application/dicom", "application/json", "application/x-www-form-urlencoded")
_PLACE = re.compile(r"<(?:[^<>:]*:)?([a-z_]+)>")
_KNOWN_STATUSES = {
    200, 202, 204, 206, 301, 302, 303, 304, 308,
    400, 403, 404, 405, 406, 409, 410, 411, 412, 413, 415, 416, 421, 501,
}  # fmt: skip


class _Choices:
    """Chooses by bytes, and then the first of everything."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)

    def one(self, values: Sequence[str]) -> str:
        return values[next(self._data, 0) % len(values)]

    def number(self, most: int) -> int:
        return next(self._data, 0) % (most + 1)


def run_routes(data: bytes) -> None:
    """Ask for a route, as described or not; what comes must be what the answer says that it is."""
    choose = _Choices(data)
    method = choose.one(_METHODS)
    known = {**_KNOWN, **_CHANGED} if method in ("DELETE", "PATCH", "PUT") else _KNOWN
    path = _PLACE.sub(lambda place: _value(choose, known, place[1]), choose.one(_RULES))
    pairs = []
    for _ in range(choose.number(3)):
        name = choose.one(tuple(_PARAMETERS))
        pairs.append(f"{name}={quote(choose.one(_PARAMETERS[name]), safe='*,^')}")
    accept, kind = choose.one(_ACCEPT), choose.one(_KINDS)
    headers = {name: value for name, value in (("ACCEPT", accept), ("CONTENT_TYPE", kind)) if value}
    target = f"{path}?{'&'.join(pairs)}"
    body = b"[]" if method in ("POST", "PUT", "PATCH") else b""
    status, fields, content = archive.ask_with_fields(method, target, body, headers)
    assert status in _KNOWN_STATUSES, (method, target, status)
    assert status != 405 or method not in fields.get("Allow", "").split(", "), (method, target)
    if method == "HEAD":
        assert not content
    elif content:
        _check_content(fields.get("Content-Type", ""), content)


def _value(choose: _Choices, known: dict[str, str], name: str) -> str:
    is_odd = choose.number(3) == 3
    return quote(choose.one(_ODD), safe="%,/[*") if is_odd else known.get(name, "p")


def _check_content(kind: str, content: bytes) -> None:
    """Check that a body is of the media type that it has."""
    name = kind.partition(";")[0].strip()
    assert name, content[:100]
    if name.endswith("json"):
        json.loads(content)
    elif name.endswith("xml"):
        ElementTree.fromstring(content)
    elif name in ("image/png", "image/jpeg", "image/gif"):
        Image.open(io.BytesIO(content)).load()
    elif name == "multipart/related":
        assert content.rstrip().endswith(b"--")
    elif name.startswith("text/"):
        content.decode()


TARGETS = {
    "archive-routes": Target(
        run_routes,
        lambda: [
            bytes([method, rule, *[0] * 12])
            for method in range(len(_METHODS))
            for rule in range(len(_RULES))
        ],
        [b"\0", b"\1", b"\3", b"\3\0", b"\3\1", b"\3\5", b"\0\0\0", b"\1\2\3"],
    )
}
