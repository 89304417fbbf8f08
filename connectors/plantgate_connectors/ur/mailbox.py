"""Our side of the mailbox: a command is numbered, dated and fenced, so that it is done once, in time, or never.

The robot program (`mailbox.script`) takes command `last + 1` of its epoch, if its own clock has not passed `until`, and
echoes the number with a verdict. What it does not take it passes over. A new session raises the epoch first, with the
number unchanged: the program then knows that nothing of an earlier session may be taken any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from plantgate_connectors.ur.recipe import Held
from plantgate_connectors.ur.settings import Mailbox

_LARGEST: Final = 2**31 - 1
CLOCK_WRAPS: Final = 1_000_000_000
"""The program's clock starts anew at so many milliseconds, eleven days."""

State = Mapping[str, Held]
"""A data package by field."""


class Verdict(Enum):
    """What the program says of the last command it took."""

    STARTED = 0
    APPLIED = 1
    OUTSIDE = 2
    LATE = 3


REFUSED: Final = {
    Verdict.OUTSIDE: "the robot program refuses it: outside the limits in the program",
    Verdict.LATE: "the robot program refuses it: it came too late by the program's clock",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """A command on its way."""

    sequence: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Slot:
    """The registers of one mailbox."""

    names: Mailbox

    def number(self, state: State, name: str) -> int:
        """What an integer register holds."""
        value = state[name]
        assert isinstance(value, int), "the types were checked when the recipe was agreed on"
        return value

    def epoch_after(self, state: State) -> int:
        """For a new session: higher than any the program has listened to."""
        return self.number(state, self.names.echo_epoch) % _LARGEST + 1

    def heeds(self, state: State, epoch: int) -> bool:
        """Whether the program listens to this session, and to none before it."""
        return self.number(state, self.names.echo_epoch) == epoch

    def idle(self, state: State, epoch: int) -> tuple[int, int, int]:
        """`until`, `epoch` and `sequence` that ask for nothing: the number is that of the last command taken."""
        return 0, epoch, self.number(state, self.names.echo)

    def command(self, state: State, epoch: int, age_seconds: float, left_seconds: float) -> tuple[int, int, int]:
        """`until`, `epoch` and `sequence` of the next command.

        The program's clock is at least what the package said, plus its age here: `until` is rather early than late.
        """
        clock = self.number(state, self.names.clock)
        until = (clock + int(1000 * (max(age_seconds, 0.0) + left_seconds))) % CLOCK_WRAPS
        return until, epoch, self.number(state, self.names.echo) % _LARGEST + 1

    def judged(self, state: State, sent: Sent) -> Verdict | None:
        """The program's word on this command; None as long as there is none."""
        echo = self.number(state, self.names.echo), self.number(state, self.names.echo_epoch)
        if echo != (sent.sequence, sent.epoch):
            return None
        try:
            return Verdict(self.number(state, self.names.verdict))
        except ValueError:
            return Verdict.STARTED  # no word that is known here is none that can be believed
