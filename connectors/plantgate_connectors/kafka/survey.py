"""Asks a cluster what it would grant, and changes nothing there."""

from collections.abc import Iterator
from typing import Any, Final

from aiokafka.protocol.admin import DescribeConfigsRequest

from plantgate.sdk import Finding, Survey, Unavailable
from plantgate_connectors.kafka.link import Link, Topic, link
from plantgate_connectors.kafka.positions import Positions
from plantgate_connectors.kafka.settings import KafkaSettings, Repeats

_TOPIC_RESOURCE: Final = 2
_ASKED: Final = ("max.message.bytes", "min.insync.replicas", "cleanup.policy", "retention.ms")


async def survey(settings: KafkaSettings, connection: str, client_id: str) -> Survey:
    """Reach every broker, look at the topics. Whether we may write cannot be asked without writing, so it is not."""
    async with link(settings, connection, client_id) as way:
        findings = []
        for broker, (host, port) in sorted(way.brokers.items()):
            findings.append(await _broker(way, broker, f"{host}:{port}"))
        written = settings.publish
        read = [subscribe.topic for subscribe in settings.subscribe]
        if not read or "publish" in settings.model_fields_set:
            for topic in filter(None, (written.topic, written.gaps_topic)):
                there = await _found(way, topic, "to write to")
                findings += there
                if len(there) > 1:  # it is there
                    findings += _configured(settings, topic, await _config(way, topic))
        for topic in read:
            findings += await _found(way, topic, "to read")
        if settings.group is not None:
            findings.append(await _group(way, settings.group, settings))
        if written.repeats is Repeats.ALLOW:
            findings.append(Finding("publish.repeats", "allow", "samples may be there twice after a crash"))
    return Survey(tuple(findings))


async def _broker(way: Link, broker: int, address: str) -> Finding:
    try:
        await way.reach(broker)
    except Unavailable as error:
        return Finding(f"broker {broker}", f"reached at {address}", str(error), fine=False)
    return Finding(f"broker {broker}", f"reached at {address}", "connected")


async def _found(way: Link, topic: str, wanted: str) -> list[Finding]:
    try:
        return list(_topic(await way.topic(topic), wanted))
    except Unavailable as error:
        return [Finding(topic, wanted, str(error).removeprefix(f"{way.who}: "), fine=False)]


async def _group(way: Link, group: str, settings: KafkaSettings) -> Finding:
    """How far the group has read."""
    places = [
        (subscribe.topic, partition) for subscribe in settings.subscribe for partition in subscribe.partitions or (0,)
    ]
    try:
        known = await Positions(way, group).load(places)
    except Unavailable as error:
        return Finding(f"group {group}", "to keep positions", str(error).removeprefix(f"{way.who}: "), fine=False)
    return Finding(f"group {group}", "to keep positions", "has positions" if known else "has none yet")


def _topic(topic: Topic, wanted: str) -> Iterator[Finding]:
    leaderless = sorted(partition for partition, leader in topic.leaders.items() if leader < 0)
    granted = f"{len(topic.leaders)} partitions" if len(topic.leaders) != 1 else "1 partition"
    if leaderless:
        granted += f", without leader: {', '.join(map(str, leaderless))}"
    yield Finding(topic.name, wanted, granted, fine=not leaderless)
    copies = min(replicas for replicas, _ in topic.replicas.values())
    in_step = min(isr for _, isr in topic.replicas.values())
    words = f"{copies}, of which {in_step} in step" if copies != 1 else "1: what its broker loses is lost"
    yield Finding(f"{topic.name}: replicas", "2 or more", words)


async def _config(way: Link, topic: str) -> dict[str, str]:
    """The topic's settings that matter; none where we may not ask."""
    broker = next(iter(way.brokers))
    try:
        answer = await way.ask(broker, DescribeConfigsRequest([(_TOPIC_RESOURCE, topic, list(_ASKED))]))
        with way.understood():
            return {str(name): str(value) for *_, entries in answer.resources for name, value, *_ in _plain(entries)}
    except Unavailable:
        return {}


def _plain(entries: Any) -> list[tuple[Any, ...]]:
    return [tuple(entry) for entry in entries]


def _configured(settings: KafkaSettings, topic: str, config: dict[str, str]) -> Iterator[Finding]:
    if not config:
        yield Finding(f"{topic}: settings", "to be known", "not allowed to see them")
        return
    most, wanted = config.get("max.message.bytes", ""), settings.publish.batch_bytes_max
    fine = not most.isdecimal() or int(most) >= wanted
    yield Finding(f"{topic}: max.message.bytes", f"at least {wanted}", most or "unknown", fine=fine)
    yield Finding(f"{topic}: min.insync.replicas", "2 or more", config.get("min.insync.replicas", "unknown"))
    policy = config.get("cleanup.policy", "delete")
    words = "keeps the last value of each tag only" if "compact" in policy else policy
    yield Finding(f"{topic}: cleanup.policy", "delete", words)
