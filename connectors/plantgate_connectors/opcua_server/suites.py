"""The cryptography of OPC UA's security policies: what is signed and encrypted with what.

Written here and not borrowed from asyncua (2.1), whose server compares signatures byte by byte until one differs,
trusts the padding of what it decrypts, and keeps one previous key for all channels' renewals.
Format: OPC 10000-6, 6.7; algorithms: OPC 10000-7, 6.6.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_BASE: Final = "http://opcfoundation.org/UA/SecurityPolicy#"
NONE_URI: Final = f"{_BASE}None"
NONCE_BYTES: Final = 32
SIGNATURE_BYTES: Final = 32
_BLOCK: Final = 16


class Forged(Exception):
    """A signature, a padding or a block that is not what it should be; says no more, and nor do we."""


@dataclass(frozen=True, slots=True)
class Suite:
    """One security policy."""

    name: str
    key_bytes: int
    """Of the symmetric key."""
    encryption_uri: str
    signature_uri: str
    oaep: type[hashes.HashAlgorithm]
    pss: bool

    @property
    def uri(self) -> str:
        """How the policy is named on the wire."""
        return _BASE + self.name

    def sign(self, key: RSAPrivateKey, message: bytes) -> bytes:
        """Asymmetric signature."""
        return key.sign(message, self._signing(), hashes.SHA256())

    def verify(self, key: RSAPublicKey, message: bytes, signature: bytes) -> None:
        """Raises `Forged`."""
        try:
            key.verify(signature, message, self._signing(), hashes.SHA256())
        except InvalidSignature:
            raise Forged from None

    def encrypt(self, key: RSAPublicKey, plain: bytes) -> bytes:
        """Block by block; `plain` fits."""
        step = self.plain_block(key)
        return b"".join(key.encrypt(plain[at : at + step], self._hiding()) for at in range(0, len(plain), step))

    def decrypt(self, key: RSAPrivateKey, secret: bytes) -> bytes:
        """Raises `Forged`."""
        step = key.key_size // 8
        if not secret or len(secret) % step or len(secret) > 16 * step:
            raise Forged
        try:
            return b"".join(key.decrypt(secret[at : at + step], self._hiding()) for at in range(0, len(secret), step))
        except ValueError:
            raise Forged from None

    def plain_block(self, key: RSAPublicKey) -> int:
        """Bytes that one block of the key hides."""
        return key.key_size // 8 - 2 * self.oaep().digest_size - 2

    def _signing(self) -> padding.AsymmetricPadding:
        if self.pss:
            return padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return padding.PKCS1v15()

    def _hiding(self) -> padding.OAEP:
        return padding.OAEP(padding.MGF1(self.oaep()), self.oaep(), None)


_OAEP: Final = "http://www.w3.org/2001/04/xmlenc#rsa-oaep"
_RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
SUITES: Final = (
    Suite("Aes256_Sha256_RsaPss", 32, "http://opcfoundation.org/UA/security/rsa-oaep-sha2-256",
          "http://opcfoundation.org/UA/security/rsa-pss-sha2-256", hashes.SHA256, True),
    Suite("Aes128_Sha256_RsaOaep", 16, _OAEP, _RSA_SHA256, hashes.SHA1, False),
    Suite("Basic256Sha256", 32, _OAEP, _RSA_SHA256, hashes.SHA1, False),
)  # fmt: skip
"""Strongest first. Basic128Rsa15 and Basic256 are broken or deprecated and left out."""
BY_URI: Final = {suite.uri: suite for suite in SUITES}


class Keys:
    """One direction of one token: signs and, where the mode says so, encrypts."""

    __slots__ = ("_cipher", "_signing")

    def __init__(self, suite: Suite, secret: bytes, seed: bytes, *, encrypts: bool) -> None:
        derived = _p_sha256(secret, seed, 32 + suite.key_bytes + _BLOCK)
        self._signing = derived[:32]
        key, vector = derived[32 : 32 + suite.key_bytes], derived[32 + suite.key_bytes :]
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(vector)) if encrypts else None

    def sealed_bytes(self, plain_bytes: int) -> int:
        """How long `seal` makes so many bytes."""
        if self._cipher is None:
            return plain_bytes + SIGNATURE_BYTES
        return (plain_bytes + 1 + SIGNATURE_BYTES + _BLOCK - 1) // _BLOCK * _BLOCK

    def seal(self, header: bytes, plain: bytes) -> bytes:
        """What stands behind the header on the wire."""
        if self._cipher is not None:
            fill = -(len(plain) + 1 + SIGNATURE_BYTES) % _BLOCK
            plain += bytes((fill,)) * (fill + 1)
        sealed = plain + hmac.digest(self._signing, header + plain, hashlib.sha256)
        if self._cipher is None:
            return sealed
        encryptor = self._cipher.encryptor()
        return encryptor.update(sealed) + encryptor.finalize()

    def open(self, header: bytes, sealed: bytes) -> bytes:
        """The plain bytes; raises `Forged`."""
        if self._cipher is not None:
            if len(sealed) % _BLOCK:
                raise Forged
            decryptor = self._cipher.decryptor()
            sealed = decryptor.update(sealed) + decryptor.finalize()
        if len(sealed) < SIGNATURE_BYTES:
            raise Forged
        plain, signature = sealed[:-SIGNATURE_BYTES], sealed[-SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, hmac.digest(self._signing, header + plain, hashlib.sha256)):
            raise Forged
        return plain if self._cipher is None else unpadded(plain, wide=False)


def unpadded(plain: bytes, *, wide: bool) -> bytes:
    """Without the padding, whose size stands at its end, in two bytes if `wide`; raises `Forged`."""
    if len(plain) < 2:
        raise Forged
    size = plain[-2] + 256 * plain[-1] + 2 if wide else plain[-1] + 1
    if size > len(plain):
        raise Forged
    return plain[:-size]


def padding_for(length: int, block: int, *, wide: bool) -> bytes:
    """What to append to `length` bytes, signature counted, so that they fill blocks."""
    fill = -(length + (2 if wide else 1)) % block
    written = bytes((fill & 0xFF,)) * (fill + 1)
    return written + struct.pack("<B", fill >> 8) if wide else written


def _p_sha256(secret: bytes, seed: bytes, length: int) -> bytes:
    """P_SHA256 of RFC 5246, 5."""
    made, link = b"", seed
    while len(made) < length:
        link = hmac.digest(secret, link, hashlib.sha256)
        made += hmac.digest(secret, link + seed, hashlib.sha256)
    return made[:length]
