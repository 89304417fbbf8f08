"""What another plantgate says beside its samples: who numbers them, their numbers, and what is missing before them."""

import struct
from collections.abc import Mapping
from typing import Final

import msgspec

from plantgate.sdk import Gap
from plantgate_connectors.payloads.relayed import RelayedGap, relayed_time
from plantgate_connectors.sparkplug.announced import Group
from plantgate_connectors.sparkplug.layouts import Block
from plantgate_connectors.sparkplug.placing import BDSEQ, GAPS, OFFSETS, ORIGIN, POSITION, REBIRTH
from plantgate_connectors.sparkplug.reading import Reading
from plantgate_connectors.sparkplug.runs import Data
from plantgate_connectors.sparkplug.usual import Run

OURS: Final = frozenset((BDSEQ, REBIRTH, ORIGIN, POSITION, OFFSETS, GAPS))
"""Metrics that are no tags."""
_U32: Final = struct.Struct("<I")
_ORIGINS_MOST: Final = 10_000
"""Devices times outboxes whose numbers are remembered."""


class Relayed:
    """The numbers of one edge node, for as long as we listen without a break."""

    def __init__(self) -> None:
        self._origin = ""
        self._newest: dict[tuple[str | None, str], int] = {}
        """The highest number by device and outbox."""

    def forget(self) -> None:
        """We have not listened: what was read may not have become safe, so nothing counts as a repeat."""
        self._newest.clear()

    def learn(self, reading: Reading) -> None:
        """One of `OURS`, in a birth or in data."""
        if reading.name == ORIGIN and isinstance(reading.value, str):
            self._origin = reading.value

    def repeats(self, device: str | None, content: Data) -> int:
        """How many of the samples, which are then the first ones, were sent before."""
        position: int | None = None
        steps: list[int] = []
        count = 0
        for part in content.parts:
            if isinstance(part, Block | Run):
                count += len(part.stamps)
            elif part.name not in OURS:
                count += 1
            elif part.name == POSITION and isinstance(part.value, int):
                position = part.value
            elif part.name == OFFSETS and isinstance(part.value, bytes) and len(part.value) % 4 == 0:
                steps = [number for (number,) in _U32.iter_unpack(part.value)]
            else:
                self.learn(part)
        if position is None or not count or (steps and len(steps) != count):
            return 0
        key = (device, self._origin)
        newest = self._newest.get(key, -1)
        numbers = [position + step for step in steps] if steps else range(position, position + count)
        if len(self._newest) > _ORIGINS_MOST:
            self._newest.clear()
        self._newest[key] = max(newest, numbers[-1])
        return sum(1 for number in numbers if number <= newest) if numbers[0] <= newest else 0


class _Gaps(msgspec.Struct):
    gaps: list[RelayedGap]


def gaps_in(reading: Reading, groups: Mapping[str | None, Group]) -> list[Gap] | None:
    """Gaps of another plantgate, its tags made ours; None if they cannot be read."""
    if not isinstance(reading.value, str):
        return []
    try:
        told = msgspec.json.decode(reading.value, type=_Gaps).gaps
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    ours = {
        (name if device is None else f"{device.replace(':', '/')}/{name}"): announced.tag
        for device, group in groups.items()
        for name, announced in group.names.items()
    }
    return [
        Gap(
            tuple(ours.get(tag, tag) for tag in gap.tags),
            relayed_time(gap.since),
            relayed_time(gap.until),
            gap.cause,
            gap.lost,
            gap.recovered,
        )
        for gap in told
    ]
