"""The four commands against servers as they are in the field: one table of expectations."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_instance, make_series, tree, write_files
from tests.functional.origin import Answer, Request, serving
from tests.functional.servers import (
    EVERY,
    Aws,
    Azure,
    AzureV1,
    Dcm4chee,
    Google,
    GoogleBeta,
    Iis,
    Kheops,
    Kind,
    Orthanc,
    OverwritingOrthanc,
    Xnat,
)

STUDY = "studies/1.2.3"
INSTANCE = f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.1"
API, REJECT = ("--orthanc-api", "auto"), ("--reject-as", "113001^DCM")


@dataclass(frozen=True)
class Expected:
    """What a server makes of a replacement and a deletion, and with which options."""

    server: str  # as the option names it; addresses on this machine tell some only
    replaced: str = "uploaded"
    replace_with: tuple[str, ...] = ()
    deletes: bool = True
    delete_with: tuple[str, ...] = ()
    hint: str = ""  # of a deletion without its option


TABLE = {
    Google: Expected("google"),
    GoogleBeta: Expected("google"),
    Azure: Expected("azure"),
    AzureV1: Expected("azure"),
    Aws: Expected("aws", "failed", deletes=False, hint="AWS HealthImaging has no DICOMweb DELETE"),
    Orthanc: Expected("orthanc", replace_with=API, delete_with=API, hint="--orthanc-api auto"),
    OverwritingOrthanc: Expected("orthanc", delete_with=API, hint="--orthanc-api auto"),
    Dcm4chee: Expected("dcm4chee", "failed", delete_with=REJECT, hint="--reject-as CODE"),
    Xnat: Expected("xnat", "failed", deletes=False, hint="XNAT has no DICOMweb DELETE"),
    Iis: Expected("iis"),
    Kheops: Expected("kheops", "failed", deletes=False, hint="Kheops has no DICOMweb DELETE"),
}
CASES = pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)


@contextmanager
def at(server: Kind) -> Iterator[str]:
    """Serve; yield BASE_URL."""
    with serving(server) as origin:
        yield server.url(origin.port)


def test_the_table_has_every_server() -> None:
    assert set(TABLE) == set(EVERY)


@CASES
@pytest.mark.parametrize("named", [True, False], ids=["named", "guessed"])
def test_what_is_stored_is_found_and_comes_back(
    dcmweb: Dcmweb, tmp_path: Path, kind: type[Kind], named: bool
) -> None:
    files = make_series(7, size=20_000)
    write_files(tmp_path / "in", files)
    how = ["--server", TABLE[kind].server] if named else []
    server = kind()
    with at(server) as url:
        stored = dcmweb(*how, url, "store", "in")
        again = dcmweb(*how, url, "store", "in")
        found = dcmweb(*how, url, "search", f"{STUDY}/series/1.2.3.4/instances", "--all")
        none = dcmweb(*how, url, "search", "studies", "StudyInstanceUID=9.9")
        retrieved = dcmweb(*how, url, "retrieve", STUDY, "-o", "out")
    assert [one.code for one in (stored, again, found, none, retrieved)] == [0, 0, 0, 0, 0]
    assert "stored 7, skipped 0, failed 0" in stored.last
    assert len(json.loads(found.out)) == 7
    assert sorted(tree(tmp_path / "out").values()) == sorted(server.files.values())
    zeroed = [bytes(128) + data[128:] for data in files]
    assert sorted(server.files.values()) == sorted(zeroed)


@CASES
def test_what_is_there_fails_where_that_is_wanted(
    dcmweb: Dcmweb, tmp_path: Path, kind: type[Kind]
) -> None:
    files = make_series(5)
    write_files(tmp_path / "in", files)
    server = kind(*files[:2])
    how = ("--server", TABLE[kind].server)
    with at(server) as url:
        result = dcmweb(*how, url, "store", "in", "--if-exists", "fail")
    assert result.code == 1
    assert "stored 3, skipped 0, failed 2" in result.last
    for name in ("1", "2"):
        assert f"in/{name}.dcm failed: the server has an instance of this UID" in result.err
    assert len(server.files) == 5


@CASES
def test_what_is_there_is_replaced_or_kept_and_never_lost(
    dcmweb: Dcmweb, tmp_path: Path, kind: type[Kind]
) -> None:
    expected = TABLE[kind]
    old, new = make_series(5), make_series(5)
    new[4] = old[4]
    write_files(tmp_path / "in", new)
    server = kind(*old[:2], old[4])
    how = ("--server", expected.server)
    command = ("store", "in", "--if-exists", "replace", *expected.replace_with)
    with at(server) as url:
        result = dcmweb(*how, url, *command)
        again = dcmweb(*how, url, *command)
    is_replaced = expected.replaced == "uploaded"
    assert (result.code, again.code) == ((0, 0) if is_replaced else (1, 1)), result.err
    for name in ("1", "2"):
        assert f"in/{name}.dcm {expected.replaced}" in result.err
    assert "in/5.dcm already there: the server has the same bytes" in result.err
    kept = [*(new if is_replaced else old)[:2], *new[2:]]
    assert sorted(server.files.values()) == sorted(kept)
    if is_replaced:
        assert result.err.count("it replaces other bytes that the server had") == 2
        assert "stored 4, " in result.last
        assert "stored 0, " in again.last


@CASES
def test_what_is_deleted_is_gone_or_a_hint_says_how(dcmweb: Dcmweb, kind: type[Kind]) -> None:
    expected = TABLE[kind]
    server = kind(*make_series(3), make_instance("1.9", "1.9.1", "1.9.1.1"))
    how = ("--server", expected.server)
    with at(server) as url:
        if expected.hint:
            refused = dcmweb(*how, url, "delete", STUDY)
            assert (refused.code in (4, 5), expected.hint in refused.err) == (True, True)
            assert len(server.files) == 4
        if expected.deletes:
            one = dcmweb(*how, url, "delete", INSTANCE, *expected.delete_with)
            assert (one.code, len(server.files)) == (0, 3)
            result = dcmweb(*how, url, "delete", STUDY, *expected.delete_with)
            assert (result.code, len(server.files)) == (0, 1), result.err
            again = dcmweb(*how, url, "delete", STUDY, *expected.delete_with)
            assert again.code == 3
            assert len(server.files) == 1


@CASES
@pytest.mark.parametrize("wrong", ["aws", "orthanc", "azure"])
def test_nothing_breaks_where_the_guess_is_wrong(
    dcmweb: Dcmweb, tmp_path: Path, kind: type[Kind], wrong: str
) -> None:
    files = make_series(4)
    write_files(tmp_path / "in", files)
    server = kind()
    with at(server) as url:
        stored = dcmweb("--server", wrong, url, "store", "in")
        found = dcmweb("--server", wrong, url, "search", "studies")
        retrieved = dcmweb("--server", wrong, url, "retrieve", STUDY, "-o", "out")
    assert [one.code for one in (stored, found, retrieved)] == [0, 0, 0]
    assert sorted(tree(tmp_path / "out").values()) == sorted(server.files.values())


# What only one of them does.


def test_requests_are_made_smaller_for_iis(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(10, size=600_000))
    server = Iis()
    with at(server) as url:
        assert dcmweb(url, "store", "in").code == 0
    assert len(server.files) == 10


def test_azure_is_asked_for_pages_that_it_gives(dcmweb: Dcmweb) -> None:
    server = Azure(*make_series(3))
    with at(server) as url:
        assert dcmweb("--server", "azure", url, "search", "studies").code == 0
        assert "limit=200" in server.requests[0].target
        assert dcmweb("--page-size", "7", url, "search", "studies").code == 0
        assert "limit=7" in server.requests[-2].target


def test_put_is_what_replaces_where_there_is_one(dcmweb: Dcmweb, tmp_path: Path) -> None:
    old, new = make_series(1), make_series(1)
    write_files(tmp_path / "in", new)
    for server in (Azure(*old), GoogleBeta(*old)):
        name = TABLE[type(server)].server
        with at(server) as url:
            result = dcmweb("--server", name, url, "store", "in", "--if-exists", "replace")
        assert result.code == 0
        changes = [r.method for r in server.requests if r.method != "GET"]
        assert changes == ["PUT"]
        assert server.has(new[0])


def test_two_files_of_one_instance_are_replaced_one_after_the_other(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    class Slow(Orthanc):
        added = 0

        def add(self, data: bytes) -> tuple[str, str]:
            self.added += 1
            return super().add(data)

        def take(self, request: Request) -> Answer:
            time.sleep(0.2)  # in which other workers find nothing, or the old one
            return super().take(request)

    versions = [make_series(1)[0] for _ in range(6)]
    write_files(tmp_path / "in", versions[1:])
    server = Slow(versions[0])
    with at(server) as url:
        how = ("--batch-count", "1", "--if-exists", "replace", *API)
        result = dcmweb("-j", "5", url, "store", "in", *how)
    assert result.code == 0
    assert "stored 5, " in result.last
    assert server.added == 6  # each that is said to have been stored was
    assert next(iter(server.files.values())) in versions[1:]


# dcm4chee.


def test_a_study_that_was_rejected_only_is_deleted_by_a_later_run(dcmweb: Dcmweb) -> None:
    server = Dcm4chee(*make_series(3))
    server.deletes = False
    with at(server) as url:
        first = dcmweb(url, "delete", STUDY, *REJECT)
        assert (first.code, server.files, len(server.rejected)) == (5, {}, 3)
        assert "rejected as 113001^DCM, 3 instances, but not deleted: answered 403" in first.err
        server.deletes = True
        second = dcmweb(url, "delete", STUDY, *REJECT)
        assert (second.code, server.rejected) == (0, {})
        assert f"{STUDY} deleted: it was rejected before" in second.err
        assert dcmweb(url, "delete", STUDY, *REJECT).code == 3


def test_a_rejection_says_how_much_it_is_of(dcmweb: Dcmweb) -> None:
    server = Dcm4chee(*make_series(3))
    with at(server) as url:
        result = dcmweb(url, "delete", INSTANCE, *REJECT)
        assert f"{INSTANCE} deleted: rejected as 113001^DCM, 1 instance" in result.err
        assert server.requests[0].target.endswith("/reject/113001^DCM")
        assert server.requests[0].headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("code", "exit_code", "words"),
    [
        ("113001", 2, "write VALUE^SCHEME, as 113001^DCM"),
        ("1/2^DCM", 2, "is not a code"),
        ("9^DCM", 5, "a code that the server is configured with"),
    ],
)
def test_a_code_that_is_not_one_changes_nothing(
    dcmweb: Dcmweb, code: str, exit_code: int, words: str
) -> None:
    server = Dcm4chee(*make_series(2))
    with at(server) as url:
        result = dcmweb(url, "delete", STUDY, "--reject-as", code)
    assert (result.code, len(server.files), server.rejected) == (exit_code, 2, {})
    assert words in result.err


@pytest.mark.parametrize("body", [b"", b"{}", b'{"count": 0}', b'{"count": true}', b"<html>"])
def test_a_rejection_without_a_count_is_not_one(dcmweb: Dcmweb, body: bytes) -> None:
    with serving(lambda _: Answer(200, body)) as origin:
        result = dcmweb(origin.url, "delete", STUDY, *REJECT)
    assert result.code == 8
    assert [request.method for request in origin.requests] == ["POST"]


def test_a_rejection_whose_answer_got_lost_is_asked_for_again(dcmweb: Dcmweb) -> None:
    server = Dcm4chee(*make_series(2))
    lost = [True]

    def handle(request: Request) -> Answer:
        answer = server(request)
        return Answer(cut=-1) if request.method == "POST" and lost and lost.pop() else answer

    with serving(handle) as origin:
        result = dcmweb(server.url(origin.port), "delete", STUDY, *REJECT)
    assert (result.code, server.files, server.rejected) == (0, {}, {})


# Orthanc's own API.


def test_nothing_is_deleted_where_there_is_no_orthanc(dcmweb: Dcmweb) -> None:
    server = Azure(*make_series(2))
    with at(server) as url:
        result = dcmweb(url, "delete", STUDY, *API)
    assert (result.code, len(server.files)) == (8, 2)
    assert "is not the REST API of Orthanc" in result.err
    assert {request.method for request in server.requests} == {"GET"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--orthanc-api", "localhost:8042"], "give auto, or a URL"),
        ([*API, *REJECT], "choose one"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(
    dcmweb: Dcmweb, options: list[str], words: str
) -> None:
    server = Orthanc(*make_series(1))
    with at(server) as url:
        result = dcmweb(url, "delete", STUDY, *options)
    assert (result.code, server.requests, words in result.err) == (2, [], True)


def test_credentials_go_to_an_api_on_the_same_host_only(dcmweb: Dcmweb) -> None:
    server, other = Orthanc(*make_series(1)), Orthanc(*make_series(1))
    environment = {"DCMWEB_USER": "me", "DCMWEB_PASSWORD": "secret"}
    with serving(server) as origin, serving(other) as elsewhere:
        url = server.url(origin.port)
        api = f"http://127.0.0.1:{elsewhere.port}"
        assert dcmweb(url, "delete", STUDY, "--orthanc-api", api, env=environment).code == 0
        assert dcmweb(url, "delete", STUDY, *API, env=environment).code == 0
    assert other.requests
    assert not any("authorization" in request.headers for request in other.requests)
    assert all("authorization" in request.headers for request in server.requests)


# What is learnt, and said.


def test_a_documented_limit_is_named_when_it_is_met(dcmweb: Dcmweb) -> None:
    with serving(lambda _: Answer(429, b"ThrottlingException")) as origin:
        how = ("--retries", "0", "--server", "aws")
        result = dcmweb(*how, origin.url, "search", "studies")
        limited = dcmweb(*how, "--requests-per-second", "20", origin.url, "search", "studies")
    assert "AWS HealthImaging takes 50 requests per second" in result.err
    assert "50 requests" not in limited.err


def test_the_form_of_the_first_request_can_be_given(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    server = Azure()
    with at(server) as url:
        assert dcmweb(url, "store", "in", "--stow-form", "single").code == 0
    posts = [request for request in server.requests if request.method == "POST"]
    assert [one.headers["content-type"] for one in posts] == ["application/dicom"] * 3
