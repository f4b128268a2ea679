"""The client certificate: reads it and its private key, and presents them to the server."""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
import ssl
from collections.abc import Callable

from dcmweb.errors import AuthError, LocalError, UsageError
from dcmweb.http.auth.secrets import SecretReader
from dcmweb.http.certificates import certificates_in, is_pkcs12, other_form, read_bytes
from dcmweb.settings import Credentials
from dcmweb.temporary import temporary_folder
from dcmweb.user_text import decode_text

_KEY_MARK = "PRIVATE KEY-----"
# In PEM (RFC 7468 section 11), and in the older form of OpenSSL (RFC 1421 section 4.6.1.1).
_ENCRYPTED_MARKS = ("BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED")
_LONGEST_PASSWORD = 1023  # bytes; OpenSSL takes no longer one


def needs_password(cert: str, key: str) -> bool:
    """Return True if the private key is encrypted, as far as that can be seen without a pipe."""
    path = key or cert
    if not os.path.isfile(path):
        return False
    with contextlib.suppress(OSError, LocalError):
        data = read_bytes(path)
        text = "" if is_pkcs12(data) else decode_text(data, path, errors="surrogateescape")
        return is_pkcs12(data) or any(mark in text for mark in _ENCRYPTED_MARKS)
    return False


def present(context: ssl.SSLContext, given: Credentials) -> None:
    """Let a context present the certificate that was given.

    Raises UsageError for files that hold something else, AuthError for a wrong password.
    """
    password = _password_of(given)
    data = _read(given.cert, "--cert")
    if is_pkcs12(data):
        if given.key:
            raise UsageError(f"--cert {given.cert} is PKCS #12, which holds its key", "omit --key")
        certificate, key, password = _of_pkcs12(data, given.cert, password)
        _load(context, given, certificate, key, password)
        return
    certificate = _text(data, given.cert, "--cert")
    key = _text(_read(given.key, "--key"), given.key, "--key") if given.key else certificate
    if not any(certificates_in(certificate)):
        hint = "swap --cert and --key" if _KEY_MARK in certificate and given.key else "give PEM"
        raise UsageError(f"--cert {given.cert} holds no certificate", hint)
    if _KEY_MARK not in key:
        hint = "give a file in PEM" if given.key else "give the file of the key with --key"
        raise UsageError(f"{_key_name(given)} holds no private key", hint)
    _load(context, given, certificate, key, password)


def _password_of(given: Credentials) -> Callable[[], str]:
    """Return what reads the password of the key; that is done only if the key is encrypted."""

    def read() -> str:
        secret = given.secret("key_password")
        if not secret.is_given and secret.variable not in os.environ:
            raise UsageError(
                f"{_key_name(given)} is encrypted, and its password is not given",
                f"set {secret.variable}, or give --key-password-file or --key-password-command",
            )
        return SecretReader(secret).read()

    return read


def _read(path: str, option: str) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror}") from None


def _text(data: bytes, path: str, option: str) -> str:
    """Read PEM; a certificate in DER is brought into it."""
    if (what := other_form(data)) or data[:1] == b"\x30":
        if not what and option == "--cert":
            return ssl.DER_cert_to_PEM_cert(data)
        form = what or "DER"
        hint = "convert it into PEM: openssl pkey -inform DER -in FILE -out key.pem"
        raise UsageError(f"{option} {path} is {form}", hint if form == "DER" else "give PEM")
    try:
        return decode_text(data, path, errors="surrogateescape")
    except LocalError as error:
        raise UsageError(f"{option}: {error.message}", "give a file in PEM") from None


def _load(
    context: ssl.SSLContext,
    given: Credentials,
    certificate: str,
    key: str,
    password: Callable[[], str],
) -> None:
    """Load a certificate and its key, which OpenSSL reads from files only."""
    asked = []

    def read() -> bytes:
        found = password().encode("utf-8", "surrogateescape")
        if len(found) > _LONGEST_PASSWORD:
            raise AuthError(f"the password of {_key_name(given)} is too long")
        asked.append(found)
        return found

    with contextlib.ExitStack() as files:
        cert_file = _file_with(certificate, given.cert, files)
        key_file = _file_with(key, given.key or given.cert, files)
        try:
            context.load_cert_chain(cert_file, key_file, password=read)
        except OSError as error:  # of any kind: the files were read before, and errno is old
            raise _error_of(error, given, is_encrypted=bool(asked)) from None


def _file_with(text: str, path: str, files: contextlib.ExitStack) -> str:
    """Return the path of a file with this text: the user's own, or else a temporary one."""
    data = text.encode("utf-8", "surrogateescape")
    if os.path.isfile(path) and read_bytes(path) == data:
        return path
    folder = files.enter_context(temporary_folder())  # no one else can read in it
    copy = os.path.join(folder, "client.pem")
    with open(copy, "wb") as file:
        file.write(data)
    return copy


def _error_of(error: OSError, given: Credentials, *, is_encrypted: bool) -> Exception:
    name, reason = _key_name(given), getattr(error, "reason", None) or ""
    if "MISMATCH" in reason:
        return UsageError(
            f"{name} does not belong to the first certificate in {given.cert}",
            "give the key that the certificate was requested with",
        )
    if reason in ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
        return UsageError(f"--cert {given.cert} is too weak for TLS: {_words(reason)}")
    if is_encrypted:
        secret = given.secret("key_password")
        origin = "" if secret.value else f"check {SecretReader(secret).origin}"
        return AuthError(f"the password does not open {name}", origin)
    return UsageError(f"{name} cannot be read as a certificate and its key", "are they PEM files?")


def _key_name(given: Credentials) -> str:
    return f"--key {given.key}" if given.key else f"--cert {given.cert}"


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")


def _of_pkcs12(
    data: bytes, path: str, password: Callable[[], str]
) -> tuple[str, str, Callable[[], str]]:
    """Read PKCS #12; return the chain and the key in PEM, and what opens the key.

    The key is encrypted for the moment that it is in a file of its own.
    """
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.serialization import pkcs12
    except ImportError:
        raise UsageError(
            f"--cert {path} is PKCS #12",
            f"convert it: openssl pkcs12 -in {path} -out client.pem, or install cryptography",
        ) from None
    try:
        found = pkcs12.load_pkcs12(data, None)
    except ValueError:
        try:
            found = pkcs12.load_pkcs12(data, password().encode())
        except ValueError:
            raise AuthError(f"the password does not open --cert {path}") from None
    if found.key is None or found.cert is None:
        raise UsageError(f"--cert {path} holds no certificate with its private key")
    pem, once = serialization.Encoding.PEM, secrets.token_urlsafe()
    chain = [found.cert, *found.additional_certs]
    key = found.key.private_bytes(
        pem,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(once.encode()),
    )
    certificates = b"".join(one.certificate.public_bytes(pem) for one in chain)
    return certificates.decode(), key.decode(), lambda: once


def expiry(path: str) -> datetime.datetime | None:
    """Return when a certificate in PEM expires; None if that cannot be found out."""
    try:
        from cryptography import x509

        text = read_bytes(path)
        return x509.load_pem_x509_certificate(text).not_valid_after_utc
    except (ImportError, OSError, ValueError):
        return None
