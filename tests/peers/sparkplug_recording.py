"""Recorded messages of a plantgate edge node, turned back into rows; by protobuf, and with nothing of our connector.

    recording = Recording()
    for message in recorded.messages():
        rows += recording.take(message.topic, message.payload)

A row counts as arrived only from a data message: the values in birth certificates are repeats, and are left out. What a
careful host application would object to is collected in `objections`.
"""

import json
from dataclasses import dataclass, field
from struct import unpack
from typing import Any, Final

from tests.peers.sparkplug_proto import Payload

_ARRAYS: Final = {25: ("q", 8), 28: ("I", 4), 29: ("Q", 8), 31: ("d", 8)}


@dataclass(frozen=True, slots=True)
class Row:
    """One sample as it arrived."""

    tag: str
    value: Any
    code: int
    """OPC UA StatusCode."""
    time: int | None
    """Source time, ns UTC."""
    origin: str
    number: int | None
    """Its place in the outbox `origin`; None if the edge node sends no numbers."""
    historical: bool


@dataclass(slots=True)
class _Known:
    name: str
    datatype: int
    json: bool


@dataclass(slots=True)
class Recording:
    """Follows every edge node it hears."""

    device_levels: int = 1
    """As in the settings of the connection: how a device and a metric become a tag again."""
    gaps: list[dict[str, Any]] = field(default_factory=list)
    """Gap records, in the order they came."""
    objections: list[str] = field(default_factory=list)
    births: int = 0
    deaths: int = 0
    _aliases: dict[tuple[str, str], dict[int, tuple[str | None, _Known]]] = field(default_factory=dict)
    _names: dict[tuple[str, str, str | None], dict[str, _Known]] = field(default_factory=dict)
    _seq: dict[tuple[str, str], int] = field(default_factory=dict)
    _bdseq: dict[tuple[str, str], int] = field(default_factory=dict)
    _origins: dict[tuple[str, str], str] = field(default_factory=dict)

    def take(self, topic: str, body: bytes) -> list[Row]:
        """The samples of one message; none for a birth, a death, a command, or what is not Sparkplug."""
        levels = topic.split("/")
        if levels[0] != "spBv1.0" or levels[1] == "STATE" or levels[2] in ("NCMD", "DCMD"):
            return []
        node = (levels[1], levels[3])
        device = levels[4] if len(levels) > 4 else None
        payload = Payload.FromString(body)
        kind = levels[2]
        if kind == "NDEATH":
            self._death(node, payload)
            return []
        self._count(node, kind, payload.seq, topic)
        if kind in ("NBIRTH", "DBIRTH"):
            self._birth(node, device, payload)
            return []
        if kind in ("NDATA", "DDATA"):
            return self._data(node, device, payload, topic)
        return []

    def _count(self, node: tuple[str, str], kind: str, seq: int, topic: str) -> None:
        if kind == "NBIRTH":
            if seq != 0:
                self.objections.append(f"{topic}: NBIRTH with seq {seq}")
        elif node not in self._seq:
            self.objections.append(f"{topic}: before any NBIRTH")
        elif seq != (self._seq[node] + 1) % 256:
            self.objections.append(f"{topic}: seq {seq} after {self._seq[node]}")
        self._seq[node] = seq

    def _birth(self, node: tuple[str, str], device: str | None, payload: Any) -> None:
        self.births += device is None
        if device is None:
            self._aliases[node] = {}
            self._names = {key: names for key, names in self._names.items() if key[:2] != node}
        names = self._names[*node, device] = {}
        for metric in payload.metrics:
            known = _Known(metric.name, metric.datatype, metric.metadata.content_type == "application/json")
            names[metric.name] = known
            if metric.HasField("alias"):
                if metric.alias in self._aliases.get(node, {}):
                    self.objections.append(f"{node}: alias {metric.alias} twice")
                self._aliases.setdefault(node, {})[metric.alias] = (device, known)
            if metric.name == "bdSeq":
                self._bdseq[node] = metric.long_value
            if metric.name == "plantgate/origin" and not metric.is_null:
                self._origins[node] = metric.string_value

    def _death(self, node: tuple[str, str], payload: Any) -> None:
        self.deaths += 1
        if payload.HasField("seq"):
            self.objections.append(f"{node}: NDEATH with a seq")

    def _data(self, node: tuple[str, str], device: str | None, payload: Any, topic: str) -> list[Row]:
        position: int | None = None
        steps: list[int] = []
        rows: list[Row] = []
        for metric in payload.metrics:
            match metric.name:
                case "plantgate/origin":
                    self._origins[node] = metric.string_value
                case "plantgate/position":
                    position = metric.long_value
                case "plantgate/offsets":
                    steps = list(unpack(f"<{len(metric.bytes_value) // 4}I", metric.bytes_value))
                case "plantgate/gaps":
                    self.gaps += json.loads(metric.string_value)["gaps"]
                case _:
                    found = self._aliases.get(node, {}).get(metric.alias)
                    if found is None or found[0] != device:
                        self.objections.append(f"{topic}: alias {metric.alias} is not announced")
                        continue
                    step = steps[len(rows)] if steps else len(rows)
                    number = None if position is None else position + step
                    rows.append(self._row(node, device, found[1], metric, number))
        return rows

    def _row(self, node: tuple[str, str], device: str | None, known: _Known, metric: Any, number: int | None) -> Row:
        properties = dict(zip(metric.properties.keys, metric.properties.values, strict=True))
        code = properties["StatusCode"].long_value if "StatusCode" in properties else 0
        time = None if "NoTime" in properties else metric.timestamp * 1_000_000
        if time is not None and "ns" in properties:
            time += properties["ns"].int_value
        return Row(
            tag=self._tag(device, known.name),
            value=None if metric.is_null else _value(known, metric),
            code=code,
            time=time,
            origin=self._origins.get(node, ""),
            number=number,
            historical=metric.is_historical,
        )

    def _tag(self, device: str | None, name: str) -> str:
        if device is None:
            return name.removeprefix("tags/")
        levels = device.split(":", self.device_levels - 1)
        return "/".join((*levels, name))


def _value(known: _Known, metric: Any) -> Any:
    if known.json:
        return json.loads(metric.string_value)
    match known.datatype:
        case 4:
            return metric.long_value - (2**64 if metric.long_value >= 2**63 else 0)
        case 8:
            return metric.long_value
        case 10:
            return metric.double_value
        case 11:
            return metric.boolean_value
        case 12:
            return metric.string_value
        case 17:
            return metric.bytes_value
        case 32:
            count = unpack("<I", metric.bytes_value[:4])[0]
            bits = "".join(f"{byte:08b}" for byte in metric.bytes_value[4:])
            return [bit == "1" for bit in bits[:count]]
        case 33:
            return metric.bytes_value.decode().split("\0")[:-1]
        case kind:
            letter, size = _ARRAYS[kind]
            return list(unpack(f"<{len(metric.bytes_value) // size}{letter}", metric.bytes_value))
