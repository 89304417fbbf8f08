"""The certificate store: who we are, whom we trust, and who knocked without being trusted.

    <store folder>/pki/own/<name>/      our certificate and key, made on first use
                      trusted/          server certificates, or authorities whose certificates we trust
                      issuers/          further authorities, needed to complete a chain but not trusted by themselves
                      crl/              revocation lists of any authority above
                      rejected/         server certificates met and refused: move one to trusted/ to accept it

Files are DER or PEM; every look reads them anew, so that a moved file counts at the next attempt to connect.
"""

import contextlib
import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_KEY_BITS: Final = 3072
_VALID_DAYS: Final = 3650
"""Ten years: a plant that stops because nobody renewed a self-made certificate has gained no security."""
_FILE_BYTES_MOST: Final = 1_000_000
_REJECTED_MOST: Final = 100
"""A server that shows a new certificate at every attempt must not fill the disk."""
_SUFFIXES: Final = {".der", ".pem", ".crt", ".cer"}


@dataclass(frozen=True, slots=True)
class Identity:
    """Our application instance certificate with its key."""

    certificate: x509.Certificate
    key: RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Store:
    """The folders below one `pki` folder."""

    folder: Path

    @property
    def trusted(self) -> Path:
        """Certificates an operator has accepted."""
        return self.folder / "trusted"

    @property
    def issuers(self) -> Path:
        """Authorities that only complete chains."""
        return self.folder / "issuers"

    @property
    def crl(self) -> Path:
        """Revocation lists."""
        return self.folder / "crl"

    @property
    def rejected(self) -> Path:
        """Certificates refused so far."""
        return self.folder / "rejected"

    def prepare(self) -> None:
        """Make the folders, so that an operator finds them."""
        for folder in (self.trusted, self.issuers, self.crl, self.rejected):
            folder.mkdir(parents=True, exist_ok=True)

    def certificates(self, folder: Path) -> Iterator[x509.Certificate]:
        """Every certificate in a folder; a file that holds none is passed over."""
        for content in _contents(folder, _SUFFIXES):
            with contextlib.suppress(ValueError):
                if b"-----BEGIN" in content:
                    yield from x509.load_pem_x509_certificates(content)
                else:
                    yield x509.load_der_x509_certificate(content)

    def revocation_lists(self) -> Iterator[x509.CertificateRevocationList]:
        """Every revocation list; raises ValueError for a file that cannot be read: a lost list must not mean trust."""
        for content in _contents(self.crl, {".der", ".pem", ".crl"}):
            pem = b"-----BEGIN" in content
            yield x509.load_pem_x509_crl(content) if pem else x509.load_der_x509_crl(content)

    def park(self, certificate: x509.Certificate) -> Path:
        """Keep a refused certificate in `rejected/`; returns its file. The oldest make room."""
        path = self.rejected / f"{_spoken_name(certificate)}-{thumbprints(certificate)[0][:16]}.der"
        if not path.exists():
            present = sorted(self.rejected.glob("*.der"), key=lambda file: file.stat().st_mtime)
            for old in present[: max(0, len(present) - _REJECTED_MOST + 1)]:
                old.unlink(missing_ok=True)
            _write(path, der(certificate))
        return path

    def identity(self, application_uri: str, now: int) -> Identity:
        """Our own certificate for this application URI, made (valid from `now`, ns UTC) if it is not there yet.

        Blocks for a second or so when it makes one: call it in a thread. Raises ValueError if files are damaged.
        """
        home = self.folder / "own" / _slug(application_uri)
        if not (home / "certificate.der").exists():
            self._make_identity(home, application_uri, datetime.fromtimestamp(now / 1e9, UTC))
        return load_identity(home / "certificate.der", home / "private_key.pem", None)

    def _make_identity(self, home: Path, application_uri: str, now: datetime) -> None:
        """Both files appear together or not at all: two connections may be doing this at once."""
        home.parent.mkdir(parents=True, exist_ok=True)
        home.parent.chmod(0o700)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=home.parent))
        try:
            key = generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
            certificate = self_signed(key, application_uri, now)
            _write(fresh / "certificate.der", der(certificate))
            _write(
                fresh / "private_key.pem",
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ),
            )
            fresh.rename(home)
        except OSError:
            if not (home / "certificate.der").exists():  # else another was first: theirs counts
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def load_identity(certificate: Path, key: Path, password: bytes | None) -> Identity:
    """Read a certificate and its RSA key, DER or PEM; raises ValueError that says what is wrong with which file."""
    try:
        content = certificate.read_bytes()
        pem = b"-----BEGIN" in content
        loaded = x509.load_pem_x509_certificate(content) if pem else x509.load_der_x509_certificate(content)
        content = key.read_bytes()
        load = serialization.load_pem_private_key if b"-----BEGIN" in content else serialization.load_der_private_key
        private = load(content, password)
    except OSError as error:
        raise ValueError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"{certificate.name} and {key.name} are not a certificate and its key: {error}") from error
    if not isinstance(private, RSAPrivateKey):
        raise ValueError(f"{key}: OPC UA's policies need an RSA key")
    if private.public_key() != loaded.public_key():
        raise ValueError(f"{key} is not the key of {certificate}")
    return Identity(loaded, private)


def self_signed(key: RSAPrivateKey, application_uri: str, since: datetime) -> x509.Certificate:
    """An application instance certificate as OPC 10000-6, 6.2.2 wants it: URI in the alternative names, both usages."""
    host = socket.gethostname()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"plantgate@{host}"[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "plantgate"),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,  # self-signed: some stacks want the certificate to be allowed to sign itself
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since - timedelta(days=1))  # a PLC's clock may lag
        .not_valid_after(since + timedelta(days=_VALID_DAYS))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(application_uri), x509.DNSName(_dns(host))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return builder.sign(key, hashes.SHA256())


def thumbprints(certificate: x509.Certificate) -> tuple[str, str]:
    """SHA-256 and SHA-1 thumbprint, lower-case hex."""
    return (
        certificate.fingerprint(hashes.SHA256()).hex(),
        certificate.fingerprint(hashes.SHA1()).hex(),  # noqa: S303  how OPC UA names certificates; protects nothing
    )


def split_chain(blob: bytes) -> list[x509.Certificate]:
    """The certificates of a chain as servers send it: DER after DER, leaf first; raises ValueError."""
    chain: list[x509.Certificate] = []
    rest = blob
    while rest and len(chain) < 8:
        length = _der_length(rest)
        chain.append(x509.load_der_x509_certificate(rest[:length]))
        rest = rest[length:]
    if not chain:
        raise ValueError("no certificate")
    return chain


def der(certificate: x509.Certificate) -> bytes:
    """The certificate as it goes over the wire."""
    return certificate.public_bytes(serialization.Encoding.DER)


def _der_length(blob: bytes) -> int:
    if len(blob) < 4 or blob[0] != 0x30:
        raise ValueError("not a DER certificate")
    first = blob[1]
    size = first & 0x7F
    length = 2 + first if first < 0x80 else 2 + size + int.from_bytes(blob[2 : 2 + size], "big")
    if length > len(blob) or (size > 4 and first >= 0x80):
        raise ValueError("certificate is cut short")
    return length


def _contents(folder: Path, suffixes: set[str]) -> Iterator[bytes]:
    if not folder.is_dir():
        return
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in suffixes and file.is_file() and file.stat().st_size <= _FILE_BYTES_MOST:
            yield file.read_bytes()


def _spoken_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else "unnamed"
    return re.sub(r"[^A-Za-z0-9._@-]+", "_", name)[:60].lstrip(".") or "unnamed"


def _slug(application_uri: str) -> str:
    digest = hashlib.sha256(application_uri.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', application_uri)[:60]}-{digest}"


def _dns(host: str) -> str:
    return host.encode("ascii", "ignore").decode() or "localhost"


def _write(path: Path, content: bytes) -> None:
    """Readable by us alone from the first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
