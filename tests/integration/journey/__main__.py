"""`scripts/journey`: a real transformer's readings through a peer → plantgate → a broker, while plugs are pulled.

Ends with `journey: rows R, delivered D, lost L, out of order O, unexplained U`; exits 0 only if the last three are 0.
With --act people's writes go to machines instead, and it ends with
`acted: commands C, applied A, twice T, unruled U, late L, open O`; exits 0 only if the last four are 0 and what is on
record is what the machines did.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.integration.journey.act import ROUGH, ROUGHEST, act
from tests.integration.journey.ends import ENDS
from tests.integration.journey.machines import MACHINES
from tests.integration.journey.origins import ORIGINS
from tests.integration.journey.plan import FULL, SHORT
from tests.integration.journey.travel import travel
from tests.peers.require import Missing, find

_PEERS = {
    "opcua": ("node-opcua",),
    "modbus": ("modbus-slave",),
    "mqtt": ("mosquitto",),
    "kafka": ("kafka",),
    "sparkplug": ("mosquitto",),
}


def main() -> int:
    """Run one journey."""
    parser = argparse.ArgumentParser(prog="scripts/journey", description=__doc__)
    parser.add_argument(
        "--from", dest="origin", choices=ORIGINS, default="opcua", help="what holds the readings (opcua)"
    )
    parser.add_argument("--to", dest="end", choices=ENDS, default="mqtt", help="where they go (mqtt)")
    parser.add_argument("--short", action="store_true", help="under a minute: 1200 rows, a few plugs")
    parser.add_argument("--rows", type=int, help="how many rows of the file (default: all; 1200 with --short)")
    parser.add_argument("--seed", type=int, help="which plug when (default: drawn, and printed)")
    parser.add_argument("--calm", action="store_true", help="pull no plug: what the way itself does to the data")
    parser.add_argument(
        "--cells", action="store_true", help="each connection in a cell; cells are killed and frozen too"
    )
    parser.add_argument(
        "--act", action="store_true", help="write to machines: 100 kills of the gateway, 5 with --short"
    )
    parser.add_argument("--at", choices=MACHINES, help="with --act: the one machine to write to (all of them)")
    parser.add_argument("--keep", type=Path, help="keep plant file, logs and messages in this folder")
    arguments = parser.parse_args()
    scale = SHORT if arguments.short else FULL
    seed = arguments.seed if arguments.seed is not None else int(time.time()) % 100_000
    at = (arguments.at,) if arguments.at else tuple(MACHINES)
    peers = ("modbus-slave",) if arguments.act else (*_PEERS[arguments.origin], *_PEERS[arguments.end], "ett")
    try:
        for peer in peers:
            find(peer)
    except Missing as missing:
        print(f"journey: {missing}", file=sys.stderr)
        return 2
    with TemporaryDirectory(prefix="plantgate-journey-") as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if arguments.act:
            acted = asyncio.run(act(ROUGH if arguments.short else ROUGHEST, seed, folder, at=at, cells=arguments.cells))
            print(acted)
            return 0 if acted.fine else 1
        verdict = asyncio.run(
            travel(
                scale,
                seed,
                folder,
                rows=arguments.rows or scale.rows,
                calm=arguments.calm,
                cells=arguments.cells,
                origin=arguments.origin,
                end=arguments.end,
            )
        )
    print(verdict)
    return 0 if verdict.fine else 1


if __name__ == "__main__":
    sys.exit(main())
