"""Another's edge node, played by hand with Google's protobuf: what a test tells it, it says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plantgate.sdk import Sample
from plantgate.testing.mqtt_broker import Broker
from tests.peers.sparkplug_proto import Payload

INT32, INT64, DOUBLE, BOOLEAN, STRING = 3, 4, 10, 11, 12


@dataclass
class FakeNode:
    """Edge node `plant/line` at a broker twin. Its metrics have the aliases 1, 2, 3, … in the order they were added."""

    broker: Broker
    group: str = "plant"
    edge_node: str = "line"
    bdseq: int = 0
    seq: int = -1
    metrics: dict[tuple[str | None, str], tuple[int, int, Any]] = field(default_factory=dict)
    """By device and name: alias, datatype, value of the birth."""
    births: int = 0

    def has(self, *names: str, device: str | None = None, datatype: int = DOUBLE, value: Any = None) -> None:
        """Metrics to be announced."""
        for name in names:
            self.metrics[device, name] = (len(self.metrics) + 1, datatype, value)

    def send(self, kind: str, payload: Any, device: str | None = None, *, retain: bool = False) -> None:
        """Publish."""
        topic = f"spBv1.0/{self.group}/{kind}/{self.edge_node}" + (f"/{device}" if device else "")
        body = payload if isinstance(payload, bytes) else payload.SerializeToString()
        self.broker.publish(topic, body, retain=retain)

    def payload(self, seq: int | None = None) -> Any:
        """An empty one with the next number."""
        self.seq = (self.seq + 1) % 256 if seq is None else seq
        return Payload(timestamp=1_767_225_600_000, seq=self.seq)

    def birth(self, *, skip: Sequence[str] = ()) -> None:
        """NBIRTH and DBIRTHs."""
        self.births += 1
        self.nbirth()
        for device in dict.fromkeys(device for device, _ in self.metrics if device is not None):
            if device not in skip:
                self.dbirth(device)

    def nbirth(self) -> None:
        """NBIRTH alone."""
        payload = self.payload(0)
        payload.metrics.add(name="bdSeq", datatype=INT64, timestamp=payload.timestamp, long_value=self.bdseq)
        payload.metrics.add(
            name="Node Control/Rebirth", datatype=BOOLEAN, timestamp=payload.timestamp, boolean_value=False
        )
        self.announce(payload, None)
        self.send("NBIRTH", payload)

    def dbirth(self, device: str) -> None:
        """DBIRTH of one device."""
        payload = self.payload()
        self.announce(payload, device)
        self.send("DBIRTH", payload, device)

    def announce(self, payload: Any, device: str | None) -> None:
        """The metrics of a device, or of the edge node."""
        for (of, name), (alias, datatype, value) in self.metrics.items():
            if of != device:
                continue
            metric = payload.metrics.add(name=name, alias=alias, datatype=datatype, timestamp=payload.timestamp)
            if value is None:
                metric.is_null = True
            else:
                put(metric, datatype, value)

    def data(self, *values: tuple[str, Any], device: str | None = None, time: int = 1_767_225_600_000) -> None:
        """NDATA or DDATA with these (metric, value) pairs."""
        payload = self.payload()
        for name, value in values:
            alias, datatype, _ = self.metrics[device, name]
            put(payload.metrics.add(alias=alias, timestamp=time), datatype, value)
        self.send("NDATA" if device is None else "DDATA", payload, device)

    def sample(self, sample: Sample, device: str | None, name: str) -> None:
        """A sample as another plantgate would send it: quality and time exact."""
        payload = self.payload()
        alias, datatype, _ = self.metrics[device, name]
        time = sample.time or 0
        metric = payload.metrics.add(alias=alias, timestamp=time // 1_000_000)
        put(metric, datatype, sample.value)
        if sample.quality:
            metric.properties.keys.append("StatusCode")
            metric.properties.values.add(type=INT64, long_value=sample.quality)
        if time % 1_000_000:
            metric.properties.keys.append("ns")
            metric.properties.values.add(type=INT32, int_value=time % 1_000_000)
        self.send("NDATA" if device is None else "DDATA", payload, device)

    def death(self, bdseq: int | None = None) -> None:
        """NDEATH."""
        payload = Payload(timestamp=1)
        payload.metrics.add(name="bdSeq", datatype=INT64, long_value=self.bdseq if bdseq is None else bdseq)
        self.send("NDEATH", payload)

    def obey(self) -> None:
        """Answer requests for births from now on, and any host application that says it is there."""
        before = self.broker.received

        def heard(message: Any) -> None:
            if before is not None:
                before(message)
            asked = message.topic == f"spBv1.0/{self.group}/NCMD/{self.edge_node}"
            if asked or (message.topic.startswith("spBv1.0/STATE/") and b"true" in message.payload):
                self.birth()

        self.broker.received = heard


def put(metric: Any, datatype: int, value: Any) -> None:
    """The value field that belongs to a type."""
    if value is None:
        metric.is_null = True
    elif datatype in (1, 2, 3, 5, 6, 7):
        metric.int_value = value & 0xFFFF_FFFF
    elif datatype in (4, 8, 13):
        metric.long_value = value & 0xFFFF_FFFF_FFFF_FFFF
    elif datatype == 9:
        metric.float_value = value
    elif datatype == DOUBLE:
        metric.double_value = value
    elif datatype == BOOLEAN:
        metric.boolean_value = value
    elif datatype in (12, 14, 15):
        metric.string_value = value
    else:
        metric.bytes_value = value
