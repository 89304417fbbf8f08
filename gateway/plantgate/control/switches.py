"""The kill switch: what is stopped stays stopped, over restarts, until people on the spot arm it again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import msgspec

from plantgate.sdk import GatewayError
from plantgate.store.disk import Disk, Open, replace_file

EVERYTHING: Final = "everything"
"""The gateway as a whole; other switches have the name of a tag, a connection, a cell, or a proposer."""


class NotKept(GatewayError):
    """The disk did not take it."""


class Thrown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who stopped it, why and when."""

    by: str
    """Id of a person, or ``gateway``."""
    reason: str
    time: str
    """RFC 3339, UTC."""


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
            switches.throw(EVERYTHING, Thrown("gateway", "it has not been armed yet", now))
            return switches
        try:
            thrown = msgspec.json.decode(opened.pread(opened.size(), 0), type=dict[str, Thrown])
        except msgspec.DecodeError as error:
            thrown = {EVERYTHING: Thrown("gateway", f"{file.name} cannot be read: {error}", now)}
        finally:
            opened.close()
        return cls(disk, file, thrown)

    def throw(self, name: str, thrown: Thrown) -> None:
        """Counts at once. Raises `NotKept`: it still counts, but only until the end of the process."""
        self._thrown[name] = thrown
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
            raise

    def by_gateway(self, name: str) -> bool:
        """Whether the gateway itself stopped it: it is new, or what it may do has changed."""
        thrown = self._thrown.get(name)
        return thrown is not None and thrown.by == "gateway"

    def thrown(self) -> Mapping[str, Thrown]:
        """All that is stopped, by name."""
        return dict(self._thrown)

    def objection(self, names: tuple[str, ...]) -> str:
        """Why nothing may be written to what goes by these names; empty where it may."""
        for name in (EVERYTHING, *names):
            if (thrown := self._thrown.get(name)) is not None:
                return f"{name} is stopped by {thrown.by}: {thrown.reason}"
        return ""

    def _keep(self) -> None:
        try:
            replace_file(self._disk, self._file, msgspec.json.encode(self._thrown, order="sorted"))
        except OSError as error:
            raise NotKept(f"{self._file}: the switch could not be kept on the disk ({error})") from error
