"""`retrieve` of whole instances: what comes, where it goes, and in what forms it may come."""

from __future__ import annotations

import gzip
import re
import shlex
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from dcmweb.counted import plural
from tests.conftest import DCMWEB, Dcmweb, clean_environment, make_instance, make_series, tree
from tests.functional.archive import BOUNDARY, LEVELS, Archive, Scripted, json_answer
from tests.functional.origin import Answer, Origin, Request, serving

AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
JPEG_LS = "1.2.840.10008.1.2.4.80"
STUDY = "studies/1.2.3"


T = TypeVar("T", Archive, Scripted)


def small_store(kind: type[T] = Archive) -> T:  # type: ignore[assignment]
    """Two studies, three series, five instances."""
    return kind(
        *make_series(2),
        *make_series(1, series="1.2.3.5"),
        *make_series(2, study="1.9", series="1.9.1"),
    )


def retrievals(origin: Origin) -> list[Request]:
    """The requests that were no searches."""
    return [r for r in origin.requests if r.path.rstrip("/").rpartition("/")[2] not in LEVELS]


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        ((), ""),
        ((), STUDY),
        ((), f"/{STUDY}/"),
        ((), f"{STUDY}/series/1.2.3.5"),
        ((), f"/{STUDY}/series/1.2.3.4/instances/1.2.3.4.2/"),
        (("-m",), ""),
        (("-m",), STUDY),
        (("-m",), f"/{STUDY}/series/1.2.3.4"),
        (("-m",), f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.2"),
    ],
)
def test_what_is_below_a_path_comes_unchanged_into_the_tree(
    dcmweb: Dcmweb, tmp_path: Path, mode: tuple[str, ...], path: str
) -> None:
    archive = small_store()
    with serving(archive) as origin:
        result = dcmweb(*mode, origin.url, "retrieve", *filter(None, [path]), "--output", "out")
    expected = archive.tree(path)
    assert (result.code, result.out) == (0, "")
    assert tree(tmp_path / "out") == expected
    files = plural(len(expected), "file")
    assert f"in {files}: retrieved {len(expected)}, " in result.last
    for request in retrievals(origin):
        assert request.headers["accept"] == AS_STORED
        assert request.headers["accept-encoding"] == "identity"


def test_without_an_output_files_go_to_the_current_folder(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = small_store()
    (tmp_path / "here").mkdir()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, cwd=tmp_path / "here")
    assert result.code == 0
    assert " -- Saving files into ./\n" in result.err
    assert tree(tmp_path / "here") == archive.tree(STUDY)


def test_a_missing_output_folder_is_made_with_all_above_it(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = small_store()
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", "-o", tmp_path / "a" / "b c", STUDY)
    assert result.code == 0
    assert tree(tmp_path / "a" / "b c") == archive.tree(STUDY)


def test_a_file_that_is_there_already_is_replaced_whole(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = small_store()
    place = tmp_path / "out" / next(iter(archive.tree(STUDY)))
    place.parent.mkdir(parents=True)
    place.write_bytes(b"older and longer" * 1000)
    with serving(archive) as origin:
        assert dcmweb(origin.url, "retrieve", STUDY, "-o", "out").code == 0
    assert tree(tmp_path / "out") == archive.tree(STUDY)


def test_an_empty_store_leaves_nothing_and_is_no_failure(dcmweb: Dcmweb, tmp_path: Path) -> None:
    with serving(Archive()) as origin:
        result = dcmweb(origin.url, "retrieve", "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == {}
    assert "in 0 files" in result.last


def test_the_named_forms_of_arguments_mean_the_same(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = small_store(Scripted)
    kind = f"application/dicom; transfer-syntax={JPEG_LS}"
    with serving(archive) as origin:
        result = dcmweb(
            origin.url, "retrieve", "--type", kind, "--output=./out", "--path", f"/{STUDY}"
        )
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree(STUDY)
    assert {r.headers["accept"] for r in retrievals(origin)} == {
        f'multipart/related; type="application/dicom"; transfer-syntax={JPEG_LS}'
    }


@pytest.mark.parametrize(
    ("kind", "parameter"),
    [
        ("application/dicom", ""),
        (f"application/dicom;transfer-syntax={JPEG_LS}", f"; transfer-syntax={JPEG_LS}"),
        (f'Application/DICOM ; Transfer-Syntax="{JPEG_LS}"', f"; transfer-syntax={JPEG_LS}"),
        (
            f'multipart/related; type="application/dicom"; transfer-syntax={JPEG_LS}',
            f"; transfer-syntax={JPEG_LS}",
        ),
    ],
)
def test_a_type_is_asked_for_however_it_is_written(
    dcmweb: Dcmweb, tmp_path: Path, kind: str, parameter: str
) -> None:
    archive = small_store(Scripted)
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out", "--type", kind)
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree(STUDY)
    assert [r.headers["accept"] for r in retrievals(origin)] == [
        f'multipart/related; type="application/dicom"{parameter}'
    ]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("studies", ""),
        ("studies/1/series", ""),
        ("studies/1/instances/2", ""),
        ("studies/1//series/2", ""),
        ("studies/..", ""),
        (STUDY, "png"),
    ],
)
def test_impossible_paths_and_types_are_usage_errors_before_any_request(
    dcmweb: Dcmweb, path: str, kind: str
) -> None:
    with serving(small_store()) as origin:
        result = dcmweb(origin.url, "retrieve", path, *(["--type", kind] if kind else []))
    assert result.code == 2
    assert "Error: " in result.last
    assert origin.requests == []


# Where files cannot go.


@pytest.mark.parametrize("output", ["/dev/full", "occupied", "occupied/below"])
def test_an_output_that_is_no_folder_is_a_local_error_before_any_request(
    dcmweb: Dcmweb, tmp_path: Path, output: str
) -> None:
    (tmp_path / "occupied").write_bytes(b"a file")
    with serving(small_store()) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "--output", output)
    assert result.code == 7
    assert f"Error: cannot write into {output}: " in result.err
    assert result.last.endswith("stopped early")
    assert origin.requests == []
    assert (tmp_path / "occupied").read_bytes() == b"a file"


@pytest.mark.parametrize(
    ("path", "code", "left"), [(STUDY, 1, []), ("", 1, ["1.9"])], ids=["study", "store"]
)
def test_a_file_where_a_folder_has_to_be_fails_each_instance_that_goes_there(
    dcmweb: Dcmweb, tmp_path: Path, path: str, code: int, left: list[str]
) -> None:
    archive = small_store()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.2.3").write_bytes(b"in the way")
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", *filter(None, [path]), "-o", "out")
    expected = {"1.2.3": b"in the way"}
    for study in left:
        expected |= archive.tree(f"studies/{study}")
    assert result.code == code
    assert tree(tmp_path / "out") == expected
    for name in archive.tree(STUDY):
        assert f"cannot write into {Path('out') / name}" in result.err


def test_a_folder_where_a_file_has_to_be_fails_that_instance_only(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(*make_series(3))
    name, second = sorted(archive.tree())[1], f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.2"
    (tmp_path / "out" / name).mkdir(parents=True)
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out")
        again = dcmweb(origin.url, "retrieve", f"{STUDY}/series/1.2.3.4", "-o", "out")
        one = dcmweb(origin.url, "retrieve", second, "-o", "out")
    assert (result.code, again.code, one.code) == (1, 1, 7)
    assert f"{second} failed: cannot write into {Path('out') / name}" in result.err
    assert "retrieved 2, skipped 0, failed 1;" in result.last
    assert tree(tmp_path / "out") == {k: v for k, v in archive.tree().items() if k != name}


def test_a_file_that_cannot_be_written_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    archive = Archive(make_instance(size=1024 * 1024))
    with serving(archive) as origin:
        command = [*DCMWEB, origin.url, "retrieve", STUDY, "-o", "out"]
        done = subprocess.run(
            ["/bin/sh", "-c", f"ulimit -f 64; exec {shlex.join(command)}"],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 7
    assert b"cannot write into out" in done.stderr
    assert tree(tmp_path / "out") == {}


# The forms in which instances may come.


@dataclass
class Multipart:
    """How a server writes its multipart answers."""

    header: str = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    boundary: str = BOUNDARY
    before: bytes = b""  # ahead of the first delimiter
    head: str = "Content-Type: application/dicom\r\n"
    padding: str = ""  # behind each delimiter
    after: bytes = b"\r\n"  # behind the close delimiter
    how: dict[str, Any] = field(default_factory=dict)

    def answer(self, files: list[bytes]) -> Answer:
        delimiter = f"--{self.boundary}{self.padding}\r\n".encode()
        parts = [
            delimiter + self.head.format(size=len(data)).encode() + b"\r\n" + data + b"\r\n"
            for data in files
        ]
        body = self.before + b"".join(parts) + f"--{self.boundary}--".encode() + self.after
        return Answer(200, body, {"Content-Type": self.header}, **self.how)


# Pixels that look like what separates them, or like lines about to end.
TRICKY_PIXELS = [
    f"\r\n--{BOUNDARY}X\r\n--{BOUNDARY}-\r\n-- {BOUNDARY}\r\n--{BOUNDARY[:-1]}\r\n",
    f"--{BOUNDARY}\r\n--{BOUNDARY} x\r\n--{BOUNDARY}\n\r\n--{BOUNDARY}\r",
    "\r\n\r\n--",
    "\r",
]


def tricky_instances(study: str) -> list[bytes]:
    files = make_series(len(TRICKY_PIXELS), study)
    pairs = zip(files, TRICKY_PIXELS, strict=True)
    return [data[: -len(text)] + text.encode() for data, text in pairs]


FORMS = {
    "quoted boundary": Multipart(
        f'multipart/related; type=application/dicom; boundary="{BOUNDARY}"'
    ),
    "boundary first": Multipart(
        f'multipart/related; boundary={BOUNDARY}; type="application/dicom"'
    ),
    "boundary last of many": Multipart(
        'multipart/related; type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1"; '
        f"start=x; transfer-syntax=*;boundary={BOUNDARY}"
    ),
    "upper-case names": Multipart(
        f'Multipart/Related; TYPE="Application/DICOM"; BOUNDARY={BOUNDARY}'
    ),
    "no type": Multipart(f"multipart/related;boundary={BOUNDARY};"),
    "multipart/mixed": Multipart(f"multipart/mixed; boundary={BOUNDARY}"),
    "odd boundary": Multipart(
        'multipart/related; boundary="=_a b;c\'()+,./:?"', boundary="=_a b;c'()+,./:?"
    ),
    "70 characters": Multipart(f"multipart/related; boundary={'b' * 70}", boundary="b" * 70),
    "preamble": Multipart(before=b"This is MIME.\r\n--not it\r\n\r\n"),
    "empty line first": Multipart(before=b"\r\n"),
    "epilogue": Multipart(after=f"\r\nThe end.\r\n--{BOUNDARY}\r\n\r\nnothing".encode()),
    "no line end at the end": Multipart(after=b""),
    "lower-case part headers": Multipart(head="content-type: application/dicom\r\n"),
    "no part headers": Multipart(head=""),
    "many part headers": Multipart(
        head="CONTENT-LENGTH:{size}\r\nMIME-Version: 1.0\r\nContent-Location: /x\r\n"
        "Content-Type: application/dicom;\r\n\ttransfer-syntax=*\r\n"
    ),
    "white space behind delimiters": Multipart(padding=" \t "),
    "chunks of 1": Multipart(how={"chunk": 1}),
    "chunks of 7": Multipart(how={"chunk": 7}),
    "chunks of 4096": Multipart(how={"chunk": 4096}),
    "end told by closing": Multipart(how={"close": True}),
}


def test_instances_come_unchanged_in_every_form_of_multipart(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    forms = {f"1.2.{number}": form for number, form in enumerate(FORMS.values())}
    archive = Archive(*[data for study in forms for data in tricky_instances(study)])

    def handle(request: Request) -> Answer:
        study = request.path.removeprefix("/dicomweb/studies/")
        if study not in forms:
            return archive(request)
        return forms[study].answer(list(archive.tree(f"studies/{study}").values()))

    with serving(handle) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", "-o", "out")
    found = tree(tmp_path / "out")
    wrong = [
        name
        for (study, _), name in zip(forms.items(), FORMS, strict=True)
        if not archive.tree(f"studies/{study}").items() <= found.items()
    ]
    assert (result.code, wrong) == (0, [])
    assert found == archive.tree()
    assert len(retrievals(origin)) == len(forms)  # nothing had to be fetched singly


class Gzipping(Scripted):
    """Compresses search results for whoever takes them so."""

    compressed = 0

    def __call__(self, request: Request) -> Answer:
        answer = super().__call__(request)
        if answer.body[:1] == b"[" and "gzip" in request.headers.get("accept-encoding", ""):
            self.compressed += 1
            headers = {**answer.headers, "Content-Encoding": "gzip"}
            return replace(answer, body=gzip.compress(answer.body), headers=headers)
        return answer


def test_compressed_search_results_are_understood(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Gzipping(*small_store().files.values())
    with serving(archive) as origin:
        assert dcmweb(origin.url, "retrieve", "-o", "out").code == 0
    assert tree(tmp_path / "out") == archive.tree()
    assert archive.compressed > 0


# What the server lists.


class Counting(Scripted):
    """Says how many instances there are in a study or series; `surplus` is the lie in it."""

    surplus = 0

    def rows(self, path: str, query: str) -> list[dict[str, Any]]:
        rows = super().rows(path, query)
        for row in rows:
            uids = [row[tag]["Value"][0] for tag in ("0020000D", "0020000E") if tag in row]
            count = sum(list(key[: len(uids)]) == uids for key in self.files) + self.surplus
            row["00201208" if len(uids) == 1 else "00201209"] = {"vr": "IS", "Value": [count]}
        return rows


@pytest.mark.parametrize(
    ("kind", "page", "studies"), [(Archive, 1, 3), (Archive, 2, 5), (Counting, 200, 401)]
)
def test_a_server_that_caps_its_pages_loses_nothing(
    dcmweb: Dcmweb, tmp_path: Path, kind: type[Archive] | type[Scripted], page: int, studies: int
) -> None:
    model = make_instance("1.2.3000", "1.2.3000.1", "1.2.3000.1.1")
    archive = kind(page=page)
    for n in range(studies):
        archive.add(model.replace(b"1.2.3000", b"1.2.3%03d" % n))
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()


def test_a_count_that_agrees_saves_listing_the_instances(dcmweb: Dcmweb, tmp_path: Path) -> None:
    archive = Counting(*small_store().files.values())
    with serving(archive) as origin:
        assert dcmweb(origin.url, "retrieve", "-o", "out").code == 0
    assert tree(tmp_path / "out") == archive.tree()
    assert not [r for r in origin.requests if r.path.endswith("/instances")]


@pytest.mark.parametrize("path", ["", STUDY, f"{STUDY}/series/1.2.3.4"])
def test_a_count_larger_than_what_comes_is_a_failure(
    dcmweb: Dcmweb, tmp_path: Path, path: str
) -> None:
    archive = Counting(*make_series(3))
    archive.surplus = 2
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", *filter(None, [path]), "-o", "out")
    assert result.code == 1
    assert tree(tmp_path / "out") == archive.tree()
    assert re.search(rf" -- {path or STUDY} failed: .*counts 5 instances, but lists 3", result.err)


class Choosy(Scripted):
    """Answers 400 to searches that hold a word."""

    word = ""

    def search(self, path: str, query: str) -> Answer:
        if self.word in query:
            return json_answer({"message": "unsupported"}, 400)
        return super().search(path, query)


@pytest.mark.parametrize("word", ["limit=5000", "includefield"])
def test_what_a_server_refuses_in_searches_is_left_out(
    dcmweb: Dcmweb, tmp_path: Path, word: str
) -> None:
    archive = Choosy(*small_store().files.values(), page=200)
    archive.word = word
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", "-o", "out")
    assert any(word in r.query for r in origin.requests)
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()


class WithoutOffset(Scripted):
    """Begins every page with the first row, and may say that there are more."""

    warns = False

    def search(self, path: str, query: str) -> Answer:
        answer = super().search(path, re.sub(r"&?offset=\d+", "", query))
        if not self.warns:
            return answer
        warning = "299 server: There are 2 additional results that can be requested"
        return replace(answer, headers={**answer.headers, "Warning": warning})


def test_a_server_that_ignores_offset_does_not_go_on_for_ever(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = WithoutOffset(*small_store().files.values())
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()


def test_results_that_cannot_be_had_for_lack_of_offset_are_no_success(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = WithoutOffset(*small_store().files.values(), page=1)
    archive.warns = True
    with serving(archive) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", "-o", "out")
    assert result.code != 0
    assert "offset" in result.err
    assert tree(tmp_path / "out").items() <= archive.tree().items()


class WithoutStreams(Scripted):
    """Retrieves single instances only, each in a single part if `single_part`."""

    status = 406
    single_part = False

    def __call__(self, request: Request) -> Answer:
        path = request.path.removeprefix("/dicomweb/")
        if path.rpartition("/")[2] in LEVELS:
            return super().__call__(request)
        if "/instances/" not in path:
            return Answer(self.status)
        if not self.single_part:
            return super().__call__(request)
        if not request.headers["accept"].startswith("application/dicom"):
            return Answer(self.status)
        (data,) = self.tree(path).values()
        return Answer(200, data, {"Content-Type": "application/dicom; transfer-syntax=1.2.840"})


@pytest.mark.parametrize("status", [404, 406])
def test_without_retrieval_of_studies_instances_come_one_by_one(
    dcmweb: Dcmweb, tmp_path: Path, status: int
) -> None:
    archive = WithoutStreams(*make_series(2), *make_series(1, series="1.2.3.5"))
    archive.status = status
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()


@pytest.mark.parametrize("status", [400, 406])
def test_a_server_with_single_parts_only_is_asked_for_these(
    dcmweb: Dcmweb, tmp_path: Path, status: int
) -> None:
    archive = WithoutStreams(*make_series(3))
    archive.status, archive.single_part = status, True
    with serving(archive) as origin:
        result = dcmweb(origin.url, "retrieve", STUDY, "-o", "out")
    assert result.code == 0
    assert tree(tmp_path / "out") == archive.tree()
    accepted = [r.headers["accept"] for r in retrievals(origin)]
    bare = 'multipart/related; type="application/dicom"'
    assert accepted[:3] == [AS_STORED, "*/*", bare]  # of the study
    assert accepted[3:] == [AS_STORED, *["application/dicom; transfer-syntax=*"] * 3]
