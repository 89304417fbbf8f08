"""Chooses an endpoint and a way to log in from what a server offers; never less than was asked for."""

from collections.abc import Iterable, Sequence
from typing import Final

from asyncua import ua
from asyncua.crypto.security_policies import (
    SecurityPolicy,
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
    SecurityPolicyNone,
)

from plantgate_connectors.opcua.protection import Mode, Policy, Security, User

_CLASSES: Final[dict[Policy, type[SecurityPolicy]]] = {
    Policy.AES256_SHA256_RSAPSS: SecurityPolicyAes256Sha256RsaPss,
    Policy.AES128_SHA256_RSAOAEP: SecurityPolicyAes128Sha256RsaOaep,
    Policy.BASIC256SHA256: SecurityPolicyBasic256Sha256,
    Policy.NONE: SecurityPolicyNone,
}
"""Strongest first. Basic128Rsa15 and Basic256 are left out: broken or deprecated (OPC 10000-7)."""
_SECURE: Final = tuple(policy for policy in _CLASSES if policy is not Policy.NONE)
_MODES: Final = {
    Mode.SIGN: ua.MessageSecurityMode.Sign,
    Mode.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt,
}
_TOKENS: Final = {
    ua.UserTokenType.Anonymous: "anonymous",
    ua.UserTokenType.UserName: "user name",
    ua.UserTokenType.Certificate: "certificate",
    ua.UserTokenType.IssuedToken: "issued token",
}


class NotOffered(Exception):
    """The server does not offer what was asked for; the message says what it does offer."""


def choose(endpoints: Sequence[ua.EndpointDescription], wanted: Security) -> tuple[Policy, ua.EndpointDescription]:
    """The endpoint to use; raises `NotOffered` rather than taking a weaker one."""
    by_security = {
        (endpoint.SecurityPolicyUri, endpoint.SecurityMode): endpoint
        for endpoint in endpoints
        if (endpoint.EndpointUrl or "").startswith("opc.tcp")
    }
    candidates = _SECURE if wanted.policy is Policy.BEST else (wanted.policy,)
    for policy in candidates:
        mode = ua.MessageSecurityMode.None_ if policy is Policy.NONE else _MODES[wanted.mode]
        if endpoint := by_security.get((_CLASSES[policy].URI, mode)):
            return policy, endpoint
    asked = "None" if wanted.policy is Policy.NONE else f"{wanted.policy.value} with {wanted.mode.value}"
    raise NotOffered(f"asked for security {asked}, but the server offers only {offered(endpoints)}")


def offered(endpoints: Iterable[ua.EndpointDescription]) -> str:
    """``Basic256Sha256/SignAndEncrypt, None``."""
    names = {
        (endpoint.SecurityPolicyUri or "").rpartition("#")[2]
        + ("" if endpoint.SecurityMode == ua.MessageSecurityMode.None_ else f"/{endpoint.SecurityMode.name}")
        for endpoint in endpoints
    }
    return ", ".join(sorted(names)) or "nothing"


def policy_class(policy: Policy) -> type[SecurityPolicy]:
    """asyncua's implementation of a policy."""
    return _CLASSES[policy]


def mode_of(endpoint: ua.EndpointDescription) -> ua.MessageSecurityMode:
    """The endpoint's mode."""
    return ua.MessageSecurityMode(endpoint.SecurityMode)


def user_token(user: User | None) -> ua.UserTokenType:
    """What kind of token this user logs in with."""
    if user is None:
        return ua.UserTokenType.Anonymous
    return ua.UserTokenType.UserName if user.name is not None else ua.UserTokenType.Certificate


def choose_token(
    offers: Sequence[ua.UserTokenPolicy], kind: ua.UserTokenType, endpoint_policy_uri: str
) -> ua.UserTokenPolicy:
    """The strongest offered token policy of a kind, with its security policy filled in from the endpoint's.

    asyncua takes the first, whatever it is. Token policies that need broken cryptography are passed over.
    Raises `NotOffered`.
    """
    best: tuple[int, ua.UserTokenPolicy] | None = None
    rank = {_CLASSES[policy].URI: index for index, policy in enumerate(_CLASSES)}
    for offer in offers:
        if offer.TokenType != kind:
            continue
        uri = offer.SecurityPolicyUri or endpoint_policy_uri
        if uri in rank and (best is None or rank[uri] < best[0]):
            filled = ua.UserTokenPolicy(offer.PolicyId, offer.TokenType, SecurityPolicyUri=uri)
            best = (rank[uri], filled)
    if best is None:
        kinds = sorted({_TOKENS.get(offer.TokenType, str(offer.TokenType)) for offer in offers})
        raise NotOffered(
            f"asked to log in by {_TOKENS[kind]}, but the server offers only {', '.join(kinds) or 'nothing'}"
        )
    return best[1]


def in_clear(token: ua.UserTokenPolicy) -> bool:
    """True if a password sent under this token policy is not encrypted by itself."""
    return bool(token.SecurityPolicyUri == SecurityPolicyNone.URI)
