"""One connection or serial line, shared by the devices on it: asks in turn, matches answers, reconnects by itself."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from plantgate.sdk import Backoff, Standing, Unavailable
from plantgate_connectors.modbus.dial import Address, dial
from plantgate_connectors.modbus.exchange import CANARY, Ask, Exchange, Patience
from plantgate_connectors.modbus.mbap import Frame, Malformed, Mbap
from plantgate_connectors.modbus.owing import Owing
from plantgate_connectors.modbus.pdu import Answer, Broken, Question, Refused, Silent, Write, answer
from plantgate_connectors.modbus.rtu import Rtu
from plantgate_connectors.modbus.serial_port import SerialPort, SerialTransport
from plantgate_connectors.modbus.wire import Wire

_SILENCES_MOST: Final = 3
"""So many questions in a row without a byte, and the connection is made anew: it may be half-open."""
_ODD_MOST: Final = 1000
"""Frames nobody asked for, and bytes of noise, before the connection is made anew."""
_TOO_LATE: Final = Silent("too late")
_RECONNECT: Final = Backoff(first_seconds=0.5, most_seconds=30.0)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a line is spoken to."""

    rtu: bool
    numbered: bool
    """Answers carry the number of their question, so several may be under way and a late one is known as such."""
    in_flight_max: int
    connect_seconds: float


class Line:
    """Give it questions with `ask`; `run` keeps it connected for as long as that is wanted."""

    def __init__(self, address: Address, manner: Manner, standing: Standing, owing: Owing) -> None:
        self.address = address
        self.up = asyncio.Event()
        """There is a connection; not set before the first try has succeeded, nor while tries fail."""
        self.tried = asyncio.Event()
        """It is known whether there is one."""
        self.down = asyncio.Event()
        """There is none, and the last try to make one has failed; a device may close a connection that is idle."""
        self.reason = ""
        """Why there is none."""
        self._manner = manner
        self._standing = standing
        self._loop = asyncio.get_running_loop()
        self._kept = asyncio.Lock()
        self._wire: Wire | None = None
        self._failed = False
        self._waiting: deque[Exchange] = deque()
        """Exchanges that may send, in turn."""
        self._asked: dict[int, Ask] = {}
        """Questions under way, by transaction id; without numbers there is one at most."""
        self._owing = owing
        self._transaction = random.randrange(0x10000)  # noqa: S311  two gateways at one device should not count alike
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._silences = 0
        self._odd = 0
        self._expired: deque[int] = deque(maxlen=256)
        """Transaction ids whose answer is late."""

    async def ask(self, unit: int, questions: Sequence[Question], patience: Patience) -> list[Answer]:
        """An answer to each question, or why there is none; never raises for what a device or the network does."""
        if self._failed:
            return [Silent(self.reason, line=True, asked=False)] * len(questions)
        exchange = Exchange(unit, questions, patience)
        self._waiting.append(exchange)
        return await self._exchanged(exchange)

    async def write(
        self, unit: int, write: Write, patience: Patience, not_after: float, objection: Callable[[], str] = lambda: ""
    ) -> Answer:
        """Before all that waits, once, and not a byte of it after that moment on the loop's clock.

        Nor once there is an objection, which is asked for when its turn has come.

        `Silent` that was not asked, or a refusal, is certain; anything else but the echo may have changed the device.
        """
        if self._failed:
            return Silent(self.reason, line=True, asked=False)
        exchange = Exchange(unit, [write], patience, not_after, objection)
        self._waiting.appendleft(exchange)
        too_late = self._loop.call_at(not_after, self._too_late, exchange)
        try:
            [came] = await self._exchanged(exchange)
        finally:
            too_late.cancel()
            if self._wire is not None and any(ask.exchange is exchange for ask in self._asked.values()):
                self._abandon(self._wire, "a write was given up")
        return came

    def _too_late(self, exchange: Exchange) -> None:
        """A write that waits is not asked any more; of one that was, nothing leaves that has not left."""
        exchange.give_up(_TOO_LATE)
        wire = self._wire
        if wire is not None and wire.waits and any(ask.exchange is exchange for ask in self._asked.values()):
            self._abandon(wire, "a write had not reached the device by its deadline")

    async def _exchanged(self, exchange: Exchange) -> list[Answer]:
        self._send()
        try:
            await exchange.done
        finally:
            if not exchange.done.done():  # cancelled: what is under way is heard and dropped
                exchange.done.cancel()
                exchange.unsent.clear()
        return exchange.answers

    async def keep(self) -> None:
        """Run it, unless another does; then as soon as that one no longer does. Until cancelled."""
        async with self._kept:
            try:
                await self.run()
            finally:  # whoever keeps it next begins anew
                self._failed = False
                self.up.clear()
                self.down.clear()
                self.tried.clear()

    async def run(self) -> None:
        """Connect, and again whenever the connection is gone; until cancelled."""
        attempt = 0
        while True:
            wire = Wire(self.received, Rtu() if self._manner.rtu else Mbap())
            try:
                await dial(self.address, wire, self._manner.connect_seconds)
                await wire.ready
                self._begin(wire)
                renewing = await wire.gone
            except Unavailable as error:
                self._fail(str(error))
                self.down.set()
            else:
                self._over(wire)
                if wire.heard:
                    attempt = 0
                if renewing and wire.heard:
                    continue
                self._fail(f"{self.address}: {wire.why}")
            finally:
                self._leave(wire, "closed")
            await asyncio.sleep(_RECONNECT.delay(attempt))
            attempt += 1

    # Connection.

    def _begin(self, wire: Wire) -> None:
        self._wire, self._failed = wire, False
        self._silences = self._odd = 0
        self._not_before = 0.0
        self.up.set()
        self.down.clear()
        self.tried.set()
        self._send()

    def _over(self, wire: Wire) -> None:
        """The connection is gone; questions under way have no answer, those that wait may be asked on the next."""
        if self._wire is not wire:
            return
        self._wire = None
        self._standing.count("connections_lost")
        lost = Silent(f"{self.address}: {wire.why}", line=True)
        for ask in [*self._asked.values()]:
            if not self._manner.numbered:
                self._owing.cut_off(ask.exchange.unit, ask.question)
            self._settle(ask, lost)
        self._asked.clear()

    def _leave(self, wire: Wire, why: str, *, renewing: bool = False) -> None:
        """End the connection ourselves: for good until the next try, or only to have a fresh one at once.

        What of a write has not left this machine stays here.
        """
        if any(isinstance(ask.question, Write) for ask in self._asked.values()):
            wire.drop_unsent()
        wire.abort(why, renewing=renewing)
        self._over(wire)

    def _abandon(self, wire: Wire, why: str) -> None:
        """End it after a write that was not confirmed: what of it has not left this machine stays here."""
        wire.drop_unsent()
        self._leave(wire, why, renewing=True)

    def _fail(self, reason: str) -> None:
        """There is no connection: nobody waits for one unknowingly."""
        self.reason, self._failed = reason, True
        self.up.clear()
        self.tried.set()
        while self._waiting:
            self._waiting.popleft().give_up(Silent(reason, line=True))

    # Asking.

    def _send(self) -> None:
        wire = self._wire
        if wire is None or not self._waiting:
            return
        now = self._loop.time()
        if now < self._not_before:
            self._wake_at(self._not_before)
            return
        requests = []
        while self._waiting and len(self._asked) < self._manner.in_flight_max:
            exchange = self._waiting.popleft()
            if now >= exchange.not_after:
                exchange.give_up(_TOO_LATE)
            elif objection := exchange.objection():
                exchange.give_up(Silent(objection))
            if not exchange.may_send:
                continue
            ask = self._owing.next(exchange)
            exchange.in_flight += 1
            ask.deadline = now + exchange.patience.timeout_seconds
            self._transaction = number = (self._transaction + 1) & 0xFFFF
            self._asked[number if self._manner.numbered else 0] = ask
            requests.append(wire.framing.frame(number, exchange.unit, ask.question.pdu))
            if exchange.may_send:
                self._waiting.append(exchange)
            if exchange.patience.pause_seconds:
                break
        if requests:
            wire.write(b"".join(requests))
            self._wake_at(now + exchange.patience.timeout_seconds)

    def _settle(self, ask: Ask, came: Answer) -> None:
        exchange = ask.exchange
        exchange.in_flight -= 1
        if ask.index == CANARY:
            if isinstance(came, Silent | Broken):
                exchange.give_up(came if isinstance(came, Silent) else Silent(came.reason))
        else:
            exchange.settle(ask.index, came)
            if isinstance(came, Silent):
                exchange.give_up(came)
        if exchange.may_send and exchange not in self._waiting:
            self._waiting.append(exchange)

    # Hearing.

    def received(self, wire: Wire, stream: bytes) -> None:
        """Bytes have come."""
        if wire is not self._wire:
            return
        self._silences = 0
        framing = wire.framing
        noise = framing.noise_bytes if isinstance(framing, Rtu) else 0
        try:
            frames = framing.feed(stream)
        except Malformed as error:
            self._standing.count("protocol_errors")
            self._leave(wire, f"it does not speak Modbus: {error}")
            return
        for frame in frames:
            self._hear(wire, frame)
        if isinstance(framing, Rtu) and framing.noise_bytes != noise:
            self._standing.count("noise_bytes", framing.noise_bytes - noise)
            self._odd += framing.noise_bytes - noise
        if self._odd > _ODD_MOST:
            self._leave(wire, "it sends what nobody asked for")
            return
        self._send()

    def _hear(self, wire: Wire, frame: Frame) -> None:
        number = frame.transaction if self._manner.numbered else 0
        ask = self._asked.get(number)
        if ask is None:
            self._stray(frame, f"an answer with transaction id {frame.transaction}, which is not under way")
            return
        if self._manner.numbered:
            came: Answer = (
                answer(ask.question, frame.pdu)
                if frame.unit == ask.exchange.unit
                else Broken(f"{ask.question}: answered for unit {frame.unit}, asked unit {ask.exchange.unit}")
            )
            if isinstance(came, Broken):
                self._standing.count("protocol_errors")
        else:
            if frame.unit != ask.exchange.unit:
                self._stray(frame, f"an answer for unit {frame.unit}")
                return
            came = answer(ask.question, frame.pdu)
            if isinstance(came, Broken):  # perhaps it is late, and the right one follows
                self._stray(frame, came.reason)
                return
            if isinstance(came, Refused) and ask.index == CANARY:  # of this question or of a late one: time will tell
                ask.refused = came
                self._owing.spoke()
                return
            self._owing.in_step(frame.unit)
            self._owing.spoke()
        del self._asked[number]
        if not isinstance(came, Broken):
            wire.heard = True
            self._odd = 0
        if pause := ask.exchange.patience.pause_seconds:
            self._not_before = self._loop.time() + pause
        elif isinstance(self.address, SerialPort):
            self._not_before = self._loop.time() + self.address.silence_seconds
        self._settle(ask, came)
        if isinstance(came, Broken) and isinstance(ask.question, Write):
            self._abandon(wire, came.reason)

    def _stray(self, frame: Frame, words: str) -> None:
        """Never taken for an answer; remembered to be told when the right one does not come."""
        if self._manner.numbered:
            late = frame.transaction in self._expired
        else:
            late = self._owing.late(frame.unit, len(frame.pdu) - 2)
        self._standing.count("late_answers" if late else "unasked_answers")
        self._odd += 1
        for ask in self._asked.values():
            ask.odd = f"{words}{' (a late one)' if late else ''}"

    # Time.

    def _wake_at(self, moment: float) -> None:
        """One timer for all questions under way; when it fires early it is set again."""
        if self._timer is None or moment < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(moment, self._woken)

    def _woken(self) -> None:
        self._timer = None
        now = self._loop.time()
        expired = [(number, ask) for number, ask in self._asked.items() if ask.deadline <= now]
        for number, ask in expired:
            del self._asked[number]
            self._expired.append(number)
            self._expire(ask)
        if self._wire is not None and any(isinstance(ask.question, Write) for _, ask in expired):
            self._abandon(self._wire, "connected anew after a write that was not confirmed")
        elif self._wire is not None and any(ask.refused is None for _, ask in expired):
            self._after_silence(self._wire)
        if self._asked:
            self._wake_at(min(ask.deadline for ask in self._asked.values()))
        self._send()

    def _expire(self, ask: Ask) -> None:
        if ask.refused is not None:  # and since then nothing: the refusal was its own
            self._owing.in_step(ask.exchange.unit)
            self._settle(ask, ask.refused)
            return
        self._standing.count("timeouts")
        self._silences += 1
        unit, seconds = ask.exchange.unit, ask.exchange.patience.timeout_seconds
        if not self._manner.numbered:
            lost_on_another = self._owing.silent(unit, ask.question)
            if lost_on_another and ask.exchange.ask_once_more(ask):
                self._waiting.appendleft(ask.exchange)
                return
        if ask.odd:
            self._settle(ask, Broken(f"{ask.question}: no answer from {self.address} unit {unit}, but {ask.odd}"))
        else:
            self._settle(ask, Silent(f"no answer from {self.address} unit {unit} in {seconds:g} s"))

    def _after_silence(self, wire: Wire) -> None:
        """Without numbers nothing that is still under way may meet the next question."""
        if not self._manner.numbered:
            wire.framing.forget()
            if isinstance(wire.transport, SerialTransport):
                wire.transport.flush_input()
            else:
                self._leave(wire, "connected anew after a missed answer", renewing=True)
        elif self._silences >= _SILENCES_MOST:
            self._leave(wire, f"{self._silences} questions without an answer", renewing=True)
