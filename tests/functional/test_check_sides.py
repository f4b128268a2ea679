"""`check` against another server and manifests, by contents, and what stops it."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from tests.bench.listing import Listing, uids
from tests.conftest import (
    DCMWEB,
    Dcmweb,
    clean_environment,
    make_instance,
    write_files,
)
from tests.functional.archive import Archive, Scripted, json_answer, multipart_answer
from tests.functional.origin import Answer, Request, serving
from tests.functional.test_check import FIVE, Counting, flat, rows

ONE = make_instance("1.2", "1.2.1", "1.2.1.1")


# Another server.


@pytest.mark.parametrize("mode", [[], ["-m"], ["--thorough"], ["--bytes"], ["--one-way"]])
def test_two_servers_with_the_same_are_equal(dcmweb: Dcmweb, mode: list[str]) -> None:
    with serving(Archive(*flat(FIVE))) as one, serving(Archive(*flat(FIVE), page=2)) as two:
        result = dcmweb(one.url, "check", two.url, *mode)
    assert (result.code, result.out) == (0, "")
    assert "equal 15," in result.last


@pytest.mark.parametrize("mode", [[], ["-m"], ["--thorough"], ["--bytes"]])
def test_two_servers_that_differ(dcmweb: Dcmweb, mode: list[str]) -> None:
    here = [*FIVE[0], *FIVE[1], *FIVE[3][:2], *FIVE[4]]
    there = [*FIVE[1], *FIVE[2], *FIVE[3][1:3], *FIVE[4]]
    with serving(Archive(*there)) as one, serving(Archive(*here)) as two:
        result = dcmweb(one.url, "check", two.url, *mode)
        one_way = dcmweb(one.url, "check", two.url, "--one-way", *mode)
    assert (result.code, one_way.code) == (1, 1)
    missing = [
        "missing 1 studies/1.1",
        "missing 1 studies/1.4/series/1.4.1/instances/1.4.1.1",
    ]
    extra = ["extra 3 studies/1.3", "extra 1 studies/1.4/series/1.4.1/instances/1.4.1.3"]
    assert sorted(rows(result.out)) == sorted([*missing, *extra])
    assert rows(one_way.out) == missing


def test_a_sample_is_listed_at_both_servers(dcmweb: Dcmweb) -> None:
    """The other server counts what it does not list."""
    liar = Counting(*flat(one[:1] for one in FIVE))
    liar.lie = lambda uid, _: int(uid[-1])
    with serving(Counting(*flat(FIVE))) as good, serving(liar) as bad:
        lacks = dcmweb(bad.url, "check", good.url)
        result = dcmweb(good.url, "check", bad.url)
    assert (lacks.code, result.code) == (1, 1)
    assert "equal 1, skipped 0, failed 14, missing 0, extra 0" in lacks.last
    assert "equal 1, skipped 0, failed 14, missing 0, extra 0" in result.last


def test_an_empty_other_server_is_nothing_to_compare_with(dcmweb: Dcmweb) -> None:
    with serving(Archive(*FIVE[0])) as one, serving(Archive()) as two:
        assert dcmweb(one.url, "check", two.url).code == 3
        assert dcmweb(one.url, "check", two.url, "--one-way").code == 3
        result = dcmweb(two.url, "check", one.url)
    assert (result.code, rows(result.out)) == (1, ["missing 1 studies/1.1"])


def test_an_other_server_that_fails_stops_the_run(dcmweb: Dcmweb) -> None:
    with serving(Archive(*FIVE[0])) as one, serving(lambda _: Answer(403)) as two:
        result = dcmweb(one.url, "check", two.url)
    assert (result.code, result.out) == (4, "")
    assert two.url in result.err
    with serving(Archive(*FIVE[0])) as one:
        assert dcmweb(one.url, "check", "http://127.0.0.1:1/x", "--retries", "0").code == 6


@pytest.mark.parametrize("kind", ["user", "token"])
def test_credentials_go_to_their_own_server_only(dcmweb: Dcmweb, kind: str) -> None:
    secrets = {"DCMWEB_PASSWORD": "first-secret"} if kind == "user" else {"DCMWEB_TOKEN": "first"}
    user = ["--user", "me"] if kind == "user" else []
    with serving(Archive(*FIVE[0])) as one, serving(Archive(*FIVE[0])) as two:
        assert dcmweb(*user, one.url, "check", two.url, env=secrets).code == 0
        assert all("authorization" in request.headers for request in one.requests)
        assert not any("authorization" in request.headers for request in two.requests)
        its_own = two.url.replace("http://", "http://you:se%40cret@")
        result = dcmweb(*user, one.url, "check", its_own, env=secrets)
    assert result.code == 0
    expected = "Basic " + base64.b64encode(b"you:se@cret").decode()
    assert two.requests[-1].headers["authorization"] == expected
    assert expected not in {request.headers.get("authorization") for request in one.requests}
    assert "cret" not in result.err


# Contents.


def rewritten(data: bytes, change: Callable[[pydicom.FileDataset], object]) -> bytes:
    found = pydicom.dcmread(io.BytesIO(data))
    change(found)
    buffer = io.BytesIO()
    found.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def set_meta(found: pydicom.FileDataset) -> None:
    found.file_meta.ImplementationVersionName = "REWRITTEN"


def set_name(found: pydicom.FileDataset) -> None:
    found.PatientName = "Someone^Else"


def set_pixels(found: pydicom.FileDataset) -> None:
    found.PixelData = bytes(len(found.PixelData))


def set_both(found: pydicom.FileDataset) -> None:
    set_name(found)
    set_pixels(found)


CHANGES = [
    (set_meta, "equal", "data set and pixel data agree, the file meta information differs"),
    (set_name, "different", "the data set differs, the pixel data agree"),
    (set_pixels, "different", "the pixel data differ, the rest of the data set agrees"),
    (set_both, "different", "the data set differs, and the pixel data"),
]


@pytest.mark.parametrize(("change", "status", "words"), CHANGES)
@pytest.mark.parametrize("is_server", [False, True])
def test_contents_are_compared_part_by_part(
    dcmweb: Dcmweb, tmp_path: Path, change: Any, status: str, words: str, is_server: bool
) -> None:
    two = [make_instance("1.2", "1.2.1", f"1.2.1.{n}") for n in (1, 2)]
    write_files(tmp_path / "in", two)
    changed = [two[0], rewritten(two[1], change)]
    with serving(Archive(*changed)) as origin, serving(Archive(*two)) as other:
        side = other.url if is_server else "in"
        plain = dcmweb(origin.url, "check", side, "--thorough")
        result = dcmweb(origin.url, "check", side, "--bytes", "--show", "equal,different,failed")
    assert plain.code == 0
    assert result.code == (0 if status == "equal" else 1)
    assert rows(result.out) == [
        "equal 1 studies/1.2/series/1.2.1/instances/1.2.1.1",
        f"{status} 1 studies/1.2/series/1.2.1/instances/1.2.1.2",
    ]
    assert words in result.out
    if status == "equal":
        assert f"Instances of which the {words}: 1\n" in result.err


def test_another_transfer_syntax_is_different(dcmweb: Dcmweb, tmp_path: Path) -> None:
    other = ONE.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    write_files(tmp_path / "in", [ONE])
    server = Scripted(ONE)

    def handle(request: Request) -> Answer:
        is_listing = request.path.endswith(("/studies", "/series", "/instances"))
        return server(request) if is_listing else multipart_answer([other])

    with serving(handle) as origin:
        result = dcmweb(origin.url, "check", "in", "--bytes")
    assert result.code == 1
    assert rows(result.out) == ["different 1 studies/1.2"]
    assert "1.2.840.10008.1.2.1 on one side, 1.2.840.10008.1.2.5 on the other" in result.out


@pytest.mark.parametrize(
    "answer", [Answer(500), Answer(404), Answer(200, b"x", {"Content-Type": "text/html"})]
)
@pytest.mark.parametrize("is_other", [False, True])
def test_what_is_listed_and_does_not_come_is_failed(
    dcmweb: Dcmweb, tmp_path: Path, answer: Answer, is_other: bool
) -> None:
    files = flat(FIVE[:3])
    write_files(tmp_path / "in", files)
    archive = Archive(*files)

    def handle(request: Request) -> Answer:
        is_listing = request.path.rpartition("/")[2] in ("studies", "series", "instances")
        return archive(request) if is_listing or "/1.2" not in request.path else answer

    with serving(handle) as bad, serving(Archive(*files)) as good:
        sides = (good.url, bad.url) if is_other else (bad.url, "in")
        result = dcmweb(sides[0], "check", sides[1], "--bytes", "--retries", "0")
    assert result.code == 1
    assert {" ".join(row.split()[::2]) for row in rows(result.out)} <= {
        "failed studies/1.2",
        *(f"failed studies/1.2/series/1.2.1/instances/1.2.1.{n}" for n in (1, 2)),
    }
    assert "equal 4, skipped 0, failed 2, missing 0" in result.last


def test_an_instance_that_a_stream_lacks_is_failed_although_the_count_is_right(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    write_files(tmp_path / "in", FIVE[1])
    server = Counting(*FIVE[1])
    server.lie = lambda *_: 1

    def handle(request: Request) -> Answer:
        is_stream = request.path.endswith("/studies/1.2")
        return multipart_answer(FIVE[1][:1]) if is_stream else server(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "check", "in", "--bytes")
    assert result.code == 1
    assert rows(result.out) == ["failed 1 studies/1.2/series/1.2.1/instances/1.2.1.2"]
    assert "it did not come" in result.out


def test_a_file_that_went_away_meanwhile_is_failed(dcmweb: Dcmweb, tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", FIVE[1])
    archive = Archive(*FIVE[1])

    def handle(request: Request) -> Answer:
        paths[1].unlink(missing_ok=True)
        return archive(request)

    with serving(handle) as origin:
        result = dcmweb(origin.url, "check", "in", "--bytes")
    assert result.code == 1
    assert "in/2.dcm cannot be read: No such file" in result.out
    assert "equal 1, skipped 0, failed 1" in result.last


def test_each_of_two_files_of_an_instance_is_compared(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", [ONE, rewritten(ONE, set_pixels)])
    with serving(Archive(ONE)) as origin:
        result = dcmweb(
            origin.url, "check", "in", "--bytes", "--format", "paths", "--show", "different"
        )
    assert (result.code, result.out) == (1, "in/2.dcm\n")


def test_no_temporary_file_is_left(dcmweb: Dcmweb, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    write_files(tmp_path / "in", flat(FIVE))
    with serving(Archive(*flat(FIVE))) as origin:
        result = dcmweb(origin.url, "check", "in", "--bytes", env={"TMPDIR": str(tmp_path / "tmp")})
    assert result.code == 0
    assert os.listdir(tmp_path / "tmp") == []


# Manifests.


def test_the_manifest_of_a_store_is_compared(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_files(tmp_path / "in", flat(FIVE[:3]))
    (tmp_path / "in" / "a.txt").write_text("a")
    with serving(Archive()) as origin:
        dcmweb(origin.url, "store", "in", "--manifest", "m")
        good = dcmweb(origin.url, "check", "m")
        contents = dcmweb(origin.url, "check", "m", "--bytes")
        dcmweb(origin.url, "delete", "studies/1.2")
        bad = dcmweb(origin.url, "check", "m", "--format", "paths")
    assert (good.code, contents.code, bad.code) == (0, 0, 1)
    assert "equal 6," in contents.last
    assert bad.out.splitlines() == [str(tmp_path / "in" / f"{n}.dcm") for n in (2, 3)]


def test_the_manifest_of_a_retrieval_is_compared(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Archive(*flat(FIVE[:3]))) as origin:
        dcmweb(origin.url, "retrieve", "-o", "out", "--manifest", "m")
        with open(tmp_path / "m", "a", encoding="utf-8") as file:
            failed = {"type": "failed", "item": "studies/1.7", "reason": "it did not come"}
            rendered = {"type": "retrieved", "item": "studies/1.7/rendered", "place": "x.jpg"}
            file.writelines(json.dumps(one) + "\n" for one in (failed, rendered))
            file.write('{"type": "retri')  # of a run that was killed
        good = dcmweb(origin.url, "check", "m", "--bytes")
        origin.handler = Archive(*flat(FIVE[:4]))
        bad = dcmweb(origin.url, "check", "m")
    assert good.code == 0
    assert "1 of its items were not retrieved" in good.err
    assert "1 of its items are not instances" in good.err
    assert (bad.code, rows(bad.out)) == (1, ["extra 4 studies/1.4"])


def test_the_manifest_of_a_copy_is_compared(dcmweb: Dcmweb) -> None:
    archive = Archive(*flat(FIVE[:3]))
    with serving(archive) as old, serving(Archive()) as new:
        dcmweb(old.url, "copy", new.url, "--manifest", "m")
        good = dcmweb(new.url, "check", "m")
        contents = dcmweb(new.url, "check", "m", "--bytes")
        dcmweb(new.url, "delete", "studies/1.2")
        bad = dcmweb(new.url, "check", "m", "--show", "missing", "--format", "uids")
    assert (good.code, bad.code) == (0, 1)
    assert "equal 6," in good.last
    assert "studies/1.2" in bad.out
    assert contents.code == 1
    assert "the manifest names no file of it" in contents.out


def test_the_last_line_of_a_file_counts(dcmweb: Dcmweb, tmp_path: Path) -> None:
    header = {"type": "manifest", "version": 1, "base_url": "http://x", "command": "store"}
    uids = {"study": "1.1", "series": "1.1.1", "instance": "1.1.1.1"}
    lines = [
        header,
        {"type": "failed", "item": "/a.dcm", "reason": "it could not be read"},
        {"type": "stored", "item": "/a.dcm", **uids},
        {"type": "failed", "item": "/b.dcm", "reason": "it could not be read"},
    ]
    path = tmp_path / "m"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines[:-1]))
    with serving(Archive(*FIVE[0])) as origin:
        assert dcmweb(origin.url, "check", "m").code == 0
        path.write_text("".join(json.dumps(one) + "\n" for one in lines))
        result = dcmweb(origin.url, "check", "m", "--show", "failed")
    assert result.code == 1
    assert "/b.dcm  in the manifest: it could not be read\n" in result.out


def test_the_manifests_of_several_machines_are_compared_together(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    with serving(Archive()) as origin:
        for number, files in enumerate(FIVE[:3]):
            write_files(tmp_path / f"in{number}", files)
            dcmweb(origin.url, "store", f"in{number}", "--manifest", f"m{number}")
        good = dcmweb(origin.url, "check", "m0", "m1", "m2")
        bad = dcmweb(origin.url, "check", "m0", "m2")
        mixed = dcmweb(origin.url, "check", "m0", "in1")
    assert (good.code, bad.code, mixed.code) == (0, 1, 2)
    assert rows(bad.out) == ["extra 2 studies/1.2"]
    assert "cannot be compared together" in mixed.err


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ('{"type": "manifest", "version": 1, "command": "delete"}\n', 2, "a manifest of delete"),
        ('{"type": "manifest", "version": 9, "command": "store"}\n', 2, "of version 1"),
        (
            '{"type": "manifest", "version": 1, "command": "store"}\n',
            3,
            "no instances in the manifest",
        ),
        ('{"type": "manifest", "version": 1, "command": "store"}\nodd\n', 2, "see line 2"),
        ('{"type": "manifest", "version": 1, "command": "store"}', 2, "incomplete"),
        ('{"type": "stored"}\n', 3, "no DICOM instances"),
    ],
)
def test_other_manifests_are_errors(
    dcmweb: Dcmweb, tmp_path: Path, text: str, code: int, words: str
) -> None:
    (tmp_path / "m").write_text(text)
    with serving(Archive(*FIVE[0])) as origin:
        result = dcmweb(origin.url, "check", "m")
    assert result.code == code
    assert words in result.err


# What stops it, and what it costs.


@pytest.mark.slow
@pytest.mark.parametrize("mode", [["in"], ["in", "--bytes"], ["URL"], ["URL", "--bytes"]])
def test_an_interrupted_check_is_not_equal(tmp_path: Path, mode: list[str]) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    archive, came = Archive(*flat(FIVE)), threading.Event()

    def handle(request: Request) -> Answer:
        is_last = request.path.startswith("/dicomweb/studies/1.5")
        if is_last and ("--bytes" not in mode or "/instances" not in request.path):
            came.set()
            return Answer(200, b"[" + b" " * 9999, {"Content-Type": "application/json"}, stall=1)
        return archive(request)

    with serving(handle) as origin, serving(handle) as other:
        given = [other.url if one == "URL" else one for one in mode]
        process = subprocess.Popen(
            [*DCMWEB, origin.url, "check", *given, "--thorough"],
            cwd=tmp_path,
            env={**clean_environment(), "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert came.wait(20)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1].endswith("; interrupted")
    assert b"Traceback" not in err
    assert sorted(os.listdir(tmp_path)) == ["in"]


PEAK = """
import runpy, sys
try:
    runpy.run_module("dcmweb", run_name="__main__", alter_sys=True)
except SystemExit as end:
    status = open("/proc/self/status").read()
    print(end.code, status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


def peak_of(url: str, manifest: Path, tmp_path: Path) -> int:
    """Run a check of a manifest that finds all equal, and return its peak memory in KB."""
    command = [DCMWEB[0], "-c", PEAK, url, "check", str(manifest), "--thorough", "-q"]
    done = subprocess.run(
        command, cwd=tmp_path, env=clean_environment(), capture_output=True, check=True, text=True
    )
    code, peak = done.stderr.split()
    assert code == "0"
    return int(peak)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux counts memory there")
def test_memory_does_not_grow_with_the_number_of_instances(tmp_path: Path) -> None:
    header = {"type": "manifest", "version": 1, "base_url": "http://x", "command": "store"}
    peaks = []
    for count in (2_000, 20_000):
        listing = Listing(count, 1000)
        manifest = tmp_path / f"manifest{count}"
        with manifest.open("w") as file:
            print(json.dumps(header), file=file)
            for number in range(count):
                names = ("study", "series", "instance")
                event = dict(zip(names, uids(number // 1000, number % 1000), strict=True))
                print(json.dumps({"type": "stored", "item": f"/{number}", **event}), file=file)

        def handle(request: Request, listing: Listing = listing) -> Answer:
            query = dict(pair.split("=") for pair in request.query.split("&"))
            start, limit = int(query.get("offset", 0)), int(query["limit"])
            return json_answer(list(listing.rows(request.path, start, limit)))

        with serving(handle) as origin:
            peaks.append(peak_of(origin.url, manifest, tmp_path))
    assert peaks[1] < 1.25 * peaks[0]


def test_rows_that_nobody_reads_to_the_end_are_not_equal(tmp_path: Path) -> None:
    write_files(tmp_path / "in", flat(FIVE))
    with serving(Archive(*flat(FIVE))) as origin:
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as closed:
            done = subprocess.run(
                [*DCMWEB, origin.url, "check", "in", "--json"],
                cwd=tmp_path,
                env=clean_environment(),
                stdout=closed,
                stderr=subprocess.PIPE,
                check=False,
            )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
