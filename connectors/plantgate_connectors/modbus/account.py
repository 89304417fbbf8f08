"""What is owed for one block: which polls gave a value, and what was told about those that did not."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from plantgate.sdk import Gap
from plantgate.sdk.quality import GOOD
from plantgate_connectors.modbus.blocks import Block

SLOW = "polled slower than asked"


@dataclass(slots=True)
class Account:
    """Polls are numbered; every number ends in a sample of each tag, in a gap record, or in a refusal that was told."""

    block: Block
    settled: int
    """The last poll that is accounted for."""
    time: int | None = None
    """Source time of the last good value, ns UTC."""
    cause: str = ""
    """Why the polls since then gave none."""
    told: int = GOOD
    """The bad quality that was given since the last good value."""
    slow: int = 0
    """Polls left out because the one before took too long, and not told yet."""
    slow_since: int | None = None
    """Source time when that began."""
    refused: int = 0
    """How often in a row it was refused for good."""
    ask_again: int = 0
    """The poll before which it is not asked, since it was refused for good."""
    silences: int = 0
    """How often in a row it was not answered while others of the device were."""
    resumed: bool = False
    """The gateway was stopped before, and nobody polled."""

    @property
    def quiet(self) -> bool:
        """Nothing is owed beyond the next value."""
        return not (self.told or self.slow or self.resumed or self.refused or self.silences)

    def missed(self, cause: str) -> None:
        """A poll gave no value; the first cause of a stretch is the one that is told."""
        self.cause = self.cause or cause

    def good(self, poll: int, time: int | None, *, tell_slow: bool) -> "list[_Missing]":
        """A poll gave values: what is to be said about those before it."""
        found: list[_Missing] = []
        if self.resumed:
            found.append(_Missing(self.time, time, "gateway stopped", None, self))
            self.resumed = False
        if not self.refused and (lost := poll - self.settled - 1) > 0:
            found.append(_Missing(self.time, time, self.cause or "no answer", lost, self))
        if self.slow and (tell_slow or found):
            found.append(_Missing(self.slow_since, time, SLOW, self.slow, self))
            self.slow = 0
        self.settled, self.time, self.cause, self.told = poll, time, "", GOOD
        self.refused = self.silences = self.ask_again = 0
        return found

    def left_out(self, polls: int) -> None:
        """The polls after the last good one were due while it was still under way."""
        if not self.slow:
            self.slow_since = self.time
        self.slow += polls
        self.settled += polls

    def settle(self, poll: int) -> None:
        """There is no value to be missed: the registers are refused for good, and that was told."""
        self.settled, self.cause = poll, ""

    def inherit(self, block: Block) -> "Account":
        """The account of a part of the block."""
        return Account(
            block,
            self.settled,
            self.time,
            self.cause,
            self.told,
            self.slow,
            self.slow_since,
            resumed=self.resumed,
        )


@dataclass(slots=True)
class _Missing:
    since: int | None
    until: int | None
    cause: str
    lost: int | None
    """Polls."""
    account: Account


@dataclass(slots=True)
class Gaps:
    """Collects what is missing; equal circumstances share one record."""

    found: dict[tuple[int | None, int | None, str, int | None], list[str]] = field(default_factory=dict)

    def add(self, missing: Iterable[_Missing]) -> None:
        """Of one block."""
        for each in missing:
            tags = self.found.setdefault((each.since, each.until, each.cause, each.lost), [])
            tags += each.account.block.tags

    def records(self) -> tuple[Gap, ...]:
        """For the batch that ends the stretch."""
        return tuple(
            Gap(tuple(tags), since, until, cause, None if lost is None else lost * len(tags))
            for (since, until, cause, lost), tags in self.found.items()
            if tags
        )
