"""The servers of the live tests do what the tests need of them, seen by a plain client."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.conftest import make_instance
from tests.live.conftest import (
    StartApache,
    StartHaproxy,
    StartNginx,
    StartProvider,
    StartProxy,
    StartTinyPacs,
)
from tests.live.orthanc import Orthanc
from tests.live.servers.nginx import Features
from tests.live.servers.oidc import CLIENTS, SECRET, OidcProvider
from tests.live.servers.process import NotInstalled, Program, running
from tests.live.servers.tls import Authority, Certificate, OldAuthority

pytestmark = pytest.mark.live

JSON = {"Accept": "application/dicom+json"}
TLS_VERSIONS = ["TLSv1.2", "TLSv1.3"]


@pytest.fixture
def client() -> Iterator[requests.Session]:
    """A plain client that the environment does not change."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers.update(JSON)
        yield session


def search(client: requests.Session, url: str, **options: Any) -> int:
    """Return the status of a search for studies."""
    return client.get(f"{url}/studies", timeout=10, **options).status_code


def pair(certificate: Certificate) -> tuple[str, str]:
    return str(certificate.chain), str(certificate.key)


def store(client: requests.Session, url: str, data: bytes, **options: Any) -> requests.Response:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + data + b"\r\n--b--\r\n"
    kind = 'multipart/related; type="application/dicom"; boundary=b'
    headers = {"Content-Type": kind, **options.pop("headers", {})}
    return client.post(f"{url}/studies", body, headers=headers, timeout=10, **options)


def test_orthanc_with_users(client: requests.Session, orthanc_with_users: Orthanc) -> None:
    url = orthanc_with_users.url
    assert search(client, url) == 401
    assert search(client, url, auth=("alice", "wrong")) == 401
    assert search(client, url, auth=("alice", "se:cret")) == 200
    assert search(client, url, auth=("bob", "pässwörd".encode())) == 200
    assert orthanc_with_users.count_instances() == 0


# How servers are started.


def test_a_program_that_is_absent_is_named() -> None:
    with pytest.raises(NotInstalled, match="apt-get install some-package"):
        Program("no-such-program", "some-package").path()
    with pytest.raises(NotInstalled):
        Program("sh", "some-package", (Path("/no/such/file"),)).path()


def test_a_server_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo no such option; exit 1"]
    with (
        pytest.raises(RuntimeError, match="broken did not start: no such option"),
        running("broken", tmp_path / "server", lambda port: command),
    ):
        pass


def test_a_server_ends_with_its_block(tmp_path: Path) -> None:
    code = "import http.server; http.server.test(port={}, bind='127.0.0.1')"
    with running("files", tmp_path, lambda p: [sys.executable, "-c", code.format(p)]) as server:
        _connect(server.port).close()
    assert server.process.poll() is not None
    with pytest.raises(ConnectionRefusedError):
        _connect(server.port)


# nginx.


def test_nginx_with_tls(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx, authority: Authority
) -> None:
    nginx = start_nginx(orthanc.url, Features(certificate=authority.server, ipv6=True))
    for host in ("127.0.0.1", "localhost", "[::1]"):
        url = nginx.url_of("/dicom-web/", host)
        assert search(client, url, verify=str(authority.bundle)) == 200
    with pytest.raises(requests.exceptions.SSLError):
        search(client, nginx.url)
    assert [line.split()[0] for line in nginx.requests()].count("::1") >= 1


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_nginx_wants_a_certificate_of_the_client(
    client: requests.Session,
    orthanc: Orthanc,
    start_nginx: StartNginx,
    authority: Authority,
    other_authority: Authority,
    version: str,
) -> None:
    features = Features(authority.server, authority.bundle, tls_versions=version)
    nginx = start_nginx(orthanc.url, features)
    client.verify = str(authority.bundle)
    assert search(client, nginx.url, cert=pair(authority.client)) == 200
    # nginx finishes the handshake, and answers with 400.
    answer = client.get(nginx.url, timeout=10)
    assert (answer.status_code, "No required SSL certificate" in answer.text) == (400, True)
    answer = client.get(nginx.url, timeout=10, cert=pair(other_authority.client))
    assert (answer.status_code, "SSL certificate error" in answer.text) == (400, True)


def test_nginx_with_an_optional_certificate(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx, authority: Authority
) -> None:
    features = Features(authority.server, authority.bundle, verify_client="optional")
    nginx = start_nginx(orthanc.url, features)
    client.verify = str(authority.bundle)
    assert search(client, nginx.url) == 200
    assert search(client, nginx.url, cert=pair(authority.client)) == 200


def test_nginx_with_users_keys_and_parameters(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx
) -> None:
    url = start_nginx(orthanc.url, Features(users={"alice": "se:cret"})).url
    assert search(client, url) == 401
    assert search(client, url, auth=("alice", "se:cret")) == 200
    url = start_nginx(orthanc.url, Features(header=("X-Api-Key", "k3y"))).url
    assert search(client, url) == 401
    assert search(client, url, headers={"X-Api-Key": "k3y"}) == 200
    url = start_nginx(orthanc.url, Features(argument=("token", "t0k"))).url
    assert search(client, url) == 401
    assert search(client, url, params={"token": "t0k"}) == 200


@pytest.mark.parametrize("keep_host", [True, False])
def test_nginx_with_a_prefix(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx, keep_host: bool
) -> None:
    features = Features(prefixes=("/pacs/dicom-web/", "/stow/"), keep_host=keep_host)
    nginx = start_nginx(orthanc.url, features)
    answer = store(client, nginx.url_of("/stow/"), make_instance())
    told = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    host = nginx.root if keep_host else orthanc.root
    assert told.startswith(f"{host}/dicom-web/studies/1.2.3/")
    assert search(client, nginx.url_of("/pacs/dicom-web/")) == 200
    assert search(client, f"{nginx.root}/dicom-web") == 404


def test_nginx_with_a_limit(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx
) -> None:
    nginx = start_nginx(orthanc.url, Features(largest_body="8k"))
    assert store(client, nginx.url, make_instance(size=512)).status_code == 200
    assert store(client, nginx.url, make_instance(size=16_000)).status_code == 413


def test_nginx_with_a_rate(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx
) -> None:
    nginx = start_nginx(orthanc.url, Features(rate=1))
    answers = {search(client, nginx.url) for _ in range(10)}
    assert answers == {200, 429}


def test_nginx_redirects(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx
) -> None:
    nginx = start_nginx(orthanc.url, Features(redirect=f"{orthanc.root}{{path}}"))
    answer = client.get(f"{nginx.url}/studies?limit=1", timeout=10, allow_redirects=False)
    expected = f"{orthanc.url}/studies?limit=1"
    assert (answer.status_code, answer.headers["Location"]) == (307, expected)


# HAProxy.


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_haproxy_wants_a_certificate_of_the_client(
    client: requests.Session,
    orthanc: Orthanc,
    start_haproxy: StartHaproxy,
    authority: Authority,
    version: str,
) -> None:
    haproxy = start_haproxy(orthanc.root, tls=(version, version))
    client.verify = str(authority.bundle)
    assert search(client, haproxy.url, cert=pair(authority.client)) == 200
    # HAProxy ends the connection with an alert.
    with pytest.raises(requests.exceptions.ConnectionError):
        search(client, haproxy.url)


# Certificates.


def test_an_expired_certificate(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx, authority: Authority
) -> None:
    nginx = start_nginx(orthanc.url, Features(certificate=authority.expired))
    with pytest.raises(requests.exceptions.SSLError, match="certificate has expired"):
        search(client, nginx.url, verify=str(authority.bundle))


def test_a_certificate_without_that_of_its_issuer(
    client: requests.Session, orthanc: Orthanc, start_nginx: StartNginx, authority: Authority
) -> None:
    nginx = start_nginx(orthanc.url, Features(certificate=authority.incomplete))
    with pytest.raises(requests.exceptions.SSLError, match="unable to get local issuer"):
        search(client, nginx.url, verify=str(authority.bundle))


def test_an_old_authority_is_refused_by_the_strict_check(
    orthanc: Orthanc, start_nginx: StartNginx, old_authority: OldAuthority
) -> None:
    nginx = start_nginx(orthanc.url, Features(certificate=old_authority.server))

    def handshake(strict: bool) -> None:
        context = ssl.create_default_context(cafile=str(old_authority.bundle))
        flags = context.verify_flags & ~ssl.VERIFY_X509_STRICT
        context.verify_flags = flags | (ssl.VERIFY_X509_STRICT if strict else 0)
        with context.wrap_socket(_connect(nginx.port), server_hostname="127.0.0.1"):
            pass

    handshake(strict=False)
    with pytest.raises(ssl.SSLCertVerificationError, match="Key Identifier"):
        handshake(strict=True)


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def test_an_encrypted_key_needs_its_passphrase(authority: Authority) -> None:
    certificate = authority.encrypted("open sesame")
    assert certificate.key.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    context = ssl.create_default_context()
    context.load_cert_chain(certificate.chain, certificate.key, "open sesame")
    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(certificate.chain, certificate.key, "wrong")


# Proxies.


def test_tinyproxy_with_a_password(
    client: requests.Session,
    orthanc: Orthanc,
    start_nginx: StartNginx,
    start_tinyproxy: StartProxy,
    authority: Authority,
) -> None:
    proxy = start_tinyproxy("alice", "se-cret")
    tls = start_nginx(orthanc.url, Features(certificate=authority.server))
    client.verify = str(authority.bundle)
    for url in (orthanc.url, tls.url):
        through = {"http": proxy.url, "https": proxy.url}
        assert search(client, url, proxies=through) == 200
    assert len(proxy.connections()) == 2
    assert search(client, orthanc.url, proxies={"http": proxy.bare_url}) == 407
    # tinyproxy 1.11 answers 401 to a wrong password, and 407 to none.
    assert search(client, orthanc.url, proxies={"http": proxy.url_with("alice", "wrong")}) == 401
    with pytest.raises(requests.exceptions.ProxyError, match="407"):
        search(client, tls.url, proxies={"https": proxy.bare_url})
    with pytest.raises(requests.exceptions.ProxyError, match="401"):
        search(client, tls.url, proxies={"https": proxy.url_with("alice", "wrong")})


def test_microsocks_with_a_password(
    client: requests.Session, orthanc: Orthanc, start_microsocks: StartProxy
) -> None:
    proxy = start_microsocks("alice", "se:cret@home")
    url = orthanc.url.replace("127.0.0.1", "localhost")
    assert search(client, url, proxies={"http": proxy.url}) == 200
    # The proxy was given the name, and not the address that it stands for.
    assert [line for line in proxy.connections() if "localhost" in line]
    for refused in (proxy.bare_url, proxy.url_with("alice", "wrong")):
        with pytest.raises(requests.exceptions.ConnectionError):
            search(client, url, proxies={"http": refused})


# Tokens.


def token(
    client: requests.Session,
    provider: OidcProvider,
    name: str = "basic",
    scope: str = "dicomweb",
    secret: str = SECRET,
) -> dict[str, Any]:
    """Ask for a token in the way of the client of this name."""
    form = {"grant_type": "client_credentials", "scope": scope}
    if CLIENTS[name] == "client_secret_post":
        answer = client.post(
            provider.token_url, {**form, "client_id": name, "client_secret": secret}, timeout=10
        )
    else:
        login = (name, quote(secret, safe=""))
        answer = client.post(provider.token_url, form, auth=login, timeout=10)
    found: dict[str, Any] = answer.json()
    return found


def bearer(answer: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {answer['access_token']}"}


@pytest.mark.parametrize("name", CLIENTS)
def test_the_provider_gives_tokens(
    client: requests.Session, start_provider: StartProvider, name: str
) -> None:
    provider = start_provider(seconds=77)
    answer = token(client, provider, name)
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 77)
    assert answer["access_token"].count(".") == 2
    refused = token(client, provider, name, secret="wrong")
    assert refused["error"] == "invalid_client"
    assert (provider.tokens_given(), provider.tokens_refused()) == (1, 1)


def test_the_provider_gives_opaque_tokens_over_tls(
    client: requests.Session, start_provider: StartProvider, authority: Authority
) -> None:
    provider = start_provider(format="opaque", certificate=authority.server)
    client.verify = str(authority.bundle)
    assert "." not in token(client, provider)["access_token"]
    assert provider.token_url.startswith("https://")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["jwt", "opaque"])
def test_apache_lets_valid_tokens_pass(
    client: requests.Session,
    orthanc: Orthanc,
    start_provider: StartProvider,
    start_apache: StartApache,
    authority: Authority,
    format: str,
) -> None:
    provider = start_provider(format=format, seconds=4, certificate=authority.server)
    client.verify = str(authority.bundle)
    apache = start_apache(
        orthanc.url, provider, check={"jwt": "jwks", "opaque": "introspection"}[format]
    )
    assert search(client, apache.url) == 401
    assert search(client, apache.url, headers={"Authorization": "Bearer wrong"}) == 401
    answer = token(client, provider)
    assert search(client, apache.url, headers=bearer(answer)) == 200
    other = token(client, provider, scope="dicomweb.read")
    assert search(client, apache.url, headers=bearer(other)) == 401  # and not 403
    deadline = time.monotonic() + 60
    while search(client, apache.url, headers=bearer(answer)) != 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)


# tiny-pacs.


def test_tiny_pacs_with_tokens(client: requests.Session, start_tiny_pacs: StartTinyPacs) -> None:
    server = start_tiny_pacs(tokens=["t0ken"])
    headers = {"Authorization": "Bearer t0ken"}
    assert search(client, server.url) == 401
    assert search(client, server.url, headers=headers) == 204
    assert store(client, server.url, make_instance(), headers=headers).status_code == 200
    assert search(client, server.url, headers=headers) == 200
