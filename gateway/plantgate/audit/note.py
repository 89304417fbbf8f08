"""Signed notes: a text and signatures under it, as a file a person can read.

Source: c2sp.org/signed-note v1.0.0 and c2sp.org/tlog-cosignature v1.0.1. Only Ed25519: type 1 (signs the text) and
type 4 (a witness' cosignature, which signs a time and the text).

Strict where the verifiers of others are lenient: base64 must be canonical, since otherwise several files would be
"the same" note, and a flipped bit could go unnoticed.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

ED25519: Final = 1
COSIGNATURE: Final = 4
NOTE_BYTES_MAX: Final = 64 * 1024
SIGNATURES_MAX: Final = 100

_NAME: Final = re.compile(r"[^\s+\x00-\x1f\x7f]+")
_LINE: Final = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


class BadNote(ValueError):
    """A note, a key or a signature is not what its format says; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One line under a note."""

    name: str
    key_id: bytes
    """Four bytes; with the name it says which key."""
    content: bytes

    def __str__(self) -> str:
        return f"\u2014 {self.name} {base64.b64encode(self.key_id + self.content).decode()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text that ends with a line end, and the signatures as they stand."""

    text: str
    signatures: tuple[Signature, ...]

    def __bytes__(self) -> bytes:
        return "".join((self.text, "\n", *(f"{signature}\n" for signature in self.signatures))).encode()

    @classmethod
    def parse(cls, content: bytes) -> "Note":
        """Raises `BadNote`."""
        if len(content) > NOTE_BYTES_MAX:
            raise BadNote(f"a note of {len(content)} bytes; {NOTE_BYTES_MAX} are the most")
        try:
            written = content.decode()
        except UnicodeDecodeError:
            raise BadNote("not UTF-8") from None
        if any(letter < " " and letter != "\n" for letter in written):
            raise BadNote("a control character")
        text, blank, below = written.rpartition("\n\n")
        if not blank or not text or not below.endswith("\n"):
            raise BadNote("no signatures below an empty line")
        lines = below[:-1].split("\n")
        if len(lines) > SIGNATURES_MAX:
            raise BadNote(f"{len(lines)} signatures; {SIGNATURES_MAX} are the most")
        return cls(text + "\n", tuple(_signature(line) for line in lines))

    def signed(self, *signatures: Signature) -> "Note":
        """With these signatures below those that are there already."""
        return Note(self.text, (*self.signatures, *(each for each in signatures if each not in self.signatures)))


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name: ``name+keyid+key``, a *vkey*."""

    name: str
    kind: int
    """`ED25519` or `COSIGNATURE`."""
    key: bytes
    """32 bytes."""

    @property
    def key_id(self) -> bytes:
        """Four bytes that follow from name, kind and key."""
        return sha256(self.name.encode() + b"\n" + bytes((self.kind,)) + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes((self.kind,)) + self.key).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> "Verifier":
        """Raises `BadNote`."""
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        key = unbase64(encoded, "the key of a vkey")
        if not _NAME.fullmatch(name):
            raise BadNote(f"{name!r} is no name for a key")
        if len(key) != 33 or key[0] not in (ED25519, COSIGNATURE):
            raise BadNote(f"{name}: not an Ed25519 key")
        made = cls(name, key[0], key[1:])
        if made.key_id.hex() != key_id:
            raise BadNote(f"{name}: the key id is {made.key_id.hex()}, not {key_id}")
        return made

    def made(self, signature: Signature) -> bool:
        """Whether the line claims to be by this key."""
        return signature.name == self.name and signature.key_id == self.key_id

    def check(self, text: str, signature: Signature) -> int | None:
        """The time of a cosignature (seconds since 1970), None for a plain one. Raises `BadNote` if it is not good."""
        content, seconds = signature.content, None
        signed = text.encode()
        if self.kind == COSIGNATURE:
            seconds, content = int.from_bytes(content[:8], "big"), content[8:]
            signed = _cosigned(text, seconds)
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(content, signed)
        except InvalidSignature:
            raise BadNote(f"the signature of {self.name} is not good") from None
        return seconds


class Signer:
    """A private key with its name."""

    def __init__(self, name: str, seed: bytes, kind: int = ED25519) -> None:
        if not _NAME.fullmatch(name):
            raise BadNote(f"{name!r} is no name for a key: no spaces, no plus sign")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.verifier = Verifier(name, kind, public)

    @classmethod
    def make(cls, name: str, kind: int = ED25519) -> "Signer":
        """With a new key."""
        key = Ed25519PrivateKey.generate()
        return cls(name, key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()), kind)

    @classmethod
    def parse(cls, written: str) -> "Signer":
        """From ``PRIVATE+KEY+name+keyid+key``, as Go's note package writes it. Raises `BadNote`."""
        if not written.startswith("PRIVATE+KEY+"):
            raise BadNote("not a private key: it does not begin with PRIVATE+KEY+")
        name, _, rest = written.removeprefix("PRIVATE+KEY+").partition("+")
        key_id, _, encoded = rest.partition("+")
        key = unbase64(encoded.strip(), "the private key")
        if len(key) != 33 or key[0] not in (ED25519, COSIGNATURE):
            raise BadNote(f"{name}: not an Ed25519 key")
        signer = cls(name, key[1:], key[0])
        if signer.verifier.key_id.hex() != key_id:
            raise BadNote(f"{name}: the key id is {signer.verifier.key_id.hex()}, not {key_id}")
        return signer

    def private(self) -> str:
        """The private key as text; keep it where only its owner reads."""
        seed = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        encoded = base64.b64encode(bytes((self.verifier.kind,)) + seed).decode()
        return f"PRIVATE+KEY+{self.verifier.name}+{self.verifier.key_id.hex()}+{encoded}"

    def sign(self, text: str, *, seconds: int = 0) -> Signature:
        """A signature for a note's text; a witness' key also signs `seconds` since 1970."""
        verifier = self.verifier
        if verifier.kind == COSIGNATURE:
            content = seconds.to_bytes(8, "big") + self._key.sign(_cosigned(text, seconds))
        else:
            content = self._key.sign(text.encode())
        return Signature(verifier.name, verifier.key_id, content)


def check_note(note: Note, verifiers: Sequence[Verifier]) -> dict[Verifier, int | None]:
    """Who of these has signed, each with the time of its cosignature.

    A signature by another key says nothing. One that claims to be by a known key and is not good condemns the note:
    raises `BadNote`, as it does where a known key stands twice.
    """
    found: dict[Verifier, int | None] = {}
    for signature in note.signatures:
        for verifier in verifiers:
            if verifier.made(signature):
                if verifier in found:
                    raise BadNote(f"{verifier.name} has signed twice")
                found[verifier] = verifier.check(note.text, signature)
    return found


def unbase64(encoded: str, what: str) -> bytes:
    """Decode canonical base64. Raises `BadNote`."""
    try:
        content = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise BadNote(f"{what} is not base64") from None
    if base64.b64encode(content).decode() != encoded:
        raise BadNote(f"{what} is not canonical base64")
    return content


def _signature(line: str) -> Signature:
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadNote(f"not a signature: {line[:80]!r}")
    content = unbase64(match[2], f"the signature of {match[1]}")
    if len(content) < 5:
        raise BadNote(f"the signature of {match[1]} is too short")
    return Signature(match[1], content[:4], content[4:])


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
