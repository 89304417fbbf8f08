"""Which plug is pulled when: drawn once from a seed, so that a journey can be travelled again."""

import random
from dataclasses import dataclass
from enum import Enum


class Plug(Enum):
    """What is pulled."""

    GATEWAY = "SIGKILL of the gateway"
    BROKER = "SIGKILL of the broker"
    CABLE = "connection to the machine cut"


@dataclass(frozen=True, slots=True)
class Pull:
    """One plug, pulled once."""

    at_seconds: float
    plug: Plug
    for_seconds: float


@dataclass(frozen=True, slots=True)
class Scale:
    """How long and how rough."""

    rows: int | None
    rows_per_second: float
    gateway_kills: int
    broker_kills: int
    cuts: int
    cut_seconds_most: float


FULL = Scale(rows=None, rows_per_second=60.0, gateway_kills=20, broker_kills=5, cuts=10, cut_seconds_most=30.0)
SHORT = Scale(rows=1200, rows_per_second=60.0, gateway_kills=3, broker_kills=1, cuts=2, cut_seconds_most=3.0)


def pulls(scale: Scale, rows: int, seed: int) -> list[Pull]:
    """Pulls in order of time, all begun while rows are being set; gateway and cable may be pulled at once.

    Broker kills are spread so that its other client, the recorder, has come back in between (Mosquitto loses what it
    confirmed in the 10 ms before a SIGKILL to a subscriber that is away: that would be its loss, not the gateway's).
    """
    draw = random.Random(seed)
    span = rows / scale.rows_per_second
    planned = [
        Pull(draw.uniform(0.02, 0.98) * span, Plug.GATEWAY, draw.choice((0.0, 0.0, draw.uniform(0, 3))))
        for _ in range(scale.gateway_kills)
    ]
    planned += [
        Pull((index + draw.uniform(0.2, 0.8)) * span / scale.broker_kills, Plug.BROKER, draw.uniform(0.2, 3))
        for index in range(scale.broker_kills)
    ]
    # Two cuts do not overlap: each gets its own slice of the journey and ends within it.
    slice_seconds = span / scale.cuts
    for index in range(scale.cuts):
        length = min(draw.uniform(1, scale.cut_seconds_most), slice_seconds * 0.9)
        begin = index * slice_seconds + draw.uniform(0, max(0.0, slice_seconds - length - 1))
        planned.append(Pull(begin, Plug.CABLE, length))
    return sorted(planned, key=lambda pull: pull.at_seconds)
