"""A filling line that exists only here: bottles filled, capped, labelled, pasteurised and stacked."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

GOOD: Final = 0x0000_0000
UNCERTAIN_SENSOR_NOT_ACCURATE: Final = 0x4093_0000
BAD_SENSOR_FAILURE: Final = 0x808C_0000
TICK_SECONDS: Final = 0.1

Reading = bool | int | float | str | None
"""None is what a sensor gives that has failed: a server sends no value with a bad quality (OPC 10000-4, 7.11)."""


@dataclass(slots=True)
class Machine:
    """Moves on a tenth of a second at a time; a value is given only when it, or its quality, has changed."""

    seed: int = 1
    ticks: int = 0
    bottles: int = 120_331
    rejects: int = 214
    labels_left: int = 4_800
    layer: int = 3
    energy: float = 8_412.6
    zones: list[float] = field(default_factory=lambda: [57.2, 62.4, 64.9])
    motor_temperature: float = 51.4
    glue: float = 164.2
    _last: dict[str, tuple[Reading, int]] = field(default_factory=dict)
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._random.seed(self.seed)

    def start(self) -> dict[str, Reading]:
        """Every tag's first value."""
        return {tag: reading for tag, reading, _ in self._changed(force=True)}

    def tick(self) -> list[tuple[str, Reading, int]]:
        """Tag, value and StatusCode of what has changed in this tenth of a second."""
        self.ticks += 1
        self._move()
        return list(self._changed())

    def _changed(self, *, force: bool = False) -> Iterator[tuple[str, Reading, int]]:
        for tag, every, reading, status in self._readings():
            if (force or self.ticks % every == 0) and self._last.get(tag) != (reading, status):
                self._last[tag] = (reading, status)
                yield tag, reading, status

    def _move(self) -> None:
        if self._running:
            if self.ticks % 2 == 0:
                self.bottles += 1
                self.labels_left -= 1
            if self._random.random() < 0.004:
                self.rejects += 1
            if self.labels_left <= 0:
                self.labels_left = 4_800
        if self.ticks % 70 == 0:
            self.layer = self.layer % 6 + 1
        self.energy += 0.0042
        self.motor_temperature += (53.0 + 4.0 * self._speed - self.motor_temperature) * 0.002
        self.glue += (165.0 + 6.0 * self._wave(41) - self.glue) * 0.01
        for index, aim in enumerate((58.0, 63.0, 65.0)):
            self.zones[index] += (aim + 1.5 * self._wave(23 + 9 * index) - self.zones[index]) * 0.02

    @property
    def _running(self) -> bool:
        """The capper stops for two seconds each half minute: a bottle has fallen over."""
        return self.ticks % 300 < 280

    @property
    def _speed(self) -> float:
        return 1.0 if self._running else max(0.0, 1.0 - (self.ticks % 300 - 280) / 8)

    def _wave(self, period_seconds: float) -> float:
        return math.sin(self.ticks * TICK_SECONDS * 2 * math.pi / period_seconds)

    def _near(self, value: float, spread: float) -> float:
        return round(value + self._random.gauss(0.0, spread), 3)

    def _readings(self) -> Iterator[tuple[str, int, Reading, int]]:
        """Tag, every how many ticks it is looked at, value, StatusCode."""
        speed, cycle = self._speed, self.ticks % 70 / 70
        glue_doubtful = self.ticks % 400 in range(250, 310)
        scale_broken = self.ticks % 500 in range(380, 430)
        yield "filler/carousel_speed", 1, self._near(24.0 * speed, 0.05), GOOD
        yield "filler/fill_level", 1, self._near(182.0 + 1.2 * self._wave(7), 0.25), GOOD
        yield "filler/head_pressure", 1, self._near(2.8 + 0.15 * self._wave(11), 0.02), GOOD
        yield "filler/valve_flow", 1, self._near(148.0 * speed, 0.8), GOOD
        yield "filler/bottles", 1, self.bottles, GOOD
        yield "capper/torque", 1, self._near(1.9 * speed + 0.2 * self._wave(3), 0.04), GOOD
        yield "capper/running", 1, self._running, GOOD
        yield "capper/vacuum", 2, self._near(-0.62 + 0.02 * self._wave(17), 0.004), GOOD
        yield "labeller/offset_x", 1, self._near(0.3 * self._wave(5), 0.05), GOOD
        yield "labeller/labels_left", 5, self.labels_left, GOOD
        yield (
            "labeller/glue_temperature",
            5,
            self._near(self.glue, 0.1),
            UNCERTAIN_SENSOR_NOT_ACCURATE if glue_doubtful else GOOD,
        )
        yield "conveyor/speed", 1, self._near(0.92 * speed, 0.004), GOOD
        yield "conveyor/motor_current", 1, self._near(1.4 + 5.1 * speed, 0.09), GOOD
        yield "conveyor/motor_temperature", 10, self._near(self.motor_temperature, 0.02), GOOD
        for number, temperature in enumerate(self.zones, start=1):
            yield f"pasteuriser/zone{number}/temperature", 5, self._near(temperature, 0.03), GOOD
        yield "pasteuriser/pump_pressure", 2, self._near(3.4 + 0.1 * self._wave(13), 0.03), GOOD
        yield "palletiser/axis_x", 1, self._near(600 - 600 * math.cos(cycle * 2 * math.pi), 0.4), GOOD
        yield "palletiser/axis_z", 1, self._near(420 + 380 * math.sin(cycle * 4 * math.pi), 0.4), GOOD
        yield "palletiser/layer", 10, self.layer, GOOD
        yield (
            "palletiser/weight",
            5,
            None if scale_broken else self._near(96.0 * self.layer, 0.5),
            BAD_SENSOR_FAILURE if scale_broken else GOOD,
        )
        yield "line/state", 1, "running" if self._running else "stopped: bottle down at capper", GOOD
        yield "line/rejects", 10, self.rejects, GOOD
        yield "line/energy", 10, round(self.energy, 3), GOOD
