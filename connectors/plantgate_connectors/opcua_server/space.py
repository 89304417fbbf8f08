"""The address space that clients see: the tags with their latest values, in folders by the levels of their names.

A tag's node id is the tag's name in a namespace of ours, so that what a client has saved about it stays true across
restarts, other orders and new tags. Nothing is ever removed while we run: a tag that falls silent keeps its last value,
its status and its time.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from plantgate.sdk import Batch, Log, Value
from plantgate_connectors.opcua_server import values

TAGS: Final = 2
"""Index of the namespace of tags."""
FOLDERS: Final = 3
"""Index of the namespace of folders: a folder and a tag may have the same name."""

WAITING: Final = 0x8032_0000
"""BadWaitingForInitialData: the tag is known, its value is not yet."""
OUT_OF_RANGE: Final = 0x803C_0000
"""BadOutOfRange: OPC UA has no type for the value."""
NUMBER_TYPE: Final = 26
BASE_TYPE: Final = 24
_NUMBERS: Final = frozenset({values.INT64, values.UINT64, values.DOUBLE})
ANY_RANK: Final = -2

NAME_BYTES_MAX: Final = 4096
"""Longest string in a node id (OPC 10000-3, 8.2.4)."""
LEVELS_MAX: Final = 64

BACKWARDS_SECONDS: Final = 10.0
"""A source time older than the shown one is a machine repeating itself, for so long; after that its clock was set."""


class Watcher(Protocol):
    """Who wants to hear of a tag's values: a monitored item."""

    def offer(self, slot: "Slot", renewed: bool, retimed: bool) -> None:
        """The slot holds a new reading; `renewed`: value or status differ, `retimed`: the source time does."""
        ...


class Slot:
    """One tag: its latest reading, as it goes over the wire."""

    __slots__ = ("body", "encoded", "folder", "kind", "name", "quality", "rank", "since", "source", "value", "watchers")

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folder = folder
        self.value: Value = None
        self.body = b""
        """The encoded Variant."""
        self.quality = WAITING
        self.source = 0
        """Source time in ticks; 0 for none."""
        self.encoded = values.data_value(b"", WAITING, 0, 0)
        self.kind = 0
        """Data type: of the first value, of their common kin once there were several; 0 before the first."""
        self.rank = values.SCALAR
        self.since = float("-inf")
        """Loop time when the reading came."""
        self.watchers: list[Watcher] = []


class Space:
    """Tags and folders. Lives as long as its connector, so that clients find the tags while a flow is restarted."""

    def __init__(self, log: Log, *, tags_max: int) -> None:
        self._log = log
        self._tags_max = tags_max
        self.slots: dict[str, Slot] = {}
        self.folders: dict[str, dict[str, Slot | None]] = {"": {}}
        """By path: what is inside, tags under "v" + name and folders under "f" + path; "" is the root of the tags."""
        self._next: dict[str, int] = {}
        """By origin: the number after the highest one taken."""
        self.retyped = 0
        self.repeats = 0
        self.taken = 0
        """Batches so far."""
        self.grown = 0
        """Goes up whenever a tag is new or changes its type."""
        self.met: Callable[[Slot], None] | None = None
        """Told of each new tag."""

    def accept(self, batch: Batch, now: int) -> list[str]:
        """Take the readings of a batch; returns sentences about what cannot be shown, ever. `now` in ns UTC."""
        refused: list[str] = []
        self.taken += 1
        skip = 0
        if batch.origin:
            following = self._next.get(batch.origin, 0)
            skip = max(0, following - batch.position)
            self._next[batch.origin] = max(following, batch.position + len(batch.tags))
            self.repeats += min(skip, len(batch.tags))
        server = values.ticks(now)
        moment = asyncio.get_running_loop().time()
        slots, variant, data_value = self.slots, values.variant, values.data_value
        epoch, latest = values.EPOCH_TICKS, values.ticks(2**62)
        rows = zip(batch.tags, batch.values, batch.qualities, batch.times, strict=True)
        for row, (tag, value, quality, time) in enumerate(rows):
            if row < skip:
                continue
            slot = slots.get(tag)
            if slot is None:
                slot = self._met(tag, refused)
                if slot is None:
                    continue
            source = 0 if time is None else epoch + time // 100
            if not 0 <= source <= latest:
                source = values.ticks(time)
            if source < slot.source and source and moment - slot.since < BACKWARDS_SECONDS:
                self.repeats += 1
                continue
            try:
                body = variant(value)
            except values.Unwritable:
                body, quality = b"", OUT_OF_RANGE
            if body and body[0] != slot.kind:
                body = self._typed(slot, body, value)
            renewed = body != slot.body or quality != slot.quality
            retimed = source != slot.source
            slot.value, slot.body, slot.quality, slot.source, slot.since = value, body, quality, source, moment
            slot.encoded = data_value(body, quality, source, server)
            for watcher in slot.watchers:
                watcher.offer(slot, renewed, retimed)
        return refused

    def known(self, name: str) -> Slot | None:
        """A tag to show before its first value, or one restored; None where the limits forbid it."""
        return self.slots.get(name) or self._met(name, [])

    def _met(self, tag: str, refused: list[str]) -> Slot | None:
        if len(tag.encode("utf-8", "replace")) > NAME_BYTES_MAX or tag.count("/") >= LEVELS_MAX:
            refused.append(
                f"tag {tag[:60]!r}… is longer than the {NAME_BYTES_MAX} bytes or deeper than the"
                f" {LEVELS_MAX} levels that can be shown"
            )
            return None
        if len(self.slots) >= self._tags_max:
            refused.append(f"tag {tag[:200]!r} is one more than limits.tags_max ({self._tags_max})")
            return None
        path = tag.rpartition("/")[0]
        slot = Slot(tag, path)
        self._folder(path)["v" + tag] = slot
        self.slots[tag] = slot
        self.grown += 1
        if self.met is not None:
            self.met(slot)
        return slot

    def _folder(self, path: str) -> dict[str, Slot | None]:
        found = self.folders.get(path)
        if found is None:
            found = self.folders[path] = {}
            self._folder(path.rpartition("/")[0])["f" + path] = None
        return found

    def _typed(self, slot: Slot, body: bytes, value: Value) -> bytes:
        """Keep the slot's type with its values: the first decides, a whole number beside real ones is real."""
        kind, rank = values.shape_of(body, value)
        if (kind, rank) == (slot.kind, slot.rank):
            return body
        if not slot.kind:
            slot.kind, slot.rank = kind, rank
            self.grown += 1
            return body
        if rank == slot.rank == values.SCALAR and isinstance(value, int):
            if slot.kind == values.DOUBLE and kind == values.INT64 and abs(value) <= 2**53:
                return values.variant(float(value))
            if slot.kind in (NUMBER_TYPE, BASE_TYPE):
                return body
        self._retype(slot, kind, rank)
        return body

    def _retype(self, slot: Slot, kind: int, rank: int) -> None:
        both = _NUMBERS | {NUMBER_TYPE}
        common = kind if kind == slot.kind else NUMBER_TYPE if {kind, slot.kind} <= both else BASE_TYPE
        if rank == slot.rank == values.SCALAR and (slot.kind, kind) == (values.INT64, values.DOUBLE):
            common = values.DOUBLE  # whole numbers first, then a real one: it was real all along
        rank = rank if rank == slot.rank else ANY_RANK
        if (common, rank) == (slot.kind, slot.rank):
            return
        self.retyped += 1
        self.grown += 1
        self._log.warning(
            "the values of a tag changed their type; its node now says the wider one",
            tag=slot.name, was=slot.kind, came=kind, now=common,
        )  # fmt: skip
        slot.kind, slot.rank = common, rank
