"""A gateway with a fault that the acting journey must find: it writes again what nobody answered for."""

import asyncio
import sys

from plantgate import cli
from plantgate.control.hand import Hand
from plantgate.runtime import deeds
from plantgate.sdk import Command, Deadline, OutcomeUnknown


class RetryingHand(Hand):
    """Takes silence for failure."""

    async def write(self, command: Command, confirm_seconds: float) -> None:
        try:
            await super().write(command, confirm_seconds)
        except OutcomeUnknown:
            while self._broken.is_set():  # noqa: ASYNC110  a session that is opened anew tells nobody
                await asyncio.sleep(0.01)
            await self.there()
            again = Command(command.id, command.tag, command.value, Deadline.after(confirm_seconds))
            await super().write(again, confirm_seconds)


if __name__ == "__main__":
    vars(deeds)["Hand"] = RetryingHand  # the runtime makes its hands by this name
    sys.exit(cli.main())
