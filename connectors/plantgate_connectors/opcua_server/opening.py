"""Seals and unseals the messages that open a channel: signed by one side's key, encrypted for the other's.

Format: OPC 10000-6, 6.7.2.3 (asymmetric security header) and 6.7.2.5 (padding).
"""

import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from plantgate_connectors.opcua.pki import Identity, der
from plantgate_connectors.opcua_server import frames, suites
from plantgate_connectors.opcua_server.frames import Broken

_WIDE_BITS = 2048
"""A longer key has blocks of more than 256 bytes, whose padding is counted in two."""


def unsealed(suite: suites.Suite, mine: RSAPrivateKey, theirs: RSAPublicKey, header: bytes, sealed: bytes) -> bytes:
    """Sequence header and request of an OPN; raises `Broken`."""
    size = theirs.key_size // 8
    try:
        opened = suite.decrypt(mine, sealed)
        if len(opened) <= size:
            raise suites.Forged
        opened, signature = opened[:-size], opened[-size:]
        suite.verify(theirs, header + opened, signature)
        return suites.unpadded(opened, wide=mine.key_size > _WIDE_BITS)
    except suites.Forged:
        raise Broken(frames.BAD_SECURITY_CHECKS, "its request for a channel is not signed rightly") from None


def sealed(suite: suites.Suite, identity: Identity, client: x509.Certificate, channel: int, plain: bytes) -> bytes:
    """The whole OPN chunk of an answer."""
    theirs = client.public_key()
    assert isinstance(theirs, RSAPublicKey), "the door takes no other"
    thumbprint = client.fingerprint(hashes.SHA1())  # noqa: S303  how OPC UA names certificates; protects nothing
    security = (
        _named(channel, suite.uri) + frames.byte_string(der(identity.certificate)) + frames.byte_string(thumbprint)
    )
    block, signature_size = suite.plain_block(theirs), identity.key.key_size // 8
    plain += suites.padding_for(len(plain) + signature_size, block, wide=theirs.key_size > _WIDE_BITS)
    size = (len(plain) + signature_size) // block * (theirs.key_size // 8)
    header = frames.framed(b"OPN", b"F", 8 + len(security) + size) + security
    return header + suite.encrypt(theirs, plain + suite.sign(identity.key, header + plain))


def plain(channel: int, content: bytes) -> bytes:
    """The same on a channel without security."""
    security = _named(channel, suites.NONE_URI) + frames.byte_string(b"") * 2
    return frames.framed(b"OPN", b"F", 8 + len(security) + len(content)) + security + content


def _named(channel: int, uri: str) -> bytes:
    return struct.pack("<I", channel) + frames.byte_string(uri.encode())
