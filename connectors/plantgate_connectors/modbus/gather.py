"""What one poll of a device brought, on its way to being one batch."""

from plantgate.sdk import Batch
from plantgate.sdk.plausible import doubt_clock
from plantgate.sdk.quality import GOOD
from plantgate_connectors.modbus.account import Account, Gaps
from plantgate_connectors.modbus.clock_register import ClockRegister
from plantgate_connectors.modbus.refusals import Trouble


class Gathering:
    """Good values of some blocks, and trouble with others where it is new."""

    def __init__(self, clock: ClockRegister | None) -> None:
        self.time: int | None = None
        """The device's own, where it keeps one."""
        self.clocks_ahead = 0
        """Samples made uncertain, since the device's clock cannot be right."""
        self._clock = clock
        self._batch = Batch.empty()
        self._good: list[Account] = []
        self._bad: list[tuple[Account, Trouble, bool]] = []

    def good(self, account: Account, payload: bytes) -> None:
        """An answer, its length checked."""
        block, batch = account.block, self._batch
        values, qualities = block.decode(payload)
        if self._clock is not None and block.clock_at is not None:
            self.time = self._clock.time(values.pop(block.clock_at))
            if qualities is not None:
                qualities.pop(block.clock_at)
        batch.tags += block.tags
        batch.values += values
        batch.qualities += [GOOD] * len(values) if qualities is None else qualities
        self._good.append(account)

    def bad(self, account: Account, found: Trouble, *, for_good: bool = False) -> None:
        """No answer, or none that can be used; `for_good` if there is no value to be missed."""
        self._bad.append((account, found, for_good))

    def batch(self, poll: int, now: int, *, tell_slow: bool) -> Batch | None:
        """Settle the accounts; None when there is nothing new to tell."""
        batch, gaps = self._batch, Gaps()
        batch.times = [self.time] * len(batch.tags)
        if self.time is not None:
            self.clocks_ahead = doubt_clock(batch.times, batch.qualities, now)
        for account in self._good:
            if account.settled == poll - 1 and account.quiet:
                account.settled, account.time = poll, self.time
            else:
                gaps.add(account.good(poll, self.time, tell_slow=tell_slow))
        for account, found, for_good in self._bad:
            if account.told != found.quality:
                account.told = found.quality
                tags = account.block.tags
                batch.tags += tags
                batch.values += [None] * len(tags)
                batch.qualities += [found.quality] * len(tags)
                batch.times += [None] * len(tags)
            if for_good:
                account.settle(poll)
            else:
                account.missed(found.cause)
        batch.gaps = gaps.records()
        batch.received = now
        return batch if batch.tags or batch.gaps else None
