"""What an operator writes for a Kafka connection."""

import re
from enum import Enum
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator

from plantgate.sdk import Bytes, Secret, Settings
from plantgate_connectors.kafka.keys import Pattern, Template
from plantgate_connectors.payloads.words import Payload, TimeFormat, TimeUnit, check_pointers
from plantgate_connectors.tls import ClientTls

Seconds = Annotated[float, Field(gt=0, le=86_400)]
_SERVER: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:/,\[\]]+):([0-9]{1,5})")
_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class Mechanism(Enum):
    """How we prove who we are."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class Each(Enum):
    """What one record carries."""

    VALUE = "value"
    TAG = "tag"
    BATCH = "batch"


class Compression(Enum):
    """How a record batch is made smaller."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"


class Headers(Enum):
    """What stands beside each record."""

    NONE = "none"
    TYPE = "type"


class Repeats(Enum):
    """What happens to samples that may be in the topic already."""

    AVOID = "avoid"
    ALLOW = "allow"


class RecordTime(Enum):
    """What a record's own timestamp is good for."""

    SOURCE = "source"
    IGNORE = "ignore"


class Tls(ClientTls):
    """Encryption and who is who."""

    check_server_name: bool = True
    """Whether a broker's certificate must carry the name it is reached by; turn off only where it names another."""


class Sasl(Settings):
    """User and password."""

    mechanism: Mechanism = Mechanism.SCRAM_SHA_512
    """`PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`, as the brokers have it."""
    username: str
    """User name."""
    password: Secret
    """Password, as a reference."""


class Publish(Settings):
    """How batches become records."""

    topic: str = "plantgate.samples"
    """Where they go. The topic must be there: plantgate makes none."""
    each: Each = Each.VALUE
    """`value`: a record for each sample, keyed by its tag; `tag`: one for all samples of a tag that travel together, in
    columns; `batch`: one for everything that travels together, in columns, keyed by the outbox."""
    time: TimeFormat = TimeFormat.RFC3339
    """Source times as `rfc3339` text, exact to the nanosecond, or as whole `nanoseconds` since 1970 UTC."""
    headers: Headers = Headers.NONE
    """`type`: every record has the headers `content-type` and `schema`, for half a microsecond of CPU each."""
    compression: Compression = Compression.NONE
    """`none` or `gzip`; `snappy`, `lz4` and `zstd` need the package `cramjam`."""
    gaps_topic: str | None = None
    """Where records of missing values go; without it, the topic of the samples, into the partitions of their tags."""
    batch_bytes_max: Annotated[Bytes, Field(ge=1024, le=100 * 2**20)] = 1_000_000
    """Most bytes of one record batch, before compression; the topic's `max.message.bytes` (1,048,588 unless set) is the
    limit of one as it is sent."""
    acknowledge_seconds: Seconds = 30.0
    """How long the brokers may take to confirm a batch before we connect anew and look what is there."""
    repeats: Repeats = Repeats.AVOID
    """`avoid`: after a crash or an answer that never came, read the end of the topic and send only what is not there
    (needs the right to read it); `allow`: send again, and leave it to the consumer to drop repeats by their numbers."""

    @field_validator("topic", "gaps_topic")
    @classmethod
    def _topic(cls, topic: str | None) -> str | None:
        return None if topic is None else checked_topic(topic)


class Subscribe(Settings):
    """A topic to read, and what its records mean."""

    topic: str
    """Name of the topic."""
    key: str | None = None
    """What the keys look like: text with `{name}`s for use in `tag`, such as `{line}/{machine}`; a name takes up to the
    next `/`, and `{name#}` at the end takes the rest. A record whose key is otherwise is counted and passed over."""
    tag: str = "{key}"
    """The tag's name: text with the `{name}`s of the key, `{key}` for the whole of it, `{topic}`, or `{partition}`."""
    payload: Payload = Payload.NUMBER
    """`number`, `text`, `json` (one value at `value`), `fields` (a JSON object: each field becomes `tag/field`), or
    `plantgate` (what another plantgate publishes: tags, times, qualities and gaps as they were; `tag` is not used)."""
    value: str = ""
    """JSON Pointer (RFC 6901) to the value or, with `fields`, to the object: `/readings/0/value`; empty: the whole."""
    time: str | None = None
    """JSON Pointer to the source time: RFC 3339 text, or a number in `time_unit`."""
    time_unit: TimeUnit = TimeUnit.MILLISECONDS
    """What a number at `time` counts: `s`, `ms`, `us` or `ns` since 1970 UTC."""
    quality: str | None = None
    """JSON Pointer to the quality: an OPC UA StatusCode, `true`/`false`, or `Good`, `Uncertain`, `Bad`."""
    record_time: RecordTime = RecordTime.IGNORE
    """`source`: where the payload gives no time, the timestamp a producer put on the record is the source time; one put
    there by the broker never is."""
    partitions: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Which partitions to read; by default all of them."""

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        return checked_topic(topic)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        names = frozenset[str]() if self.key is None else Pattern(self.key).names
        Template(self.tag).only({*names, "key", "topic", "partition"}, "tag")
        pointers = {"value": self.value or None, "time": self.time, "quality": self.quality}
        check_pointers(self.payload, pointers, inside="record")
        return self


class KafkaSettings(Settings):
    """A cluster, and what to exchange with it."""

    servers: Annotated[tuple[str, ...], Field(min_length=1)]
    """Some brokers as `host:port`; the others are learned from them."""
    tls: Tls | None = None
    """Encryption; `tls: {}` trusts the operating system's authorities."""
    sasl: Sasl | None = None
    """User and password, for clusters that ask."""
    client_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Our name in the brokers' logs and quotas; by default `plantgate-` and the connection's name."""
    connect_seconds: Seconds = 10.0
    """How long name look-up, TCP, TLS, login and the first answer may take together, for one broker."""
    request_seconds: Seconds = 15.0
    """How long a broker may take to answer anything else."""
    publish: Publish = Publish()
    """For flows that end here."""

    subscribe: tuple[Subscribe, ...] = ()
    """For flows that begin here."""
    group: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """The name under which the cluster keeps how far we have read; needed by `subscribe`. One gateway has one: the
    partitions are not shared with other members."""
    fetch_bytes_max: Annotated[Bytes, Field(ge=2**16, le=2**27)] = 4 * 2**20
    """Most bytes to ask a broker for at a time; one record batch that is larger still comes, alone."""
    unpacked_bytes_max: Annotated[Bytes, Field(ge=2**16, le=2**30)] = 64 * 2**20
    """A record batch that is larger, as sent or unpacked, is passed over and named in a gap record."""

    @field_validator("servers")
    @classmethod
    def _servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            found = _SERVER.fullmatch(server)
            if found is None or not 1 <= int(found[1]) <= 65_535:
                raise ValueError(f"{server!r} is not host:port; write for example kafka1.plant.local:9092")
        return servers

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.subscribe and self.group is None:
            raise ValueError("subscribe needs a group: the name under which the cluster keeps how far we have read")
        topics = [subscribe.topic for subscribe in self.subscribe]
        if len(set(topics)) < len(topics):
            raise ValueError("subscribe: a topic stands twice in it")
        return self

    def doubts(self) -> tuple[str, ...]:
        """What is allowed and still unwise, a sentence each; `plantgate check` shows them as warnings."""
        found = []
        if self.tls is None and self.sasl is not None and self.sasl.mechanism is Mechanism.PLAIN:
            found.append("sasl.password goes over the network unencrypted; write tls: {} if the brokers have TLS")
        if self.tls is not None and not self.tls.check_server_name:
            found.append("tls.check_server_name: false lets any machine the authority vouches for play a broker")
        return tuple(found)


def checked_topic(topic: str) -> str:
    """The name, if it is one a broker takes; raises `ValueError`."""
    if not _TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise ValueError(f"{topic!r} cannot be a topic: letters, digits, dot, _ and -, at most 249 of them")
    return topic
