"""An archive that is killed in the middle of uploads: what it acknowledged is there."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import requests

from tests.conftest import DCMWEB, clean_environment, write_files
from tests.functional.archive import multipart_body
from tests.functional.archives import (
    AS_STORED,
    LONG,
    Running,
    multipart,
    new_series,
    path_of,
    post,
    rows_of,
    start,
    stop,
    uids,
)

ROUNDS = 3
COUNT = 120  # instances of an upload, which takes longer than the archive lives
# Of their pixel data, as units of 64 bytes; the client sends many small ones as one request.
SIZES = {"one by one": (1, 800), "seven at a time": (1, 800), "client": (3000, 5000)}


def name_of(data: bytes) -> str:
    return "/".join(uids(data)) + ".dcm"


def kill(server: Running) -> None:
    """Kill an archive, as a power cut or the kernel would."""
    assert stop(server, signal.SIGKILL) == -signal.SIGKILL


def upload(
    server: Running, files: list[bytes], together: int, enough: int, reached: threading.Event
) -> list[bytes]:
    """Store so many at a time until the archive is gone; those that it acknowledged."""
    acknowledged: list[bytes] = []
    with requests.Session() as session:
        session.trust_env = False
        for at in range(0, len(files), together):
            group = files[at : at + together]
            try:
                response = session.post(
                    f"{server.url}/studies",
                    data=multipart_body(group),
                    headers=multipart(),
                    timeout=LONG,
                )
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                break
            assert response.status_code == 200
            acknowledged += group
            if len(acknowledged) >= enough:
                reached.set()
    reached.set()
    return acknowledged


def upload_by_client(
    server: Running, files: list[bytes], folder: Path, delay: float
) -> list[bytes]:
    """Store with the project's own client, the archive being killed after the first bytes came."""
    names = {path.name: path.read_bytes() for path in write_files(folder, files)}
    arguments = ["-j", "3", "--retries", "0", server.url, "store", str(folder)]
    with subprocess.Popen(
        [*DCMWEB, *arguments], env=clean_environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not list(server.folder.glob(".dcmweb/*.part")):
            time.sleep(0.002)
        time.sleep(delay)
        kill(server)
        _, err = process.communicate(timeout=LONG)
    assert "Traceback" not in err
    return [names[name] for name in re.findall(r"/([0-9]+\.dcm) uploaded", err)]


@pytest.mark.slow
@pytest.mark.parametrize("way", SIZES)
def test_what_was_acknowledged_outlives_a_kill_and_nothing_is_half_there(
    tmp_path: Path, way: str
) -> None:
    chance = random.Random(way)
    folder, log = tmp_path / "folder", tmp_path / "log"
    folder.mkdir()
    sent: dict[str, bytes] = {}
    acknowledged: list[bytes] = []
    server = start(folder, log=log)
    try:
        for number in range(ROUNDS):
            files = new_series(
                COUNT // 2 if way == "client" else COUNT, size=64 * chance.randrange(*SIZES[way])
            )
            sent |= {name_of(data): data for data in files}
            enough = chance.randrange(1, COUNT // 2)
            if way == "client":
                delay = chance.random() * 0.15
                acknowledged += upload_by_client(server, files, tmp_path / f"{number}", delay)
            else:
                reached = threading.Event()
                together = 1 if way == "one by one" else 7
                lists: list[list[bytes]] = []
                thread = threading.Thread(
                    target=lambda: lists.append(  # noqa: B023 - it ends within the round
                        upload(server, files, together, enough, reached)  # noqa: B023
                    )
                )
                thread.start()
                assert reached.wait(LONG)
                time.sleep(chance.random() * 0.02)
                kill(server)
                thread.join(LONG)
                acknowledged += lists[0]
                assert enough <= len(lists[0])
            there = server.files()
            assert all(sent[name] == data for name, data in there.items())
            assert all(there.get(name_of(data)) == data for data in acknowledged)
            server = start(folder, log=log)
            assert server.partial_files() == []
            assert server.files() == there
            found = rows_of(server.get("instances", params={"limit": 10_000}))
            assert len(found) == len(there)
            for data in acknowledged[-30:] + chance.sample(
                acknowledged, min(len(acknowledged), 10)
            ):
                assert server.get(path_of(data), AS_STORED).content == data
        everything = list(sent.values())
        for at in range(0, len(everything), 50):
            assert post(server, everything[at : at + 50]).status_code == 200
        assert server.files() == sent
    finally:
        stop(server)
    assert way == "client" or len(acknowledged) < len(sent)
    assert "Traceback" not in log.read_text()
