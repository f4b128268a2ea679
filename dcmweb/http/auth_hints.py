"""What to do after a server refused credentials: they are missing, wrong, or signed wrongly."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping

CREDENTIALS = "give --user, --token-file or --auth google"

_WRONG_USER = "the user name or the password is wrong: check --user and the password"
# By the scheme of the Authorization field that was sent, or by the option in its place.
_WRONG_CREDENTIALS = {
    "basic": _WRONG_USER,
    "digest": _WRONG_USER,
    "bearer": "the token is wrong or has expired: get another one",
    "negotiate": "the ticket is wrong or has expired: get another one, as with kinit",
    "aws4-hmac-sha256": "the AWS credentials are wrong or have expired: get others",
}
# By what the server asks for, where dcmweb sent nothing or something else.
_ASKED = {
    "digest": "give --auth digest and --user",
    "negotiate": "get a ticket, as with kinit, and give --auth with a package that brings Kerberos",
}
_AWS = "aws4-"
# The names that AWS gives to refusals, and what its services say instead of them.
_AWS_REFUSALS = (
    (
        re.compile(r"ExpiredToken|security token .{0,40}expired", re.IGNORECASE),
        "the session of the AWS credentials has expired: get others, as with aws sso login",
    ),
    (
        re.compile(
            r"RequestTimeTooSkewed|RequestExpired|Signature (expired|not yet current)",
            re.IGNORECASE,
        ),
        "the clock of this machine and that of the server differ: set the clock",
    ),
    (
        re.compile(
            r"SignatureDoesNotMatch|InvalidSignature|request signature we calculated|"
            r"Credential should be scoped",
            re.IGNORECASE,
        ),
        "the signature is not what AWS expects: check the secret access key, and --aws-region",
    ),
    (
        re.compile(
            r"UnrecognizedClient|InvalidClientTokenId|InvalidAccessKeyId|security token .{0,40}"
            r"invalid",
            re.IGNORECASE,
        ),
        "AWS does not know the access key, or its session token is missing: check the credentials",
    ),
)
_SKEW = 120.0  # seconds by which clocks may differ before it is worth a word


def hint(status: int, headers: Mapping[str, str], message: str, sent: str) -> str:
    """Say what to do about credentials that were refused; "" if they were not.

    `sent` is the Authorization field of the request, or the option that gave something else.
    """
    return _aws_hint(headers, message, sent) or (_hint(headers, sent) if status == 401 else "")


def _hint(headers: Mapping[str, str], sent: str) -> str:
    """Say what to do after a 401: credentials were missing, or they are wrong."""
    asked = headers.get("www-authenticate", "").split(" ")[0]
    wants = f"the server asks for {asked}; " if asked.isalpha() else ""
    scheme = sent.partition(" ")[0].lower()
    if sent.startswith("--"):
        return f"{wants}it does not accept what {sent} gives: check the values"
    to_do = _ASKED.get(asked.lower(), CREDENTIALS)
    if scheme and asked.isalpha() and asked.lower() != scheme:
        return f"{wants}{scheme} credentials were sent: {to_do}"
    return _WRONG_CREDENTIALS.get(scheme, f"{wants}{to_do}")


def _aws_hint(headers: Mapping[str, str], message: str, sent: str) -> str:
    """Say why AWS refused a request; "" if it was not signed, or not refused for its signature."""
    if not sent.lower().startswith(_AWS):
        return ""
    said = f"{headers.get('x-amzn-errortype', '')} {message}"
    found = next((text for pattern, text in _AWS_REFUSALS if pattern.search(said)), "")
    skew = clock_skew(headers)
    if found and abs(skew) >= _SKEW:
        return f"{found}; {skew_words(skew)}"
    return found


def clock_skew(headers: Mapping[str, str]) -> float:
    """Return by how many seconds the clock of this machine is ahead of the server's."""
    try:
        told = email.utils.parsedate_to_datetime(headers.get("date", "")).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return time.time() - told


def skew_words(skew: float) -> str:
    """Say by how much clocks differ."""
    minutes = round(abs(skew) / 60)
    size = f"{minutes} minutes" if minutes < 120 else f"{round(minutes / 60)} hours"
    where = "ahead of" if skew > 0 else "behind"
    return f"the clock of this machine is {size} {where} the server's"
