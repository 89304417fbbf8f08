"""Certificates for tests: a small authority and what it issues, as PEM files."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its private key."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates that last a day. Keys have 2,048 bits: the least that OPC UA's policies take."""

    def __init__(self, folder: Path, name: str = "plantgate test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = _new_key()
        self._name = _named(name)
        certificate = (
            _builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = folder / "authority.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *, hosts: Sequence[str] = ()) -> Issued:
        """A TLS certificate: a server's for these host names and addresses, or a client's."""
        key = _new_key()
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = _builder(_named(name), self._name, key).add_extension(
            x509.ExtendedKeyUsage([purpose]), critical=False
        )
        if hosts:
            builder = builder.add_extension(_alternatives(hosts), critical=False)
        return _write(self.folder, name, builder.sign(self._key, hashes.SHA256()), key)


def self_signed(folder: Path, name: str, application_uri: str) -> Issued:
    """An application instance certificate as OPC 10000-6 6.2.2 asks for: its URI is one of its names."""
    key = _new_key()
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    names = [x509.UniformResourceIdentifier(application_uri), x509.DNSName("localhost")]
    certificate = (
        _builder(_named(name), _named(name), key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _write(folder, name, certificate, key)


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _alternatives(hosts: Sequence[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(names)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    own = not signs_certificates
    return x509.KeyUsage(
        digital_signature=own,
        content_commitment=own,
        key_encipherment=own,
        data_encipherment=own,
        key_agreement=False,
        key_cert_sign=True,  # a self-signed application certificate is its own issuer
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _write(folder: Path, name: str, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> Issued:
    issued = Issued(folder / f"{name}.pem", folder / f"{name}.key.pem")
    issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    issued.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return issued
