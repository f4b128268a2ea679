"""What to do after a refusal: credentials are missing, wrong, or may not do this."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping

ANY = "give --user, --token-file, --token-url or --auth google"
_BY_SCHEME = {
    "basic": "give --user, and the password in DCMWEB_PASSWORD",
    "bearer": "give --token-file, --token-command, or --token-url with --client-id",
    "digest": "give --auth digest and --user",
    "negotiate": "get a ticket, as with kinit, and give --auth with a package that brings Kerberos",
}
# Azure's DICOM service names its token server, or the resource that a token must be for.
_AZURE = (
    r"(?i)azurehealthcareapis|login\.(?:microsoftonline\.(?:com|us)|windows\.net)|"
    r"login\.chinacloudapi"
)
_FOR_AZURE = "give --auth azure, which needs the package azure-identity: "
_WRONG_USER = "the user name or the password is wrong: check --user and the password"
# By the scheme of the Authorization field that was sent.
_WRONG = {
    "basic": _WRONG_USER,
    "digest": _WRONG_USER,
    "bearer": "the token is wrong or has expired: get another one",
    "negotiate": "the ticket is wrong or has expired: get another one, as with kinit",
    "aws4-hmac-sha256": "the AWS credentials are wrong or have expired: get others",
}
_AWS = "aws4-"
_LONGEST_SCHEME = 30  # characters; that of AWS has 16
# The names that AWS gives to refusals, and what its services say instead of them.
_AWS_REFUSALS = (
    (
        r"ExpiredToken|security token .{0,40}expired",
        "the session of the AWS credentials has expired: get others, as with aws sso login",
    ),
    (
        r"RequestTimeTooSkewed|RequestExpired|Signature (expired|not yet current)",
        "the clock of this machine and that of the server differ: set the clock",
    ),
    (
        r"SignatureDoesNotMatch|InvalidSignature|request signature we calculated|"
        r"Credential should be scoped",
        "the signature is not what AWS expects: check the secret access key, and --aws-region",
    ),
    (
        r"UnrecognizedClient|InvalidClientTokenId|InvalidAccessKeyId|security token .{0,40}"
        r"invalid",
        "AWS does not know the access key, or its session token is missing: check the credentials",
    ),
)
_SKEW = 120.0  # seconds by which clocks may differ before it is worth a word


def refused(status: int, headers: Mapping[str, str], message: str, sent: str, advice: str) -> str:
    """Say what to do about credentials that were refused; "" if they were not.

    `sent` is the Authorization field of the request, or the option that gave something else,
    `advice` what its scheme says of wrong ones.
    """
    found = _aws_hint(headers, message, sent)
    return found or (after_401(headers, sent, advice) if status == 401 else "")


def after_401(headers: Mapping[str, str], sent: str, advice: str = "") -> str:
    """Say what to do after a 401: credentials were missing, of another kind, or they are wrong.

    `sent` is the Authorization field of the request, `advice` what its scheme says of wrong ones.
    """
    asked = _asked(headers)
    if sent.startswith("--"):
        wants = f"the server asks for {asked}; " if asked else ""
        return f"{wants}it does not accept what {sent} gives: check the values"
    scheme = sent.partition(" ")[0].lower()
    if scheme and asked.lower() in ("", scheme) and (advice or scheme in _WRONG):
        return advice or _WRONG[scheme]
    wants = f"the server asks for {asked}; " if asked else ""
    given = f"{scheme} credentials were sent: " if scheme and asked.lower() != scheme else ""
    return f"{wants}{given}{_missing(headers, asked)}"


def after_403(headers: Mapping[str, str], sent: str) -> str:
    """Say what to do after a 403: with credentials it is about rights, or it is hidden."""
    if sent:
        return "these credentials may not do this, or it does not exist"
    return f"it takes credentials ({_missing(headers, _asked(headers))}), or it does not exist"


def _missing(headers: Mapping[str, str], asked: str) -> str:
    if re.search(_AZURE, headers.get("www-authenticate", "")):
        from dcmweb.extras import how_to_install

        return f"{_FOR_AZURE}{how_to_install('azure')}"
    return _BY_SCHEME.get(asked.lower(), ANY)


def _asked(headers: Mapping[str, str]) -> str:
    """Return the scheme that the server asks for (RFC 9110 section 11.6.1), if it can be shown."""
    asked = headers.get("www-authenticate", "").split(" ")[0]
    return asked if asked.isalpha() and len(asked) <= _LONGEST_SCHEME else ""


def _aws_hint(headers: Mapping[str, str], message: str, sent: str) -> str:
    """Say why AWS refused a request; "" if it was not signed, or not refused for its signature."""
    if not sent.lower().startswith(_AWS):
        return ""
    said = f"{headers.get('x-amzn-errortype', '')} {message}"
    found = next(
        (text for pattern, text in _AWS_REFUSALS if re.search(pattern, said, re.IGNORECASE)), ""
    )
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
