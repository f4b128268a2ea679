"""Credentials of programs: all schemes can be reached, and no secret goes where it should not."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
import trustme

from dcmweb import Client, Credentials, DcmwebError, Settings, UsageError
from tests.functional.certificates import HOSTS, context_of
from tests.functional.digest import Digest
from tests.functional.origin import Answer, serving
from tests.functional.proxies import proxying

SECRET = "hunter2-S3CR3T"


def test_a_program_can_use_every_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    given = Credentials(scheme="digest", user="joe", password=SECRET, headers=(("X-Key", SECRET),))
    with serving(Digest(lambda _: Answer(204), "joe", SECRET)) as origin:
        with Client(origin.url, credentials=given) as client:
            assert list(client.search()) == []
        settings = Settings(base_url=origin.url, credentials=given)
        with Client.of(settings) as client:
            assert list(client.search()) == []
    assert {request.headers["x-key"] for request in origin.requests} == {SECRET}


@pytest.mark.parametrize("more", [{"user": "x"}, {"token": "x"}, {"auth": "none"}, {"cert": "x"}])
def test_credentials_are_given_in_one_way(more: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="in two ways"):
        Client("http://h", credentials=Credentials(user="joe"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given",
    [
        Credentials(scheme="aws", aws_region="x-1", headers=(("X-Key", SECRET),)),
        Credentials(query=(("key", SECRET),)),
        Credentials(scheme="other", options=(("key", SECRET),)),
        Credentials(scheme="digest", user="joe", password=SECRET),
    ],
)
def test_secrets_are_not_in_reprs_nor_pickles(given: Credentials) -> None:
    settings = Settings(base_url="http://h", credentials=given)
    assert SECRET not in f"{given!r} {settings!r} {given} {settings}"
    for one in (given, settings):
        data = pickle.dumps(one)
        assert SECRET.encode() not in data
        assert SECRET not in repr(pickle.loads(data))


def test_values_that_did_not_come_along_are_asked_for() -> None:
    given = Credentials(headers=(("X-Key", SECRET),))
    with pytest.raises(UsageError, match="X-Key was not handed to this process; give it as @FILE"):
        Client("http://h", credentials=pickle.loads(pickle.dumps(given)))


def test_references_come_along_with_pickles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", SECRET)
    given = Credentials(headers=(("X-Key", "$KEY"),), query=(("key", "$KEY"),))
    copy = pickle.loads(pickle.dumps(given))
    with (
        serving(lambda _: Answer(204)) as origin,
        Client(origin.url, credentials=copy) as client,
    ):
        assert list(client.search()) == []
    assert origin.requests[0].headers["x-key"] == SECRET
    assert f"key={SECRET}" in origin.requests[0].query


def test_errors_and_logs_of_a_program_have_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dcmweb")
    given = Credentials(headers=(("X-Key", SECRET),), query=(("key", SECRET),))
    with (
        serving(lambda r: Answer(400, r.target.encode(), {"X-Echo": SECRET})) as origin,
        Client(origin.url, credentials=given) as client,
        pytest.raises(DcmwebError) as caught,
    ):
        list(client.search())
    assert SECRET not in f"{caught.value} {caught.value!r} {vars(caught.value)}"
    assert SECRET.encode() not in pickle.dumps(caught.value)
    assert SECRET not in caplog.text
    assert "X-Key" in caplog.text


def test_a_client_takes_a_certificate_and_a_proxy(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert(common_name="joe")
    cert, key, ca = tmp_path / "joe.pem", tmp_path / "joe.key", tmp_path / "ca.pem"
    issued.cert_chain_pems[0].write_to_path(str(cert))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    context = context_of(authority.issue_cert(*HOSTS), authority)
    with serving(lambda _: Answer(204), context) as origin, proxying("http") as proxy:
        given = {"cert": cert, "key": key, "ca_bundle": ca, "proxy": proxy.url("http")}
        with Client(origin.url, **given) as client:  # type: ignore[arg-type]
            assert list(client.search()) == []
            found = {finding.name: finding for finding in client.ping()}
    assert all(origin.certificates)
    assert set(proxy.targets) == {f"CONNECT 127.0.0.1:{origin.port}"}
    assert found["identity"].words == f"whom the client certificate {cert} names"
    assert found["connection"].details["proxy"] == proxy.url("http")


def test_what_is_wrong_with_a_certificate_is_an_error_of_the_client() -> None:
    with pytest.raises(UsageError, match="--cert"):
        Client("https://h", key="k.pem")
    with pytest.raises(UsageError, match="proxy"):
        Client("https://h", proxy="ftp://h")


def test_a_client_takes_a_scheme_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "plugins"))
    with serving(lambda _: Answer(204)) as origin:
        client = Client(origin.url, auth="example-key", token=SECRET)
        assert list(client.search()) == []
        client.close()
    assert SECRET in origin.requests[0].headers.values()
    with pytest.raises(UsageError, match="there is no authentication 'nosuch'"):
        Client("http://h", auth="nosuch")
