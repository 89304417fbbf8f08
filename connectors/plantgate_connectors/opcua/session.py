"""A live session with a server: opened step by step under deadlines, kept alive, and let go in one of two ways."""

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Final

from asyncua import Client, ua
from asyncua.ua.uaerrors import BadShutdown, UaStatusCodeError

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.opcua.client import PlainClient, Resume
from plantgate_connectors.opcua.credentials import discover, no_secret_in_clear, same_offer, secure
from plantgate_connectors.opcua.endpoints import offered
from plantgate_connectors.opcua.failures import explain, translated
from plantgate_connectors.opcua.limits import ServerLimits, ours, read_limits
from plantgate_connectors.opcua.nodeids import node_id
from plantgate_connectors.opcua.protocol import BoundedProtocol
from plantgate_connectors.opcua.settings import OpcUaSettings

__all__ = ["Resume", "Session", "connect"]

_CLOSE_SECONDS: Final = 3.0
_PULSE_LEAST_SECONDS: Final = 0.1
_PULSE_MOST_SECONDS: Final = 10.0
"""A dead server is noticed within this and a request's timeout, whatever session timeout it granted."""


class Session:
    """One session. asyncua's own reconnecting and watchdogs are off: whoever opened it decides what its end means."""

    __slots__ = (
        "_client",
        "_context",
        "_settings",
        "_timeout_seconds",
        "application_uri",
        "fresh",
        "limits",
        "namespaces",
        "security",
        "server_certificate",
        "session_timeout_seconds",
    )

    def __init__(self, client: PlainClient, settings: OpcUaSettings, context: Context, *, security: str) -> None:
        self._client = client
        self._settings = settings
        self._context = context
        self._timeout_seconds = settings.request_timeout_seconds
        self.security = security
        """``Basic256Sha256/SignAndEncrypt``."""
        self.application_uri = ""
        """What the server calls itself."""
        self.server_certificate = ""
        """SHA-256 thumbprint; empty if it showed none."""
        self.fresh = True
        """False if a session that already existed was picked up again, with its subscriptions."""
        self.limits: ServerLimits = ours(settings.limits)
        self.namespaces: list[str] = []
        self.session_timeout_seconds = settings.session_timeout_seconds
        """As the server granted it."""

    @property
    def client(self) -> Client:
        """asyncua's client; wrap calls to it in `translated`."""
        return self._client

    @property
    def protocol(self) -> BoundedProtocol:
        """The socket's own protocol, for requests that must go out now or not at all. Raises `Unavailable`."""
        protocol = self._client.uaclient.protocol
        if not isinstance(protocol, BoundedProtocol):
            raise Unavailable(f"{self._context.connection}: the connection is closed")
        return protocol

    @property
    def context(self) -> Context:
        """The use of the connection this session belongs to."""
        return self._context

    @property
    def settings(self) -> OpcUaSettings:
        """What the operator wrote."""
        return self._settings

    def resume(self) -> Resume:
        """What the next session needs in order to pick this one up."""
        return self._client.resume_point(self.session_timeout_seconds)

    async def read_namespaces(self) -> list[str]:
        """The namespace array as it is now; also kept in `namespaces`. Raises `Unavailable`."""
        with translated(self._context, "read the namespaces"):
            array = await self._client.get_namespace_array()
            self.namespaces = [str(uri) for uri in array]
        return self.namespaces

    async def keep(self) -> None:
        """Renew the channel's keys and show the server that we live. Never returns; raises `Unavailable`.

        A connection that ends is noticed at once, a server that falls silent with the next pulse.
        """
        loop, protocol = asyncio.get_running_loop(), self.protocol
        pulse = min(_PULSE_MOST_SECONDS, max(_PULSE_LEAST_SECONDS, self.session_timeout_seconds / 3))
        renewal = loop.time() + self._renew_after_seconds()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min(loop.time() + pulse, renewal)):
                    await protocol.gone.wait()
            if protocol.gone.is_set():
                why, pause = explain(protocol.ended_by or ConnectionError("it closed the connection"))
                raise Unavailable(
                    f"{self._context.connection}: cannot reach the server: {why}", retry_after_seconds=pause
                )
            if loop.time() >= renewal:
                with translated(self._context, "renew the channel"):
                    async with asyncio.timeout(self._timeout_seconds):
                        await self._client.open_secure_channel(renew=True)
                    self._client.uaclient.revolve_security_token()
                renewal = loop.time() + self._renew_after_seconds()
            with translated(self._context, "reach the server"):
                await self._pulse(min(self._timeout_seconds, max(1.0, self.session_timeout_seconds)))

    async def _pulse(self, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            [answer] = await self._client.uaclient.read_attributes(
                [node_id(ua.ObjectIds.Server_ServerStatus_State)], ua.AttributeIds.Value
            )
        state = answer.Value.Value if answer.Value is not None else None
        if state in (ua.ServerState.Shutdown, ua.ServerState.Failed):
            raise BadShutdown

    def _renew_after_seconds(self) -> float:
        return float(self._client.secure_channel_timeout) * 0.75 / 1000

    async def close(self, *, delete_subscriptions: bool = False) -> None:
        """End the session in order. Takes a few seconds at most, whatever the server does.

        Subscriptions that are not deleted live on at the server for their lifetime and can be transferred.
        """
        with suppress(Unavailable), translated(self._context, "close the session"):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.uaclient.close_session(delete_subscriptions)
                await self._client.close_secure_channel()
        self.abandon()

    def abandon(self) -> None:
        """Drop the socket at once and leave the session standing at the server, for `Resume`."""
        self._client.drop()


async def connect(settings: OpcUaSettings, context: Context, resume: Resume | None = None) -> Session:
    """Connect, check the server's certificate, log in, and learn the server's limits and namespaces.

    With `resume`, an existing session is picked up where the server still has it. Each step has its own deadline.
    Raises `Unavailable` with a sentence; with a longer pause where only a person can help.
    """
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # it logs what it also raises; we say it once
    policy, endpoint = await discover(settings, context)
    uri = settings.application_uri or f"urn:{socket.gethostname()}:plantgate"
    client = PlainClient(settings, name=f"plantgate {context.connection}", application_uri=uri)
    session = Session(client, settings, context, security=offered([endpoint]))
    session.application_uri = str(endpoint.Server.ApplicationUri or "")
    session.server_certificate = await secure(client, settings, context, policy, endpoint)
    try:
        with translated(context, f"reach {settings.url}"):
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await client.connect_socket()
                await client.send_hello()
        with translated(context, "open a secure channel"):
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await client.open_secure_channel()
        if resume is None or not await _picked_up(client, settings, context, endpoint, resume, session):
            await _begin(client, settings, context, endpoint, session)
        with translated(context, "read the server's limits"):
            session.limits = await read_limits(client, settings.profile, settings.limits)
        await session.read_namespaces()
    except BaseException:
        session.abandon()
        raise
    return session


async def _picked_up(
    client: PlainClient,
    settings: OpcUaSettings,
    context: Context,
    endpoint: ua.EndpointDescription,
    resume: Resume,
    session: Session,
) -> bool:
    """Try the old session on the new channel; a server that no longer knows it says so, and that is no error."""
    client.expect(endpoint)
    no_secret_in_clear(client, settings, context)
    client.adopt(resume)
    with translated(context, "pick up the session"):
        try:
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await client.log_in()
        except UaStatusCodeError:
            client.forget()
            return False
    session.fresh = False
    session.session_timeout_seconds = resume.session_timeout_seconds
    return True


async def _begin(
    client: PlainClient,
    settings: OpcUaSettings,
    context: Context,
    endpoint: ua.EndpointDescription,
    session: Session,
) -> None:
    with translated(context, "create a session"):
        async with asyncio.timeout(settings.connect_timeout_seconds):
            created = await client.create_session()
    with translated(context, "read the server's endpoints"):
        same_offer(context, settings, created.ServerEndpoints or [], endpoint)
    session.session_timeout_seconds = client.session_timeout / 1000
    no_secret_in_clear(client, settings, context)
    with translated(context, "log in"):
        async with asyncio.timeout(settings.connect_timeout_seconds):
            await client.log_in()
