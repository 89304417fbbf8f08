"""Assertions of the specification (`tck-id-…`), looked up in what an edge node or a host application has done.

The official test kit is not needed for these, and has not been run. docs/sparkplug-assertions.md lists them, and those
that other tests hold.
"""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from plantgate.sdk.quality import BAD, UNCERTAIN_LAST_USABLE
from plantgate_connectors.mqtt.topics import read_topic
from tests.connectors.mqtt.given import eventually
from tests.connectors.sparkplug.fake_node import BOOLEAN
from tests.connectors.sparkplug.given import edge_node, sparkplug
from tests.connectors.sparkplug.obedient_node import OWN, SPEED, ObedientNode, command, commanding
from tests.connectors.sparkplug.story import Story, decoded, named, told
from tests.connectors.sparkplug.test_edge import NCMD, batch, rebirth, wall

Check = Callable[[Story], bool]
PAGE: Final = Path(__file__).parents[3] / "docs" / "sparkplug-assertions.md"
DATA: Final = ("NDATA", "DDATA")
BIRTHS: Final = ("NBIRTH", "DBIRTH")
NUMBERED: Final = (*BIRTHS, *DATA)
STATE: Final = "spBv1.0/STATE/scada"


def topics(kind: str, device: str = "") -> Check:
    """Every message of this type is where it belongs, and there is one."""
    wanted = re.compile(f"spBv1.0/plant/{kind}/line{device}")
    return lambda story: bool(story.of(kind)) and all(wanted.fullmatch(m.topic) for m in story.of(kind))


def qos_0(*kinds: str) -> Check:
    """Every message of these types has QoS 0."""
    return lambda story: all(message.qos == 0 for message in story.of(*kinds))


def not_retained(*kinds: str) -> Check:
    """No message of these types is retained."""
    return lambda story: not any(message.retain for message in story.of(*kinds))


def timed(*kinds: str) -> Check:
    """Every message of these types says when it was sent, and that is now."""
    now_ms = 1_767_225_600_000
    return lambda story: (
        all(now_ms <= decoded(message).timestamp < now_ms + 3_600_000 for message in story.of(*kinds))
        and bool(story.of(*kinds))
    )


def counted(*kinds: str) -> Check:
    """Every message of these types has the number after that of the message before it."""

    def check(story: Story) -> bool:
        for session in story.sessions:
            before = 0
            for message in session.of(*NUMBERED):
                seq = decoded(message).seq
                expected = 0 if "/NBIRTH/" in message.topic else (before + 1) % 256
                if message.topic.split("/")[2] in kinds and seq != expected:
                    return False
                before = seq
        return bool(story.of(*kinds))

    return check


def births(check: Callable[[dict[str, Any]], bool]) -> Check:
    """It holds for every NBIRTH."""
    return lambda story: all(check(named(message)) for message in story.of("NBIRTH")) and bool(story.of("NBIRTH"))


def wills(check: Callable[[Any], bool]) -> Check:
    """It holds for the will of every connection."""
    return lambda story: all(
        session.connect.will is not None and check(session.connect.will) for session in story.sessions
    )


def _bdseq(message: Any) -> int:
    return int(named(message)["bdSeq"].long_value)


def _bdseqs_match(story: Story) -> bool:
    return all(
        _bdseq(message) == _bdseq(session.connect.will)
        for session in story.sessions
        for message in session.of("NBIRTH", "NDEATH")
    )


def _bdseqs_count(story: Story) -> bool:
    return [_bdseq(session.connect.will) for session in story.sessions] == [*range(len(story.sessions))]


def _births_before_data(story: Story) -> bool:
    for session in story.sessions:
        kinds = [message.topic.split("/")[2] for message in session.of(*NUMBERED)]
        words = " ".join(kinds)
        if not re.fullmatch(r"((NBIRTH)( DBIRTH)*( NDATA| DDATA)* ?)+", words):
            return False
    return True


def _announced(story: Story) -> bool:
    """Every alias in data was announced by the birth before it, for that device."""
    for session in story.sessions:
        known: dict[str, set[int]] = {}
        for message in session.of(*NUMBERED):
            _, _, kind, *rest = message.topic.split("/")
            where = "/".join(rest)
            aliases = {metric.alias for metric in decoded(message).metrics if metric.HasField("alias")}
            if kind == "NBIRTH":
                known = {}
            if kind in BIRTHS:
                known[where] = aliases
            elif not aliases <= known[where]:
                return False
    return True


def _aliases_unique(story: Story) -> bool:
    for session in story.sessions:
        seen: set[int] = set()
        for message in session.of(*BIRTHS):
            if "/NBIRTH/" in message.topic:
                seen = set()
            aliases = [metric.alias for metric in decoded(message).metrics if metric.HasField("alias")]
            if len(set(aliases)) < len(aliases) or seen & set(aliases):
                return False
            seen |= set(aliases)
    return True


def _every_metric(*kinds: str, check: Callable[[Any], bool]) -> Check:
    return lambda story: all(map(check, story.metrics(*kinds))) and any(True for _ in story.metrics(*kinds))


def _chronological(story: Story) -> bool:
    for message in story.of(*DATA):
        times: dict[int, int] = {}
        for metric in decoded(message).metrics:
            if metric.HasField("alias") and not metric.is_historical:
                if metric.timestamp < times.get(metric.alias, 0):
                    return False
                times[metric.alias] = metric.timestamp
    return True


def _qualities(check: Callable[[Any], bool]) -> Check:
    def all_of(story: Story) -> bool:
        found = [
            value
            for metric in story.metrics(*NUMBERED)
            for key, value in zip(metric.properties.keys, metric.properties.values, strict=True)
            if key == "Quality"
        ]
        return bool(found) and all(map(check, found))

    return all_of


def _version_5(story: Story) -> bool:
    return story.sessions[0].connect.version == 5


def _value_or_null(metric: Any) -> bool:
    return metric.is_null != (metric.WhichOneof("value") is not None)


def _first_is_birth(story: Story) -> bool:
    return all(session.published[0].topic == "spBv1.0/plant/NBIRTH/line" for session in story.sessions)


def _dies_before_leaving(story: Story) -> bool:
    return all(session.sparkplug[-1].topic == "spBv1.0/plant/NDEATH/line" for session in story.sessions)


EDGE_NODE: Final[dict[str, Check]] = {
    "intro-group-id-chars": topics("NBIRTH"),
    "intro-edge-node-id-chars": topics("NBIRTH"),
    "intro-device-id-chars": lambda story: all(read_topic(m.topic.encode()) for m in story.of("DBIRTH")),
    "principles-birth-certificates-order": _first_is_birth,
    "principles-persistence-clean-session-311": lambda story: all(s.connect.clean for s in story.sessions),
    "principles-persistence-clean-session-50": lambda story: all(
        s.connect.clean and s.connect.session_expiry() == 0 for s in story.sessions
    ),
    "topic-structure-namespace-a": lambda story: all(m.topic.startswith("spBv1.0/") for m in story.of(*NUMBERED)),
    "topic-structure-namespace-device-id-associated-message-types": topics("DDATA", "/[^/]+"),
    "topic-structure-namespace-device-id-non-associated-message-types": topics("NDATA"),
    "topics-nbirth-topic": topics("NBIRTH"),
    "topics-nbirth-mqtt": lambda story: qos_0("NBIRTH")(story) and not_retained("NBIRTH")(story),
    "topics-nbirth-seq-num": lambda story: all(
        decoded(m).HasField("seq") and decoded(m).seq == 0 for m in story.of("NBIRTH")
    ),
    "topics-nbirth-timestamp": timed("NBIRTH"),
    "topics-nbirth-metric-reqs": _announced,
    "topics-nbirth-metrics": _every_metric("NBIRTH", check=lambda m: m.HasField("name") and m.HasField("datatype")),
    "topics-nbirth-bdseq-included": births(lambda metrics: "bdSeq" in metrics),
    "topics-nbirth-bdseq-matching": _bdseqs_match,
    "topics-nbirth-bdseq-increment": _bdseqs_count,
    "topics-nbirth-rebirth-metric": births(lambda metrics: "Node Control/Rebirth" in metrics),
    "topics-ndata-topic": topics("NDATA"),
    "topics-ndata-mqtt": lambda story: qos_0("NDATA")(story) and not_retained("NDATA")(story),
    "topics-ndata-seq-num": counted("NDATA"),
    "topics-ndata-timestamp": timed("NDATA"),
    "topics-ndeath-topic": wills(lambda will: will.topic == "spBv1.0/plant/NDEATH/line"),
    "topics-ndeath-payload": wills(lambda will: list(named(will)) == ["bdSeq"]),
    "topics-ndeath-seq": wills(lambda will: not decoded(will).HasField("seq")),
    "topics-dbirth-topic": topics("DBIRTH", "/[^/]+"),
    "topics-dbirth-mqtt": lambda story: qos_0("DBIRTH")(story) and not_retained("DBIRTH")(story),
    "topics-dbirth-seq": counted("DBIRTH"),
    "topics-dbirth-timestamp": timed("DBIRTH"),
    "topics-dbirth-metric-reqs": _announced,
    "topics-dbirth-metrics": _every_metric("DBIRTH", check=lambda m: m.HasField("name") and m.HasField("datatype")),
    "topics-ddata-topic": topics("DDATA", "/[^/]+"),
    "topics-ddata-mqtt": lambda story: qos_0("DDATA")(story) and not_retained("DDATA")(story),
    "topics-ddata-seq-num": counted("DDATA"),
    "topics-ddata-timestamp": timed("DDATA"),
    "message-flow-edge-node-ncmd-subscribe": lambda story: all(s.subscribed.get(NCMD) == 1 for s in story.sessions),
    "message-flow-edge-node-birth-publish-connect": _first_is_birth,
    "message-flow-edge-node-birth-publish-will-message": wills(lambda will: True),
    "message-flow-edge-node-birth-publish-will-message-topic": wills(
        lambda will: will.topic == "spBv1.0/plant/NDEATH/line"
    ),
    "message-flow-edge-node-birth-publish-will-message-payload": wills(lambda will: len(decoded(will).metrics) == 1),
    "message-flow-edge-node-birth-publish-will-message-payload-bdSeq": wills(
        lambda will: named(will)["bdSeq"].datatype == 4
    ),
    "message-flow-edge-node-birth-publish-will-message-qos": wills(lambda will: will.qos == 1),
    "message-flow-edge-node-birth-publish-will-message-will-retained": wills(lambda will: not will.retain),
    "message-flow-edge-node-birth-publish-nbirth-topic": topics("NBIRTH"),
    "message-flow-edge-node-birth-publish-nbirth-payload": births(lambda metrics: len(metrics) > 1),
    "message-flow-edge-node-birth-publish-nbirth-payload-bdSeq": births(lambda metrics: metrics["bdSeq"].datatype == 4),
    "message-flow-edge-node-birth-publish-nbirth-qos": qos_0("NBIRTH"),
    "message-flow-edge-node-birth-publish-nbirth-retained": not_retained("NBIRTH"),
    "message-flow-edge-node-birth-publish-nbirth-payload-seq": counted("NBIRTH"),
    "operational-behavior-edge-node-intentional-disconnect-ndeath": _dies_before_leaving,
    "message-flow-device-birth-publish-nbirth-wait": _births_before_data,
    "message-flow-device-birth-publish-dbirth-topic": topics("DBIRTH", "/[^/]+"),
    "message-flow-device-birth-publish-dbirth-match-edge-node-topic": topics("DBIRTH", "/[^/]+"),
    "message-flow-device-birth-publish-dbirth-payload": _every_metric("DBIRTH", check=lambda m: m.HasField("name")),
    "message-flow-device-birth-publish-dbirth-qos": qos_0("DBIRTH"),
    "message-flow-device-birth-publish-dbirth-retained": not_retained("DBIRTH"),
    "message-flow-device-birth-publish-dbirth-payload-seq": counted("DBIRTH"),
    "operational-behavior-data-publish-nbirth": _announced,
    "operational-behavior-data-publish-nbirth-values": _every_metric("NBIRTH", check=_value_or_null),
    "operational-behavior-data-publish-nbirth-order": _chronological,
    "operational-behavior-data-publish-dbirth": _announced,
    "operational-behavior-data-publish-dbirth-values": _every_metric("DBIRTH", check=_value_or_null),
    "operational-behavior-data-publish-dbirth-order": _chronological,
    "operational-behavior-data-commands-rebirth-name": births(lambda metrics: "Node Control/Rebirth" in metrics),
    "operational-behavior-data-commands-rebirth-name-aliases": births(
        lambda metrics: not metrics["Node Control/Rebirth"].HasField("alias")
    ),
    "operational-behavior-data-commands-rebirth-datatype": births(
        lambda metrics: metrics["Node Control/Rebirth"].datatype == 11
    ),
    "operational-behavior-data-commands-rebirth-value": births(
        lambda metrics: metrics["Node Control/Rebirth"].boolean_value is False
    ),
    "payloads-timestamp-in-UTC": timed(*NUMBERED),
    "payloads-sequence-num-always-included": counted(*NUMBERED),
    "payloads-sequence-num-zero-nbirth": counted("NBIRTH"),
    "payloads-sequence-num-incrementing": counted(*NUMBERED),
    "payloads-name-requirement": _every_metric(*BIRTHS, check=lambda m: bool(m.name)),
    "payloads-alias-uniqueness": _aliases_unique,
    "payloads-alias-birth-requirement": _every_metric(*BIRTHS, check=lambda m: bool(m.name)),
    "payloads-alias-data-cmd-requirement": _every_metric(*DATA, check=lambda m: m.HasField("alias") != bool(m.name)),
    "payloads-name-birth-data-requirement": _every_metric(*NUMBERED, check=lambda m: m.HasField("timestamp")),
    "payloads-metric-datatype-value-type": _every_metric(*BIRTHS, check=lambda m: 1 <= m.datatype <= 34),
    "payloads-metric-datatype-value": _every_metric(*BIRTHS, check=lambda m: 1 <= m.datatype <= 34),
    "payloads-metric-datatype-req": _every_metric(*BIRTHS, check=lambda m: m.HasField("datatype")),
    "payloads-metric-datatype-not-req": _every_metric(*DATA, check=lambda m: not m.HasField("datatype")),
    "payloads-propertyset-keys-array-size": _every_metric(
        *NUMBERED, check=lambda m: len(m.properties.keys) == len(m.properties.values)
    ),
    "payloads-propertyset-values-array-size": _every_metric(
        *NUMBERED, check=lambda m: len(m.properties.keys) == len(m.properties.values)
    ),
    "payloads-metric-propertyvalue-type-value": _every_metric(
        *NUMBERED, check=lambda m: all(1 <= value.type <= 14 for value in m.properties.values)
    ),
    "payloads-metric-propertyvalue-type-req": _every_metric(
        *BIRTHS, check=lambda m: all(value.HasField("type") for value in m.properties.values)
    ),
    "payloads-propertyset-quality-value-type": _qualities(lambda value: value.type == 3),
    "payloads-propertyset-quality-value-value": _qualities(lambda value: value.int_value in (0, 192, 500)),
    "payloads-nbirth-timestamp": timed("NBIRTH"),
    "payloads-nbirth-seq": counted("NBIRTH"),
    "payloads-nbirth-bdseq": births(lambda metrics: "bdSeq" in metrics),
    "payloads-nbirth-bdseq-repeat": _bdseqs_match,
    "payloads-nbirth-rebirth-req": births(lambda metrics: metrics["Node Control/Rebirth"].boolean_value is False),
    "payloads-nbirth-qos": qos_0("NBIRTH"),
    "payloads-nbirth-retain": not_retained("NBIRTH"),
    "payloads-dbirth-timestamp": timed("DBIRTH"),
    "payloads-dbirth-seq": counted("DBIRTH"),
    "payloads-dbirth-seq-inc": counted("DBIRTH"),
    "payloads-dbirth-order": _births_before_data,
    "payloads-dbirth-qos": qos_0("DBIRTH"),
    "payloads-dbirth-retain": not_retained("DBIRTH"),
    "payloads-ndata-timestamp": timed("NDATA"),
    "payloads-ndata-seq": counted("NDATA"),
    "payloads-ndata-seq-inc": counted("NDATA"),
    "payloads-ndata-order": _births_before_data,
    "payloads-ndata-qos": qos_0("NDATA"),
    "payloads-ndata-retain": not_retained("NDATA"),
    "payloads-ddata-timestamp": timed("DDATA"),
    "payloads-ddata-seq": counted("DDATA"),
    "payloads-ddata-seq-inc": counted("DDATA"),
    "payloads-ddata-order": _births_before_data,
    "payloads-ddata-qos": qos_0("DDATA"),
    "payloads-ddata-retain": not_retained("DDATA"),
    "payloads-ndeath-seq": lambda story: not any(decoded(m).HasField("seq") for m in story.of("NDEATH")),
    "payloads-ndeath-will-message": wills(lambda will: "/NDEATH/" in will.topic),
    "payloads-ndeath-will-message-qos": wills(lambda will: will.qos == 1),
    "payloads-ndeath-will-message-retain": wills(lambda will: not will.retain),
    "payloads-ndeath-bdseq": _bdseqs_match,
    "payloads-ndeath-will-message-publisher": _dies_before_leaving,
    "payloads-ndeath-will-message-publisher-disconnect-mqtt311": _dies_before_leaving,
}
"""By the specification's name, without `tck-id-`."""


def states(check: Callable[[list[Any]], bool]) -> Check:
    """It holds for the STATE messages of every connection."""
    return lambda story: all(
        check([message for message in session.published if message.topic == STATE]) for session in story.sessions
    )


def _state(message: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(message.payload)
    return found


def _ties(story: Story) -> bool:
    return all(
        _state(session.published[0])["timestamp"] == _state(session.connect.will)["timestamp"]
        for session in story.sessions
    )


def _subscribes_first(story: Story) -> bool:
    return all(
        isinstance(session.did[0], list) and {STATE, "spBv1.0/+/#"} <= set(session.subscribed)
        for session in story.sessions
    )


def _death_is_json(message: Any) -> bool:
    state = _state(message)
    return state["online"] is False and isinstance(state["timestamp"], int)


def _commands(check: Callable[[Any], bool]) -> Check:
    return lambda story: bool(story.of("NCMD")) and all(map(check, story.of("NCMD")))


_BIRTH_FIRST: Final[Check] = lambda story: all(  # noqa: E731  a check like the others
    session.published[0].topic == STATE and _state(session.published[0])["online"] is True for session in story.sessions
)
_GOODBYE: Final = states(lambda said: _death_is_json(said[-1]))

HOST_APPLICATION: Final[dict[str, Check]] = {
    "conformance-primary-host": _BIRTH_FIRST,
    "intro-sparkplug-host-state": _BIRTH_FIRST,
    "host-topic-phid-birth-message": _BIRTH_FIRST,
    "host-topic-phid-birth-qos": states(lambda said: said[0].qos == 1),
    "host-topic-phid-birth-retain": states(lambda said: said[0].retain),
    "host-topic-phid-birth-topic": _BIRTH_FIRST,
    "host-topic-phid-birth-sub-required": _subscribes_first,
    "host-topic-phid-birth-required": _BIRTH_FIRST,
    "host-topic-phid-birth-payload": states(lambda said: isinstance(_state(said[0])["timestamp"], int)),
    "host-topic-phid-birth-payload-timestamp": _ties,
    "host-topic-phid-death-qos": wills(lambda will: will.qos == 1),
    "host-topic-phid-death-retain": wills(lambda will: will.retain),
    "host-topic-phid-death-topic": wills(lambda will: will.topic == STATE),
    "host-topic-phid-death-required": wills(lambda will: True),
    "host-topic-phid-death-payload": wills(_death_is_json),
    "host-topic-phid-death-payload-timestamp-connect": wills(
        lambda will: _state(will)["timestamp"] >= 1_767_225_600_000
    ),
    "host-topic-phid-death-payload-timestamp-disconnect-clean": _GOODBYE,
    "message-flow-phid-sparkplug-clean-session-311": lambda story: all(s.connect.clean for s in story.sessions),
    "message-flow-phid-sparkplug-clean-session-50": lambda story: all(
        s.connect.clean and s.connect.session_expiry() == 0 for s in story.sessions
    ),
    "message-flow-phid-sparkplug-subscription": _subscribes_first,
    "message-flow-phid-sparkplug-state-publish": _BIRTH_FIRST,
    "message-flow-phid-sparkplug-state-publish-payload": _BIRTH_FIRST,
    "message-flow-phid-sparkplug-state-publish-payload-timestamp": _ties,
    "operational-behavior-host-application-connect-will": wills(lambda will: True),
    "operational-behavior-host-application-connect-will-topic": wills(lambda will: will.topic == STATE),
    "operational-behavior-host-application-connect-will-payload": wills(_death_is_json),
    "operational-behavior-host-application-connect-will-qos": wills(lambda will: will.qos == 1),
    "operational-behavior-host-application-connect-will-retained": wills(lambda will: will.retain),
    "operational-behavior-host-application-connect-birth": _BIRTH_FIRST,
    "operational-behavior-host-application-connect-birth-topic": _BIRTH_FIRST,
    "operational-behavior-host-application-connect-birth-payload": _ties,
    "operational-behavior-host-application-connect-birth-qos": states(lambda said: said[0].qos == 1),
    "operational-behavior-host-application-connect-birth-retained": states(lambda said: said[0].retain),
    "operational-behavior-host-application-termination": _GOODBYE,
    "operational-behavior-host-application-death-topic": _GOODBYE,
    "operational-behavior-host-application-death-payload": _GOODBYE,
    "operational-behavior-host-application-death-qos": states(lambda said: said[-1].qos == 1),
    "operational-behavior-host-application-death-retained": states(lambda said: said[-1].retain),
    "payloads-state-will-message": wills(lambda will: will.topic == STATE),
    "payloads-state-will-message-qos": wills(lambda will: will.qos == 1),
    "payloads-state-will-message-retain": wills(lambda will: will.retain),
    "payloads-state-will-message-payload": wills(_death_is_json),
    "payloads-state-subscribe": lambda story: all(s.subscribed.get(STATE) == 1 for s in story.sessions),
    "payloads-state-birth": _BIRTH_FIRST,
    "payloads-state-birth-payload": _ties,
    "topics-ncmd-topic": _commands(lambda m: m.topic == NCMD),
    "topics-ncmd-mqtt": _commands(lambda m: m.qos == 0 and not m.retain),
    "topics-ncmd-timestamp": _commands(lambda m: decoded(m).timestamp >= 1_767_225_600_000),
    "topics-ncmd-payload": _commands(lambda m: list(named(m)) == ["Node Control/Rebirth"]),
    "payloads-ncmd-timestamp": _commands(lambda m: decoded(m).HasField("timestamp")),
    "payloads-ncmd-seq": _commands(lambda m: not decoded(m).HasField("seq")),
    "payloads-ncmd-qos": _commands(lambda m: m.qos == 0),
    "payloads-ncmd-retain": _commands(lambda m: not m.retain),
    "operational-behavior-data-commands-ncmd-rebirth-verb": _commands(lambda m: m.topic == NCMD),
    "operational-behavior-data-commands-ncmd-rebirth-name": _commands(lambda m: "Node Control/Rebirth" in named(m)),
    "operational-behavior-data-commands-ncmd-rebirth-value": _commands(
        lambda m: named(m)["Node Control/Rebirth"].boolean_value is True
    ),
    "operational-behavior-data-commands-ncmd-verb": _commands(lambda m: m.topic == NCMD),
}


_WRITTEN: Final = "NCMD", "DCMD"
_ANNOUNCED: Final = {"mode": "boolean_value", "speed": "double_value"}
"""By name, the field that the type of a metric asks for; `mode` is the edge node's own, `speed` the device's."""


def _writes(story: Story, kind: str) -> list[Any]:
    """Metrics that were written, requests for births left out."""
    return [metric for metric in story.metrics(kind) if metric.name != "Node Control/Rebirth"]


def _written(kind: str, check: Callable[[Any], bool]) -> Check:
    return lambda story: bool(_writes(story, kind)) and all(map(check, _writes(story, kind)))


def _called(metric: Any) -> str:
    return str(metric.name) or {1: "mode", 2: "speed"}[metric.alias]


def _fits(metric: Any) -> bool:
    return metric.WhichOneof("value") == _ANNOUNCED[_called(metric)]


COMMANDS: Final[dict[str, Check]] = {
    "topics-dcmd-topic": topics("DCMD", "/press"),
    "topics-dcmd-mqtt": lambda story: qos_0("DCMD")(story) and not_retained("DCMD")(story),
    "topics-dcmd-timestamp": timed("DCMD"),
    "topics-dcmd-payload": _written("DCMD", lambda metric: _called(metric) == "speed"),
    "payloads-dcmd-timestamp": timed("DCMD"),
    "payloads-dcmd-seq": lambda story: not any(decoded(m).HasField("seq") for m in story.of("DCMD")),
    "payloads-dcmd-qos": qos_0("DCMD"),
    "payloads-dcmd-retain": not_retained("DCMD"),
    "operational-behavior-data-commands-dcmd-verb": topics("DCMD", "/press"),
    "operational-behavior-data-commands-dcmd-metric-name": _written("DCMD", lambda metric: _called(metric) == "speed"),
    "operational-behavior-data-commands-dcmd-metric-value": _written("DCMD", _fits),
    "operational-behavior-data-commands-ncmd-metric-value": _written("NCMD", _fits),
}
ALSO_OF_COMMANDS: Final[dict[str, Check]] = {
    "topics-ncmd-topic": topics("NCMD"),
    "topics-ncmd-mqtt": lambda story: qos_0("NCMD")(story) and not_retained("NCMD")(story),
    "payloads-ncmd-seq": lambda story: not any(decoded(m).HasField("seq") for m in story.of("NCMD")),
    "payloads-alias-data-cmd-requirement": lambda story: all(
        metric.HasField("alias") and not metric.HasField("name") for kind in _WRITTEN for metric in _writes(story, kind)
    ),
    "payloads-metric-datatype-not-req": lambda story: (
        not any(metric.HasField("datatype") for kind in _WRITTEN for metric in _writes(story, kind))
    ),
}
"""Held by others as well, and listed there."""


@pytest.mark.simulated(seeds=1)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_an_edge_node_holds_them(tmp_path: Path, version: str) -> None:
    async with told() as (device, story):
        connector = edge_node(tmp_path, version=version)
        for _ in range(3):
            async with connector.sink() as sink:
                odd = batch(("press/a", 1.5), ("oven/b", 2), ("alone", "x"), ("press/a", 2.5), ("press/c", None))
                odd.qualities[1:3] = [BAD, UNCERTAIN_LAST_USABLE]
                odd.times[3] = (odd.times[3] or 0) + 1
                await sink.accept(odd)
                await sink.accept(batch(("press/a", 3.5), position=5, received=wall() - 10_000_000_000))
                before = len(story.of("NBIRTH"))
                device.broker.publish(NCMD, rebirth())
                await eventually(lambda before=before: len(story.of("NBIRTH")) > before)  # type: ignore[misc]  # bound now
                for number in range(300):
                    await sink.accept(batch(("press/a", float(number)), ("alone", "y"), position=6 + 2 * number))
            await asyncio.sleep(2)
        failed = [name for name, check in EDGE_NODE.items() if not check(story)]
        assert failed == []


@pytest.mark.simulated(seeds=1)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
async def test_a_host_application_holds_them(tmp_path: Path, version: str) -> None:
    async with told() as (device, story):
        connector = sparkplug(tmp_path, version=version, subscribe={"host_id": "scada"})
        for _ in range(2):
            async with connector.source():
                device.broker.publish("spBv1.0/plant/NDATA/line", b"\x08\x01\x18\x05")
                await asyncio.sleep(20)
            await asyncio.sleep(2)
        failed = [name for name, check in HOST_APPLICATION.items() if not check(story)]
        assert failed == []


@pytest.mark.simulated(seeds=1)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
@pytest.mark.parametrize(
    ("each", "departed"), [({"by": "alias"}, []), ({}, ["payloads-alias-data-cmd-requirement"])], ids=["alias", "name"]
)
async def test_a_host_application_that_commands_holds_them(
    tmp_path: Path, version: str, each: dict[str, Any], departed: list[str]
) -> None:
    async with told() as (device, story):
        node = ObedientNode(device.broker)
        node.has("mode", datatype=BOOLEAN, value=False)
        node.has("speed", device="press", value=0.5)
        node.listen()
        async with commanding(tmp_path, OWN, SPEED, each=each, version=version).actuator() as actuator:
            await actuator.write(command("mode", True))
            await actuator.write(command("press/speed", 1.5))
        failed = [name for name, check in {**COMMANDS, **ALSO_OF_COMMANDS}.items() if not check(story)]
        assert failed == departed


def test_a_check_fails_where_the_assertion_does_not_hold() -> None:
    nothing = Story()
    assert not EDGE_NODE["topics-nbirth-topic"](nothing)
    assert not HOST_APPLICATION["topics-ncmd-topic"](nothing)
    assert not COMMANDS["topics-dcmd-payload"](nothing)


def test_the_page_names_every_assertion_once_with_a_test_that_exists() -> None:
    rows = re.findall(r"^\| (\d+) \| `tck-id-([\w-]+)` \| ([\w.]+)::(\w+) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert [int(number) for number, *_ in rows] == [*range(1, len(rows) + 1)]
    names = [name for _, name, _, _ in rows]
    assert len(names) == len(set(names))
    looked_up = {name for _, name, _, test in rows if test.endswith("_holds_them")}
    assert looked_up == {*EDGE_NODE, *HOST_APPLICATION, *COMMANDS}
    for _, name, file, test in rows:
        source = (Path(__file__).parent / file).read_text(encoding="utf-8")
        assert f"def {test}(" in source, f"{name}: {file} has no {test}"
