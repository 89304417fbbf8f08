"""What a cell could say that it must not: it ends the conversation with a reason, and raises nothing here."""

import asyncio
import random
from collections.abc import Callable

import msgspec
import pytest

from plantgate.runtime.cells.inside import Inside
from plantgate.runtime.cells.link import Link, Session
from plantgate.runtime.cells.messages import (
    Answered,
    Asked,
    Beat,
    Build,
    Closed,
    Cut,
    Done,
    Given,
    Open,
    Parcel,
    Raised,
    Read,
    Role,
    Stood,
    Take,
    Write,
)
from plantgate.runtime.cells.orders import Orders
from plantgate.runtime.cells.wire import ANSWERED, ASKED, FRAME_BYTES_MAX, Wire, packed
from plantgate.sdk import Batch, Exhausted, Gap, OutcomeUnknown, Rejected, Sample, State, Unavailable
from plantgate.store.codec import encode
from tests.gateway.runtime.celled import context


def framed(message: object) -> bytes:
    body = message if isinstance(message, bytes) else msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


BATCH = Batch.of(
    [Sample("a", 1.5, 0, 7), Sample("b", None, 0x8000_0000, None)], cursor="12", gaps=(Gap(("a",), 1, 2, "x", 3),)
)
ANSWERS: list[Answered] = [
    Done(1),
    Given(2, packed(BATCH), whole=True),
    Raised(3, "rejected", "no", None, ended=False),
    Closed(4),
    Stood(5, State.UP, "", 1.0, 3, 2, 1, {"gaps": 4}),
    Beat([{"event": "connected", "number": 3}]),
]


def test_messages_arrive_whole_however_the_stream_is_cut() -> None:
    async def main() -> None:
        luck = random.Random(1)
        stream = b"".join(map(framed, ANSWERS))
        for _ in range(300):
            heard: list[Answered] = []
            wire = Wire(ANSWERED, heard.append)
            cuts = sorted(luck.randrange(len(stream)) for _ in range(luck.randrange(12)))
            for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                wire.data_received(stream[begin:end])
            assert heard == ANSWERS
            assert not wire.over.done()

    asyncio.run(main())


def test_any_bytes_at_all_are_messages_or_the_end() -> None:
    async def main() -> None:
        luck = random.Random(2)
        ended = 0
        stream = b"".join(map(framed, ANSWERS))
        for _ in range(3000):
            wire: Wire[Answered] = Wire(ANSWERED, lambda _: None)
            spoilt = bytearray(stream)
            for _ in range(luck.randrange(1, 6)):
                spoilt[luck.randrange(len(spoilt))] = luck.randrange(256)
            wire.data_received(bytes(spoilt))
            ended += wire.over.done()
        assert ended > 1000

    asyncio.run(main())


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"\xff\xff\xff\xff", "sent a frame of 4294967295 bytes"),
        ((FRAME_BYTES_MAX + 1).to_bytes(4, "big"), f"sent a frame of {FRAME_BYTES_MAX + 1} bytes"),
        (framed(b""), "sent what cannot be read"),
        (framed(b"\xc1"), "sent what cannot be read"),
        (framed(b"\x91" * 100_000), "sent what cannot be read"),
        (framed(["given", 1]), "sent what cannot be read"),
        (framed(["open", 1, 1, True]), "sent what cannot be read"),
        (framed(["done", "one"]), "sent what cannot be read"),
        (framed(["stood", 1, "sleeping", "", 1.0, 0, 0, 0, {}]), "sent what cannot be read"),
        (framed(["beat", [{"event": {"deep": 1}}]]), "sent what cannot be read"),
    ],
)
def test_what_is_no_message_ends_the_conversation_with_a_reason(said: bytes, fault: str) -> None:
    async def main() -> None:
        wire: Wire[Answered] = Wire(ANSWERED, lambda _: None)
        wire.data_received(said)
        wire.data_received(framed(ANSWERS[0]))
        assert fault in wire.over.result()

    asyncio.run(main())


class Far:
    """A far end that says what the test wants."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.transport: asyncio.Transport

    async def answers(self, *messages: Answered | bytes) -> None:
        for message in messages:
            self.transport.write(framed(message))
        await asyncio.sleep(1.0)


async def talking(meet: Callable[[Link, Far], object]) -> None:
    loop, far, link = asyncio.get_running_loop(), Far(), Link(stood=lambda _: None, news=lambda _: None)
    theirs = Wire(ASKED, far.asked.append)
    server = await loop.create_server(lambda: theirs, "cell", 1)
    await loop.create_connection(lambda: link.wire, "cell", 1)
    await asyncio.sleep(0.1)
    assert theirs._transport is not None
    far.transport = theirs._transport
    try:
        await meet(link, far)  # type: ignore[misc]
    finally:
        link.end("over")
        server.close()


async def opened(session: Session, far: Far) -> None:
    opening = asyncio.create_task(session.open())
    await asyncio.sleep(0.1)
    await far.answers(Done(session.number))
    await opening


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda number: Done(number), "another question"),
        (lambda number: Given(number, Parcel(b"\x07nonsense", "", "", 0), True), "gave a batch that cannot be read"),
        (lambda number: Given(number, Parcel(b"", "", "", 0), True), "gave a batch that cannot be read"),
    ],
)
@pytest.mark.simulated(seeds=2)
async def test_a_wrong_answer_to_a_read_is_a_fault(answer: Callable[[int], Answered], fault: str) -> None:
    async def meet(link: Link, far: Far) -> None:
        with link.session(1, Role.SOURCE) as session:
            await opened(session, far)
            reading = asyncio.create_task(session.read())
            await asyncio.sleep(0.1)
            await far.answers(answer(session.number))
            assert fault in link.wire.over.result()
            link.end("cell hall is gone")
            with pytest.raises(Unavailable, match="cell hall is gone"):
                await reading

    await talking(meet)


@pytest.mark.simulated(seeds=2)
async def test_a_batch_nobody_asked_for_is_a_fault_and_one_for_nobody_is_passed_over() -> None:
    async def meet(link: Link, far: Far) -> None:
        with link.session(1, Role.SOURCE) as session:
            await opened(session, far)
            await far.answers(Given(session.number + 7, packed(BATCH), True))
            assert not link.wire.over.done()
            await far.answers(Given(session.number, packed(BATCH), True))
            assert "answered what nobody asked" in link.wire.over.result()

    await talking(meet)


@pytest.mark.parametrize(
    ("verdict", "error"),
    [
        ("unavailable", Unavailable),
        ("rejected", Rejected),
        ("unknown", OutcomeUnknown),
        ("exhausted", Exhausted),
        ("?", Unavailable),
    ],
)
@pytest.mark.simulated(seeds=1)
async def test_what_a_connector_raises_there_it_raises_here(verdict: str, error: type[Exception]) -> None:
    async def meet(link: Link, far: Far) -> None:
        with link.session(1, Role.SOURCE) as session:
            await opened(session, far)
            reading = asyncio.create_task(session.read())
            await asyncio.sleep(0.1)
            await far.answers(Raised(session.number, verdict, "for this reason", 4.5, ended=False))
            with pytest.raises(error, match="for this reason") as raised:
                await reading
            if isinstance(raised.value, Unavailable):
                assert raised.value.retry_after_seconds == 4.5

    await talking(meet)


@pytest.mark.simulated(seeds=3)
async def test_the_cursor_of_a_batch_is_told_with_the_next_read_and_that_of_a_piece_never() -> None:
    async def meet(link: Link, far: Far) -> None:
        with link.session(1, Role.SOURCE) as session:
            await opened(session, far)
            for number, whole in enumerate((False, True, True)):
                reading = asyncio.create_task(session.read())
                await asyncio.sleep(0.1)
                parcel = Parcel(encode(BATCH), f"cursor {number}", "", 0)
                await far.answers(Given(session.number, parcel, whole))
                await session.ack((await reading).cursor)
        told = [message.acknowledge for message in far.asked if isinstance(message, Read)]
        assert told == [None, None, "cursor 1"]

    await talking(meet)


@pytest.mark.simulated(seeds=3)
async def test_what_is_told_when_the_cell_has_hung_up_already_was_certainly_not_told() -> None:
    async def meet(link: Link, far: Far) -> None:
        with link.session(1, Role.ACTUATOR) as session:
            await opened(session, far)
            far.transport.abort()
            await link.wire.over
            with pytest.raises(Unavailable, match="it was told nothing"):
                await session.call(Write(session.number, "7", "press/speed", 1.0, 1e9))
            await asyncio.sleep(1.0)
        assert [type(message) for message in far.asked] == [Open]

    await talking(meet)


@pytest.mark.simulated(seeds=3)
async def test_a_wrong_answer_to_a_write_is_a_fault_and_an_unknown_outcome() -> None:
    async def meet(link: Link, far: Far) -> None:
        with link.session(1, Role.ACTUATOR) as session:
            await opened(session, far)
            writing = asyncio.create_task(session.call(Write(session.number, "7", "press/speed", 1.0, 1e9)))
            await asyncio.sleep(0.1)
            await far.answers(Given(session.number, packed(BATCH), whole=True))
            assert "answered another question" in link.wire.over.result()
            link.end("cell hall is gone")
            with pytest.raises(OutcomeUnknown, match="cell hall is gone"):
                await writing

    await talking(meet)


@pytest.mark.simulated(seeds=1)
async def test_a_batch_too_large_to_cross_is_refused_and_the_session_stands() -> None:
    async def meet(link: Link, far: Far) -> None:
        with link.session(1, Role.SINK) as session:
            await opened(session, far)
            with pytest.raises(Rejected, match="cannot cross into a cell"):
                await session.accept(Batch.of([Sample("a", b"x" * FRAME_BYTES_MAX, 0, None)]))
            taking = asyncio.create_task(session.accept(BATCH))
            await asyncio.sleep(0.1)
            await far.answers(Done(session.number))
            await taking
        assert [type(message) for message in far.asked] == [Open, Take]

    await talking(meet)


@pytest.mark.simulated(seeds=2)
async def test_a_cell_answers_for_a_use_it_does_not_have() -> None:
    heard: list[Answered] = []
    gateway, inside = Wire(ANSWERED, heard.append), Inside(context=context)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: gateway, "gateway", 1)
    serving = asyncio.create_task(inside.serve(lambda wire: loop.create_connection(lambda: wire, "gateway", 1)))
    await asyncio.sleep(1.0)
    gateway.say(Open(1, 99, Role.SOURCE))
    gateway.say(Read(1, None))
    gateway.say(Cut(1))
    await asyncio.sleep(1.0)
    assert [answer for answer in heard if not isinstance(answer, Beat)] == [
        Raised(1, "unavailable", "its flow has ended", None, ended=True)
    ]
    gateway.close()
    server.close()
    await serving


@pytest.mark.simulated(seeds=2)
async def test_a_connector_that_cannot_be_imported_or_built_is_away_and_its_cell_stays() -> None:
    heard: list[Answered] = []
    gateway, inside = Wire(ANSWERED, heard.append), Inside(context=context)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: gateway, "gateway", 1)
    serving = asyncio.create_task(inside.serve(lambda wire: loop.create_connection(lambda: wire, "gateway", 1)))
    await asyncio.sleep(1.0)
    gateway.say(Build(7, Orders("press3", "telemetry", "/a", "/b", b"no pickle")))
    gateway.say(Open(1, 7, Role.SOURCE))
    await asyncio.sleep(1.0)
    (away,) = [answer for answer in heard if isinstance(answer, Raised)]
    assert away.message.startswith("cannot be built: UnpicklingError")
    assert any(isinstance(answer, Stood) and answer.state is State.AWAY for answer in heard)
    assert not gateway.over.done()
    gateway.close()
    server.close()
    await serving
