"""What failed as a whole, and was done by a later run of the same manifest, is failed no more."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Dcmweb, make_series
from tests.functional.archive import Archive, Scripted
from tests.functional.origin import Answer, Handler, Request, serving

STUDIES = ["studies/1.1", "studies/1.2", "studies/1.3"]
ALL = [file for n in (1, 2, 3) for file in make_series(2, f"1.{n}", f"1.{n}.1")]


def failing(source: Scripted, parts: Sequence[str]) -> Handler:
    """Answer by an error what is about one of some resources, which may change meanwhile."""

    def handle(request: Request) -> Answer:
        if any(f"/{part}/" in f"{request.path}/" for part in parts):
            return Answer(500)
        return source(request)

    return handle


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def resolved(path: Path) -> list[str]:
    return [one["item"] for one in events(path) if one["type"] == "resolved"]


class Scene:
    """A command with a manifest, from a source that may fail, and what the manifest says then."""

    def __init__(self, dcmweb: Dcmweb, folder: Path, command: str) -> None:
        self._dcmweb = dcmweb
        self._command = command
        self.manifest = folder / "m"
        self._output = folder / "out"

    def run(self, old: str, new: str, *args: str) -> int:
        manifest = ["--manifest", str(self.manifest), "--retries", "0"]
        if self._command == "copy":
            return self._dcmweb(old, "copy", *args, new, *manifest).code
        paths = [] if any(one.startswith("studies/") for one in args) else STUDIES
        to = ["-o", str(self._output), *self._command.split()[1:]]
        return self._dcmweb(old, "retrieve", *paths, *args, *to, *manifest).code

    def says(self) -> int:
        return self._dcmweb("manifest", str(self.manifest)).code


@pytest.fixture(params=["copy", "retrieve", "retrieve --on local:2"])
def scene(request: pytest.FixtureRequest, dcmweb: Dcmweb, tmp_path: Path) -> Scene:
    return Scene(dcmweb, tmp_path, request.param)


@pytest.mark.parametrize("mode", [[], ["-m"], ["-j", "2"]])
def test_a_study_that_a_later_run_gets_is_failed_no_more(
    scene: Scene, dcmweb: Dcmweb, mode: list[str], tmp_path: Path
) -> None:
    bad = ["studies/1.2"]
    source = Scripted(*ALL)
    with (
        serving(failing(source, bad)) as old,
        serving(Archive()) as new,
    ):
        assert scene.run(old.url, new.url, *mode) == 1
        assert scene.says() == 1
        assert resolved(scene.manifest) == []
        bad.clear()
        assert scene.run(old.url, new.url, *mode) == 0
        assert resolved(scene.manifest) == ["studies/1.2"]
        assert scene.says() == 0
        checked = dcmweb(old.url, "check", str(scene.manifest), "--thorough")
        assert scene.run(old.url, new.url, *mode) == 0
    listed = dcmweb("manifest", str(scene.manifest), "--failed")
    assert (listed.code, listed.out) == (0, "")
    page = tmp_path / "page.html"
    dcmweb("report", str(scene.manifest), "-o", str(page))
    assert "<strong>Complete.</strong> 6 items" in page.read_text()
    assert resolved(scene.manifest) == ["studies/1.2"]  # once
    assert "6 items: equal 6," in checked.err


def test_a_study_that_a_later_run_did_not_include_stays_failed(scene: Scene) -> None:
    bad = ["studies/1.2", "studies/1.3"]
    source = Scripted(*ALL)
    with (
        serving(failing(source, bad)) as old,
        serving(Archive()) as new,
    ):
        assert scene.run(old.url, new.url) == 1
        bad.clear()
        assert scene.run(old.url, new.url, "studies/1.1", "studies/1.3") == 0
        assert resolved(scene.manifest) == ["studies/1.3"]
        assert scene.says() == 1
        assert scene.run(old.url, new.url, "studies/1.2") == 0
    assert resolved(scene.manifest) == ["studies/1.3", "studies/1.2"]
    assert scene.says() == 0


def test_a_study_that_fails_again_stays_failed(scene: Scene) -> None:
    with serving(failing(Scripted(*ALL), ["studies/1.2"])) as old, serving(Archive()) as new:
        assert scene.run(old.url, new.url) == 1
        assert scene.run(old.url, new.url) == 1
    assert resolved(scene.manifest) == []
    assert scene.says() == 1


def test_a_study_that_the_source_has_no_more_stays_failed(scene: Scene, dcmweb: Dcmweb) -> None:
    with serving(failing(Scripted(*ALL), ["studies/1.2"])) as old, serving(Archive()) as new:
        assert scene.run(old.url, new.url) == 1
        failed = dcmweb("manifest", str(scene.manifest), "--failed").out
        old.handler = Scripted(*ALL[:2], *ALL[4:])
        scene.run(old.url, new.url)
    assert resolved(scene.manifest) == []
    assert dcmweb("manifest", str(scene.manifest), "--failed").out == failed
    assert scene.says() == 1


def test_a_series_is_failed_no_more_once_its_study_came(scene: Scene) -> None:
    series = [file for n in (1, 2) for file in make_series(2, "1.5", f"1.5.{n}")]
    bad = ["series/1.5.2"]
    source = Scripted(*series)
    with (
        serving(failing(source, bad)) as old,
        serving(Archive()) as new,
    ):
        scene.run(old.url, new.url, "studies/1.5", "studies/1.5/series/1.5.2", "-j", "3")
        assert scene.says() == 1
        bad.clear()
        assert scene.run(old.url, new.url, "studies/1.5") == 0
    assert scene.says() == 0


def test_a_run_that_is_stopped_resolves_nothing(scene: Scene) -> None:
    bad = {"studies/1.1": 500}
    source = Scripted(*ALL)

    def handle(request: Request) -> Answer:
        for part, status in bad.items():
            if f"/{part}/" in f"{request.path}/":
                return Answer(status)
        return source(request)

    with serving(handle) as old, serving(Archive()) as new:
        assert scene.run(old.url, new.url) == 1
        bad.clear()
        bad["studies/1.3"] = 401  # ends the run
        assert scene.run(old.url, new.url) == 4
        assert resolved(scene.manifest) == []
        assert scene.says() == 1
        bad.clear()
        assert scene.run(old.url, new.url) == 0
    assert scene.says() == 0
