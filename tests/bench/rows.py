"""The bench of `search`: 100,000 rows of a study each, in each format, beside curl and json.load.

    python -m tests.bench.rows [ROWS]

Prints user and system CPU, as others may use the machine at the same time, and peak memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.bench.__main__ import DCMWEB, as_installed

RUNS = 3
MOST = 1000  # rows in a page
_LOAD = "import json, sys; print(len(json.load(sys.stdin)))"


def row(number: int) -> dict[str, Any]:
    """Make a row as large as those of real servers, of about 750 bytes."""

    def of(vr: str, *values: object) -> dict[str, Any]:
        return {"vr": vr, "Value": list(values)}

    return {
        "00080005": of("CS", "ISO_IR 192"),
        "00080020": of("DA", "20240229"),
        "00080030": of("TM", "101112.123"),
        "00080050": of("SH", f"A{number:08d}"),
        "00080061": of("CS", "CT", "SR"),
        "00080090": of("PN", {"Alphabetic": "Ref^Erring"}),
        "00081030": of("LO", "Thorax routine"),
        "00100010": of("PN", {"Alphabetic": f"Patient^{number}"}),
        "00100020": of("LO", f"P{number:07d}"),
        "00100030": of("DA", "19700101"),
        "00100040": of("CS", "F"),
        "00101030": of("DS", 71.5),
        "0020000D": of("UI", f"1.2.826.0.1.3680043.8.498.1028374657.{number + 1_000_000}"),
        "00200010": of("SH", str(number)),
        "00201206": of("IS", 3),
        "00201208": of("IS", 500),
    }


def serve(count: int) -> None:
    """Serve so many rows, in pages, until killed; print the base URL."""
    rows = [json.dumps(row(number)).encode() for number in range(count)]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = parse_qs(urlsplit(self.path).query)
            start = int(query.get("offset", ["0"])[0])
            limit = min(MOST, int(query.get("limit", [str(MOST)])[0]))
            limit = count if "every" in query else limit
            body = b"[" + b", ".join(rows[start : start + limit]) + b"]"
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/dicomweb", flush=True)
    server.serve_forever()


@contextmanager
def serving(count: int) -> Iterator[str]:
    """Serve rows from another process for the time of a block, which gets the base URL."""
    command = [sys.executable, "-m", "tests.bench.rows", str(count), "serve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def cpu_of(command: list[str], *, hides_words: bool = False) -> tuple[float, float]:
    """Run a command; return its CPU in seconds, and its peak memory in MB."""
    words = subprocess.DEVNULL if hides_words else None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=words, env=as_installed())
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:6])} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    """Print the table: the lowest CPU of some runs, by turns."""
    count = int(sys.argv[1]) if sys.argv[1:] else 100_000
    if sys.argv[2:]:
        serve(count)
    with serving(count) as url:
        search = [*DCMWEB, url, "search", "--all", "--format"]
        curl = f"curl -s '{url}/studies?every=1' | {sys.executable} -c '{_LOAD}'"
        commands = {form: [*search, form] for form in ("ndjson", "csv", "json")}
        commands["curl, json.load"] = ["sh", "-c", curl]
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(RUNS):
            for name, command in commands.items():
                found[name].append(cpu_of(command))
    print("| format | s of CPU | MB |\n| --- | --- | --- |")
    for name, runs in found.items():
        print(f"| {name} | {min(cpu for cpu, _ in runs):.2f} | {max(mb for _, mb in runs):.0f} |")


if __name__ == "__main__":
    main()
