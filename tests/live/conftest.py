"""Fixtures of tests against real servers, which are started for a test and stopped after it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.live import orthanc as orthanc_server
from tests.live.orthanc import Orthanc
from tests.live.servers.apache import Apache, running_apache
from tests.live.servers.haproxy import Haproxy, running_haproxy
from tests.live.servers.nginx import Features, Nginx, running_nginx
from tests.live.servers.oidc import OidcProvider, running_provider
from tests.live.servers.process import NotInstalled, Server
from tests.live.servers.proxies import Proxy, running_microsocks, running_tinyproxy
from tests.live.servers.tiny_pacs import TinyPacs, running_tiny_pacs
from tests.live.servers.tls import Authority, OldAuthority

ServerT = TypeVar("ServerT", bound=Server)
StartOrthanc = Callable[..., Orthanc]
StartNginx = Callable[[str, Features], Nginx]
StartHaproxy = Callable[..., Haproxy]
StartProvider = Callable[..., OidcProvider]
StartApache = Callable[..., Apache]
StartTinyPacs = Callable[..., TinyPacs]
StartProxy = Callable[..., Proxy]

STARTED = pytest.StashKey[list[Server]]()
LINES_OF_LOG = 50


class Servers:
    """Starts servers for a test, each in a folder of its own."""

    def __init__(self, folder: Path, stack: ExitStack, started: list[Server]) -> None:
        self._folder = folder
        self._stack = stack
        self._started = started
        self._numbers = count()

    def start(
        self, run: Callable[..., AbstractContextManager[ServerT]], *args: Any, **options: Any
    ) -> ServerT:
        """Start a server; it is stopped after the test. Skip the test if it is not installed."""
        folder = self._folder / f"server{next(self._numbers)}"
        try:
            server = self._stack.enter_context(run(folder, *args, **options))
        except NotInstalled as missing:
            if os.environ.get("DCMWEB_REQUIRE_LIVE"):
                pytest.fail(str(missing))
            pytest.skip(str(missing))
        self._started.append(server)
        return server


@pytest.fixture
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    """Start servers that are stopped after the test; their logs are shown if it fails."""
    started = request.node.stash.setdefault(STARTED, [])
    with ExitStack() as stack:
        # Not in tmp_path, whose files tests compare and count.
        yield Servers(tmp_path_factory.mktemp("servers"), stack, started)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of a failed test's servers."""
    report = yield
    if report.failed:
        for server in item.stash.get(STARTED, []):
            if server.log.is_file():
                tail = server.log_text().splitlines()[-LINES_OF_LOG:]
                report.sections.append((f"log of {server.name}", "\n".join(tail)))
    return report


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose certificates the servers have; no program knows it."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no server knows."""
    return Authority(tmp_path_factory.mktemp("other_authority"))


@pytest.fixture(scope="session")
def old_authority(tmp_path_factory: pytest.TempPathFactory) -> OldAuthority:
    """An authority without the extensions that Python 3.13 wants."""
    return OldAuthority(tmp_path_factory.mktemp("old_authority"))


@pytest.fixture
def start_orthanc(servers: Servers) -> StartOrthanc:
    """Start Orthanc with settings of its own; it is stopped after the test."""
    return lambda **settings: servers.start(orthanc_server.running, **settings)


@pytest.fixture
def orthanc(start_orthanc: StartOrthanc) -> Orthanc:
    """An empty Orthanc."""
    return start_orthanc()


@pytest.fixture
def orthanc_with_users(start_orthanc: StartOrthanc) -> Orthanc:
    """An empty Orthanc that wants the password of one of its users."""
    users = {"alice": "se:cret", "bob": "pässwörd"}
    return start_orthanc(AuthenticationEnabled=True, RegisteredUsers=users)


@pytest.fixture
def start_nginx(servers: Servers) -> StartNginx:
    """Start nginx with some features in front of the DICOMweb service at a URL."""
    return lambda upstream, features: servers.start(running_nginx, upstream, features)


@pytest.fixture
def start_haproxy(servers: Servers, authority: Authority) -> StartHaproxy:
    """Start HAProxy in front of the server at a URL; it wants certificates of the authority."""
    return lambda upstream, **options: servers.start(
        running_haproxy, upstream, authority.server, authority.bundle, **options
    )


@pytest.fixture
def start_tinyproxy(servers: Servers) -> StartProxy:
    """Start an HTTP proxy, with a user and password if they are given."""
    return lambda user="", password="": servers.start(running_tinyproxy, user, password)


@pytest.fixture
def start_microsocks(servers: Servers) -> StartProxy:
    """Start a SOCKS 5 proxy, with a user and password if they are given."""
    return lambda user="", password="": servers.start(running_microsocks, user, password)


@pytest.fixture
def start_provider(servers: Servers) -> StartProvider:
    """Start an OpenID provider: `format="opaque"`, `seconds=2`, `certificate=authority.server`."""
    return lambda **options: servers.start(running_provider, **options)


@pytest.fixture
def start_apache(servers: Servers) -> StartApache:
    """Start Apache in front of a DICOMweb service; it wants tokens of the provider.

    The provider must have a certificate, as `start_provider(certificate=authority.server)` gives.
    """
    return lambda upstream, provider, **options: servers.start(
        running_apache, upstream, provider, **options
    )


@pytest.fixture
def start_tiny_pacs(servers: Servers) -> StartTinyPacs:
    """Start an empty tiny-pacs: `tokens=["…"]`, `largest_body=…`."""
    return lambda **options: servers.start(running_tiny_pacs, **options)
