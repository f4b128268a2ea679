"""Request a resource in the forms of Accept that servers understand: one table for all resources.

PS3.18 section 8.7 lets a client list what it accepts. Servers differ in what they can read: Orthanc
1.10 takes exactly one media range, others refuse `transfer-syntax=*`, multipart, or single parts.
So the forms are tried one by one, and the one that works is remembered for the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from dcmweb.errors import DcmwebError, ProtocolError, Refused
from dcmweb.http.media_types import (
    BYTES_AS_STORED,
    DICOM,
    DICOM_JSON,
    DICOM_XML,
    OCTET_STREAM,
    ZIP,
    MediaType,
    multipart,
    parse,
)
from dcmweb.http.response import Response, is_success, not_dicomweb
from dcmweb.http.server_words import looks_like_html, server_words
from dcmweb.settings.servers import OTHER, Server
from dcmweb.transactions.context import RunContext

Forms = tuple[str, ...]
Unsuitable = Callable[[Response], ProtocolError | None]

REFUSALS = (400, 406, 415, 501)  # of a form; another one may be answered
_ACCEPTED, _MANY_CAUSES = 202, 400
_OF_FORMS = r"(?i)accept|media.?type|content.?type|mime"
_START = 16 * 1024
_SYNTAX = "transfer-syntax"
ANY = "*/*"

# JSON, which servers before the edition of 2017 have as application/json alone. Some have only XML.
JSON_FORMS: Forms = (DICOM_JSON, "application/json", multipart(DICOM_XML))
XML_FORMS: Forms = (multipart(DICOM_XML), DICOM_XML)

XML_TYPES = (DICOM_XML, "application/xml", "text/xml")
_KINDS = {
    DICOM: "a DICOM instance",
    ZIP: "a ZIP archive",
    DICOM_JSON: "metadata as JSON",
    "application/json": "JSON",
    DICOM_XML: "metadata as XML",
    "application/xml": "XML",
    "text/xml": "XML",
    "application/pdf": "a PDF document",
    "multipart/related": "several parts",
    "text": "text",
    "image": "an image",
    "video": "a video",
}


def _is_as_stored(wanted: MediaType) -> bool:
    return wanted.parameters.get(_SYNTAX) == "*"


def _without_syntax(wanted: MediaType) -> MediaType:
    rest = {name: value for name, value in wanted.parameters.items() if name != _SYNTAX}
    return wanted._replace(parameters=rest)


def forms_of_streams(wanted: MediaType) -> Forms:
    """Return the forms to ask for the instances of a study or series in."""
    forms = [multipart(wanted)]
    if _is_as_stored(wanted):
        forms += [ANY, multipart(_without_syntax(wanted))]
    return tuple(forms)


def forms_of_instances(wanted: MediaType, server: Server = OTHER) -> Forms:
    """Return the forms to ask for one instance in, first the one that the server may have."""
    forms = [multipart(wanted), str(wanted)]
    if server.single_instances:
        forms.reverse()
    if _is_as_stored(wanted):
        bare = _without_syntax(wanted)
        forms += [ANY, multipart(bare), str(bare)]
    return tuple(forms)


def forms_of_frames(wanted: MediaType | None) -> Forms:
    """Return the forms to ask for frames in, as they are stored."""
    if wanted is not None:
        return multipart(wanted), str(wanted)
    return (
        multipart(BYTES_AS_STORED),
        ANY,
        str(BYTES_AS_STORED),
        multipart(OCTET_STREAM),
        multipart("image/*"),
        OCTET_STREAM,
    )


def forms_of_bulk_data(wanted: MediaType | None) -> Forms:
    """Return the forms to ask for bulk data in."""
    if wanted is not None:
        return multipart(wanted), str(wanted)
    return ANY, multipart(BYTES_AS_STORED), multipart(OCTET_STREAM), OCTET_STREAM


def forms_of_renditions(wanted: MediaType | None) -> Forms:
    """Return the forms to ask for what is rendered in."""
    if wanted is None:
        return ANY, "image/jpeg", "image/png"
    return str(wanted), multipart(wanted)


def forms_of_zips(wanted: MediaType) -> Forms:
    """Return the forms to ask for a ZIP archive in; some servers refuse parameters here."""
    as_stored = wanted._replace(parameters={_SYNTAX: "*", **wanted.parameters})
    return tuple(dict.fromkeys([str(as_stored), str(wanted)]))


def ask(
    context: RunContext,
    path: str,
    forms: Forms,
    *,
    unsuitable: Unsuitable = lambda _: None,
    may_be_partial: bool = False,
    tries_all: bool = True,
) -> Response:
    """Get bulk data in the first of several forms that is not refused, its body unread.

    `unsuitable` makes the error of an answer that is something else; it reads the start of the
    body. Without `tries_all`, the form that worked before is the only one. Raises an error unless
    the answer is success with content; if all forms are refused, that of the first refusal.
    """
    known = context.accepted.get(forms, forms[0])
    refusal: DcmwebError | None = None
    for accept in dict.fromkeys([known, *forms]) if tries_all else [known]:
        response = context.session.get(path, accept=accept, bulk=True)
        if response.status in REFUSALS:
            with response:
                refusal = refusal or response.problem()
            continue
        checked_response(response, may_be_partial=may_be_partial)
        if error := unsuitable(response):
            response.close()
            raise refusal or error
        context.accepted[forms] = accept
        if _SYNTAX in forms[0] and accept != ANY and _SYNTAX not in accept:
            context.notify_once(
                "the server refuses to send what is stored in any transfer syntax "
                "(transfer-syntax=*): it may convert what it sends"
            )
        return response
    raise refusal or ProtocolError("the server answers in no form that was asked for")


def ask_for_json(context: RunContext, path: str, *, is_query: bool = False) -> Response:
    """Get JSON, or XML from a server that has nothing else; the status is yet to be checked.

    After 400, no other form is tried if one has worked before, or if the query may be at fault.
    """
    known = context.accepted.get(JSON_FORMS)
    refused: Response | None = None
    for accept in dict.fromkeys([known or JSON_FORMS[0], *JSON_FORMS]):
        response = context.session.get(path, accept=accept)
        if is_xml(response) and accept != JSON_FORMS[-1]:
            response.close()
        elif response.status not in REFUSALS:
            if is_success(response.status):
                context.accepted[JSON_FORMS] = accept
            if refused:
                refused.close()
            return response
        elif refused:
            response.close()
        else:
            refused = response
            if response.status == _MANY_CAUSES and (known or is_query):
                return response
    return refused or response


def is_about_accept(context: RunContext, error: Refused) -> bool:
    """Return True if the words of a refusal are about media types, and no form has worked yet."""
    is_first = JSON_FORMS not in context.accepted
    return is_first and error.status == _MANY_CAUSES and bool(re.search(_OF_FORMS, error.message))


def is_xml(response: Response) -> bool:
    """Return True if an answer is in the Native DICOM Model, by its media type."""
    kind = response.media_type
    if kind.is_multipart:
        kind = parse(kind.parameters.get("type", ""))
    return is_success(response.status) and kind.name in XML_TYPES


def checked_response(response: Response, *, may_be_partial: bool = False) -> Response:
    """Return an answer that is success, its body unread; raise an error for others."""
    try:
        response.check_content(may_be_partial=may_be_partial)
        check_accepted(response, is_empty=response.size == 0)
    except DcmwebError:
        response.close()
        raise
    return response


def check_accepted(response: Response, *, is_empty: bool) -> None:
    """Raise Refused if the server accepted the request, but has sent nothing yet."""
    if response.status == _ACCEPTED and is_empty:
        raise Refused(
            "answered 202 Accepted, but sent nothing: the server may still be preparing it",
            "try again later",
            status=_ACCEPTED,
            retryable=True,
        )


def wrong_kind(response: Response, wanted: str, start: bytes | None = None) -> ProtocolError:
    """Make the error for an answer that is something else than what was `wanted`.

    It names the kind, with the words of the server if it has an error to tell. Reads the start of
    the body, unless that is given.
    """
    name = response.media_type.name
    body = response.read(_START) if start is None else start
    kind = _KINDS.get(name) or _KINDS.get(name.partition("/")[0], "")
    if not kind or looks_like_html(body) or name == "text/html":
        return not_dicomweb(response, body)
    address = response.url.partition("?")[0]
    return ProtocolError(f"{address} answers with {kind} ({name}), not with {wanted}{said(body)}")


def said(body: bytes) -> str:
    """Return what a server says in JSON that is an error, to be put behind ours; "" if nothing."""
    try:
        start = body.decode(json.detect_encoding(body), "replace").lstrip("\ufeff \t\r\n")
    except UnicodeError:
        return ""
    if start[:1] not in ("{", "[") or start.lstrip("[ \t\r\n")[:1] != "{":
        return ""
    words = server_words({}, start.encode("utf-8", "replace"))
    return f"; the server says: {words}" if words else ""
