"""Passwords and tokens that real servers want."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_series, tree, write_files
from tests.live.conftest import StartApache, StartNginx, StartProvider, StartTinyPacs
from tests.live.orthanc import Orthanc
from tests.live.servers.nginx import Features
from tests.live.servers.oidc import SECRET, OidcProvider
from tests.live.servers.tls import Authority

pytestmark = pytest.mark.live

TOKEN = "t0ken-S3CR3T"


@pytest.mark.parametrize(("user", "password"), [("alice", "se:cret"), ("bob", "pässwörd")])
def test_users_of_orthanc(
    dcmweb: Dcmweb, orthanc_with_users: Orthanc, tmp_path: Path, user: str, password: str
) -> None:
    write_files(tmp_path / "in", make_series(2))
    environment = {"DCMWEB_PASSWORD": password}
    url = orthanc_with_users.url
    assert dcmweb("--user", user, url, "store", "in", env=environment).code == 0
    assert dcmweb("--user", user, url, "retrieve", "-o", "out", env=environment).code == 0
    assert len(tree(tmp_path / "out")) == orthanc_with_users.count_instances() == 2


@pytest.mark.parametrize("command", [["search"], ["store", "in"], ["retrieve", "-o", "out"]])
def test_a_password_of_nginx(
    dcmweb: Dcmweb, orthanc: Orthanc, start_nginx: StartNginx, tmp_path: Path, command: list[str]
) -> None:
    url = start_nginx(orthanc.url, Features(users={"alice": "se:cret"})).url
    write_files(tmp_path / "in", make_series(2))
    without = dcmweb(url, *command)
    assert (without.code, without.out) == (4, "")
    assert "the server asks for Basic" in without.err
    wrong = dcmweb("--user", "alice", url, *command, env={"DCMWEB_PASSWORD": "wr0ng"})
    assert (wrong.code, wrong.out) == (4, "")
    assert "wr0ng" not in wrong.err
    assert orthanc.count_instances() == 0
    right = dcmweb("--user", "alice", url, *command, env={"DCMWEB_PASSWORD": "se:cret"})
    assert right.code == 0


def test_a_token_of_tiny_pacs(
    dcmweb: Dcmweb, start_tiny_pacs: StartTinyPacs, tmp_path: Path
) -> None:
    server = start_tiny_pacs(tokens=["another", TOKEN])
    files = make_series(5)
    write_files(tmp_path / "in", files)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "wrong").write_text("wr0ng-S3CR3T")
    for options in ([], ["--token-file", "wrong"]):
        refused = dcmweb(*options, server.url, "store", "in")
        assert (refused.code, refused.out) == (4, "")
        assert "S3CR3T" not in refused.err
    stored = dcmweb("--token-file", "token", server.url, "store", "in")
    assert stored.code == 0, stored.err
    retrieved = dcmweb(server.url, "retrieve", "studies/1.2.3", env={"DCMWEB_TOKEN": TOKEN})
    assert retrieved.code == 0, retrieved.err


def test_tiny_pacs_keeps_what_is_stored(
    dcmweb: Dcmweb, start_tiny_pacs: StartTinyPacs, tmp_path: Path
) -> None:
    server = start_tiny_pacs(overwrite=True)
    files = make_series(5) + make_series(2, "1.2.4", "1.2.4.1")
    write_files(tmp_path / "in", files)
    for _ in range(2):
        assert dcmweb("-m", server.url, "store", "in").code == 0
    assert dcmweb(server.url, "search", "--count").out == "2\n"
    assert dcmweb(server.url, "search", "PatientID=nobody", "--count").out == "0\n"
    retrieved = dcmweb("-m", server.url, "retrieve", "-o", "out")
    assert retrieved.code == 0, retrieved.err
    assert len(tree(tmp_path / "out")) == len(files)


def fetch_token(provider: OidcProvider, authority: Authority) -> str:
    """Get a token as `curl` would."""
    form = {
        "grant_type": "client_credentials",
        "scope": "dicomweb",
        "client_id": "post",
        "client_secret": SECRET,
    }
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(authority.bundle)
        return str(session.post(provider.token_url, form, timeout=10).json()["access_token"])


@pytest.mark.parametrize("check", ["jwks", "introspection"])
def test_a_token_of_an_openid_provider(
    dcmweb: Dcmweb,
    orthanc: Orthanc,
    start_provider: StartProvider,
    start_apache: StartApache,
    request: pytest.FixtureRequest,
    check: str,
) -> None:
    authority: Authority = request.getfixturevalue("authority")
    folder: Path = request.getfixturevalue("tmp_path")
    format = "jwt" if check == "jwks" else "opaque"
    provider = start_provider(format=format, certificate=authority.server)
    apache = start_apache(orthanc.url, provider, check=check)
    files = make_series(10)
    write_files(folder / "in", files)
    (folder / "token").write_text("no-such-token")
    for options in ([], ["--token-file", "token"]):
        refused = dcmweb("-m", *options, apache.url, "store", "in")
        assert (refused.code, refused.out, orthanc.count_instances()) == (4, "", 0)
    (folder / "token").write_text(fetch_token(provider, authority))
    stored = dcmweb("-m", "--token-file", "token", apache.url, "store", "in")
    assert stored.code == 0, stored.err
    assert dcmweb("--token-file", "token", apache.url, "retrieve", "-o", "out").code == 0
    assert sorted(tree(folder / "out").values()) == sorted(files)


def accepts(url: str, token: str) -> bool:
    """Return True if a search with the token succeeds."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"}
        return session.get(f"{url}/studies", headers=headers, timeout=10).ok


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_token_that_expires_during_a_run_is_read_again(
    dcmweb: Dcmweb,
    orthanc: Orthanc,
    start_provider: StartProvider,
    start_apache: StartApache,
    authority: Authority,
    tmp_path: Path,
) -> None:
    write_files(tmp_path / "in", make_series(1) + make_series(1, "1.2.4"))
    assert dcmweb(orthanc.url, "store", "in").code == 0
    provider = start_provider(seconds=4, certificate=authority.server)
    url = start_apache(orthanc.url, provider).url
    first = fetch_token(provider, authority)
    (tmp_path / "token").write_text(first)
    command = ["--token-file", "token", url, "retrieve", "--files-from", "-", "-o", "out"]
    with subprocess.Popen(
        [*DCMWEB, *command],
        cwd=tmp_path,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdin is not None
        process.stdin.write("studies/1.2.3\n")
        wait_until(lambda: len(list(tmp_path.glob("out/1.2.3/*/*.dcm"))) == 1)
        wait_until(lambda: not accepts(url, first))
        (tmp_path / "token").write_text(fetch_token(provider, authority))
        _, err = process.communicate("studies/1.2.4\n", timeout=60)
    assert process.returncode == 0, err
    assert len(tree(tmp_path / "out")) == 2
