"""The kill switch: what is stopped stays stopped, over restarts, until people on the spot arm it again."""

import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

import msgspec

from plantgate.sdk import GatewayError
from plantgate.store.disk import Disk, Open, replace_file

EVERYTHING: Final = "everything"
"""The gateway as a whole; other switches have the name of a tag, a connection, a cell, or a proposer."""

_REASON_MAX: Final = 1000
"""Characters that are kept of all reasons together."""


class NotKept(GatewayError):
    """The disk did not take it."""


class Thrown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who stopped it, why and when."""

    by: str
    """Id of a person, or ``gateway``."""
    reason: str
    time: str
    """RFC 3339, UTC."""
    unarmed: bool = False
    """Whether nobody has armed it yet as it is now: it is new, or its limits or its address are. No emergency passes
    that, and whoever stops it once more does not end it."""


class Switches:
    """What must not be written to. A gateway that has never been armed is stopped as a whole."""

    def __init__(self, disk: Disk, file: Path, thrown: Mapping[str, Thrown]) -> None:
        self._disk, self._file = disk, file
        self._thrown = dict(thrown)
        self.throws = 0
        """How often anything was stopped since the start; whoever waits can tell whether somebody stopped meanwhile."""

    @classmethod
    def open(cls, disk: Disk, file: Path, now: str) -> Self:
        """As they were left. A file that cannot be read stops everything. Raises `NotKept`, `OSError`."""
        disk.make_directory(file.parent)
        try:
            opened = disk.open(file, Open.READ)
        except FileNotFoundError:
            switches = cls(disk, file, {})
            switches.throw(EVERYTHING, Thrown("gateway", "it has not been armed yet", now, unarmed=True))
            return switches
        try:
            return cls(disk, file, _read(opened.pread(opened.size(), 0)))
        except ValueError as error:
            why = f"{file.name} cannot be read: {error}"
            return cls(disk, file, {EVERYTHING: Thrown("gateway", why, now, unarmed=True)})
        finally:
            opened.close()

    def throw(self, name: str, thrown: Thrown) -> None:
        """Counts at once. Raises `NotKept`: it still counts, but only until the end of the process."""
        self.throw_all({name: thrown})

    def throw_all(self, thrown: Mapping[str, Thrown]) -> None:
        """As `throw`, of several."""
        for name, one in thrown.items():
            self._thrown[name] = _beside(self._thrown.get(name), one)
            self.throws += 1
        self._keep()

    def release(self, name: str) -> None:
        """Kept before it counts. Raises `NotKept`: it stays stopped."""
        thrown = self._thrown.pop(name, None)
        try:
            self._keep()
        except NotKept:
            if thrown is not None:
                self._thrown[name] = thrown
                with suppress(NotKept):  # the disk may have it, and not know so
                    self._keep()
            raise

    def thrown(self) -> Mapping[str, Thrown]:
        """All that is stopped, by name."""
        return dict(self._thrown)

    def objection(self, names: tuple[str, ...], *, in_emergency: bool = False) -> str:
        """Why nothing may be written to what goes by these names; empty where it may."""
        for name in (EVERYTHING, *names):
            thrown = self._thrown.get(name)
            if thrown is not None and (thrown.unarmed or not in_emergency):
                return f"{name} is stopped by {thrown.by}: {thrown.reason}"
        return ""

    def _keep(self) -> None:
        kept = msgspec.json.encode(self._thrown, order="sorted")
        try:
            replace_file(self._disk, self._file, _sum(kept) + b"\n" + kept)
        except OSError as error:
            raise NotKept(f"{self._file}: the switch could not be kept on the disk ({error})") from error


def _beside(before: Thrown | None, now: Thrown) -> Thrown:
    """What is stopped already, stopped once more: whoever arms it is to see both."""
    if before is None:
        return now
    reason = now.reason
    if (before.by, before.reason) != (now.by, now.reason):
        reason = f"{now.reason}; before that by {before.by}: {before.reason}"[:_REASON_MAX]
    return Thrown(now.by, reason, now.time, unarmed=now.unarmed or before.unarmed)


def _read(content: bytes) -> dict[str, Thrown]:
    """A line with the checksum of what follows it. Raises `ValueError` with a sentence."""
    checksum, _, kept = content.partition(b"\n")
    if checksum != _sum(kept):
        raise ValueError("its checksum is wrong")
    try:
        return msgspec.json.decode(kept, type=dict[str, Thrown])
    except msgspec.DecodeError as error:
        raise ValueError(f"it is of another version: {error}") from None


def _sum(kept: bytes) -> bytes:
    return b"%08x" % zlib.crc32(kept)
