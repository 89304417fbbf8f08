"""What an entry must not say: names, prompts, pictures. Kept apart, encrypted, erasable one subject at a time.

The log holds ``SHA-256(salt || content)`` with a salt of 32 random bytes, so that nobody can guess what it stands for;
the vault holds salt and content, encrypted with the key of whom it is about (AES-256-GCM). Where that key is gone the
commitment says nothing any more, and every proof, root and receipt is what it was.

A file for each payload, named by its commitment and its subject. Blocking; one thread at a time.
"""

import os
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from plantgate.audit.entry import Payload
from plantgate.audit.vault_keys import NONCE_BYTES, VaultDamaged, VaultKeys, read_keys
from plantgate.sdk.errors import Rejected
from plantgate.store.disk import Disk, Lock, Open, OsDisk, replace_file

CONTENT_BYTES_MAX: Final = 64 * 2**20
_SALT_BYTES: Final = 32
_PREFIX: Final = "sha256:"
_ROWS: Final = "payloads"
_UNFINISHED: Final = ".new"
_SUBJECT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_-]{0,63}")
_COMMITMENT: Final = re.compile(r"sha256:[0-9a-f]{64}")


class Erased(Exception):
    """The payload is not there: its subject was erased, or this is another vault."""


@dataclass(frozen=True, slots=True)
class Disclosed:
    """A payload's content, and the salt with which anybody can check it against the log."""

    salt: bytes
    content: bytes

    @property
    def commitment(self) -> str:
        """What the log must say."""
        return _PREFIX + sha256(self.salt + self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Promised:
    """What an entry may say already, while the content is still on its way into the vault."""

    payload: Payload
    disclosed: Disclosed


def promised(name: str, content: bytes) -> Promised:
    """Touches no disk. `name` says what it is: prompt, picture, signature. Raises `Rejected`."""
    if len(content) > CONTENT_BYTES_MAX:
        raise Rejected(f"{name}: a payload of {len(content)} bytes; {CONTENT_BYTES_MAX} are the most")
    disclosed = Disclosed(os.urandom(_SALT_BYTES), content)
    return Promised(Payload(name=name, commitment=disclosed.commitment, size=len(content)), disclosed)


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A payload's file: MessagePack."""

    nonce: bytes
    content: bytes


def new_subject() -> str:
    """An id that stands for somebody and says nothing about them."""
    return f"s:{secrets.token_hex(8)}"


class Vault:
    """Open it with `Vault.open`; close it, or use it in a ``with`` block."""

    def __init__(self, folder: Path, keys: VaultKeys, disk: Disk, lock: Lock) -> None:
        self._rows = folder / _ROWS
        self._keys = keys
        self._disk = disk
        self._lock = lock
        self._subjects: dict[str, str] = {}
        """Of each payload, by its commitment."""

    @classmethod
    def open(cls, folder: Path, wrapping: Path, *, disk: Disk | None = None) -> Self:
        """Made if it is not there. `wrapping` is a folder for the wrapping key: on another disk, and in no backup.

        An erasure that was cut short is ended. Raises `InUse`, `VaultDamaged`, `OSError`.
        """
        disk = disk or OsDisk()
        disk.make_directory(folder)
        lock = disk.lock(folder)
        try:
            disk.make_directory(folder / _ROWS)
            keys = VaultKeys.open(folder, wrapping, disk, new=not _subjects(folder / _ROWS, disk))
            vault = cls(folder, keys, disk, lock)
            vault._clear()
        except BaseException:
            lock.release()
            raise
        return vault

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.release()

    def put(self, subject: str, name: str, content: bytes) -> Payload:
        """Durable on return; what to write into the entry. Raises `Rejected`, `OSError`."""
        promise = promised(name, content)
        self.keep(subject, promise)
        return promise.payload

    def keep(self, subject: str, promise: Promised) -> None:
        """Durable on return. Raises `Rejected`, `OSError`."""
        if not _SUBJECT.fullmatch(subject):
            raise Rejected(f"{subject!r} is no id of a subject: letters, digits and :_- are, 64 at most")
        key = self._keys.make(subject)
        commitment, nonce = promise.payload.commitment, os.urandom(NONCE_BYTES)
        opened = promise.disclosed.salt + promise.disclosed.content
        sealed = AESGCM(key).encrypt(nonce, opened, _about(subject, commitment))
        replace_file(
            self._disk, self._rows / _file(commitment, subject), msgspec.msgpack.encode(_Sealed(nonce, sealed))
        )
        self._subjects[commitment] = subject

    def bytes_used(self) -> int:
        """Of all payloads on the disk; looks at each file."""
        return sum(_size(self._disk, self._rows / name) for name in self._disk.names(self._rows))

    def disclose(self, commitment: str) -> Disclosed:
        """Raises `Erased`, `VaultDamaged`, `OSError`."""
        subject = self._subjects.get(commitment)
        return _disclosed(self._rows, commitment, subject, self._keys.of(subject or ""), self._disk)

    def of(self, subject: str) -> tuple[str, ...]:
        """The commitments of everything about a subject."""
        return tuple(sorted(commitment for commitment, whose in self._subjects.items() if whose == subject))

    def __contains__(self, subject: str) -> bool:
        return subject in self._keys

    def erase(self, subject: str) -> tuple[str, ...]:
        """Nobody can read anything about the subject any more, on return; the commitments of what is gone.

        Harmless if there is nothing. What others copied out of the vault is not in its power. Raises `OSError`.
        """
        gone = self.of(subject)
        self._keys.forget(subject)
        self._clear()
        return gone

    def _clear(self) -> None:
        """Drop payloads that nobody can read any more, and what a crash left half written."""
        for name in self._disk.names(self._rows):
            if name.endswith(_UNFINISHED):
                self._disk.unlink(self._rows / name)
        self._subjects = _subjects(self._rows, self._disk)
        for commitment, subject in list(self._subjects.items()):
            if subject not in self._keys:
                self._disk.unlink(self._rows / _file(commitment, subject))
                del self._subjects[commitment]
        self._disk.sync_directory(self._rows)


class VaultReader:
    """Discloses what is in a vault, or in a copy of one, whoever else has it open.

    An erasure may go on meanwhile: before it says that something is gone or damaged, it reads keys and names once more,
    once for each generation of the keys, since an export of what was erased asks for thousands.
    """

    def __init__(self, folder: Path, wrapping: Path, disk: Disk | None = None) -> None:
        """Raises `VaultDamaged`, `OSError`."""
        self._disk = disk or OsDisk()
        self._folder, self._wrapping, self._rows = folder, wrapping, folder / _ROWS
        _, self._keys = self._read_keys()
        self._subjects = _subjects(self._rows, self._disk)
        self._again = -1
        """The generation of the keys when names were read once more."""

    def disclose(self, commitment: str) -> Disclosed:
        """Raises `Erased`, `VaultDamaged`, `OSError`."""
        try:
            return self._disclosed(commitment)
        except (Erased, VaultDamaged):
            generation, self._keys = self._read_keys()
            if generation == self._again:
                raise
            self._again, self._subjects = generation, _subjects(self._rows, self._disk)
            return self._disclosed(commitment)

    def _disclosed(self, commitment: str) -> Disclosed:
        subject = self._subjects.get(commitment)
        return _disclosed(self._rows, commitment, subject, self._keys.get(subject or ""), self._disk)

    def _read_keys(self) -> tuple[int, dict[str, bytes]]:
        """Their wrapping key may be destroyed between one file and the other: then there are new ones."""
        try:
            return read_keys(self._folder, self._wrapping, self._disk)
        except VaultDamaged:
            return read_keys(self._folder, self._wrapping, self._disk)


def _subjects(rows: Path, disk: Disk) -> dict[str, str]:
    """Of each payload, by its commitment, from the names of the files alone."""
    found = {}
    for name in disk.names(rows):
        digits, _, subject = name.partition(".")
        if _COMMITMENT.fullmatch(_PREFIX + digits) and _SUBJECT.fullmatch(subject):
            found[_PREFIX + digits] = subject
    return found


def _disclosed(rows: Path, commitment: str, subject: str | None, key: bytes | None, disk: Disk) -> Disclosed:
    if not _COMMITMENT.fullmatch(commitment):
        raise VaultDamaged(f"{commitment!r} is not a commitment: sha256: and 64 hexadecimal digits are")
    if subject is None or key is None:
        raise Erased(f"{commitment} is not in the vault: erased, or never in this one")
    path = rows / _file(commitment, subject)
    try:
        file = disk.open(path, Open.READ)
    except FileNotFoundError:
        raise Erased(f"{commitment} is not in the vault any more") from None
    try:
        sealed = msgspec.msgpack.decode(file.pread(file.size(), 0), type=_Sealed)
        opened = AESGCM(key).decrypt(sealed.nonce, sealed.content, _about(subject, commitment))
    except (msgspec.DecodeError, InvalidTag, ValueError):
        raise VaultDamaged(f"{path}: the payload was changed; restore it from a copy") from None
    finally:
        file.close()
    disclosed = Disclosed(opened[:_SALT_BYTES], opened[_SALT_BYTES:])
    if disclosed.commitment != commitment:
        raise VaultDamaged(f"{path}: the payload is another than the one in the log")
    return disclosed


def _size(disk: Disk, path: Path) -> int:
    file = disk.open(path, Open.READ)
    try:
        return file.size()
    finally:
        file.close()


def _file(commitment: str, subject: str) -> str:
    return f"{commitment.removeprefix(_PREFIX)}.{subject}"


def _about(subject: str, commitment: str) -> bytes:
    return f"plantgate vault payload {subject} {commitment}".encode()
