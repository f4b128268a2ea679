"""A description of the archive in OpenAPI, made of the archive's own routes, parameters and types.

What a route takes and answers is in `_ENDPOINTS`; a route without an entry there is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.routing import Rule

from dcmweb.archive import query
from dcmweb.archive.dialects import STORAGE_CLASSES
from dcmweb.archive.negotiation import JSON_TYPES
from dcmweb.archive.representations.rendering import RENDERED
from dcmweb.archive.routes import GOOGLE_VERSIONS, PAGES_PATH, STANDARD_PATH, URLS
from dcmweb.archive.storage.attributes import INDEXED
from dcmweb.http.media_types import DICOM, DICOM_JSON, DICOM_XML, MULTIPART_RELATED

Schema = dict[str, Any]
_PARAMETER = re.compile(r"<(?:(\w+)(?:\((.*?)\))?:)?(\w+)>")
_JSON, _TEXT, _HTML = "application/json", "text/plain", "text/html"
_REFUSED = (400, 404, 406, 413)
_TEXTS: Schema = {"type": "string", "maxLength": 60}


@dataclass(frozen=True)
class Known:
    """What is in the archive: values of parameters that lead somewhere."""

    study: str
    series: str
    instance: str

    def values(self, name: str) -> list[str]:
        return {
            "study": [self.study],
            "series": [self.series],
            "instance": [self.instance],
            "frames": ["1", "2", "1,1", "0"],
            "element": ["7FE00010", "00400275/0/00400007", "00100010"],
            "number": ["1", "middle", "2"],
            "project": ["p"],
            "location": ["l"],
            "dataset": ["d"],
            "store": ["s"],
            "operation": ["1"],
            "name": ["page.css", "viewer.js"],
        }[name]


@dataclass(frozen=True)
class Endpoint:
    """What an endpoint takes and answers, beside errors."""

    statuses: Sequence[int] = (200,)
    types: Sequence[str] = (_JSON,)
    parameters: Sequence[str] = ()
    body: str = ""


_SEARCH = (*query._NOT_KEYS, *list(INDEXED)[:12], "00081030", "0040A730.00080100", "alt")
_RENDERING = ("accept", "viewport", "window", "quality", "annotation", "iccprofile")
_ACCEPT = ("accept",)
_PAGE = ("page", "image", "center", "width", "side")
_MULTIPART = (MULTIPART_RELATED,)
_FRAME_TYPES = (*_MULTIPART, "application/octet-stream", "image/*", "video/*")

_ENDPOINTS = {
    "home": Endpoint(types=(_TEXT, _HTML)),
    "store": Endpoint((200, 202, 409, 415), (*JSON_TYPES, DICOM_XML), body=MULTIPART_RELATED),
    "update": Endpoint((200, 202, 409, 415), (*JSON_TYPES, DICOM_XML), body=MULTIPART_RELATED),
    "search": Endpoint((200, 204), (*JSON_TYPES, *_MULTIPART), _SEARCH),
    "retrieve": Endpoint(types=(DICOM, *_MULTIPART), parameters=_ACCEPT),
    "metadata": Endpoint(types=(*JSON_TYPES, *_MULTIPART), parameters=_ACCEPT),
    "frames": Endpoint(types=_FRAME_TYPES, parameters=_ACCEPT),
    "bulkdata": Endpoint((200, 206, 416), (*_FRAME_TYPES, "application/*"), _ACCEPT),
    "rendered": Endpoint(types=(*RENDERED, *_MULTIPART), parameters=_RENDERING),
    "thumbnail": Endpoint(types=RENDERED, parameters=_RENDERING),
    "delete": Endpoint((200, 204)),
    "patch": Endpoint(body="application/json-patch+json"),
    "operation": Endpoint(),
    "dataset_collection": Endpoint((200, 409), parameters=("datasetId",), body=_JSON),
    "store_collection": Endpoint((200, 409), parameters=("dicomStoreId",), body=_JSON),
    "dataset_resource": Endpoint(parameters=("updateMask",), body=_JSON),
    "store_resource": Endpoint(parameters=("updateMask",), body=_JSON),
    "page": Endpoint(
        (200, 302, 303, 304, 403),
        (_HTML, "text/css", "text/javascript", "application/zip", "image/*"),
        _PAGE,
    ),
}
_EXAMPLES = {
    "limit": ["0", "1", "10001", "1e3"],
    "offset": ["0", "1", "1000001"],
    "includefield": ["all", "PatientName", "00081030,00100010", "nothing"],
    "fuzzymatching": ["true", "false"],
    "emptyvaluematching": ["true"],
    "multiplevaluematching": ["true"],
    "StudyDate": ["20200101-20210101", "-20200101", "2020*"],
    "accept": [DICOM_JSON, DICOM_XML, "image/png", "*/*", "text/html"],
    "viewport": ["10,10", "1,1,0,0,-1,1", "0,0", "99999,1"],
    "window": ["40,400,linear", "1,0,linear", "nan,1,sigmoid"],
    "quality": ["1", "100", "0"],
    "datasetId": ["d"],
    "dicomStoreId": ["s"],
    "updateMask": ["labels", "name"],
    "page": ["1", "2", "0"],
    "side": ["240", "1"],
    "center": ["40"],
    "width": ["400", "0", "inf"],
}
_ACCEPTS = [
    "*/*",
    DICOM_JSON,
    DICOM,
    f'{MULTIPART_RELATED}; type="{DICOM}"; transfer-syntax=*',
    f'{MULTIPART_RELATED}; type="{DICOM_XML}"',
    f'{MULTIPART_RELATED}; type="application/octet-stream"',
    "image/png;q=0.5, image/jpeg;q=0.4",
    "text/html",
]
_BODIES: dict[str, Schema] = {
    # The parts of a body; `serialized` makes bytes of them.
    MULTIPART_RELATED: {
        "type": "array",
        "maxItems": 3,
        "items": {
            "type": "object",
            "properties": {
                "type": {"anyOf": [{"enum": [DICOM, DICOM_JSON, DICOM_XML, ""]}, _TEXTS]},
                "content": {"anyOf": [{"enum": ["instance", "half", "metadata"]}, _TEXTS]},
            },
            "required": ["type", "content"],
        },
    },
    "application/json-patch+json": {
        "type": "array",
        "maxItems": 3,
        "items": {
            "type": "object",
            "properties": {
                "op": {"enum": ["add", "remove", "replace", "test", "move"]},
                "path": {
                    "anyOf": [{"enum": ["/00100010", "/00100010/Value/0/Alphabetic", ""]}, _TEXTS]
                },
                "value": {},
            },
            "required": ["op", "path"],
        },
    },
    _JSON: {
        "type": "object",
        "properties": {"labels": {"type": "object"}, "name": {"type": "string"}},
    },
}


def describe(known: Known) -> Schema:
    """Describe all routes of the archive."""
    paths: Schema = {}
    for rule in URLS.iter_rules():
        path, parameters = _path(rule, known)
        operations = paths.setdefault(path, {"parameters": parameters})
        for method in sorted(rule.methods or ()):
            operations[method.lower()] = _operation(rule, method)
    return {
        "openapi": "3.0.3",
        "info": {"title": "the embedded archive", "version": "1"},
        "paths": paths,
    }


def _path(rule: Rule, known: Known) -> tuple[str, list[Schema]]:
    parameters = []
    for kind, given, name in _PARAMETER.findall(rule.rule):
        if kind == "any":
            schema: Schema = {"enum": [word.strip() for word in given.split(",")]}
        else:
            others = {"type": "string", "minLength": 1, "maxLength": 70, "pattern": "^[^/]+$"}
            schema = {"anyOf": [{"type": "string", "enum": known.values(name)}, others]}
        parameters.append({"in": "path", "name": name, "required": True, "schema": schema})
    return _PARAMETER.sub(r"{\3}", rule.rule), parameters


def _operation(rule: Rule, method: str) -> Schema:
    endpoint = _ENDPOINTS[rule.endpoint]
    has_body = bool(endpoint.body) and method in ("POST", "PUT", "PATCH")
    is_google = rule.rule.startswith(f"/<any({GOOGLE_VERSIONS[0]}")
    parameters = [_in("query", n, _EXAMPLES.get(n, ["1"])) for n in endpoint.parameters]
    parameters.append(_in("header", "Accept", _ACCEPTS))
    if rule.endpoint == "bulkdata":
        parameters.append(_in("header", "Range", ["bytes=0-1", "bytes=-1", "bytes=99999999-"]))
    if rule.endpoint == "store" and is_google:
        parameters.append(_in("header", "Storage-Class", STORAGE_CLASSES))
    operation: Schema = {
        "operationId": f"{method} {rule.rule}",
        "parameters": parameters,
        "responses": {
            **{str(status): _answer(_types(endpoint, status)) for status in endpoint.statuses},
            **{str(status): _answer(list(_error_types(rule))) for status in _errors(endpoint)},
        },
    }
    if has_body:
        operation["requestBody"] = {"content": {endpoint.body: {"schema": _BODIES[endpoint.body]}}}
    return operation


def _types(endpoint: Endpoint, status: int) -> Sequence[str]:
    return () if status in (204, 304) else endpoint.types


def _errors(endpoint: Endpoint) -> Iterator[int]:
    yield from (status for status in _REFUSED if status not in endpoint.statuses)


def _error_types(rule: Rule) -> Iterable[str]:
    if rule.rule.startswith(STANDARD_PATH):
        return (_TEXT,)
    return (_HTML,) if rule.rule.startswith(PAGES_PATH) else (_JSON, _HTML, _TEXT)


def _answer(types: Iterable[str]) -> Schema:
    fields = {"X-Content-Type-Options": {"required": True, "schema": {"enum": ["nosniff"]}}}
    content: Schema = {name: {} for name in types}
    return {"description": "", "headers": fields, **({"content": content} if content else {})}


def _in(place: str, name: str, examples: Sequence[str]) -> Schema:
    schema = {"anyOf": [{"type": "string", "enum": list(examples)}, _TEXTS]}
    return {"in": place, "name": name, "required": False, "schema": schema}
