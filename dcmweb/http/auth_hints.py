"""What to do after 401 and 403: credentials are missing, wrong, or may not do this."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ANY = "give --user, --token-file, --token-url or --auth google"
_BY_SCHEME = {
    "basic": "give --user, and the password in DCMWEB_PASSWORD",
    "bearer": "give --token-file, --token-command, or --token-url with --client-id",
}
# Azure's DICOM service names its token server, or the resource that a token must be for.
_AZURE = re.compile(
    r"azurehealthcareapis|login\.(?:microsoftonline\.(?:com|us)|windows\.net)|login\.chinacloudapi",
    re.IGNORECASE,
)
_FOR_AZURE = (
    "give --auth azure, which needs the package azure-identity: pip install 'dcmweb[azure]'"
)
_WRONG = {
    "basic": "the user name or the password is wrong: check --user and the password",
    "bearer": "the token is wrong or has expired: get another one",
}


def after_401(headers: Mapping[str, str], sent: str, advice: str = "") -> str:
    """Say what to do after a 401: credentials were missing, of another kind, or they are wrong.

    `sent` is the Authorization field of the request, `advice` what its scheme says of wrong ones.
    """
    asked = _asked(headers)
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
    if _AZURE.search(headers.get("www-authenticate", "")):
        return _FOR_AZURE
    return _BY_SCHEME.get(asked.lower(), _ANY)


def _asked(headers: Mapping[str, str]) -> str:
    """Return the scheme that the server asks for (RFC 9110 section 11.6.1), if it can be shown."""
    asked = headers.get("www-authenticate", "").split(" ")[0]
    return asked if asked.isalpha() else ""
