"""Finds entries by what a person remembers of them: a tag, a rule, a time, a work order."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from plantgate.audit.entry import Entry, Kind, Phase, Result, decode
from plantgate.sdk.clock import iso


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an entry must be; what is empty is not asked."""

    kind: Kind | None = None
    result: Result | None = None
    tag: str = ""
    """The target's address, or whole steps at its end: ``robot/offset_x``."""
    rule: str = ""
    """The rule's name, or a text in what it cites."""
    who: str = ""
    """Whoever acted, or for whom."""
    since: str = ""
    """A date or a time, UTC where it says nothing else."""
    until: str = ""
    id: str = ""
    """The entry's, its intent's, or that of the one it reverses."""
    text: str = ""
    """Any text in it; case does not matter."""

    def __post_init__(self) -> None:
        for field in ("since", "until"):
            if written := getattr(self, field):
                object.__setattr__(self, field, _moment(written))

    def is_met_by(self, found: "Found", intent: "Found | None") -> bool:
        """`intent` is that of an outcome: what the outcome does not say itself, it says."""
        entry, sides = found.entry, [found] if intent is None else [found, intent]
        return (
            (self.kind is None or entry.kind is self.kind)
            and (self.result is None or entry.result is self.result)
            and (not self.since or _plain(entry.time) >= self.since)
            and (not self.until or _plain(entry.time) < self.until)
            and (not self.id or self.id in (entry.id, entry.refers_to, entry.reverses))
            and (not self.tag or any(_ends(side.entry, self.tag) for side in sides))
            and (not self.rule or any(_rules(side.entry, self.rule) for side in sides))
            and (not self.who or any(self.who in (side.entry.who.id, side.entry.who.on_behalf_of) for side in sides))
            and (not self.text or any(self.text.casefold() in side.content.decode().casefold() for side in sides))
        )


@dataclass(frozen=True, slots=True)
class Found:
    """An entry and where it stands."""

    index: int
    entry: Entry
    content: bytes


def search(entries: Iterable[tuple[int, bytes]], wanted: Wanted, *, most: int) -> list[Found]:
    """The newest `most` that are so, in their order. What is no entry is passed over."""
    return list(deque(_matching(entries, wanted), maxlen=max(0, most)))


def _matching(entries: Iterable[tuple[int, bytes]], wanted: Wanted) -> Iterator[Found]:
    intents: dict[str, Found] = {}
    for index, content in entries:
        try:
            entry = decode(content)
        except ValueError:
            continue
        found = Found(index, entry, content)
        if wanted.is_met_by(found, intents.get(entry.refers_to)):
            yield found
        if entry.phase is Phase.INTENT:
            intents[entry.id] = found
        elif entry.result is not Result.UNKNOWN:  # of which another outcome will come
            intents.pop(entry.refers_to, None)


def _ends(entry: Entry, tag: str) -> bool:
    return entry.target is not None and f"/{entry.target.address}".endswith(f"/{tag}")


def _rules(entry: Entry, rule: str) -> bool:
    return entry.why is not None and (entry.why.rule == rule or rule in entry.why.cites)


def _moment(written: str) -> str:
    """As entries write it. Raises `ValueError`."""
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{written!r} is not a time; write for example 2026-11-26 or 2026-11-26T14:00:00Z") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    return _plain(iso(int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000) or "")


def _plain(time: str) -> str:
    """Comparable as text: without Z, and with a fraction only where there is one."""
    return time.removesuffix("Z")
