"""Settings, certificates and servers that the tests of addressing and security start from."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from asyncua import ua
from asyncua.crypto.uacrypto import CertProperties
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.x509.oid import NameOID

from plantgate_connectors.opcua.settings import OpcUaSettings
from tests.connectors.opcua.space import quick_server

SERVER_URI = "urn:press:server"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def settings(url: str = "opc.tcp://press:4840", **given: object) -> OpcUaSettings:
    """Settings as the plant file gives them, watching the server's clock unless told otherwise."""
    if not given.keys() & {"tags", "tags_file", "browse", "events"}:
        given["tags"] = [{"node": "i=2258", "tag": "clock"}]
    return OpcUaSettings.model_validate_json(json.dumps({"url": url, **given}))


@cache
def key(bits: int = 2048, number: int = 0) -> RSAPrivateKey:
    """A key; making one takes a tenth of a second, so they are shared. `number` tells several apart."""
    return generate_private_key(public_exponent=65537, key_size=bits)


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: RSAPrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def save(self, folder: Path, name: str = "certificate") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.der"
        path.write_bytes(self.der)
        return path


def certificate(
    name: str = "press3",
    *,
    uri: str | None = SERVER_URI,
    hosts: Sequence[str] = ("press",),
    issuer: Made | None = None,
    authority: bool = False,
    since: datetime = NOW - timedelta(days=30),
    until: datetime = NOW + timedelta(days=365),
    bits: int = 2048,
    number: int = 0,
    signing: bool = True,
) -> Made:
    """A server's certificate, good unless told otherwise; an authority's if `authority`."""
    own = key(bits, number)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    if uri is not None:
        names.append(x509.UniformResourceIdentifier(uri))
    usage = x509.KeyUsage(
        digital_signature=signing,
        content_commitment=signing,
        key_encipherment=signing,
        data_encipherment=signing,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(issuer.key if issuer else own, hashes.SHA256())
    )
    return Made(made, own)


def revocation_list(issuer: Made, *revoked: Made, until: datetime = NOW + timedelta(days=30)) -> bytes:
    """DER of a list by `issuer` that revokes these."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - timedelta(days=90))
        .next_update(until)
    )
    for made in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(made.certificate.serial_number)
        builder = builder.add_revoked_certificate(entry.revocation_date(NOW - timedelta(days=1)).build())
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@asynccontextmanager
async def asyncua_server(
    folder: Path,
    *,
    made: Made | None = None,
    policies: Sequence[ua.SecurityPolicyType] = (ua.SecurityPolicyType.NoSecurity,),
    nodes: Mapping[str, object] | None = None,
) -> AsyncIterator[str]:
    """The library's own server on a free port; gives its url. `nodes` are variables by string id in urn:press."""
    server = await quick_server()
    server.set_endpoint("opc.tcp://127.0.0.1:0/plant")
    await server.set_application_uri(SERVER_URI)
    server.set_security_policy(list(policies))
    if made is not None:
        pem = folder / "server-key.pem"
        pem.write_bytes(
            made.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        await server.load_certificate(made.save(folder, "server"))
        await server.load_private_key(CertProperties(pem).path_or_content)
    index = await server.register_namespace("urn:press")
    for name, value in (nodes or {}).items():
        await server.nodes.objects.add_variable(ua.NodeId(name, index), name, value)
    async with server:
        listening = server.bserver._server
        yield f"opc.tcp://127.0.0.1:{listening.sockets[0].getsockname()[1]}/plant"


class FixedClock:
    """Noon of the day the certificates are made for, so that none of them runs out."""

    def now(self) -> int:
        return int(NOW.timestamp() * 1e9)
