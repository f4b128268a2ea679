"""How TLS is spoken with each host: which certificates are trusted, and which one is shown."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from dcmweb.errors import UsageError
from dcmweb.settings import Settings

_BUNDLE_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SYSTEM_FILES = (  # where OpenSSL, as it comes with some builds of Python, does not look
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # later Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, FreeBSD
)
_HAS_OWN_STORE = sys.platform in ("darwin", "win32")  # one that OpenSSL does not read
SYSTEM = "the system's certificates"
Origin = tuple[str, str | None, int | None]


def origin(url: str) -> Origin:
    """Return scheme, host and port of a URL (RFC 6454 section 4)."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}
    return parts.scheme, parts.hostname, parts.port or default.get(parts.scheme)


class Trust(NamedTuple):
    """Which certificates are trusted: `name` says where they are from, `load` loads them."""

    name: str
    load: Callable[[ssl.SSLContext], None]


class Situation(NamedTuple):
    """What a client trusts and presents, for the words of errors."""

    trusted: str = SYSTEM
    certificate: str = ""  # the file of the client certificate that was presented


class Socket(ssl.SSLSocket):
    """A socket that notes in errors of its handshake whether the server had answered before.

    A server of TLS 1.2 that ends it after its hello wants a certificate; before, another TLS.
    """

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands."""
        try:
            super().do_handshake(block)
        except ssl.SSLError as error:
            error.had_server_hello = self.cipher() is not None  # type: ignore[attr-defined]
            raise


class Tls:
    """The contexts of TLS for the hosts that a client meets, each made when it is needed.

    The hosts of BASE_URL and of the roots of services are shown the client certificate, and must
    have a certificate of --ca-bundle if there is one. Others are shown none, and may also have one
    that the system trusts: a token server, the host of a redirect.
    """

    def __init__(self, settings: Settings) -> None:
        """Read what the user gave. Raises UsageError if it cannot be used."""
        given = settings.credentials
        self._settings = settings
        self._own = {origin(root) for root in settings.roots}
        # Threads that come at the same time may each make one: the first counts.
        self._contexts: dict[bool, ssl.SSLContext] = {}
        has_tls = any(scheme == "https" for scheme, _, _ in self._own)
        if given.key and not given.cert:
            raise UsageError("--key needs --cert", "give the certificate that the key belongs to")
        if given.cert and not has_tls:
            raise UsageError("--cert is for https alone", "does BASE_URL begin with https://?")
        if given.cert or settings.ca_bundle:
            self._context(is_own=True)

    @property
    def certificate(self) -> str:
        """The file of the client certificate; "" without one."""
        return self._settings.credentials.cert

    def is_own(self, url: str) -> bool:
        """Return True if a URL is at BASE_URL's host, or at that of another root."""
        return origin(url) in self._own

    @property
    def trusted(self) -> str:
        """Say whose certificates are trusted, for messages."""
        return trust_of(self._settings.ca_bundle).name

    def context(self, url: str) -> ssl.SSLContext:
        """Return the context for a URL. Raises UsageError."""
        return self._context(is_own=self.is_own(url))

    @property
    def for_proxies(self) -> ssl.SSLContext:
        """The context for proxies that are spoken to in TLS."""
        return self._context(is_own=False)

    def _context(self, *, is_own: bool) -> ssl.SSLContext:
        if is_own not in self._contexts:
            self._contexts.setdefault(is_own, self._made(is_own=is_own))
        return self._contexts[is_own]

    def _made(self, *, is_own: bool) -> ssl.SSLContext:
        context = self._checking(is_own=is_own)
        if self._settings.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if keylog := os.environ.get("SSLKEYLOGFILE"):
            _log_keys(context, keylog)
        if is_own and self._settings.credentials.cert:
            from dcmweb.http import client_certificate

            client_certificate.present(context, self._settings.credentials)
            context.post_handshake_auth = True  # Apache may ask for it after it read the path
        return context

    def _checking(self, *, is_own: bool) -> ssl.SSLContext:
        """Make a context that checks certificates as the user wants it."""
        trust = trust_of(self._settings.ca_bundle)
        if trust.name == SYSTEM and _HAS_OWN_STORE and not self._settings.insecure:
            return _with_own_store()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.sslsocket_class = Socket
        context.hostname_checks_common_name = False
        # As curl has it: a certificate that the user trusts need not be that of a root. Python 3.13
        # sets VERIFY_X509_STRICT besides in its default contexts, which CAs of appliances fail.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        if not self._settings.insecure:
            trust.load(context)
            if not is_own and trust.name != SYSTEM:
                _trust_system(context)
        return context


def trust_of(ca_bundle: str) -> Trust:
    """Choose which certificates are trusted: those of the option, of variables, of the system."""
    if ca_bundle:
        return _bundle(ca_bundle, f"--ca-bundle {ca_bundle}")
    for variable in _BUNDLE_VARIABLES:
        if path := os.environ.get(variable):
            return _bundle(path, f"{variable}={path}")
    names = [name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)]
    if names:
        return Trust(f"those of {' and '.join(names)}", _trust_variables)
    return Trust(SYSTEM, _trust_system)


def _bundle(path: str, name: str) -> Trust:
    def load(context: ssl.SSLContext) -> None:
        from dcmweb.http import certificates

        certificates.trust(context, path, name)

    return Trust(f"those of {name}", load)


def _trust_variables(context: ssl.SSLContext) -> None:
    """Trust what SSL_CERT_FILE and SSL_CERT_DIR name, each in place of OpenSSL's own place.

    OpenSSL ignores what it cannot read; then nobody knows why a server is not trusted. Raises
    UsageError instead.
    """
    from dcmweb.http import certificates

    default = ssl.get_default_verify_paths()
    if file := os.environ.get("SSL_CERT_FILE"):
        certificates.trust(context, file, f"SSL_CERT_FILE={file}")
    elif os.path.isfile(default.openssl_cafile):
        context.load_verify_locations(cafile=default.openssl_cafile)
    if folders := os.environ.get("SSL_CERT_DIR"):
        there = [folder for folder in folders.split(os.pathsep) if os.path.isdir(folder)]
        if not there:
            raise UsageError(f"SSL_CERT_DIR={folders} names no folder that exists")
        for folder in there:
            try:
                certificates.trust_folder(context, folder)
            except OSError as error:
                name = f"SSL_CERT_DIR={folder}"
                raise UsageError(f"{name} cannot be read: {error.strerror}") from None
    elif os.path.isdir(default.openssl_capath):
        context.load_verify_locations(capath=default.openssl_capath)


def _trust_system(context: ssl.SSLContext) -> None:
    """Trust what the system trusts; where it has no certificates, what Mozilla does.

    The package truststore would do the same on Linux, but it reads them anew for each connection,
    and lets only one thread shake hands at a time.
    """
    paths = ssl.get_default_verify_paths()
    if paths.cafile or _has_files(paths.capath):
        context.set_default_verify_paths()
        return
    import certifi

    there = [path for path in _SYSTEM_FILES if os.path.isfile(path)]
    context.load_verify_locations((there or [certifi.where()])[0])


def _log_keys(context: ssl.SSLContext, path: str) -> None:
    """Write the keys of TLS to a file, as browsers and curl do for Wireshark."""
    try:
        context.keylog_filename = path
    except OSError as error:
        raise UsageError(f"SSLKEYLOGFILE={path} cannot be written: {error.strerror}") from None


def _has_files(folder: str | None) -> bool:
    try:
        return bool(folder) and bool(os.listdir(folder))
    except OSError:
        return False


def _with_own_store() -> ssl.SSLContext:
    """Make a context that lets macOS or Windows decide which certificates are trusted."""
    import truststore

    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
