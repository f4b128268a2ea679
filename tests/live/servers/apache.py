"""Apache with mod_auth_openidc in front of an archive: it lets requests with valid tokens pass.

It is an OAuth 2.0 resource server, which checks a JWT by the keys of the provider, or asks the
provider about the token (RFC 7662).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.live.servers.oidc import INTROSPECTOR, OidcProvider
from tests.live.servers.process import Program, Server, running

MODULES = Path("/usr/lib/apache2/modules")
APACHE = Program(
    "apache2",
    "apache2-bin libapache2-mod-auth-openidc",
    (MODULES / "mod_auth_openidc.so",),
)
LOADED = ("mpm_event", "unixd", "authn_core", "authz_core", "authz_user", "proxy", "proxy_http")

CONFIGURATION = """\
ServerRoot {folder}
ServerName 127.0.0.1
Listen 127.0.0.1:{port}
PidFile {folder}/pid
DefaultRuntimeDir {folder}
Mutex sem
ErrorLog /dev/stderr
LogLevel notice
{modules}
{user}
OIDCCryptoPassphrase of-the-tests
{check}
# Its user cannot read the files of the tests, the bundle of the authority among them.
OIDCOAuthSSLValidateServer Off
OIDCOAuthRemoteUserClaim client_id
<Location /dicom-web/>
  AuthType oauth20
  Require claim scope:{scope}
  ProxyPass {upstream}/
  # The token is meant for Apache.
  RequestHeader unset Authorization
</Location>
"""
BY_KEYS = "OIDCOAuthVerifyJwksUri {jwks}"
BY_QUESTION = """\
OIDCOAuthIntrospectionEndpoint {introspection}
OIDCOAuthClientID {client}
OIDCOAuthClientSecret {secret}
OIDCOAuthIntrospectionEndpointAuth client_secret_basic
OIDCOAuthTokenExpiryClaim exp absolute mandatory
OIDCOAuthTokenIntrospectionInterval 0"""


@dataclass(frozen=True)
class Apache(Server):
    """A running Apache."""

    @property
    def url(self) -> str:
        """The BASE_URL of the DICOMweb service."""
        return f"{self.root}/dicom-web"


@contextmanager
def running_apache(
    folder: Path,
    upstream: str,
    provider: OidcProvider,
    check: Literal["jwks", "introspection"] = "jwks",
    scope: str = "dicomweb",
) -> Iterator[Apache]:
    """Run Apache in front of the DICOMweb service at a URL, for the time of a block.

    Tokens must have the scope. The module refuses a provider whose addresses begin with
    http: give the provider a certificate.
    """
    program = APACHE.path()
    folder.mkdir(parents=True)
    file = folder / "apache.conf"
    client, secret = INTROSPECTOR
    loaded = [*LOADED, "headers", "auth_openidc"]

    def command(port: int) -> list[str]:
        template = BY_KEYS if check == "jwks" else BY_QUESTION
        configuration = CONFIGURATION.format(
            folder=folder,
            port=port,
            modules="\n".join(
                f"LoadModule {m}_module {MODULES}/mod_{m}.so"
                for m in loaded
                if (MODULES / f"mod_{m}.so").is_file()
            ),
            # Apache refuses to serve as root.
            user="" if os.geteuid() else "User www-data\nGroup www-data",
            check=template.format(
                jwks=provider.jwks_url,
                introspection=provider.introspection_url,
                client=client,
                secret=secret,
            ),
            scope=scope,
            upstream=upstream,
        )
        file.write_text(configuration)
        return [program, "-X", "-f", str(file)]

    with running("apache", folder, command) as server:
        yield Apache(server.name, server.port, server.log, server.process)
