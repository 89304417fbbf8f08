"""The event loop of a simulated run: virtual time, seeded order, an executor without threads, a network in memory."""

# ruff: noqa: SLF001  an event loop is built on BaseEventLoop's ready queue and timer heap, which have no public names;
# both have been the same since 3.7 and tests/gateway/testing/test_simloop.py fails on a Python where they are not.

import asyncio
import collections
import gc
import hashlib
import heapq
import itertools
import math
import random
import signal
import socket
import struct
import weakref
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple

from plantgate.testing.failures import Deadlock, Livelock, OutOfTime
from plantgate.testing.network import Network
from plantgate.testing.process import PROCESS, Process

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

STARTS_AT: Final = 1_767_225_600_000_000_000
"""Wall time at which every run begins: 2026-01-01T00:00:00Z, in ns."""
_MONOTONIC_START: Final = 1000.0
"""Not 0, so that code which takes 0.0 for "never" is found out."""
_TURNS_PER_INSTANT: Final = 100_000
_TURNS_PER_SWEEP: Final = 50_000
_EXECUTOR_SECONDS: Final = 0.002
"""Longest simulated wait before a function starts in an executor, and before its result is heard of."""


class SimLoop(asyncio.BaseEventLoop):
    """The loop itself; reach it by `running()`."""

    # Set and typed by BaseEventLoop, which typeshed keeps to itself.
    _ready: "collections.deque[asyncio.Handle]"
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self, seed: object = 0, *, seconds_max: float = 3600.0) -> None:
        super().__init__()
        self.seed = seed
        self.network = Network(self)
        self.unhandled: list[dict[str, Any]] = []
        self.wall_offset_ns = 0
        """Set by `plantgate.testing.clock.WallClock` when the wall clock is stepped."""
        self._now = _MONOTONIC_START
        self._ends = _MONOTONIC_START + seconds_max
        self._order = self.random("order")
        self._delays = self.random("executor")
        self._births = itertools.count(1)
        self._tasks: weakref.WeakSet[_SimTask] = weakref.WeakSet()
        self._turns = 0
        self._turns_this_instant = 0
        self._history = hashlib.blake2b(digest_size=16)
        self._signals: dict[int, Callable[[], object]] = {}
        self._executors: dict[int, _Queue] = {}
        self._dead: set[Process] = set()
        self._killed: list[_SimTask] = []  # held, so that no coroutine is closed and no ``finally`` runs
        self._withheld: list[asyncio.Handle] = []
        self.set_exception_handler(lambda _, context: self._note_unhandled(context))

    def random(self, purpose: str) -> random.Random:
        """A seeded stream of its own for each purpose, so that a new use does not disturb the others."""
        return random.Random(f"{self.seed}/{purpose}")  # noqa: S311  a simulation must be repeatable, not secret

    def _note_unhandled(self, context: dict[str, Any]) -> None:
        # Before 3.12.1 and 3.13, start_server reports a handler that was cancelled as an exception in a callback.
        if not isinstance(context.get("exception"), asyncio.CancelledError):
            self.unhandled.append(context)

    # Time.

    def time(self) -> float:
        """Simulated monotonic seconds."""
        return self._now

    @property
    def elapsed(self) -> float:
        """Simulated seconds since the run began."""
        return self._now - _MONOTONIC_START

    def monotonic_ns(self) -> int:
        """Simulated monotonic nanoseconds."""
        return round(self._now * 1e9)

    def wall_ns(self) -> int:
        """Simulated wall time, ns since 1970 UTC."""
        return STARTS_AT + round(self.elapsed * 1e9) + self.wall_offset_ns

    def stall(self, seconds: float) -> None:
        """What ``time.sleep`` does here: time passes and nothing else happens."""
        self._now += max(0.0, seconds)

    # Order.

    def _run_once(self) -> None:
        """One turn: let due timers join, then run everything that was ready, tasks in seeded order."""
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            self._forget(heapq.heappop(timers))
        if not self._ready and not self._stopping:
            self._advance()
        while timers and timers[0].when() <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]  # BaseEventLoop's mark, unknown to typeshed
            self._ready.append(timer)

        turn = list(self._ready) if not self._dead else self._of_the_living(self._ready)
        self._ready.clear()
        self._count_turn()
        for handle in self._shuffled(turn):
            if not handle._cancelled:
                handle._run()

    def allow(self, seconds: float) -> None:
        """That much more time from now on, whatever the limit was."""
        self._ends, self._turns_this_instant = self._now + seconds, 0

    def _of_the_living(self, handles: Iterable[asyncio.Handle]) -> list[asyncio.Handle]:
        """Without what belongs to a killed process, which is withheld until the end."""
        turn: list[asyncio.Handle] = []
        for handle in handles:
            context: Context = getattr(handle, "_context")  # noqa: B009  a slot that typeshed does not know
            process = context.get(PROCESS)
            (turn if process is None or process not in self._dead else self._withheld).append(handle)
        return turn

    def bereave(self, process: Process) -> None:
        """Called by `Process.kill`."""
        self.witness(f"{process.name} killed".encode())
        self._killed += [task for task in self.unfinished() if task.process is process]
        self._dead.add(process)
        self.network.bereave(process)

    def resurrect(self) -> None:
        """At the end of the run: let what was killed tidy up, when nobody looks any more."""
        self._dead.clear()
        self._ready.extend(self._withheld)
        self._withheld.clear()

    def _advance(self) -> None:
        if not self._scheduled:
            raise Deadlock(f"nothing can ever happen again, and these wait:\n{self._waiting()}")
        then = self._scheduled[0].when()
        if then > self._ends:
            raise OutOfTime(f"not done after {self._ends - _MONOTONIC_START:g} simulated seconds:\n{self._waiting()}")
        self._now = max(self._now, then)
        self._turns_this_instant = 0

    def _forget(self, timer: asyncio.TimerHandle) -> None:
        self._timer_cancelled_count -= 1  # kept by BaseEventLoop, read by nobody here but kept right
        timer._scheduled = False  # type: ignore[attr-defined]  # as above

    def _count_turn(self) -> None:
        self._turns += 1
        self._turns_this_instant += 1
        if self._turns_this_instant > _TURNS_PER_INSTANT:
            raise Livelock(f"{_TURNS_PER_INSTANT} turns and no time has passed:\n{self._waiting()}")
        if self._turns % _TURNS_PER_SWEEP == 0:
            gc.collect()

    def _shuffled(self, turn: list[asyncio.Handle]) -> list[asyncio.Handle]:
        """Plain callbacks first, in their order, which asyncio promises; then the tasks' steps, in seeded order."""
        callbacks: list[asyncio.Handle] = []
        steps: list[tuple[int, asyncio.Handle]] = []
        for handle in turn:
            task = getattr(getattr(handle, "_callback", None), "__self__", None)
            if isinstance(task, _SimTask):
                steps.append((task.birth, handle))
            else:
                callbacks.append(handle)
        if len(steps) > 1:
            steps.sort(key=lambda step: step[0])
            self._order.shuffle(steps)
        for birth, _ in steps:
            self._history.update(struct.pack("<dq", self._now, birth))
        return callbacks + [handle for _, handle in steps]

    def witness(self, happened: bytes) -> None:
        """Make something part of the history that `fingerprint` sums up."""
        self._history.update(struct.pack("<dq", self._now, len(happened)))
        self._history.update(happened)

    def fingerprint(self) -> str:
        """Equal for two runs whose steps, deliveries and times were equal so far."""
        return self._history.hexdigest()

    # Tasks.

    def create_task(
        self,
        coro: Any,
        *,
        name: object = None,
        context: Context | None = None,
        **more: Any,
    ) -> asyncio.Task[Any]:
        """A task that remembers its birth."""
        self._check_closed()  # type: ignore[attr-defined]  # BaseEventLoop's own, unknown to typeshed
        birth = next(self._births)
        task = _SimTask(birth, coro, loop=self, name=f"Task-{birth}" if name is None else str(name), context=context)
        self._tasks.add(task)
        return task

    def unfinished(self) -> "list[_SimTask]":
        """Tasks that have not ended and were not killed, oldest first."""
        alive = (task for task in self._tasks if not task.done() and task.process not in self._dead)
        return sorted(alive, key=lambda task: task.birth)

    def _waiting(self) -> str:
        return "\n".join(f"  {where_is(task)}" for task in self.unfinished()) or "  (no task at all)"

    # Threads: the function runs on the loop's own thread, at a seeded moment, and its result is heard of later.

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """Run `func` without a thread. An executor's functions start in order, one at a time.

        Cancelling the future before `func` starts prevents it, as with a real executor; afterwards it is "did it,
        nobody heard".
        """
        self._check_closed()  # type: ignore[attr-defined]  # as above
        if getattr(executor, "_shutdown", False):
            raise RuntimeError("cannot schedule new futures after shutdown")
        heard: asyncio.Future[T] = self.create_future()
        queue = self._executors.setdefault(id(executor), _Queue(executor))
        pause = self._delays.choice((0.0, self._delays.uniform(0, _EXECUTOR_SECONDS)))
        queue.starts = max(math.nextafter(queue.starts, math.inf), self._now + pause)

        def tell(outcome: Callable[[], None]) -> None:
            if not heard.done():
                outcome()

        def start() -> None:
            if heard.cancelled():
                return
            try:
                result = func(*args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:  # noqa: BLE001  handed to whoever waits, as an executor does
                failure = error
                outcome = lambda: heard.set_exception(failure)  # noqa: E731  two ends of one sentence
            else:
                outcome = lambda: heard.set_result(result)  # noqa: E731
            pause = self._delays.uniform(0, _EXECUTOR_SECONDS)
            queue.heard = max(math.nextafter(queue.heard, math.inf), self._now + pause)
            self.call_at(queue.heard, tell, outcome)

        self.call_at(queue.starts, start)
        return heard

    # Network.

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Connect through the simulated network."""
        _refuse_options(options, {"ssl", "sock"})
        return await self.network.connect(protocol_factory, str(host), int(port))

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """Listen on the simulated network; no host, or "0.0.0.0", answers to every name."""
        _refuse_options(options, {"ssl", "sock"})
        return self.network.listen(protocol_factory, host, int(port or 0))

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        """Every name resolves, to itself."""
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(host), int(port or 0)))]

    # Signals.

    def add_signal_handler(self, sig: int, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Remember it; only `send_signal` calls it."""
        self._signals[sig] = lambda: callback(*args)

    def remove_signal_handler(self, sig: int) -> bool:
        """True if there was one."""
        return self._signals.pop(sig, None) is not None

    def send_signal(self, sig: int = signal.SIGTERM) -> None:
        """As if the operating system had sent it: runs the handler in the next turn."""
        self.call_soon(self._signals[sig])

    # What BaseEventLoop leaves open.

    def _process_events(self, event_list: Iterable[Any]) -> None:
        """There are none: no selector."""

    def _write_to_self(self) -> None:
        """Nothing to wake: a turn never blocks."""

    def add_reader(self, fd: object, callback: Callable[[*Ts], object], *args: *Ts) -> NoReturn:
        """Refused: there are no file descriptors here."""
        raise NotImplementedError("a simulated loop has no file descriptors; connect through create_connection")

    def add_writer(self, fd: object, callback: Callable[[*Ts], object], *args: *Ts) -> NoReturn:
        """Refused: there are no file descriptors here."""
        raise NotImplementedError("a simulated loop has no file descriptors; connect through create_connection")


class _SimTask(asyncio.Task[Any]):
    """A task with a birth number, by which sets of tasks iterate alike in every process."""

    def __init__(self, birth: int, coro: Any, **options: Any) -> None:
        self.birth = birth
        context: Context | None = options["context"]
        self.process = PROCESS.get() if context is None else context.get(PROCESS)
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.birth

    def __eq__(self, other: object) -> bool:
        return self is other


class _Queue:
    """One executor's order of starting and of being heard."""

    def __init__(self, executor: object) -> None:
        self.executor = executor  # held, so that its id is not given to another
        self.starts = 0.0
        self.heard = 0.0


def where_is(task: asyncio.Task[Any]) -> str:
    """The task, and the line at which it waits."""
    stack = task.get_stack(limit=1)
    place = f"{stack[-1].f_code.co_filename}:{stack[-1].f_lineno}" if stack else "not started"
    coroutine = task.get_coro()
    return f"{task.get_name()}: {getattr(coroutine, '__qualname__', coroutine)} at {place}"


def _refuse_options(options: dict[str, Any], unsupported: set[str]) -> None:
    for name in sorted(unsupported & options.keys()):
        if options[name] is not None:
            raise NotImplementedError(f"the simulated network does not do {name}=")
