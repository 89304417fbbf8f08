"""The endpoint taken is what was asked for, or none (catalogue row 34)."""

import pytest
from asyncua import ua
from asyncua.crypto.security_policies import (
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic128Rsa15,
    SecurityPolicyBasic256Sha256,
    SecurityPolicyNone,
)

from plantgate_connectors.opcua.endpoints import NotOffered, choose, choose_token, in_clear, offered
from plantgate_connectors.opcua.protection import Mode, Policy, Security

ENCRYPT, SIGN, OPEN = (
    ua.MessageSecurityMode.SignAndEncrypt,
    ua.MessageSecurityMode.Sign,
    ua.MessageSecurityMode.None_,
)


def endpoint(policy: str, mode: ua.MessageSecurityMode) -> ua.EndpointDescription:
    return ua.EndpointDescription(
        EndpointUrl="opc.tcp://press:4840",
        SecurityPolicyUri=f"http://opcfoundation.org/UA/SecurityPolicy#{policy}",
        SecurityMode=mode,
    )


ALL = [
    endpoint("None", OPEN),
    endpoint("Basic128Rsa15", ENCRYPT),
    endpoint("Basic256Sha256", SIGN),
    endpoint("Basic256Sha256", ENCRYPT),
    endpoint("Aes128_Sha256_RsaOaep", ENCRYPT),
    endpoint("Aes256_Sha256_RsaPss", ENCRYPT),
]


def test_the_best_is_the_strongest_whatever_the_order() -> None:
    assert choose(ALL, Security())[0] is Policy.AES256_SHA256_RSAPSS
    assert choose(ALL[::-1], Security())[0] is Policy.AES256_SHA256_RSAPSS
    assert choose(ALL[:4], Security())[0] is Policy.BASIC256SHA256


def test_a_named_policy_and_mode_are_taken_exactly() -> None:
    policy, chosen = choose(ALL, Security(policy=Policy.BASIC256SHA256, mode=Mode.SIGN))
    assert (policy, chosen.SecurityMode) == (Policy.BASIC256SHA256, SIGN)


def test_none_is_taken_only_when_asked_for() -> None:
    assert choose(ALL, Security(policy=Policy.NONE))[1].SecurityMode == OPEN
    for offers in ([endpoint("None", OPEN)], [endpoint("None", OPEN), endpoint("Basic128Rsa15", ENCRYPT)], []):
        with pytest.raises(NotOffered, match="offers only"):
            choose(offers, Security())


def test_no_stronger_or_weaker_one_stands_in_for_a_named_one() -> None:
    offers = [endpoint("Aes256_Sha256_RsaPss", ENCRYPT), endpoint("Basic256Sha256", SIGN)]
    with pytest.raises(NotOffered, match="Aes256_Sha256_RsaPss/SignAndEncrypt, Basic256Sha256/Sign"):
        choose(offers, Security(policy=Policy.BASIC256SHA256))
    with pytest.raises(NotOffered, match="asked for security None"):
        choose(offers, Security(policy=Policy.NONE))


def test_endpoints_of_other_transports_do_not_count() -> None:
    web = endpoint("Basic256Sha256", ENCRYPT)
    web.EndpointUrl = "https://press:443"
    with pytest.raises(NotOffered):
        choose([web], Security())
    assert offered([]) == "nothing"


def token(kind: ua.UserTokenType, policy: str | None, name: str) -> ua.UserTokenPolicy:
    return ua.UserTokenPolicy(PolicyId=name, TokenType=kind, SecurityPolicyUri=policy)


USER = ua.UserTokenType.UserName


def test_the_strongest_way_to_log_in_is_taken_not_the_first() -> None:
    offers = [
        token(ua.UserTokenType.Anonymous, None, "anonymous"),
        token(USER, SecurityPolicyNone.URI, "clear"),
        token(USER, SecurityPolicyBasic128Rsa15.URI, "broken"),
        token(USER, SecurityPolicyBasic256Sha256.URI, "good"),
    ]
    assert choose_token(offers, USER, SecurityPolicyNone.URI).PolicyId == "good"
    assert choose_token(offers[:3], USER, SecurityPolicyNone.URI).PolicyId == "clear"
    assert in_clear(choose_token(offers[:3], USER, SecurityPolicyNone.URI))


def test_a_token_policy_without_its_own_security_has_the_endpoints() -> None:
    [offer] = [token(USER, None, "default")]
    chosen = choose_token([offer], USER, SecurityPolicyAes256Sha256RsaPss.URI)
    assert chosen.SecurityPolicyUri == SecurityPolicyAes256Sha256RsaPss.URI
    assert not in_clear(chosen)


def test_what_the_server_offers_instead_is_said() -> None:
    offers = [token(ua.UserTokenType.Anonymous, None, "a"), token(ua.UserTokenType.Certificate, None, "c")]
    with pytest.raises(NotOffered, match="by user name, but the server offers only anonymous, certificate"):
        choose_token(offers, USER, SecurityPolicyBasic256Sha256.URI)
    with pytest.raises(NotOffered):
        choose_token([token(USER, SecurityPolicyBasic128Rsa15.URI, "broken")], USER, SecurityPolicyNone.URI)
