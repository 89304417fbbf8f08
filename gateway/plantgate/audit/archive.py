"""Moves old entries out of a log, whole volumes at a time, into folders that whoever keeps them can still check.

The hashes of a volume stay in the log, one level up: what was proven of its entries stays proven, and a volume that is
put back, or read beside the log, fits or does not. In this order, each step durable before the next: the copies, read
back and hashed; what among them is still in force, repeated in the log (hand-overs to another key, as
`plantgate.audit.rotation` has them, and of every rule and limit the last text); an intent in the log that says what
goes and by which rule; the files; the outcome. The same call ends what a crash cut short.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec

from plantgate.audit.entry import FORMAT, MINIMUM, Entry, Kind, Phase, Result, Target, Who, Why, decode, new_id
from plantgate.audit.log import AuditLog
from plantgate.audit.rotation import HandOver, entry_of, hand_over_in
from plantgate.audit.rows import top
from plantgate.audit.tiles import VOLUME, WIDTH, Tiles, Unreadable, bundle_path, tile_path, unpack_bundle, volume_name
from plantgate.audit.tree import leaf_hash
from plantgate.sdk.clock import Clock, iso
from plantgate.sdk.errors import GatewayError, Rejected
from plantgate.store.disk import Disk, Open, OsDisk, replace_file

_FROM: Final = "from_index"


class ArchiveDamaged(GatewayError):
    """What would be archived, or is, is not what was signed; nothing is taken out of the log."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to go."""

    folder: Path
    """Where the archive is."""
    below: int
    """Entries before this one; what does not fill a volume stays."""
    rule: str
    """The written retention rule that allows it."""
    by: str
    approved_by: str
    """Somebody else."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What went."""

    begin: int
    end: int
    """Not included."""
    intent: str
    """Id of the entry."""


async def archive(
    audit: AuditLog, order: Order, *, clock: Clock, disk: Disk | None = None, volume: int = VOLUME
) -> Archived:
    """Durable on return, in the archive and out of the log.

    Raises `Rejected` where nothing may go, `ArchiveDamaged`, `OSError`, and what `AuditLog` raises; after these the
    same call goes on where it was. `volume` is a multiple of 256, for tests.
    """
    if not order.approved_by or order.approved_by == order.by:
        raise Rejected(f"archiving needs the agreement of somebody other than {order.by}")
    if not order.rule:
        raise Rejected("archiving needs a written retention rule")
    standing = _Standing(order.below)
    await audit.inspect(standing.take)
    begin, end, intent = standing.begun_from, standing.minimum, standing.intent
    if intent is None:
        begin, end = await asyncio.to_thread(_kept_from, audit), order.below // volume * volume
        _may_go(audit, standing, begin, end)
        disk = disk or OsDisk()
        await asyncio.to_thread(_copy, audit, order.folder, begin, end, disk)
        for hand_over in standing.hand_overs_before(end):
            await audit.append(entry_of(hand_over.statement, by=order.by, clock=clock, at=hand_over.at))
        for index, text in standing.texts_before(end):
            await audit.append(_again(text, index, by=order.by, clock=clock))
        intent = new_id(clock.now())
        digest = f"sha256:{sha256(order.rule.encode()).hexdigest()}"
        await audit.append(
            Entry(
                v=FORMAT,
                id=intent,
                kind=Kind.PRUNE,
                phase=Phase.INTENT,
                time=iso(clock.now()) or "",
                who=Who(kind="person", id=order.by),
                target=Target(connection="archive", address=str(order.folder)),
                why=Why(rule="retention", digest=digest, cites=order.rule),
                details={_FROM: str(begin), MINIMUM: str(end), "approved_by": order.approved_by},
            )
        )
        await audit.publish()
    await audit.drop(begin, end)
    await audit.append(
        Entry(
            v=FORMAT,
            id=new_id(clock.now()),
            kind=Kind.PRUNE,
            phase=Phase.OUTCOME,
            time=iso(clock.now()) or "",
            who=Who(kind="person", id=order.by),
            refers_to=intent,
            result=Result.OK,
        )
    )
    return Archived(begin, end, intent)


class _Standing:
    """How the log stands: which intents are open, and what archiving was begun and not ended."""

    def __init__(self, below: int) -> None:
        self._below = below
        self._open: dict[str, int] = {}
        self._hand_overs: dict[HandOver, int] = {}
        """Each with the last entry that tells of it."""
        self._texts: dict[str, tuple[int, Entry]] = {}
        """Of every rule and limit, by name, the last entry that has it."""
        self.intent: str | None = None
        """Of archiving that has no outcome yet."""
        self.begun_from = self.minimum = 0
        """What that one said."""

    @property
    def unsettled(self) -> list[int]:
        """Intents among what would go that have no outcome."""
        return sorted(self._open.values())

    def hand_overs_before(self, end: int) -> list[HandOver]:
        """Those of which nothing from there on tells, oldest first."""
        return sorted((each for each, index in self._hand_overs.items() if index < end), key=lambda each: each.at)

    def texts_before(self, end: int) -> list[tuple[int, Entry]]:
        """Those of rules and limits that no entry from there on has, oldest first."""
        return sorted((each for each in self._texts.values() if each[0] < end), key=lambda each: each[0])

    def take(self, index: int, content: bytes) -> None:
        """One entry."""
        try:
            entry, hand_over = decode(content), hand_over_in(index, content)
        except ValueError:
            return
        if hand_over is not None:
            self._hand_overs[hand_over] = index
        if entry.kind is Kind.RULE_CHANGE:
            self._texts[entry.details.get("name", "")] = index, entry
        if entry.phase is Phase.INTENT and index < self._below:
            self._open[entry.id] = index
        elif entry.phase is Phase.OUTCOME and entry.result is not Result.UNKNOWN:
            self._open.pop(entry.refers_to, None)
        if entry.kind is Kind.PRUNE and entry.phase is Phase.INTENT:
            self.intent = entry.id
            self.begun_from, self.minimum = int(entry.details[_FROM]), int(entry.details[MINIMUM])
        elif self.intent is not None and entry.refers_to == self.intent:
            self.intent = None


def _again(text: Entry, index: int, *, by: str, clock: Clock) -> Entry:
    """The same text of a rule or limit, by whoever archives the entry that has it."""
    return msgspec.structs.replace(
        text,
        id=new_id(clock.now()),
        time=iso(clock.now()) or "",
        who=Who(kind="person", id=by),
        note=f"repeats entry {index}, which goes into the archive",
    )


def _kept_from(audit: AuditLog) -> int:
    return Tiles(audit.read, audit.published.size if audit.published else 0).kept_from()


def _may_go(audit: AuditLog, standing: _Standing, begin: int, end: int) -> None:
    published = audit.published.size if audit.published else 0
    if end <= begin:
        raise Rejected(f"entries {begin} to {end} fill no volume: nothing to archive")
    if end >= published:
        raise Rejected(f"{published} entries are published: what is archived must be older than the newest of them")
    if standing.unsettled:
        raise Rejected(f"entry {standing.unsettled[0]} is an intent without an outcome: settle it before it goes")


def _copy(audit: AuditLog, folder: Path, begin: int, end: int, disk: Disk) -> None:
    """Every file of these bundles, read back and hashed up to the tile that stays."""
    tiles = Tiles(audit.read, audit.published.size if audit.published else 0)
    try:
        for number in range(begin // WIDTH, end // WIDTH):
            place = folder / volume_name(number * WIDTH)
            entries = unpack_bundle(_copied(audit, place, bundle_path(number), disk), WIDTH, bundle_path(number))
            hashes = [leaf_hash(entry) for entry in entries]
            tile = _copied(audit, place, tile_path(0, number), disk)
            if tile != b"".join(hashes) or top(hashes) != tiles.node(8, number):
                raise ArchiveDamaged(f"{bundle_path(number)}: not the entries that were signed")
    except Unreadable as error:
        raise ArchiveDamaged(str(error)) from None


def _copied(audit: AuditLog, place: Path, path: str, disk: Disk) -> bytes:
    """What the copy reads back as."""
    content = audit.read(path)
    disk.make_directory((place / path).parent)
    with suppress(FileNotFoundError):
        if _stored(place / path, disk) != content:
            raise ArchiveDamaged(
                f"{place / path}: is there with other content: of another log? Nothing is written over it"
            )
    replace_file(disk, place / path, content)
    return _stored(place / path, disk)


def _stored(path: Path, disk: Disk) -> bytes:
    file = disk.open(path, Open.READ)
    try:
        return file.pread(file.size(), 0)
    finally:
        file.close()
