"""The four commands against servers as they are in the field: one table of expectations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, make_instance, make_series, tree, write_files
from tests.functional.origin import serving
from tests.functional.servers import (
    EVERY,
    Aws,
    Azure,
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
