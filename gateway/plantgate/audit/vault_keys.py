"""The vault's keys: one for each subject, wrapped by a key in a place of its own, which is replaced whenever one goes.

Flash keeps what was overwritten. A key that must be gone is therefore never overwritten in the hope that it is: those
that stay are wrapped anew under another wrapping key, and the old wrapping key, 32 bytes, is destroyed. Whatever copy
of the old file exists can be read by nobody then, as long as no backup holds that key.

The file ``keys`` names the generation of the wrapping key that it needs; which of them that is, it alone says.
"""

import base64
import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from plantgate.sdk.errors import GatewayError
from plantgate.store.disk import Disk, Open, replace_file

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_FILE: Final = "keys"
_WRAPPING: Final = "wrapping-key."


class VaultDamaged(GatewayError):
    """What is in the vault is not what was put there, or its wrapping key is another; the message says which."""


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    generation: int
    keys: dict[str, str]
    """By subject: nonce and wrapped key, base64."""


class VaultKeys:
    """In memory while the vault is open."""

    def __init__(self, folder: Path, wrapping: Path, generation: int, keys: Mapping[str, bytes], disk: Disk) -> None:
        self._folder = folder
        self._wrapping = wrapping
        self._disk = disk
        self._generation = generation
        self._keys = dict(keys)

    @classmethod
    def open(cls, folder: Path, wrapping: Path, disk: Disk, *, new: bool) -> "VaultKeys":
        """Made if there are none and the vault is `new`, and an erasure that was cut short is ended.

        `wrapping` is the folder for the wrapping key. One that has the key of another vault makes no new one: keys of
        which this vault knows nothing are destroyed, and with them all that is in the other one.

        Raises `VaultDamaged`, `OSError`.
        """
        disk.make_directory(folder)
        disk.make_directory(wrapping)
        stored = _stored(folder, disk)
        if stored is None and not new:
            raise VaultDamaged(f"{folder}: payloads are here and no keys: restore the file `{_FILE}`")
        foreign = _generations(wrapping, disk)
        if stored is None and foreign:
            raise VaultDamaged(
                f"{wrapping} has the key of another vault, and {folder} is a new one: give the folder of the vault "
                f"that is there, or another one for the key; `{_WRAPPING}{foreign[0]}` may only go where that vault may"
            )
        if stored is None or (new and stored == _Stored(1, {}) and not foreign):  # or its making was cut short
            made = cls(folder, wrapping, 1, {}, disk)
            made._begin()
            return made
        generation, keys = read_keys(folder, wrapping, disk)
        opened = cls(folder, wrapping, generation, keys, disk)
        opened._destroy_others()
        return opened

    def __contains__(self, subject: str) -> bool:
        return subject in self._keys

    def of(self, subject: str) -> bytes | None:
        """A subject's key."""
        return self._keys.get(subject)

    def make(self, subject: str) -> bytes:
        """A subject's key, new and durable where it has none. Raises `OSError`."""
        if (key := self._keys.get(subject)) is not None:
            return key
        key = os.urandom(KEY_BYTES)
        self._write({**self._keys, subject: key}, self._generation)
        return key

    def forget(self, subject: str) -> None:
        """Nobody has that key any more, on return. Harmless if nobody had. Raises `OSError`."""
        self._keys.pop(subject, None)
        self._renew()

    def _begin(self) -> None:
        """The file first: a wrapping key without one is another vault's."""
        stored = _Stored(self._generation, {})
        replace_file(self._disk, self._folder / _FILE, msgspec.json.encode(stored, order="sorted"))
        replace_file(self._disk, self._place(self._generation), os.urandom(KEY_BYTES).hex().encode())
        self._destroy_others()

    def _renew(self) -> None:
        """Under another wrapping key; a crash anywhere leaves one of the two in force, and `open` clears the other."""
        # Never one that was used: a try that failed may have left keys on the disk that are wrapped by it.
        generation = max(self._generation, *_generations(self._wrapping, self._disk), 0) + 1
        replace_file(self._disk, self._place(generation), os.urandom(KEY_BYTES).hex().encode())
        self._write(self._keys, generation)
        self._destroy_others()

    def _write(self, keys: Mapping[str, bytes], generation: int) -> None:
        wrapping = AESGCM(_wrapping_key(self._place(generation), self._disk))
        wrapped = {}
        for subject, key in keys.items():
            nonce = os.urandom(NONCE_BYTES)
            wrapped[subject] = base64.b64encode(nonce + wrapping.encrypt(nonce, key, _about(generation, subject)))
        stored = _Stored(generation, {subject: content.decode() for subject, content in wrapped.items()})
        replace_file(self._disk, self._folder / _FILE, msgspec.json.encode(stored, order="sorted"))
        self._keys, self._generation = dict(keys), generation

    def _destroy_others(self) -> None:
        for generation in _generations(self._wrapping, self._disk):
            if generation != self._generation:
                _destroy(self._place(generation), self._disk)
        for name in self._disk.names(self._wrapping):
            if name.endswith(".new"):  # of a try that was cut short: it wraps nothing
                _destroy(self._wrapping / name, self._disk)

    def _place(self, generation: int) -> Path:
        return self._wrapping / f"{_WRAPPING}{generation}"


def read_keys(folder: Path, wrapping: Path, disk: Disk) -> tuple[int, dict[str, bytes]]:
    """Generation and keys by subject, without a lock. Raises `VaultDamaged`, `OSError`."""
    stored = _stored(folder, disk)
    if stored is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / _FILE))
    try:
        keys = {}
        unwrapping = AESGCM(_wrapping_key(wrapping / f"{_WRAPPING}{stored.generation}", disk))
        for subject, encoded in stored.keys.items():
            wrapped = base64.b64decode(encoded, validate=True)
            about = _about(stored.generation, subject)
            keys[subject] = unwrapping.decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], about)
    except FileNotFoundError as error:
        raise VaultDamaged(
            f"{error.filename}: the vault's wrapping key is missing; nothing in it can be read"
        ) from None
    except (ValueError, InvalidTag) as error:
        why = str(error) or "not wrapped by the wrapping key that is here"
        raise VaultDamaged(f"{folder / _FILE}: {why}") from None
    return stored.generation, keys


def _stored(folder: Path, disk: Disk) -> _Stored | None:
    """The file, where there is one. Raises `VaultDamaged`, `OSError`."""
    try:
        return msgspec.json.decode(_content(folder / _FILE, disk), type=_Stored)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, ValueError) as error:
        raise VaultDamaged(f"{folder / _FILE}: {error}") from None


def _about(generation: int, subject: str) -> bytes:
    return f"plantgate vault key {generation} {subject}".encode()


def _wrapping_key(path: Path, disk: Disk) -> bytes:
    key = bytes.fromhex(_content(path, disk).decode("ascii", "replace"))
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path}: a wrapping key of {len(key)} bytes")
    return key


def _content(path: Path, disk: Disk) -> bytes:
    file = disk.open(path, Open.READ)
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()


def _generations(wrapping: Path, disk: Disk) -> list[int]:
    numbers = [name.removeprefix(_WRAPPING) for name in disk.names(wrapping) if name.startswith(_WRAPPING)]
    return [int(number) for number in numbers if number.isdecimal()]


def _destroy(path: Path, disk: Disk) -> None:
    """Over it with random bytes, which helps where the medium writes in place, and away."""
    with suppress(FileNotFoundError):
        file = disk.open(path, Open.WRITE)
        try:
            file.pwrite(os.urandom(file.size()), 0)
            file.datasync()
        finally:
            file.close()
        disk.unlink(path)
        disk.sync_directory(path.parent)
