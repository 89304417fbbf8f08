"""A plant on your machine: a simulated line, a broker, the real gateway between them, and everything that can go wrong.

scripts/demo                  until Ctrl-C
scripts/demo --seconds 60     ends by itself; exit code 0 only if nothing is missing
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
import webbrowser
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from deploy.demo.acts import CALM, DRAIN_SECONDS, DRAINING, MENDED, Act, Trouble, acts, pace
from deploy.demo.cable import Cables
from deploy.demo.children import CannotRun, GatewayProcess, Plc, free_port, plc
from deploy.demo.counting import Balance, Count
from deploy.demo.page import serving
from deploy.demo.screen import Moment, Screen
from plantgate.testing.mqtt_broker import Broker
from plantgate.testing.mqtt_packets import Message

PAGE_PORT: Final = 9488
_LINE: Final = "line3/"
_CATCH_UP_MOST: Final = 30.0
"""How long the demo waits after a trouble for the gateway to be up to date again, before it goes on regardless."""
_CAUGHT_UP: Final = 150
"""So many values are on the way at any moment, half a second's worth and more."""
_DRAIN_MOST: Final = 25.0
"""How long the last values may take once all is connected."""


class Demo:
    """The parts, and how they stand."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.seconds: float | None = chosen.seconds
        self.host, self.port, self.open_browser = chosen.host, chosen.port, not chosen.no_browser
        self.folder = folder
        self.count = Count()
        self.story = "Starting: the line's PLC and energy meter, a broker, and the gateway between them."
        self.url = ""
        self.status: dict[str, Any] | None = None
        self.began: float | None = None
        self.asked = asyncio.Event()
        self.starting = True
        self.broker = Broker()
        self.mqtt_port = 0
        self.http_port = free_port()

    async def run(self) -> Balance:
        """From the first value to the last; what was counted."""
        self.broker.received = self._received
        print("demo: starting the line's PLC (an OPC UA server) and its energy meter (Modbus)", flush=True)
        async with self.broker, plc(self.folder / "plc.log") as machine:
            self.mqtt_port = await self.broker.listen("127.0.0.1", 0)
            cables = Cables((machine.port, machine.meter_port))
            await cables.plug()
            gateway = GatewayProcess(self._plant_file(*cables.ports), self.folder / "gateway.log")
            address = f"http://127.0.0.1:{self.http_port}"
            try:
                async with serving(self.host, self.port, address, self._told) as self.url:
                    print("demo: starting the broker and the gateway", flush=True)
                    await gateway.start()
                    await self._until_over(machine, cables, gateway, address)
            finally:
                await cables.pull()
                await gateway.stop()
        return self.count.balance()

    async def _until_over(self, machine: Plc, cables: Cables, gateway: GatewayProcess, address: str) -> None:
        self.starting = False
        async with asyncio.TaskGroup() as group:
            around = [
                group.create_task(machine.listen(self._made)),
                group.create_task(gateway.watch()),
                group.create_task(self._look(address)),
                group.create_task(self._draw()),
            ]
            telling = group.create_task(self._play(machine, cables, gateway))
            stopping = group.create_task(self.asked.wait())
            await asyncio.wait([telling, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in (*around, telling, stopping):
                task.cancel()

    async def _play(self, machine: Plc, cables: Cables, gateway: GatewayProcess) -> None:
        """The demo itself: wait until all is connected, then trouble after trouble, then the rest."""
        await self._until(lambda: self._all_live(len(machine.tags)))
        if self.open_browser and _has_browser():
            webbrowser.open(self.url)
        self.began = time.monotonic()
        await machine.go()
        calm, trouble = pace(self.seconds)
        for act in acts(calm, trouble):
            if self.seconds is not None:
                needed = act.calm_seconds + act.lasts_seconds + DRAIN_SECONDS
                if self.elapsed + needed > self.seconds:
                    break
            await self._tell_ahead(act)
            self.story = act.during
            await self._make_trouble(act, cables, gateway)
            self.story = MENDED
            await self._until(self._caught_up, _CATCH_UP_MOST)
            self.story = CALM
        assert self.seconds is not None
        self.story = f"{CALM} No more troubles: the machine goes on a little, then stops."
        await asyncio.sleep(max(0.0, self.seconds - DRAIN_SECONDS / 2 - self.elapsed))
        await machine.stop()
        self.story = DRAINING
        await self._until(lambda: not self._under_way(), _DRAIN_MOST)
        await asyncio.sleep(1.2)  # for a status that has seen the last confirmation, and for what should not come

    async def _until(self, there: Callable[[], bool], seconds: float = 1e9) -> None:
        end = time.monotonic() + seconds
        while not there() and time.monotonic() < end:  # noqa: ASYNC110  what it waits for is a child process's doing
            await asyncio.sleep(0.1)

    def _caught_up(self) -> bool:
        ends = [end for flow in self._flows() for end in flow["destinations"].values()]
        behind = any(end["behind_seconds"] > 1.5 for end in ends)
        return self._all_up() and not behind and self.count.balance().on_the_way < _CAUGHT_UP

    def _under_way(self) -> bool:
        queued = [end["queued"] for flow in self._flows() for end in flow["destinations"].values()]
        return bool(self.count.balance().on_the_way or sum(queued) or not queued)

    async def _tell_ahead(self, act: Act) -> None:
        end = time.monotonic() + act.calm_seconds
        while (left := end - time.monotonic()) > 0:
            self.story = f"{CALM} In {left:.0f} s {act.coming}." if left < 6 else CALM
            await asyncio.sleep(min(0.5, left))

    async def _make_trouble(self, act: Act, cables: Cables, gateway: GatewayProcess) -> None:
        trouble = act.trouble
        if trouble is Trouble.DROPPED:
            self.broker.drop_connections()
        if trouble is Trouble.GATEWAY:
            await gateway.kill()
        if trouble in (Trouble.BROKER, Trouble.BOTH):
            await self.broker.crash(keep=True)
        if trouble is Trouble.BOTH:
            await asyncio.sleep(act.lasts_seconds / 3)
        if trouble in (Trouble.CABLE, Trouble.BOTH):
            await cables.pull()
        await asyncio.sleep(act.lasts_seconds)
        if trouble is Trouble.GATEWAY:
            await gateway.start()
        if trouble in (Trouble.CABLE, Trouble.BOTH):
            await cables.plug()
        if trouble in (Trouble.BROKER, Trouble.BOTH):
            await self.broker.listen("127.0.0.1", self.mqtt_port)

    @property
    def elapsed(self) -> float:
        """Seconds since the machine began."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    def _all_live(self, tags: int) -> bool:
        return self._all_up() and self.count.balance().arrived >= tags

    def _all_up(self) -> bool:
        uses = [use for one in (self.status or {}).get("connections", {}).values() for use in one["uses"]]
        return bool(uses) and all(use["state"] == "up" for use in uses)

    def _flows(self) -> list[dict[str, Any]]:
        return list((self.status or {}).get("flows", {}).values())

    def _made(self, made: list[Any]) -> None:
        self.count.made([(_LINE + tag, at, value, status) for tag, at, value, status in made])

    def _received(self, message: Message) -> None:
        self.count.message(message.topic, bytes(message.payload))

    async def _look(self, address: str) -> None:
        """Ask the gateway how it stands, twice a second."""
        async with ClientSession(timeout=ClientTimeout(total=2.0)) as session:
            while True:
                try:
                    async with session.get(f"{address}/status") as response:
                        self.status = await response.json() if response.status == 200 else None
                except (ClientError, TimeoutError, OSError):
                    self.status = None
                await asyncio.sleep(0.5)

    async def _draw(self) -> None:
        screen = Screen()
        print(f"\nThe page: {self.url}\n" if not screen.in_place else "", flush=True)
        while True:
            screen.show(Moment(self.url, self.story, self.elapsed, self.status, self.count.balance()))
            await asyncio.sleep(0.5)

    def _told(self) -> list[tuple[str, dict[str, object]]]:
        """For the page, once a second."""
        balance = self.count.balance()
        rows: list[object] = [
            ["made by the machine", balance.made],
            ["arrived at the broker", balance.arrived],
            ["on the way", balance.on_the_way],
            ["altered on the way", balance.altered, _tone(balance.altered)],
            ["out of order", balance.out_of_order, _tone(balance.out_of_order)],
            ["arrived twice", balance.again],
        ]
        if balance.named:
            rows.insert(3, ["missing, in a gap record", balance.named, "bad"])
        note = "Counted outside the gateway, by the simulated machine and by the broker, value by value."
        if balance.repeats:
            note += f" {balance.repeats:,} were sent again under their old number, for a consumer to drop."
        now = datetime.now(UTC).isoformat()
        return [("story", {"time": now, "text": self.story}), ("counted", {"rows": rows, "note": note})]

    def _plant_file(self, plc_port: int, meter_port: int) -> Path:
        template = Template((Path(__file__).parent / "plant.yaml").read_text(encoding="utf-8"))
        written = template.substitute(
            HTTP_PORT=self.http_port, PLC_PORT=plc_port, METER_PORT=meter_port, MQTT_PORT=self.mqtt_port
        )
        plant_file = self.folder / "plant.yaml"
        plant_file.write_text(written, encoding="utf-8")
        return plant_file


def main() -> int:
    """0: every value made has arrived. 1: not so, or something did not start."""
    chosen = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="plantgate-demo-"))
    try:
        return asyncio.run(_main(chosen, folder))
    except ExceptionGroup as group:
        if (known := group.subgroup(CannotRun)) is None:
            raise
        print(f"demo: {known.exceptions[0]}", file=sys.stderr)
        return 1
    except CannotRun as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 0
    finally:
        if chosen.keep:
            print(f"Kept: {folder} (plant.yaml, gateway.log, the outbox)")
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _main(chosen: argparse.Namespace, folder: Path) -> int:
    demo = Demo(chosen, folder)
    async with _asked_to_stop(demo):
        balance = await demo.run()
    finished = not demo.asked.is_set()
    print(_verdict(demo, balance, finished))
    return 0 if (balance.fine and _difference(demo) == 0) or not finished else 1


def _verdict(demo: Demo, balance: Balance, finished: bool) -> str:
    counted = (
        f"made {balance.made:,} = arrived {balance.arrived:,} + in gap records {balance.named:,}"
        f" + not arrived {balance.on_the_way:,}"
    )
    faults = (
        f"altered {balance.altered:,}, twice {balance.again:,}, out of order {balance.out_of_order:,},"
        f" never made {balance.unknown:,}; sent again under their old number {balance.repeats:,}"
    )
    own = f"the gateway's own difference: {_difference(demo):,}"
    lines = [f"\nbalance: {counted}", f"         {faults}", f"         {own}"]
    if not finished:
        lines.append("Ended before the last values were delivered; what is on the way would be, at the next start.")
    elif balance.on_the_way:
        lines += ["Missing, for example:", *(f"  {missing}" for missing in demo.count.missing(10))]
    return "\n".join(lines)


def _difference(demo: Demo) -> int:
    ends = [end["difference"] for flow in demo._flows() for end in flow["destinations"].values()]  # noqa: SLF001
    return sum(ends)


@contextlib.asynccontextmanager
async def _asked_to_stop(demo: Demo) -> AsyncIterator[None]:
    """Ctrl-C ends the demo in order; before it has begun, at once."""
    loop, main = asyncio.get_running_loop(), asyncio.current_task()
    assert main is not None

    def stop() -> None:
        demo.asked.set()
        if demo.starting:
            main.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _tone(number: int) -> str:
    return "bad" if number else "good"


def _has_browser() -> bool:
    """A screen, and a person before it; never in a container, over SSH, or in CI."""
    return bool(sys.stdout.isatty() and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--seconds", type=_seconds, help="end after so long, and say by the exit code whether all arrived"
    )
    parser.add_argument("--no-browser", action="store_true", help="never open a browser")
    parser.add_argument("--host", default="127.0.0.1", help="where the page is served (127.0.0.1: this machine only)")
    parser.add_argument("--port", type=int, default=PAGE_PORT, help=f"the page's port ({PAGE_PORT}; another if taken)")
    parser.add_argument("--keep", action="store_true", help="keep the folder with plant file, logs and outbox")
    return parser.parse_args()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 20 <= seconds <= 1e7:
        raise argparse.ArgumentTypeError("write at least 20: the demo needs time to cut, mend and deliver")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
