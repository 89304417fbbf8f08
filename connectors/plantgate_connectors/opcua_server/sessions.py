"""Sessions: created on a channel, activated by a user, kept over a broken line until their timeout."""

import asyncio
import hmac
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from asyncua import ua
from cryptography import x509

from plantgate.sdk import Context
from plantgate_connectors.opcua.pki import der, split_chain
from plantgate_connectors.opcua_server import suites
from plantgate_connectors.opcua_server.channel import Channel, Terms
from plantgate_connectors.opcua_server.endpoints import Endpoints
from plantgate_connectors.opcua_server.fault import Fault
from plantgate_connectors.opcua_server.nodes import Reference
from plantgate_connectors.opcua_server.settings import Limits
from plantgate_connectors.opcua_server.users import ANONYMOUS, Users

TOO_MANY: Final = 0x8056_0000
"""BadTooManySessions."""
POLICY_REJECTED: Final = 0x8055_0000
CERTIFICATE_INVALID: Final = 0x8012_0000
URI_INVALID: Final = 0x8017_0000
NONCE_INVALID: Final = 0x8024_0000
SIGNATURE_INVALID: Final = 0x8058_0000
"""BadApplicationSignatureInvalid."""
SESSION_UNKNOWN: Final = 0x8025_0000
NOT_ACTIVATED: Final = 0x8027_0000
CHANNEL_INVALID: Final = 0x8022_0000
CHECKS_FAILED: Final = 0x8013_0000

_TIMEOUT_LEAST: Final = 5.0
_NAME_MOST: Final = 200


class Line(Protocol):
    """The connection a session speaks on."""

    channel: Channel
    address: str

    def say(self, request_id: int, body: bytes) -> None:
        """Send an answer."""
        ...


@dataclass(slots=True)
class Asked:
    """A publish request that waits to be answered."""

    request_id: int
    handle: int
    results: bytes
    """Encoded results of its acknowledgements."""
    until: float
    """Loop time at which the client gives it up."""


@dataclass(slots=True)
class Session:
    """One client, with what it is owed."""

    number: int
    token: bytes
    """The secret by which requests name it."""
    name: str
    line: Line | None
    nonce: bytes
    timeout: float
    heard: float
    """Loop time of its last request."""
    certificate: bytes
    user: str = ""
    """Empty until it is activated."""
    asked: deque[Asked] = field(default_factory=deque)
    subscriptions: set[int] = field(default_factory=set)
    continued: dict[bytes, tuple[Iterator[Reference], Any]] = field(default_factory=dict)
    """Browse continuation points."""


class Sessions:
    """All sessions of a server."""

    def __init__(self, limits: Limits, context: Context, terms: Terms, endpoints: Endpoints, users: Users) -> None:
        self._limits = limits
        self._context = context
        self._terms = terms
        self._endpoints = endpoints
        self._users = users
        self.created = 0
        """Sessions so far."""
        self.by_token: dict[bytes, Session] = {}
        self.evicted: Callable[[Session], None] = lambda session: None
        """Told of a session closed to make room."""

    def create(self, request: ua.CreateSessionRequest, line: Line) -> ua.CreateSessionResponse:
        """Make a session that still has to be activated; raises `Fault`."""
        wanted, channel = request.Parameters, line.channel
        if (channel.suite.uri if channel.suite else suites.NONE_URI, channel.mode) not in self._terms.modes:
            raise Fault(POLICY_REJECTED)  # a channel without security, opened to ask for endpoints
        theirs = bytes(wanted.ClientNonce or b"")
        if channel.suite is not None:
            self._check_client(wanted, channel, theirs)
        if len(self.by_token) >= self._limits.sessions_max and not self._make_room():
            raise Fault(TOO_MANY)
        self.created += 1
        timeout = min(
            max(float(wanted.RequestedSessionTimeout or 0) / 1000, _TIMEOUT_LEAST), self._limits.session_seconds
        )
        session = Session(
            number=self.created, token=os.urandom(32), name=str(wanted.SessionName or "")[:_NAME_MOST], line=line,
            nonce=os.urandom(32), timeout=timeout, heard=_now(), certificate=channel.client_certificate,
        )  # fmt: skip
        self.by_token[session.token] = session
        answer = ua.CreateSessionResponse()
        given = answer.Parameters
        given.SessionId = ua.NodeId(ua.Int32(session.number), ua.Int16(1))
        given.AuthenticationToken = ua.NodeId(ua.ByteString(session.token), ua.Int16(0), ua.NodeIdType.ByteString)
        given.RevisedSessionTimeout = timeout * 1000
        given.ServerNonce = session.nonce
        given.ServerEndpoints = self._endpoints.listed(wanted.EndpointUrl)
        given.MaxRequestMessageSize = ua.UInt32(self._limits.message_bytes_max)
        mine = self._terms.identity
        given.ServerCertificate = der(mine.certificate)
        if channel.suite is not None:
            signed = channel.suite.sign(mine.key, channel.client_certificate + theirs)
            given.ServerSignature = ua.SignatureData(Algorithm=channel.suite.signature_uri, Signature=signed)
        return answer

    def _check_client(self, wanted: ua.CreateSessionParameters, channel: Channel, nonce: bytes) -> None:
        if len(nonce) < suites.NONCE_BYTES:
            raise Fault(NONCE_INVALID)
        try:
            leaf = der(split_chain(bytes(wanted.ClientCertificate or b""))[0])
        except ValueError:
            raise Fault(CERTIFICATE_INVALID) from None
        if leaf != channel.client_certificate:
            raise Fault(CERTIFICATE_INVALID)
        if wanted.ClientDescription.ApplicationUri not in _uris(channel.client[0]):
            self._context.log.warning(
                "a client calls itself otherwise than its certificate does, and is refused",
                calls_itself=str(wanted.ClientDescription.ApplicationUri)[:_NAME_MOST],
                certificate=", ".join(_uris(channel.client[0]))[:_NAME_MOST] or "no application",
            )
            raise Fault(URI_INVALID)

    def _make_room(self) -> bool:
        """Close the oldest session nobody has activated, or else one whose client is gone: neither keeps others out."""
        waiting = [session for session in self.by_token.values() if not session.user]
        orphaned = sorted((each for each in self.by_token.values() if each.line is None), key=lambda each: each.heard)
        if not (waiting or orphaned):
            return False
        session = (waiting or orphaned)[0]
        del self.by_token[session.token]
        self.evicted(session)
        return True

    async def activate(self, request: ua.ActivateSessionRequest, line: Line) -> ua.ActivateSessionResponse:
        """Let the user in, or move the session to the channel it is now spoken to on; raises `Fault`."""
        session = self._find(request.RequestHeader)
        wanted, channel = request.Parameters, line.channel
        if session.certificate != channel.client_certificate:
            raise Fault(CHECKS_FAILED)
        if session.line is not line and (not session.user or channel.suite is None):
            raise Fault(CHANNEL_INVALID)
        if channel.suite is not None:
            said = wanted.ClientSignature
            try:
                if said.Algorithm != channel.suite.signature_uri:
                    raise suites.Forged
                signed = der(self._terms.identity.certificate) + session.nonce
                channel.suite.verify(channel.client_key, signed, bytes(said.Signature or b""))
            except suites.Forged:
                raise Fault(SIGNATURE_INVALID) from None
        user = await self._users.identify(
            wanted.UserIdentityToken, wanted.UserTokenSignature, session.nonce, line.address
        )
        if self.by_token.get(session.token) is not session:
            raise Fault(SESSION_UNKNOWN)
        if session.user and user != session.user and session.line is not line:
            raise Fault(CHECKS_FAILED)
        if session.line is not line:
            session.asked.clear()
        session.user, session.line, session.heard = user, line, _now()
        session.nonce = os.urandom(32)
        channel.trusted_peer = True
        answer = ua.ActivateSessionResponse()
        answer.Parameters.ServerNonce = session.nonce
        return answer

    def of(self, header: ua.RequestHeader, line: Line) -> Session:
        """The activated session of a request; raises `Fault`."""
        session = self._find(header)
        if session.line is not line:
            raise Fault(CHANNEL_INVALID)
        if not session.user:
            raise Fault(NOT_ACTIVATED)
        session.heard = _now()
        return session

    def to_close(self, header: ua.RequestHeader, line: Line) -> Session:
        """The session of a CloseSession, activated or not; raises `Fault`."""
        session = self._find(header)
        if session.line is not line:
            raise Fault(CHANNEL_INVALID)
        return session

    def _find(self, header: ua.RequestHeader) -> Session:
        token = header.AuthenticationToken.Identifier
        if not isinstance(token, bytes):
            raise Fault(SESSION_UNKNOWN)
        session = self.by_token.get(token)
        if session is None or not hmac.compare_digest(session.token, token):
            raise Fault(SESSION_UNKNOWN)
        return session

    def has_activated(self, line: Line) -> bool:
        """Whether anyone has logged in on this connection."""
        return any(session.line is line and session.user for session in self.by_token.values())

    def broken(self, line: Line) -> list[Session]:
        """A connection is gone: sessions wait for their clients, those never activated are closed and returned."""
        gone = []
        for session in list(self.by_token.values()):
            if session.line is line:
                session.line = None
                session.asked.clear()
                if not session.user:
                    gone.append(self.by_token.pop(session.token))
        return gone

    def expired(self) -> list[Session]:
        """Sessions whose clients have been silent for too long; they are closed by this."""
        now = _now()
        gone = [session for session in self.by_token.values() if now - session.heard > session.timeout]
        for session in gone:
            del self.by_token[session.token]
        return gone


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _now() -> float:
    return asyncio.get_running_loop().time()


def may_take_over(user: str, certificate: bytes, owner: tuple[str, bytes]) -> bool:
    """Whether a session may have the subscription of another: the same user, from the same client (5.14.7)."""
    return (user, certificate) == owner and (user != ANONYMOUS or bool(certificate))
