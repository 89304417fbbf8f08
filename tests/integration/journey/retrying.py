"""A gateway with a fault that the acting journey must find: it writes again what nobody answered for."""

import asyncio
import sys
from contextlib import suppress

from plantgate import cli
from plantgate.control.hand import Hand
from plantgate.runtime import deeds
from plantgate.sdk import Command, Deadline, OutcomeUnknown, Unavailable


class RetryingHand(Hand):
    """Takes silence for failure."""

    async def write(self, command: Command, confirm_seconds: float) -> None:
        try:
            await super().write(command, confirm_seconds)
        except OutcomeUnknown:
            await self._again(command, confirm_seconds)

    async def _again(self, command: Command, confirm_seconds: float) -> None:
        """In a session of its own, as soon as there is one."""
        while True:
            with suppress(Unavailable):
                async with self._open() as another:
                    again = Command(command.id, command.tag, command.value, Deadline.after(confirm_seconds))
                    return await another.write(again)
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    vars(deeds)["Hand"] = RetryingHand  # the runtime makes its hands by this name
    sys.exit(cli.main())
