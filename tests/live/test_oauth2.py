"""OAuth2 client credentials with a real OpenID provider, and a server that takes its tokens."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import (
    DCMWEB,
    Dcmweb,
    clean_environment,
    make_instance,
    make_series,
    tree,
    write_files,
)
from tests.live.conftest import StartApache, StartProvider
from tests.live.orthanc import Orthanc
from tests.live.servers.oidc import AUDIENCE, SECRET, OidcProvider
from tests.live.servers.tls import Authority
from tests.live.test_credentials import accepts, fetch_token, wait_until

pytestmark = pytest.mark.live

VARIABLES = {"DCMWEB_CLIENT_SECRET": SECRET}


def client(provider: OidcProvider, name: str, *more: str) -> list[str]:
    return ["--token-url", provider.token_url, "--client-id", name, "--scope", "dicomweb", *more]


def trust(authority: Authority) -> list[str]:
    return ["--ca-bundle", str(authority.bundle)]


@pytest.mark.parametrize(
    "way", [("basic", "jwks", "jwt"), ("post", "jwks", "jwt"), ("post", "introspection", "opaque")]
)
def test_instances_are_moved_with_tokens_of_a_client(
    dcmweb: Dcmweb,
    orthanc: Orthanc,
    start_provider: StartProvider,
    start_apache: StartApache,
    request: pytest.FixtureRequest,
    way: tuple[str, str, str],
) -> None:
    """The provider wants the secret of each client in one way, and refuses it in the other."""
    authority: Authority = request.getfixturevalue("authority")
    folder: Path = request.getfixturevalue("tmp_path")
    name, check, form = way
    provider = start_provider(format=form, certificate=authority.server)
    url = start_apache(orthanc.url, provider, check=check).url
    files = make_series(10)
    write_files(folder / "in", files)
    given = [*trust(authority), *client(provider, name)]
    stored = dcmweb(*given, "-m", url, "store", "in", env=VARIABLES)
    assert stored.code == 0, stored.err
    assert provider.tokens_given() == 1
    retrieved = dcmweb(*given, "-m", url, "retrieve", "-o", "out", env=VARIABLES)
    assert retrieved.code == 0, retrieved.err
    assert sorted(tree(folder / "out").values()) == sorted(files)
    assert SECRET not in stored.err + retrieved.err


@pytest.mark.parametrize(
    ("name", "secret", "options", "words"),
    [
        ("basic", "wr0ng", (), "client authentication failed"),
        ("post", "wr0ng", (), "client authentication failed"),
        ("nobody", SECRET, (), "client"),
        ("basic", SECRET, ("--auth-option", "resource=urn:x#y"), "resource"),
    ],
)
def test_clients_that_the_provider_refuses(
    dcmweb: Dcmweb,
    start_provider: StartProvider,
    name: str,
    secret: str,
    options: tuple[str, ...],
    words: str,
) -> None:
    provider = start_provider()
    line = (*client(provider, name, *options), "http://127.0.0.1:9/", "search")
    result = dcmweb(*line, env={"DCMWEB_CLIENT_SECRET": secret})
    assert (result.code, result.out) == (4, "")
    assert len(result.err.splitlines()) == 1
    assert f"the token server 127.0.0.1:{provider.port} refuses the credentials" in result.err
    assert words in result.err
    assert secret not in result.err


def test_an_audience_is_passed_on(dcmweb: Dcmweb, start_provider: StartProvider) -> None:
    provider = start_provider()
    for resource, code in ((AUDIENCE, 6), ("not-absolute", 4)):  # 6: there is no such server
        options = ("--auth-option", f"resource={resource}", "--retries", "0")
        line = (*client(provider, "basic", *options), "http://127.0.0.1:9/", "search")
        assert dcmweb(*line, env=VARIABLES).code == code
    assert provider.tokens_given() == 1


def test_a_certificate_of_the_provider_that_is_not_trusted(
    dcmweb: Dcmweb, start_provider: StartProvider, authority: Authority
) -> None:
    provider = start_provider(certificate=authority.server)
    line = (*client(provider, "basic"), "http://127.0.0.1:9/", "search")
    result = dcmweb(*line, env=VARIABLES)
    assert result.code == 6
    assert "is not trusted" in result.err
    assert provider.tokens_given() == 0


@pytest.mark.slow
def test_a_token_that_expires_in_the_middle_of_an_upload(
    orthanc: Orthanc,
    start_provider: StartProvider,
    start_apache: StartApache,
    authority: Authority,
    tmp_path: Path,
) -> None:
    provider = start_provider(seconds=4, certificate=authority.server)
    url = start_apache(orthanc.url, provider).url
    large = [make_instance("1.2.4", "1.2.4.1", f"1.2.4.1.{n}", 9_000_000) for n in (1, 2)]
    paths = write_files(tmp_path / "in", large + make_series(18))
    given = [*trust(authority), *client(provider, "basic"), "-j", "8"]
    with subprocess.Popen(
        [*DCMWEB, *given, url, "store", "--files-from", "-"],
        cwd=tmp_path,
        env={**clean_environment(), **VARIABLES},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(f"{paths[0]}\n{paths[1]}\n")  # too large for one request
        wait_until(lambda: provider.tokens_given() > 0)
        later = fetch_token(provider, authority)
        wait_until(lambda: not accepts(url, later))
        _, err = process.communicate("".join(f"{path}\n" for path in paths[2:]), timeout=60)
    assert process.returncode == 0, err
    assert "stored 20, skipped 0, failed 0" in err
    assert orthanc.count_instances() == 20
    assert provider.tokens_given() >= 3
