"""What commands import: what a run does not need is not imported, as each call pays for it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import clean_environment, make_series, write_files
from tests.functional.archive import Archive
from tests.functional.origin import serving

# What few runs need: other commands, errors, odd answers, other credentials, TLS that goes wrong.
_RARE = {
    "PIL", "asyncio", "azure", "boto3", "botocore", "cloup", "concurrent.futures", "cryptography",
    "ctypes", "google", "msgspec", "multiprocessing", "numpy", "obstore", "platformdirs",
    "portalocker", "pydicom", "requests_toolbelt", "sqlite3", "tomlkit", "tqdm", "truststore",
    "wcwidth", "werkzeug", "xml.etree.ElementTree",
    "dcmweb.archive", "dcmweb.buckets.connection", "dcmweb.cli.log_file", "dcmweb.cli.progress",
    "dcmweb.cli.run_log", "dcmweb.cli.run_report", "dcmweb.dicom.native_xml", "dcmweb.executors",
    "dcmweb.http.auth.fields", "dcmweb.http.auth.secrets", "dcmweb.http.auth.tokens",
    "dcmweb.http.auth_hints", "dcmweb.http.certificates", "dcmweb.http.client_certificate",
    "dcmweb.http.error_mapping", "dcmweb.http.proxy_errors", "dcmweb.http.tls_errors",
    "dcmweb.library.on", "dcmweb.library.profiles", "dcmweb.transactions.find_root",
    "dcmweb.transfer.manifest",
}  # fmt: skip
_OF_SEARCHES = {"dcmweb.transactions.search"}
_OF_RETRIEVALS = {"dcmweb.transactions.retrieve", "dcmweb.dicom.images"}
_OF_STORES = {"dcmweb.transactions.store", "dcmweb.local.masks"}
# What a command needs with some of its options, and not without.
_OF_OTHER_SEARCHES = {
    "difflib", "dcmweb.cli.fields", "dcmweb.cli.records", "dcmweb.cli.terminal_table",
    "dcmweb.dicom.readable", "dcmweb.local", "dcmweb.temporary",
    "dcmweb.transactions.search.date_ranges", "dcmweb.transactions.search.hints",
}  # fmt: skip
_OF_OTHER_STORES = {
    "dcmweb.buckets.objects", "dcmweb.local.tar_members", "dcmweb.local.zip_members",
    "dcmweb.transactions.store.count_ahead", "dcmweb.transactions.store.existing",
    "dcmweb.transactions.store.from_metadata", "dcmweb.transactions.store.replacement",
    "dcmweb.transactions.store.selection", "dcmweb.transactions.store.verify",
    "dcmweb.transfer.shard",
}  # fmt: skip
# Each costs as much as importing two small modules: most values are named tuples.
_MOST_DATACLASSES = {"--version": 4, "search": 12, "store": 18}


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
    others = {"email", "json", "logging", "requests", "shutil", "socket", "ssl", "urllib3"}
    assert imported("--version") & (rooms | others | _RARE) == set()


@pytest.mark.parametrize(
    ("arguments", "others"),
    [
        (["search"], _OF_RETRIEVALS | _OF_STORES | _OF_OTHER_SEARCHES),
        (
            ["store", "in"],
            _OF_RETRIEVALS | _OF_SEARCHES | _OF_OTHER_STORES | {"dcmweb.transactions.delete"},
        ),
        (["retrieve", "studies/1.2.3", "-o", "out"], _OF_STORES),
    ],
)
def test_a_command_imports_nothing_of_others(
    arguments: list[str], others: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "in", make_series(2))
    there = [] if arguments[0] == "store" else make_series(2)
    with serving(Archive(*there)) as origin:
        assert imported(origin.url, *arguments) & (others | _RARE) == set()


@pytest.mark.parametrize("command", sorted(_MOST_DATACLASSES))
def test_a_plain_run_defines_few_dataclasses(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "in", make_series(2))
    arguments = {"store": [command, "in"]}.get(command, [command])
    there = [] if command == "store" else make_series(2)
    with serving(Archive(*there)) as origin:
        place = [] if command.startswith("-") else [origin.url]
        modules = imported(*place, *arguments)
    found = [
        f"{name}.{defined}"
        for name in sorted(modules)
        if name.startswith("dcmweb") and (spec := importlib.util.find_spec(name)) and spec.origin
        for defined in re.findall(
            r"^@dataclass.*\n(?:@.*\n)*class (\w+)", Path(spec.origin).read_text(), re.MULTILINE
        )
    ]
    assert len(found) <= _MOST_DATACLASSES[command], found
