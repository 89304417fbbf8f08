"""How a node of Apache Kafka is set up: its properties, its empty log, and the command that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.peers import require
from tests.peers.child import Child, PeerError

_CLUSTER = "cGxhbnRnYXRlLXRlc3RzAA"
"""Any 16 bytes in base64 name a cluster."""


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files of the broker, and whether its clients must show a certificate of the same authority."""

    authority: Path
    certificate: Path
    key: Path
    client_certificates: bool = False


def plain(home: Path, port: int, controller: int) -> list[str]:
    """Properties of one node that is broker and controller."""
    return [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.voters=1@127.0.0.1:{controller}",
        f"listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "inter.broker.listener.name=CLIENT",
        "controller.listener.names=CONTROLLER",
        f"log.dirs={home / 'data'}",
        "auto.create.topics.enable=false",
        "log.retention.ms=-1",  # records are as old as their source time, and tests write old ones
        "offsets.topic.replication.factor=1",
        "offsets.topic.num.partitions=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "transaction.state.log.num.partitions=1",
        "group.initial.rebalance.delay.ms=0",
        "broker.session.timeout.ms=2000",  # how long a killed broker is in the way of its own return
        "broker.heartbeat.interval.ms=300",
    ]


def guarded(users: Mapping[str, str] | None, mechanism: str, tls: Tls | None) -> list[str]:
    """Lines for the clients' listener."""
    protocol = {(False, False): "PLAINTEXT", (False, True): "SSL", (True, False): "SASL_PLAINTEXT"}.get(
        (bool(users), tls is not None), "SASL_SSL"
    )
    lines = [f"listener.security.protocol.map=CLIENT:{protocol},CONTROLLER:PLAINTEXT"]
    if users:
        first, secret = next(iter(users.items()))
        scram = mechanism.startswith("SCRAM")
        module = "scram.ScramLoginModule" if scram else "plain.PlainLoginModule"
        known = "" if scram else "".join(f' user_{name}="{password}"' for name, password in users.items())
        jaas = f"listener.name.client.{mechanism.lower()}.sasl.jaas.config=org.apache.kafka.common.security.{module}"
        lines += [
            f"sasl.enabled.mechanisms={mechanism}",
            f"sasl.mechanism.inter.broker.protocol={mechanism}",
            f'{jaas} required username="{first}" password="{secret}"{known};',
        ]
    if tls is not None:
        chain = tls.certificate.with_suffix(".kafka.pem")
        chain.write_bytes(tls.key.read_bytes() + tls.certificate.read_bytes())
        lines += [
            "ssl.keystore.type=PEM",
            f"ssl.keystore.location={chain}",
            "ssl.truststore.type=PEM",
            f"ssl.truststore.location={tls.authority}",
            f"ssl.client.auth={'required' if tls.client_certificates else 'none'}",
            "ssl.endpoint.identification.algorithm=",
        ]
    return lines


async def format_log(properties: Path, users: Mapping[str, str] | None, mechanism: str, log: Path) -> None:
    """Make the empty log folder of a new cluster; users of SCRAM are written into it."""
    known: list[str] = []
    for name, password in (users or {}).items():
        known += ["--add-scram", f"{mechanism}=[name={name},password={password}]"]
    child = await Child.start(
        [*java(), "kafka.tools.StorageTool", "format", "-t", _CLUSTER, "-c", properties, *known], log=log
    )
    if code := await child.ended(60.0):
        raise PeerError(f"Kafka's storage tool ended with {code}: {child.last_words()}")


def java() -> list[str | Path]:
    """How programs of Kafka are run: without optimising, since a test's broker does not live long."""
    jars = require.find("kafka")
    return [
        require.find("java"), "-cp", f"{jars}/*", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
    ]  # fmt: skip
