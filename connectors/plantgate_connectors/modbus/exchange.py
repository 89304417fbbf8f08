"""One round of questions to one device, and what came of each."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plantgate_connectors.modbus.pdu import Answer, Question, Refused, Silent, Write


@dataclass(frozen=True, slots=True)
class Patience:
    """How a device wants to be asked."""

    timeout_seconds: float = 1.0
    pause_seconds: float = 0.0
    in_flight_max: int = 1


class Ask:
    """A question on its way; `index` is its place in the exchange, or `CANARY`."""

    __slots__ = ("deadline", "exchange", "index", "odd", "question", "refused")

    def __init__(self, exchange: "Exchange", index: int, question: Question) -> None:
        self.exchange = exchange
        self.index = index
        self.question = question
        self.deadline = 0.0
        self.odd = ""
        """What came meanwhile and was no answer to it, in words."""
        self.refused: Refused | None = None
        """A refusal that came while this was a canary."""


CANARY = -1
"""Index of a question whose answer nobody wants: it shows that the line is in step again."""


class Exchange:
    """The questions, in order; `done` is set when each has an answer or a reason why there is none."""

    def __init__(
        self,
        unit: int,
        questions: Sequence[Question],
        patience: Patience,
        not_after: float = math.inf,
        objection: Callable[[], str] = lambda: "",
    ) -> None:
        self.unit = unit
        self.patience = patience
        self.not_after = not_after
        """On the loop's clock: what was not sent by then will not be."""
        self.objection = objection
        """Asked before anything is sent: why it may not be; empty while it may."""
        self.answers: list[Answer] = [_UNASKED] * len(questions)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.unsent = deque(Ask(self, index, question) for index, question in enumerate(questions))
        self.in_flight = 0
        self._left = len(questions)
        self._repeated = False

    @property
    def may_send(self) -> bool:
        """Another question may go out now."""
        return bool(self.unsent) and self.in_flight < self.patience.in_flight_max and not self.done.done()

    def ask_once_more(self, ask: Ask) -> bool:
        """Put a question back that was not answered; at most one in a round, false for the second and for a write."""
        if self._repeated or self.done.done() or isinstance(ask.question, Write):
            return False
        self._repeated = True
        self.in_flight -= 1
        if ask.index != CANARY:
            self.unsent.appendleft(Ask(self, ask.index, ask.question))
        return True

    def settle(self, index: int, answer: Answer) -> None:
        """What came of one question."""
        self.answers[index] = answer
        self._left -= 1
        if self._left == 0 and not self.done.done():
            self.done.set_result(None)

    def give_up(self, why: Silent) -> None:
        """What was not asked yet will not be: who does not answer one question would not answer the next."""
        while self.unsent:
            self.settle(self.unsent.popleft().index, Silent(why.reason, why.line, asked=False))


_UNASKED = Silent("not asked")
