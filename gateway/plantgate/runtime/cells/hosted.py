"""One session of a connector in a cell: opened, used and closed as the gateway asks."""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, TypeAlias, cast

from plantgate.flow.deadletter import DeadLetterFile
from plantgate.flow.noticed import noticed
from plantgate.flow.stop import Stop
from plantgate.runtime.cells.messages import (
    Ask,
    Close,
    Closed,
    Cut,
    Done,
    Given,
    Look,
    Open,
    Parcel,
    Raised,
    Read,
    Recall,
    Role,
    Shown,
    Stood,
    Take,
    Write,
)
from plantgate.runtime.cells.verdicts import told
from plantgate.runtime.cells.wire import FRAME_BYTES_MAX, PICTURE_BYTES_MAX, PIECE_BYTES_MAX, packed, unpacked
from plantgate.sdk import (
    Actuator,
    Batch,
    Camera,
    Command,
    Connector,
    Context,
    Deadline,
    Exhausted,
    Frame,
    GatewayError,
    OutcomeUnknown,
    Rejected,
    Settings,
    Sink,
    Source,
    State,
    Unavailable,
)
from plantgate.store.codec import halves

Answer: TypeAlias = Done | Given | Shown | Raised | Closed
Order: TypeAlias = Read | Take | Write | Ask | Look | Close

_ORDERS_MOST: Final = 4
_TIDY_SECONDS: Final = 10.0
"""How long the next session waits for those that were cut."""
_TIDY_ACTING_SECONDS: Final = 60.0
"""The same of one that acts on a machine. Then the whole cell is ended: what a write did that was cut can be asked for
only when it can do no more."""


@dataclass(slots=True)
class Use:
    connector: Connector[Settings] | None
    context: Context
    trouble: str = ""
    """Why it could not be built."""
    told: Stood | None = None


class Host(Protocol):
    """What a session needs of the cell."""

    def say(self, answer: Answer, use: Use, number: int) -> None:
        """Answer, and say first how the use of that number stands."""
        ...

    def still_there(self) -> bool:
        """Hear what the gateway has told already; False if it is gone."""
        ...

    def forget(self, session: int) -> None:
        """It has ended."""
        ...

    def end(self) -> None:
        """End the cell, and with it what would not end by itself."""
        ...


@dataclass(slots=True)
class HostedSession:
    """One session of one use; opened, used and closed in one task, as connectors may expect."""

    host: Host
    opened: Open
    building: "asyncio.Task[Use]"
    before: "list[asyncio.Task[None]]"
    """Sessions of the same use and role that had not ended when this one was asked for."""
    task: "asyncio.Task[None]" = field(init=False)
    orders: "asyncio.Queue[Order]" = field(default_factory=lambda: asyncio.Queue(_ORDERS_MOST))
    stop: Stop = field(default_factory=Stop)
    pieces: deque[Given] = field(default_factory=deque)
    recalled: str = ""
    """Why the command under way must not be sent any more."""
    use: Use = field(init=False)

    def told(self, message: Order | Recall | Cut) -> None:
        """The gateway has said something about this session."""
        match message:
            case Cut():
                self.recalled = "it was given up"
                self.stop.set()  # for a connector that makes an error of its own of being cancelled
                self.task.cancel()
            case Recall():
                self.recalled = message.reason
            case Close():
                self.stop.set()
                self.orders.put_nowait(message)
            case _:
                self.recalled = ""
                self.orders.put_nowait(message)

    async def run(self) -> None:
        """Never raises but for cancellation: what a session meets is the gateway's to hear, and nobody else's."""
        try:
            self.use = await asyncio.shield(self.building)
            standing, log = self.use.context.standing, self.use.context.log
            if not await self._alone():
                self._raised(Unavailable("an earlier session has not ended; its cell is ended with it"), ended=True)
                log.error("a session for writing has not ended, ending the cell with it", seconds=_TIDY_ACTING_SECONDS)
                return self.host.end()
            if standing.state is State.UP:
                # The session before ended there and well, and the gateway has said since how the use stands: what was
                # told before must be news again.
                standing.state = State.STARTING
            try:
                await self._serve()
            except GatewayError as error:
                standing.away(str(error))
                self._raised(error, ended=True)
            except (Exception, asyncio.CancelledError) as error:
                # A library may cancel what its caller waits for, which is no wish of ours. And a group that was
                # cancelled can raise something else: python/cpython#116720, see `runtime.supervisor`.
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise asyncio.CancelledError from error
                said = f"unexpected {type(error).__name__}: {error}"
                standing.count("session_errors")
                standing.away(said)
                log.error("session ended by an unexpected error, opening the next one", exc_info=error)
                self._raised(Unavailable(said), ended=True)
            else:
                self._say(Closed(self.opened.session))
            return None
        finally:
            self.host.forget(self.opened.session)

    async def _alone(self) -> bool:
        """Wait for sessions that were cut and may be tidying up: a connector has one at a time. False if it must not
        go on."""
        acting = self.opened.role is Role.ACTUATOR
        if not self.before:
            return True
        _, late = await asyncio.wait(self.before, timeout=_TIDY_ACTING_SECONDS if acting else _TIDY_SECONDS)
        self.before.clear()
        return not (late and acting)

    async def _serve(self) -> None:
        if (connector := self.use.connector) is None:
            raise Unavailable(self.use.trouble)
        match self.opened.role:
            case Role.SOURCE:
                async with connector.source() as source:
                    await self._give(source)
            case Role.SINK:
                async with connector.sink() as sink:
                    await self._take(sink)
            case Role.ACTUATOR:
                async with connector.actuator() as actuator:
                    self.use.context.standing.up()
                    await self._act(actuator)
            case Role.CAMERA:
                async with connector.camera() as camera:
                    await self._see(camera)

    async def _take(self, sink: Sink) -> None:
        self._say(Done(self.opened.session))
        while isinstance(order := await self.stop.unless(self.orders.get), Take):
            try:
                await sink.accept(unpacked(order.parcel))
            except Rejected as error:
                self._raised(error, ended=False)
            else:
                self._say(Done(self.opened.session))

    async def _act(self, actuator: Actuator) -> None:
        """A call that raises leaves the session as good as its connector says with the next one, or by itself."""
        async with noticed(actuator, self.stop.set):
            self._say(Done(self.opened.session))
            while (order := await self.stop.unless(self.orders.get)) is not None:
                try:
                    self._say(await self._acted(actuator, order))
                except GatewayError as error:
                    said = isinstance(error, Unavailable | Rejected) or not isinstance(order, Write)
                    self._raised(error if said else OutcomeUnknown(str(error)), ended=False)

    async def _acted(self, actuator: Actuator, order: Order) -> Done | Given:
        session = self.opened.session
        if isinstance(order, Write):
            deadline = Deadline(order.deadline)
            await actuator.write(Command(order.command, order.tag, order.value, deadline, self._recalled))
            return Done(session)
        assert isinstance(order, Ask)
        sample = await actuator.read(order.tag, Deadline(order.deadline))
        (parcel,) = _parcels(Batch.of([sample]))
        return Given(session, parcel, whole=True)

    def _recalled(self) -> str:
        """As it is now: a cell that stood still may have been told so, and not have read it."""
        return self.recalled if self.host.still_there() else "the gateway is gone"

    async def _see(self, camera: Camera) -> None:
        self._say(Done(self.opened.session))
        while isinstance(await self.orders.get(), Look):
            try:
                frame = await self.stop.unless(camera.frame)
            except Exhausted as error:
                self._raised(error, ended=False)
                continue
            if frame is not None:
                self._say(_shown(self.opened.session, frame))

    async def _give(self, source: Source) -> None:
        self._say(Done(self.opened.session))
        while True:
            order = await self.orders.get()
            assert isinstance(order, Read | Close)
            if order.acknowledge is not None:
                await source.ack(order.acknowledge)
            if isinstance(order, Close):
                return
            try:
                given = self.pieces.popleft() if self.pieces else await self.stop.unless(partial(self._read, source))
            except Exhausted as error:
                self._raised(error, ended=False)
                continue
            if given is not None:
                self._say(given)

    async def _read(self, source: Source) -> Given:
        """The next batch, or the first piece of it; one that could not be stored is set aside here, as it would be."""
        while True:
            batch = await source.read()
            try:
                self.pieces += self._cut(batch)
                return self.pieces.popleft()
            except Rejected as error:
                context = self.use.context
                await DeadLetterFile(context.folder / "dead-letters.jsonl").accept(batch)
                context.standing.count("set_aside_samples", len(batch))
                context.log.error("refused, written to the dead-letter file", samples=len(batch), reason=str(error))
                await source.ack(batch.cursor)

    def _cut(self, batch: Batch) -> list[Given]:
        """Pieces of about `PIECE_BYTES_MAX`, the last one with the batch's cursor."""
        *pieces, last = _parcels(batch)
        last.cursor = batch.cursor
        session = self.opened.session
        return [*(Given(session, piece, whole=False) for piece in pieces), Given(session, last, whole=True)]

    def _say(self, answer: Answer) -> None:
        self.host.say(answer, self.use, self.opened.use)

    def _raised(self, error: GatewayError, *, ended: bool) -> None:
        self._say(told(self.opened.session, error, ended=ended))


def _shown(session: int, frame: Frame) -> Shown:
    size, pixels = frame.pixels.nbytes, frame.pixels
    if size > PICTURE_BYTES_MAX:
        raise Unavailable(
            f"{frame.name}: a picture of {size} bytes is too large to leave the cell, {PICTURE_BYTES_MAX} are the most;"
            " take its connection out of `cells`"
        )
    # Encoded from where they lie; what is a part of a larger picture is copied.
    flat = cast(bytes, pixels.cast("B") if pixels.c_contiguous else pixels.tobytes())
    return Shown(session, frame.name, tuple(pixels.shape or ()), flat, frame.at, frame.time, dict(frame.context))


def _parcels(batch: Batch) -> list[Parcel]:
    parcel = packed(batch)
    size = len(parcel.content)
    if len(batch) <= 1 and size > FRAME_BYTES_MAX // 2:
        raise Rejected(f"{batch.tags[0] if batch.tags else 'a gap'}: {size} bytes are too much to leave the cell")
    if size <= PIECE_BYTES_MAX or len(batch) <= 1:
        return [parcel]
    return [piece for half in halves(batch) for piece in _parcels(half)]
