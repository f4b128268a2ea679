"""Azure's own credentials, managed identities included, by the extra package azure-identity."""

from __future__ import annotations

import importlib.util
import logging
import re
from typing import Any

from dcmweb.errors import AuthError, DcmwebError, NetworkError, UsageError
from dcmweb.http.auth.base import Send
from dcmweb.http.auth.bearer import BearerAuth
from dcmweb.http.auth.token_session import TokenSession
from dcmweb.http.auth.tokens import RenewingToken, Token
from dcmweb.settings import Credentials

SCOPE = "https://dicom.healthcareapis.azure.com/.default"
_HINT = (
    "run `az login`, set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or give the "
    "machine a managed identity"
)
# What Entra ID says of credentials that are there, in a message that lists all that were tried.
_REFUSED = re.compile(r"AADSTS\d+: [^\r\n]{1,300}")
_log = logging.getLogger(__name__)


class AzureAuth(BearerAuth):
    """Tokens of azure-identity's DefaultAzureCredential, found when they are first needed."""

    advice = "Azure's token is refused: check that it is for this service (--scope), and its roles"

    def __init__(self, given: Credentials) -> None:
        if not is_installed():
            from dcmweb.extras import how_to_install

            raise UsageError(
                "--auth azure needs the package azure-identity", f"run: {how_to_install('azure')}"
            )
        self._given = given

    def connect(self, send: Send) -> None:
        """Take the way to reach Entra ID, or the server of a managed identity."""
        self.token = RenewingToken(DefaultCredential(self._given, send))


class DefaultCredential:
    """Gets tokens of whatever Azure credentials are found; azure-identity keeps them as well."""

    identity = "Azure's own credentials"
    is_free = False

    def __init__(self, given: Credentials, send: Send) -> None:
        self._client = given.client_id or None
        self._scopes = given.scopes or (SCOPE,)
        self._session = TokenSession(send)
        self._credential: Any = None

    def fetch(self) -> Token:
        """Get a token. Raises AuthError if there are no credentials, or they are refused."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError

        failed: DcmwebError
        try:
            found = self._found().get_token(*self._scopes)
            return Token(found.token, float(found.expires_on))
        except ClientAuthenticationError as error:
            message = self._session.hide(str(error.message))
            _log.info("%s", " ".join(message.split()))
            failed = _refusal(message)
        except AzureError as error:
            failed = NetworkError(
                f"no token of Azure: {_first_line(self._session.hide(str(error.message)))}"
            )
            failed.fatal = True
        except ValueError as error:  # of variables such as AZURE_AUTHORITY_HOST
            failed = UsageError(f"the Azure credentials cannot be used: {_first_line(str(error))}")
        raise failed

    def _found(self) -> Any:
        if self._credential is None:
            from azure.core.pipeline.transport import RequestsTransport
            from azure.identity import DefaultAzureCredential

            for name in ("azure", "msal"):  # else what they log is printed where nothing else is
                logging.getLogger(name).addHandler(logging.NullHandler())
            self._credential = DefaultAzureCredential(
                managed_identity_client_id=self._client,
                transport=RequestsTransport(session=self._session, session_owner=False),
            )
        return self._credential


def _refusal(message: str) -> AuthError:
    refused = _REFUSED.search(message)
    if refused:
        return AuthError(f"Entra ID refuses the Azure credentials: {refused[0]}", _HINT)
    if "Authentication failed" in message:
        words = message.partition("Authentication failed: ")[2]
        return AuthError(f"the Azure credentials are refused: {_first_line(words)}", _HINT)
    return AuthError("there are no Azure credentials", _HINT)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()[:300] or "no reason given"


def is_installed() -> bool:
    """Return True if the package that this needs is there."""
    try:
        return importlib.util.find_spec("azure.identity") is not None
    except ModuleNotFoundError:
        return False
