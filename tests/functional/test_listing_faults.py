"""A whole store, one study of which the server does not list: the others are retrieved."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from tests.conftest import Dcmweb, make_instance, tree, write_files
from tests.functional.archive import Archive, Scripted
from tests.functional.archives import changed, make_image
from tests.functional.origin import Answer, Handler, Request, serving

BAD = "studies/1.2"
FILES = [make_instance(f"1.{n}", f"1.{n}.1", f"1.{n}.1.1") for n in range(1, 4)]
IMAGES = [
    changed(
        make_image(1),
        StudyInstanceUID=f"1.{n}",
        SeriesInstanceUID=f"1.{n}.1",
        SOPInstanceUID=f"1.{n}.1.1",
    )
    for n in range(1, 4)
]


def refusing(archive: Handler, *ends: str, status: int = 500) -> Handler:
    """The archive, without the lists of a study's instances or series, or what else ends so."""

    def handle(request: Request) -> Answer:
        is_bad = BAD in request.path and request.path.endswith(ends)
        return Answer(status) if is_bad else archive(request)

    return handle


LISTS = ("/instances", "/series")
HOW = {
    "by workers": ["retrieve", "-o", "out", "--on", "local:1"],
    "by one process": ["retrieve", "-o", "out"],
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
@pytest.mark.parametrize("status", [500, 404, 400, 403])
def test_a_study_that_is_not_listed_comes_as_a_whole(
    dcmweb: Dcmweb, tmp_path: Path, how: list[str], status: int
) -> None:
    archive = Archive(*FILES)
    with serving(refusing(archive, *LISTS, status=status)) as origin:
        result = dcmweb("--retries", "0", origin.url, *how)
    assert result.code == 0, result.err
    assert tree(tmp_path / "out") == archive.tree()


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_one_that_does_not_come_either_is_named_and_the_others_come(
    dcmweb: Dcmweb, tmp_path: Path, how: list[str]
) -> None:
    archive = Archive(*FILES)
    with serving(refusing(archive, *LISTS, BAD, "1.2.1", "1.2.1.1")) as origin:
        result = dcmweb("--retries", "0", origin.url, *how)
        assert result.code == 1
        assert f"{BAD} failed: " in result.err
        assert tree(tmp_path / "out") == archive.tree("studies/1.1") | archive.tree("studies/1.3")
        origin.handler = archive
        again = dcmweb("--retries", "0", origin.url, *how, "--skip-existing")
    assert again.code == 0
    assert tree(tmp_path / "out") == archive.tree()


def test_a_study_whose_list_breaks_off_is_not_recorded_as_done(
    dcmweb: Dcmweb, tmp_path: Path
) -> None:
    archive = Archive(*FILES)
    how = ["retrieve", "-o", "out", "--on", "local:1", "--manifest", "m.ndjson"]
    with serving(refusing(archive, *LISTS, BAD, "1.2.1", "1.2.1.1")) as origin:
        assert dcmweb("--retries", "0", origin.url, *how).code == 1
        origin.handler = archive
        assert dcmweb("--retries", "0", origin.url, *how).code == 0
    assert tree(tmp_path / "out") == archive.tree()
    assert dcmweb("manifest", "m.ndjson").code == 0


OTHERS = {
    "frames": ["--type", "image/png"],
    "dry run": ["--dry-run"],
}


@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS)
def test_other_forms_of_the_others_come_and_the_study_is_named(
    dcmweb: Dcmweb, tmp_path: Path, options: list[str]
) -> None:
    with serving(refusing(Archive(*IMAGES), *LISTS)) as origin:
        result = dcmweb("--retries", "0", origin.url, "retrieve", "-o", "out", *options)
    assert result.code == 1
    assert f"{BAD} failed: " in result.err
    if "--dry-run" in options:
        assert result.err.count("would be retrieved") == 2
    else:
        assert len(tree(tmp_path / "out")) == 2


MANY = [make_instance(f"2.{n}", f"2.{n}.1", f"2.{n}.1.1") for n in range(9)]
WHOLE = {"copy": [], "check": ["in"], "retrieve": ["-o", "out"]}


@pytest.mark.parametrize("status", [400, 413])
@pytest.mark.parametrize("shown", [7, 9])
@pytest.mark.parametrize("command", WHOLE)
def test_nothing_is_done_where_a_server_may_have_more_studies(
    dcmweb: Dcmweb, tmp_path: Path, command: str, shown: int, status: int
) -> None:
    """It sends so many studies at a time, and refuses to be asked for others."""
    archive = Scripted(*MANY, page=shown)

    def handle(request: Request) -> Answer:
        pairs = dict(parse_qsl(request.query))
        is_behind = request.path.endswith("/studies") and int(pairs.get("offset", 0)) >= shown
        return Answer(status) if is_behind else archive(request)

    write_files(tmp_path / "in", MANY)
    with serving(handle) as origin, serving(Archive()) as other:
        there = [other.url] if command == "copy" else []
        result = dcmweb("--retries", "0", origin.url, command, *WHOLE[command], *there)
    assert (result.code == 0) == (shown == len(MANY)), result.err
