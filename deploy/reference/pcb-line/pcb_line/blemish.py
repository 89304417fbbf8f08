"""Spoils a clean board in the six ways in which etching goes wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pcb_line.pair import CLASSES
from pcb_line.pixels import Copper
from pcb_line.strokes import Point, blob, stroke, touches

TRIES = 300
"""Spots looked at for one defect before it is given up."""
APART = 24
"""Pixels between two defects at least: their boxes do not overlap then."""
RIM = 24
"""Pixels from the board's edge in which no defect begins: it is to be seen."""
ADDS = ("short", "spur", "copper")
"""The classes that are copper where none should be; the others are bare where copper should be."""


@dataclass(frozen=True, slots=True)
class Blemish:
    """Pixels that a defect makes copper, or bare."""

    kind: str
    where: Copper

    @property
    def adds(self) -> bool:
        """Copper too much, not too little."""
        return self.kind in ADDS


def blemishes(copper: Copper, count: int, chance: np.random.Generator, taken: Copper | None = None) -> list[Blemish]:
    """Up to `count` defects of the six classes in turn, from a class chosen by chance on, none near another.

    None is near what is `taken` already either; fewer are given where no room is found.
    """
    canvas = _Canvas(copper, chance)
    occupied = np.zeros_like(copper) if taken is None else taken.copy()
    first = int(chance.integers(len(CLASSES)))
    found: list[Blemish] = []
    for turn in range(count):
        kind = CLASSES[(first + turn) % len(CLASSES)]
        for _ in range(TRIES):
            where = _MAKERS[kind](canvas)
            if where is None or not where.any():
                continue
            rows, columns = np.nonzero(where)
            top, left = max(0, rows.min() - APART), max(0, columns.min() - APART)
            if not occupied[top : rows.max() + APART, left : columns.max() + APART].any():
                occupied |= where
                found.append(Blemish(kind, where))
                break
    return found


class _Canvas:
    """A board, its edges, and chance."""

    def __init__(self, copper: Copper, chance: np.random.Generator) -> None:
        self.copper = copper
        self.chance = chance
        inner = np.zeros_like(copper)
        inner[RIM:-RIM, RIM:-RIM] = True
        lonely = ~(copper[:-2, 1:-1] & copper[2:, 1:-1] & copper[1:-1, :-2] & copper[1:-1, 2:])
        edge = copper & inner
        edge[1:-1, 1:-1] &= lonely
        self._edges = np.argwhere(edge)
        self._bare = np.argwhere(inner & ~copper)
        self._copper = np.argwhere(inner & copper)

    def edge(self) -> tuple[Point, Point] | None:
        """A pixel of an edge, and the direction into the copper (a pixel long)."""
        if not len(self._edges):
            return None
        y, x = (int(value) for value in self._edges[self.chance.integers(len(self._edges))])
        # The copper around the pixel weighs to one side: that way is in.
        around = self.copper[y - 3 : y + 4, x - 3 : x + 4]
        steps = np.arange(-3, 4)
        inward = np.array([(around * steps).sum(), (around * steps[:, None]).sum()], np.float64)
        length = float(np.hypot(*inward))
        return None if length < 6 else (np.array([x, y], np.float64), inward / length)

    def spot(self, copper: bool) -> Point | None:
        """Anywhere on copper, or on none."""
        spots = self._copper if copper else self._bare
        if not len(spots):
            return None
        y, x = spots[self.chance.integers(len(spots))]
        return np.array([x, y], np.float64)

    def run(self, start: Point, way: Point, copper: bool) -> int:
        """How many pixels from `start` on are copper (or are not), up to 90."""
        return next((step for step in range(90) if self.is_copper(start + way * step) is not copper), 90)

    def is_copper(self, at: Point) -> bool | None:
        """None beyond the board."""
        x, y = round(float(at[0])), round(float(at[1]))
        inside = 0 <= y < self.copper.shape[0] and 0 <= x < self.copper.shape[1]
        return bool(self.copper[y, x]) if inside else None

    def slanted(self, way: Point, most: float) -> Point:
        """A direction up to `most` radians away from this one."""
        turn = self.chance.uniform(-most, most)
        return np.array([way[0] * np.cos(turn) - way[1] * np.sin(turn), way[0] * np.sin(turn) + way[1] * np.cos(turn)])


def _open(canvas: _Canvas) -> Copper | None:
    """A cut through a track, a little over both its edges."""
    edge = canvas.edge()
    if edge is None:
        return None
    at, inward = edge
    thick = canvas.run(at, inward, True)
    if not 3 <= thick <= 70:
        return None
    # A track goes on to both sides of the cut; a pad's corner does not.
    side, middle = np.array([-inward[1], inward[0]]), at + inward * thick / 2
    if not all(canvas.is_copper(middle + side * step) for step in (-12, -6, 6, 12)):
        return None
    way = canvas.slanted(inward, 0.7)
    across = canvas.run(at + inward, way, True) + 1
    if across > 80:
        return None
    width = canvas.chance.uniform(3.5, 10)
    cut = stroke(canvas.copper.shape, at - way * width, at + way * (across + width), width, canvas.chance)
    return cut & canvas.copper


def _short(canvas: _Canvas) -> Copper | None:
    """A bridge to the copper opposite."""
    edge = canvas.edge()
    if edge is None:
        return None
    at, inward = edge
    way = canvas.slanted(-inward, 0.7)
    gap = canvas.run(at + way * 2, way, False) + 2
    if not 6 <= gap <= 75 or canvas.is_copper(at + way * (gap + 1)) is None:
        return None
    width = canvas.chance.uniform(3, 8) * (2 if canvas.chance.random() < 0.15 else 1)
    return stroke(canvas.copper.shape, at - way * 3, at + way * (gap + 3), width, canvas.chance) & ~canvas.copper


def _mousebite(canvas: _Canvas) -> Copper | None:
    """A bite out of an edge that leaves copper behind it."""
    edge = canvas.edge()
    return None if edge is None else _from_edge(canvas, *edge, into_copper=True)


def _spur(canvas: _Canvas) -> Copper | None:
    """A bump on an edge that reaches nothing."""
    edge = canvas.edge()
    return None if edge is None else _from_edge(canvas, edge[0], -edge[1], into_copper=False)


def _from_edge(canvas: _Canvas, at: Point, way: Point, into_copper: bool) -> Copper | None:
    """A blot or some strokes from an edge on, unless they come out on the other side."""
    chance, shape = canvas.chance, canvas.copper.shape
    room = canvas.run(at + way * 2, way, into_copper) + 2
    if room < 6:
        return None
    long = min(room * chance.uniform(0.35, 0.7), np.exp(chance.uniform(np.log(4), np.log(32))))
    if long < 14 and chance.random() < 0.5:
        drawn = blob(shape, at + way * long * 0.35, long * 0.65, chance)
    else:
        drawn = np.zeros(shape, np.bool_)
        for _ in range(int(chance.choice([1, 1, 1, 2]))):
            slant, width = canvas.slanted(way, 1.0), chance.uniform(3, 4 + long / 4)
            drawn |= stroke(shape, at - slant * 2, at + slant * long, width, chance)
    other = ~canvas.copper if into_copper else canvas.copper
    drawn &= ~other
    rows, columns = np.nonzero(drawn)
    far = (columns - at[0]) * way[0] + (rows - at[1]) * way[1] > 4
    outer = np.stack([columns[far], rows[far]], axis=1)[::5]
    alone = not any(touches(other, point, 2) for point in outer)
    return drawn if alone and len(rows) >= 24 else None


def _spurious(canvas: _Canvas) -> Copper | None:
    """An island of copper where there is none."""
    at = canvas.spot(False)
    return None if at is None else _apart(canvas, at, 3.5, 4, canvas.copper)


def _pinhole(canvas: _Canvas) -> Copper | None:
    """A hole inside copper."""
    at = canvas.spot(True)
    return None if at is None else _apart(canvas, at, 3.5, 3, ~canvas.copper)


def _apart(canvas: _Canvas, at: Point, least: float, distance: int, other: Copper) -> Copper | None:
    """A blot or a scratch, unless it comes this near to what is otherwise."""
    if touches(other, at, distance):
        return None
    chance, shape = canvas.chance, canvas.copper.shape
    if chance.random() < 0.4:
        half = canvas.slanted(np.array([1.0, 0.0]), np.pi) * np.exp(chance.uniform(np.log(3), np.log(20)))
        drawn = stroke(shape, at - half, at + half, chance.uniform(3, 8), chance)
    else:
        drawn = blob(shape, at, np.exp(chance.uniform(np.log(least), np.log(12))), chance)
    rows, columns = np.nonzero(drawn)
    near = any(touches(other, point, distance) for point in np.stack([columns, rows], axis=1)[::5])
    return None if near else drawn


_MAKERS: dict[str, Callable[[_Canvas], Copper | None]] = {
    "open": _open,
    "short": _short,
    "mousebite": _mousebite,
    "spur": _spur,
    "copper": _spurious,
    "pin-hole": _pinhole,
}
