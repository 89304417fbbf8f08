"""Decides who may log in, and slows down those who guess."""

import asyncio
import hmac
import struct
from dataclasses import dataclass
from typing import Final

from asyncua import ua
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from plantgate.sdk import Context, Unavailable
from plantgate_connectors.opcua.pki import der, split_chain, thumbprints
from plantgate_connectors.opcua_server import suites
from plantgate_connectors.opcua_server.channel import Terms
from plantgate_connectors.opcua_server.door import Door
from plantgate_connectors.opcua_server.fault import Fault
from plantgate_connectors.opcua_server.settings import Login

INVALID: Final = 0x8020_0000
"""BadIdentityTokenInvalid."""
REJECTED: Final = 0x8021_0000
"""BadIdentityTokenRejected."""
DENIED: Final = 0x801F_0000
"""BadUserAccessDenied."""
BAD_SIGNATURE: Final = 0x8057_0000
"""BadUserSignatureInvalid."""

FAILURE_SECONDS: Final = 1.0
"""A failed login is answered so late: guessing costs time, and tells nothing by how long it took."""
_ADDRESSES_MOST: Final = 10_000
_PASSWORD_BYTES_MOST: Final = 1024

ANONYMOUS: Final = "anonymous"
USER_NAME: Final = "user_name"
CERTIFICATE: Final = "certificate"
"""Policy ids; those with cryptography are followed by ":" and the policy's name."""


@dataclass(slots=True)
class _Failed:
    count: int = 0
    until: float = 0.0


class Users:
    """Checks identity tokens."""

    def __init__(self, login: Login, context: Context, door: Door, terms: Terms) -> None:
        self._login = login
        self._context = context
        self._door = door
        self._terms = terms
        self._failed: dict[str, _Failed] = {}

    def policies(self, suite: suites.Suite) -> list[ua.UserTokenPolicy]:
        """What an endpoint offers; secrets are encrypted by themselves, whatever the channel is."""
        offered = []
        if self._login.users:
            offered.append(_policy(USER_NAME, ua.UserTokenType.UserName, suite))
        if self._login.certificates:
            offered.append(_policy(CERTIFICATE, ua.UserTokenType.Certificate, suite))
        if self._login.anonymous:
            offered.append(ua.UserTokenPolicy(PolicyId=ANONYMOUS, TokenType=ua.UserTokenType.Anonymous))
        return offered

    async def identify(self, token: object, signature: ua.SignatureData | None, nonce: bytes, address: str) -> str:
        """Who this is; raises `Fault`."""
        failed = self._failed.get(address)
        now = asyncio.get_running_loop().time()
        if failed is not None and failed.until > now:
            self._context.standing.count("logins_refused")
            raise Fault(DENIED)
        try:
            found = await self._known(token, signature, nonce)
        except Fault:
            self._count(address)
            await asyncio.sleep(FAILURE_SECONDS)
            raise
        self._failed.pop(address, None)
        return found

    async def _known(self, token: object, signature: ua.SignatureData | None, nonce: bytes) -> str:
        match token:
            case ua.UserNameIdentityToken():
                return self._named(token, nonce)
            case ua.X509IdentityToken():
                return await self._certified(token, signature, nonce)
            case ua.AnonymousIdentityToken() | None if self._login.anonymous:
                return ANONYMOUS
            case ua.ExtensionObject() if token.TypeId == ua.NodeId() and self._login.anonymous:
                return ANONYMOUS
        raise Fault(REJECTED)

    def _named(self, token: ua.UserNameIdentityToken, nonce: bytes) -> str:
        suite = _suite(token.PolicyId, USER_NAME)
        if not self._login.users or token.EncryptionAlgorithm != suite.encryption_uri:
            raise Fault(INVALID)
        try:
            plain = suite.decrypt(self._terms.identity.key, bytes(token.Password or b""))
        except suites.Forged:
            raise Fault(INVALID) from None
        (length,) = struct.unpack_from("<I", plain) if len(plain) >= 4 else (0,)
        secret = plain[4 : 4 + length]
        if not len(nonce) <= length <= _PASSWORD_BYTES_MOST or length != len(secret):
            raise Fault(INVALID)
        password, echoed = secret[: length - len(nonce)], secret[length - len(nonce) :]
        if not hmac.compare_digest(echoed, nonce):
            raise Fault(INVALID)  # a token heard earlier and played again
        user = next((each for each in self._login.users if each.name == token.UserName), None)
        try:
            expected = (user or self._login.users[0]).password.reveal().encode()
        except Unavailable as error:
            self._context.log.error(f"nobody can log in by password: {error}")
            raise Fault(DENIED) from error
        if not hmac.compare_digest(password, expected) or user is None:
            raise Fault(DENIED)
        return f"user {user.name}"

    async def _certified(self, token: ua.X509IdentityToken, signature: ua.SignatureData | None, nonce: bytes) -> str:
        suite = _suite(token.PolicyId, CERTIFICATE)
        if not self._login.certificates or signature is None or signature.Algorithm != suite.signature_uri:
            raise Fault(INVALID)
        try:
            chain = split_chain(bytes(token.CertificateData or b""))
        except ValueError:
            raise Fault(INVALID) from None
        if not await self._door.admits_user(chain):
            raise Fault(REJECTED)
        key = chain[0].public_key()
        assert isinstance(key, RSAPublicKey), "the door takes no other"
        try:
            suite.verify(key, der(self._terms.identity.certificate) + nonce, bytes(signature.Signature or b""))
        except suites.Forged:
            raise Fault(BAD_SIGNATURE) from None
        return f"certificate {thumbprints(chain[0])[0]}"

    def _count(self, address: str) -> None:
        if len(self._failed) >= _ADDRESSES_MOST:
            self._failed.pop(next(iter(self._failed)))
        failed = self._failed.setdefault(address, _Failed())
        failed.count += 1
        self._context.standing.count("logins_failed")
        if failed.count >= self._login.failures_max:
            failed.count = 0
            failed.until = asyncio.get_running_loop().time() + self._login.lockout_seconds
            self._context.log.warning(
                f"{self._login.failures_max} logins in a row have failed;"
                f" the address is refused for {self._login.lockout_seconds:g} s",
                address=address,
            )


def _policy(kind: str, token: ua.UserTokenType, suite: suites.Suite) -> ua.UserTokenPolicy:
    return ua.UserTokenPolicy(PolicyId=f"{kind}:{suite.name}", TokenType=token, SecurityPolicyUri=suite.uri)


def _suite(policy_id: str | None, kind: str) -> suites.Suite:
    prefix, _, name = (policy_id or "").partition(":")
    found = next((suite for suite in suites.SUITES if suite.name == name), None)
    if prefix != kind or found is None:
        raise Fault(INVALID)
    return found
