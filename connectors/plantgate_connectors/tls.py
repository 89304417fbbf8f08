"""Certificates where we call: what an operator writes, and the `ssl.SSLContext` it becomes, for every protocol."""

import ssl
from pathlib import Path
from typing import Protocol, Self

from pydantic import model_validator

from plantgate.sdk import Secret, Settings, Unavailable


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


class Certificates(Protocol):
    """Where the certificates of a client are; None: the operating system's authorities, no certificate of our own."""

    @property
    def ca_file(self) -> Path | None: ...
    @property
    def certificate_file(self) -> Path | None: ...
    @property
    def key_file(self) -> Path | None: ...
    @property
    def key_password(self) -> Secret | None: ...


def client_context(tls: Certificates, who: str, *, check_server_name: bool = True) -> ssl.SSLContext:
    """TLS 1.2 or later, the server's chain always checked, its name unless told otherwise.

    Reads the files anew each time, so that renewed certificates count. Raises `Unavailable` naming `who` and the file.
    """
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(f"{who}: cannot use ca_file {tls.ca_file}: {why(error)}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = check_server_name
    if tls.certificate_file is not None and tls.key_file is not None:
        load_own(context, tls.certificate_file, tls.key_file, tls.key_password, who)
    return context


def load_own(context: ssl.SSLContext, certificate: Path, key: Path, secret: Secret | None, who: str) -> None:
    """Our certificate into the context. Raises `Unavailable` naming `who` and the files."""
    password = "" if secret is None else secret.reveal()
    try:
        context.load_cert_chain(certificate, key, password=lambda: password)
    except (OSError, ssl.SSLError) as error:
        raise Unavailable(
            f"{who}: cannot use certificate_file {certificate} with key_file {key}: {why(error)}"
        ) from error


def why(error: OSError) -> str:
    """What is wrong with a certificate's file."""
    if isinstance(error, ssl.SSLError):
        return f"{error.reason or error} (is it PEM, and is the password right?)"
    return error.strerror or str(error)
