"""`plantgate run`: one process, from the plant file to an orderly end."""

import asyncio
import fcntl
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import structlog

from plantgate import __version__
from plantgate.api.server import Seen, serving
from plantgate.config.load import load
from plantgate.config.model import Plant
from plantgate.config.problems import PlantFileError
from plantgate.flow.stop import Stop
from plantgate.observe.logging import News, configure_logging
from plantgate.observe.metrics import metrics_of
from plantgate.observe.tap import Tap
from plantgate.observe.tracing import Span, no_span, tracing
from plantgate.observe.watchdog import Watchdog
from plantgate.runtime.cells.cells import Cells
from plantgate.runtime.cells.child import spawning
from plantgate.runtime.gateway import Gateway
from plantgate.runtime.supervisor import Phase, Supervisor
from plantgate.runtime.watch import stamp
from plantgate.sdk import Log, SystemClock

CLEAN: Final = 0
CONFIGURATION: Final = 2
ABANDONED: Final = 3

_LOOK_SECONDS: Final = 1.0
"""How often files are looked at for a change."""
_MEND_LOOKS: Final = 5
"""Of these looks, every so many-th also tries again what failed."""


class _CannotStart(Exception):
    """Something an operator must change before the gateway can run."""


def run(plant_file: Path, *, until_done: bool = False) -> int:
    """Run until a signal asks to stop; the exit code: 0 clean, 2 configuration, 3 something had to be abandoned.

    With `until_done` it also ends once every source has come to its end and all is delivered.
    """
    try:
        plant = load(plant_file)
    except PlantFileError as error:
        print(error, file=sys.stderr)  # noqa: T201  there is no log yet, and the reader is a person
        return CONFIGURATION
    news = News()
    configure_logging(plant.log.level.value, news, text=sys.stderr.isatty())
    try:
        with _alone(plant.store.folder), _listening(plant) as door, _traced(plant) as span:
            return asyncio.run(_run(plant, news, until_done, door, span))
    except _CannotStart as error:
        structlog.get_logger().error("cannot start", reason=str(error))
        return CONFIGURATION


async def _run(plant: Plant, news: News, until_done: bool, door: socket.socket, span: Span) -> int:
    log: Log = structlog.get_logger()
    watchdog, tap = Watchdog(), Tap()
    graces = {
        Phase.SOURCES: plant.shutdown.sources_seconds,
        Phase.SINKS: plant.shutdown.sinks_seconds,
        Phase.OBSERVE: plant.shutdown.observe_seconds,
    }
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(watchdog.watching())
        supervisor = await stack.enter_async_context(Supervisor(graces=graces, log=log))
        spawn = spawning(level=plant.log.level.value, text=sys.stderr.isatty())
        gateway = Gateway(
            supervisor,
            clock=SystemClock(),
            log=log,
            tap=tap,
            stalls=lambda: watchdog.stalls,
            span=span,
            cells=Cells(supervisor, spawn, log=log, news=lambda line: news.tell(dict(line))),
        )
        started = asyncio.Event()
        seen = Seen(
            status=gateway.status,
            metrics=metrics_of(gateway.status),
            plan=gateway.plan,
            looks=gateway.looks,
            started=started.is_set,
            tap=tap,
            news=news,
        )
        asked = await stack.enter_async_context(_signals(log))
        await gateway.apply(plant)
        host, port = await stack.enter_async_context(serving(seen, door))
        log.info("serving", url=f"http://{host}:{port}/", plant=plant.plant, version=__version__)
        started.set()
        gc.freeze()  # what was built at start stays: the collector need not walk it again
        log.info("running", flows=len(plant.flows), connections=len(plant.connections))
        try:
            await _until_asked(gateway, asked, plant, until_done, log)
        finally:
            log.info("stopping")
            await gateway.close()
    log.info("stopped", abandoned=supervisor.abandoned)
    return ABANDONED if supervisor.abandoned else CLEAN


@contextmanager
def _traced(plant: Plant) -> Iterator[Span]:
    if plant.tracing is None:
        yield no_span
        return
    try:
        with tracing(plant.tracing.endpoint, plant.tracing.sample_ratio, plant.plant, __version__) as span:
            yield span
    except ImportError as error:
        raise _CannotStart(str(error)) from error


@contextmanager
def _listening(plant: Plant) -> Iterator[socket.socket]:
    """The door of the HTTP server, opened before any machine is spoken to."""
    family = socket.AF_INET6 if ":" in plant.http.host else socket.AF_INET
    try:
        door = socket.create_server((plant.http.host, plant.http.port), family=family, backlog=32)
    except OSError as error:
        raise _CannotStart(
            f"cannot listen on {plant.http.listen}: {error.strerror}; write another address under `http: listen`"
        ) from error
    with door:
        yield door


class _Asked:
    """What signals ask for."""

    def __init__(self) -> None:
        self.stop = Stop()
        self.reload = asyncio.Event()


@asynccontextmanager
async def _signals(log: Log) -> AsyncIterator[_Asked]:
    """SIGTERM and SIGINT ask to stop, a second one ends at once; SIGHUP asks to read the plant file again."""
    loop = asyncio.get_running_loop()
    asked = _Asked()
    main = asyncio.current_task()
    assert main is not None

    def stop() -> None:
        if asked.stop.is_set():
            log.warning("asked twice to stop: stopping at once, what was accepted is on disk")
            main.cancel()
        asked.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, asked.reload.set)
    try:
        yield asked
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(number)


async def _until_asked(gateway: Gateway, asked: _Asked, plant: Plant, until_done: bool, log: Log) -> None:
    known = stamp(plant)
    looks = 0
    while not await asked.stop.sleep(_LOOK_SECONDS):
        looks += 1
        if looks % _MEND_LOOKS == 0:
            await gateway.mend()
        if until_done and gateway.finished:
            return
        current = gateway.plant or plant
        if asked.reload.is_set() or stamp(current) != known:
            asked.reload.clear()
            known = stamp(current)
            await _reload(gateway, current, log)
            if gateway.plant is not current:
                # The new plan may name other files; what changes while it is applied is still seen at the next look.
                known = (known[0], *stamp(gateway.plant or current)[1:])


async def _reload(gateway: Gateway, running: Plant, log: Log) -> None:
    """Apply what the file says now; a file with errors changes nothing, and says so in the log and the status."""
    try:
        # On a thread: ten thousand tags take a second to check, and the flows must not feel it.
        plant = await asyncio.to_thread(load, running.file)
    except PlantFileError as error:
        gateway.not_applied = f"the plant file has errors and was not applied: {error}"
        log.error("plant file not applied, the old plan stays", problems=str(error))
        return
    if plant.store != running.store:
        # Flows would begin with empty outboxes beside the full ones.
        gateway.not_applied = "the plant file was not applied: another `store: folder` needs a new start"
        log.error("plant file not applied, the old plan stays", problems="another `store: folder` needs a new start")
        return
    difference = await gateway.apply(plant)
    log.info(
        "plant file applied",
        added=difference.added,
        removed=difference.removed,
        changed=difference.changed,
        unchanged=len(difference.unchanged),
    )
    if difference.settings:
        log.warning("these sections take effect at the next start", sections=difference.settings)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the store's folder for this process; two gateways on one folder would each undo the other's positions."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a")
    except OSError as error:
        raise _CannotStart(f"cannot use {folder} as the store's folder: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _CannotStart(
                f"another plantgate runs on {folder}; stop it, or give this one its own `store: folder`"
            ) from error
        yield
