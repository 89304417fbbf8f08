"""A gateway in miniature, to be killed: reads one connector, and each batch is safe once its line is written.

python -m tests.connectors.opcua.reader_process SETTINGS.json FOLDER LINES
"""

import asyncio
import json
import sys
from pathlib import Path

from plantgate.sdk import SystemClock, Unavailable
from plantgate.testing.context import lent
from plantgate_connectors.opcua import OpcUa
from plantgate_connectors.opcua.settings import OpcUaSettings


async def main(settings: str, folder: Path, lines: Path) -> None:
    """Never returns."""
    connector = OpcUa(OpcUaSettings.model_validate_json(settings), lent(folder, clock=SystemClock()))
    with lines.open("a") as out:
        while True:
            try:
                async with connector.source() as source:
                    while True:
                        batch = await source.read()
                        rows = list(zip(batch.tags, batch.values, batch.qualities, batch.times, strict=True))
                        gaps = [(gap.tags, gap.cause, gap.lost, gap.recovered) for gap in batch.gaps]
                        out.write(json.dumps({"rows": rows, "gaps": gaps}) + "\n")
                        out.flush()
                        await source.ack(batch.cursor)
            except Unavailable:
                await asyncio.sleep(0.2)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_text(), Path(sys.argv[2]), Path(sys.argv[3])))
