"""`scripts/journey`: a real transformer's readings through node-opcua → plantgate → Mosquitto, while plugs are pulled.

Ends with `journey: rows R, delivered D, lost L, out of order O, unexplained U`; exits 0 only if the last three are 0
"""

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate

from tests.integration.journey.gateway import Gateway
from tests.integration.journey.ledger import Verdict, judge, rows_of
from tests.integration.journey.plan import FULL, SHORT, Plug, Pull, Scale, pulls
from tests.peers.mosquitto import Mosquitto, free_port, mosquitto
from tests.peers.opcua_server import NodeOpcua, Settings, Variable, node_opcua
from tests.peers.proxy import Proxy, proxy
from tests.peers.recorder import Recorder, recorder
from tests.peers.require import Missing, data, find

PREFIX = "ett/"
PLANT = """\
plant: journey
http: {{ listen: "127.0.0.1:{http}" }}
store: {{ folder: data }}
connections:
  transformer:
    type: opcua
    url: opc.tcp://{opcua_host}:{opcua_port}
    security: {{ policy: Basic256Sha256, server_thumbprint: "{thumbprint}" }}
    user: {{ name: gateway, password: "${{file:{password}}}" }}
    publishing_interval_ms: 100
    sampling_interval_ms: 0
    queue_size: 5000
    trigger: status_value_timestamp
    keepalive_seconds: 1
    request_timeout_seconds: 5
    tags:
{tags}
  broker:
    type: mqtt
    host: {mqtt_host}
    port: {mqtt_port}
    publish: {{ topic: journey/samples, gaps_topic: journey/gaps, acknowledge_seconds: 5 }}
flows:
  telemetry: {{ from: transformer, to: broker, outbox: {{ bytes_max: 1GiB }} }}
"""


def main() -> int:
    """Parse, travel, judge."""
    parser = argparse.ArgumentParser(prog="scripts/journey", description=__doc__)
    parser.add_argument("--short", action="store_true", help="the same in under a minute (as in CI)")
    parser.add_argument("--rows", type=int, help="how many rows of the file (default: all; 1200 with --short)")
    parser.add_argument("--seed", type=int, help="which plug when (default: drawn, and printed)")
    parser.add_argument("--calm", action="store_true", help="pull no plug: what the way itself does to the data")
    parser.add_argument("--keep", type=Path, help="keep plant file, logs and messages in this folder")
    arguments = parser.parse_args()
    scale = SHORT if arguments.short else FULL
    seed = arguments.seed if arguments.seed is not None else int(time.time()) % 100_000
    try:
        for peer in ("node-opcua", "mosquitto", "ett"):
            find(peer)
    except Missing as missing:
        print(f"journey: {missing}", file=sys.stderr)
        return 2
    with TemporaryDirectory(prefix="plantgate-journey-") as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        verdict = asyncio.run(travel(scale, seed, folder, rows=arguments.rows or scale.rows, calm=arguments.calm))
    print(verdict)
    return 0 if verdict.fine else 1


async def travel(scale: Scale, seed: int, folder: Path, *, rows: int | None, calm: bool = False) -> Verdict:
    """One journey with everything it needs, from start to verdict."""
    file = data() / "ett" / "ETTh1.csv"
    names, expected = rows_of(file, rows)
    planned = [] if calm else pulls(scale, len(expected), seed)
    told = f"{scale.gateway_kills} gateway kills, {scale.broker_kills} broker kills, {scale.cuts} cuts"
    tell(
        f"{len(expected)} rows of {len(names)} values at {scale.rows_per_second:.0f} rows/s; seed {seed}; "
        f"{'no plug pulled' if calm else told}"
    )
    async with AsyncExitStack() as stack:
        settings = Settings(users={"gateway": "journey"}, anonymous=False, session_timeout_ms=60_000)
        server = await stack.enter_async_context(node_opcua(settings, folder=folder / "opcua"))
        await server.create(
            "ett",
            *(Variable(name=name, type="Double", history=len(expected), value=0.0, source_ms=0.0) for name in names),
        )
        broker = await stack.enter_async_context(mosquitto(folder=folder / "broker"))
        recorded = await stack.enter_async_context(recorder(broker, "journey/#", folder=folder))
        cable = await stack.enter_async_context(proxy("127.0.0.1", server.port))
        gateway = Gateway(_plant_file(folder, names, server, cable, broker), free_port())
        gateway.plant.write_text(gateway.plant.read_text().replace("{http}", str(gateway.port)))
        stack.push_async_callback(gateway.kill)
        await gateway.start()
        await gateway.until("all tags to be monitored", lambda status: _monitored(status) == len(names), 60)
        tell("gateway reads; replay begins")
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(_replay(server, file, scale, len(expected)))
            group.create_task(_pull(planned, gateway, broker, cable, recorded))
        tell(f"replay and pulls done after {time.monotonic() - began:.0f} s; waiting for the rest to arrive")
        await gateway.until("the outbox to drain", lambda status: _drained(status, names), 120)
        await _settled(recorded)
        status = await gateway.status()
        code = await gateway.stop()
        messages = recorded.messages()
        verdict = judge(
            names,
            expected,
            PREFIX,
            [message.payload for message in messages if message.topic == "journey/samples"],
            [message.payload for message in messages if message.topic == "journey/gaps"],
        )
        _report(verdict, status or {}, code, gateway.starts)
        return verdict


def _plant_file(folder: Path, names: list[str], server: NodeOpcua, cable: Proxy, broker: Mosquitto) -> Path:
    certificate = load_pem_x509_certificate(server.certificate.read_bytes())
    password = folder / "password"
    password.write_text("journey")
    plant = folder / "plant.yaml"
    uri = "urn:plantgate:tests:plant"
    plant.write_text(
        PLANT.format(
            http="{http}",
            opcua_host=cable.host,
            opcua_port=cable.port,
            thumbprint=sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
            password=password,
            mqtt_host=broker.host,
            mqtt_port=broker.port,
            tags="\n".join(f'      - {{ node: "nsu={uri};s=ett/{name}", tag: "{PREFIX}{name}" }}' for name in names),
        )
    )
    return plant


async def _replay(server: NodeOpcua, file: Path, scale: Scale, rows: int) -> None:
    def progress(row: int) -> None:
        if row - progress_at[0] >= rows // 10 or row == rows:
            progress_at[0] = row
            tell(f"{row:6d} of {rows} rows set")

    progress_at = [0]
    await server.replay(file, folder="ett", rows_per_second=scale.rows_per_second, rows=rows, tell=progress)


async def _pull(planned: list[Pull], gateway: Gateway, broker: Mosquitto, cable: Proxy, recorded: Recorder) -> None:
    """Each pull at its moment, those of different plugs side by side."""
    began = time.monotonic()
    locks = {plug: asyncio.Lock() for plug in Plug}

    async def one(pull: Pull) -> None:
        await asyncio.sleep(max(0.0, pull.at_seconds - (time.monotonic() - began)))
        async with locks[pull.plug]:
            tell(f"{pull.plug.value} for {pull.for_seconds:.1f} s")
            match pull.plug:
                case Plug.GATEWAY:
                    await gateway.kill()
                    await asyncio.sleep(pull.for_seconds)
                    await gateway.start()
                case Plug.BROKER:
                    await recorded.caught_up()
                    await broker.kill()
                    await asyncio.sleep(pull.for_seconds)
                    await broker.start()
                case Plug.CABLE:
                    await cable.outage(pull.for_seconds)

    async with asyncio.TaskGroup() as group:
        for pull in planned:
            group.create_task(one(pull))


async def _settled(recorded: Recorder) -> None:
    """Until the broker has nothing more for the recorder, twice in a row."""
    before = -1
    while len(await recorded.caught_up()) != before:
        before = len(recorded.messages())
        await asyncio.sleep(1.0)


def _uses(status: dict[str, object]) -> list[dict[str, object]]:
    connections = status["connections"]
    assert isinstance(connections, dict)
    return [use for connection in connections.values() for use in connection["uses"]]


def _monitored(status: dict[str, object]) -> int:
    return sum(use["monitored"] for use in _uses(status) if isinstance(use["monitored"], int))


def _drained(status: dict[str, object], names: list[str]) -> bool:
    flows = status["flows"]
    assert isinstance(flows, dict)
    queued = sum(figures["queued"] for flow in flows.values() for figures in flow["destinations"].values())
    return queued == 0 and _monitored(status) == len(names) and all(use["state"] == "up" for use in _uses(status))


def _report(verdict: Verdict, status: dict[str, object], code: int, starts: int) -> None:
    flows = status.get("flows", {})
    assert isinstance(flows, dict)
    for flow in flows.values():
        for name, figures in flow["destinations"].items():
            tell(
                f"balance towards {name}: accepted {figures['accepted']} = delivered {figures['delivered']} + queued "
                f"{figures['queued']} + dropped {figures['dropped']}, difference {figures['difference']}"
            )
    tell(f"gateway started {starts} times, last exit code {code}; {verdict.repeats} repeats dropped by their number")
    for line in verdict.gaps:
        tell(f"gap: {line}")
    for line in verdict.surprises[:10]:
        tell(f"SURPRISE {line}")


def tell(line: str) -> None:
    """Progress, with the second it was said."""
    print(f"[{time.monotonic() - _BEGAN:6.1f}] {line}", flush=True)


_BEGAN = time.monotonic()

if __name__ == "__main__":
    sys.exit(main())
