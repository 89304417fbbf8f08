"""What decoding a notification message costs: our reader and asyncua's own, on the same bytes in the same run.

python benchmarks/opcua_decode.py [--values 1000] [--rounds 200] [--json FILE]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import cast

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary, struct_to_binary

from plantgate.sdk.sample import Value
from plantgate_connectors.opcua.decode import Columns, decode
from plantgate_connectors.opcua.envelope import open_response

START = datetime(2026, 11, 1, tzinfo=UTC)
MIXED = (
    (1.5, ua.VariantType.Double),
    (7, ua.VariantType.Int32),
    (True, ua.VariantType.Boolean),
    (2.5, ua.VariantType.Float),
    ("running", ua.VariantType.String),
    (9, ua.VariantType.UInt16),
)


def message(values: int, kinds: tuple[tuple[Value, ua.VariantType], ...], *, same_time: bool = False) -> bytes:
    """A publish response with that many values, their types taken in turn."""
    items = []
    for index in range(values):
        value, kind = kinds[index % len(kinds)]
        when = START + timedelta(microseconds=0 if same_time else index)
        held = ua.DataValue(ua.Variant(value, kind), SourceTimestamp=cast(ua.DateTime, when))
        items.append(ua.MonitoredItemNotification(ClientHandle=index, Value=held))
    response = ua.PublishResponse()
    response.Parameters.SubscriptionId = 1
    response.Parameters.NotificationMessage.SequenceNumber = 1
    response.Parameters.NotificationMessage.NotificationData = [ua.DataChangeNotification(MonitoredItems=items)]
    return struct_to_binary(response)


def ours(body: bytes, table: list[str]) -> None:
    """Bytes to columns with tags."""
    columns = Columns()
    envelope = open_response(body)
    for part in envelope.parts:
        decode(body, part, lambda variant: variant.Value, columns)
    list(map(table.__getitem__, columns.handles))


def theirs(body: bytes) -> None:
    """Bytes to asyncua's objects, as its publish loop does it."""
    struct_from_binary(ua.PublishResponse, Buffer(body))


def cost(work: Callable[[], None], rounds: int, values: int) -> float:
    """Median CPU nanoseconds a value."""
    took = []
    for _ in range(rounds):
        start = time.process_time_ns()
        work()
        took.append(time.process_time_ns() - start)
    return statistics.median(took) / values


def main() -> None:
    """Print the table; with --json also write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--values", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    table = [f"line3/press{index}/temperature" for index in range(chosen.values)]
    cases = {
        "doubles": message(chosen.values, MIXED[:1]),
        "doubles, one time": message(chosen.values, MIXED[:1], same_time=True),
        "strings": message(chosen.values, MIXED[4:5]),
        "six types in turn": message(chosen.values, MIXED),
    }
    rows = []
    for name, body in cases.items():
        mine = cost(partial(ours, body, table), chosen.rounds, chosen.values)
        library = cost(partial(theirs, body), max(5, chosen.rounds // 20), chosen.values)
        rows.append({"case": name, "bytes": len(body), "ours_ns": round(mine), "asyncua_ns": round(library)})
        print(
            f"{name:20} {len(body):7} bytes   ours {mine:6.0f} ns   asyncua {library:7.0f} ns   x {library / mine:5.1f}"
        )
    if chosen.json:
        chosen.json.write_text(json.dumps({"values": chosen.values, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
