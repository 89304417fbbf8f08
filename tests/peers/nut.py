"""Network UPS Tools: upsd, and a UPS of its simulation driver, whose variables a test sets."""

import asyncio
import contextlib
import os
import pwd
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from tests.peers import require
from tests.peers.child import Child, PeerError
from tests.peers.mosquitto import free_port

UPS = "ups1"


class Nut:
    """One upsd with one UPS, called ups1."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = free_port()
        self.upsd: Child | None = None
        self.driver: Child | None = None

    def show(self, variables: Mapping[str, str]) -> None:
        """What the UPS says from now on; the driver looks for a change at each of its polls (one a second)."""
        written = self.folder / "ups1.new"
        written.write_text("".join(f"{name}: {value}\n" for name, value in variables.items()))
        written.replace(self.folder / "ups1.dev")

    async def start(self) -> None:
        """The driver, then upsd; returns when upsd gives the UPS's status."""
        for name, text in {
            "ups.conf": f"[{UPS}]\ndriver = dummy-ups\nport = {self.folder}/ups1.dev\nmode = dummy-once\n"
            "pollinterval = 1\n",
            "upsd.conf": f"LISTEN {self.host} {self.port}\nMAXAGE 3\n",
            "upsd.users": "",
        }.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)
        await self.plug_in()
        await self.start_upsd()

    async def start_upsd(self) -> None:
        """Also after it was killed: the same port, the same UPS."""
        self.upsd = await self._child("nut-upsd", "-F")
        await self._until_it_answers(self.upsd)

    async def plug_in(self) -> None:
        """Start the driver; after `unplug`, the UPS comes back."""
        self.driver = await self._child("nut-dummy-ups", "-F", "-a", UPS)

    async def unplug(self) -> None:
        """End the driver: upsd stays, and has nothing to say about the UPS."""
        assert self.driver is not None
        await self.driver.kill()

    async def end(self) -> None:
        """Both are gone."""
        for child in (self.upsd, self.driver):
            if child is not None:
                await child.kill()

    async def _child(self, program: str, *options: str) -> Child:
        folder = str(self.folder)
        # Started by root they would become user nut, who may not write here: stay who we are.
        command: list[str | Path] = [require.find(program), *options, "-u", pwd.getpwuid(os.geteuid()).pw_name]
        places = dict.fromkeys(("NUT_CONFPATH", "NUT_STATEPATH", "NUT_ALTPIDPATH", "NUT_PIDPATH"), folder)
        return await Child.start(command, log=self.folder / f"{program}.log", environment=places)

    async def _until_it_answers(self, upsd: Child, seconds: float = 15.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not await self._answers():
                    if not upsd.running:
                        raise PeerError(f"upsd did not start: {upsd.last_words()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise PeerError(f"upsd knows nothing of its UPS after {seconds} s: {upsd.last_words()}") from None

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        with contextlib.closing(writer), contextlib.suppress(OSError):
            writer.write(f"GET VAR {UPS} ups.status\n".encode())
            return (await reader.readline()).startswith(b"VAR ")
        return False


@contextlib.asynccontextmanager
async def nut(folder: Path, variables: Mapping[str, str]) -> AsyncIterator[Nut]:
    """Run upsd and a UPS with these variables; there when the block begins and gone when it ends."""
    peer = Nut(folder)
    peer.show(variables)
    try:
        await peer.start()
        yield peer
    finally:
        await peer.end()
