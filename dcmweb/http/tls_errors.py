"""Explains errors of TLS: why a certificate is not trusted, what a server wants of a client."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone

from dcmweb.errors import AuthError, DcmwebError, Unreachable
from dcmweb.http.tls import SYSTEM, Situation

_UNKNOWN_ISSUER = (
    "its issuer is not among {trusted}",
    "{give}",
)
_OLD_CA = (
    "it or its CA lacks what RFC 5280 demands ({said})",
    "have the certificate issued anew, or the check left out with --insecure",
)
_WEAK = ("it is too weak ({said})", "have it issued anew, with an RSA key of 2048 bits or more")
_ADD = "add the certificate of the CA that issued it, or of the one above that"
_NOW = "by the clock of this machine it is {now}"
# By the codes of X509_verify_cert of OpenSSL, in its header x509_vfy.h.
_VERIFY = {
    2: _UNKNOWN_ISSUER,
    9: (
        "it is not valid yet",
        f"{_NOW}: set that right if it is wrong",
    ),
    10: (
        "it has expired, or that of its CA has",
        f"{_NOW}; if that is right, the server needs another certificate",
    ),
    18: (
        "it is self-signed, and not among {trusted}",
        "if it is the right one, save it as a PEM file and give that with --ca-bundle",
    ),
    19: (
        "its CA is not among {trusted}",
        "{give}",
    ),
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
    23: ("it has been revoked", "the server needs another certificate"),
    24: ("one of its issuers is not a CA ({said})", "the server sends a wrong chain"),
    26: ("it is not for servers ({said})", "the server needs another certificate"),
    62: (
        "it is for other host names",
        "use a name that is in it, or have this one added to it",
    ),
    64: (
        "it is for other addresses",
        "use the host name that is in it in place of the IP address",
    ),
    66: _WEAK,
    67: _WEAK,
    68: _WEAK,
    79: ("one of its issuers is not a CA ({said})", "the server sends a wrong chain"),
    **dict.fromkeys((32, *range(80, 95)), _OLD_CA),
}

# What a server says of the certificate of a client (RFC 8446 section 6.2, RFC 5246 section 7.2.2).
_WANTED = "asks for a client certificate"
_REFUSED = "refuses the client certificate"
_CERTIFICATE_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _WANTED,
    "SSLV3_ALERT_BAD_CERTIFICATE": _REFUSED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _REFUSED,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": f"{_REFUSED}: it has been revoked",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": f"{_REFUSED}: it has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _REFUSED,
    "TLSV1_ALERT_UNKNOWN_CA": f"{_REFUSED}: it does not know the CA",
    "TLSV1_ALERT_ACCESS_DENIED": _REFUSED,
    "TLSV1_ALERT_DECRYPT_ERROR": _REFUSED,
}
_HANDSHAKE_FAILURE = "SSLV3_ALERT_HANDSHAKE_FAILURE"
_OLD_SERVER = (
    "the server speaks an old TLS that is no longer safe",
    "update it, or put a reverse proxy with TLS 1.2 before it",
)
_HANDSHAKE = {
    "UNSUPPORTED_PROTOCOL": _OLD_SERVER,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OLD_SERVER,
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": _OLD_SERVER,
    "DH_KEY_TOO_SMALL": _OLD_SERVER,
    "WRONG_VERSION_NUMBER": ("it does not answer in TLS", "does BASE_URL begin with http://?"),
    "HTTP_REQUEST": ("it does not answer in TLS", "does BASE_URL begin with http://?"),
    "RECORD_LAYER_FAILURE": ("it does not answer in TLS", "does BASE_URL begin with http://?"),
}
# Pages of nginx and of what is built on it, with status 400; it has 495 and 496 inside.
_PAGES = {
    b"No required SSL certificate was sent": _WANTED,
    b"The SSL certificate error": _REFUSED,
}
# Answers with status 400 to a request without encryption: of nginx, Apache, Go and Tomcat.
_PLAIN_HTTP = (
    b"plain HTTP request was sent to HTTPS port",
    b"speaking plain HTTP to an SSL-enabled server port",
    b"sent an HTTP request to an HTTPS server",
    b"combination of host and port requires TLS",
)


def explain(causes: list[BaseException], host: str, situation: Situation) -> DcmwebError | None:
    """Make the error of an exception of TLS; None if it needs no words of its own.

    `causes` are the exception and what it was made from.
    """
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return not_trusted(cause, f"the certificate of {host}", situation.trusted)
        if isinstance(cause, ssl.SSLError) and (found := _of_reason(cause, host, situation)):
            return found
    return None


def not_trusted(error: ssl.SSLCertVerificationError, what: str, trusted: str) -> Unreachable:
    """Make the error of a certificate that is not trusted."""
    code, said = getattr(error, "verify_code", 0), getattr(error, "verify_message", "")
    message, hint = _VERIFY.get(
        code, ("{said}", "give the CA with --ca-bundle, or check the host name")
    )
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    is_system = trusted == SYSTEM
    give = "give the certificate of the CA with --ca-bundle" if is_system else _ADD
    known = {"trusted": trusted, "give": give, "now": now, "said": said.rstrip(".") or str(error)}
    return Unreachable(
        f"{what} is not trusted: {message.format(**known)}", hint.format(**known), retryable=False
    )


def _of_reason(error: ssl.SSLError, host: str, situation: Situation) -> DcmwebError | None:
    reason = getattr(error, "reason", None) or ""
    if reason in _CERTIFICATE_ALERTS:
        return client_certificate_error(host, _CERTIFICATE_ALERTS[reason], situation)
    if reason == _HANDSHAKE_FAILURE and getattr(error, "had_server_hello", False):
        return client_certificate_error(host, _WANTED, situation)
    if reason == _HANDSHAKE_FAILURE:
        return Unreachable(
            f"{host} ended the TLS handshake",
            "it may want another TLS than this machine offers, or a client certificate (--cert)",
            retryable=False,
        )
    if reason in _HANDSHAKE:
        message, hint = _HANDSHAKE[reason]
        return Unreachable(f"no TLS with {host}: {message}", hint, retryable=False)
    return None


def client_certificate_error(host: str, said: str, situation: Situation) -> AuthError:
    """Make the error of a server that wants a client certificate, or another one."""
    file = situation.certificate
    if not file:
        return AuthError(
            f"{host} asks for a client certificate",
            "give it with --cert FILE, and its key with --key FILE",
        )
    if said == _WANTED:
        said = "does not take the client certificate"
    hint = f"is {file} the right one? The server must trust the CA that issued it"
    from dcmweb.http.client_certificate import expiry

    expires = expiry(file)
    if expires and expires < datetime.now(timezone.utc):
        hint = f"{file} expired on {expires:%Y-%m-%d}: get another one"
    return AuthError(f"{host} {said}", hint)


def of_page(status: int, body: bytes) -> str:
    """Return what a page says of the client certificate; "" for another page."""
    if status not in (400, 403, 495, 496):
        return ""
    return next((said for words, said in _PAGES.items() if words in body), "")


def wants_tls(status: int, body: bytes) -> bool:
    """Return True if a page says that a request without encryption came to a port of TLS."""
    return status == 400 and any(words in body for words in _PLAIN_HTTP)


def no_plain_http(host: str) -> Unreachable:
    """Make the error of a server that answers in TLS only."""
    return Unreachable(f"{host} wants https", "write https:// in BASE_URL", retryable=False)
