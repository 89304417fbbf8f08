"""For the length of a run, every library reads simulated time and draws seeded randomness."""

import datetime as datetime_module
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

_BOUND_AT_IMPORT: Final = [("paho.mqtt.client", "time_func", "monotonic")]
"""Names that libraries bound to a clock when they were imported, where patching ``time`` does not reach."""

_READ_DATETIME: Final = ("asyncua", "plantgate", "plantgate_connectors", "plantgate_adapters")
"""Packages whose ``datetime.now()`` is simulated; `datetime.datetime` itself is a C type and cannot be changed."""

_Datetime = datetime_module.datetime
_EPOCH: Final = _Datetime(1970, 1, 1, tzinfo=datetime_module.UTC)


class TimeTeller(Protocol):
    """What a simulated run knows about time."""

    def monotonic_ns(self) -> int:
        """Nanoseconds since the run began, plus a constant."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 UTC."""
        ...

    def stall(self, seconds: float) -> None:
        """Let time pass while nothing else happens, as a blocking call does."""
        ...


@contextmanager
def simulated_time(teller: TimeTeller, seed: object) -> Iterator[None]:
    """Patch ``time``, ``datetime.now`` of known libraries, ``random``, ``uuid4``, ``os.urandom``; undo it at the end.

    Not reached: a name bound before the run (``from time import monotonic``) in a library not listed here, and C code
    with its own clock or its own randomness (OpenSSL).
    """
    entropy = random.Random(f"{seed}/entropy")  # noqa: S311  a simulation must be repeatable, not secret
    clocks: dict[str, Callable[..., Any]] = {
        "time": lambda: teller.wall_ns() / 1e9,
        "time_ns": teller.wall_ns,
        "monotonic": lambda: teller.monotonic_ns() / 1e9,
        "monotonic_ns": teller.monotonic_ns,
        "perf_counter": lambda: teller.monotonic_ns() / 1e9,
        "perf_counter_ns": teller.monotonic_ns,
        "sleep": teller.stall,
    }
    patches: list[tuple[object, str, object]] = [(time, name, clock) for name, clock in clocks.items()]
    patches += [(os, "urandom", entropy.randbytes), (random, "_urandom", entropy.randbytes)]
    patches += [
        (sys.modules[module], name, clocks[clock]) for module, name, clock in _BOUND_AT_IMPORT if module in sys.modules
    ]
    stand_in = _datetime_reading(teller)
    patches += [(module, name, stand_in) for module, name in _datetime_holders()]

    drawn = random.getstate()
    originals = [(holder, name, getattr(holder, name)) for holder, name, _ in patches]
    try:
        for holder, name, replacement in patches:
            setattr(holder, name, replacement)
        random.seed(f"{seed}/library")
        yield
    finally:
        for holder, name, original in originals:
            setattr(holder, name, original)
        random.setstate(drawn)


_known: tuple[int, list[tuple[Any, str]]] = (0, [])


def _datetime_holders() -> list[tuple[Any, str]]:
    """Modules of the known packages, and the names under which they hold the class ``datetime``."""
    global _known
    if _known[0] != len(sys.modules):
        found = [
            (module, name)
            for qualified, module in list(sys.modules.items())
            if qualified.partition(".")[0] in _READ_DATETIME and module is not None and qualified != __name__
            for name, held in list(vars(module).items())
            if held is _Datetime
        ]
        _known = (len(sys.modules), found)
    return _known[1]


class _LikeDatetime(type(_Datetime)):  # type: ignore[misc]  # the metaclass of a C type, which typeshed does not name
    """Instances of the real class count as instances of the simulated one."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _Datetime)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _Datetime)

    def __eq__(cls, other: object) -> bool:
        return other is _Datetime or other is cls

    def __hash__(cls) -> int:
        return hash(_Datetime)


def _datetime_reading(teller: TimeTeller) -> type:
    """A stand-in for the class ``datetime`` that makes real ones but reads the simulated clock."""

    class SimulatedDatetime(_Datetime, metaclass=_LikeDatetime):
        def __new__(cls, *parts: Any, **more: Any) -> Any:
            return _Datetime(*parts, **more)

        @classmethod
        def now(cls, tz: datetime_module.tzinfo | None = None) -> Any:
            utc = _EPOCH + datetime_module.timedelta(microseconds=teller.wall_ns() // 1000)
            return utc.replace(tzinfo=None) if tz is None else utc.astimezone(tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now()

    return SimulatedDatetime
