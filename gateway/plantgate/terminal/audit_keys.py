"""`plantgate audit keys` and `plantgate audit witness`: what the owner of a log, and its witness, need."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from plantgate.audit.note import COSIGNATURE, ED25519, BadNote, Signer, Verifier
from plantgate.audit.policy import BadPolicy
from plantgate.audit.witness import Witness
from plantgate.audit.witness_server import serving
from plantgate.observe.logging import News, configure_logging
from plantgate.sdk import SystemClock
from plantgate.store.disk import OsDisk

FINE = 0


def keys_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `keys`."""
    verb.add_argument("name", help="the key's name; a log's is also its origin: gateway.example/plant1/line3")
    verb.add_argument("--witness", action="store_true", help="a witness' key instead of a log's")
    verb.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="the private key; the public one is FILE.pub"
    )


def keys(chosen: argparse.Namespace) -> int:
    """Make a key pair. Never writes over one."""
    try:
        signer = Signer.make(chosen.name, COSIGNATURE if chosen.witness else ED25519)
    except BadNote as error:
        raise BadPolicy(str(error)) from None
    try:
        descriptor = os.open(chosen.out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BadPolicy(f"{chosen.out}: is there already; a key is never written over") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{signer.private()}\n")
    public = chosen.out.with_name(f"{chosen.out.name}.pub")
    public.write_text(f"{signer.verifier}\n", encoding="utf-8")
    print(f"{chosen.out}: the private key of {chosen.name}; whoever reads it can sign: keep it on this machine")
    print(f"{public}: {signer.verifier}")
    return FINE


def witness_arguments(verb: argparse.ArgumentParser) -> None:
    """What comes behind `witness`."""
    verb.add_argument("folder", type=Path, help="where it remembers what it signed")
    verb.add_argument("--key", type=Path, required=True, metavar="FILE", help="its private key (plantgate audit keys)")
    verb.add_argument(
        "--log", type=Path, action="append", required=True, metavar="FILE", help="public key of a log it signs for"
    )
    verb.add_argument("--listen", default="127.0.0.1:9490", metavar="HOST:PORT", help="where (127.0.0.1:9490)")


def witness(chosen: argparse.Namespace) -> int:
    """Serve until asked to stop."""
    host, _, port = chosen.listen.rpartition(":")
    if not host or not port.isdecimal() or not int(port) < 65_536:
        raise BadPolicy(f"{chosen.listen!r} is not an address; write for example 0.0.0.0:9490")
    try:
        signer = Signer.parse(chosen.key.read_text(encoding="utf-8").strip())
        logs = [Verifier.parse(path.read_text(encoding="utf-8").strip()) for path in chosen.log]
        if wrong := [log.name for log in logs if log.kind != ED25519]:
            raise BadPolicy(f"{wrong[0]}: a witness' key; --log takes the public key of a log")
        made = Witness(chosen.folder, signer, logs, OsDisk(), SystemClock())
        OsDisk().lock(chosen.folder)  # until this process ends: two that remember in one folder could sign for a fork
    except BadNote as error:
        raise BadPolicy(str(error)) from None
    configure_logging("info", News(), text=sys.stderr.isatty())
    asyncio.run(_serve(made, tuple(log.name for log in logs), host, int(port)))
    return FINE


async def _serve(made: Witness, origins: tuple[str, ...], host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log = structlog.get_logger()
    async with serving(made, origins, host, port, log) as bound:
        log.info("witness serves", url=f"http://{host}:{bound}", logs=list(origins), key=str(made.verifier))
        await stop.wait()
