"""Answers that break off: cut at every byte, never taken for less than they are."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dcmweb.dicom.resources import Resource
from dcmweb.errors import DcmwebError, Interrupted
from dcmweb.http.transport import Transport
from dcmweb.settings import Settings
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.delete import operations
from dcmweb.transactions.delete.run import DeleteOptions, delete
from dcmweb.transactions.on_error import OnError
from dcmweb.transactions.retrieve.metadata import metadata
from dcmweb.transactions.retrieve.options import RetrieveOptions
from dcmweb.transactions.retrieve.output import Destination, folder_at
from dcmweb.transactions.retrieve.run import retrieve
from dcmweb.transactions.search.paging import fetch_page
from dcmweb.transfer import engine
from dcmweb.transfer.outcomes import Status
from tests.conftest import Dcmweb, make_instance, tree
from tests.functional.archive import BOUNDARY, multipart_body
from tests.functional.origin import Request, _read_request
from tests.functional.storing import listening

STUDY = "studies/1.2.3"
INSTANCE = f"{STUDY}/series/1.2.3.4/instances/1.2.3.4.5"
FILE = make_instance(size=64)
RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
ROW = {
    tag: {"vr": "UI", "Value": [uid]}
    for tag, uid in (("0020000D", "1.2.3"), ("0020000E", "1.2.3.4"), ("00080018", "1.2.3.4.5"))
}
OPERATION = "projects/p/operations/1"
DEEP = 40  # bytes of a payload between two cuts in it


def answer(body: bytes, kind: str, how: str) -> bytes:
    """Write an answer whose body is framed by its length, by chunks, or by closing."""
    fields = [f"Content-Type: {kind}"]
    if how == "length":
        fields.append(f"Content-Length: {len(body)}")
    elif how == "chunked":
        fields.append("Transfer-Encoding: chunked")
        half = len(body) // 2
        pieces = (body[:half], body[half:], b"")
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    else:
        fields.append("Connection: close")
    return ("\r\n".join(["HTTP/1.1 200 OK", *fields]) + "\r\n\r\n").encode() + body


def as_json(content: object, how: str = "length") -> bytes:
    return answer(json.dumps(content).encode(), "application/dicom+json", how)


@dataclass
class Script:
    """Answers by path; the next answer to a path is cut, each time or so often."""

    answers: dict[str, bytes]
    path: str = ""
    cut: int = 0
    times: int = 0
    paths: list[str] = field(default_factory=list)

    def __call__(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            while request := _read_request(reader, 0):
                if not self._send(connection, request):
                    with suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                    return

    def _send(self, connection: socket.socket, request: Request) -> bool:
        path = request.path.removeprefix("/dicomweb/").removeprefix("/")
        self.paths.append(path)
        wire = self.answers.get(path) or as_json([])
        if path == self.path and self.times:
            self.times -= 1
            connection.sendall(wire[: self.cut])
            return False
        connection.sendall(wire)
        return b"Connection: close" not in wire


Action = Callable[[RunContext, Path], object]


def searching(context: RunContext, _: Path) -> object:
    return fetch_page(context, "studies").rows


def getting_metadata(context: RunContext, _: Path) -> object:
    return list(metadata(context, Resource("1.2.3", "1.2.3.4", "1.2.3.4.5")))


def retrieving(path: str) -> Action:
    def act(context: RunContext, folder: Path) -> object:
        shutil.rmtree(folder, ignore_errors=True)
        outcomes = list(
            retrieve(context, [path], Destination(folder_at(str(folder))), RetrieveOptions())
        )
        if all(outcome.status is Status.RETRIEVED for outcome in outcomes):
            return tree(folder)
        assert tree(folder) == {}
        raise DcmwebError("failed")

    return act


def deleting(context: RunContext, _: Path) -> object:
    options = DeleteOptions(on_error=OnError.RAISE)
    outcomes = delete(context, [Resource("1.2.3")], options=options)
    return [outcome.status for outcome in outcomes]


FILES = {"1.2.3/1.2.3.4/1.2.3.4.5.dcm": FILE}
BODY = multipart_body([FILE])
DONE = {OPERATION: as_json({"name": OPERATION, "done": True})}


@dataclass(frozen=True)
class Case:
    """What is cut, what is done with it, and what must come of it."""

    path: str
    wire: bytes
    action: Action
    expected: object
    beside: dict[str, bytes] = field(default_factory=dict)
    asks: str = ""  # what else is asked for before it counts as success
    every: int = 3  # how many bytes from one cut to the next; 1 for one case of each framing


def cases() -> Iterator[tuple[str, Case]]:
    single_instances = {
        f"{STUDY}/instances": as_json([ROW]),
        INSTANCE: answer(BODY, RELATED, "length"),
    }
    for how in ("length", "chunked", "closing"):
        rows = as_json([ROW], how)
        yield f"search {how}", Case("studies", rows, searching, [ROW], every=1)
        yield f"metadata {how}", Case(f"{INSTANCE}/metadata", rows, getting_metadata, [ROW])
        many = answer(BODY, RELATED, how)
        yield f"instance {how}", Case(INSTANCE, many, retrieving(INSTANCE), FILES, every=1)
        yield (
            f"study {how}",
            Case(STUDY, many, retrieving(STUDY), FILES, single_instances, INSTANCE),
        )
        no_boundary = answer(BODY, 'multipart/related; type="application/dicom"', how)
        yield f"no boundary {how}", Case(INSTANCE, no_boundary, retrieving(INSTANCE), FILES)
        single = answer(FILE, "application/dicom", how)
        yield f"single part {how}", Case(INSTANCE, single, retrieving(INSTANCE), FILES)
        begun = as_json({"name": OPERATION}, how)
        yield f"delete {how}", Case(STUDY, begun, deleting, [Status.DELETED], DONE, OPERATION)
        done = {STUDY: as_json({"name": OPERATION})}
        poll = as_json({"name": OPERATION, "done": True}, how)
        yield f"operation {how}", Case(OPERATION, poll, deleting, [Status.DELETED], done)


CASES = dict(cases())


def cuts(case: Case) -> Iterator[int]:
    """Where to cut an answer: often, but for some places within a long payload."""
    wire = case.wire
    start = wire.find(FILE[:200])
    for at in range(0, len(wire), case.every):
        if start < 0 or not start + 20 < at < start + len(FILE) - 20 or at % DEEP == 0:
            yield at


@pytest.fixture(autouse=True)
def without_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FIRST_DELAY", 0)
    monkeypatch.setattr(operations, "FIRST_POLL", 0)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_answer_that_is_cut_once_is_asked_for_again(case: Case, tmp_path: Path) -> None:
    script = Script({case.path: case.wire, **case.beside}, case.path)
    with listening(script) as url:
        transport = Transport(Settings(base_url=url, retries=2))
        context = RunContext(transport)
        for script.cut in cuts(case):
            script.times = 1
            script.paths.clear()
            found = case.action(context, tmp_path / "out")
            assert found == case.expected, script.cut
            if case.asks == OPERATION:
                assert OPERATION in script.paths, script.cut
        transport.close()


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_answer_that_is_always_cut_is_never_success(case: Case, tmp_path: Path) -> None:
    script = Script({case.path: case.wire, **case.beside}, case.path)
    failures = 0
    with listening(script) as url:
        for script.cut in cuts(case):
            script.times = 100
            script.paths.clear()
            transport = Transport(Settings(base_url=url, retries=0))
            context = RunContext(transport)
            try:
                found = case.action(context, tmp_path / "out")
            except Interrupted:
                raise
            except DcmwebError:
                failures += 1
            else:  # all came but the line ends behind the end, or in another way
                assert found == case.expected, script.cut
                assert script.cut >= len(case.wire) - 10 or case.asks in script.paths
            transport.close()
    assert failures > len(list(cuts(case))) - 10 or case.asks == INSTANCE


# The same through the installed command, where the exit code shows.

HEAD_CUT = b"HTTP/1.1 200 OK\r\nContent-Ty"
COMMANDS = {
    "retrieve the whole store": (["retrieve", "-o", "out"], "studies"),
    "search": (["search"], "studies"),
    "count": (["search", "--count"], "studies"),
    "retrieve an instance": (["retrieve", INSTANCE, "-o", "out"], INSTANCE),
    "retrieve metadata": (["retrieve", f"{INSTANCE}/metadata"], f"{INSTANCE}/metadata"),
    "delete": (["delete", STUDY], STUDY),
}


@pytest.mark.parametrize(("command", "path"), COMMANDS.values(), ids=COMMANDS.keys())
@pytest.mark.parametrize("wire", [HEAD_CUT, b"HTTP/1.1 200 OK\r\n\r\n"], ids=["head", "no length"])
def test_a_cut_head_is_a_broken_answer(
    dcmweb: Dcmweb, command: list[str], path: str, wire: bytes
) -> None:
    script = Script({path: wire}, path, len(wire), 100)
    with listening(script) as url:
        result = dcmweb("--retries", "1", url, *command)
    assert result.code == 8
    assert "is broken" in result.err
    counted = 2 if path == "studies" and "retrieve" in command else 0  # beside the run, for its bar
    assert 2 <= script.paths.count(path) <= 2 + 2 * counted


def test_nothing_is_said_by_a_length_of_zero_or_204(dcmweb: Dcmweb) -> None:
    for wire in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ):
        with listening(Script({"studies": wire})) as url:
            result = dcmweb(url, "search", "--count")
        assert (result.code, result.out) == (0, "0\n")
