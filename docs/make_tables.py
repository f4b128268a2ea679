"""Write the tables in the documentation from the code, between marks in the files.

Run it after a change to one of the tables; a test fails when it has been forgotten.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from dcmweb.errors import ExitCode
from dcmweb.http.media_types import EXTENSIONS, OTHER_EXTENSION
from dcmweb.settings.options import OPTIONS, Group, Option, options_of_destination
from dcmweb.settings.servers import SERVERS, Deletion, Server
from dcmweb.transactions.store.failure_reasons import FAILURES, WARNINGS, Reason
from dcmweb.transactions.store.resend import TABLE

ROOT = Path(__file__).parent.parent
FILES = (
    ROOT / "README.md",
    *(ROOT / "docs" / name for name in ("reference.md", "sending.md", "servers.md")),
)


def _table(header: str, rows: Sequence[Sequence[str]]) -> str:
    columns = header.split(" | ")
    lines: list[Sequence[str]] = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _exit_codes() -> str:
    return _table("code | meaning", [(str(code.value), code.meaning) for code in ExitCode])


def _codes(reason: Reason) -> str:
    first, last = f"{reason.first:04X}H", f"{reason.last:04X}H"
    return first if first == last else f"{first} to {last}"


def _failures() -> str:
    rows = [(_codes(r), r.words, r.verdict.value) for r in FAILURES]
    return _table("failure reason | in words | taken as", rows)


def _warnings() -> str:
    return _table("warning reason | in words", [(_codes(r), r.words) for r in WARNINGS])


def _extensions() -> str:
    rows = [(f"`{name}`", extension) for name, extension in EXTENSIONS.items()]
    return _table("media type | extension", [*rows, ("others", OTHER_EXTENSION)])


def _resend() -> str:
    rows = [
        (
            rule.situation.value,
            rule.together.value,
            rule.alone.value,
            rule.is_asked or "no",
            rule.then.value,
            rule.said,
        )
        for rule in TABLE
    ]
    return _table(
        "the server | several files: sent again | one file: sent again | asked | then | in the end",
        rows,
    )


def _size(number: int | None) -> str:
    if number is None:
        return ""
    return f"{number // 10**9} GB" if number >= 10**9 else f"{number // 10**6} MB"


def _servers() -> str:
    rows = [
        (
            server.title,
            f"`{server.name}`",
            f"{server.page:,}" if server.page else "",
            _size(server.bytes),
            f"{server.requests_per_second:g}" if server.requests_per_second else "",
            server.deletion.value,
            server.replacement,
        )
        for server in SERVERS
    ]
    return _table(
        "server | `--server` | largest page | largest request | requests per second | deletes by | "
        "replaces by",
        rows,
    )


def _command_line(server: Server) -> str:
    """Write a command line that deletes, where the server does, or one that stores."""
    options = {
        Deletion.REST_API: " --orthanc-api auto",
        Deletion.REJECTION: " --reject-as 113001^DCM",
    }
    named = "" if server.address else f" --server {server.name}"
    if server.deletion is Deletion.NONE:
        return f"dcmweb {server.base_url} store ./study{named}"
    return f"dcmweb {server.base_url} delete studies/1.2.3{options.get(server.deletion, '')}{named}"


def _server_use() -> str:
    rows = [
        (server.title, f"`{_command_line(server)}`", server.credentials, server.notes)
        for server in SERVERS
    ]
    return _table("server | a command line | credentials | what to know", rows)


def _options(group: Group) -> str:
    return _rows(one for one in OPTIONS if one.group is group and not one.commands)


def _rows(options: Iterable[Option]) -> str:
    rows = []
    for option in options:
        long = "" if option.short == "m" else f"--{option.name}"
        names = filter(None, [f"-{option.short}" if option.short else "", long])
        shown = ", ".join(f"`{f'{name} {option.metavar}'.strip()}`" for name in names)
        shown += f", `--{option.off}`" if option.off else ""
        more = f" By default {option.default}." if option.default is not None else ""
        rows.append((shown, f"`{option.variable}`", f"{option.help}{more}"))
    return _table("option | variable | meaning", rows)


TABLES = {
    "options-speed": lambda: _options(Group.SPEED),
    "options-credentials": lambda: _options(Group.CREDENTIALS),
    "options-connection": lambda: _options(Group.CONNECTION),
    "options-logging": lambda: _options(Group.LOGGING),
    "options-destination": lambda: _rows(options_of_destination()),
    "servers": _servers,
    "server-use": _server_use,
    "resend": _resend,
    "exit-codes": _exit_codes,
    "failure-reasons": _failures,
    "warning-reasons": _warnings,
    "extensions": _extensions,
}


def rendered(text: str) -> str:
    """Put the tables of today into a text, between their marks."""
    for name, make in TABLES.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        table = make()
        text = re.sub(pattern, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL)  # type: ignore[misc]
    return text


def main() -> int:
    """Bring all files up to date; tell by the exit code whether that changed anything."""
    changed = False
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        changed |= text != rendered(text)
        path.write_text(rendered(text), encoding="utf-8")
    return int(changed)


if __name__ == "__main__":
    sys.exit(main())
