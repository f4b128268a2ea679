"""TLS, path prefixes, limits, redirects and proxies, as real servers have them."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest

from tests.conftest import Dcmweb, Result, make_instance, make_series, tree, write_files
from tests.functional.archives import make_image, path_of
from tests.live.conftest import StartHaproxy, StartNginx, StartProxy
from tests.live.orthanc import Orthanc
from tests.live.servers.nginx import Features, Nginx
from tests.live.servers.proxies import Proxy
from tests.live.servers.tls import Authority, OldAuthority

pytestmark = pytest.mark.live

SECRET = "hunter2-S3CR3T"


@pytest.fixture
def tls(orthanc: Orthanc, start_nginx: StartNginx, authority: Authority) -> Nginx:
    """Orthanc behind an nginx with TLS."""
    return start_nginx(orthanc.url, Features(certificate=authority.server, ipv6=True))


def check_round_trip(dcmweb: Dcmweb, url: str, folder: Path, *options: str | Path) -> None:
    """Store files and retrieve them again, in parallel: the bytes must be the same."""
    files = make_series(20, "1.2.9", "1.2.9.1")
    write_files(folder / "in", files)
    stored = dcmweb("-m", *options, url, "store", "in", "--verify")
    assert stored.code == 0, stored.err
    retrieved = dcmweb("-m", *options, url, "retrieve", "--output", "out")
    assert retrieved.code == 0, retrieved.err
    assert sorted(tree(folder / "out").values()) == sorted(files)


# TLS.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_files_come_back_over_tls(
    dcmweb: Dcmweb, tls: Nginx, authority: Authority, tmp_path: Path, host: str
) -> None:
    url = tls.url_of("/dicom-web/", host)
    check_round_trip(dcmweb, url, tmp_path, "--ca-bundle", authority.bundle)


def test_only_the_right_authority_is_trusted(
    dcmweb: Dcmweb, tls: Nginx, authority: Authority, other_authority: Authority
) -> None:
    for options in ([], ["--ca-bundle", other_authority.bundle]):
        refused = dcmweb(*options, tls.url, "search")
        assert (refused.code, refused.out) == (6, "")
        assert "is not trusted: " in refused.err
    assert tls.requests() == []
    assert dcmweb("--insecure", tls.url, "search").code == 0


def test_a_bundle_in_the_environment_is_used(
    dcmweb: Dcmweb, tls: Nginx, authority: Authority
) -> None:
    result = dcmweb(tls.url, "search", env={"REQUESTS_CA_BUNDLE": str(authority.bundle)})
    assert result.code == 0, result.err


def test_an_expired_certificate_is_said_to_be_one(
    dcmweb: Dcmweb, orthanc: Orthanc, start_nginx: StartNginx, authority: Authority
) -> None:
    nginx = start_nginx(orthanc.url, Features(certificate=authority.expired))
    result = dcmweb("--ca-bundle", authority.bundle, nginx.url, "search")
    assert (result.code, result.out) == (6, "")
    assert "it has expired" in result.err


def test_an_authority_of_an_appliance_is_trusted(
    dcmweb: Dcmweb, orthanc: Orthanc, start_nginx: StartNginx, old_authority: OldAuthority
) -> None:
    nginx = start_nginx(orthanc.url, Features(certificate=old_authority.server))
    result = dcmweb("--ca-bundle", old_authority.bundle, nginx.url, "search")
    assert result.code == 0, result.err


# Client certificates.


VERSIONS = ("TLSv1.2", "TLSv1.3")
COMMANDS = (["search"], ["store", "in"], ["-m", "store", "in"], ["retrieve", "-o", "out"])


@pytest.fixture(params=[(kind, version) for kind in ("nginx", "haproxy") for version in VERSIONS])
def guarded(
    request: pytest.FixtureRequest,
    orthanc: Orthanc,
    start_haproxy: StartHaproxy,
    start_nginx: StartNginx,
    authority: Authority,
) -> str:
    """The URL of Orthanc behind a server that wants a client certificate."""
    kind, version = request.param
    if kind == "haproxy":
        return start_haproxy(orthanc.root, tls=(version, version)).url
    features = Features(
        certificate=authority.server, client_authority=authority.bundle, tls_versions=version
    )
    return start_nginx(orthanc.url, features).url


def test_files_come_back_with_a_client_certificate(
    dcmweb: Dcmweb, guarded: str, authority: Authority, tmp_path: Path
) -> None:
    client = authority.encrypted("word")
    environment = {"DCMWEB_KEY_PASSWORD": "word"}

    def run(*arguments: str | Path) -> Result:
        return dcmweb(*arguments, env=environment)

    options = ("--ca-bundle", authority.bundle, "--cert", client.chain, "--key", client.key)
    check_round_trip(run, guarded, tmp_path, *options)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_server_that_gets_no_client_certificate_or_another_ends_the_run(
    dcmweb: Dcmweb,
    guarded: str,
    authority: Authority,
    other_authority: Authority,
    tmp_path: Path,
    command: list[str],
) -> None:
    write_files(tmp_path / "in", make_series(20, size=100_000))
    other = other_authority.client
    for options, words in (
        ([], "asks for a client certificate"),
        (["--cert", other.both], "refuses the client certificate"),
    ):
        result = dcmweb("--ca-bundle", authority.bundle, *options, guarded, *command)
        assert (result.code, result.out) == (4, "")
        assert words in result.err
        assert ", 0 retries" in result.err or command == ["search"]


# What a reverse proxy does besides.


def test_a_prefix_before_a_server_that_does_not_know_of_it(
    dcmweb: Dcmweb, orthanc: Orthanc, start_nginx: StartNginx, tmp_path: Path
) -> None:
    """The server names itself by its inner address and path, which a client cannot reach."""
    nginx = start_nginx(orthanc.url, Features(prefixes=("/pacs/dicom-web/",)))
    check_round_trip(dcmweb, nginx.url, tmp_path)
    inner = len(nginx.requests())
    image = make_image(10)
    write_files(tmp_path / "image", [image])
    assert dcmweb(nginx.url, "store", "image").code == 0
    path = f"{path_of(image)}/bulkdata"
    result = dcmweb(nginx.url, "retrieve", path, "--output", "bulk")
    assert result.code == 0, result.err
    (data,) = tree(tmp_path / "bulk").values()
    assert data == pydicom.dcmread(pydicom.filebase.DicomBytesIO(image)).PixelData
    # The bulk data was requested from nginx.
    assert any("/bulk/" in line for line in nginx.requests()[inner:])


def test_a_base_url_that_ends_too_early_leads_to_a_proposal(
    dcmweb: Dcmweb, orthanc: Orthanc, start_nginx: StartNginx
) -> None:
    nginx = start_nginx(orthanc.url, Features(prefixes=("/pacs/dicom-web/",)))
    result = dcmweb(f"{nginx.root}/pacs", "search")
    assert result.code == 3
    assert f"the DICOMweb service is at {nginx.url}: give that as BASE_URL" in result.err


def test_requests_become_smaller_at_a_limit(
    dcmweb: Dcmweb, orthanc: Orthanc, start_nginx: StartNginx, tmp_path: Path
) -> None:
    nginx = start_nginx(orthanc.url, Features(largest_body="16k"))
    write_files(tmp_path / "in", make_series(30))
    write_files(tmp_path / "large", [make_instance("1.5", "1.5.1", "1.5.1.1", size=32_000)])
    result = dcmweb("-m", nginx.url, "store", "in", "large")
    assert result.code == 1
    assert "large/1.dcm failed: answered 413" in result.err
    assert "stored 30, skipped 0, failed 1" in result.last
    assert orthanc.count_instances() == 30


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_followed_without_the_password(
    dcmweb: Dcmweb,
    orthanc_with_users: Orthanc,
    start_nginx: StartNginx,
    tmp_path: Path,
    status: int,
) -> None:
    features = Features(redirect=f"{orthanc_with_users.root}{{path}}", redirect_status=status)
    nginx = start_nginx("http://127.0.0.1:9", features)
    write_files(tmp_path / "in", make_series(1))
    for command in (["search"], ["retrieve", "studies/1.2.3"], ["store", "in"]):
        password = {"DCMWEB_PASSWORD": "se:cret"}
        result = dcmweb("--user", "alice", nginx.url, *command, env=password)
        assert result.code != 0
        assert "se:cret" not in result.out + result.err
    assert orthanc_with_users.count_instances() == 0


def test_a_redirect_of_a_search_is_followed(
    dcmweb: Dcmweb, orthanc: Orthanc, start_nginx: StartNginx, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(2))
    assert dcmweb(orthanc.url, "store", "in").code == 0
    nginx = start_nginx(orthanc.url, Features(redirect=f"{orthanc.root}{{path}}"))
    result = dcmweb(nginx.url, "search", "instances", "--count")
    assert (result.code, result.out) == (0, "2\n")
    refused = dcmweb(nginx.url, "store", "in")
    assert refused.code == 5
    assert f"to {orthanc.url}/studies" in refused.err


# Proxies.


def through(proxy: str) -> dict[str, str]:
    """The environment of a command that uses a proxy."""
    return {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy}


@pytest.fixture
def http_proxy(start_tinyproxy: StartProxy) -> Proxy:
    return start_tinyproxy("alice", SECRET)


@pytest.fixture
def socks_proxy(start_microsocks: StartProxy) -> Proxy:
    return start_microsocks("alice", f"{SECRET}:@/")


@pytest.mark.parametrize("server", ["orthanc", "tls"])
@pytest.mark.parametrize("kind", ["http_proxy", "socks_proxy"])
def test_files_come_back_through_a_proxy_with_a_password(
    dcmweb: Dcmweb,
    request: pytest.FixtureRequest,
    authority: Authority,
    tmp_path: Path,
    kind: str,
    server: str,
) -> None:
    proxy: Proxy = request.getfixturevalue(kind)
    url = request.getfixturevalue(server).url
    environment = {**through(proxy.url), "REQUESTS_CA_BUNDLE": str(authority.bundle)}

    def run(*arguments: str | Path) -> Result:
        return dcmweb(*arguments, env=environment)

    check_round_trip(run, url, tmp_path)
    assert proxy.connections()
    used = len(proxy.connections())
    environment["NO_PROXY"] = "127.0.0.1"
    assert run(url, "search").code == 0
    assert len(proxy.connections()) == used


def test_a_socks_proxy_looks_up_names(dcmweb: Dcmweb, orthanc: Orthanc, socks_proxy: Proxy) -> None:
    url = orthanc.url.replace("127.0.0.1", "localhost")
    assert dcmweb(url, "search", env=through(socks_proxy.url)).code == 0
    assert all("localhost" in line for line in socks_proxy.connections())


@pytest.mark.parametrize("command", [["search"], ["store", "in"], ["retrieve", "-o", "out"]])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_without_its_password_is_named(
    dcmweb: Dcmweb,
    request: pytest.FixtureRequest,
    http_proxy: Proxy,
    tmp_path: Path,
    scheme: str,
    command: list[str],
) -> None:
    write_files(tmp_path / "in", make_series(2))
    url = f"{scheme}://server.example/dicom-web"
    result = dcmweb(url, *command, env=through(http_proxy.bare_url))
    assert (result.code, result.out) == (6, "")
    assert f"the proxy {http_proxy.bare_url} asks for a user and password" in result.err


@pytest.mark.parametrize("kind", ["http_proxy", "socks_proxy"])
def test_a_wrong_password_of_a_proxy_is_not_shown(
    dcmweb: Dcmweb, request: pytest.FixtureRequest, kind: str, orthanc: Orthanc
) -> None:
    proxy: Proxy = request.getfixturevalue(kind)
    wrong = proxy.url_with("alice", "wr0ng-S3CR3T")
    result = dcmweb("--debug", "--retries", "0", orthanc.url, "search", env=through(wrong))
    assert result.code in (4, 6)
    assert result.out == ""
    assert "S3CR3T" not in result.err
