"""Digest authentication (RFC 7616)."""

from __future__ import annotations

from requests import PreparedRequest
from requests.auth import HTTPDigestAuth

from dcmweb.errors import AuthError, UsageError
from dcmweb.http.auth.challenge import ChallengeAuth


class DigestAuth(ChallengeAuth):
    """User name and password, which are not sent: the server gets a digest of them.

    Each thread asks for a challenge of its own, and uses it until the server has another one.
    """

    def __init__(self, user: str, password: str) -> None:
        for text, name in ((user, "the user name"), (password, "the password")):
            if not text.isascii() and not _is_unicode(text):
                raise UsageError(f"{name} is not UTF-8 text", "digests are made of UTF-8")
        super().__init__(
            HTTPDigestAuth(user, password), "--auth digest", f"user {user}", (password,)
        )

    def renew(self, refused: PreparedRequest, status: int = 401) -> bool:
        """Answer a challenge. Raises AuthError if it cannot be answered."""
        challenge = self._thread.challenge
        asked = challenge.headers.get("www-authenticate", "") if challenge is not None else ""
        if not super().renew(refused, status):
            if "digest" in asked.lower() and "Authorization" not in refused.headers:
                raise AuthError(
                    "the server asks for a kind of digest that dcmweb does not know",
                    "it knows MD5, SHA-256 and SHA-512 with qop=auth",
                )
            if asked and "digest" not in asked.lower():
                scheme = asked.split()[0]
                named = scheme if scheme.isalpha() else "another scheme"
                raise AuthError(
                    f"the server asks for {named}, not for Digest", "give another --auth, or none"
                )
            return False
        return True


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
