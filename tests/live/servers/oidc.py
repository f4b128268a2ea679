"""An OpenID provider that gives tokens to machines: oidc-provider from npm, run by node."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.live.servers.process import NotInstalled, Program, Server, running
from tests.live.servers.tls import Certificate

HERE = Path(__file__).parent / "oidc_provider"
ROOT = Path(__file__).parents[3]
NODE = Program("node", "nodejs")
AUDIENCE = "urn:dicomweb"
SCOPES = ("dicomweb", "dicomweb.read")
SECRET = "s3cret/of+a machine%:"  # must be percent-encoded in Basic: RFC 6749, section 2.3.1
CLIENTS = {"basic": "client_secret_basic", "post": "client_secret_post"}
INTROSPECTOR = ("introspector", "secret-of-the-resource-server")


@dataclass(frozen=True)
class OidcProvider(Server):
    """A running provider.

    The clients "basic" and "post" are named after how they send their secret, SECRET.
    """

    issuer: str

    @property
    def token_url(self) -> str:
        return f"{self.issuer}/token"

    @property
    def jwks_url(self) -> str:
        return f"{self.issuer}/jwks"

    @property
    def introspection_url(self) -> str:
        return f"{self.issuer}/token/introspection"

    def tokens_given(self) -> int:
        """How often it gave a token."""
        return self.log_text().count("POST /token 200\n")

    def tokens_refused(self) -> int:
        """How often it refused to give one."""
        return self.log_text().count("POST /token 4")


def packages() -> Path:
    """Return the folder that npm installed into, from DCMWEB_OIDC_PROVIDER or of this checkout."""
    folder = Path(os.environ.get("DCMWEB_OIDC_PROVIDER") or ROOT / ".cache" / "oidc-provider")
    if not (folder / "node_modules" / "oidc-provider" / "package.json").is_file():
        raise NotInstalled("oidc-provider is not installed: run .ci/install-servers")
    return folder


@contextmanager
def running_provider(
    folder: Path, format: str = "jwt", seconds: int = 600, certificate: Certificate | None = None
) -> Iterator[OidcProvider]:
    """Run a provider for the time of a block.

    Its access tokens are JWTs ("jwt", RFC 9068) or random words ("opaque") that are valid for the
    given number of seconds. With a certificate its addresses begin with https.
    """
    program, installed = NODE.path(), packages()
    folder.mkdir(parents=True)
    file = folder / "settings.json"
    scheme = "https" if certificate else "http"

    def command(port: int) -> list[str]:
        settings = {
            "issuer": f"{scheme}://127.0.0.1:{port}",
            "port": port,
            "format": format,
            "seconds": seconds,
            "audience": AUDIENCE,
            "scopes": SCOPES,
            "clients": [*_machines(), _resource_server()],
            "certificate": certificate and str(certificate.chain),
            "key": certificate and str(certificate.key),
        }
        file.write_text(json.dumps(settings))
        return [program, str(HERE / "provider.mjs"), str(installed), str(file)]

    with running("oidc-provider", folder, command, says="the provider listens") as server:
        issuer = f"{scheme}://127.0.0.1:{server.port}"
        yield OidcProvider(server.name, server.port, server.log, server.process, issuer)


def _machines() -> Iterator[dict[str, object]]:
    for name, method in CLIENTS.items():
        yield {
            "client_id": name,
            "client_secret": SECRET,
            "token_endpoint_auth_method": method,
            "grant_types": ["client_credentials"],
            "response_types": [],
            "redirect_uris": [],
            "scope": " ".join(SCOPES),
        }


def _resource_server() -> dict[str, object]:
    name, secret = INTROSPECTOR
    return {
        "client_id": name,
        "client_secret": secret,
        "grant_types": [],
        "response_types": [],
        "redirect_uris": [],
    }
