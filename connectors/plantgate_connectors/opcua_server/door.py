"""Decides who may open a channel: clients whose certificate an operator has trusted.

    <store folder>/pki-server/own/         our certificate and key
                              trusted/     client certificates, or authorities whose certificates we trust
                              issuers/  crl/  rejected/
                              users/       the same folders for certificates of users

The folders are not those of the OPC UA client: a server we read from is not thereby a client that may read from us.
"""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cryptography import x509

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.opcua.pki import Identity, Store, load_identity, thumbprints
from plantgate_connectors.opcua.protection import Flaw
from plantgate_connectors.opcua.trust import Refused, Unknown, judge
from plantgate_connectors.opcua_server import frames
from plantgate_connectors.opcua_server.frames import Broken
from plantgate_connectors.opcua_server.settings import OpcUaServerSettings

_TOLD_MOST: Final = 1000


class Door:
    """Clients' certificates, judged anew at every channel: a moved file counts at once."""

    def __init__(self, settings: OpcUaServerSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self.store = Store(context.site_folder / "pki-server")
        self.users = Store(self.store.folder / "users")
        self._told: set[tuple[str, str]] = set()

    async def prepare(self) -> Identity:
        """Make the folders and our certificate if they are not there; raises `Unavailable`."""
        try:
            return await asyncio.to_thread(self._prepare)
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"{self._context.connection}: our certificate cannot be used: {error}", retry_after_seconds=30.0
            ) from error

    def _prepare(self) -> Identity:
        self.store.prepare()
        self.users.prepare()
        written = self._settings.security
        if written.certificate is not None and written.private_key is not None:
            password = written.private_key_password
            return load_identity(
                Path(written.certificate), Path(written.private_key), password.reveal().encode() if password else None
            )
        return self.store.identity(application_uri(self._settings, self._context), self._context.clock.now())

    async def admit(self, chain: Sequence[x509.Certificate]) -> None:
        """Let a client's certificate pass; parks and tells of one that may not. Raises `Broken`."""
        if reason := await asyncio.to_thread(self._judge, self.store, chain):
            raise Broken(frames.BAD_SECURITY_CHECKS, f"its certificate is refused: {reason}")

    async def admits_user(self, chain: Sequence[x509.Certificate]) -> bool:
        """Whether a user's certificate is trusted; parks and tells of one that is not."""
        return not await asyncio.to_thread(self._judge, self.users, chain)

    def _judge(self, store: Store, chain: Sequence[x509.Certificate]) -> str:
        try:
            tolerate = {Flaw.APPLICATION_URI} if store is self.store else set(Flaw) - {Flaw.VALIDITY}
            now = self._context.clock.now()
            judge(
                chain, store, application_uri="", host=None, pin=None, tolerate=tolerate, now=now,
                peer="user" if store is self.users else "client",
            )  # fmt: skip
        except Refused as error:
            return self._park(store, chain[0], error)
        except OSError as error:
            return f"the store cannot be read: {error}"
        return ""

    def _park(self, store: Store, leaf: x509.Certificate, error: Refused) -> str:
        print_of_it = thumbprints(leaf)[0]
        who = "a user" if store is self.users else "a client"
        known = (print_of_it, str(error))
        place = store.park(leaf)
        advice = f"; compare its thumbprint with the client's own and move the file to {store.trusted}"
        reason = f"{error}; it is in {place}{advice if isinstance(error, Unknown) else ''}"
        if known not in self._told and len(self._told) < _TOLD_MOST:
            self._told.add(known)
            self._context.log.warning(
                f"the certificate of {who} is refused: {reason}",
                subject=leaf.subject.rfc4514_string()[:200],
                sha256=print_of_it,
            )
        return reason


def application_uri(settings: OpcUaServerSettings, context: Context) -> str:
    """What we call ourselves."""
    if settings.application_uri is not None:
        return settings.application_uri
    return f"urn:{socket.gethostname()}:plantgate:{context.connection}"
