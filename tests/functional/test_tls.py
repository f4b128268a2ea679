"""TLS: whose certificates are trusted, and in what words a certificate is not."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from dcmweb.errors import ExitCode
from tests.conftest import Dcmweb, Result
from tests.functional.archive import json_answer
from tests.functional.certificates import HOSTS, context_of, self_signed
from tests.functional.origin import Answer, Request, serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(tmp_path: Path, authority: trustme.CA) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def nothing(_: Request) -> Answer:
    return json_answer([])


def is_trusted(result: Result) -> bool:
    assert result.code in (ExitCode.OK, ExitCode.NETWORK), result.err
    assert result.code == ExitCode.OK or "is not trusted" in result.err
    return result.code == ExitCode.OK


def hashed(folder: Path, bundle: Path) -> Path:
    folder.mkdir()
    (folder / "ca.pem").write_bytes(bundle.read_bytes())
    subprocess.run(["openssl", "rehash", str(folder)], check=True)
    return folder


def plain(folder: Path, bundle: Path) -> Path:
    folder.mkdir()
    (folder / "hospital CA.crt").write_bytes(bundle.read_bytes())
    (folder / "README").write_text("certificates")
    return folder


def der(path: Path, bundle: Path) -> Path:
    path.write_bytes(ssl.PEM_cert_to_DER_cert(bundle.read_text()))
    return path


def utf_16(path: Path, bundle: Path) -> Path:
    path.write_bytes(bundle.read_text().encode("utf-16"))
    return path


def pipe(path: Path, bundle: Path) -> Path:
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(bundle.read_bytes(),), daemon=True).start()
    return path


@pytest.mark.parametrize("form", [hashed, plain, der, utf_16, pipe])
def test_certificates_may_be_in_several_forms(
    dcmweb: Dcmweb,
    tmp_path: Path,
    authority: trustme.CA,
    bundle: Path,
    form: Callable[[Path, Path], Path],
) -> None:
    with serving(nothing, context_of(authority.issue_cert(*HOSTS))) as origin:
        given = form(tmp_path / "given", bundle)
        assert is_trusted(dcmweb("--ca-bundle", given, origin.url, "search"))


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "DCMWEB_CA_BUNDLE"]
)
def test_variables_name_certificates(
    dcmweb: Dcmweb, authority: trustme.CA, bundle: Path, name: str
) -> None:
    with serving(nothing, context_of(authority.issue_cert(*HOSTS))) as origin:
        command = ("--retries", "0", origin.url, "search")
        assert not is_trusted(dcmweb(*command))
        assert is_trusted(dcmweb(*command, env={name: str(bundle)}))


@pytest.mark.parametrize("form", [hashed, plain])
def test_a_variable_names_folders(
    dcmweb: Dcmweb,
    tmp_path: Path,
    authority: trustme.CA,
    bundle: Path,
    form: Callable[[Path, Path], Path],
) -> None:
    folders = f"/no/such/folder:{form(tmp_path / 'given', bundle)}"
    with serving(nothing, context_of(authority.issue_cert(*HOSTS))) as origin:
        result = dcmweb(origin.url, "search", env={"SSL_CERT_DIR": folders})
    assert is_trusted(result)


@pytest.mark.parametrize(
    "name", ["SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
)
def test_certificates_of_a_variable_that_are_gone_are_named(dcmweb: Dcmweb, name: str) -> None:
    result = dcmweb("https://127.0.0.1:9/x", "search", env={name: "/no/such/ca"})
    assert result.code == ExitCode.USAGE
    assert f"{name}=/no/such/ca" in result.last


def test_the_option_counts_before_variables(
    dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA, bundle: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    environment = {name: str(bundle) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")}
    with serving(nothing, context_of(authority.issue_cert(*HOSTS))) as origin:
        command = ("--retries", "0", "--ca-bundle", other, origin.url, "search")
        result = dcmweb(*command, env=environment)
    assert not is_trusted(result)
    assert f"its issuer is not among those of --ca-bundle {other}" in result.last


def test_a_certificate_may_be_trusted_without_its_issuer(
    dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA
) -> None:
    issued = authority.issue_cert(*HOSTS)
    own = tmp_path / "server.pem"
    issued.cert_chain_pems[0].write_to_path(str(own))
    with serving(nothing, context_of(issued)) as origin:
        assert is_trusted(dcmweb("--ca-bundle", own, origin.url, "search"))


def test_a_ca_without_key_usage_is_trusted_on_every_python(dcmweb: Dcmweb, tmp_path: Path) -> None:
    old = self_signed(tmp_path, is_old_ca=True)
    with serving(nothing, old.context) as origin:
        assert is_trusted(dcmweb("--ca-bundle", old.cert, origin.url, "search"))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, ("it is self-signed", "--ca-bundle")),
        ({"ends": 0, "starts": -9}, ("it has expired", "the clock of this machine it is 20")),
        ({"starts": 9}, ("it is not valid yet", "the clock of this machine it is 20")),
        ({"bits": 1024}, ("it is too weak", "2048 bits")),
    ],
)
def test_why_a_certificate_is_not_trusted(
    dcmweb: Dcmweb, tmp_path: Path, how: dict[str, int], words: tuple[str, str]
) -> None:
    found = self_signed(tmp_path, **how)  # type: ignore[arg-type]
    given = ["--ca-bundle", found.cert] if how else []
    with serving(nothing, found.context) as origin:
        result = dcmweb(*given, origin.url, "search")
    assert not is_trusted(result)
    assert len(result.err.splitlines()) == 1  # no retries
    assert all(text in result.last for text in words)


@pytest.mark.parametrize(
    ("host", "words"),
    [("localhost", "it is for other host names"), ("127.0.0.1", "use the host name that is in it")],
)
def test_a_certificate_of_another_host(
    dcmweb: Dcmweb, authority: trustme.CA, bundle: Path, host: str, words: str
) -> None:
    with serving(nothing, context_of(authority.issue_cert("pacs.example"))) as origin:
        url = origin.url.replace("127.0.0.1", host)
        result = dcmweb("--ca-bundle", bundle, url, "search")
    assert not is_trusted(result)
    assert words in result.last


def test_a_server_without_tls(dcmweb: Dcmweb) -> None:
    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=answer, args=(listener,), daemon=True).start()
        result = dcmweb(f"https://127.0.0.1:{listener.getsockname()[1]}/x", "search")
    assert result.code == ExitCode.NETWORK
    assert "it does not answer in TLS; does BASE_URL begin with http://?" in result.last


def test_a_server_with_an_old_tls_alone(dcmweb: Dcmweb, authority: trustme.CA) -> None:
    context = context_of(authority.issue_cert(*HOSTS))
    context.set_ciphers("AES256-SHA256")  # without forward secrecy: nobody offers it
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(nothing, context) as origin:
        result = dcmweb("--retries", "0", origin.url, "search")
    assert result.code == ExitCode.NETWORK
    assert "ended the TLS handshake" in result.last
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("way", ["option", "variable"])
def test_certificates_that_are_not_checked_are_told_each_time(
    dcmweb: Dcmweb, tmp_path: Path, way: str
) -> None:
    with serving(nothing, self_signed(tmp_path).context) as origin:
        options = ["--insecure"] if way == "option" else []
        environment = {"DCMWEB_INSECURE": "1"} if way == "variable" else {}
        result = dcmweb(*options, origin.url, "search", "--count", env=environment)
        assert (result.code, result.out) == (0, "0\n")
        assert result.err.count("leaves certificates unchecked") == 1
        quiet = dcmweb("-q", "--insecure", origin.url, "search", "--count")
    assert quiet.err == ""


def test_no_note_of_certificates_where_there_is_no_tls(dcmweb: Dcmweb) -> None:
    with serving(nothing) as origin:
        assert dcmweb("--insecure", origin.url, "search").err == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"junk", "it is not in PEM or DER"),
        (b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "it is a private key"),
        (b"-----BEGIN PKCS7-----\nMIIB\n-----END PKCS7-----\n", "it is PKCS #7; convert it"),
        (b"\x30\x82\x09\x00\x02\x01\x03\x30", "it is PKCS #12; convert it"),
        (b"\xfe\xed\xfe\xed\0\0\0\2", "it is a Java key store; convert it: keytool"),
        (b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n", "is damaged"),
        (b"\x30\x82\x01\x00\x30\x00", "is damaged"),
        (None, "no file in this folder is a certificate"),
    ],
)
def test_what_holds_no_certificates(
    dcmweb: Dcmweb, tmp_path: Path, content: bytes | None, words: str
) -> None:
    given = tmp_path / "given"
    if content is None:
        given.mkdir()
    else:
        given.write_bytes(content)
    result = dcmweb("--ca-bundle", given, "https://127.0.0.1:9/x", "search")
    assert result.code == ExitCode.USAGE
    assert f"--ca-bundle {given} holds no certificates: " in result.last
    assert words in result.last


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
def test_an_address_of_ipv6(
    dcmweb: Dcmweb, authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = socket.create_server
    monkeypatch.setattr(
        socket,
        "create_server",
        lambda _address, **more: create(("::1", 0), family=socket.AF_INET6, **more),
    )
    with serving(nothing, context_of(authority.issue_cert(*HOSTS))) as origin:
        monkeypatch.undo()
        url = origin.url.replace("127.0.0.1", "[::1]")
        assert is_trusted(dcmweb("--ca-bundle", bundle, url, "search"))


def test_a_redirect_leads_to_a_host_that_the_option_trusts(
    dcmweb: Dcmweb, authority: trustme.CA, bundle: Path
) -> None:
    with serving(nothing, context_of(authority.issue_cert(*HOSTS))) as there:
        away = {"Location": f"{there.url}/studies"}
        with serving(
            lambda _: Answer(302, b"", away), context_of(authority.issue_cert(*HOSTS))
        ) as origin:
            result = dcmweb("--ca-bundle", bundle, origin.url, "search")
    assert is_trusted(result)
    assert len(there.requests) == 1
