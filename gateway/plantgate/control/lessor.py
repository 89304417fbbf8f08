"""Whoever sees to it that a leased setpoint ends, as the gate knows it."""

from typing import Protocol

from plantgate.control.book import Limits


class Lessor(Protocol):
    """Whoever sees to it that a leased setpoint ends: `plantgate.control.leases.Leases`."""

    def begin(self, limits: Limits, rule: str) -> bool:
        """A write is about to be sent; True if nothing stood before."""
        ...

    def withdraw(self, tag: str) -> None:
        """It was not sent, and nothing stood before."""
        ...

    def stand(self, limits: Limits, rule: str) -> None:
        """The machine has it."""
        ...

    def ended(self, tag: str) -> bool:
        """Whether the time of what was written is over."""
        ...


class Nobody:
    """Lets nothing."""

    def begin(self, limits: Limits, rule: str) -> bool:
        """Nothing begins."""
        return False

    def withdraw(self, tag: str) -> None:
        """There is nothing."""

    def stand(self, limits: Limits, rule: str) -> None:
        """Nothing stands."""

    def ended(self, tag: str) -> bool:
        """There is no time to be over."""
        return False
