"""Which services a server offers, and in which forms (PS3.18 chapters 8 to 10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from dcmweb.counted import size
from dcmweb.dicom import json_model
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Resource
from dcmweb.dicom.tags import (
    NUMBER_OF_STUDY_RELATED_INSTANCES,
    ROWS,
    SERIES_INSTANCE_UID,
    SOP_INSTANCE_UID,
    STUDY_INSTANCE_UID,
)
from dcmweb.errors import DcmwebError
from dcmweb.http.media_types import (
    BYTES_AS_STORED,
    DICOM_AS_STORED,
    DICOM_JSON,
    DICOM_XML,
    ZIP,
    multipart,
)
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.ping.finding import Finding, Verdict
from dcmweb.transactions.ping.requests import Tried, get, options

_LARGEST_ROW = 4 * 1024 * 1024


@dataclass(frozen=True)
class _Form:
    """One form of asking for a resource: its name, the path after the resource, and Accept."""

    name: str
    suffix: str
    accept: str


_METADATA = (
    _Form("JSON", "/metadata", DICOM_JSON),
    _Form("XML", "/metadata", multipart(DICOM_XML)),
)
_INSTANCES = (
    _Form("multipart", "", multipart(DICOM_AS_STORED)),
    _Form("single part", "", str(DICOM_AS_STORED)),
    _Form("*/*", "", "*/*"),
)
_SERIES = (_Form("multipart", "", multipart(DICOM_AS_STORED)), _Form("ZIP", "", ZIP))
_FRAMES = (
    _Form("as stored", "/frames/1", multipart(BYTES_AS_STORED)),
    _Form("*/*", "/frames/1", "*/*"),
)
_RENDERED = (
    _Form("JPEG", "/rendered", "image/jpeg"),
    _Form("PNG", "/rendered", "image/png"),
)
_THUMBNAIL = (_Form("JPEG", "/thumbnail", "image/jpeg"),)
_CAPABILITIES = "capabilities"


def look_at_services(context: RunContext, studies: Tried, *, stores: bool) -> Iterator[Finding]:
    """Yield what is found out about each service; `studies` is a search for one study.

    Whether the server `stores` is left to the write test, if there will be one.
    """
    yield _search(context, studies)
    instance = _an_instance(context, studies)
    if instance is None:
        for name in ("metadata", "instances", "series", "frames", "rendered", "thumbnail"):
            yield Finding(name, Verdict.UNTESTED, "the server lists no instance to try it with")
    else:
        yield from _of_instance(context, instance)
    if not stores:
        yield _store(context)
    yield _capabilities(context)


def _search(context: RunContext, studies: Tried) -> Finding:
    """Search at each level."""
    found = {"studies": studies}
    for level in ("series", "instances"):
        found[level] = get(context, f"{level}?limit=1", DICOM_JSON)
    good = [level for level, tried in found.items() if tried.is_good]
    others = [f"not {level} ({_reason(t)})" for level, t in found.items() if not t.is_good]
    verdict = Verdict.OK if "studies" in good else Verdict.FAILED
    details = _details(found)
    words = ", ".join([*good, *others])
    if rows_of(studies) and len(rows_of(studies)) > 1:
        return Finding("search", Verdict.WARNING, f"{words}; it ignores limit=", details)
    return Finding("search", verdict, words, details)


def rows_of(tried: Tried) -> list[Dataset]:
    """Read the rows of a search; none if it is not one."""
    if not tried.is_good or not tried.body or tried.status == 204:
        return []
    try:
        return list(json_model.parse_json(tried.body[:_LARGEST_ROW]))
    except DcmwebError:
        return []


def is_dicomweb(tried: Tried) -> bool:
    """Return True if the answer to a search for studies is one of DICOMweb, or nothing at all."""
    if not tried.is_good or tried.status == 204:
        return tried.is_good
    if "json" in tried.media_type:
        rows = rows_of(tried)
        is_empty = tried.body.strip() in (b"", b"[]")
        return is_empty or any(STUDY_INSTANCE_UID in row for row in rows)
    return "dicom+xml" in tried.media_type or tried.media_type == "multipart/related"


def _an_instance(context: RunContext, studies: Tried) -> Resource | None:
    """Find one instance; of a study that has any, as far as the server tells."""
    for row in rows_of(studies):
        if json_model.number(row, NUMBER_OF_STUDY_RELATED_INSTANCES) == 0:
            continue
        study = json_model.text(row, STUDY_INSTANCE_UID)
        series = _first(context, f"studies/{study}/series?limit=1", SERIES_INSTANCE_UID)
        if not (study and series):
            continue
        path = f"studies/{study}/series/{series}/instances?limit=1"
        if instance := _first(context, path, SOP_INSTANCE_UID):
            return Resource(study, series, instance)
    return None


def _first(context: RunContext, path: str, tag: str) -> str:
    for row in rows_of(get(context, path, DICOM_JSON)):
        if uid := json_model.text(row, tag):
            return uid
    return ""


def _of_instance(context: RunContext, instance: Resource) -> Iterator[Finding]:
    series = Resource(instance.study, instance.series)
    metadata = get(context, f"{instance}/metadata", DICOM_JSON)
    yield _forms(context, "metadata", str(instance), _METADATA)
    yield _forms(context, "instances", str(instance), _INSTANCES)
    yield _forms(context, "series", str(series), _SERIES)
    rows = rows_of(metadata)
    has_image = not rows or json_model.number(rows[0], ROWS)
    for name, forms in (("frames", _FRAMES), ("rendered", _RENDERED), ("thumbnail", _THUMBNAIL)):
        if has_image:
            yield _forms(context, name, str(instance), forms)
        else:
            words = "the instance that was tried has no image"
            yield Finding(name, Verdict.UNTESTED, words)
    yield _speed(context, instance)


def _forms(context: RunContext, name: str, path: str, forms: tuple[_Form, ...]) -> Finding:
    """Try each form in which a resource can be asked for."""
    tried = {form.name: get(context, f"{path}{form.suffix}", form.accept, held=0) for form in forms}
    good = [form for form, one in tried.items() if one.is_good]
    others = [f"not {form} ({_reason(one)})" for form, one in tried.items() if not one.is_good]
    details = _details(tried)
    if good:
        return Finding(name, Verdict.OK, ", ".join([*good, *others]), details)
    first = next(iter(tried.values()))
    if first.status in (401, 403):
        words = f"these credentials may search, but not this ({first.status})"
        return Finding(name, Verdict.WARNING, words, details)
    return Finding(name, Verdict.NO, first.why, details)


def _details(tried: Mapping[str, Tried]) -> dict[str, Any]:
    """Give the seconds of each answer, and the statuses of refusals."""
    refused = {name: one.status for name, one in tried.items() if not one.is_good}
    seconds = {name: round(one.seconds, 4) for name, one in tried.items() if one.is_good}
    return {"seconds": seconds, **({"refused": refused} if refused else {})}


def _reason(tried: Tried) -> str:
    return str(tried.status) if tried.status >= 300 else (tried.why or "no answer")


def _speed(context: RunContext, instance: Resource) -> Finding:
    """Measure how fast a stream is, of the series if the instance alone is small."""
    series = Resource(instance.study, instance.series)
    tried = get(context, str(series), multipart(DICOM_AS_STORED), held=0)
    if not tried.is_good:
        tried = get(context, str(instance), multipart(DICOM_AS_STORED), held=0)
    if not tried.is_good or not tried.size:
        return Finding("stream", Verdict.UNTESTED, "nothing could be retrieved")
    rate = tried.size / max(tried.reading, 1e-6)
    details = {
        "bytes": tried.size,
        "seconds": round(tried.reading, 4),
        "first": round(tried.seconds, 4),
    }
    words = f"{size(rate)}/s over {size(tried.size)}"
    if tried.size < 1_000_000:
        words += ": too little to tell much"
    return Finding("stream", Verdict.OK, words, {**details, "bytes_per_second": round(rate)})


def _store(context: RunContext) -> Finding:
    """Say what the server says of storing; nothing is sent."""
    allowed = _allowed(options(context, "studies"))
    if "POST" in allowed:
        return Finding("store", Verdict.UNTESTED, "the server says that it takes POST")
    return Finding("store", Verdict.UNTESTED, "--write-test tries it")


def _allowed(tried: Tried) -> list[str]:
    text = tried.headers.get("allow", "") if tried.is_good else ""
    return [method.strip().upper() for method in text.split(",")]


def _capabilities(context: RunContext) -> Finding:
    """Ask for the Capabilities Description (PS3.18 section 8.9), in its two ways."""
    base = context.settings.base_url
    asked = {
        "OPTIONS": partial(options, context, base),
        _CAPABILITIES: partial(get, context, _CAPABILITIES, "*/*"),
    }
    for name, ask in asked.items():
        tried = ask()
        kind = tried.media_type
        if tried.is_good and tried.size and "html" not in kind:
            return Finding("capabilities", Verdict.OK, f"{name}: {kind or 'no media type'}")
    return Finding("capabilities", Verdict.NO, "the server does not describe itself")
