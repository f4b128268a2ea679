"""`copy`: from one server to another, byte for byte, with the accounting of `store`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Dcmweb, Result, make_instance, make_series, write_files
from tests.functional.archive import Archive, Scripted, sent_parts
from tests.functional.archives import GOOGLE, running
from tests.functional.origin import Answer, Handler, Origin, Request, serving
from tests.functional.storing import posts, taking

SERIES = [make_series(n, f"1.{n}", f"1.{n}.1") for n in range(1, 6)]  # n instances in study 1.n
ALL = [file for series in SERIES for file in series]
STUDY, OTHER = "studies/1.3/series/1.3.1/instances", "studies/1.2/series/1.2.1/instances"


def statuses(result: Result) -> dict[str, str]:
    """What `--json` says of each item; each is named once."""
    events = [json.loads(line) for line in result.out.splitlines()]
    named = [(one["item"], one["type"]) for one in events if one["type"] != "summary"]
    assert len(dict(named)) == len(named)
    return dict(named)


@pytest.mark.parametrize("mode", [[], ["-m"], ["-j", "7"], ["--verify"]])
@pytest.mark.parametrize("page", [2, 1000])
def test_the_whole_store_is_copied_byte_for_byte(
    dcmweb: Dcmweb, mode: list[str], page: int
) -> None:
    source, there = Archive(*ALL, page=page), Archive(page=page)
    with serving(source) as old, serving(there) as new:
        result = dcmweb(old.url, "copy", new.url, *mode)
    assert result.code == 0
    assert there.files == source.files
    assert result.err.count(f" copied to {new.url}/studies/1.") == 15
    assert "in 15 files: stored 15, skipped 0, failed 0;" in result.last
    assert not posts(old)


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_what_is_named_is_copied_and_nothing_else(dcmweb: Dcmweb, mode: list[str]) -> None:
    source, there = Archive(*ALL), Archive()
    paths = ["studies/1.2", "studies/1.3/series/1.3.1", f"{'studies/1.4/series/1.4.1'}"]
    with serving(source) as old, serving(there) as new:
        one = dcmweb(old.url, "copy", f"{STUDY}/1.3.1.2", new.url, *mode)
        assert set(there.files) == {("1.3", "1.3.1", "1.3.1.2")}
        several = dcmweb(old.url, "copy", *paths, new.url, *mode)
    assert (one.code, several.code) == (0, 0)
    assert {key[0] for key in there.files} == {"1.2", "1.3", "1.4"}
    assert all(source.files[key] == data for key, data in there.files.items())


def test_paths_come_from_a_search(dcmweb: Dcmweb, tmp_path: Path) -> None:
    source, there = Archive(*ALL), Archive()
    with serving(source) as old, serving(there) as new:
        found = dcmweb(old.url, "search", "series", "StudyInstanceUID=1.4", "--format", "uids")
        piped = dcmweb(old.url, "copy", "-", new.url, text=found.out)
        assert set(there.files) == set(source.matching("studies/1.4"))
        (tmp_path / "list").write_text("# those\nstudies/1.2\n\nstudies/1.1\n")
        listed = dcmweb(old.url, "copy", "--files-from", "list", new.url)
        empty = dcmweb(old.url, "copy", "-", new.url, text="\n")
    assert (piped.code, listed.code, empty.code) == (0, 0, 3)
    assert {key[0] for key in there.files} == {"1.1", "1.2", "1.4"}


def test_what_is_there_already_is_said(dcmweb: Dcmweb) -> None:
    """Also where the destination has other bytes under the same UID."""
    other = make_instance("1.2", "1.2.1", "1.2.1.1", size=1024)
    source, there = Archive(*SERIES[1]), Archive(other)
    with serving(source) as old, serving(there) as new:
        skip = dcmweb(old.url, "copy", new.url, "--json")
        fail = dcmweb(old.url, "copy", new.url, "--json", "--if-exists", "fail")
        assert there.files["1.2", "1.2.1", "1.2.1.1"] == other
        replace = dcmweb(old.url, "copy", new.url, "--json", "--if-exists", "replace")
    assert statuses(skip) == {f"{OTHER}/1.2.1.1": "exists", f"{OTHER}/1.2.1.2": "stored"}
    assert set(statuses(fail).values()) == {"failed"}
    assert (skip.code, fail.code, replace.code) == (0, 1, 0)
    assert there.files == source.files


def retrieved(origin: Origin) -> list[str]:
    """The paths of the streams and instances that a source was asked for."""
    paths = [request.path.removeprefix("/dicomweb/") for request in origin.requests]
    return [path for path in paths if path.rsplit("/", 1)[-1][0].isdigit()]


def without_search(archive: Archive) -> Handler:
    """The archive, with no search."""
    return lambda request: archive(request) if request.method == "POST" else Answer(501)


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_what_the_destination_has_is_not_retrieved(dcmweb: Dcmweb, mode: list[str]) -> None:
    """1.1, 1.2 and 1.3 are there; four of five of 1.5, and another series of 1.4."""
    elsewhere = make_series(4, "1.4", "1.4.9")
    there = Archive(*ALL[:6], *SERIES[4][:4], *elsewhere)
    with serving(Archive(*ALL)) as old, serving(there) as new:
        result = dcmweb(*mode, old.url, "copy", new.url, "--json")
    named = statuses(result)
    assert result.code == 0
    assert list(named.values()).count("exists") == 10
    assert sorted(key for key, said in named.items() if said == "stored") == [
        *(f"studies/1.4/series/1.4.1/instances/1.4.1.{n}" for n in range(1, 5)),
        "studies/1.5/series/1.5.1/instances/1.5.1.5",
    ]
    asked = retrieved(old)
    assert not [path for path in asked if path.startswith(("studies/1.1", "studies/1.2"))]
    assert [path for path in asked if path.startswith("studies/1.5")] == [
        "studies/1.5/series/1.5.1/instances/1.5.1.5"
    ]
    assert set(Archive(*ALL).files) <= set(there.files)


def test_instances_that_are_named_are_not_retrieved_where_they_are_there(dcmweb: Dcmweb) -> None:
    """The destination lists their series once, rather than each instance of it."""
    big = make_series(12)
    paths = [f"studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.{n}" for n in range(1, 13)]
    with serving(Archive(*big)) as old, serving(Archive(*big)) as new:
        result = dcmweb(old.url, "copy", *paths, new.url)
    assert (result.code, retrieved(old)) == (0, [])
    assert "already there 12" in result.last
    assert len(new.requests) < 10


def test_a_destination_that_cannot_be_searched_gets_everything(dcmweb: Dcmweb) -> None:
    source, there = Archive(*ALL), Archive(*SERIES[1])
    with serving(source) as old, serving(without_search(there)) as new:
        result = dcmweb(old.url, "copy", new.url, "--json")
    assert (result.code, there.files == source.files) == (0, True)
    assert set(statuses(result).values()) == {"stored"}
    searches = {one.target for one in new.requests if one.method == "GET"}
    assert len(searches) == 3  # then no more, though there are five studies


def test_a_dry_run_says_what_the_destination_has(dcmweb: Dcmweb) -> None:
    with serving(Archive(*ALL)) as old, serving(Archive(*SERIES[2])) as new:
        result = dcmweb(old.url, "copy", new.url, "--dry-run", "--json")
    named = list(statuses(result).values())
    assert (result.code, named.count("exists"), named.count("planned")) == (0, 3, 12)


def test_a_dry_run_names_what_would_be_copied(dcmweb: Dcmweb, tmp_path: Path) -> None:
    there = Archive()
    with serving(Archive(*ALL)) as old, serving(there) as new:
        result = dcmweb(old.url, "copy", new.url, "--dry-run", "--manifest", "m")
    assert result.code == 0
    assert result.err.count("would be copied") == 15
    assert (posts(new), there.files, (tmp_path / "m").exists()) == ([], {}, False)


def test_the_storage_class_goes_to_the_destination(dcmweb: Dcmweb) -> None:
    with serving(Archive(*SERIES[1])) as old, serving(Archive()) as new:
        assert dcmweb(old.url, "copy", new.url, "--storage-class", "nearline").code == 0
    assert {request.headers["storage-class"] for request in posts(new)} == {"NEARLINE"}
    assert not any("storage-class" in request.headers for request in old.requests)


def test_instances_are_asked_for_as_stored_unless_another_syntax_is_wanted(
    dcmweb: Dcmweb,
) -> None:
    with serving(Scripted(*SERIES[1])) as old, serving(Archive()) as new:
        assert dcmweb(old.url, "copy", new.url).code == 0
        streams = [one for one in old.requests if one.path.endswith("studies/1.2")]
        assert all("transfer-syntax=*" in one.headers["accept"] for one in streams)
        assert streams
        kind = "application/dicom; transfer-syntax=1.2.840.10008.1.2"
        new.handler = Archive()
        other = dcmweb(old.url, "copy", new.url, "--type", kind)
        wrong = dcmweb(old.url, "copy", new.url, "--type", "image/png")
    asked = [one for one in old.requests if "transfer-syntax=1.2.840.10008.1.2" in str(one)]
    assert asked
    assert (other.code, wrong.code) == (0, 2)
    assert "1.2.840.10008.1.2.1" in other.err or "Explicit VR" in other.err  # what came instead


def test_parts_are_disjoint_and_together_everything(dcmweb: Dcmweb) -> None:
    source, there = Archive(*ALL), Archive()
    with serving(source) as old, serving(there) as new:
        for part in ("1/3", "2/3", "3/3"):
            before = len(there.files)
            result = dcmweb(old.url, "copy", new.url, "--shard", part, "--manifest", f"m{part[0]}")
            assert f"stored {len(there.files) - before}," in result.last
        together = dcmweb("manifest", "m1", "m2", "m3")
    assert there.files == source.files
    assert together.code == 0


# The manifest.


def test_what_the_manifest_says_is_done_costs_a_listing(dcmweb: Dcmweb) -> None:
    source, there = Archive(*ALL), Archive()
    with serving(source) as old, serving(there) as new:
        first = dcmweb(old.url, "copy", new.url, "--manifest", "m")
        before, sent = len(old.requests), len(new.requests)
        again = dcmweb(old.url, "copy", new.url, "--manifest", "m")
        costs = [request.path for request in old.requests[before:]]
        verified = dcmweb(old.url, "copy", new.url, "--manifest", "m", "--verify")
    assert (first.code, again.code, verified.code) == (0, 0, 0)
    assert "stored 0, done before 15," in again.last
    assert len({path for path in costs if path.endswith("/instances")}) == 5
    assert {path for path in costs if not path.endswith("/instances")} == {"/dicomweb/studies"}
    assert len(new.requests) > sent  # by the verification
    assert "the server lists 15 of 15" in verified.err


@pytest.mark.parametrize("lost", [1, 14])
def test_only_what_is_not_done_is_sent(dcmweb: Dcmweb, tmp_path: Path, lost: int) -> None:
    """One by one or, where much is missing, as a stream of which the rest is dropped."""
    big = make_series(15)
    source, there = Archive(*big), Archive()
    with serving(source) as old, serving(without_search(there)) as new:
        dcmweb(old.url, "copy", new.url, "--manifest", "m")
        lines = (tmp_path / "m").read_text().splitlines(keepends=True)
        (tmp_path / "m").write_text("".join(lines[:-1][: len(lines) - 1 - lost]))
        before = len(new.requests)
        result = dcmweb(old.url, "copy", new.url, "--manifest", "m")
        requests = [one for one in new.requests[before:] if one.method == "POST"]
    sent = [part for one in requests for part in sent_parts(one)]
    assert (result.code, len(sent)) == (0, lost)
    assert f"already there {lost}," in result.last or f"stored {lost}," in result.last
    assert f"done before {15 - lost}," in result.last


def test_a_manifest_is_of_one_source_and_one_destination(dcmweb: Dcmweb) -> None:
    with serving(Archive(*SERIES[0])) as old, serving(Archive()) as new, serving(Archive()) as x:
        dcmweb(old.url, "copy", new.url, "--manifest", "m")
        other = dcmweb(old.url, "copy", x.url, "--manifest", "m")
        turned = dcmweb(new.url, "copy", old.url, "--manifest", "m")
        stored = dcmweb(old.url, "retrieve", "--manifest", "m")
    assert (other.code, turned.code, stored.code) == (2, 2, 2)
    assert f"the manifest m is of destination {new.url}" in other.err
    assert not posts(x)


def test_failures_go_to_a_list_for_the_next_copy(dcmweb: Dcmweb, tmp_path: Path) -> None:
    source, there = Archive(*ALL), Archive()

    def picky(request: Request) -> Answer:
        return Answer(400) if b"1.3.1.2" in request.body else there.store(request)

    with serving(source) as old, serving(taking(there, picky)) as new:
        bad = dcmweb(old.url, "copy", new.url, "--failed-to", "failed")
        assert (tmp_path / "failed").read_text() == f"{STUDY}/1.3.1.2\n"
        new.handler = there
        good = dcmweb(old.url, "copy", "--files-from", "failed", new.url)
    assert (bad.code, good.code) == (1, 0)
    assert there.files == source.files


# What is no copy.


def test_what_cannot_be_is_a_usage_error(dcmweb: Dcmweb) -> None:
    with serving(Archive(*SERIES[0])) as old, serving(Archive()) as new:
        wrong = [
            ["copy"],
            ["copy", "studies/1.1"],
            ["copy", new.url, "studies/1.1"],
            ["copy", new.url, new.url],
            ["copy", old.url],
            ["copy", f"{old.url}/"],
            ["copy", "studies/1.1/metadata", new.url],
            ["copy", "studies/1.1/series/1.1.1/instances/1.1.1.1/frames/1", new.url],
            ["copy", new.url, "--shard", "4/3"],
            ["copy", "@nobody", "--type", "x"],
            ["copy", ""],
        ]
        results = [dcmweb(old.url, *args) for args in wrong]
        none = dcmweb(old.url, "copy", "studies/1.99", new.url)
    assert [result.code for result in results] == [2] * len(wrong)
    assert none.code == 3
    assert "the source: " in none.err
    assert not posts(new)


def test_the_same_uid_in_two_series_is_sent_in_two_requests(dcmweb: Dcmweb) -> None:
    """An answer names instances by UID, so that two of the same could not be told apart."""
    files = [make_instance("1.2", "1.2.1", "1.5"), make_instance("1.2", "1.2.2", "1.5")]
    source, there = Scripted(*files), Scripted()
    with serving(source) as old, serving(there) as new:
        result = dcmweb(old.url, "copy", "studies/1.2", new.url)
    assert result.code == 0
    assert there.files == source.files
    assert [len(sent_parts(one)) for one in posts(new)] == [1, 1]


def test_the_same_instance_twice_in_a_stream_is_sent_once(dcmweb: Dcmweb) -> None:
    source, there = Scripted(*SERIES[2]), Scripted()
    one = source.matching
    source.matching = lambda path: [*one(path), *one(path)]  # type: ignore[method-assign]
    with serving(source) as old, serving(there) as new:
        result = dcmweb(old.url, "copy", "studies/1.3", new.url)
    assert result.code == 0
    assert "stored 3," in result.last
    assert sum(len(sent_parts(request)) for request in posts(new)) == 3


@pytest.mark.parametrize("mode", [[], ["-m"]])
def test_from_the_face_of_google_to_the_standard_one_and_back(
    dcmweb: Dcmweb, tmp_path: Path, mode: list[str]
) -> None:
    write_files(tmp_path / "old", ALL)
    with running(tmp_path / "old", "--strict") as old, running(tmp_path / "new") as new:
        there = dcmweb(*mode, f"{old.root}/{GOOGLE}", "copy", new.url, "--verify")
        assert sorted(new.files().values()) == sorted(ALL)
        with running(tmp_path / "last", "--strict") as last:
            back = dcmweb(*mode, new.url, "copy", f"{last.root}/{GOOGLE}", "--verify")
            assert sorted(last.files().values()) == sorted(ALL)
    assert (there.code, back.code) == (0, 0)
    assert "the server lists 15 of 15" in there.err
    assert "the server lists 15 of 15" in back.err
