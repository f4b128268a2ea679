"""`--dry-run`: says what would be done, and does nothing."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conftest import Dcmweb, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import serving


def test_a_store_sends_nothing_and_writes_no_record(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", make_series(2))
    (tmp_path / "in" / "junk").write_text("no image")
    records = ("--manifest", "m", "--failed-to", "f")
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", "nope", "--dry-run", "--verify", *records)
    assert result.code == 1
    assert "in/1.dcm would be stored\n" in result.err
    assert "in/junk skipped: " in result.err
    assert "nope failed: " in result.err
    assert "Dry run, 2.0 KiB: planned 2, skipped 1, failed 1;" in result.last
    assert origin.requests == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "in"]


def test_a_store_goes_by_the_manifest_and_leaves_it_as_it_is(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", make_series(2))
    with serving(Archive()) as origin:
        dcmweb(origin.url, "store", "in/1.dcm", "--manifest", "m")
        before = (tmp_path / "m").read_bytes()
        result = dcmweb(origin.url, "store", "in", "--manifest", "m", "--dry-run", "--json")
    assert result.code == 0
    assert "planned 1, done before 1, skipped 0, failed 0;" in result.last
    assert (tmp_path / "m").read_bytes() == before
    events = [json.loads(line) for line in result.out.splitlines()]
    assert [event["type"] for event in events] == ["done_before", "planned", "summary"]


def test_a_retrieval_lists_what_is_not_there_yet(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Archive(*make_series(3), *make_series(2, "1.9", "1.9.1"))
    one = "studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.2"
    with serving(archive) as origin:
        dcmweb(origin.url, "retrieve", one, "-o", "out")
        before = tree(tmp_path / "out")
        plan = dcmweb(origin.url, "retrieve", "-o", "out", "--skip-existing", "--dry-run")
        fresh = dcmweb(origin.url, "retrieve", one, "-o", "elsewhere", "--dry-run")
    assert (plan.code, fresh.code) == (0, 0)
    assert "Dry run: planned 4, already there 1, " in plan.last
    assert f"{one} would be retrieved\n" in fresh.err
    assert tree(tmp_path / "out") == before
    assert not (tmp_path / "elsewhere").exists()


def test_a_retrieval_of_what_is_not_there_is_told(dcmweb: Dcmweb) -> None:
    with serving(Archive(*make_series(1))) as origin:
        result = dcmweb(origin.url, "retrieve", "studies/9.9", "--dry-run")
    assert result.code == 3
