"""Certificates for tests: an authority of one's own, and what it vouches for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as PEM files and as objects."""

    certificate: Path
    key: Path
    signed: x509.Certificate
    private: ec.EllipticCurvePrivateKey


def authority(folder: Path, name: str) -> Identity:
    """A self-signed authority."""
    return _make(folder, name, None, ())


def issue(by: Identity, folder: Path, name: str, *, names: Sequence[str] = ()) -> Identity:
    """A certificate for a server (with DNS `names`) or a client."""
    return _make(folder, name, by, names)


def _make(folder: Path, name: str, by: Identity | None, names: Sequence[str]) -> Identity:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.signed.subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
    )
    if by is None:
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    else:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.private.public_key())
        builder = builder.add_extension(issuer, critical=False)
    if names:
        alternatives = [x509.DNSName(alternative) for alternative in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    signed = builder.sign(private if by is None else by.private, hashes.SHA256())
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return Identity(certificate, key, signed, private)
