"""Counts outside the gateway: what the machine made against what came to the broker, value by value.

A value is known by its tag and source time. Nothing the gateway says of itself is used, except its gap records, which
are what it owes an operator where something is missing.
"""

import json
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

_REMEMBERED: Final = 200_000
"""Values that are done with, remembered so that a second arrival is noticed."""

Key = tuple[str, int]
What = tuple[object, int]


@dataclass(frozen=True, slots=True)
class Balance:
    """Counted values."""

    made: int
    arrived: int
    on_the_way: int
    named: int
    """Not arrived, and covered by a gap record."""
    altered: int
    """Arrived with another value or quality than it was made with."""
    again: int
    """Arrived a second time under a new number: the gateway was killed between accepting and acknowledging it.
    A consumer recognises it by tag and source time."""
    unknown: int
    """Arrived and never made."""
    repeats: int
    """Arrived again under its old number: harmless, since a consumer drops them by it."""
    out_of_order: int
    """Arrived after a newer value of the same tag."""

    @property
    def fine(self) -> bool:
        """True if every value made has arrived, unaltered and in order, or is named in a gap record.

        One that arrives `again` is shown and not held against it: what is promised up to the outbox is at least once.
        """
        return not (self.on_the_way or self.altered or self.unknown or self.out_of_order)


@dataclass(slots=True)
class Count:
    """Fed by the machine and by the broker, in any order."""

    _made: int = 0
    _arrived: int = 0
    _altered: int = 0
    _again: int = 0
    _repeats: int = 0
    _out_of_order: int = 0
    _waiting: dict[Key, What] = field(default_factory=dict)
    _early: dict[Key, What] = field(default_factory=dict)
    """Arrived before the machine told us that it had made them: its message is still in the pipe."""
    _done: OrderedDict[Key, None] = field(default_factory=OrderedDict)
    _next: Counter[str] = field(default_factory=Counter)
    _newest: dict[str, int] = field(default_factory=dict)
    gaps: list[tuple[frozenset[str], int, int]] = field(default_factory=list)
    """Tags, and the stretch of source times, open at the front, that each gap record names."""

    def made(self, values: Sequence[tuple[str, int, object, int]]) -> None:
        """Tag, source time, value, StatusCode."""
        for tag, time, value, status in values:
            self._made += 1
            key, what = (tag, time), (value, status)
            if key in self._early:
                self._match(key, what, self._early.pop(key))
            else:
                self._waiting[key] = what

    def message(self, topic: str, payload: bytes) -> None:
        """What the broker has taken from the gateway, before it has acknowledged it."""
        body = json.loads(payload)
        origin, position = str(body["origin"]), int(body["position"])
        if "gaps" in body:
            for gap in body["gaps"]:
                until = _nanoseconds(gap["until"]) if gap["until"] else 2**63
                since = _nanoseconds(gap["since"]) if gap["since"] else -1
                if gap["lost"] != 0:
                    self.gaps.append((frozenset(gap["tags"]), since, until))
            return
        for number, sample in enumerate(body["samples"], start=position):
            if number < self._next[origin]:
                self._repeats += 1
                continue
            self._next[origin] = number + 1
            if sample["time"] is None:
                continue  # no reading: the gateway says that it has none, and why
            self._take(sample["tag"], _nanoseconds(sample["time"]), (sample["value"], int(sample["code"])))

    def balance(self) -> Balance:
        """As it stands now."""
        named = sum(1 for tag, time in self._waiting if self._is_named(tag, time)) if self.gaps else 0
        return Balance(
            made=self._made,
            arrived=self._arrived,
            on_the_way=len(self._waiting) - named,
            named=named,
            altered=self._altered,
            again=self._again,
            unknown=len(self._early),
            repeats=self._repeats,
            out_of_order=self._out_of_order,
        )

    def missing(self, most: int) -> list[str]:
        """Some of the values that have not arrived, for a person."""
        keys = list(self._waiting)[:most]
        return [
            f"{tag} at {datetime.fromtimestamp(time / 1e9, UTC).time().isoformat('milliseconds')}" for tag, time in keys
        ]

    def _take(self, tag: str, time: int, what: What) -> None:
        key = (tag, time)
        if key in self._done or key in self._early:
            self._again += 1
            return
        if time < self._newest.get(tag, 0):
            self._out_of_order += 1
        self._newest[tag] = max(time, self._newest.get(tag, 0))
        if key in self._waiting:
            self._match(key, self._waiting.pop(key), what)
        else:
            self._early[key] = what

    def _match(self, key: Key, made: What, arrived: What) -> None:
        self._arrived += 1
        if made != arrived or type(made[0]) is not type(arrived[0]):
            self._altered += 1
        self._done[key] = None
        if len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)

    def _is_named(self, tag: str, time: int) -> bool:
        return any(tag in tags and since < time < until for tags, since, until in self.gaps)


def _nanoseconds(text: str) -> int:
    """RFC 3339 in UTC with up to nine digits, as the gateway writes it."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0") or 0)
