"""Is this server who it says, and do we trust it? The checks of OPC 10000-4, 6.1.3, in its order."""

import ipaddress
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from plantgate_connectors.opcua.pki import Store, thumbprints
from plantgate_connectors.opcua.protection import Flaw

_KEY_BITS_LEAST: Final = 2048
_KEY_BITS_MOST: Final = 8192
_CHAIN_MOST: Final = 8


class Refused(Exception):
    """The certificate is not good enough; the message is a clause an operator can act on."""


class Unknown(Refused):
    """Nothing is wrong with it, but nobody has trusted it yet."""


def judge(
    chain: Sequence[x509.Certificate],
    store: Store,
    *,
    application_uri: str,
    host: str | None,
    pin: str | None,
    tolerate: Collection[Flaw],
    now: int,
    peer: str = "server",
) -> None:
    """Return if the first certificate of `chain` may be trusted; raise `Refused` or `Unknown` otherwise.

    `application_uri` is what the server calls itself, `host` what we dialled (None for a client, who dialled us),
    `now` ns UTC, `peer` what messages call the other side.
    A pin replaces the trust list; the faults in `tolerate` are passed over.
    """
    leaf = chain[0]
    moment = datetime.fromtimestamp(now / 1e9, UTC)
    _strong(leaf, "the certificate")
    path, explicit = _path(chain, store, pin)
    for authority in path[1:]:
        _strong(authority, f"the authority {_name(authority)}")
        _valid(authority, moment, f"the authority {_name(authority)}", peer)
    if Flaw.VALIDITY not in tolerate:
        _valid(leaf, moment, "the certificate", peer)
    if not explicit and host is not None:
        _names_host(leaf, host)
    if Flaw.APPLICATION_URI not in tolerate:
        _names_application(leaf, application_uri)
    if Flaw.KEY_USAGE not in tolerate:
        _meant_for(leaf, peer)
    _not_revoked(path, store, moment)


def _path(chain: Sequence[x509.Certificate], store: Store, pin: str | None) -> tuple[list[x509.Certificate], bool]:
    """The chain up to its root as far as we have it; and whether the leaf itself is trusted, not only its authority."""
    leaf = chain[0]
    trusted = list(store.certificates(store.trusted))
    known = trusted + list(store.certificates(store.issuers)) + list(chain[1:])
    path = [leaf]
    while path[-1].issuer != path[-1].subject and len(path) < _CHAIN_MOST:
        issuer = next((candidate for candidate in known if _issued(path[-1], candidate)), None)
        if issuer is None or issuer in path:
            break
        path.append(issuer)
    if pin is not None:
        if pin not in thumbprints(leaf):
            raise Refused(f"its thumbprint is {thumbprints(leaf)[0]}, not the pinned {pin}")
        return path, True
    if leaf in trusted:
        if path[-1].issuer == path[-1].subject and not _issued(path[-1], path[-1]):
            raise Refused("its signature is false")
        return path, True
    if not any(authority in trusted for authority in path[1:]):
        raise Unknown("nobody has trusted it yet")
    if path[-1].issuer != path[-1].subject:
        raise Refused(
            f"its chain ends at {path[-1].issuer.rfc4514_string()}, which is not in pki/issuers or pki/trusted"
        )
    return path, False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """True if `issuer` may sign and did sign `certificate`."""
    if certificate.issuer != issuer.subject:
        return False
    if certificate != issuer and not _is_authority(issuer):
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        if not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
    except x509.ExtensionNotFound:
        return False
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _strong(certificate: x509.Certificate, who: str) -> None:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is None or isinstance(algorithm, hashes.SHA1 | hashes.MD5):
        raise Refused(
            f"{who} is signed with {algorithm.name if algorithm else 'an unknown algorithm'}; SHA-256 is the least"
        )
    key = certificate.public_key()
    if not isinstance(key, RSAPublicKey):
        raise Refused(f"{who} has no RSA key, which OPC UA's policies need")
    if not _KEY_BITS_LEAST <= key.key_size <= _KEY_BITS_MOST:
        raise Refused(
            f"{who} has a key of {key.key_size} bits; {_KEY_BITS_LEAST} is the least, {_KEY_BITS_MOST} the most"
        )


def _valid(certificate: x509.Certificate, moment: datetime, who: str, peer: str) -> None:
    if certificate.not_valid_after_utc < moment:
        raise Refused(f"{who} expired on {certificate.not_valid_after_utc:%Y-%m-%d}; renew it at the {peer}")
    if certificate.not_valid_before_utc > moment:
        raise Refused(
            f"{who} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC;"
            f" one of the clocks, the {peer}'s or this machine's, is wrong"
        )


def _names_host(leaf: x509.Certificate, host: str) -> None:
    """Only for certificates trusted through their authority: any other server of that authority could stand here."""
    names = _alternative_names(leaf)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        good = host.lower() in (name.lower() for name in names.get_values_for_type(x509.DNSName))
    else:
        good = address in names.get_values_for_type(x509.IPAddress)
    if not good:
        raise Refused(f"it is not made out to {host}; use a host it names, or put it into pki/trusted itself")


def _names_application(leaf: x509.Certificate, application_uri: str) -> None:
    uris = _alternative_names(leaf).get_values_for_type(x509.UniformResourceIdentifier)
    if application_uri not in uris:
        raise Refused(
            f"it is made out to {', '.join(uris) or 'no application'}, but the server calls itself {application_uri}"
        )


def _alternative_names(leaf: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _meant_for(leaf: x509.Certificate, peer: str) -> None:
    try:
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    self_signed = leaf.issuer == leaf.subject
    if constraints is not None and constraints.ca and (not self_signed or (usage is not None and usage.crl_sign)):
        raise Refused(f"it is an authority's certificate, not a {peer}'s")
    if usage is not None and not (usage.digital_signature and usage.key_encipherment):
        raise Refused("its key usage does not allow signing and encryption")


def _not_revoked(path: Sequence[x509.Certificate], store: Store, moment: datetime) -> None:
    try:
        lists = list(store.revocation_lists())
    except ValueError as error:
        raise Refused(f"a file in {store.crl} is not a revocation list: {error}") from error
    for certificate, issuer in zip(path, [*path[1:], path[-1]], strict=True):
        for revocations in lists:
            if revocations.issuer != certificate.issuer:
                continue
            key = issuer.public_key()
            if not isinstance(key, RSAPublicKey) or not revocations.is_signature_valid(key):
                raise Refused(f"a revocation list of {certificate.issuer.rfc4514_string()} has a false signature")
            if revocations.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                raise Refused(
                    "it has been revoked" if certificate is path[0] else f"{_name(certificate)} has been revoked"
                )
            following = revocations.next_update_utc
            if following is not None and following < moment:
                raise Refused(
                    f"the revocation list of {certificate.issuer.rfc4514_string()} ran out on {following:%Y-%m-%d};"
                    " put a newer one into pki/crl"
                )


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string()
