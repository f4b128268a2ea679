"""Reads certificates to trust from files, folders and pipes, in the forms that people have."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from threading import Lock

from dcmweb.errors import LocalError, UsageError
from dcmweb.user_text import decode_text

_LARGEST = 64 * 1024 * 1024
_HASHED = re.compile(r"[0-9a-fA-F]{8}\.[0-9]+")  # what `openssl rehash` names a certificate
_CERTIFICATE = re.compile(
    r"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----[^-]+-----END \1-----", re.ASCII
)
_DER_SEQUENCE = 0x30
# An object identifier in what is not a certificate itself (RFC 5652 section 5.1).
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
_PFX_VERSION = bytes.fromhex("020103")  # the first element of PKCS #12 (RFC 7292 section 4)
_JAVA_KEYSTORES = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")

# What pipes contained, by device and inode: they can be read only once in a process.
_pipes: dict[tuple[int, int], bytes] = {}
_lock = Lock()


def read_bytes(path: str) -> bytes:
    """Read a file or a pipe; what came out of a pipe is kept. Raises OSError."""
    status = os.stat(path)
    if os.path.isfile(path):
        with open(path, "rb") as file:
            return file.read(_LARGEST)
    identity = status.st_dev, status.st_ino
    with _lock:
        if identity not in _pipes:
            with open(path, "rb") as pipe:
                _pipes[identity] = pipe.read(_LARGEST)
        return _pipes[identity]


def trust(context: ssl.SSLContext, path: str, name: str) -> None:
    """Let a context trust the certificates in a file, a folder or a pipe, and no others.

    `name` is what it is called in errors. Raises UsageError if there are none in it.
    """
    try:
        if os.path.isdir(path):
            if not trust_folder(context, path, is_whole=True):
                raise _Unfit("no file in this folder is a certificate", "put PEM files into it")
        else:
            _trust_data(context, read_bytes(path), path)
    except OSError as error:  # SSLError is a subclass
        raise UsageError(f"{name} holds no certificates: {_reason(error)}") from None
    except (LocalError, _Unfit) as error:
        said, hint = (error.message, error.hint) if isinstance(error, LocalError) else error.args
        raise UsageError(f"{name} holds no certificates: {said}", hint) from None


class _Unfit(Exception):
    """It holds something else than certificates; `args` say what, and what to do."""


def trust_folder(context: ssl.SSLContext, folder: str, *, is_whole: bool = False) -> bool:
    """Trust the certificates in a folder, whether their names are hashes or not.

    OpenSSL reads those with such names when it needs them, and it reads no others: they are read
    here if `is_whole`, or if there are only others. Return False if there are none at all.
    """
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    hashed = {os.path.realpath(p) for p in paths if _HASHED.fullmatch(os.path.basename(p))}
    if hashed:
        context.load_verify_locations(capath=folder)
        if not is_whole:
            return True
    others = [p for p in paths if os.path.isfile(p) and os.path.realpath(p) not in hashed]
    read = [_trust_if_certificate(context, path) for path in others]
    return bool(hashed) or any(read)


def _trust_if_certificate(context: ssl.SSLContext, path: str) -> bool:
    try:
        _trust_data(context, read_bytes(path), path)
    except (OSError, LocalError, _Unfit):  # a key, a README: folders hold all sorts of files
        return False
    return True


def _trust_data(context: ssl.SSLContext, data: bytes, path: str) -> None:
    if not data.strip():
        raise _Unfit("it is empty", "")
    if what := other_form(data):
        raise _Unfit(f"it is {what}", _how_to_convert(what, path))
    if data[0] == _DER_SEQUENCE:
        context.load_verify_locations(cadata=data)
        return
    text = decode_text(data, path, errors="surrogateescape")
    if blocks := "\n".join(certificates_in(text)):
        context.load_verify_locations(cadata=blocks)
    elif "PRIVATE KEY-----" in text:
        raise _Unfit("it is a private key", "give the certificate of the CA")
    else:
        raise _Unfit("it is not in PEM or DER", "a PEM file has lines with BEGIN CERTIFICATE")


def certificates_in(text: str) -> Iterator[str]:
    """Find the certificates in a PEM file (RFC 7468), among what else there is."""
    yield from (found[0] for found in _CERTIFICATE.finditer(text))


def other_form(data: bytes) -> str:
    """Say what a file is that holds certificates in another form than PEM and DER; "" if not."""
    if is_pkcs12(data):
        return "PKCS #12"
    if b"-----BEGIN PKCS7-----" in data[:4096] or _SIGNED_DATA in data[:64]:
        return "PKCS #7"
    return "a Java key store" if data.startswith(_JAVA_KEYSTORES) else ""


def is_pkcs12(data: bytes) -> bool:
    """Return True for a file in PKCS #12, which mostly ends in .p12 or .pfx."""
    return data[:1] == bytes([_DER_SEQUENCE]) and _PFX_VERSION in data[2:9]


def _how_to_convert(what: str, path: str) -> str:
    commands = {
        "PKCS #12": f"openssl pkcs12 -in {path} -nokeys -out ca.pem",
        "PKCS #7": f"openssl pkcs7 -in {path} -print_certs -out ca.pem (-inform DER if binary)",
        "a Java key store": f"keytool -list -rfc -keystore {path} > ca.pem",
    }
    return f"convert it: {commands[what]}"


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "a certificate in it is damaged"
    return error.strerror or str(error)
