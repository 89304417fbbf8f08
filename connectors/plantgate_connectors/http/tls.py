"""Certificates: what an operator writes, and the `ssl.SSLContext` it becomes."""

import asyncio
import ssl
from pathlib import Path
from typing import Self

from pydantic import model_validator

from plantgate.sdk import Secret, Settings, Unavailable


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


class ClientTls(Settings):
    """Encryption where we call; an `https` URL without it trusts the operating system's authorities."""

    ca_file: Path | None = None
    """Certificates of the authorities that may vouch for the server (PEM); without it, the operating system's."""
    certificate_file: Path | None = None
    """Our own certificate (PEM), for servers that ask for one."""
    key_file: Path | None = None
    """Private key of our certificate (PEM)."""
    key_password: Secret | None = None
    """Password of the private key, as a reference."""

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file come together: write both or neither")
        return self


def server_context(tls: ServerTls, connection: str) -> ssl.SSLContext:
    """TLS 1.2 or later. Reads the files anew for each session. Raises `Unavailable` naming the file."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_own(context, tls.certificate_file, tls.key_file, tls.key_password, connection)
    if tls.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(cafile=tls.client_ca_file)
        except (OSError, ssl.SSLError) as error:
            raise Unavailable(f"{connection}: cannot use client_ca_file {tls.client_ca_file}: {_why(error)}") from error
    return context


def client_context(tls: ClientTls, connection: str) -> ssl.SSLContext:
    """TLS 1.2 or later, the server's chain and name always checked. Raises `Unavailable` naming the file."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"{connection}: cannot use ca_file {tls.ca_file}: {_why(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certificate_file is not None and tls.key_file is not None:
        _load_own(context, tls.certificate_file, tls.key_file, tls.key_password, connection)
    return context


def certificate_name(transport: asyncio.BaseTransport | None) -> str:
    """The common name in the certificate the other side has shown; empty if there is none."""
    certificate = None if transport is None else transport.get_extra_info("peercert")
    subject = certificate.get("subject", ()) if certificate else ()
    return next((value for part in subject for name, value in part if name == "commonName"), "")


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path, secret: Secret | None, connection: str) -> None:
    password = "" if secret is None else secret.reveal()
    try:
        context.load_cert_chain(certificate, key, password=lambda: password)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(
            f"{connection}: cannot use certificate_file {certificate} with key_file {key}: {_why(error)}"
        ) from error


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"{error.reason or error} (is it PEM, and is the password right?)"
    return error.strerror or str(error)
