"""The robot program of our twin: what `mailbox.script` beside the connector says, in Python.

The script itself has been executed nowhere: there is no interpreter for URScript outside a controller. A test compares
the registers and limits of the two.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

Registers: TypeAlias = dict[str, bool | int | float]
Limits: TypeAlias = tuple[tuple[float, float], ...]

CYCLE_SECONDS = 0.002
"""An e-Series controller runs its loop so often."""
LIMIT_XY = 0.005
LIMIT_RZ = 0.05
SPEED_MAX = 1.0
CLOCK_WRAPS = 1_000_000_000
HALF = CLOCK_WRAPS // 2
LARGEST = 2**31 - 1

APPLIED, OUTSIDE, LATE, STARTED = 1, 2, 3, 0

OFFSET = ("double_register_24", "double_register_25", "double_register_26")
SPEED = "double_register_30"
UNTIL, EPOCH, SEQUENCE = "input_int_register_24", "input_int_register_25", "input_int_register_26"
ECHO, ECHO_EPOCH = "output_int_register_24", "output_int_register_25"
VERDICT, CLOCK, MOVES = "output_int_register_26", "output_int_register_27", "output_int_register_28"


@dataclass
class Box:
    """One mailbox: its registers, its limits, and what it has done."""

    values: tuple[str, ...] = OFFSET
    """Registers without `input_` and `output_`."""
    limits: Limits = ((-LIMIT_XY, LIMIT_XY), (-LIMIT_XY, LIMIT_XY), (-LIMIT_RZ, LIMIT_RZ))
    until: str = UNTIL
    epoch: str = EPOCH
    sequence: str = SEQUENCE
    echo: str = ECHO
    echo_epoch: str = ECHO_EPOCH
    verdict: str = VERDICT
    clock: str = CLOCK
    moves: str = MOVES
    applied: list[tuple[float, ...]] = field(default_factory=list)
    """Everything that was applied, in order."""
    refused: list[int] = field(default_factory=list)
    """Verdicts other than applied."""
    passed_over: int = 0
    """Commands of another epoch, or with another number than the next."""
    last: int = 0
    heeded: int = 0


@dataclass
class Mirror:
    """A setpoint without a mailbox: shown when it is within its limits."""

    value: str = SPEED
    low: float = 0.0
    high: float = SPEED_MAX


@dataclass
class Program:
    """Reads its mailboxes two cycles after something has changed in them, if it runs."""

    inputs: Registers
    outputs: Registers
    runs: Callable[[], bool]
    boxes: list[Box] = field(default_factory=lambda: [Box()])
    mirrors: list[Mirror] = field(default_factory=lambda: [Mirror()])
    on_applied: Callable[[], None] | None = None
    """Called once a command is applied and before anything is told of it: a place for faults."""
    heeds_clock: bool = True
    heeds_epoch: bool = True
    """False: a program without that part of the protocol, to show what it is for."""
    tells: bool = True
    """False: it does what it is told, and its outputs stay as they were."""
    lie: Callable[[Registers], None] | None = None
    """Spoils what it tells of a command."""
    _ran_seconds: float = 0.0
    _since: float | None = None

    @property
    def applied(self) -> list[tuple[float, ...]]:
        """Of the first mailbox."""
        return self.boxes[0].applied

    def start(self) -> None:
        """From its first line: whatever lies in a mailbox was meant for an earlier run, and is taken as done."""
        self._ran_seconds, self._since = 0.0, asyncio.get_running_loop().time()
        for box in self.boxes:
            box.last, box.heeded = self._whole(box.sequence), self._whole(box.epoch)
            self.outputs[box.verdict] = STARTED
            self._tell(box)

    def pause(self) -> None:
        """All its threads stand still, its clock with them."""
        self._ran_seconds, self._since = self._seconds(), None

    def resume(self) -> None:
        """It goes on, with what lies in its mailboxes by then."""
        if self._since is None:
            self._since = asyncio.get_running_loop().time()
            self.stir()

    def stir(self) -> None:
        """Something was written to its registers."""
        asyncio.get_running_loop().call_later(2 * CYCLE_SECONDS, self._cycle)

    @property
    def clock(self) -> int:
        """Milliseconds while it ran."""
        return int(self._seconds() * 1000) % CLOCK_WRAPS

    def _seconds(self) -> float:
        here = 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since
        return self._ran_seconds + here

    def _whole(self, name: str) -> int:
        return int(self.inputs.get(name, 0))

    def _cycle(self) -> None:
        if not self.runs():
            return
        for mirror in self.mirrors:
            value = float(self.inputs.get(f"input_{mirror.value}", 0.0))
            if mirror.low <= value <= mirror.high and self.tells:
                self.outputs[f"output_{mirror.value}"] = value
        for box in self.boxes:
            self._look(box)

    def _look(self, box: Box) -> None:
        sequence, epoch = self._whole(box.sequence), self._whole(box.epoch)
        if epoch > box.heeded and sequence == box.last:
            box.heeded = epoch
            self._tell(box)
        elif (epoch >= box.heeded or not self.heeds_epoch) and sequence == box.last % LARGEST + 1:
            box.heeded = epoch
            self._take(box, sequence)
        elif sequence != box.last:
            box.passed_over += 1

    def _take(self, box: Box, sequence: int) -> None:
        values = tuple(float(self.inputs.get(f"input_{name}", 0.0)) for name in box.values)
        left = self._whole(box.until) - self.clock
        if left < -HALF:
            left += CLOCK_WRAPS
        box.last = sequence
        if self.heeds_clock and not 0 <= left <= HALF:
            verdict = LATE
        elif not all(low <= value <= high for value, (low, high) in zip(values, box.limits, strict=True)):
            verdict = OUTSIDE
        else:
            verdict = APPLIED
            box.applied.append(values)
            if self.on_applied is not None:
                self.on_applied()
        if verdict != APPLIED:
            box.refused.append(verdict)
        if self.tells:
            if verdict == APPLIED:
                self.outputs.update({f"output_{name}": part for name, part in zip(box.values, values, strict=True)})
                self.outputs[box.moves] = len(box.applied)
            self.outputs[box.verdict] = verdict
            self._tell(box)
            if self.lie is not None:
                self.lie(self.outputs)

    def _tell(self, box: Box) -> None:
        self.outputs[box.echo_epoch], self.outputs[box.echo] = box.heeded, box.last
