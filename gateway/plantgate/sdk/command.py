"""What is asked of a machine: one value for one tag, once, before it is too late."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, Protocol, TypeAlias, runtime_checkable

from plantgate.sdk.deadline import Deadline
from plantgate.sdk.sample import Sample

Setpoint: TypeAlias = bool | int | float | str
"""What can be written. A float is finite; whoever writes it has been through the guard."""


def _stands() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Command:
    """One write, whose intent is durable already."""

    id: str
    """Of its intent in the audit log; where the protocol can carry it (OPC UA: ClientAuditEntryId), it travels."""
    tag: str
    value: Setpoint
    """In the tag's own unit, as the plant file speaks of it; scaling to the machine's registers is the actuator's."""
    deadline: Deadline
    """Not one byte leaves after it."""
    recalled: Callable[[], str] = _stands
    """Why it must not be sent any more, as it is now: somebody stopped it, an interlock opened; empty while it may."""

    def objection(self) -> str:
        """Why not one byte of it may leave: too late, or recalled; empty while it may.

        An actuator asks right before the first byte leaves, with nothing awaited in between, and raises `Unavailable`.
        """
        return "too late" if self.deadline.passed() else self.recalled()


class Actuator(Protocol):
    """Writes to a machine, and reads from it what it now has. Never tries again by itself, nor lets its library."""

    async def write(self, command: Command) -> None:
        """Send it once. Returns when the machine has confirmed it, which is not yet that it took effect.

        Raises `Rejected` (the machine refused: nothing changed), `Unavailable` (not one byte was sent), and
        `OutcomeUnknown` for everything else: sent, or partly, and no answer that can be believed. After that the
        session is of no use; open another. Cancelled once something was sent, the outcome is unknown as well.
        """
        ...

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """What the machine has for this tag now: asked of the machine, never a value remembered.

        Raises `Unavailable` (no answer in time, or none that can be believed), `Rejected` (it never will). Cancelled,
        the session stays as good as it was, or every later call says that it is not.
        """
        ...


@runtime_checkable
class NoticingActuator(Actuator, Protocol):
    """One that notices by itself that its session is over, also while nobody asks anything.

    Any actuator may have this; of one that has not, the host learns it from the next command, which then fails.
    """

    async def lost(self) -> NoReturn:
        """Until the session is of no more use: raises `Unavailable`, saying why, as soon as that is noticed.

        The host waits for it beside the calls, and opens the next session; cancelling the wait changes nothing. A call
        that is under way ends as it does without this: what was sent and is not answered is `OutcomeUnknown`.
        """
        ...
