"""What an operator writes for an MQTT connection."""

from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from plantgate.sdk import Bytes, Secret, Settings
from plantgate_connectors.mqtt.commands import Command, echoing
from plantgate_connectors.mqtt.topics import Pattern, Template, topic_problem
from plantgate_connectors.payloads.words import Payload, TimeFormat, TimeUnit, check_pointers
from plantgate_connectors.tls import ClientTls

Seconds = Annotated[float, Field(gt=0, le=86_400)]
QoS = Annotated[int, Field(ge=0, le=1)]


class Version(Enum):
    """Version of the protocol."""

    V5 = "5"
    V3_1_1 = "3.1.1"


class Each(Enum):
    """What one message carries."""

    BATCH = "batch"
    VALUE = "value"


class Format(Enum):
    """How a published message is written."""

    JSON = "json"
    COLUMNS = "columns"
    CLOUDEVENTS = "cloudevents"
    TEXT = "text"


class Retained(Enum):
    """What to do with the value a broker kept for us."""

    USE = "use"
    IGNORE = "ignore"


class Tls(ClientTls):
    """Encryption and who is who."""

    check_server_name: bool = True
    """Whether the broker's certificate must carry the name in `host`; turn off only where it names another machine."""


class Publish(Settings):
    """How batches become messages."""

    each: Each = Each.BATCH
    """`batch`: one message for all samples that travel together, the cheap way; `value`: one message for each."""
    topic: str = "plantgate/samples"
    """Where they go. `{connection}` and `{client_id}` are replaced, with `each: value` also `{tag}`."""
    format: Format = Format.JSON
    """`json`, `columns` (the same in a third fewer bytes), `cloudevents` (1.0, structured), or, with `each: value`,
    `text`: the bare value."""
    time: TimeFormat = TimeFormat.RFC3339
    """Source times as `rfc3339` text, exact to the nanosecond, or as whole `nanoseconds` since 1970 UTC."""
    qos: QoS = 1
    """1: each message is confirmed by the broker before its batch counts as delivered; 0: sent and hoped for."""
    retain: bool = False
    """Whether the broker keeps the last message of each topic for those who subscribe later."""
    gaps_topic: str | None = "plantgate/gaps"
    """Where records of missing values go, before the samples that follow them; null publishes none."""
    status_topic: str | None = None
    """Kept (retained) at `online` while we are connected, turned to `offline` by us or, when we vanish, by the broker.
    `{connection}` and `{client_id}` are replaced."""
    in_flight: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Most messages that wait for the broker's confirmation at a time; a broker's Receive Maximum lowers it."""
    message_bytes_max: Annotated[Bytes, Field(ge=1024, le=268_435_455)] = 4 * 2**20
    """Larger batches are split into several messages; a broker's Maximum Packet Size lowers it."""
    acknowledge_seconds: Seconds = 30.0
    """How long the broker may take to confirm a batch before we connect anew and send it again."""

    @field_validator("topic", "gaps_topic", "status_topic")
    @classmethod
    def _topic(cls, topic: str | None) -> str | None:
        if topic is not None:
            problem = topic_problem(Template(topic).example())
            if problem:
                raise ValueError(f"{topic!r} cannot be published to: {problem}")
        return topic

    @model_validator(mode="after")
    def _fits(self) -> Self:
        allowed = {"connection", "client_id"}
        for name, topic in (("gaps_topic", self.gaps_topic), ("status_topic", self.status_topic)):
            if topic is not None:
                Template(topic).only(allowed, name)
        if self.each is Each.VALUE:
            Template(self.topic).only({*allowed, "tag"}, "topic")
            if "tag" not in Template(self.topic).names:
                raise ValueError('each: value needs a topic with {tag} in it, for example topic: "{tag}"')
            if self.format is Format.COLUMNS:
                raise ValueError("format: columns is for batches; with each: value write json, cloudevents or text")
        else:
            Template(self.topic).only(allowed, "topic")
            if self.format is Format.TEXT:
                raise ValueError("format: text is one bare value a message; it needs each: value")
        return self


class Subscribe(Settings):
    """Topics to read, and what their messages mean."""

    topic: str
    """A topic; levels may be `{name}` (any one level, for use in `tag`), `+` (any one level), and at the end `#` or
    `{name#}` (all that follows)."""
    tag: str = "{topic}"
    """The tag's name: text with the `{name}`s of the topic, or `{topic}` for the whole of it."""
    payload: Payload = Payload.NUMBER
    """`number`, `text`, `json` (one value at `value`), `fields` (a JSON object: each field becomes `tag/field`), or
    `plantgate` (what another plantgate publishes: tags, times, qualities and gaps as they were; `tag` is not used)."""
    value: str = ""
    """JSON Pointer (RFC 6901) to the value or, with `fields`, to the object: `/readings/0/value`; empty: the whole."""
    time: str | None = None
    """JSON Pointer to the source time: RFC 3339 text, or a number in `time_unit`; without it samples carry none."""
    time_unit: TimeUnit = TimeUnit.MILLISECONDS
    """What a number at `time` counts: `s`, `ms`, `us` or `ns` since 1970 UTC."""
    quality: str | None = None
    """JSON Pointer to the quality: an OPC UA StatusCode, `true`/`false`, or `Good`, `Uncertain`, `Bad`."""
    qos: QoS = 1
    """1: repeated by the broker until we have it safe; 0: lost whenever we are away."""
    retained: Retained = Retained.USE
    """What to do with a message the broker had kept: `use` it (`UncertainLastUsableValue` unless it has a time of its
    own), or `ignore` it."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        pattern = Pattern(self.topic)
        Template(self.tag).only({*pattern.names, "topic"}, "tag")
        pointers = {"value": self.value or None, "time": self.time, "quality": self.quality}
        check_pointers(self.payload, pointers, inside="message")
        return self


class MqttSettings(Settings):
    """A broker, and what to exchange with it."""

    host: str
    """Name or address of the broker."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """TCP port; 1883, or 8883 with `tls`."""
    version: Version = Version.V5
    """`5`, or `3.1.1` for a broker that knows no better (it cannot say that it refused a message)."""
    tls: Tls | None = None
    """Encryption; `tls: {}` trusts the operating system's authorities."""
    username: str | None = None
    """User name."""
    password: Secret | None = None
    """Password, as a reference."""
    client_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Our name at the broker, unique there. By default made once for each use and kept; set it only where the broker
    demands one, and then let one flow use the connection once."""
    connect_seconds: Seconds = 10.0
    """How long name look-up, TCP, TLS and the broker's welcome may take together."""
    keep_alive_seconds: Annotated[int, Field(ge=2, le=3600)] = 20
    """Asked for at the broker, which may decide otherwise. When it is silent for twice as long, the connection is given
    up."""
    publish: Publish = Publish()
    """For flows that end here."""
    subscribe: tuple[Subscribe, ...] = ()
    """For flows that begin here."""
    commands: tuple[Command, ...] = ()
    """Tags that may be written under `control`."""
    session_expiry_seconds: Annotated[int, Field(ge=0, le=4_294_967_294)] = 7 * 86_400
    """How long an MQTT 5 broker keeps our subscriptions and what they catch while we are away."""
    receive_max: Annotated[int, Field(ge=1, le=65_535)] = 1_000
    """Most messages an MQTT 5 broker may send before the first is safe with us."""
    message_bytes_max: Annotated[Bytes, Field(ge=128, le=268_435_455)] = 2**20
    """Larger incoming messages are skipped unread, counted, and named in a gap record."""
    buffer_bytes_max: Annotated[Bytes, Field(ge=2**16)] = 16 * 2**20
    """Received and not yet safe; at this the connection is read no further until some of it is."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("password without username: write both")
        if self.client_id is not None and topic_problem(self.client_id.replace("/", "")):
            raise ValueError(
                f"client_id {self.client_id!r} has characters no broker takes: use letters, digits, - and _"
            )
        tags = [command.tag for command in self.commands]
        if twice := sorted({tag for tag in tags if tags.count(tag) > 1}):
            raise ValueError(f"commands: {twice[0]!r} stands twice; a tag has one command")
        if problem := echoing(self.commands):
            raise ValueError(f"commands: {problem}")
        if self.version is Version.V3_1_1:
            for command in self.commands:
                if command.answer is not None and command.answer.id is None:
                    raise ValueError(
                        f"commands: {command.tag!r} wants an answer, and version 3.1.1 has no Correlation Data: write"
                        " answer.id if the device repeats a number of the payload, or version 5"
                    )
        return self

    def doubts(self) -> tuple[str, ...]:
        """What is allowed and still unwise, a sentence each; `plantgate check` shows them as warnings."""
        found = []
        if self.tls is None and self.password is not None and self.host not in ("localhost", "127.0.0.1", "::1"):
            found.append("password goes over the network unencrypted; write tls: {} if the broker has TLS")
        if self.tls is not None and not self.tls.check_server_name:
            found.append("tls.check_server_name: false lets any machine the authority vouches for play the broker")
        if self.version is Version.V3_1_1:
            found.append("version 3.1.1: a broker cannot say that it refused a message, and many then confirm it")
        if self.publish.qos == 0:
            found.append("publish.qos 0: nobody confirms what is sent; what is under way when the line breaks is lost")
        found += [
            f"subscribe {subscribe.topic}: with qos 0 the broker keeps nothing while the gateway is away"
            for subscribe in self.subscribe
            if subscribe.qos == 0
        ]
        return (*found, *self._doubts_of_commands())

    def _doubts_of_commands(self) -> Iterator[str]:
        if self.commands and self.version is Version.V3_1_1:
            yield (
                "commands: in version 3.1.1 a command never expires: for a device that is away and has a session at the"
                " broker it waits, and comes late; write version 5, or let such devices connect with a clean session"
            )
        if self.commands and self.client_id is not None:
            yield "commands: with client_id set, they and a flow that uses this connection push each other out"
        for command in self.commands:
            if command.qos == 0:
                yield f"commands {command.tag}: with qos 0 the broker does not say whether anybody listens"
            state = command.state
            if state is not None and state.ask is None and state.fresh_seconds is None:
                yield (
                    f"commands {command.tag}: nothing makes the device report (state.ask), so it is only read, and"
                    " written, when a report comes within five seconds"
                )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return self.host, self.port or (8883 if self.tls is not None else 1883)
