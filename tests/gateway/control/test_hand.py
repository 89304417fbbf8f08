"""The session through which a machine is acted on: lost, noticed, opened again; a command belongs to one of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import pytest

from plantgate.control.hand import Hand
from plantgate.control.proposal import Standing as Ended
from plantgate.flow.stop import Stop
from plantgate.runtime.flowline import RECONNECT
from plantgate.runtime.supervisor import keep_running
from plantgate.sdk import Actuator, Command, Deadline, OutcomeUnknown, Sample, Standing, State, Unavailable
from tests.gateway.control.given import OVEN, Oven, Quiet, plant, run


class Talk:
    """One session with the oven; it does not notice when it is lost."""

    def __init__(self, line: "Line") -> None:
        self.line = line
        self.over = asyncio.Event()
        self.sent: list[Command] = []

    async def write(self, command: Command) -> None:
        if self.over.is_set():
            raise Unavailable("the line is cut")
        self.sent.append(command)
        if self.line.answers:
            await self.line.oven.write(command)
        else:
            await self.over.wait()
            raise OutcomeUnknown("sent, and then the line was cut")

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        seen = await self.line.oven.read(tag, deadline)
        if self.line.cut_by_looking:
            self.line.cut()
            self.line.mend()
            await self.line.opened(len(self.line.talks) + 1)  # the next one is there before this call has ended
            return seen
        if self.over.is_set():
            raise Unavailable("the line is cut")
        return seen


class Alert(Talk):
    """One that notices."""

    async def lost(self) -> NoReturn:
        await self.over.wait()
        raise Unavailable("the line is cut")


@dataclass
class Line:
    """Between the gateway and the oven; can be cut."""

    made: type[Talk] = Alert
    oven: Oven = field(default_factory=Oven)
    sound: bool = True
    answers: bool = True
    cut_by_looking: bool = False
    talks: list[Talk] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Actuator]:
        if not self.sound:
            raise Unavailable("nobody is there")
        talk = self.made(self)
        self.talks.append(talk)
        async with self.news:
            self.news.notify_all()
        yield talk

    def cut(self) -> None:
        self.sound = False
        self.talks[-1].over.set()

    def mend(self) -> None:
        self.sound = True

    async def opened(self, count: int) -> None:
        """Until there have been so many sessions."""
        async with self.news:
            await self.news.wait_for(lambda: len(self.talks) >= count)


@dataclass
class Kept:
    hand: Hand
    standing: Standing
    news: Quiet

    async def write(self, value: float = 50.0) -> None:
        await self.hand.write(Command("c", OVEN, value, Deadline.after(5.0)), confirm_seconds=5.0)


@asynccontextmanager
async def kept(line: Line) -> AsyncIterator[Kept]:
    """As the gateway keeps it."""
    news, stop = Quiet(), Stop()
    standing = Standing(news)
    hand = Hand("plc", line.session, standing.up)
    keeping = asyncio.create_task(keep_running(hand.session, stop=stop, backoff=RECONNECT, standing=standing, log=news))
    await hand.there()
    yield Kept(hand, standing, news)
    stop.set()
    await keeping


def test_a_session_lost_while_nothing_is_written_is_opened_again_and_the_next_command_works() -> None:
    async def play() -> None:
        line = Line()
        async with kept(line) as now:
            line.cut()
            line.mend()
            await line.opened(2)
            await now.hand.there()
            await now.write()
            assert [len(talk.sent) for talk in line.talks] == [0, 1]
            assert line.oven.values[OVEN] == 50.0

    run(play)


def test_of_a_session_that_cannot_notice_the_next_command_finds_out_and_is_not_sent() -> None:
    async def play() -> None:
        line = Line(Talk)
        async with kept(line) as now:
            line.cut()
            line.mend()
            await asyncio.sleep(3600.0)
            assert len(line.talks) == 1
            with pytest.raises(Unavailable, match="the line is cut"):
                await now.write()
            await line.opened(2)
            await now.hand.there()
            await now.write(51.0)
            assert [command.value for command in line.oven.written] == [51.0]

    run(play)


def test_it_is_seen_that_a_machine_is_away_and_since_when_and_that_it_came_back() -> None:
    async def play() -> None:
        line = Line()
        async with kept(line) as now:
            came = now.standing.changed
            await asyncio.sleep(60.0)
            line.cut()
            await asyncio.sleep(0.001)
            assert (now.standing.state, now.standing.reason) == (State.AWAY, "the line is cut")
            went = now.standing.changed
            assert went == came + 60.0
            await asyncio.sleep(600.0)
            assert (now.standing.changed, now.standing.reason) == (went, "nobody is there")
            with pytest.raises(Unavailable, match="there is no session for writing"):
                await now.write()
            line.mend()
            await line.opened(2)
            await now.hand.there()
            assert now.standing.state is State.UP
            assert line.oven.written == []  # what was refused is not sent when it is back
            assert [text.split(" {")[0] for text in now.news.lines] == [
                "connected",
                "away, trying again until it returns",
                "connected",
            ]

    run(play)


def test_a_session_lost_after_the_write_went_out_is_an_unknown_outcome_and_nothing_is_sent_again() -> None:
    async def play() -> None:
        line = Line(answers=False)
        async with kept(line) as now:
            async with now.hand.busy:
                writing = asyncio.create_task(now.write())
                await asyncio.sleep(0.1)
                line.cut()
                with pytest.raises(OutcomeUnknown, match="sent, and then the line was cut"):
                    await writing
            line.answers = True
            line.mend()
            await line.opened(2)
            await asyncio.sleep(600.0)
            assert [[command.value for command in talk.sent] for talk in line.talks] == [[50.0], []]

    run(play)


def test_a_command_is_not_sent_in_another_session_than_the_machine_was_looked_at_in() -> None:
    """The machine may have been restarted between the two. `plant` keeps the hand, guards and record are the real."""

    async def play() -> None:
        line = Line()
        async with plant(session=line.session) as now:
            line.cut_by_looking = True
            answer = await now.propose(deadline=Deadline.after(60.0))
            line.cut_by_looking = False
            assert (answer.standing, "no session for writing" in answer.reason) == (Ended.FAILED, True), answer
            assert len(line.talks) == 2
            assert line.oven.written == []
            await asyncio.sleep(2.0)  # the pace of writes counts from the last attempt
            now.door()
            assert (await now.propose()).standing is Ended.DONE
            assert [len(talk.sent) for talk in line.talks] == [0, 1]

    run(play)


def test_a_late_call_of_a_session_does_not_end_the_next_one() -> None:
    async def play() -> None:
        line = Line()
        async with kept(line) as now:
            slow = asyncio.Event()

            class Late(Oven):
                async def read(self, tag: str, deadline: Deadline) -> Sample:
                    await slow.wait()
                    raise Unavailable("no answer")

            line.oven = Late()
            reading = asyncio.create_task(now.hand.read(OVEN, Deadline.after(4.0)))
            await asyncio.sleep(0.0)
            line.cut()
            line.mend()
            await line.opened(2)
            await now.hand.there()
            slow.set()
            with pytest.raises(Unavailable, match="no answer"):
                await reading
            assert now.hand.open
            await asyncio.sleep(600.0)
            assert len(line.talks) == 2

    run(play)
