"""The client certificate: who is shown it, what it is read from, and servers that refuse it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from dcmweb.errors import ExitCode
from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import json_answer
from tests.functional.certificates import (
    HOSTS,
    Files,
    as_pkcs12,
    context_of,
    encrypted,
    expired,
    issued,
)
from tests.functional.origin import Answer, Request, serving

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
PASSWORD = "sésame"
PASSWORD_VARIABLE = "DCMWEB_KEY_PASSWORD"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(tmp_path: Path, authority: trustme.CA) -> list[str]:
    """The options that trust the servers of these tests."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return ["--retries", "5", "--ca-bundle", str(path)]


@pytest.fixture
def client(tmp_path: Path, authority: trustme.CA) -> Files:
    return issued(tmp_path, "client", authority.issue_cert(common_name="joe"))


def nothing(_: Request) -> Answer:
    return json_answer([])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("command", [["search"], ["store", "in"], ["-j", "4", "store", "in"]])
def test_a_server_that_gets_no_certificate_is_told_as_such_at_once(
    dcmweb: Dcmweb,
    tmp_path: Path,
    authority: trustme.CA,
    trusting: list[str],
    version: ssl.TLSVersion,
    command: list[str],
) -> None:
    write_files(tmp_path / "in", make_series(20, size=100_000))
    context = context_of(authority.issue_cert(*HOSTS), authority, version=version)
    with serving(nothing, context) as origin:
        result = dcmweb(*trusting, origin.url, *command)
    assert result.code == ExitCode.AUTH
    assert "asks for a client certificate" in result.err
    assert "--cert FILE" in result.err
    assert ", 0 retries" in result.err or command == ["search"]
    assert origin.requests == []


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_of_another_ca_is_refused(
    dcmweb: Dcmweb,
    tmp_path: Path,
    authority: trustme.CA,
    trusting: list[str],
    version: ssl.TLSVersion,
) -> None:
    other = issued(tmp_path, "other", trustme.CA().issue_cert(common_name="eve"))
    context = context_of(authority.issue_cert(*HOSTS), authority, version=version)
    with serving(nothing, context) as origin:
        result = dcmweb(*trusting, "--cert", other.both, origin.url, "search")
    assert result.code == ExitCode.AUTH
    assert "refuses the client certificate" in result.last
    assert str(other.both) in result.last


def test_a_certificate_that_has_expired_is_told_as_such(
    dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA, trusting: list[str]
) -> None:
    old = expired(tmp_path, authority)
    context = context_of(authority.issue_cert(*HOSTS), authority)
    with serving(nothing, context) as origin:
        result = dcmweb(*trusting, "--cert", old.both, origin.url, "search")
    assert result.code == ExitCode.AUTH
    assert "expired on 2001-01-01" in result.last


NGINX = b"<html><head><title>400 %s</title></head><body>400 Bad Request</body></html>"


@pytest.mark.parametrize("command", [["search"], ["store", "in"], ["retrieve", "-o", "out"]])
@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"No required SSL certificate was sent", "asks for a client certificate"),
        (b"The SSL certificate error", "asks for a client certificate"),
    ],
)
def test_the_page_of_nginx_is_not_about_files(
    dcmweb: Dcmweb, tmp_path: Path, command: list[str], page: bytes, words: str
) -> None:
    write_files(tmp_path / "in", make_series(3))
    answer = Answer(400, NGINX % page, {"Content-Type": "text/html"})
    with serving(lambda _: answer) as origin:
        result = dcmweb(origin.url, *command)
    assert result.code == ExitCode.AUTH
    assert words in result.err


def test_only_the_server_of_base_url_is_shown_the_certificate(
    dcmweb: Dcmweb, authority: trustme.CA, trusting: list[str], client: Files
) -> None:
    def context() -> ssl.SSLContext:
        return context_of(authority.issue_cert(*HOSTS), authority, demands=False)

    with serving(nothing, context()) as other:
        away = {"Location": f"{other.url}/studies"}
        with serving(lambda _: Answer(302, b"", away), context()) as origin:
            result = dcmweb(*trusting, "--cert", client.both, origin.url, "search")
            assert result.code == 0
            root = ["--qido-root", other.url]
            assert origin.certificates
            assert all(origin.certificates)
            assert other.certificates
            assert not any(other.certificates)
            other.certificates.clear()
            dcmweb(*trusting, "--cert", client.both, *root, origin.url, "search")
            assert all(other.certificates)  # it is a root of the service


Given = tuple[list[object], dict[str, str]]


def separate(client: Files, _: Path) -> Given:
    return ["--cert", client.cert, "--key", client.key], {}


def combined(client: Files, _: Path) -> Given:
    return ["--cert", client.both], {}


def by_variable(client: Files, _: Path) -> Given:
    key = encrypted(client, PASSWORD)
    return ["--cert", client.cert, "--key", key], {PASSWORD_VARIABLE: PASSWORD}


def by_file(client: Files, folder: Path) -> Given:
    (folder / "password").write_text(f"{PASSWORD}\n", encoding="utf-8")
    key = encrypted(client, PASSWORD)
    return ["--cert", client.cert, "--key", key, "--key-password-file", folder / "password"], {}


def by_command(client: Files, folder: Path) -> Given:
    given, _ = by_file(client, folder)
    return [*given[:4], "--key-password-command", f"cat {folder}/password"], {}


def in_pkcs12(client: Files, _: Path) -> Given:
    return ["--cert", as_pkcs12(client, PASSWORD)], {PASSWORD_VARIABLE: PASSWORD}


def in_utf_16(client: Files, folder: Path) -> Given:
    path = folder / "client.txt"
    path.write_bytes(client.both.read_text().encode("utf-16"))
    return ["--cert", path], {}


def in_der(client: Files, folder: Path) -> Given:
    first = client.cert.read_text().split("-----BEGIN CERTIFICATE-----")[1]
    path = folder / "client.der"
    path.write_bytes(ssl.PEM_cert_to_DER_cert(f"-----BEGIN CERTIFICATE-----{first}"))
    return ["--cert", path, "--key", client.key], {}


@pytest.mark.parametrize(
    "form",
    [separate, combined, by_variable, by_file, by_command, in_pkcs12, in_utf_16, in_der],
)
def test_a_certificate_and_its_key_may_be_in_several_forms(
    dcmweb: Dcmweb,
    tmp_path: Path,
    authority: trustme.CA,
    trusting: list[str],
    client: Files,
    form: Callable[[Files, Path], Given],
) -> None:
    options, environment = form(client, tmp_path)
    with serving(nothing, context_of(authority.issue_cert(*HOSTS), authority)) as origin:
        command = (*trusting, *map(str, options), origin.url, "search")
        result = dcmweb(*command, env=environment)
    assert (result.code, result.err) == (0, "")


def test_a_certificate_may_come_through_a_profile(
    dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA, client: Files
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    key = encrypted(client, PASSWORD)
    with serving(nothing, context_of(authority.issue_cert(*HOSTS), authority)) as origin:
        config = tmp_path / "config.toml"
        config.write_text(
            f'[pacs]\nurl = "{origin.url}"\nca-bundle = "{tmp_path}/ca.pem"\n'
            f'cert = "{client.cert}"\nkey = "{key}"\nkey-password = "{PASSWORD}"\n',
            encoding="utf-8",
        )
        config.chmod(0o600)
        result = dcmweb("@pacs", "search", env={"DCMWEB_CONFIG": str(config)})
    assert (result.code, result.err) == (0, "")


def test_what_is_wrong_with_a_certificate_or_its_key(
    dcmweb: Dcmweb, tmp_path: Path, authority: trustme.CA, client: Files
) -> None:
    other = issued(tmp_path, "other", authority.issue_cert(common_name="eve"))
    key, junk = encrypted(client, PASSWORD), tmp_path / "junk"
    junk.write_text("junk")
    p12, wrong = as_pkcs12(client, PASSWORD), {PASSWORD_VARIABLE: "wrong"}
    cases: list[tuple[list[Path | str], dict[str, str], ExitCode, str]] = [
        (["--cert", client.cert], {}, ExitCode.USAGE, "give the file of the key with --key"),
        (["--key", client.key], {}, ExitCode.USAGE, "--key needs --cert"),
        (["--cert", client.key, "--key", client.cert], {}, ExitCode.USAGE, "swap --cert and --key"),
        (["--cert", client.cert, "--key", other.key], {}, ExitCode.USAGE, "does not belong to"),
        (["--cert", client.cert, "--key", key], {}, ExitCode.USAGE, "is encrypted"),
        (["--cert", client.cert, "--key", key], wrong, ExitCode.AUTH, "the password does not open"),
        (["--cert", p12], wrong, ExitCode.AUTH, "the password does not open"),
        (["--cert", p12, "--key", key], wrong, ExitCode.USAGE, "omit --key"),
        (["--cert", junk], {}, ExitCode.USAGE, "holds no certificate"),
        (["--cert", client.cert, "--key", junk], {}, ExitCode.USAGE, "holds no private key"),
        (["--cert", tmp_path / "none"], {}, ExitCode.USAGE, "there is no file"),
    ]
    for options, environment, code, words in cases:
        result = dcmweb(*options, "https://127.0.0.1:9/x", "search", env=environment)
        assert (result.code, len(result.err.splitlines())) == (code, 1), result.err
        assert words in result.last
        assert PASSWORD not in result.err


def test_a_certificate_without_tls_is_a_usage_error(dcmweb: Dcmweb, client: Files) -> None:
    result = dcmweb("--cert", client.both, "http://127.0.0.1:9/x", "search")
    assert result.code == ExitCode.USAGE
    assert "--cert is for https alone" in result.last
