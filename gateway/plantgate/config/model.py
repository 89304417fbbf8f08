"""What the operator writes: the plant file, field by field."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from plantgate.control.settings import ControlSettings
from plantgate.sdk import Bytes, Connector, ModelAdapter, Settings
from plantgate.store.limits import WhenFull

NAME_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,63}$"
"""Names of plants, connections and flows: safe as a folder, a metric label and part of a client id."""

S = TypeVar("S", bound=Settings)


def _name(written: str) -> str:
    if re.fullmatch(NAME_PATTERN, written) is None:
        raise PydanticCustomError("name", "not a name", {})
    return written


Name = Annotated[
    str,
    AfterValidator(_name),
    WithJsonSchema({"type": "string", "pattern": NAME_PATTERN}),
]
"""Lower-case letters, digits, ``_`` and ``-``; begins with a letter; at most 64."""


def _one_or_more(written: object) -> object:
    # A tuple, not a list: what a before-validator returns is judged as Python, where strict refuses list for tuple.
    if isinstance(written, str):
        return (written,)
    if isinstance(written, list | tuple):
        return tuple(written)
    raise ValueError("expected the name of a connection, or a list of names")


def _once_each(names: tuple[str, ...]) -> tuple[str, ...]:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ValueError(f"`{name}` stands here twice; name it once")
    return names


Names = Annotated[
    tuple[Name, ...],
    Field(min_length=1),
    BeforeValidator(_one_or_more),
    AfterValidator(_once_each),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": NAME_PATTERN},
                {
                    "type": "array",
                    "items": {"type": "string", "pattern": NAME_PATTERN},
                    "minItems": 1,
                    "uniqueItems": True,
                },
            ]
        }
    ),
]
"""One name, or a list of them."""


def _listen(written: str) -> str:
    host, colon, port = written.rpartition(":")
    fine = bool(colon and host) and port.isascii() and port.isdecimal() and int(port) <= 65535
    bracketed = host.startswith("[") and host.endswith("]")
    if not fine or any(mark in host for mark in "/@ ") or (":" in host and not bracketed):
        raise ValueError(
            "not an address to listen on; write host:port, for example 127.0.0.1:9480 (this machine only)"
            " or 0.0.0.0:9480 (every network); IPv6 in brackets, [::1]:9480"
        )
    return written


class HttpSettings(Settings):
    """Health, metrics, status and the live view, over HTTP."""

    listen: Annotated[
        str,
        AfterValidator(_listen),
        WithJsonSchema({"type": "string", "pattern": r"^(\[[0-9A-Fa-f:.%]+\]|[^:/@ ]+):[0-9]{1,5}$"}),
    ] = "127.0.0.1:9480"
    """Address and port. Nothing asks for a password here: keep it to this machine or to a network you trust.
    Port 0 takes a free one, which the log names."""

    @property
    def host(self) -> str:
        """The host part, without brackets."""
        return self.listen.rpartition(":")[0].removeprefix("[").removesuffix("]")

    @property
    def port(self) -> int:
        """The port part."""
        return int(self.listen.rpartition(":")[2])


class StoreSettings(Settings):
    """Where the gateway keeps what must survive a restart."""

    folder: Path = Path("data")
    """Outboxes, positions, certificates. A relative path starts at the plant file. Must be a local disk that
    keeps its word on fsync: not a network share, not a container's own layer."""


class LogLevel(Enum):
    """What is worth a line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogSettings(Settings):
    """JSON lines on standard error."""

    level: LogLevel = LogLevel.INFO
    """The least important line that is still written."""


def _collector(written: str) -> str:
    if re.match(r"https?://[^\s/]", written) is None:
        raise ValueError("not an HTTP address; write for example http://collector:4318/v1/traces")
    return written


def _web_address(written: str) -> str:
    if re.match(r"https?://[^\s/]", written) is None:
        raise ValueError("not an HTTP address; write for example http://box2:9490")
    return written


Seconds = Annotated[float, Field(gt=0, le=3600)]


class Shutdown(Settings):
    """How long each phase of an orderly stop may take before it is cut short; what was accepted stays on disk."""

    sources_seconds: Seconds = 5.0
    """For sources to stop reading and acknowledge what the outbox has."""
    sinks_seconds: Seconds = 10.0
    """For destinations to confirm what is on its way. The rest waits in the outbox for the next start."""
    observe_seconds: Seconds = 2.0
    """For logs, metrics and traces to be written out."""


class Tracing(Settings):
    """OpenTelemetry traces; needs the extra `plantgate[tracing]`."""

    endpoint: Annotated[str, AfterValidator(_collector)]
    """Where traces go: an OTLP/HTTP address such as `http://collector:4318/v1/traces`."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of batches that are traced, 0 to 1."""


class OutboxSettings(Settings):
    """The durable queue between a flow's source and its destinations."""

    bytes_max: Annotated[Bytes, Field(ge=16 * 2**20, le=16 * 2**40)] = 2 * 2**30
    """Disk it may use, for example `2GiB`. At 20 bytes a value, 2 GiB hold about 100 million values."""
    age_max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Values older than this are dropped, counted and named in a gap record. Without it nothing ages."""
    when_full: WhenFull = WhenFull.BLOCK
    """`block` stops reading (the machine's own queue fills next); `drop_oldest` makes room by dropping from the
    front; `keep_latest` keeps only each tag's newest value. What is dropped is counted and named in a gap record."""
    folder: Path | None = None
    """Where it lives; `outboxes/<flow>` below the store's folder by default. Set it to use another disk."""
    release: tuple[Name, ...] = ()
    """Destinations that are gone for good: what is still queued for them is given up. Without it, a destination taken
    out of `to` keeps its place and what it has not received, for when it returns."""


class FlowSettings(Settings):
    """One way values take through the gateway."""

    sources: Names = Field(alias="from")
    """Connections to read from: one name, or a list."""
    destinations: Names = Field(alias="to")
    """Connections to write to: one name, or a list. Each has its own position in the outbox: a slow one does not
    hold up the others, until the outbox is full and blocks."""
    outbox: OutboxSettings = OutboxSettings()
    """Limits of the queue on disk."""


class CellSettings(Settings):
    """Connections that run in a process of their own: what hangs or crashes there stays there."""

    connections: Names
    """Names of the connections that live in the cell: one, or a list. A connection lives in one cell at most."""
    stall_seconds: Annotated[float, Field(ge=1, le=3600)] = 10.0
    """How long the cell may stand still (a decoder that never ends, a driver that hangs) before it is ended and
    started again."""
    memory_bytes_max: Annotated[Bytes, Field(ge=64 * 2**20)] | None = None
    """Memory it may use, for example `512MiB`; above that it is ended and started again. An idle cell takes about
    45 MB. Without it there is no limit."""


def _vkey(written: str) -> str:
    from plantgate.audit.note import BadNote, Verifier  # late: cryptography is loaded only where a witness is named

    try:
        Verifier.parse(written)
    except BadNote as error:
        raise ValueError(f"not a public key of a witness: {error}; it is in the .pub file that it made") from None
    return written


class WitnessSettings(Settings):
    """Somebody else's box that signs what this log publishes, and never two histories of it."""

    url: Annotated[str, AfterValidator(_web_address)]
    """Where it listens, for example `http://box2:9490`."""
    key: Annotated[str, AfterValidator(_vkey)]
    """Its public key: the line that `plantgate audit keys --witness` printed there."""


class VaultSettings(Settings):
    """What an entry commits to and does not say: encrypted, and erasable."""

    folder: Path = Path("vault")
    """Where it lives. A relative path starts at the plant file."""
    wrapping: Path
    """Folder of the key to it: on another disk, and in no backup, since what is erased is erased by destroying it."""
    bytes_max: Annotated[Bytes, Field(ge=2**20)] = 10 * 2**30
    """What it may hold; then nothing more is put in, which is told, until some of it is erased."""


class AuditSettings(Settings):
    """The audit log: what the gateway did, by which rule, for others to check."""

    origin: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\s+]+$")]
    """Name of the log for good, for example `gateway.example/plant1/line3`; also the name of its key."""
    key: Path
    """File with the log's private key; `plantgate audit keys` makes it. Only the gateway may read it."""
    more_keys: tuple[Path, ...] = ()
    """Keys that sign beside it: the old one while verifiers learn of a new one (`plantgate audit rotate`)."""
    folder: Path = Path("audit")
    """Where the log lives; its folder `public` is what is copied and checked. A relative path starts at the plant
    file. It must be a local disk that keeps its word on fsync."""
    vault: VaultSettings | None = None
    """Where pictures behind decisions go; none are kept without."""
    witnesses: tuple[WitnessSettings, ...] = ()
    """Boxes that sign what is published. One that is away holds up nothing."""


class PlantSettings(Settings):
    """The plant file, but for its connections, whose settings belong to their connectors."""

    plant: Name
    """Name of the plant or line; stands in every metric and in the birth messages of destinations."""
    http: HttpSettings = HttpSettings()
    """Where health, metrics, status and the live view are served."""
    store: StoreSettings = StoreSettings()
    """Where outboxes and state live."""
    log: LogSettings = LogSettings()
    """What is logged."""
    shutdown: Shutdown = Shutdown()
    """Graces of an orderly stop."""
    tracing: Tracing | None = None
    """Traces for OpenTelemetry; none unless asked for."""
    flows: Annotated[dict[Name, FlowSettings], Field(min_length=1)]
    """What is read from where and goes to where, by name."""
    cells: dict[Name, CellSettings] = Field(default_factory=dict)
    """Which connections run in processes of their own, by name of the cell. The others run in the gateway's process."""
    audit: AuditSettings | None = None
    """The audit log; none unless asked for. Without one nothing is written to a machine."""
    control: ControlSettings | None = None
    """What may be written to machines, and by which rules; nothing unless said here."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A named connection: its connector's class and that connector's own settings."""

    type_name: str
    """Written `type`: the entry-point name of the connector: ``opcua``."""
    connector: type[Connector[Any]]
    settings: Settings

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Made by `load`, never from text."""
        return core_schema.is_instance_schema(cls)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A named model: its adapter's class and that adapter's own settings."""

    type_name: str
    """Written `type`: the entry-point name of the adapter."""
    adapter: type[ModelAdapter[Any]]
    settings: Settings

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Made by `load`, never from text."""
        return core_schema.is_instance_schema(cls)


class Plant(PlantSettings):
    """A whole plant file that has been found sound; every path in it is absolute."""

    file: Path
    """Where it was read from."""
    connections: dict[Name, Connection]
    """By name, in the order written."""
    models: dict[Name, ModelEntry] = Field(default_factory=dict)
    """By name, in the order written."""

    @property
    def graces(self) -> float:
        """Seconds an orderly stop may take at most."""
        return self.shutdown.sources_seconds + self.shutdown.sinks_seconds + self.shutdown.observe_seconds

    def outbox_folder(self, flow: str) -> Path:
        """Where this flow's outbox lives."""
        chosen = self.flows[flow].outbox.folder
        return chosen if chosen is not None else self.store.folder / "outboxes" / flow

    @property
    def control_socket(self) -> Path:
        """Where people reach the desk."""
        chosen = self.control.socket if self.control is not None else None
        return chosen if chosen is not None else self.store.folder / "control.sock"

    def cell_of(self, connection: str) -> str | None:
        """The cell this connection lives in; None for the gateway's own process."""
        return next((name for name, cell in self.cells.items() if connection in cell.connections), None)

    def uses(self, connection: str) -> Iterator[str]:
        """The flows that name this connection, as source or destination."""
        for name, flow in self.flows.items():
            if connection in flow.sources or connection in flow.destinations:
                yield name
