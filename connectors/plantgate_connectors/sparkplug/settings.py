"""What an operator writes for a Sparkplug connection."""

from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from plantgate.sdk import Bytes, Secret, Settings
from plantgate_connectors.mqtt.settings import MqttSettings, Seconds, Tls, Version
from plantgate_connectors.mqtt.topics import Template, topic_problem
from plantgate_connectors.sparkplug.announced import Names
from plantgate_connectors.sparkplug.commanded import Commands
from plantgate_connectors.sparkplug.topics import checked_id


class Publish(Settings):
    """For flows that end here: we are an edge node."""

    edge_node: str
    """Our name as an edge node; with `group` it must be unique at the broker, so there is no default."""
    group: str = "plantgate"
    """The group we belong to."""
    device_levels: Annotated[int, Field(ge=0, le=4)] = 1
    """How many levels of a tag's path name the device, the rest being the metric: with 1, `press1/hall/temperature` is
    metric `hall/temperature` of device `press1`; with 2, of device `press1:hall`. With 0 every tag is a metric of the
    edge node itself."""
    primary_host: str | None = None
    """Host application without which nothing is published: we wait until its STATE says that it is online."""
    exact_time: bool = True
    """Whether what a source time has below the millisecond, Sparkplug's unit, goes along as property `ns`."""
    numbers: bool = True
    """Whether `plantgate/origin`, `plantgate/position` and `plantgate/offsets` go along, by which a consumer tells
    repeats."""
    gaps: bool = True
    """Whether records of missing values go along, as JSON in the edge node's metric `plantgate/gaps`."""
    datatypes: bool = False
    """Whether data messages repeat each metric's type, for consumers that do not remember it from the birth; the
    specification advises against it."""
    confirm_topic: str = "plantgate/confirm/{client_id}"
    """Where a message of QoS 1 goes after each batch: once the broker has confirmed it, it has taken the batch. Must be
    allowed by the broker's access list; nobody needs to read it. `{connection}` and `{client_id}` are replaced."""
    message_bytes_max: Annotated[Bytes, Field(ge=1024, le=268_435_455)] = 2**20
    """Larger data messages are split; a broker's Maximum Packet Size lowers it. Birth certificates cannot be split: one
    that is too large for the broker goes without values."""
    acknowledge_seconds: Seconds = 30.0
    """How long the broker may take to confirm a batch before we connect anew and send it again."""

    @field_validator("edge_node", "group", "primary_host")
    @classmethod
    def _ids(cls, written: str | None) -> str | None:
        return None if written is None else checked_id(written)

    @field_validator("confirm_topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        template = Template(topic)
        template.only({"connection", "client_id"}, "confirm_topic")
        if problem := topic_problem(template.example()):
            raise ValueError(f"{topic!r} cannot be published to: {problem}")
        if topic.startswith("spBv1.0/"):
            raise ValueError(f"{topic!r} is Sparkplug's own; choose one outside spBv1.0/")
        return topic


class Subscribe(Settings):
    """For flows that begin here: we are a host application."""

    host_id: str
    """Our name as a host application, unique at the broker: edge nodes may wait for it, so there is no default."""
    groups: tuple[str, ...] = ()
    """Groups to read; none named: all of them."""
    tag: str = "{group}/{edge_node}/{device}/{metric}"
    """Tag of a device's metric. A member of a template is one more level."""
    node_tag: str = "{group}/{edge_node}/{metric}"
    """Tag of an edge node's own metric."""
    reorder_seconds: Seconds = 2.0
    """How long a message that is missing is waited for before it is given up as lost."""
    request_rebirth: bool = True
    """Whether to ask an edge node for new birth certificates when what it sends cannot be understood without."""
    rebirth_seconds: Seconds = 10.0
    """Least time between two such requests to one edge node; each that goes unanswered doubles it, up to 5 minutes."""

    @field_validator("host_id")
    @classmethod
    def _host(cls, written: str) -> str:
        return checked_id(written)

    @field_validator("groups")
    @classmethod
    def _groups(cls, written: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(checked_id, written))

    @model_validator(mode="after")
    def _tags(self) -> Self:
        Template(self.tag).only({"group", "edge_node", "device", "metric"}, "tag")
        Template(self.node_tag).only({"group", "edge_node", "metric"}, "node_tag")
        for name, template in (("tag", self.tag), ("node_tag", self.node_tag)):
            if "{metric}" not in template:
                raise ValueError(f"{name}: {template!r} has no {{metric}}, so all metrics would be one tag")
        return self


class SparkplugSettings(Settings):
    """A broker, and what to exchange with it as an edge node or as a host application."""

    host: str
    """Name or address of the broker."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """TCP port; 1883, or 8883 with `tls`."""
    version: Version = Version.V5
    """`5`, or `3.1.1` for a broker that knows no better."""
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
    up; when we are, the broker tells the world that we are dead."""
    publish: Publish | None = None
    """For flows that end here: we are an edge node."""
    subscribe: Subscribe | None = None
    """For flows that begin here: we are a host application."""
    commands: Commands | None = None
    """For `control`: the metrics of edge nodes that may be written, which none is by default."""
    message_bytes_max: Annotated[Bytes, Field(ge=128, le=268_435_455)] = 8 * 2**20
    """Larger incoming messages are skipped unread, counted, and named in a gap record."""
    buffer_bytes_max: Annotated[Bytes, Field(ge=2**16)] = 32 * 2**20
    """Received and not yet safe; at this the connection is read no further until some of it is."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        self.as_mqtt()
        if self.commands is not None:
            self._may_command(self.commands)
        return self

    def _may_command(self, commands: Commands) -> None:
        subscribe = self.subscribe
        if subscribe is None:
            raise ValueError("commands: they come from a host application; write subscribe: { host_id: … } as well")
        if self.client_id is not None and commands.client_id in (None, self.client_id):
            raise ValueError(
                f"commands: they go out in a session of their own, and {self.client_id!r} is the name of another;"
                " write a second one as commands.client_id"
            )
        names = Names(subscribe.tag, subscribe.node_tag)
        for metric in commands.metrics:
            if subscribe.groups and metric.group not in subscribe.groups:
                raise ValueError(f"commands: {metric.tag}: group {metric.group!r} is not among subscribe.groups")
            read_as = names.tag(metric.group, metric.edge_node, metric.device, metric.metric)
            if read_as != metric.tag:
                raise ValueError(
                    f"commands: {metric.tag}: by subscribe, this metric is read as {read_as}; name it so here, since"
                    " rules and people must mean the same thing by a tag"
                )

    def as_mqtt(self) -> MqttSettings:
        """The MQTT connection under it. Sparkplug wants sessions that the broker forgets."""
        return MqttSettings(
            host=self.host,
            port=self.port,
            version=self.version,
            tls=self.tls,
            username=self.username,
            password=self.password,
            client_id=self.client_id,
            connect_seconds=self.connect_seconds,
            keep_alive_seconds=self.keep_alive_seconds,
            session_expiry_seconds=0,
            message_bytes_max=self.message_bytes_max,
            buffer_bytes_max=self.buffer_bytes_max,
        )

    def doubts(self) -> tuple[str, ...]:
        """What is allowed and still unwise, a sentence each; `plantgate check` shows them as warnings."""
        found = list(self.as_mqtt().doubts())
        if self.publish is not None and not self.publish.numbers:
            found.append("publish.numbers: false leaves a consumer nothing by which to tell a repeat")
        if self.publish is not None and self.publish.datatypes:
            found.append("publish.datatypes: true is against the specification's advice and makes messages larger")
        if self.commands is not None and (by_alias := self.commands.by_alias()):
            found.append(
                f"commands.metrics: {', '.join(by_alias)} by alias: an edge node that hands out its aliases anew just"
                " then writes another metric; write by: name"
            )
        if self.commands is not None and self.version is Version.V3_1_1:
            found.append(
                "commands: in version 3.1.1 a command never expires: an edge node that was away and whose session the"
                " broker keeps, against the specification, gets it late; write version 5"
            )
        return tuple(found)
