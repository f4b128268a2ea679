"""The command that installs an extra, in environments of all kinds."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from dcmweb import extras

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shells of Windows quote in other ways")


class Distribution:
    """What is known of where dcmweb was installed from."""

    def __init__(self, origin: dict[str, Any] | None) -> None:
        self._origin = origin

    def read_text(self, _name: str) -> str | None:
        return None if self._origin is None else json.dumps(self._origin)


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment with pip in it, and dcmweb from an index."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pip").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Distribution(None))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    return tmp_path


def test_the_pip_of_an_environment(venv: Path) -> None:
    assert extras.how_to_install("azure") == f"{venv}/bin/pip install 'dcmweb[azure]'"


def test_an_environment_whose_pip_is_a_module(venv: Path) -> None:
    (venv / "bin" / "pip").unlink()
    expected = f"{venv}/bin/python -m pip install 'dcmweb[azure]'"
    assert extras.how_to_install("azure") == expected


def test_an_environment_of_uv_without_pip(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    expected = f"uv pip install --python {venv}/bin/python 'dcmweb[azure]'"
    assert extras.how_to_install("azure") == expected


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({"url": "file:///a%20b/dcmweb", "dir_info": {}}, "'/a b/dcmweb[aws]'"),
        (
            {"url": "file:///src/dcmweb", "dir_info": {"editable": True}},
            "-e '/src/dcmweb[aws]'",
        ),
        (
            {"url": "https://git.example/d.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "'dcmweb[aws] @ git+https://git.example/d.git@abc'",
        ),
        ({"url": "https://h/dcmweb.whl"}, "'dcmweb[aws] @ https://h/dcmweb.whl'"),
    ],
)
def test_it_comes_from_where_the_program_came_from(
    origin: dict[str, Any], expected: str, venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: Distribution(origin))
    assert extras.how_to_install("aws") == f"{venv}/bin/pip install {expected}"


def test_pipx_keeps_the_extras_that_are_there(venv: Path) -> None:
    package = {"main_package": {"package_or_url": "/src/dcmweb[archive]"}}
    (venv / "pipx_metadata.json").write_text(json.dumps(package), encoding="utf-8")
    expected = "pipx install --force 'dcmweb[archive,buckets]'"
    assert extras.how_to_install("buckets") == expected


def test_uv_keeps_the_extras_that_are_there(venv: Path) -> None:
    receipt = '[tool]\nrequirements = [{ name = "dcmweb", extras = ["archive", "aws"] }]\n'
    (venv / "uv-receipt.toml").write_text(receipt, encoding="utf-8")
    expected = "uv tool install 'dcmweb[archive,aws,buckets]'"
    assert extras.how_to_install("buckets") == expected


def test_a_python_of_the_system_is_left_alone(
    venv: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "base_prefix", sys.prefix)
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert extras.how_to_install("aws") == "pipx install 'dcmweb[aws]'"


def test_on_alpine_the_archive_is_the_light_one(
    venv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda _: "x86_64-pc-linux-musl")
    assert extras.how_to_install("archive").endswith("install 'dcmweb[archive-light]'")
