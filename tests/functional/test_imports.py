"""What commands import: what a run does not need is not imported, as each call pays for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import clean_environment, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import serving

# What few runs need: other commands, odd answers, other credentials, TLS that goes wrong.
_RARE = {
    "azure", "botocore", "boto3", "google", "msgspec", "numpy", "obstore", "pydicom", "sqlite3",
    "tqdm", "xml.etree.ElementTree", "requests_toolbelt",
    "dcmweb.dicom.native_xml", "dcmweb.http.certificates", "dcmweb.http.client_certificate",
    "dcmweb.http.auth.fields", "dcmweb.http.auth.secrets", "dcmweb.http.auth.tokens",
    "dcmweb.library.profiles", "dcmweb.transactions.find_root",
}  # fmt: skip
_OF_SEARCHES = {"dcmweb.transactions.search"}
_OF_RETRIEVALS = {"dcmweb.transactions.retrieve", "dcmweb.dicom.images"}
_OF_STORES = {"dcmweb.transactions.store", "dcmweb.local.masks"}


def imported(*arguments: str) -> set[str]:
    """Run a command, and return the modules that it imported, and the packages of these."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "dcmweb", *arguments],
        env=clean_environment(),
        capture_output=True,
        timeout=60,
        check=False,
    )
    error = done.stderr.decode()
    assert done.returncode == 0, error[-500:]
    modules = set(re.findall(r"\| +([\w.]+)$", error, re.MULTILINE))
    assert "dcmweb.cli.app" in modules
    parts = [module.split(".") for module in modules]
    return {".".join(names[:count]) for names in parts for count in range(1, len(names) + 1)}


def test_the_version_needs_no_module_of_a_server() -> None:
    rooms = {"dcmweb.http", "dcmweb.library", "dcmweb.local", "dcmweb.dicom", "dcmweb.transactions"}
    assert imported("--version") & (rooms | {"requests", "socket", "ssl"}) == set()


@pytest.mark.parametrize(
    ("arguments", "others"),
    [
        (["search"], _OF_RETRIEVALS | _OF_STORES),
        (["store", "in"], _OF_RETRIEVALS | _OF_SEARCHES | {"dcmweb.transactions.delete"}),
        (["retrieve", "studies/1.2.3", "-o", "out"], _OF_STORES),
    ],
)
def test_a_command_imports_nothing_of_others(
    arguments: list[str], others: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "in", make_series(2))
    with serving(Archive(*make_series(2))) as origin:
        assert imported(origin.url, *arguments) & (others | _RARE) == set()
