"""TLS: the contexts for the hosts that a client meets."""

from __future__ import annotations

import datetime
import pickle
import ssl
import threading
from pathlib import Path

import pytest
import requests
import trustme

from dcmweb.errors import AuthError, NetworkError, Unreachable, UsageError
from dcmweb.http import tls as tls_module
from dcmweb.http import tls_errors
from dcmweb.http.client_certificate import needs_password
from dcmweb.http.error_mapping import from_exception
from dcmweb.http.proxies import Proxies
from dcmweb.http.routes import RoutedAdapter
from dcmweb.http.tls import Situation, Tls
from dcmweb.http.transport import Transport
from dcmweb.settings import Credentials, Settings
from tests.functional.certificates import Files, as_pkcs12, context_of, encrypted, issued
from tests.functional.origin import Answer, serving

URL = "https://server.example/dicomweb"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def client(tmp_path: Path, authority: trustme.CA) -> Files:
    return issued(tmp_path, "client", authority.issue_cert(common_name="joe"))


@pytest.fixture
def bundle(tmp_path: Path, authority: trustme.CA) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    for name in (*names, "DCMWEB_KEY_PASSWORD", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_is_read_where_there_is_no_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/ca.pem")
    tls = Tls(Settings(base_url="http://server.example/dicomweb"))
    with pytest.raises(UsageError, match=r"REQUESTS_CA_BUNDLE=/no/such/ca.pem"):
        tls.context(URL)


def test_checks_are_the_same_on_every_python(bundle: str) -> None:
    context = Tls(Settings(base_url=URL, ca_bundle=bundle)).context(URL)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_option_names_all_that_the_server_may_have(bundle: str) -> None:
    tls = Tls(Settings(base_url=URL, ca_bundle=bundle))
    own, other = tls.context(f"{URL}/studies"), tls.context("https://tokens.example/token")
    assert own is not other
    assert own is tls.context("https://server.example:443/")
    assert len(own.get_ca_certs()) == 1
    assert len(own.get_ca_certs()) <= len(other.get_ca_certs())
    assert other is tls.for_proxies


def test_no_certificate_is_checked_without_asking() -> None:
    context = Tls(Settings(base_url=URL, insecure=True)).context(URL)
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


def test_keys_are_logged_for_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert Tls(Settings(base_url=URL)).context(URL).keylog_filename == str(tmp_path / "keys")
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "no" / "keys"))
    with pytest.raises(UsageError, match="SSLKEYLOGFILE="):
        Tls(Settings(base_url=URL)).context(URL)


def test_a_system_without_certificates_has_those_of_mozilla(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nowhere = ssl.DefaultVerifyPaths(None, str(tmp_path / "none"), "", "", "", "")  # type: ignore[arg-type]
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.setattr(tls_module, "_SYSTEM_FILES", ())
    assert len(Tls(Settings(base_url=URL)).context(URL).get_ca_certs()) > 50


def test_settings_with_a_certificate_can_be_pickled(client: Files, bundle: str) -> None:
    given = Credentials(cert=str(client.both), key_password="not shown")
    settings = Settings(base_url=URL, ca_bundle=bundle, credentials=given)
    data = pickle.dumps(settings)
    assert b"not shown" not in data
    assert Tls(pickle.loads(data)).certificate == str(client.both)


def test_a_password_is_needed_for_encrypted_keys_alone(client: Files, tmp_path: Path) -> None:
    assert not needs_password(str(client.both), "")
    assert needs_password(str(client.cert), str(encrypted(client, "word")))
    assert needs_password(str(as_pkcs12(client, "word")), "")
    assert not needs_password(str(tmp_path / "none"), "")
    assert not needs_password("/dev/null", "")


def test_pkcs12_without_cryptography_says_what_to_do(
    client: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = as_pkcs12(client, "word")
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives", None)
    with pytest.raises(UsageError, match=r"openssl pkcs12 -in .*install cryptography"):
        Tls(Settings(base_url=URL, credentials=Credentials(cert=str(path))))


def plain_session(settings: Settings) -> requests.Session:
    """Connect as a client does to hosts that are not its own, such as a token server."""
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", RoutedAdapter(Tls(settings), Proxies(settings)))
    return session


def test_a_plain_session_has_the_same_trust_and_shows_no_certificate(
    client: Files, bundle: str, authority: trustme.CA
) -> None:
    given = Settings(base_url=URL, ca_bundle=bundle, credentials=Credentials(cert=str(client.both)))
    context = context_of(authority.issue_cert("127.0.0.1"), authority, demands=False)
    with (
        serving(lambda _: Answer(200, b"token"), context) as origin,
        plain_session(given) as session,
    ):
        assert session.get(origin.url, timeout=20).text == "token"
    assert not any(origin.certificates)


def test_a_clock_that_is_far_off_is_no_warning_of_python(
    bundle: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib3.connection.RECENT_DATE", datetime.date.max)
    context = context_of(authority.issue_cert("127.0.0.1"))
    with serving(lambda _: Answer(200, b"there"), context) as origin:
        transport = Transport(Settings(base_url=origin.url, ca_bundle=bundle))
        assert transport.http.get(origin.url, timeout=20).text == "there"
        transport.http.close()


def test_threads_share_one_context(bundle: str) -> None:
    tls = Tls(Settings(base_url=URL))
    found: list[ssl.SSLContext] = []
    threads = [threading.Thread(target=lambda: found.append(tls.context(URL))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(context) for context in found}) == 1


def of_alert(reason: str, *, had_server_hello: bool = False) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] alert (_ssl.c:2)")
    error.reason = reason
    error.had_server_hello = had_server_hello  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (of_alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), AuthError, "asks for a client certificate"),
        (of_alert("SSLV3_ALERT_CERTIFICATE_UNKNOWN"), AuthError, "asks for a client certificate"),
        (
            of_alert("SSLV3_ALERT_HANDSHAKE_FAILURE", had_server_hello=True),
            AuthError,
            "asks for a client certificate",
        ),
        (of_alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), Unreachable, "ended the TLS handshake"),
        (of_alert("TLSV1_ALERT_PROTOCOL_VERSION"), Unreachable, "an old TLS"),
        (of_alert("SSLV3_ALERT_BAD_RECORD_MAC"), Unreachable, "the TLS connection to"),
        (ssl.SSLEOFError(8, "EOF"), NetworkError, "broke"),
    ],
)
def test_what_a_server_says_in_tls(error: ssl.SSLError, kind: type[Exception], words: str) -> None:
    found = from_exception(error, URL, 1)
    assert type(found) is kind
    assert words in found.message


def test_the_certificate_that_was_refused_is_named(client: Files) -> None:
    alert = of_alert("TLSV1_ALERT_UNKNOWN_CA")
    found = from_exception(alert, URL, 1, Situation(certificate=str(client.both)))
    assert type(found) is AuthError
    assert "refuses the client certificate: it does not know the CA" in found.message
    assert str(client.both) in found.hint


def of_verification(code: int, said: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, said
    return error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (85, "(Missing); have the certificate issued anew"),
        (92, "(Missing)"),
        (19, "its CA is not among those of --ca-bundle x; add the certificate of the CA"),
        (20, "its issuer is not among those of --ca-bundle x; add the certificate of the CA"),
        (23, "it has been revoked"),
        (24, "one of its issuers is not a CA (Missing)"),
        (999, "is not trusted: Missing"),
    ],
)
def test_why_a_certificate_is_not_trusted(code: int, words: str) -> None:
    error = of_verification(code, "Missing")
    found = from_exception(error, URL, 1, Situation("those of --ca-bundle x"))
    assert type(found) is Unreachable
    assert not found.retryable
    assert words in str(found)


def test_pages_about_certificates() -> None:
    page = b"<html><center>No required SSL certificate was sent</center></html>"
    assert tls_errors.of_page(400, page)
    assert not tls_errors.of_page(200, page)
    assert not tls_errors.of_page(400, b"<html>Bad Request</html>")


def test_a_transport_of_many_roots_keeps_a_pool_for_each() -> None:
    roots = {name: f"https://{name}.example/x" for name in ("qido", "wado", "stow")}
    settings = Settings(base_url=URL, **{f"{name}_root": url for name, url in roots.items()})  # type: ignore[arg-type]
    transport = Transport(settings)
    assert transport.adapter.poolmanager.pools._maxsize > len(roots) + 1
    assert all(transport.tls.is_own(url) for url in (URL, *roots.values()))
    transport.close()
