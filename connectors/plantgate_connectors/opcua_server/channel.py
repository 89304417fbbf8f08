"""One secure channel: who is at the other end, which keys count now, which number comes next.

Renewed keys count beside the old ones until the client uses them, and the old ones until a quarter past their time
(OPC 10000-4, 5.5.2; asyncua #195, #360: keys swapped too soon are InvalidSignature under load).
"""

import asyncio
import itertools
import os
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from plantgate_connectors.opcua.pki import Identity, der, split_chain
from plantgate_connectors.opcua_server import frames, opening, suites
from plantgate_connectors.opcua_server.frames import Broken, Chunk
from plantgate_connectors.opcua_server.requests import read_request

NONE: Final = 1
SIGN: Final = 2
SIGN_AND_ENCRYPT: Final = 3
"""MessageSecurityMode (OPC 10000-4, 7.20)."""

LIFETIME_MS_LEAST: Final = 5_000
LIFETIME_MS_MOST: Final = 3_600_000
OVERLAP: Final = 1.25
CERTIFICATE_BYTES_MAX: Final = 16_384
_SEQUENCE_WRAPS: Final = 2**32 - 1024
_PAIR: Final = struct.Struct("<II")

Admit = Callable[[Sequence[x509.Certificate]], Awaitable[None]]
"""Judges a client's certificate chain; raises `Broken`."""


@dataclass(slots=True)
class Token:
    """One set of keys."""

    number: int
    receiving: suites.Keys | None
    sending: suites.Keys | None
    until: float
    """Loop time at which it no longer counts, overlap included."""


@dataclass(frozen=True, slots=True)
class Message:
    """One whole request."""

    request_id: int
    body: bytes
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Terms:
    """What channels may be like: the same for all of a server."""

    identity: Identity
    modes: frozenset[tuple[str, int]]
    """Offered policies by URI, with their modes."""
    admit: Admit
    message_bytes_max: int
    chunks_max: int
    newcomer_bytes_max: int = 131_072
    """Longest message before a session is activated: certificates and a password need no more."""


class TooLarge(Exception):
    """The answer is longer than this client takes."""


class Channel:
    """The server's end of one connection."""

    _numbers = itertools.count(1)

    def __init__(self, terms: Terms, greeting: frames.Hello) -> None:
        self._terms = terms
        self._greeting = greeting
        self.number = next(self._numbers)
        self.suite: suites.Suite | None = None
        self.mode = 0
        """0: not open yet."""
        self.client: list[x509.Certificate] = []
        self.client_certificate = b""
        """The leaf, DER; empty without security."""
        self.trusted_peer = False
        """Set once a session has been activated here: larger messages are taken."""
        self._tokens: dict[int, Token] = {}
        self._sending = 0
        self._heard: int | None = None
        self._said = 0
        self._parts: list[bytes] = []
        self._held = 0

    # Opening and renewing.

    async def open(self, chunk: Chunk) -> bytes:
        """Answer an OPN; raises `Broken`."""
        body = chunk.body
        if chunk.final != b"F" or len(body) < 12:
            raise Broken(frames.BAD_DECODING, "its request for a channel is cut in pieces")
        (channel,) = struct.unpack_from("<I", body)
        uri, at = frames.take_bytes(body, 4, 255)
        sender, at = frames.take_bytes(body, at, CERTIFICATE_BYTES_MAX)
        thumbprint, at = frames.take_bytes(body, at, 20)
        if self.mode and (channel != self.number or uri.decode("utf-8", "replace") != self._uri()):
            raise Broken(frames.BAD_CHANNEL_UNKNOWN, "it wants to renew another channel than its own")
        suite = await self._introduced(uri.decode("utf-8", "replace"), sender, thumbprint)
        plain = body[at:]
        if suite is not None:
            plain = opening.unsealed(suite, self._terms.identity.key, self.client_key, chunk.head + body[:at], plain)
        if len(plain) < 8:
            raise Broken(frames.BAD_DECODING, "its request for a channel is cut short")
        sequence, request_id = _PAIR.unpack_from(plain)
        self._count(sequence)
        request = read_request(plain[8:], {446: ua.OpenSecureChannelRequest})
        assert isinstance(request, ua.OpenSecureChannelRequest)
        answer = self._issued(suite, request)
        plain = _PAIR.pack(self._next(), request_id) + struct_to_binary(answer)
        if suite is None:
            return opening.plain(self.number, plain)
        return opening.sealed(suite, self._terms.identity, self.client[0], self.number, plain)

    async def _introduced(self, uri: str, sender: bytes, thumbprint: bytes) -> suites.Suite | None:
        if uri == suites.NONE_URI:
            return None
        suite = suites.BY_URI.get(uri)
        if suite is None or not any(offered == uri for offered, _ in self._terms.modes):
            raise Broken(frames.BAD_POLICY_REJECTED, f"it asks for security policy {uri[-60:]!r}, which is not offered")
        mine = self._terms.identity.certificate.fingerprint(hashes.SHA1())  # noqa: S303  how OPC UA names certificates
        if thumbprint != mine:
            raise Broken(
                frames.BAD_SECURITY_CHECKS, "it encrypts for another certificate than ours; renew ours at the client"
            )
        if self.mode:
            if sender != self._sent:
                raise Broken(frames.BAD_SECURITY_CHECKS, "it renews its channel under another certificate")
            return suite
        try:
            chain = split_chain(sender)
        except ValueError as error:
            raise Broken(frames.BAD_SECURITY_CHECKS, f"its certificate cannot be read: {error}") from None
        await self._terms.admit(chain)
        self.client, self.client_certificate, self._sent = chain, der(chain[0]), sender
        return suite

    _sent = b""
    """The client's certificate as it came, chain and all."""

    @property
    def client_key(self) -> RSAPublicKey:
        """The client's public key; only with security."""
        key = self.client[0].public_key()
        assert isinstance(key, RSAPublicKey), "`admit` takes no other"
        return key

    def _issued(self, suite: suites.Suite | None, request: ua.OpenSecureChannelRequest) -> ua.OpenSecureChannelResponse:
        wanted = request.Parameters
        mode = int(wanted.SecurityMode)
        if (suite is not None and (suite.uri, mode) not in self._terms.modes) or (suite is None and mode != NONE):
            raise Broken(frames.BAD_MODE_REJECTED, f"it asks for security mode {wanted.SecurityMode}, not offered")
        renews = wanted.RequestType == ua.SecurityTokenRequestType.Renew
        if renews != bool(self.mode) or (self.mode and mode != self.mode):
            raise Broken(frames.BAD_CHANNEL_UNKNOWN, "it renews a channel that is not open, or opens one twice")
        theirs = bytes(wanted.ClientNonce or b"")
        if suite is not None and len(theirs) != suites.NONCE_BYTES:
            raise Broken(frames.BAD_NONCE, f"its nonce has {len(theirs)} bytes, {suites.NONCE_BYTES} are due")
        lifetime = min(max(int(wanted.RequestedLifetime) or LIFETIME_MS_MOST, LIFETIME_MS_LEAST), LIFETIME_MS_MOST)
        mine = os.urandom(suites.NONCE_BYTES)
        number = max(self._tokens, default=0) + 1
        receiving = sending = None
        if suite is not None:
            encrypts = mode == SIGN_AND_ENCRYPT
            receiving = suites.Keys(suite, mine, theirs, encrypts=encrypts)
            sending = suites.Keys(suite, theirs, mine, encrypts=encrypts)
        until = asyncio.get_running_loop().time() + OVERLAP * lifetime / 1000
        self._tokens = {key: token for key, token in self._tokens.items() if key == self._sending}
        self._tokens[number] = Token(number, receiving, sending, until)
        if not self.mode:
            self._sending = number
        self.suite, self.mode = suite, mode
        answer = ua.OpenSecureChannelResponse()
        answer.ResponseHeader.RequestHandle = request.RequestHeader.RequestHandle
        answer.ResponseHeader.Timestamp = datetime.now(UTC)
        token = answer.Parameters.SecurityToken
        token.ChannelId, token.TokenId = ua.UInt32(self.number), ua.UInt32(number)
        token.CreatedAt, token.RevisedLifetime = datetime.now(UTC), ua.UInt32(lifetime)
        answer.Parameters.ServerNonce = mine if suite is not None else b""
        return answer

    def _uri(self) -> str:
        return suites.NONE_URI if self.suite is None else self.suite.uri

    # Messages.

    def receive(self, chunk: Chunk) -> Message | None:
        """Take a MSG or CLO; gives the request once it is whole. Raises `Broken`."""
        if not self.mode:
            raise Broken(frames.BAD_CHANNEL_UNKNOWN, "it sends a message before it has opened a channel")
        if len(chunk.body) < 16:
            raise Broken(frames.BAD_DECODING, "a chunk is too short to be one")
        channel, number = _PAIR.unpack_from(chunk.body)
        if channel != self.number:
            raise Broken(frames.BAD_CHANNEL_UNKNOWN, "it uses the channel of another")
        token = self._tokens.get(number)
        if token is None or asyncio.get_running_loop().time() > token.until:
            raise Broken(frames.BAD_TOKEN_UNKNOWN, "the keys it uses have run out")
        plain = chunk.body[8:]
        if token.receiving is not None:
            try:
                plain = token.receiving.open(chunk.head + chunk.body[:8], plain)
            except suites.Forged:
                raise Broken(frames.BAD_SECURITY_CHECKS, "a message is not signed as it should be") from None
        if len(plain) < 8:
            raise Broken(frames.BAD_DECODING, "a chunk is too short to be one")
        sequence, request_id = _PAIR.unpack_from(plain)
        self._count(sequence)
        self._use(number)
        return self._joined(chunk, request_id, plain[8:])

    def _use(self, number: int) -> None:
        """The client uses these keys: from now on so do we, and older ones are forgotten."""
        if number != self._sending and number > self._sending:
            self._sending = number
            self._tokens = {key: token for key, token in self._tokens.items() if key >= number}

    def _joined(self, chunk: Chunk, request_id: int, part: bytes) -> Message | None:
        if chunk.final == b"A":
            self._parts, self._held = [], 0
            return None
        self._parts.append(part)
        self._held += len(part)
        most = self._terms.message_bytes_max if self.trusted_peer else self._terms.newcomer_bytes_max
        if self._held > most or len(self._parts) > self._terms.chunks_max:
            raise Broken(
                frames.BAD_TOO_LARGE, f"a message of more than {most} bytes or {self._terms.chunks_max} chunks"
            )
        if chunk.final == b"C":
            return None
        body, self._parts, self._held = b"".join(self._parts), [], 0
        return Message(request_id, body, closes=chunk.kind == b"CLO")

    def pack(self, request_id: int, body: bytes) -> bytes:
        """The chunks of an answer; raises `TooLarge`."""
        token = self._tokens[self._sending]
        keys = token.sending
        room = self._greeting.receive_max - 16 - 8
        if keys is not None:
            room -= suites.SIGNATURE_BYTES + 17
        chunks = max(1, -(-len(body) // room))
        greeting = self._greeting
        if (greeting.message_max and len(body) > greeting.message_max) or (
            greeting.chunks_max and chunks > greeting.chunks_max
        ):
            raise TooLarge
        written = []
        for index in range(chunks):
            plain = _PAIR.pack(self._next(), request_id) + body[index * room : (index + 1) * room]
            sealed = len(plain) if keys is None else keys.sealed_bytes(len(plain))
            final = b"F" if index == chunks - 1 else b"C"
            header = frames.framed(b"MSG", final, 16 + sealed) + _PAIR.pack(self.number, token.number)
            written.append(header + (plain if keys is None else keys.seal(header, plain)))
        return b"".join(written)

    @property
    def answer_bytes_max(self) -> int:
        """Longest answer this client takes; 0: no limit."""
        room = self._greeting.receive_max - 100
        by_chunks = self._greeting.chunks_max * room
        return min(filter(None, (self._greeting.message_max, by_chunks)), default=0)

    def _count(self, sequence: int) -> None:
        heard = self._heard
        if heard is not None and sequence != heard + 1 and not (heard >= _SEQUENCE_WRAPS and sequence < 1024):
            raise Broken(frames.BAD_SEQUENCE, f"its chunk {sequence} follows {heard}: one was lost, or comes again")
        self._heard = sequence

    def _next(self) -> int:
        self._said = 1 if self._said >= _SEQUENCE_WRAPS + 1000 else self._said + 1
        return self._said
