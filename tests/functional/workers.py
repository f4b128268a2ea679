"""What tests of `--on` share: what was said, which workers run, and a server that holds on."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dcmweb.transfer.unit import FIRST_ITEMS
from tests.functional.origin import Answer, Handler, Request

LONG = 60.0  # seconds in which anything here should have happened
COUNT = 2 * FIRST_ITEMS + 10  # files for three units


def events(text: str) -> list[dict[str, Any]]:
    return [event for line in text.splitlines() if "item" in (event := json.loads(line))]


def counts(text: str) -> dict[str, int]:
    return dict(Counter(str(event["type"]) for event in events(text)))


def named_once(text: str, paths: list[Path]) -> bool:
    return sorted(event["item"] for event in events(text)) == sorted(map(str, paths))


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that a process has begun."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{process.pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


class Holding:
    """Holds the first store requests until `let_go` is set."""

    def __init__(self, archive: Handler) -> None:
        self._archive = archive
        self.let_go = threading.Event()
        self.held: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        if request.method == "POST" and not self.let_go.is_set():
            self.held.append(request)
            self.let_go.wait(LONG)
        return self._archive(request)
