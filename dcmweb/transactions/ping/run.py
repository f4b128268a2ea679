"""Finds out about a server, in the order in which things can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dcmweb.errors import AuthError, DcmwebError, ProtocolError, Refused
from dcmweb.http import auth_hints
from dcmweb.settings.servers import OTHER
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete.run import DeleteOptions
from dcmweb.transactions.find_root import find_root
from dcmweb.transactions.ping.finding import Finding, Verdict
from dcmweb.transactions.ping.requests import Tried
from dcmweb.transactions.ping.server import look_at_server, look_at_time, search_one
from dcmweb.transactions.ping.services import is_dicomweb, look_at_services
from dcmweb.transactions.ping.write_test import write_test


@dataclass(frozen=True, kw_only=True)
class PingOptions:
    """Options of a ping; the write test stores an instance and deletes it again.

    `orthanc_api` and `reject_as` say how to delete, as for a delete run.
    """

    write_test: bool = False
    orthanc_api: str = ""
    reject_as: str = ""


def ping(context: RunContext, options: PingOptions = PingOptions()) -> Iterator[Finding]:
    """Yield what is found out about the server at BASE_URL.

    Raises the error of the first request, after the findings about it, if the server is not there,
    refuses the credentials, or is not DICOMweb.
    """
    studies = search_one(context)
    yield from look_at_server(context, studies)
    error = _what_is_wrong(context, studies)
    yield _service(context, studies, error)
    if error is not None:
        raise error
    yield look_at_time(context, studies)
    yield from look_at_services(context, studies, stores=options.write_test)
    if options.write_test:
        how = DeleteOptions(orthanc_api=options.orthanc_api, reject_as=options.reject_as)
        yield from write_test(context, how)


def _what_is_wrong(context: RunContext, studies: Tried) -> DcmwebError | None:
    """Return why a search for one study did not go well, with what is likely wrong."""
    error = studies.error
    if error is None and not is_dicomweb(studies):
        error = _not_dicomweb(context, studies)
    if error is None or (isinstance(error, AuthError) and studies.status == 401):
        return error
    if 300 <= studies.status < 400:
        return _of_redirect(context, error)
    if root := find_root(context, error) if error.may_be_wrong_root else "":
        error.hint = f"the DICOMweb service is at {root}: give that as BASE_URL"
        error.may_be_wrong_root = False  # it has been looked for
    elif isinstance(error, Refused) and error.status == 400:
        error.hint = "this server may want other parameters for a search; try another command"
    return error


def _of_redirect(context: RunContext, error: DcmwebError) -> DcmwebError:
    """Look where BASE_URL redirects to. Searches go there; what is stored does not."""
    there = search_one(context, follows=True)
    if is_dicomweb(there) and there.url.endswith("/studies"):
        root = there.url.removesuffix("/studies")
        error.hint = f"the DICOMweb service is at {root}: give that as BASE_URL"
    elif there.is_good:
        return _not_dicomweb(context, there)
    return error


def _not_dicomweb(context: RunContext, studies: Tried) -> ProtocolError:
    from dcmweb.http.server_words import looks_like_html

    asked = f"{context.settings.base_url}/studies"
    if looks_like_html(studies.body) or studies.media_type == "text/html":
        said, hint = "a web page, not with DICOMweb", "does it want a login first?"
        if context.session.is_anonymous:
            hint = f"does it want a login? Then {auth_hints.ANY}"
    else:
        said = f"{studies.media_type or 'no media type'}, which is not DICOMweb"
        hint = "is BASE_URL the root of the DICOMweb service?"
    leads = f" leads to {studies.url}, which" if studies.url != asked else ""
    error = ProtocolError(f"{asked}{leads} answers with {said}", hint)
    error.may_be_wrong_root = True
    return error


def _service(context: RunContext, studies: Tried, error: DcmwebError | None) -> Finding:
    server = studies.headers.get("server", "")
    kind = context.server
    known = {"kind": kind.name} if kind is not OTHER else {}
    details = {**known, **({"server": server} if server else {})}
    if error is not None:
        return Finding("service", Verdict.FAILED, error.message, details)
    taken = f", taken to be {kind.label}" if known else ""
    named = f", served by {server}" if server else ""
    return Finding("service", Verdict.OK, f"it is DICOMweb{taken}{named}", details)
