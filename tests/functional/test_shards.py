"""A run that is divided among machines: the parts, their manifests, and all of them added up."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from dcmweb.errors import UsageError
from dcmweb.transfer.shard import Shard
from tests.conftest import Dcmweb, make_instance, make_series, tree, write_files
from tests.functional.archive import Archive
from tests.functional.origin import Answer, Request, serving


def write_folders(folder: Path, count: int) -> dict[str, Path]:
    """Write so many folders with two files each; return the files by instance UID."""
    files = {}
    for number in range(count):
        series = make_series(2, f"1.2.{number}", f"1.2.{number}.4")
        for index, path in enumerate(write_files(folder / f"s{number}", series), start=1):
            files[f"1.2.{number}.4.{index}"] = path
    return files


@pytest.mark.parametrize(
    "text",
    [
        "0/4",
        "5/4",
        "4",
        "a/b",
        "1/0",
        "-1/4",
        "1/4/2",
        "\uff11/\uff14",
        "1.0/4",
        "99999999/99999999",
    ],
)
def test_what_is_not_a_part_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="I/N"):
        Shard.parse(text)


def test_parts_are_disjoint_and_together_everything() -> None:
    names = [f"folder {number}" for number in range(1000)] + ["", "\udcff", "é"]
    for count in (1, 2, 7):
        parts = [Shard(index, count) for index in range(1, count + 1)]
        owners = [[part for part in parts if part.has(name)] for name in names]
        assert all(len(found) == 1 for found in owners)
        assert {found[0] for found in owners} == set(parts)


def test_what_belongs_where_is_the_same_for_ever() -> None:
    """Another version must not move items to other parts: a run may be begun with either."""
    names = ("a", "b", "c", "1.2.3", "ct/s1")
    owners = [next(n for n in range(1, 5) if Shard(n, 4).has(name)) for name in names]
    assert owners == [4, 2, 4, 2, 3]


@pytest.mark.parametrize("count", [1, 3])
def test_files_by_their_folder(dcmweb: Dcmweb, tmp_path: Path, count: int) -> None:
    files = write_folders(tmp_path / "in", 9)
    archive = Archive()
    seen: list[set[str]] = []
    with serving(archive) as origin:
        for index in range(1, count + 1):
            form = "in" if index % 2 else "./in/**"  # however it is written
            result = dcmweb(origin.url, "store", form, "--shard", f"{index}/{count}", "--json")
            assert result.code == 0, result.err
            events = [json.loads(line) for line in result.out.splitlines()][:-1]
            assert {event["type"] for event in events} <= {"stored"}
            folders = {os.path.dirname(os.path.normpath(event["item"])) for event in events}
            seen.append(folders)
        stored = dcmweb(origin.url, "search", "instances", "--count").out
    assert int(stored) == len(files)
    assert sum(map(len, seen)) == len(set().union(*seen)) == 9


def test_studies_of_the_whole_store_and_of_a_list(dcmweb: Dcmweb, tmp_path: Path) -> None:
    instances = [make_instance(f"1.2.{n}", f"1.2.{n}.4", f"1.2.{n}.4.5") for n in range(8)]
    listed = "".join(f"studies/1.2.{n}\n" for n in range(8))
    with serving(Archive(*instances)) as origin:
        for args, text in (([], ""), (["-"], listed)):
            parts = []
            for index in (1, 2, 3):
                out = tmp_path / f"{len(args)}-{index}"
                shard = f"{index}/3"
                result = dcmweb(
                    origin.url, "retrieve", *args, "-o", out, "--shard", shard, text=text
                )
                assert result.code == 0, result.err
                parts.append(set(tree(out)))
            assert sum(map(len, parts)) == len(set().union(*parts)) == 8
            assert all(parts)


def test_a_part_may_be_empty(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_folders(tmp_path / "in", 1)
    with serving(Archive()) as origin:
        codes = [dcmweb(origin.url, "store", "in", "--shard", f"{n}/2").code for n in (1, 2)]
        assert codes == [0, 0]
        assert dcmweb(origin.url, "store", "none", "--shard", "1/2").code == 3
        assert dcmweb(origin.url, "store", "in", "--shard", "3/2").code == 2


def test_the_part_comes_from_the_command_line_alone(dcmweb: Dcmweb, tmp_path: Path) -> None:
    write_folders(tmp_path / "in", 4)
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "store", "in", env={"DCMWEB_SHARD": "1/4"})
    assert "stored 8" in result.last


class TestManifests:
    def run(self, dcmweb: Dcmweb, url: str, index: int, count: int, *more: str) -> int:
        manifest = f"run-{index}.ndjson"
        shard = f"{index}/{count}"
        return dcmweb(url, "store", "in", "--shard", shard, "--manifest", manifest, *more).code

    def test_are_added_up(self, dcmweb: Dcmweb, tmp_path: Path) -> None:
        files = write_folders(tmp_path / "in", 8)
        archive = Archive()

        def answer(request: Request) -> Answer:
            if b"1.2.5.4.1" in request.body:
                return Answer(400, b"no", {"Content-Type": "text/plain"})
            return archive(request)

        with serving(answer) as origin:
            codes = [self.run(dcmweb, origin.url, n, 3) for n in (1, 2, 3)]
            all_parts = dcmweb("manifest", *(f"run-{n}.ndjson" for n in (1, 2, 3)))
            one_missing = dcmweb("manifest", "run-1.ndjson", "run-3.ndjson", "--json")
            failed = dcmweb("manifest", *(f"run-{n}.ndjson" for n in (1, 2, 3)), "--failed")
            assert sorted(codes) == [0, 0, 1]
            assert all_parts.code == one_missing.code == failed.code == 1
            lines = all_parts.out.splitlines()
            assert lines[0].startswith(f"store at {origin.url}: ")
            assert re.search(r": stored 15, failed 1; \d+\.\d KiB in all$", lines[0]), lines[0]
            assert lines[1].startswith("failed 1: ")
            assert "no manifest" not in all_parts.out
            assert failed.out == f"{files['1.2.5.4.1']}\n"
            (summary,) = json.loads(one_missing.out)
            assert summary["missing"] == ["2/3"]
            assert summary["exit_code"] == 1
            origin.handler = archive
            assert [self.run(dcmweb, origin.url, n, 3) for n in (1, 2, 3)] == [0, 0, 0]
            good = dcmweb("manifest", *(f"run-{n}.ndjson" for n in (1, 2, 3)))
        assert (good.code, "stored 16" in good.out) == (0, True), good.out

    def test_of_another_part_are_refused(self, dcmweb: Dcmweb, tmp_path: Path) -> None:
        write_folders(tmp_path / "in", 2)
        with serving(Archive()) as origin:
            assert self.run(dcmweb, origin.url, 1, 2) == 0
            other = dcmweb(
                origin.url, "store", "in", "--shard", "1/3", "--manifest", "run-1.ndjson"
            )
            whole = dcmweb(origin.url, "store", "in", "--manifest", "run-1.ndjson")
        assert (other.code, whole.code) == (2, 2)
        assert "is of shard 1/2" in other.err

    def test_a_run_that_did_not_end_is_named(self, dcmweb: Dcmweb, tmp_path: Path) -> None:
        write_folders(tmp_path / "in", 2)
        manifest = tmp_path / "run-1.ndjson"
        with serving(Archive()) as origin:
            assert self.run(dcmweb, origin.url, 1, 1) == 0
            lines = manifest.read_bytes().splitlines(keepends=True)
            assert json.loads(lines[-1])["end"] == "complete"
            assert json.loads(lines[-1])["exit_code"] == 0
            manifest.write_bytes(b"".join(lines[:-1]))  # as of a run that was killed
            killed = dcmweb("manifest", "run-1.ndjson")
            assert self.run(dcmweb, origin.url, 1, 1) == 0
            again = dcmweb("manifest", "run-1.ndjson")
            origin.handler = lambda _: Answer(401)
            write_files(tmp_path / "in" / "new", make_series(1, "1.9", "1.9.9"))
            assert self.run(dcmweb, origin.url, 1, 1) == 4
            stopped = dcmweb("manifest", "run-1.ndjson")
        assert (killed.code, again.code, stopped.code) == (1, 0, 1)
        assert "run-1.ndjson: it has not ended" in killed.out
        assert "run-1.ndjson: stopped early" in stopped.out

    @pytest.mark.parametrize(
        ("texts", "words"),
        [
            (["nonsense\n"], "is not a manifest"),
            ([""], "is not a manifest: it is empty"),
            (['{"type": "stored"}\n'], "is not a manifest"),
            (['{"type": "manifest", "shard": "1/2"}\n'] * 2, "are both of shard 1/2"),
            (
                [f'{{"type": "manifest", "shard": "1/{n}"}}\n' for n in (2, 3)],
                "not parts of the same whole",
            ),
            (
                ['{"type": "manifest", "shard": "1/2"}\n', '{"type": "manifest"}\n'],
                "not parts of the same whole",
            ),
        ],
    )
    def test_what_does_not_go_together_is_a_usage_error(
        self, dcmweb: Dcmweb, tmp_path: Path, texts: list[str], words: str
    ) -> None:
        for number, text in enumerate(texts):
            (tmp_path / f"{number}").write_text(text)
        result = dcmweb("manifest", *map(str, range(len(texts))))
        assert (result.code, result.out) == (2, "")
        assert words in result.err

    def test_one_that_is_not_there(self, dcmweb: Dcmweb) -> None:
        assert dcmweb("manifest", "none").code == 7
        assert dcmweb("manifest").code == 2

    @pytest.mark.parametrize(
        ("count", "more"), [(3, ""), (4, " and 1 other"), (9, " and 6 others")]
    )
    def test_what_failed_is_named_and_the_rest_counted(
        self, dcmweb: Dcmweb, tmp_path: Path, count: int, more: str
    ) -> None:
        header = {"type": "manifest", "version": 1, "base_url": "http://x", "command": "store"}
        failed = [{"type": "failed", "item": f"/{n}", "reason": "bad"} for n in range(count)]
        lines = [header, *failed, {"type": "end", "end": "complete", "exit_code": 1}]
        (tmp_path / "m").write_text("".join(json.dumps(one) + "\n" for one in lines))
        result = dcmweb("manifest", "m")
        assert result.code == 1
        assert f"failed {count}: bad: /0, /1, /2{more}\n" in result.out

    def test_what_one_says_was_done_is_done(self, dcmweb: Dcmweb, tmp_path: Path) -> None:
        header = '{"type": "manifest", "base_url": "http://h", "command": "store"}\n'
        end = '{"type": "end", "end": "complete"}\n'
        for name, status in (("a", "failed"), ("b", "stored"), ("c", "unknown")):
            event = f'{{"type": "{status}", "item": "/x", "size": 3, "reason": "why"}}\n'
            (tmp_path / name).write_text(header + event + end)
        for order in (["a", "b", "c"], ["b", "c"], ["c", "b"]):
            assert dcmweb("manifest", *order).code == 0, order
        assert dcmweb("manifest", "a", "c").code == 1
