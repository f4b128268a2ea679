"""nginx as a reverse proxy: TLS, client certificates, passwords, keys, prefixes, limits."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.live.servers.process import Program, Server, running
from tests.live.servers.tls import Certificate

NGINX = Program("nginx", "nginx")

MAIN = """\
# One process: it needs no other user, and it ends with one signal.
daemon off;
master_process off;
pid nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
  {zone}
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  default_type text/html;
  server {{
    {server}
  }}
}}
"""


@dataclass(frozen=True)
class Features:
    """What nginx does with the requests that it passes on."""

    certificate: Certificate | None = None  # with TLS
    client_authority: Path | None = None  # the bundle that issued the clients' certificates
    verify_client: Literal["on", "optional"] = "on"
    tls_versions: str = "TLSv1.2 TLSv1.3"
    users: Mapping[str, str] = field(default_factory=dict)  # basic authentication
    header: tuple[str, str] | None = None  # a header that each request must have: ("X-Api-Key", …)
    argument: tuple[str, str] | None = None  # a query parameter that each request must have
    prefixes: tuple[str, ...] = ("/dicom-web/",)  # each is a root of the service
    keep_host: bool = False  # whether the server behind it is told the name that the client used
    largest_body: str = "0"  # "64k": answers 413 to larger requests
    rate: int = 0  # requests in a second: answers 429 to more
    redirect: str = ""  # where all requests are redirected, "{path}" included
    redirect_status: int = 307
    ipv6: bool = False  # listen on ::1 too


@dataclass(frozen=True)
class Nginx(Server):
    """A running nginx."""

    features: Features

    @property
    def scheme(self) -> str:
        return "https" if self.features.certificate else "http"

    @property
    def root(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The BASE_URL of the DICOMweb service."""
        return self.url_of(self.features.prefixes[0])

    def url_of(self, prefix: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{prefix.rstrip('/')}"

    def requests(self) -> list[str]:
        """The lines of its access log."""
        log = self.log.parent / "access.log"
        return log.read_text(encoding="utf-8", errors="replace").splitlines()


@contextmanager
def running_nginx(folder: Path, upstream: str, features: Features) -> Iterator[Nginx]:
    """Run nginx in front of the DICOMweb service at a URL, for the time of a block."""
    program = NGINX.path()
    folder.mkdir(parents=True)
    file = folder / "nginx.conf"

    def command(port: int) -> list[str]:
        lines = [*_listen(port, features), *_checks(folder, features)]
        lines += [
            line for prefix in features.prefixes for line in _location(prefix, upstream, features)
        ]
        file.write_text(MAIN.format(zone=_zone(features), server="\n    ".join(lines)))
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(file)]

    # This line comes after it has bound the port.
    with running("nginx", folder, command, says='using the "epoll"') as server:
        yield Nginx(server.name, server.port, server.log, server.process, features)


def _listen(port: int, features: Features) -> Iterator[str]:
    tls = " ssl" if features.certificate else ""
    yield f"listen 127.0.0.1:{port}{tls};"
    if features.ipv6:
        yield f"listen [::1]:{port}{tls};"
    if features.certificate:
        yield f"ssl_certificate {features.certificate.chain};"
        yield f"ssl_certificate_key {features.certificate.key};"
        yield f"ssl_protocols {features.tls_versions};"
    if features.client_authority:
        yield f"ssl_client_certificate {features.client_authority};"
        yield f"ssl_verify_client {features.verify_client};"


def _zone(features: Features) -> str:
    zone = f"limit_req_zone $server_addr zone=all:1m rate={features.rate}r/s;"
    return zone if features.rate else ""


def _checks(folder: Path, features: Features) -> Iterator[str]:
    yield f"client_max_body_size {features.largest_body};"
    if features.rate:
        yield "limit_req zone=all;"
        yield "limit_req_status 429;"
    if features.users:
        passwords = folder / "passwords"
        passwords.write_text("".join(f"{u}:{_hashed(p)}\n" for u, p in features.users.items()))
        yield 'auth_basic "archive";'
        yield f"auth_basic_user_file {passwords};"
    if features.header:
        name, value = features.header
        yield f'if ($http_{name.lower().replace("-", "_")} != "{value}") {{ return 401; }}'
    if features.argument:
        name, value = features.argument
        yield f'if ($arg_{name} != "{value}") {{ return 401; }}'


def _hashed(password: str) -> str:
    """Hash a password for nginx, to which a colon would end one that is not hashed."""
    digest = hashlib.sha1(password.encode()).digest()
    return "{SHA}" + base64.b64encode(digest).decode()


def _location(prefix: str, upstream: str, features: Features) -> Iterator[str]:
    yield f"location {prefix} {{"
    if features.redirect:
        target = features.redirect.replace("{path}", "$request_uri")
        yield f"  return {features.redirect_status} {target};"
    else:
        yield f"  proxy_pass {upstream}/;"
        yield "  proxy_http_version 1.1;"
        yield "  proxy_request_buffering off;"
        yield "  proxy_buffering off;"
        yield f"  proxy_set_header Host {'$http_host' if features.keep_host else '$proxy_host'};"
        yield '  proxy_set_header Connection "";'
        # The server behind it must not take the password for its own.
        if features.users:
            yield '  proxy_set_header Authorization "";'
    yield "}"
