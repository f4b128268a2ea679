"""Certificates of all kinds that clients and servers may have, from an authority for the tests."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
YEAR = datetime.timedelta(days=365)


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate: its chain, its key, and both in one file."""

    chain: Path
    key: Path
    both: Path


class Authority:
    """An authority that issues certificates, into files of a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()

    @cached_property
    def bundle(self) -> Path:
        """The certificate of the authority, for --ca-bundle."""
        path = self._folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(path))
        return path

    @cached_property
    def server(self) -> Certificate:
        """A certificate for a server on this machine."""
        return self.issue("server", *LOCAL_NAMES)

    @cached_property
    def client(self) -> Certificate:
        """A client's certificate with a key that is not encrypted."""
        return self._write("client", self._authority.issue_cert(common_name="alice"))

    @cached_property
    def expired(self) -> Certificate:
        """A certificate for a server on this machine that was valid until 2001."""
        past = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
        issued = self._authority.issue_cert(*LOCAL_NAMES, not_before=past - YEAR, not_after=past)
        return self._write("expired", issued)

    @cached_property
    def incomplete(self) -> Certificate:
        """A certificate for a server on this machine, without that of the authority between.

        Browsers often find that one themselves; other clients cannot check the chain.
        """
        issued = self._authority.create_child_ca().issue_cert(*LOCAL_NAMES)
        leaf = issued.cert_chain_pems[0].bytes()
        return self._files("incomplete", leaf, issued.private_key_pem.bytes())

    def issue(self, name: str, *hosts: str) -> Certificate:
        """Issue a certificate for a server with other names."""
        return self._write(name, self._authority.issue_cert(*hosts))

    def encrypted(self, passphrase: str, certificate: Certificate | None = None) -> Certificate:
        """Make a copy of the client's certificate whose key is encrypted: PKCS#8 in PEM."""
        certificate = certificate or self.client
        key = serialization.load_pem_private_key(certificate.key.read_bytes(), None)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase.encode()),
        )
        return self._files("encrypted", certificate.chain.read_bytes(), pem)

    def _write(self, name: str, issued: trustme.LeafCert) -> Certificate:
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        return self._files(name, chain, issued.private_key_pem.bytes())

    def _files(self, name: str, chain: bytes, key: bytes) -> Certificate:
        return write_certificate(self._folder, name, chain, key)


class OldAuthority:
    """An authority as appliances made them: without the extensions of RFC 5280.

    Its certificates lack keyUsage, subjectKeyIdentifier and authorityKeyIdentifier. Python 3.13
    and later refuse them, as ssl.create_default_context sets VERIFY_X509_STRICT there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Old authority")])
        is_authority = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._sign(self._name, self._key, is_authority)
        self.bundle = folder / "old-ca.pem"
        self.bundle.write_bytes(_pem(certificate))
        self._folder = folder

    @cached_property
    def server(self) -> Certificate:
        """A certificate for a server on this machine."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = x509.SubjectAlternativeName(
            [
                x509.DNSName("localhost"),
                x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                x509.IPAddress(ipaddress.ip_address("::1")),
            ]
        )
        certificate = self._sign(name, key, names)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return write_certificate(self._folder, "old-server", _pem(certificate), pem)

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + YEAR)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, hashes.SHA256())
        )


def write_certificate(folder: Path, name: str, chain: bytes, key: bytes) -> Certificate:
    """Write the files of a certificate."""
    files = Certificate(*(folder / f"{name}{end}" for end in (".pem", ".key", "-both.pem")))
    files.chain.write_bytes(chain)
    files.key.write_bytes(key)
    files.both.write_bytes(key + chain)
    return files


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
