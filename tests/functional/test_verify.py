"""`store --verify`: the server is asked afterwards whether it has every instance."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dcmweb.transactions.store.resend import WAITS
from tests.conftest import Dcmweb, make_series, write_files
from tests.functional.archive import Archive, json_answer
from tests.functional.origin import Answer, Request, serving

MISSING = "1.2.3.4.2"


def forgetting(archive: Archive, times: int) -> object:
    """An archive that does not list one of its instances the first times."""
    left = [times]

    def handle(request: Request) -> Answer:
        answer = archive(request)
        if request.path.endswith("/instances") and "offset=" not in request.query and left[0]:
            left[0] -= 1
            rows = json.loads(answer.body)
            return json_answer([row for row in rows if row["00080018"]["Value"] != [MISSING]])
        return answer

    return handle


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_all_that_is_listed_is_verified(dcmweb: Dcmweb, tmp_path: Path, mode: list[str]) -> None:
    write_files(tmp_path / "in", [*make_series(3), *make_series(2, "1.9", "1.9.1")])
    with serving(Archive(page=2)) as origin:
        result = dcmweb(*mode, origin.url, "store", "in", "--verify")
    assert result.code == 0
    assert "Verified: the server lists 5 of 5 instances\n" in result.err
    assert "stored 5, skipped 0, failed 0;" in result.last


@pytest.mark.slow
def test_what_is_not_listed_is_failed_and_sent_again_by_the_manifest(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(3))
    archive = Archive()
    arguments = ("store", "in", "--verify", "--manifest", "m", "--failed-to", "f")
    with serving(forgetting(archive, 99)) as origin:  # type: ignore[arg-type]
        result = dcmweb(origin.url, *arguments)
        origin.handler = archive
        again = dcmweb(origin.url, *arguments)
    assert result.code == 1
    assert "in/2.dcm failed: the server does not list it\n" in result.err
    assert "failed 1: the server does not list it: in/2.dcm\n" in result.err
    assert "Verified: the server lists 2 of 3 instances\n" in result.err
    assert "stored 2, skipped 0, failed 1;" in result.last
    assert again.code == 0
    assert "Verified: the server lists 3 of 3 instances\n" in again.err
    assert "stored 1, done before 2, " in again.last


@pytest.mark.slow
def test_a_server_that_lists_late_is_asked_again(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(3))
    with serving(forgetting(Archive(), len(WAITS) - 1)) as origin:  # type: ignore[arg-type]
        result = dcmweb(origin.url, "store", "in", "--verify")
    assert result.code == 0


def test_what_cannot_be_asked_for_is_unknown(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    archive = Archive()
    with serving(lambda r: archive(r) if r.method == "POST" else Answer(403)) as origin:
        result = dcmweb(origin.url, "store", "in", "--verify")
    assert result.code == 1
    assert "in/1.dcm unknown: it cannot be verified: answered 403 Forbidden\n" in result.err
    assert "stored 0, skipped 0, failed 0, unknown 2;" in result.last
