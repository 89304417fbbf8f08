"""What stands in the way of serving: the port, our certificate, who is trusted; for `plantgate plan`."""

import asyncio
import socket
from pathlib import Path

from plantgate.sdk import Context, Finding, Survey
from plantgate_connectors.opcua.pki import Store
from plantgate_connectors.opcua_server.door import application_uri
from plantgate_connectors.opcua_server.settings import OpcUaServerSettings


async def survey(settings: OpcUaServerSettings, context: Context) -> Survey:
    """Look, and change nothing."""
    return await asyncio.to_thread(_looked, settings, context)


def _looked(settings: OpcUaServerSettings, context: Context) -> Survey:
    store = Store(context.site_folder / "pki-server")
    findings = [_port(settings), _certificate(settings, context, store)]
    trusted, rejected = _files(store.trusted), _files(store.rejected)
    findings.append(Finding(
        "trusted clients", "at least one certificate",
        f"{trusted} in {store.trusted}" if trusted else f"none; move one from {store.rejected} to {store.trusted}",
        fine=bool(trusted) or settings.security.open_to_all,
    ))  # fmt: skip
    if rejected:
        findings.append(Finding("refused clients", "none", f"{rejected} in {store.rejected}"))
    return Survey(tuple(findings))


def _port(settings: OpcUaServerSettings) -> Finding:
    where = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((settings.host, settings.port))
    except OSError as error:
        said = f"not to be had: {error.strerror or error} (right if this gateway is running)"
        return Finding(where, "free", said, fine=False)
    return Finding(where, "free", "free")


def _certificate(settings: OpcUaServerSettings, context: Context, store: Store) -> Finding:
    uri = application_uri(settings, context)
    written = settings.security.certificate
    if written is not None:
        return Finding("certificate", str(written), "there" if written.exists() else "not there", fine=written.exists())
    made = any((store.folder / "own").glob("*/certificate.der"))
    return Finding("certificate", uri, "there" if made else "will be made at the first start")


def _files(folder: Path) -> int:
    return sum(1 for file in folder.iterdir() if file.is_file()) if folder.is_dir() else 0
