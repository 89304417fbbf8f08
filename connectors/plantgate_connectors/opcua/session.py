"""A live session with a server: opened step by step under deadlines, kept alive, and let go in one of two ways."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from asyncua import Client, ua
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.opcua import endpoints
from plantgate_connectors.opcua.failures import LOGIN_PAUSE_SECONDS, SECURITY_PAUSE_SECONDS, translated
from plantgate_connectors.opcua.limits import ServerLimits, ours, read_limits
from plantgate_connectors.opcua.pki import Identity, Store, load_identity, split_chain, thumbprints
from plantgate_connectors.opcua.protocol import bound
from plantgate_connectors.opcua.settings import OpcUaSettings, Policy
from plantgate_connectors.opcua.trust import Refused, Unknown, judge

_CLOSE_SECONDS: Final = 3.0
_PULSE_LEAST_SECONDS: Final = 0.1
_PULSE_MOST_SECONDS: Final = 10.0
"""A dead server is noticed within this and a request's timeout, whatever session timeout it granted."""


@dataclass(frozen=True, slots=True)
class Resume:
    """What it takes to pick a server-side session up again from a new channel (OPC 10000-4, 6.7)."""

    token: ua.NodeId
    nonce: bytes | None


class _Client(Client):
    """asyncua's client, choosing the way to log in by strength instead of by position."""

    def server_policy(self, token_type: ua.UserTokenType) -> ua.UserTokenPolicy:
        """The strongest token policy offered for this kind of user."""
        return endpoints.choose_token(self._policy_ids, token_type, self.security_policy.URI)


class Session:
    """One session. asyncua's own reconnecting, watchdogs and renewal are off: who opened it decides what its end means."""

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

    def __init__(self, client: Client, settings: OpcUaSettings, context: Context, *, security: str) -> None:
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
    def context(self) -> Context:
        """The use of the connection this session belongs to."""
        return self._context

    def resume(self) -> Resume:
        """What the next session needs in order to pick this one up."""
        nonce = self._client._server_nonce  # noqa: SLF001  asyncua persists it by itself only to a file of its own
        return Resume(self._client.uaclient.session.authentication_token, nonce)

    async def read_namespaces(self) -> list[str]:
        """The namespace array as it is now; also kept in `namespaces`. Raises `Unavailable`."""
        with translated(self._context, "read the namespaces"):
            array = await self._client.get_namespace_array()
            self.namespaces = [str(uri) for uri in array]
        return self.namespaces

    async def keep(self) -> None:
        """Renew the channel's keys and show the server that we live. Never returns; raises `Unavailable`."""
        loop = asyncio.get_running_loop()
        pulse = min(_PULSE_MOST_SECONDS, max(_PULSE_LEAST_SECONDS, self.session_timeout_seconds / 3))
        renewal = loop.time() + self._renew_after_seconds()
        while True:
            await asyncio.sleep(min(pulse, max(0.0, renewal - loop.time())))
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
                [ua.NodeId(ua.ObjectIds.Server_ServerStatus_State, 0)], ua.AttributeIds.Value
            )
        state = answer.Value.Value if answer.Value is not None else None
        if state in (ua.ServerState.Shutdown, ua.ServerState.Failed):
            raise ua.UaStatusCodeError(ua.StatusCodes.BadShutdown)

    def _renew_after_seconds(self) -> float:
        return float(self._client.secure_channel_timeout) * 0.75 / 1000

    async def close(self, *, delete_subscriptions: bool = False) -> None:
        """End the session in order. Takes a few seconds at most, whatever the server does.

        Subscriptions that are not deleted live on at the server for their lifetime and can be transferred.
        """
        with suppress(Unavailable):
            with translated(self._context, "close the session"):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._client.uaclient.close_session(delete_subscriptions)
                    await self._client.close_secure_channel()
        self.abandon()

    def abandon(self) -> None:
        """Drop the socket at once and leave the session standing at the server, for `Resume`."""
        _drop(self._client)


async def connect(settings: OpcUaSettings, context: Context, resume: Resume | None = None) -> Session:
    """Connect, check the server's certificate, log in, and learn the server's limits and namespaces.

    With `resume`, an existing session is picked up where the server still has it. Each step has its own deadline.
    Raises `Unavailable` with a sentence; with a longer pause where only a person can help.
    """
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # it logs what it also raises; we say it once
    uri = settings.application_uri or f"urn:{socket.gethostname()}:plantgate"
    policy, endpoint, offers = await _discover(settings, context)
    client = _client(settings, context, uri)
    session = Session(client, settings, context, security=endpoints.offered([endpoint]))
    await _secure(client, settings, context, policy, endpoint, session)
    try:
        with translated(context, f"reach {settings.url}"):
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await client.connect_socket()
                await client.send_hello()
        with translated(context, "open a secure channel"):
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await client.open_secure_channel()
        await _log_in(client, settings, context, endpoint, resume, session)
        session.session_timeout_seconds = client.session_timeout / 1000
        with translated(context, "read the server's limits"):
            session.limits = await read_limits(client, settings.profile, settings.limits)
        await session.read_namespaces()
    except BaseException:
        session.abandon()
        raise
    context.standing.counters["endpoints_offered"] = len(offers)
    return session


async def _discover(
    settings: OpcUaSettings, context: Context
) -> tuple[Policy, ua.EndpointDescription, Sequence[ua.EndpointDescription]]:
    """Ask for the endpoints over an open channel, as OPC UA has it, and choose; `_log_in` checks what was told here."""
    client = _client(settings, context, "")
    try:
        with translated(context, f"reach {settings.url}"):
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await client.connect_sessionless()
        with translated(context, "get the server's endpoints"):
            async with asyncio.timeout(settings.connect_timeout_seconds):
                offers = await client.get_endpoints()
                await client.disconnect_sessionless()
    finally:
        _drop(client)
    with translated(context, "read the server's endpoints"):
        try:
            policy, endpoint = endpoints.choose(offers, settings.security)
            endpoints.choose_token(
                endpoint.UserIdentityTokens or [], endpoints.user_token(settings.user), endpoint.SecurityPolicyUri
            )
        except endpoints.NotOffered as error:
            raise _person_needed(context, f"{error}; refusing to connect with less") from error
    return policy, endpoint, offers


def _client(settings: OpcUaSettings, context: Context, application_uri: str) -> Client:
    client = _Client(settings.url, timeout=settings.request_timeout_seconds)
    bound(client, settings.limits, settings.request_timeout_seconds)
    client.name = "plantgate"
    client.description = f"plantgate {context.connection}"
    client.product_uri = "urn:plantgate"
    client.application_uri = application_uri
    client.session_timeout = round(settings.session_timeout_seconds * 1000)
    client.secure_channel_timeout = round(settings.channel_lifetime_seconds * 1000)
    return client


async def _secure(
    client: Client,
    settings: OpcUaSettings,
    context: Context,
    policy: Policy,
    endpoint: ua.EndpointDescription,
    session: Session,
) -> None:
    """Judge the server's certificate and give the client its keys; nothing has been sent to the server yet."""
    session.application_uri = str(endpoint.Server.ApplicationUri or "")
    store = Store(context.site_folder / "pki")
    user = settings.user
    secret = user is not None and user.name is not None
    if policy is not Policy.NONE or (secret and endpoint.ServerCertificate):
        # With policy None a password can still be encrypted for the server's certificate: for whose, matters as much.
        await asyncio.to_thread(_judge, settings, context, store, endpoint, session)
    if user is not None and user.certificate is not None and user.private_key is not None:
        password = user.private_key_password.reveal().encode() if user.private_key_password else None
        mine = await asyncio.to_thread(_own, context, user.certificate, user.private_key, password)
        client.user_certificate = mine.certificate
        client.user_private_key = _key(mine)
    elif user is not None and user.name is not None and user.password is not None:
        client.set_user(user.name)
        client.set_password(user.password.reveal())
    if policy is Policy.NONE:
        return
    identity = await asyncio.to_thread(_identity, settings, context, store, client.application_uri)
    leaf = split_chain(endpoint.ServerCertificate)[0]
    made = endpoints.policy_class(policy)(leaf, identity.certificate, identity.key, endpoints.mode_of(endpoint))
    client.security_policy = made
    client.uaclient.set_security(made)


def _judge(
    settings: OpcUaSettings, context: Context, store: Store, endpoint: ua.EndpointDescription, session: Session
) -> None:
    try:
        store.prepare()
        chain = split_chain(endpoint.ServerCertificate or b"")
    except ValueError as error:
        raise _person_needed(context, f"the server shows no usable certificate ({error})") from error
    except OSError as error:
        raise _person_needed(context, f"cannot use the certificate store {store.folder}: {error}") from error
    leaf, thumbprint = chain[0], thumbprints(chain[0])[0]
    session.server_certificate = thumbprint
    try:
        judge(
            chain,
            store,
            application_uri=session.application_uri,
            host=urlsplit(settings.url).hostname or "",
            pin=settings.security.server_thumbprint,
            tolerate=settings.security.tolerate,
            now=context.clock.now(),
        )
    except Refused as error:
        parked = store.park(leaf)
        what = f"the server's certificate {leaf.subject.rfc4514_string()} (SHA-256 {thumbprint})"
        advice = (
            f"it is in {parked}; compare the thumbprint with the server's own and move the file to {store.trusted}"
            if isinstance(error, Unknown)
            else f"it is in {parked}"
        )
        raise _person_needed(context, f"{what} is refused: {error}; {advice}") from error


def _identity(settings: OpcUaSettings, context: Context, store: Store, application_uri: str) -> Identity:
    security = settings.security
    try:
        if security.certificate is not None and security.private_key is not None:
            password = security.private_key_password.reveal().encode() if security.private_key_password else None
            return load_identity(security.certificate, security.private_key, password)
        return store.identity(application_uri)
    except (ValueError, OSError) as error:
        raise _person_needed(context, f"our own certificate cannot be used: {error}") from error


def _own(context: Context, *files_and_password: object) -> Identity:
    certificate, key, password = files_and_password
    try:
        return load_identity(certificate, key, password)  # type: ignore[arg-type]
    except ValueError as error:
        raise _person_needed(context, f"the user's certificate cannot be used: {error}") from error


def _key(identity: Identity) -> PrivateKeyTypes:
    return identity.key


async def _log_in(
    client: Client,
    settings: OpcUaSettings,
    context: Context,
    endpoint: ua.EndpointDescription,
    resume: Resume | None,
    session: Session,
) -> None:
    if resume is not None:
        client._policy_ids = list(endpoint.UserIdentityTokens or [])  # noqa: SLF001  CreateSession would set it
        _no_secret_in_clear(client, settings, context)
        if await _picked_up(client, settings, context, resume):
            session.fresh = False
            return
    with translated(context, "create a session"):
        async with asyncio.timeout(settings.connect_timeout_seconds):
            created = await client.create_session()
    with translated(context, "read the server's endpoints"):
        _same_offer(context, settings, created.ServerEndpoints or [], endpoint)
    _no_secret_in_clear(client, settings, context)
    with translated(context, "log in"):
        async with asyncio.timeout(settings.connect_timeout_seconds):
            await _activate(client)


async def _picked_up(client: Client, settings: OpcUaSettings, context: Context, resume: Resume) -> bool:
    """Try the old session on the new channel; a server that no longer knows it answers so, and that is no error."""
    client.uaclient.session.restore_authentication_token(resume.token)
    client._server_nonce = resume.nonce  # noqa: SLF001  part of what the server wants signed
    with translated(context, "pick up the session"):
        try:
            async with asyncio.timeout(settings.connect_timeout_seconds):
                await _activate(client)
        except ua.UaStatusCodeError:
            client.uaclient.session.reset_authentication_token()
            client._server_nonce = None  # noqa: SLF001
            return False
    return True


async def _activate(client: Client) -> None:
    await client.activate_session(
        username=client._username,  # noqa: SLF001  set by set_user, read back nowhere else
        password=client._password,  # noqa: SLF001
        certificate=client.user_certificate,
    )


def _same_offer(
    context: Context, settings: OpcUaSettings, told: Sequence[ua.EndpointDescription], chosen: ua.EndpointDescription
) -> None:
    """Over the protected channel the server repeats its endpoints: somebody in between may have hidden the better ones."""
    try:
        _, best = endpoints.choose(told, settings.security)
    except endpoints.NotOffered as error:
        raise _person_needed(context, f"the server denies the endpoint it offered before: {error}") from error
    if (best.SecurityPolicyUri, best.SecurityMode) != (chosen.SecurityPolicyUri, chosen.SecurityMode):
        raise _person_needed(
            context,
            f"the server offers {endpoints.offered([best])}, which was hidden when we asked for its endpoints;"
            " somebody may be tampering with the connection",
        )


def _no_secret_in_clear(client: Client, settings: OpcUaSettings, context: Context) -> None:
    user = settings.user
    if user is None or user.name is None or user.password_in_clear:
        return
    try:
        token = client.server_policy(ua.UserTokenType.UserName)
    except endpoints.NotOffered as error:
        raise _person_needed(context, str(error)) from error
    if endpoints.in_clear(token) and client.security_policy.Mode != ua.MessageSecurityMode.SignAndEncrypt:
        raise _person_needed(
            context,
            "the server takes passwords only unencrypted on this channel; use security mode SignAndEncrypt,"
            " or write password_in_clear: true under user to send it readable by anyone on the network",
            pause_seconds=LOGIN_PAUSE_SECONDS,
        )


def _drop(client: Client) -> None:
    """No farewell: the socket is gone when this returns to the loop."""
    session = client.uaclient.session
    publishing = session._publish_task  # noqa: SLF001  it would go on trying against a closed socket
    if publishing is not None:
        publishing.cancel()
    protocol = client.uaclient.protocol
    transport = protocol.transport if protocol is not None else None
    client.disconnect_socket()
    if transport is not None:
        transport.abort()


def _person_needed(context: Context, reason: str, *, pause_seconds: float = SECURITY_PAUSE_SECONDS) -> Unavailable:
    return Unavailable(f"{context.connection}: {reason}", retry_after_seconds=pause_seconds)
