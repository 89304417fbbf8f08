"""What became of a write that nobody answered for: each machine is asked for itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from plantgate.control.proposal import Standing
from plantgate.sdk import Command, OutcomeUnknown, Unavailable
from tests.gateway.control.given import BELT, OVEN, SPEED, Oven, plant, run, settings


def test_a_machine_that_is_away_keeps_no_other_from_being_asked() -> None:
    """It took its five seconds and up to fifteen more, in which the other stood held."""

    async def main() -> None:
        away = asyncio.Event()

        class Leaving(Oven):
            @asynccontextmanager
            async def session(self) -> AsyncIterator[Oven]:
                if away.is_set():
                    raise Unavailable("plc: away")
                yield self

        async def lose(command: Command) -> None:
            machine = oven if command.tag == OVEN else belt
            machine.values[command.tag] = command.value
            raise OutcomeUnknown("no answer")

        oven, belt = Leaving(fate=lose), Oven(fate=lose)
        async with plant(written=settings(speed=BELT), oven=oven, belt=belt) as here:
            away.set()
            assert (await here.propose(50.0)).standing is Standing.UNKNOWN
            await asyncio.sleep(60)
            assert (await here.faster()).standing is Standing.UNKNOWN
            await asyncio.sleep(1)
            assert {name: len(held) for name, held in here.acting.gate.held.items()} == {"plc": 1, "belt": 0}
            assert belt.values[SPEED] == 60
            away.clear()
            await asyncio.sleep(20)
            assert not any(here.acting.gate.held.values())

    run(main)
