"""What a flow feels of a bad neighbour, in the gateway's own process and in a cell; and what a cell costs.

The good flow gives batches of 10 values every 10 ms, or of 1,000 every 100 ms to see what a cell costs, through a
synced outbox. Its neighbour, another flow, stutters (its decoder blocks for 0.3 s, again and again), floods, hangs for
good, or crashes. "longest silence" is the longest time in which nothing of the good flow arrived.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.meter import machine, percentile, read
from benchmarks.table import Row, save, show
from tests.gateway.runtime.site import installed
from tests.integration.journey.gateway import Gateway
from tests.peers.mosquitto import free_port


@dataclass(frozen=True, slots=True)
class Case:
    """One row."""

    neighbour: str
    where: str
    """``gateway`` or ``cell``: where the neighbour lives."""
    good_in_a_cell: bool = False
    samples: int = 10
    """In a batch of the good flow."""


CASES = (
    *(Case("none", "–", good_in_a_cell, samples) for samples in (1000, 10) for good_in_a_cell in (False, True)),
    *(Case(neighbour, where) for neighbour in ("stutter", "flood", "hang", "abort") for where in ("gateway", "cell")),
)
_SETTINGS: dict[str, dict[str, object]] = {
    "stutter": {"deed": "stutter", "after": 0, "pause_seconds": 0.7},
    "flood": {"samples": 20_000, "pause_seconds": 0},
    "hang": {"deed": "hang", "after": 50},
    "abort": {"deed": "abort", "after": 50},
}


async def measure(case: Case, seconds: float) -> Row:
    """Let both flows run; read from the file of the good one what arrived when."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="plantgate-bench-")))
        os.environ.update(installed(folder))
        http = free_port()
        plant = folder / "plant.yaml"
        plant.write_text(json.dumps(_plan(case, http)))
        gateway = Gateway(plant, http)
        stack.push_async_callback(gateway.kill)
        await gateway.start()
        arrived = folder / "good_sink"
        begun = await gateway.until("the first values", lambda status: _delivered(status) > 0, 60)
        pids = [gateway.pid, *(cell["pid"] for cell in begun["cells"].values())]
        cpu_before, begin_ns, before = _cpu(pids), time.time_ns(), _lines(arrived)
        await asyncio.sleep(seconds)
        end_ns, cpu_after, after = time.time_ns(), _cpu(pids), _lines(arrived)
        status = await gateway.status()
        rows = [(int(value), int(delay_us), int(at)) for value, delay_us, at in map(str.split, after[len(before) :])]
        delays = [delay_us / 1000 for _, delay_us, _ in rows] or [seconds * 1000]
        moments = [begin_ns, *(at for _, _, at in rows), end_ns]
        numbers = [int(line.split()[0]) for line in after]
        calm = case.neighbour == "none" and len(rows)
        return {
            "neighbour": case.neighbour,
            "it lives in": case.where,
            "good flow in": "a cell" if case.good_in_a_cell else "gateway",
            "values a batch": case.samples,
            "values/s": int(len(rows) / seconds),
            "p50 ms": percentile(delays, 0.50),
            "p99 ms": percentile(delays, 0.99),
            "longest silence ms": max(late - early for early, late in pairwise(moments)) / 1e6,
            "µs CPU/value": (cpu_after - cpu_before) / len(rows) * 1e6 if calm else None,
            "lost or out of order": len(numbers) - numbers[-1] if numbers == sorted(set(numbers)) else -1,
            "balance": _difference(status),
            "gateway after": "answers" if status is not None else "gone",
        }


def _plan(case: Case, http: int) -> dict[str, Any]:
    def neighbour(name: str, **settings: object) -> dict[str, object]:
        return {"type": "neighbour", "written": name, **settings}

    good = neighbour("good", samples=case.samples, pause_seconds=0.1 if case.samples > 100 else 0.01)
    connections = {"good": good, "good_sink": neighbour("good_sink")}
    flows = {"good_flow": {"from": "good", "to": "good_sink"}}
    cells: dict[str, object] = {}
    if case.good_in_a_cell:
        cells["good_cell"] = {"connections": ["good", "good_sink"]}
    if case.neighbour != "none":
        connections |= {"bad": neighbour("bad", **_SETTINGS[case.neighbour]), "bad_sink": neighbour("/dev/null")}
        flows["bad_flow"] = {"from": "bad", "to": "bad_sink"}
        if case.where == "cell":
            cells["bad_cell"] = {"connections": ["bad", "bad_sink"], "stall_seconds": 2}
    return {
        "plant": "isolation",
        "http": {"listen": f"127.0.0.1:{http}"},
        "connections": connections,
        "flows": flows,
        "cells": cells,
    }


def _lines(file: Path) -> list[str]:
    text = file.read_text()
    return text[: text.rfind("\n") + 1].splitlines()


def _cpu(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        try:
            total += read(pid).cpu_seconds
        except OSError:
            continue  # it has crashed: that is what is measured
    return total


def _delivered(status: dict[str, Any]) -> int:
    delivered: int = status["flows"]["good_flow"]["destinations"]["good_sink"]["delivered"]
    return delivered


def _difference(status: dict[str, Any] | None) -> int | None:
    if status is None:
        return None
    return sum(
        abs(int(figures["difference"]))
        for flow in status["flows"].values()
        for figures in flow["destinations"].values()
    )


async def run(seconds: float, chosen: list[str]) -> list[Row]:
    """Every row, in turn."""
    rows = []
    for case in CASES:
        if not chosen or case.neighbour in chosen:
            rows.append(await measure(case, seconds))
            print(".", end="", file=sys.stderr, flush=True)
    return rows


def main(arguments: list[str]) -> int:
    """Parse, measure, show."""
    parser = argparse.ArgumentParser(prog="scripts/bench isolation", description=__doc__)
    parser.add_argument("--json", type=Path, help="write the table here too")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each row is watched")
    parser.add_argument("--neighbour", action="append", default=[], help="only this one, repeatable")
    chosen = parser.parse_args(arguments)
    rows = asyncio.run(run(chosen.seconds, chosen.neighbour))
    title = f"A good flow beside a bad neighbour, {chosen.seconds:.0f} s each"
    print(f"\n{machine()}")
    show(title, rows)
    save(chosen.json, title, machine(), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
