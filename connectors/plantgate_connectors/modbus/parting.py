"""Divides a block that a device refuses until the address it refuses stands alone, then joins the others again."""

from collections.abc import Sequence

from plantgate_connectors.modbus.account import Account
from plantgate_connectors.modbus.blocks import Budget, blocks
from plantgate_connectors.modbus.registers import Field, Table


class Parting:
    """Of one device. Always ends: what was joined again is joined once for each address that was found refused."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._barriers: set[tuple[Table, int]] = set()
        self._found = 0

    def part(self, account: Account) -> list[Account]:
        """Two halves; none when it is one place that is refused."""
        halves = account.block.split()
        if halves is None:
            return []
        self._barriers.add((account.block.table, halves[1].fields[0].address))
        return [account.inherit(half) for half in halves]

    def mend(self, accounts: list[Account], poll: int) -> list[Account]:
        """Join what was parted only to find the refused; the same accounts when there is nothing to join."""
        refused = [account for account in accounts if account.refused]
        if len(refused) <= self._found:
            return accounts
        good = [account for account in accounts if not account.refused]
        if any(account.settled != poll or not account.quiet for account in good):
            return accounts  # not done yet
        self._found = len(refused)
        fields = [field for account in good for field in account.block.fields]
        self._barriers -= self._innocent(fields)
        times = {id(field): account.time for account in good for field in account.block.fields}
        joined = [
            Account(block, settled=poll, time=times[id(block.fields[0])])
            for block in blocks(fields, self._budget, frozenset(self._barriers))
        ]
        return joined + refused

    def _innocent(self, fields: Sequence[Field]) -> set[tuple[Table, int]]:
        """Barriers between two good neighbours with nothing between them."""
        ends = {(field.table, field.end) for field in fields}
        return {(field.table, field.address) for field in fields} & ends & self._barriers
