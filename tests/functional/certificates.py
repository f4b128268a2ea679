"""Certificates of all kinds for servers and clients of the tests."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

HOSTS = ("127.0.0.1", "localhost", "::1")
DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8


def context_of(
    issued: trustme.LeafCert,
    clients_of: trustme.CA | None = None,
    *,
    demands: bool = True,
    version: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    """Make a server's context; with `clients_of`, it asks for a client certificate of this CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    if clients_of:
        clients_of.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_OPTIONAL
    if version:
        context.minimum_version = context.maximum_version = version
    return context


@dataclass(frozen=True)
class Files:
    """The files of a certificate, of its key, and of both."""

    cert: Path
    key: Path
    both: Path

    @property
    def context(self) -> ssl.SSLContext:
        """A server's context with the certificate, however weak it is."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.load_cert_chain(self.cert, self.key)
        return context


def write(folder: Path, name: str, cert: bytes, key: bytes) -> Files:
    files = Files(*(folder / f"{name}{end}" for end in (".pem", ".key", "-both.pem")))
    files.cert.write_bytes(cert)
    files.key.write_bytes(key)
    files.both.write_bytes(key + cert)
    return files


def issued(folder: Path, name: str, certificate: trustme.LeafCert) -> Files:
    """Write a certificate of trustme."""
    chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    return write(folder, name, chain, certificate.private_key_pem.bytes())


def expired(folder: Path, authority: trustme.CA) -> Files:
    """Issue a client certificate that was valid until 2001."""
    end = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
    client = authority.issue_cert(common_name="joe", not_before=end - DAY, not_after=end)
    return issued(folder, "expired", client)


def self_signed(
    folder: Path, *, starts: int = -1, ends: int = 30, bits: int = 0, is_old_ca: bool = False
) -> Files:
    """Make a self-signed certificate for 127.0.0.1, valid between two days from now.

    With `bits`, its RSA key has so many. With `is_old_ca`, it is one that a CA issued as those of
    appliances do: without key usage and key identifiers; then `cert` has the chain.
    """
    key = rsa.generate_private_key(65537, bits) if bits else ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)

    def built(name: str, issuer: str, of: x509.ExtensionType, public: object) -> x509.Certificate:
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in (name, issuer)]
        builder = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1])
        builder = builder.public_key(public).serial_number(x509.random_serial_number())  # type: ignore[arg-type]
        builder = builder.not_valid_before(now + starts * DAY).not_valid_after(now + ends * DAY)
        return builder.add_extension(of, critical=False).sign(key, hashes.SHA256())

    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    if not is_old_ca:
        chain, own = [built("server", "server", address, key.public_key())], key
    else:
        own = ec.generate_private_key(ec.SECP256R1())
        is_ca = x509.BasicConstraints(ca=True, path_length=None)
        ca = built("old CA", "old CA", is_ca, key.public_key())
        chain = [built("server", "old CA", address, own.public_key()), ca]
    pem = own.private_bytes(PEM, PKCS8, serialization.NoEncryption())
    return write(folder, "self", b"".join(one.public_bytes(PEM) for one in chain), pem)


def encrypted(files: Files, password: str) -> Path:
    """Write the key once more, encrypted."""
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    path = files.key.with_suffix(".encrypted")
    how = serialization.BestAvailableEncryption(password.encode())
    path.write_bytes(key.private_bytes(PEM, PKCS8, how))
    return path


def as_pkcs12(files: Files, password: str) -> Path:
    """Write certificate and key as PKCS #12."""
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    certificate, *others = x509.load_pem_x509_certificates(files.cert.read_bytes())
    how = serialization.BestAvailableEncryption(password.encode())
    path = files.cert.with_suffix(".p12")
    path.write_bytes(
        pkcs12.serialize_key_and_certificates(b"joe", key, certificate, others, how)  # type: ignore[arg-type]
    )
    return path
