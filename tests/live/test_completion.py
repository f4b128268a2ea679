"""Completion in real shells, which are typed into as people do."""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import clean_environment

pty = pytest.importorskip("pty")
pytestmark = pytest.mark.live

URL = "http://localhost:8042/dicom-web"
PATIENCE = 60  # seconds until a shell that does not answer is a failure

# Runs the command where a shell asks it, and otherwise prints the arguments that it was given.
COMMAND = f"""\
#!/bin/sh
if [ -n "$_DCMWEB_COMPLETE" ] || [ "$1" = completion ]; then
    exec {sys.executable} -m dcmweb "$@"
fi
printf 'GO''T:'
printf '[%s]' "$@"
printf ':END\\n'
"""
# How each is started, and what is typed first.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(dcmweb completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'autoload -U compinit; compinit -D -u; eval "$(dcmweb completion zsh)"',
    ),
    "fish": (["fish", "--no-config", "-i"], "dcmweb completion fish | source"),
}
Type = Callable[[str], list[str]]


class Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._pid, self._file = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe(command[0], command, environment)
        self._seen = ""

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._file, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until a pattern is on the screen; what is before it is forgotten."""
        end = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self._seen)):
            poll = select.poll()  # which takes any number of a file, as select does not
            poll.register(self._file, select.POLLIN)
            assert poll.poll(1000 * max(0, end - time.monotonic())), (
                f"the shell did not show {pattern}, but {self._seen!r}"
            )
            self._seen += os.read(self._file, 4096).decode(errors="replace")
        self._seen = self._seen[found.end() :]
        return found

    def close(self) -> None:
        """End the shell: without its terminal, it goes."""
        os.close(self._file)
        os.waitpid(self._pid, 0)


@pytest.fixture(params=SHELLS)
def typed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Type]:
    """Type into a shell; what is typed is run, and the arguments come back."""
    command, setup = SHELLS[request.param]
    if not shutil.which(command[0]):
        message = f"{command[0]} is not installed"
        if os.environ.get("DCMWEB_REQUIRE_LIVE"):
            pytest.fail(message)
        pytest.skip(message)
    program = tmp_path / "bin" / "dcmweb"
    program.parent.mkdir()
    program.write_text(COMMAND, encoding="utf-8")
    program.chmod(0o755)
    folder = tmp_path / "work"
    (folder / "images").mkdir(parents=True)
    (folder / "report.ndjson").touch()
    (folder / "studies.txt").touch()
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(f'[hospital]\nurl = "{URL}"\n', encoding="utf-8")
    environment = {
        **clean_environment(),
        "HOME": str(tmp_path),
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "TERM": "xterm",
        "DCMWEB_CONFIG": str(profiles),
    }
    terminal = Terminal(command, folder, environment)

    def typing(text: str) -> list[str]:
        terminal.type(f"{text}\n")
        found = terminal.wait_for(r"GOT:(.*?):END")
        return re.findall(r"\[(.*?)\]", found[1])

    terminal.type(f"{setup}\n")
    assert typing("dcmweb ready") == ["ready"]
    yield typing
    terminal.close()


def test_commands_options_values_files_and_profiles_are_completed(typed: Type) -> None:
    assert typed(f"dcmweb {URL} sto\t") == [URL, "store"]
    assert typed("dcmweb mani\t") == ["manifest"]
    assert typed("dcmweb config sho\t") == ["config", "show"]
    assert typed(f"dcmweb -m {URL} store --manif\t") == ["-m", URL, "store", "--manifest"]
    assert typed(f"dcmweb {URL} search --format nd\t") == [URL, "search", "--format", "ndjson"]
    assert typed(f"dcmweb {URL} search --format=nd\t") == [URL, "search", "--format=ndjson"]
    assert typed(f"dcmweb {URL} store --manifest rep\t")[-1] == "report.ndjson"
    assert typed(f"dcmweb {URL} store --manifest=rep\t")[-1] == "--manifest=report.ndjson"
    assert typed(f"dcmweb {URL} store ima\t")[-1].rstrip("/") == "images"
    assert typed("dcmweb @hos\t") == ["@hospital"]
    assert typed("dcmweb @hospital retr\t") == ["@hospital", "retrieve"]
    assert typed(f"dcmweb {URL} copy @\t") == [URL, "copy", "@hospital"]
    assert typed("dcmweb config show hos\t") == ["config", "show", "hospital"]


def test_uids_are_left_alone_and_so_is_what_is_not_understood(typed: Type) -> None:
    assert typed(f"dcmweb {URL} retrieve stud\t") == [URL, "retrieve", "stud"]
    assert typed(f"dcmweb {URL} delete studies/1.2\t") == [URL, "delete", "studies/1.2"]
    assert typed(f"dcmweb {URL} unheard-of --x\t") == [URL, "unheard-of", "--x"]
    assert typed(f"dcmweb {URL} stop\t") == [URL, "stop"]
