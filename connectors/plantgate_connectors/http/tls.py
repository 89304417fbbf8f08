"""Certificates where we listen: what an operator writes, and the `ssl.SSLContext` it becomes."""

import asyncio
import ssl
from pathlib import Path

from plantgate.sdk import Secret, Settings, Unavailable
from plantgate_connectors.tls import load_own, why


class ServerTls(Settings):
    """Encryption where we listen."""

    certificate_file: Path
    """Our certificate, and after it those of the authorities between (PEM)."""
    key_file: Path
    """Private key of our certificate (PEM)."""
    key_password: Secret | None = None
    """Password of the private key, as a reference."""
    client_ca_file: Path | None = None
    """Authorities for clients (PEM): who shows no certificate of theirs does not get in. Without `allow`, that is all a
    client needs."""


def server_context(tls: ServerTls, connection: str) -> ssl.SSLContext:
    """TLS 1.2 or later. Reads the files anew for each session. Raises `Unavailable` naming the file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_own(context, tls.certificate_file, tls.key_file, tls.key_password, connection)
    if tls.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cafile=tls.client_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"{connection}: cannot use client_ca_file {tls.client_ca_file}: {why(error)}") from error
    return context


def certificate_name(transport: asyncio.BaseTransport | None) -> str:
    """The common name in the certificate the other side has shown; empty if there is none."""
    certificate = None if transport is None else transport.get_extra_info("peercert")
    subject = certificate.get("subject", ()) if certificate else ()
    return next((value for part in subject for name, value in part if name == "commonName"), "")
