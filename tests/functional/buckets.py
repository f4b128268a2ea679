"""Servers of buckets that run here: moto's S3, which also speaks as Google does, and azurite.

What a test puts into a bucket, it puts with plain requests: not by what is tested.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from itertools import count
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest

from tests.functional.origin import Answer, Request, serving

ROOT = Path(__file__).parent.parent.parent
AZURITE = "azurite is not installed: run .ci/install-servers"
_ACCOUNT = "devstoreaccount1"  # azurite's own account and key, as its documentation has them
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_VERSION = "2021-08-06"
_NUMBERS = count(1)
# moto takes any signature, but wants one.
_SIGNED = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"


@dataclass
class Bucket:
    """An empty bucket, and the environment in which the command finds it."""

    url: str
    scheme: str
    name: str
    env: dict[str, str]
    _authorise: Callable[[str, str, dict[str, str]], None] = field(repr=False)

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.name}"

    def put(self, key: str, data: bytes) -> None:
        """Put an object into the bucket."""
        self.request("PUT", key, data, {"x-ms-blob-type": "BlockBlob"})

    def put_all(self, files: Mapping[str, bytes]) -> None:
        """Put objects into the bucket."""
        for key, data in files.items():
            self.put(key, data)

    def get(self, key: str) -> bytes:
        """Get an object."""
        return self.request("GET", key)

    def names(self) -> list[str]:
        """List the keys of all objects."""
        query = "?restype=container&comp=list" if self.scheme == "az" else "?list-type=2"
        found = re.findall(
            r"<(?:Key|Name)>([^<]+)</(?:Key|Name)>", self.request("GET", query).decode()
        )
        return sorted(key for key in found if key != self.name)

    def tree(self) -> dict[str, bytes]:
        """Get all objects by their keys."""
        return {key: self.get(key) for key in self.names()}

    def request(
        self, method: str, key: str = "", data: bytes = b"", headers: Mapping[str, str] = {}
    ) -> bytes:
        """Send a request about an object, or about the bucket. Errors of the server are raised."""
        parts = urlsplit(self.url)
        path, _, query = key.partition("?")
        target = "/".join(filter(None, [parts.path.strip("/"), self.name, quote(path)]))
        target = f"/{target}{'?' + query if query else ''}"
        sent = {**headers, "Content-Length": str(len(data))}
        self._authorise(method, target, sent)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        connection.request(method, target, data, sent)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        assert response.status < 300, body
        return body


def s3_bucket(url: str) -> Bucket:
    """Make a bucket of moto's server."""

    def authorise(_method: str, _target: str, headers: dict[str, str]) -> None:
        headers["Authorization"] = _SIGNED

    env = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": url,
    }
    bucket = Bucket(url, "s3", f"bucket-{os.getpid()}-{next(_NUMBERS)}", env, authorise)
    bucket.request("PUT")
    return bucket


@contextmanager
def google_bucket(url: str) -> Iterator[Bucket]:
    """Make a bucket that is reached as Google's are: their XML API is that of S3.

    Names are escaped more than moto understands, so requests pass through a server that mends that.
    """
    to_moto = forwarding(url, lambda _: None)

    def handle(request: Request) -> Answer:
        target = quote(unquote(request.path)) + request.target[len(request.path) :]
        headers = {**request.headers, "authorization": _SIGNED}
        return to_moto(replace(request, target=target, headers=headers))

    with serving(handle) as proxy:
        env = {
            "GOOGLE_BASE_URL": f"http://127.0.0.1:{proxy.port}",
            "GOOGLE_BEARER_TOKEN": "token",
        }
        yield replace(s3_bucket(url), scheme="gs", env=env)


def azure_container(url: str) -> Bucket:
    """Make a container of azurite."""
    env = {
        "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
        "AZURE_STORAGE_ENDPOINT": f"{url}/{_ACCOUNT}",
    }
    name = f"container-{os.getpid()}-{next(_NUMBERS)}"
    container = Bucket(f"{url}/{_ACCOUNT}", "az", name, env, _sign_for_azure)
    container.request("PUT", "?restype=container")
    return container


def _sign_for_azure(method: str, target: str, headers: dict[str, str]) -> None:
    """Add the header fields of Shared Key authorisation."""
    headers |= {"x-ms-date": formatdate(usegmt=True), "x-ms-version": _VERSION}
    path, _, query = target.partition("?")
    own = "".join(f"{k}:{headers[k]}\n" for k in sorted(headers) if k.startswith("x-ms-"))
    pairs = sorted(pair.split("=", 1) for pair in query.split("&") if pair)
    resource = f"/{_ACCOUNT}{path}" + "".join(f"\n{k}:{v}" for k, v in pairs)
    length = headers["Content-Length"].strip("0") and headers["Content-Length"]
    text = f"{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{own}{resource}"
    digest = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"


@contextmanager
def moto_server(log: Path) -> Iterator[str]:
    """Run moto's server for the time of a block, which gets its URL."""
    with _running(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"], log
    ) as url:
        yield url


@contextmanager
def azurite_server(log: Path) -> Iterator[str]:
    """Run azurite for the time of a block, which gets its URL; skip the test without it."""
    folder = Path(os.environ.get("DCMWEB_AZURITE") or ROOT / ".cache" / "azurite")
    program = folder / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        if os.environ.get("DCMWEB_REQUIRE_LIVE"):
            pytest.fail(AZURITE)
        pytest.skip(AZURITE)
    options = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    command = [str(program), "--blobHost", "127.0.0.1", "--blobPort", "{port}", *options]
    with _running(command, log) as url:
        yield url


@contextmanager
def _running(command: list[str], log: Path) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [part.format(port=port) for part in command]
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=log.parent)
        try:
            _wait_for(server, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()
            server.wait()


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.1)
    pytest.fail(f"{server.args!r} does not listen: {log.read_text()}")


def forwarding(url: str, before: Callable[[Request], Answer | None]) -> Callable[[Request], Answer]:
    """Make a handler that passes requests on, unless a function answers them itself."""
    parts = urlsplit(url)

    def handle(request: Request) -> Answer:
        if (answer := before(request)) is not None:
            return answer
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        kept = {k: v for k, v in request.headers.items() if k != "connection"}
        connection.request(request.method, request.target, request.body, kept)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        headers = {
            name: value
            for name, value in response.getheaders()
            if name.lower() not in ("transfer-encoding", "connection", "content-length")
        }
        length = response.getheader("Content-Length")
        is_head = request.method == "HEAD"
        return Answer(response.status, body, headers, int(length) if is_head and length else None)

    return handle
