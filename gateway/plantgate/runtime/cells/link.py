"""The gateway's half of the conversation with a cell: sessions that look like those of any connector."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final, TypeAlias

from plantgate.runtime.cells.messages import (
    Answered,
    Ask,
    Asked,
    Beat,
    Close,
    Closed,
    Cut,
    Done,
    Given,
    Look,
    NewsLine,
    Open,
    Raised,
    Read,
    Role,
    Shown,
    Stood,
    Take,
    Write,
)
from plantgate.runtime.cells.verdicts import heard
from plantgate.runtime.cells.wire import ANSWERED, FRAME_BYTES_MAX, Broken, Wire, packed, unpacked
from plantgate.sdk import Batch, Cursor, Frame, GatewayError, Rejected, Unavailable
from plantgate.store.codec import Unreadable

Answer: TypeAlias = Done | Given | Shown | Raised | Closed
Brought: TypeAlias = Batch | Frame | None
"""What an answer brings."""

_ANSWER_SECONDS: Final = 5.0
"""How long a question stands that nobody waits for any more, before its session is given up."""
_CLOSE_SECONDS: Final = 60.0
"""How long a session may take to end as asked."""
_PIECE: Final = "\0piece"
"""Cursor of a piece: there is nothing to acknowledge before the last one."""


class Link:
    """One life of a cell, as the gateway sees it."""

    def __init__(
        self,
        *,
        stood: Callable[[Stood], None],
        news: Callable[[list[NewsLine]], None],
    ) -> None:
        self.beats = 0
        self.over = ""
        """Why the conversation has ended; empty while it goes on."""
        self.wire = Wire(ANSWERED, self._heard)
        self._stood, self._news = stood, news
        self._numbers = count(1)
        self._sessions: dict[int, Session] = {}

    def say(self, message: Asked) -> bool:
        """Tell the cell. False if it cannot be told anything any more."""
        return self.wire.say(message)

    def _heard(self, message: Answered) -> None:
        match message:
            case Beat():
                self.beats += 1
                self._news(message.news)
            case Stood():
                # Between two sessions the gateway itself says how a use stands.
                if any(session.use == message.use for session in self._sessions.values()):
                    self._stood(message)
            case _:
                if (session := self._sessions.get(message.session)) is not None:
                    session.answered(message)

    def end(self, reason: str) -> None:
        """The cell is gone: whatever was asked is answered with `Unavailable`, a write with `OutcomeUnknown`."""
        if self.over:
            return
        self.over = reason
        self.wire.close()
        for session in self._sessions.values():
            session.answered(Raised(session.number, "unavailable", reason, None, ended=True))

    @contextmanager
    def session(self, use: int, role: Role) -> Iterator["Session"]:
        """A session, known to the link as long as the block lasts."""
        session = Session(self, next(self._numbers), use, role)
        self._sessions[session.number] = session
        try:
            yield session
        finally:
            del self._sessions[session.number]


class Session:
    """A `Source`, a `Sink` or a `Camera` in the cell, and what `acting` makes an `Actuator` of; one call at a time."""

    def __init__(self, link: Link, number: int, use: int, role: Role) -> None:
        self.number, self.use = number, use
        self.over: asyncio.Future[GatewayError] = asyncio.get_running_loop().create_future()
        """Done, with why, once the cell has ended the session, or has ended itself."""
        self._link, self._role = link, role
        self._asked: Asked | None = None
        self._answers: deque[Brought | Raised] = deque(maxlen=1)
        self._wait: asyncio.Future[None] | None = None
        self._end: Raised | None = None
        self._closing: asyncio.Future[None] | None = None
        self._acknowledge: Cursor | None = None

    async def open(self) -> None:
        """As entering the connector's session does."""
        self._ask(Open(self.number, self.use, self._role))
        await self._answer()

    async def read(self) -> Batch:
        """As `Source.read`. A read that was cancelled goes on in the cell; the next one gets what it brings."""
        if self._asked is None:
            acknowledge, self._acknowledge = self._acknowledge, None
            self._ask(Read(self.number, acknowledge))
        batch = await self._answer()
        assert isinstance(batch, Batch)
        return batch

    async def ack(self, cursor: Cursor) -> None:
        """As `Source.ack`; told with the next read, or at the end of the session."""
        if cursor != _PIECE:
            self._acknowledge = cursor

    async def accept(self, batch: Batch) -> None:
        """As `Sink.accept`."""
        parcel = packed(batch)
        if len(parcel.content) > FRAME_BYTES_MAX // 2:
            raise Rejected(f"a batch of {len(parcel.content)} bytes cannot cross into a cell")
        self._ask(Take(self.number, parcel))
        await self._answer()

    async def frame(self) -> Frame:
        """As `Camera.frame`. One that came when nobody waited any more is gone."""
        if self._answers:
            self._answers.clear()
            self._asked = None
        if self._asked is None:
            self._ask(Look(self.number))
        frame = await self._answer()
        assert isinstance(frame, Frame)
        return frame

    async def call(self, message: Write | Ask) -> Brought:
        """Have it done, and what it brings. A write that was cancelled leaves a session of no more use: nobody hears
        the answer. A question stands for a while, see `done`.

        Raises as the actuator does. A write that was told to a cell which is gone before it has answered is
        `OutcomeUnknown`; `Unavailable` only where the cell was told nothing, or has said that nothing was sent.
        """
        self._ask(message)
        try:
            return await self._answer()
        except asyncio.CancelledError:
            if isinstance(message, Write):
                self.cut()
            else:
                asyncio.get_running_loop().call_later(_ANSWER_SECONDS, self._give_up, message)
            raise

    async def done(self) -> None:
        """Until nothing is asked: what nobody waits for any more is answered all the same, and then of no interest."""
        if self._asked is not None:
            with suppress(GatewayError):
                await self._answer()

    def _give_up(self, question: Asked) -> None:
        if self._asked is question and self._end is None:
            self.cut()
            self.over.set_result(Unavailable("the cell goes on to say nothing about what it was asked"))

    def tell(self, message: Asked) -> None:
        """Say something that is not answered."""
        self._link.say(message)

    async def close(self) -> None:
        """As leaving the connector's session does. Harmless once it has ended."""
        if self._end is not None:
            return
        if isinstance(self._asked, Open | Take | Write | Ask):
            self.cut()
            return
        self._closing = asyncio.get_running_loop().create_future()
        self._link.say(Close(self.number, self._acknowledge))
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._closing
        except TimeoutError:
            self.cut()
        except asyncio.CancelledError:
            self.cut()
            raise

    def cut(self) -> None:
        """End it without waiting, whatever is under way."""
        if self._end is None:
            self._link.say(Cut(self.number))
            self._ended(_CLOSED)

    def answered(self, message: Answer) -> None:
        """The cell has said something about this session. Raises `Broken` for what nobody asked."""
        if isinstance(message, Closed) or (isinstance(message, Raised) and message.ended):
            self._ended(message)
            if not self.over.done():
                self.over.set_result(heard(self._end or _CLOSED))
        elif self._closing is not None or self._end is not None:
            return  # too late: it will be given again, or asked for
        elif self._asked is None or self._answers:
            raise Broken("answered what nobody asked")
        elif isinstance(message, Raised):
            self._answered(message)
        elif type(message) is not _ANSWERED_BY.get(type(self._asked), Done):
            raise Broken("answered another question than it was asked")
        else:
            self._answered(_brought(message))

    def _ended(self, message: Closed | Raised) -> None:
        if self._end is None:
            self._end = message if isinstance(message, Raised) else _CLOSED
        if self._asked is not None and not self._answers:
            self._answered(_unknown(self._end) if isinstance(self._asked, Write) else self._end)
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)

    def _answered(self, answer: Brought | Raised) -> None:
        self._answers.append(answer)
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    def _ask(self, message: Asked) -> None:
        if self._end is not None:
            raise heard(self._end)
        if self._link.over:
            raise Unavailable(self._link.over)
        assert self._asked is None, "one call at a time"
        if not self._link.say(message):
            raise Unavailable("its cell has just gone; it was told nothing")
        self._asked = message

    async def _answer(self) -> Brought:
        """Wait for it; a wait that is cancelled leaves the question standing."""
        if not self._answers:
            self._wait = asyncio.get_running_loop().create_future()
            await self._wait
        answer, self._asked = self._answers.popleft(), None
        if isinstance(answer, Raised):
            raise heard(answer)
        return answer


_ANSWERED_BY: Final[dict[type[Asked], type[Answered]]] = {Read: Given, Ask: Given, Look: Shown}
"""Everything else is answered by `Done`."""


def _brought(message: Answer) -> Brought:
    match message:
        case Given():
            return _opened(message)
        case Shown():
            return _seen(message)
    return None


def _seen(shown: Shown) -> Frame:
    try:
        pixels = memoryview(shown.pixels).cast("B", shown.shape)
    except (TypeError, ValueError) as error:
        raise Broken(f"gave a picture that is none: {error}") from error
    return Frame(shown.name, pixels, shown.at, shown.time, shown.context)


def _opened(given: Given) -> Batch:
    try:
        batch = unpacked(given.parcel)
    except Unreadable as error:
        raise Broken(f"gave a batch that cannot be read: {error}") from error
    if not given.whole:
        batch.cursor = _PIECE
    return batch


_CLOSED: Final = Raised(0, "unavailable", "the session is closed", None, ended=True)


def _unknown(end: Raised) -> Raised:
    return Raised(0, "unknown", f"told to write, and then {end.message}; look at the machine", None, ended=True)
