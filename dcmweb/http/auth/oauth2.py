"""OAuth2 client credentials: a client's name and secret are exchanged for a token."""

from __future__ import annotations

from http import HTTPStatus

from dcmweb.errors import AuthError, UsageError
from dcmweb.http.auth.base import Send
from dcmweb.http.auth.bearer import BearerAuth
from dcmweb.http.auth.secrets import SecretReader, read_reference
from dcmweb.http.auth.token_server import Refusal, TokenServer, as_error, check_url
from dcmweb.http.auth.tokens import RenewingToken, Token
from dcmweb.settings import Credentials, Settings

# Of a token server that is not content with the way in which the secret was sent, or with the
# secret: Keycloak, Entra ID and Cognito say invalid_client, Auth0 access_denied.
_MAY_BE_THE_WAY = ("", "invalid_client", "unauthorized_client", "invalid_request", "access_denied")
_OURS = ("grant_type", "client_id", "client_secret", "scope")


class OAuth2Auth(BearerAuth):
    """Tokens of a token server, by the client credentials grant (RFC 6749 section 4.4)."""

    def __init__(self, settings: Settings) -> None:
        _check(settings.credentials)
        self._settings = settings

    def connect(self, send: Send) -> None:
        """Take the way to reach the token server."""
        given = self._settings
        server = TokenServer(
            given.credentials.token_url, send, given.connect_timeout, given.idle_timeout
        )
        self.token = RenewingToken(ClientCredentials(given.credentials, server))

    @property
    def advice(self) -> str:
        """What to do when the server refuses a token that was just issued."""
        return (
            "it does not take the tokens of this token server for this client: check --token-url, "
            "--scope, and whether it wants --auth-option audience=…"
        )


class ClientCredentials:
    """Exchanges a client's name and secret for tokens; it is asked by one thread at a time."""

    is_free = False

    def __init__(self, given: Credentials, server: TokenServer) -> None:
        self._given = given
        self._server = server
        self._secret = SecretReader(given.secret("client_secret"))
        self._parameters = {
            name: read_reference(value, f"--auth-option {name}") for name, value in given.options
        }
        self.identity = f"OAuth2 client {given.client_id}"
        self._ways: tuple[str, ...] = (
            "basic",
            "post",
        )  # to send the secret; the one that worked comes first

    def fetch(self) -> Token:
        """Ask for a token, with the secret in the header or, if that is refused, in the form.

        Raises AuthError if both are refused.
        """
        secret = self._secret.read()
        refusals: list[Refusal] = []
        for way in self._ways:
            try:
                token = self._ask(way, secret)
            except Refusal as refusal:
                refusals.append(refusal)
                if refusal.code not in _MAY_BE_THE_WAY:
                    break
            else:
                self._ways = (way, *(other for other in self._ways if other != way))
                return token
        raise self._refused(refusals)

    def _ask(self, way: str, secret: str) -> Token:
        given = self._given
        form = {"grant_type": "client_credentials", **self._parameters}
        if given.scopes:
            form["scope"] = " ".join(given.scopes)
        if way == "basic":
            return self._server.issue(form, (given.client_id, secret))
        form |= {"client_id": given.client_id, "client_secret": secret}
        return self._server.issue(form)

    def _refused(self, refusals: list[Refusal]) -> AuthError:
        """Make the error of the answer that says most: the one about the client, or the last."""
        about_client = [one for one in refusals if one.code == "invalid_client"]
        told = (about_client or refusals)[-1]
        if about_client or told.status == HTTPStatus.UNAUTHORIZED:
            origin = self._secret.origin
            hint = f"check --client-id and the client's secret (of {origin})"
        else:
            hint = "check --scope, --auth-option, and what the client may do"
            if told.code == "invalid_request" or told.status == HTTPStatus.NOT_FOUND:
                hint = "check --token-url: it must be the token endpoint; and --auth-option"
        return as_error(told, self._server, hint)


def _check(given: Credentials) -> None:
    """Raise UsageError if something is lacking, or cannot be."""
    if not given.token_url:
        raise UsageError(
            "--auth oauth2 needs the address of the token server",
            "give it with --token-url, or set DCMWEB_TOKEN_URL",
        )
    check_url(given.token_url)
    if not given.client_id:
        raise UsageError(
            "--auth oauth2 needs a client", "name it with --client-id, or set DCMWEB_CLIENT_ID"
        )
    secret = given.secret("client_secret")
    if not secret.is_given:
        raise UsageError(
            f"there is no secret for client {given.client_id}",
            f"set {secret.variable}, or give --client-secret-file or --client-secret-command",
        )
    for name, _ in given.options:
        if name in _OURS:
            raise UsageError(
                f"--auth-option {name} is not for oauth2", "it has an option of its own"
            )
