"""One device, its line and its tags, as an operator describes them; the docstrings are the documentation."""

from enum import Enum
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PrivateAttr

from plantgate.sdk import Secret, Settings
from plantgate_connectors.modbus import registers
from plantgate_connectors.modbus.registers import ADDRESSES, Order, Table, Type


def _number(written: object) -> object:
    return float(written) if isinstance(written, int) and not isinstance(written, bool) else written


Number = Annotated[float, BeforeValidator(_number)]
Milliseconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=3_600_000)]
Pause = Annotated[float, BeforeValidator(_number), Field(ge=0, le=60_000)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, le=86_400)]
Unit = Annotated[int, Field(ge=0, le=255)]
Address = Annotated[int, Field(ge=0, le=ADDRESSES)]
InFlight = Annotated[int, Field(ge=1, le=64)]
RegistersMax = Annotated[int, Field(ge=1, le=registers.REGISTERS_PER_READ)]
GapMax = Annotated[int, Field(ge=0, le=registers.REGISTERS_PER_READ)]
TagName = Annotated[str, Field(min_length=1, max_length=512)]


class Framing(Enum):
    """How requests are wrapped."""

    TCP = "tcp"
    TLS = "tls"
    RTU = "rtu"
    RTU_OVER_TCP = "rtu_over_tcp"


class Parity(Enum):
    """The parity bit of a serial line."""

    NONE = "none"
    EVEN = "even"
    ODD = "odd"


class TransactionId(Enum):
    """Whether a device repeats the number of the question in its answer, as it must."""

    CHECKED = "checked"
    IGNORED = "ignored"


class TimeType(Enum):
    """How a device keeps its time."""

    UINT32 = "uint32"
    UINT64 = "uint64"


class TimeUnit(Enum):
    """What a time register counts, since 1970 UTC."""

    SECONDS = "s"
    MILLISECONDS = "ms"


class Tls(Settings):
    """Modbus/TCP Security: encryption, and certificates on both sides."""

    ca_file: Path
    """Certificates of the authorities that may vouch for the device (PEM)."""
    certificate_file: Path
    """Our own certificate (PEM); devices grant what the role in it allows."""
    key_file: Path
    """Private key of our certificate (PEM)."""
    key_password: Secret | None = None
    """Password of the private key, as a reference."""
    check_server_name: bool = True
    """Whether the device's certificate must carry the name in `host`; turn off where devices have none that fits."""


class Serial(Settings):
    """A serial line."""

    port: str
    """The line's device: `/dev/ttyUSB0`, better a name below `/dev/serial/by-id/` that stays when plugs move."""
    baud: Annotated[int, Field(ge=300, le=4_000_000)] = 19_200
    """Speed in bits a second."""
    parity: Parity = Parity.EVEN
    """`even` (the standard's default), `odd` or `none`."""
    stop_bits: Annotated[int, Field(ge=1, le=2)] = 1
    """1, or 2, which the standard asks for without parity."""
    rs485: bool = False
    """Let the driver switch the RS-485 transmitter; adapters that switch by themselves need nothing."""


class Tag(Settings):
    """One value of a device."""

    tag: TagName
    """The tag's full name: `line3/press1/temperature`. `{device}` is replaced by the device's name."""
    table: Table = Table.HOLDING
    """`holding` (function 3), `input` (4), `coil` (1) or `discrete` (2)."""
    address: Address
    """Number of its first register or bit as it goes over the wire, from 0. Manuals often count from 1, or write 40001
    for holding register 0: see `first_address`."""
    type: Type | None = None
    """`bool`, `int16`, `uint16`, `int32`, `uint32`, `int64`, `uint64`, `float32`, `float64`, `bcd16`, `bcd32` or
    `string`. Without it `uint16`, and `bool` for coils, discrete inputs and `bit`."""
    order: Order | None = None
    """Order of the bytes of a value of two registers, `ABCD` being the standard's: `CDAB` has the words swapped, `BADC`
    the bytes in each, `DCBA` both. One register and four alike. The device's unless given."""
    bit: Annotated[int, Field(ge=0, le=63)] | None = None
    """One bit of the register or registers as a truth value, 0 being the lowest."""
    bits: tuple[int, int] | None = None
    """Bits from the first to the last as a whole number: `[4, 7]`, 0 being the lowest."""
    scale: Number | None = None
    """The raw number is multiplied by this: `0.1` makes 215 into 21.5."""
    offset: Number | None = None
    """Added after scaling."""
    length: Annotated[int, Field(ge=1, le=registers.STRING_BYTES_MAX)] | None = None
    """Bytes of a string; it ends at the first zero byte."""


class Time(Settings):
    """Where a device keeps its own time; Modbus itself carries none."""

    table: Table = Table.HOLDING
    """`holding` or `input`."""
    address: Address
    """Its first register."""
    type: TimeType = TimeType.UINT32
    """`uint32` or `uint64`."""
    unit: TimeUnit = TimeUnit.SECONDS
    """What it counts since 1970 UTC: `s` or `ms`."""
    order: Order | None = None
    """As for a tag."""


class Mailbox(Settings):
    """Registers through which a PLC program takes commands: each once, in time, and from one session at a time; the
    program keeps its side of it."""

    address: Address
    """The first of twelve holding registers that are written, all in one request."""
    echo: Address | None = None
    """The first of twelve holding registers in which the program answers; those behind the others unless given."""
    tags: Annotated[dict[TagName, Annotated[int, Field(ge=1, le=65_535)]], Field(min_length=1)]
    """What is written through it and no other way, with the number by which the program knows it:
    `{line3/press1/speed: 1}`. `{device}` as in the tags, whose own registers show what is in force."""
    heartbeat_ms: Annotated[float, BeforeValidator(_number), Field(ge=50, le=60_000)] = 500.0
    """How often the program is shown that we are there, from the first use of the mailbox on. Where it hears nothing
    for longer than its own limit (three seconds in the sample) it falls back."""


class Device(Settings):
    """One device: a unit at the connection's address, or at one of its own."""

    name: Annotated[str, Field(min_length=1, max_length=128)]
    """What people call it; for messages and for `{device}` in tags. A device polled at two speeds is written twice."""
    unit: Unit = 1
    """Its unit (slave) number, 1 to 247; 255 or 0 where a device behind its own address wants that."""
    host: str | None = None
    """Its own address; the connection's unless given. Devices at the same host and port share one connection."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """Its own TCP port; the connection's unless given."""
    tags: tuple[Tag, ...] = ()
    """What to read; the connection's unless given."""
    tags_file: Path | None = None
    """The same as CSV; the connection's unless given."""
    time: Time | None = None
    """Registers with the device's own time, which becomes the source time of all its samples; the connection's unless
    given. Without one samples have no source time."""
    mailbox: Mailbox | None = None
    """Where a program in the device takes commands for some of its tags; the others are written directly."""
    order: Order | None = None
    """Order of bytes for tags that name none; the connection's unless given."""
    poll_interval_ms: Milliseconds | None = None
    """The connection's unless given."""
    timeout_ms: Milliseconds | None = None
    """The connection's unless given."""
    pause_ms: Pause | None = None
    """The connection's unless given."""
    in_flight_max: InFlight | None = None
    """The connection's unless given."""
    registers_max: RegistersMax | None = None
    """The connection's unless given."""
    gap_registers_max: GapMax | None = None
    """The connection's unless given."""

    _fields: tuple[registers.Field, ...] = PrivateAttr(default=())

    @property
    def fields(self) -> tuple[registers.Field, ...]:
        """The tags of `tags` and `tags_file`, the connection's where the device has none."""
        return self._fields
