"""A connector whose process stands still after it was told to write, and before it looks whether it still may."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from plantgate.sdk import Actuator, Command, Connector, Deadline, Sample, Settings, Unavailable


class NoSettings(Settings):
    """None: it writes into its own folder."""


class Frozen(Connector[NoSettings]):
    """The machine is a file; another says that the process stands still now."""

    Settings: ClassVar[type[Settings]] = NoSettings

    @asynccontextmanager
    async def actuator(self) -> AsyncIterator[Actuator]:
        yield self

    async def write(self, command: Command) -> None:
        (self.context.folder / "told").touch()
        os.kill(os.getpid(), signal.SIGSTOP)
        if objection := command.objection():
            raise Unavailable(f"{command.tag}: {objection}; nothing was sent")
        (self.context.folder / "machine").write_text(str(command.value))

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        machine = self.context.folder / "machine"
        return Sample(tag, float(machine.read_text()) if machine.exists() else 0.0, 0, None)
