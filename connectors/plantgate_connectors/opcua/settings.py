"""What an operator can say about an OPC UA connection; the docstrings are the documentation."""

import hashlib
from enum import Enum
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    computed_field,
    field_validator,
    model_validator,
)

from plantgate.sdk import Bytes, Settings
from plantgate_connectors.opcua import nodeids
from plantgate_connectors.opcua.deadband import Deadband
from plantgate_connectors.opcua.glob import Pattern
from plantgate_connectors.opcua.protection import Policy, Security, User
from plantgate_connectors.opcua.tagfile import Row, read_tags


def _number(written: object) -> object:
    return float(written) if isinstance(written, int) and not isinstance(written, bool) else written


Milliseconds = Annotated[float, BeforeValidator(_number), Field(ge=0, le=3_600_000)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=31_536_000)]


class Structure(Enum):
    """What becomes of a structured value."""

    FLATTEN = "flatten"
    JSON = "json"


class Trigger(Enum):
    """Which change makes the server report (OPC 10000-4, 7.22.2)."""

    STATUS = "status"
    STATUS_VALUE = "status_value"
    STATUS_VALUE_TIMESTAMP = "status_value_timestamp"


class History(Enum):
    """Whether gaps are filled from the server's history."""

    AUTO = "auto"
    OFF = "off"


class Profile(Enum):
    """Servers whose limits are known, though they do not say them."""

    AUTO = "auto"
    GENERIC = "generic"
    SIEMENS_S7_1200 = "siemens_s7_1200"
    SIEMENS_S7_1500 = "siemens_s7_1500"
    KEPWARE = "kepware"
    IGNITION = "ignition"
    PROSYS = "prosys"


class Tag(Settings):
    """One node to watch."""

    node: str
    """Node id: `nsu=urn:press;s=Temp`. `ns=2;s=Temp` works too, but the number can mean another namespace after a
    restart of the server; `plantgate check` says so."""
    tag: Annotated[str, Field(min_length=1, max_length=512)]
    """The tag's full name: `line3/press1/temperature`."""
    sampling_interval_ms: Milliseconds | None = None
    """How often the server looks at the value, milliseconds. The connection's `sampling_interval_ms` unless given."""
    queue_size: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Values the server keeps for this tag between publishes and through an outage. The connection's unless given."""
    discard_oldest: bool | None = None
    """Which value a full queue drops. The connection's unless given."""
    deadband: Deadband | None = None
    """Report only changes larger than this: `0.5` in the tag's unit, or `"2%"` of its range.
    The connection's unless given."""
    trigger: Trigger | None = None
    """Which change is reported. The connection's unless given."""
    structure: Structure | None = None
    """`flatten` or `json` for structured values. The connection's unless given."""

    @field_validator("node")
    @classmethod
    def _node(cls, written: str) -> str:
        nodeids.parse(written)
        return written


class Browse(Settings):
    """Nodes to find by their place in the server's tree, found anew in every session."""

    path: str
    """Pattern of browse names below Root, for example `Objects/Line*/**/Temp*`.
    `*` and `?` match within a name, `**` any number of levels. Names are compared without their namespace."""
    tag: Annotated[str, Field(min_length=1, max_length=512)] = "{path}"
    """Name for each find: `{path}` is its path from the first wildcard on, `{name}` its own browse name,
    `{parent}` its parent's. A `/` inside a browse name becomes `%2F`."""
    include: tuple[str, ...] = ()
    """Keep only finds whose path below Root matches one of these patterns; all if empty."""
    exclude: tuple[str, ...] = ()
    """Drop finds and do not look below nodes whose path matches one of these patterns."""
    properties: bool = False
    """Find properties (`EURange`, `EngineeringUnits`, …) too."""
    nodes_max: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """Stop after so many finds; `plantgate plan` and the status say when that happened."""
    sampling_interval_ms: Milliseconds | None = None
    """As for a tag."""
    queue_size: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """As for a tag."""
    discard_oldest: bool | None = None
    """As for a tag."""
    deadband: Deadband | None = None
    """As for a tag."""
    trigger: Trigger | None = None
    """As for a tag."""
    structure: Structure | None = None
    """As for a tag."""

    @field_validator("path")
    @classmethod
    def _path(cls, written: str) -> str:
        Pattern.parse(written)
        return written

    @field_validator("include", "exclude")
    @classmethod
    def _paths(cls, written: tuple[str, ...]) -> tuple[str, ...]:
        for path in written:
            Pattern.parse(path)
        return written

    @field_validator("tag")
    @classmethod
    def _template(cls, written: str) -> str:
        left = written.replace("{path}", "").replace("{name}", "").replace("{parent}", "")
        if "{" in left or "}" in left:
            raise ValueError(f"{written!r}: only {{path}}, {{name}} and {{parent}} can be filled in")
        if left == written:
            raise ValueError(f"{written!r} gives every find the same name; use {{path}}, {{name}} or {{parent}}")
        return written


class Events(Settings):
    """Events and alarms of one node, as records."""

    node: str = "i=2253"
    """The node that notifies; the server itself (`i=2253`) unless given, which reports everything it has."""
    tag: Annotated[str, Field(min_length=1, max_length=512)]
    """The tag whose values the events become."""
    type: str = "i=2041"
    """Event type as a node id; its subtypes count. BaseEventType unless given. `i=2915` is AlarmConditionType, `i=2782`
    all conditions: these are refreshed after every connect, so that none that stands is missed."""
    fields: tuple[str, ...] = ()
    """Fields to fetch as browse paths from the type: `Severity`, `ActiveState/Id`; another namespace is written
    `{urn:press}Cause`. All fields of the type (and its supertypes) unless given."""
    severity_min: Annotated[int, Field(ge=0, le=1000)] = 0
    """Least severity, 1 to 1000; judged by the server."""

    @field_validator("node", "type")
    @classmethod
    def _node(cls, written: str) -> str:
        nodeids.parse(written)
        return written

    @field_validator("fields")
    @classmethod
    def _fields(cls, written: tuple[str, ...]) -> tuple[str, ...]:
        for path in written:
            if not path.strip("/") or (path.startswith("{") and "}" not in path):
                raise ValueError(f"{path!r} is not a field; write Severity, ActiveState/Id or {{urn:press}}Cause")
        return written


class Limits(Settings):
    """What we accept at most; a hostile or broken server meets these first."""

    message_bytes_max: Bytes = 4 * 2**20
    """Largest message taken from the server. A longer one ends the session with a reason."""
    chunks_max: Annotated[int, Field(ge=1, le=65_536)] = 80
    """Most chunks in one message; one has 64 KiB at most, usually 8 KiB at least."""
    browse_nodes_max: Annotated[int, Field(ge=1, le=5_000_000)] = 200_000
    """Most nodes looked at by one browse pattern."""
    operations_per_call_max: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Most nodes in one call to the server; what the server or its profile says counts if it is less."""
    history_values_max: Annotated[int, Field(ge=0, le=100_000_000)] = 1_000_000
    """Most values fetched from history to fill one tag's gap; the rest stays in the gap record."""


class OpcUaSettings(Settings):
    """A connection to one OPC UA server."""

    url: str
    """The server's address: `opc.tcp://10.0.0.5:4840`. We always talk to this host and port, whatever the server's own
    endpoint list says (it often names a host unknown on our side of a router)."""
    security: Security = Security()
    """How the channel is protected. Signed and encrypted with the strongest policy both know, unless said otherwise."""
    user: User | None = None
    """Who we are to the server; anonymous unless given."""
    application_uri: str | None = None
    """Our application's URI, also in our certificate. `urn:<host>:plantgate` unless given."""
    publishing_interval_ms: Annotated[Milliseconds, Field(ge=1)] = 500.0
    """How often the server sends what has changed, milliseconds. Shorter means sooner, and more messages."""
    sampling_interval_ms: Milliseconds | None = None
    """How often the server looks at each value, milliseconds; 0 is as fast as it can. The publishing interval unless
    given. Shorter than that, all values between two publishes arrive, as far as `queue_size` allows."""
    queue_size: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Values the server keeps per tag until it may send them. This is what bridges a short outage without loss:
    100 values at one a second is over a minute and a half. The server may grant less: `plantgate plan` shows it."""
    discard_oldest: bool = True
    """When a queue is full: drop the oldest value (true) or the newest (false). Either is counted as a gap."""
    deadband: Deadband | None = None
    """Report only changes larger than this: `0.5` in the tag's unit or `"2%"` of its range. None: every change."""
    trigger: Trigger = Trigger.STATUS_VALUE
    """Which change the server reports: of the quality alone (`status`), of quality or value (`status_value`), or also
    a new source time with the same value (`status_value_timestamp`: every reading, even if it repeats)."""
    structure: Structure = Structure.FLATTEN
    """Structured values: `flatten` gives one sample per field (`tag.field`), `json` one sample with the structure."""
    keepalive_seconds: Seconds = 5.0
    """The server says "nothing new" after this long without changes; after three of these missed, the session is
    rebuilt."""
    lifetime_seconds: Seconds = 3600.0
    """How long the server keeps our subscription and its queues while we are away or stalled (outbox full).
    Long on purpose: what it still holds when we return is not lost."""
    session_timeout_seconds: Seconds = 60.0
    """The server frees our session after this long without a request. Small controllers have few sessions."""
    channel_lifetime_seconds: Annotated[Seconds, Field(ge=1)] = 3600.0
    """How long one set of channel keys is used; renewed at three quarters of what the server grants."""
    publish_requests: Annotated[int, Field(ge=1, le=32)] = 3
    """Publish requests kept waiting at the server. One is limited by the round trip; more than a few bring nothing."""
    connect_timeout_seconds: Seconds = 10.0
    """For each step of connecting: socket, channel, session."""
    request_timeout_seconds: Seconds = 10.0
    """For each request after that."""
    tags: tuple[Tag, ...] = ()
    """Nodes to watch, one by one."""
    tags_file: Path | None = None
    """Nodes to watch as CSV: columns `tag` and `node`, optional `sampling_interval_ms`, `queue_size`, `discard_oldest`,
    `deadband`, `trigger`, `structure`. First line names the columns; `#` starts a comment line."""
    browse: tuple[Browse, ...] = ()
    """Nodes to find by patterns."""
    events: tuple[Events, ...] = ()
    """Events and alarms to record."""
    profile: Profile = Profile.AUTO
    """Limits of servers that do not publish them. `auto` recognises the maker by what the server says of itself."""
    history: History = History.AUTO
    """`auto`: gaps are filled by HistoryRead where the server keeps history of the tag; `off`: only recorded."""
    limits: Limits = Limits()
    """What we accept at most from the server."""

    _rows: tuple[Row, ...] = PrivateAttr(default=())
    _digest: str | None = PrivateAttr(default=None)

    @computed_field  # type: ignore[prop-decorator]  # mypy issue 1362: decorators above a property
    @property
    def tags_file_sha256(self) -> str | None:
        """Digest of the tag file as read, so that a change of the file alone is a change of the settings."""
        return self._digest

    @property
    def rows(self) -> tuple[Row, ...]:
        """The tags of `tags` and `tags_file` together, in that order."""
        return self._rows

    def doubts(self) -> tuple[str, ...]:
        """What is allowed and still unwise, a sentence each; for `plantgate check` to show as warnings."""
        found = []
        if self.security.policy is Policy.NONE:
            found.append(
                "security.policy None: anyone on the network can read this connection, speak in its place,"
                " and write what it may write"
            )
        shaky = [row for row in self.rows if not row.address.stable]
        if shaky:
            more = f" (and {len(shaky) - 1} more)" if len(shaky) > 1 else ""
            found.append(
                f"{shaky[0].where}: {shaky[0].address}{more} names its namespace by a number, which can mean another"
                " after the server restarts; write nsu=<namespace uri>;… (`plantgate plan` tells the uri)"
            )
        return tuple(found)

    @field_validator("url")
    @classmethod
    def _url(cls, written: str) -> str:
        try:
            parts = urlsplit(written)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{written!r} is not an address: {error}") from None
        if parts.scheme != "opc.tcp" or not parts.hostname:
            raise ValueError(f"{written!r} is not an OPC UA address; write opc.tcp://HOST:PORT, usually port 4840")
        if parts.username or parts.password:
            raise ValueError("user and password belong under user:, not into the url")
        if port is None:
            raise ValueError(f"{written!r} has no port; OPC UA servers usually listen on 4840: {written}:4840")
        return written

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> "OpcUaSettings":
        rows = [_row(tag, index) for index, tag in enumerate(self.tags)]
        if self.tags_file is not None:
            place = _place(self.tags_file, info)
            rows += read_tags(place)
            self._digest = hashlib.sha256(place.read_bytes()).hexdigest()
        if not (rows or self.browse or self.events):
            raise ValueError("nothing to read: give tags, tags_file, browse or events")
        seen: dict[str, str] = {}
        for row in rows:
            if row.tag in seen:
                raise ValueError(f"{row.where}: tag {row.tag!r} is already given at {seen[row.tag]}")
            seen[row.tag] = row.where
        for event in self.events:
            if event.tag in seen:
                raise ValueError(f"events: tag {event.tag!r} is already given at {seen[event.tag]}")
            seen[event.tag] = "events"
        if self.lifetime_seconds < 3 * self.keepalive_seconds:
            raise ValueError("lifetime_seconds must be at least three times keepalive_seconds (OPC 10000-4, 5.14.2)")
        if self.publishing_interval_ms > 1000 * self.keepalive_seconds:
            raise ValueError("keepalive_seconds must be at least the publishing interval")
        self._rows = tuple(rows)
        return self


_FOLDER: Final = "folder"


def _place(path: Path, info: ValidationInfo) -> Path:
    """A relative path counts from the plant file's folder, where the host names it in the validation context."""
    folder = info.context.get(_FOLDER) if isinstance(info.context, dict) else None
    return Path(folder) / path if isinstance(folder, str | Path) else path


def _row(tag: Tag, index: int) -> Row:
    return Row(
        where=f"tags[{index}]",
        tag=tag.tag,
        address=nodeids.parse(tag.node),
        sampling_interval_ms=tag.sampling_interval_ms,
        queue_size=tag.queue_size,
        discard_oldest=tag.discard_oldest,
        deadband=tag.deadband,
        trigger=None if tag.trigger is None else tag.trigger.value,
        structure=None if tag.structure is None else tag.structure.value,
    )
