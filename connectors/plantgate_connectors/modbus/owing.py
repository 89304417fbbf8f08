"""Which units of a line without numbers owe an answer, and what they are asked until that cannot come any more."""

from plantgate_connectors.modbus.canary import Missed
from plantgate_connectors.modbus.exchange import CANARY, Ask, Exchange
from plantgate_connectors.modbus.pdu import Question, Write


class Owing:
    """Of one line. It outlives the connections: a converter hands what is late to whoever is connected then."""

    def __init__(self) -> None:
        self._missed: dict[int, Missed] = {}
        """By unit. Where answers have numbers nothing is noted here, and nothing is asked before a question."""
        self._silent_unit: int | None = None
        """Who was asked last without an answer. Some slaves take the next question, whoever it is for, for the answer
        they wait to overhear (libmodbus does), so the next unit that is silent is asked once more."""

    def next(self, exchange: Exchange) -> Ask:
        """What is asked now: the next question, or before it one whose answer nobody wants."""
        missed, question = self._missed.get(exchange.unit), exchange.unsent[0].question
        like = question.read if isinstance(question, Write) else question
        if missed is not None:
            return Ask(exchange, CANARY, missed.canary(like))
        if isinstance(question, Write) and self._silent_unit not in (None, exchange.unit):
            return Ask(exchange, CANARY, like)  # may be lost on the silent one, and a write is not asked twice
        return exchange.unsent.popleft()

    def silent(self, unit: int, question: Question) -> bool:
        """No answer in time; it may still come. Returns whether the question may have been lost on another unit."""
        self.cut_off(unit, question)
        before, self._silent_unit = self._silent_unit, unit
        return before not in (None, unit)

    def cut_off(self, unit: int, question: Question) -> None:
        """The connection ended before the answer came, which may still come by the next."""
        self._missed.setdefault(unit, Missed()).add(question)

    def late(self, unit: int, payload_bytes: int) -> bool:
        """Whether an answer that was not due can be one that was missed; it is not waited for any more then."""
        missed = self._missed.get(unit)
        return missed is not None and missed.came(payload_bytes)

    def spoke(self) -> None:
        """The unit that was asked is there."""
        self._silent_unit = None

    def in_step(self, unit: int) -> None:
        """What came was the answer to the last question, so nothing older can follow."""
        self._missed.pop(unit, None)
