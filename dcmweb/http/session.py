"""Sends the requests of one run to BASE_URL, over connections that runs share."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import requests
import urllib3

from dcmweb.errors import DcmwebError, Interrupted, ProtocolError, WrongAnswer
from dcmweb.http import auth, exchange_log
from dcmweb.http.adapter import Connected, Connections
from dcmweb.http.content_location import names_another
from dcmweb.http.media_types import DICOM_JSON
from dcmweb.http.multipart import Body
from dcmweb.http.rate_limit import Sleep
from dcmweb.http.redaction import Redaction, without_query, without_values
from dcmweb.http.response import Response, is_success
from dcmweb.http.transport import Transport

PROBE_TIMEOUT = 5.0  # seconds
_TOO_MANY = 429
_SEARCHED = re.compile(r"(^|/)(studies|series|instances)$")  # the end of a path of a search


@contextmanager
def _for_credentials() -> Iterator[None]:
    """Mark errors of token servers and the like: they say nothing of the DICOMweb server."""
    try:
        yield
    except DcmwebError as error:
        error.lacks_credentials = True
        raise


class Session:
    """HTTP exchanges of one run; safe to be used by many threads.

    Credentials go to the origin of BASE_URL and nowhere else.
    """

    def __init__(
        self,
        transport: Transport,
        on_warning: Callable[[str], None] = lambda _: None,
        on_note: Callable[[str], None] = lambda _: None,
        sleep: Sleep = time.sleep,
        on_data: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a session; `on_warning` is called with the text of each Warning header field.

        `on_note` is called with what a user should know of the credentials. `sleep` is how it
        waits where a rate is limited, until the run is stopped. `on_data` is called whenever
        something of an answer has come.
        """
        self._transport = transport
        self._on_warning = on_warning
        self._on_note = on_note
        self._sleep = sleep
        self.note_data = on_data
        self._settings = transport.settings
        self._connections = Connections()
        self.redaction: Redaction = transport.redaction
        self.carries: str = transport.auth.carries

    def is_own(self, url: str) -> bool:
        """Whether a URL is on the server at BASE_URL, or at the root of one of its services."""
        return self._transport.http.is_own(url)

    def url(self, path: str, method: str = "GET") -> str:
        """Return the URL of a path below the root of its service; return a URL unchanged."""
        return path if "://" in path else f"{self._root(method, path)}/{path}"

    def _root(self, method: str, path: str) -> str:
        """Return the root of the service that a request is for (PS3.18 section 8.1)."""
        given = self._settings
        if method in ("POST", "PUT"):
            return given.stow_root or given.base_url
        if method != "GET":
            return given.base_url
        is_search = _SEARCHED.search(path.partition("?")[0])
        return (given.qido_root if is_search else given.wado_root) or given.base_url

    @property
    def sends_raw_carets(self) -> bool:
        """Whether `^` is sent unescaped: Orthanc 1.10 needs that, and strict servers refuse it."""
        return self._transport.adapter.raw_carets

    @sends_raw_carets.setter
    def sends_raw_carets(self, value: bool) -> None:
        self._transport.adapter.raw_carets = self._transport.auth.sends_raw_carets = value

    def get(self, path: str, *, accept: str, bulk: bool = False) -> Response:
        """Get a resource; bulk data uncompressed, since it compresses slowly and badly."""
        headers = {"Accept": accept}
        if bulk:
            headers["Accept-Encoding"] = "identity"
        return self._exchange("GET", path, headers)

    def probe(
        self, url: str, *, accept: str, method: str = "GET", longest: float = PROBE_TIMEOUT
    ) -> Response:
        """Request a URL to see what is there: without redirects, and without long waits."""
        return self._exchange(method, url, {"Accept": accept}, longest=longest)

    def post(
        self,
        path: str,
        body: Body | None,
        *,
        accept: str,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Response:
        """Post a body with its length and further header fields; or none; or put it."""
        headers = {**(headers or {}), "Accept": accept}
        if body is not None:
            headers["Content-Type"] = body.content_type
        return self._exchange(method, path, headers, body)

    def delete(self, path: str, *, accept: str) -> Response:
        """Delete a resource."""
        return self._exchange("DELETE", path, {"Accept": accept})

    @property
    def connection(self) -> Connected | None:
        """What the last connection was like that a client made; None if it made none."""
        return self._transport.adapter.connected

    @property
    def proxy(self) -> str:
        """The proxy that the server is reached through, without its password; "" if none."""
        return self._transport.proxy(self._settings.base_url)

    @property
    def identity(self) -> str:
        """As whom requests are sent, in words."""
        chosen, certificate = self._transport.auth, self._transport.tls.certificate
        if not certificate:
            return chosen.identity
        shown = f"the client certificate {certificate}"
        return f"{chosen.identity}, with {shown}" if self._authenticates else f"whom {shown} names"

    @property
    def is_anonymous(self) -> bool:
        """Whether requests are sent without credentials of any kind."""
        return not (self._authenticates or self._transport.tls.certificate)

    @property
    def _authenticates(self) -> bool:
        return type(self._transport.auth) is not auth.Authentication

    @property
    def is_cut(self) -> bool:
        """Whether the requests of this run have been ended."""
        return self._connections.are_cut

    def cut(self) -> None:
        """End all requests of this run, in every thread, and refuse new ones."""
        self._connections.cut()

    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Body | None = None,
        *,
        longest: float | None = None,
    ) -> Response:
        """Send a request, once more with renewed credentials if these were refused.

        `longest` is the time to wait of a request that only looks what is there.
        """
        try:
            if body is not None and not self._transport.auth.is_ready:
                self._seek_challenge(self.url(path, method))
            response = self._send(method, path, headers, body, longest)
            if self._is_renewed(response):
                response = self._send(method, path, headers, body, longest)
        except DcmwebError as error:
            error.attempted = exchange_log.named(method, self.url(path, method))
            raise
        return response

    def _is_renewed(self, response: Response) -> bool:
        """Return True if an answer refuses credentials, and there are other ones now."""
        status = response.status
        if status not in (401, 403):
            return False
        with _for_credentials():
            is_renewed = self._transport.auth.renew(response.request, status)
        if not is_renewed:
            return False
        response.finish()
        response.close()
        return True

    def _seek_challenge(self, url: str) -> None:
        """Send a search before a body, so that a challenge (RFC 9110 section 11.3) comes first."""
        response = self._send("GET", f"{url}?limit=1", {"Accept": DICOM_JSON}, None, None)
        if not self._is_renewed(response):
            response.finish()
            response.close()

    def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Body | None,
        longest: float | None,
    ) -> Response:
        self._transport.limit.before_request(self._sleep)
        if self.is_cut:
            raise Interrupted
        url = self.url(path, method)
        credentials = self._transport.auth if self.is_own(url) else auth.Authentication()
        data = body and self._transport.limit.slowed(body, self._sleep)
        request = requests.Request(method, url, headers=dict(headers), data=data, auth=credentials)
        timeouts = (self._settings.connect_timeout, self._settings.idle_timeout)
        if longest is not None:
            timeouts = (min(timeouts[0], longest), min(timeouts[1], longest))
        began = time.monotonic()
        try:
            with _for_credentials():
                prepared = self._transport.http.prepare_request(request)
            for note in credentials.take_notes():
                self._on_note(note)
            exchange_log.log_headers(">", prepared.headers, url, self.redaction)
            with self._transport.adapter.lending_to(self._connections):
                answer = self._transport.http.send(
                    prepared,
                    timeout=timeouts,
                    # A redirected POST would become a GET, a DELETE could delete something else.
                    allow_redirects=method == "GET" and longest is None,
                    stream=True,
                )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise self.translate(error, url) from error
        except ValueError as error:  # of a redirect: BASE_URL was checked before
            raise ProtocolError(
                f"{without_query(url)} redirects to what is not an address: "
                f"{without_values(self.redaction.hide(str(error), url))}"
            ) from error
        self.note_data()
        seconds = time.monotonic() - began
        exchange_log.log_answer(method, url, len(body or ()), answer.status_code, seconds)
        exchange_log.log_headers("<", answer.headers, url, self.redaction)
        self._transport.kind.note_product(answer.headers.get("Server", ""))
        response = Response(answer, prepared, self, credentials.advice)
        self._check_identity(response, url)
        if is_success(response.status):  # errors contain the warnings of other answers
            self._pass_on_warnings(response, url)
        return response

    def _pass_on_warnings(self, response: Response, url: str) -> None:
        if "Warning" in response.headers:
            from dcmweb.http.server_words import shortened, warnings

            for text in warnings(response.headers):
                self._on_warning(shortened(without_values(self.redaction.hide(text, url))))

    def _check_identity(self, response: Response, url: str) -> None:
        """Raise WrongAnswer if the answer says that it is of another resource."""
        is_got = response.request.method == "GET" and is_success(response.status)
        location = response.headers.get("Content-Location", "") if is_got else ""
        if another := names_another(url, location):
            response.close()
            another = self.redaction.hide(without_query(another), url)
            raise WrongAnswer(f"{without_query(url)} was answered with {another}")

    @property
    def largest_read(self) -> int | None:
        """The most bytes of an answer to read at a time; None if the rate is not limited."""
        return self._transport.limit.piece

    def note_received(self, size: int) -> None:
        """Wait after bytes of an answer, where their rate is limited."""
        self._transport.limit.moved(size, self._sleep)

    def note_error(self, body: bytes) -> None:
        """Take note of the body of an error, which may show what kind of server this is."""
        self._transport.kind.note_error(body)

    def advice(self, status: int) -> str:
        """Return what is known to help after an error status; "" if nothing is."""
        known = self._transport.kind.server
        rate = known.requests_per_second
        if status != _TOO_MANY or rate is None or self._settings.requests_per_second:
            return ""
        return f"{known.label} takes {rate:g} requests per second: --requests-per-second {rate:g}"

    def translate(self, error: Exception, url: str) -> DcmwebError:
        """Translate an exception into our error; after a cut, that is Interrupted.

        Raises the exception itself if it is not one of the network: a defect.
        """
        if self.is_cut:
            return Interrupted()
        if isinstance(error, (ValueError, AttributeError)) and not isinstance(
            error, (OSError, urllib3.exceptions.HTTPError)
        ):
            raise error
        from dcmweb.http import error_mapping  # only what fails needs its words

        asked = error_mapping.asked_url(error, url)
        found = error_mapping.from_exception(
            error,
            url,
            self._settings.idle_timeout,
            self._transport.situation(asked),
            self._transport.proxies.of(asked),
        )
        return self.redaction.redact(found, url)

    def refusal(
        self, status: int, headers: Mapping[str, str], body: bytes, url: str
    ) -> DcmwebError | None:
        """Make the error of an answer that is not about the resource; None for another answer.

        That is what a proxy says of itself, or a server of the client certificate or of TLS.
        """
        from dcmweb.http import proxy_errors, tls_errors

        proxy, host = self._transport.proxies.of(url), urlsplit(url).netloc
        if status == 407:
            return proxy_errors.refused(proxy)
        if said := tls_errors.of_page(status, body):
            situation = self._transport.situation(url)
            return tls_errors.client_certificate_error(host, said, situation)
        if not url.startswith("http:"):
            return None
        if tls_errors.wants_tls(status, body):
            return tls_errors.no_plain_http(host)
        return proxy_errors.own_answer(proxy, status, headers, host)

    def doubt(self, error: DcmwebError, status: int, url: str) -> None:
        """Add to the error of an answer that a proxy on the way may have made it."""
        if url.startswith("http:"):  # within TLS, it is the server's
            from dcmweb.http.proxy_errors import doubt

            doubt(error, status, self._transport.proxies.of(url))
