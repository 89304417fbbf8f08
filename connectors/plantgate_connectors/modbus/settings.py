"""What an operator can say about Modbus devices; the docstrings are the documentation."""

import hashlib
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, PrivateAttr, ValidationInfo, computed_field, model_validator

from plantgate.sdk import Settings
from plantgate_connectors.modbus import mailbox, registers
from plantgate_connectors.modbus.described import (
    Device,
    Framing,
    GapMax,
    InFlight,
    Milliseconds,
    Pause,
    RegistersMax,
    Seconds,
    Serial,
    Tag,
    Time,
    Tls,
    TransactionId,
)
from plantgate_connectors.modbus.registers import Order, Type
from plantgate_connectors.modbus.tagfile import read_tags


class ModbusSettings(Settings):
    """Devices behind one address, on one serial line, or each at an address of its own, read at intervals."""

    framing: Framing = Framing.TCP
    """`tcp`; `tls` (Modbus/TCP Security); `rtu` (a serial line); `rtu_over_tcp` (a serial line behind a plain
    serial-to-network converter)."""
    host: str | None = None
    """Name or address of the device or gateway."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """TCP port; 502, or 802 with `framing: tls`."""
    serial: Serial | None = None
    """The serial line of `framing: rtu`."""
    tls: Tls | None = None
    """Certificates for `framing: tls`."""
    devices: Annotated[tuple[Device, ...], Field(min_length=1)]
    """The devices to read."""
    tags: tuple[Tag, ...] = ()
    """What to read from every device that names no tags of its own; each then has `{device}` in it."""
    tags_file: Path | None = None
    """The same as CSV: columns `tag` and `address`, optional `table`, `type`, `order`, `bit`, `bits` (`4-7`), `scale`,
    `offset`, `length`. First line names the columns; `#` starts a comment line."""
    time: Time | None = None
    """For every device that names none of its own."""
    order: Order = Order.ABCD
    """Order of bytes for tags that name none."""
    first_address: Annotated[int, Field(ge=0, le=1)] = 0
    """What the addresses here call the first register or bit: 0 as on the wire, or 1 as in many manuals."""
    transaction_id: TransactionId = TransactionId.CHECKED
    """`checked`; or `ignored` for devices that answer with another id than asked (0 mostly): then one question is asked
    at a time, and after a missed answer the connection is made anew and tried with a question nobody needs."""
    poll_interval_ms: Milliseconds = 1000.0
    """How often each device is read, milliseconds."""
    timeout_ms: Milliseconds = 1000.0
    """How long an answer may take, milliseconds. Serial gateways can need several seconds."""
    pause_ms: Pause = 0.0
    """Rest after each answer before the next question, milliseconds, for devices that need it."""
    in_flight_max: InFlight = 1
    """Most questions under way at a device. 1 suits all; devices that can take more are read faster. A serial line
    always has one."""
    registers_max: RegistersMax = registers.REGISTERS_PER_READ
    """Most registers in one request (16 times as many bits); lower it for devices that cannot give 125."""
    gap_registers_max: GapMax = 16
    """Neighbouring tags are read together when no more registers than this lie unused between them."""
    connect_seconds: Seconds = 5.0
    """How long name look-up, TCP and TLS may take together."""
    demote_after: Annotated[int, Field(ge=1, le=1000)] = 3
    """A device that has not answered so many polls in a row is only probed, ever more seldom, so that others on its
    line are not held up."""
    probe_seconds_max: Seconds = 30.0
    """Longest pause between two probes of such a device."""
    buffer_samples_max: Annotated[int, Field(ge=1, le=10_000_000)] = 50_000
    """Samples read and not yet safe in the outbox. At this no device is polled until there is room; the polls left out
    are named in a gap record."""

    _digest: str | None = PrivateAttr(default=None)

    @computed_field  # type: ignore[prop-decorator]  # mypy issue 1362: decorators above a property
    @property
    def tags_files_sha256(self) -> str | None:
        """Digest of the tag files as read, so that a change of a file alone is a change of the settings."""
        return self._digest

    @model_validator(mode="after")
    def _whole(self, info: ValidationInfo) -> "ModbusSettings":
        self._check_way()
        digest = hashlib.sha256()
        names: set[str] = set()
        seen: dict[str, str] = {}
        for device in self.devices:
            if device.name in names:
                raise ValueError(f"devices: two are called {device.name!r}; messages could not tell them apart")
            names.add(device.name)
            for file in (device.tags_file, self.tags_file):
                if file is not None:
                    digest.update(_place(file, info).read_bytes() if _place(file, info).exists() else b"")
            fields = self._fields_of(device, info)
            if not fields:
                raise ValueError(f"device {device.name!r}: nothing to read; give it tags or tags_file")
            for field in fields:
                if field.tag in seen:
                    raise ValueError(
                        f"device {device.name!r}: tag {field.tag!r} is already given at {seen[field.tag]};"
                        " tags for several devices need {device} in their name"
                    )
                seen[field.tag] = f"device {device.name!r}, {field.where}"
            time = self.time_of(device)
            clash = registers.overlap([*fields, *([time] if time else [])])
            if clash:
                raise ValueError(f"device {device.name!r}: {clash}")
            if (slot := self.mailbox_of(device)) is not None and (problem := slot.problem(fields)):
                raise ValueError(f"device {device.name!r}: mailbox: {problem}")
            device._fields = fields
        if self.tags_file is not None or any(device.tags_file is not None for device in self.devices):
            self._digest = digest.hexdigest()
        return self

    def _check_way(self) -> None:
        serial = self.framing is Framing.RTU
        if serial != (self.serial is not None):
            raise ValueError(
                "framing: rtu needs `serial`, with the line's port"
                if serial
                else f"`serial` is for framing: rtu; with framing: {self.framing.value} write `host`"
            )
        if (self.framing is Framing.TLS) != (self.tls is not None):
            raise ValueError("framing: tls and the section `tls` come together: write both or neither")
        if serial and (self.host is not None or self.port is not None):
            raise ValueError("a serial line has no host or port; for a line behind a converter write rtu_over_tcp")
        for device in self.devices:
            if serial and (device.host is not None or device.port is not None):
                raise ValueError(f"device {device.name!r}: on a serial line a device has no host or port")
            if not serial and device.host is None and self.host is None:
                raise ValueError(f"device {device.name!r} has no host, and neither has the connection")
            if device.unit == 0 and self.framing in (Framing.RTU, Framing.RTU_OVER_TCP):
                raise ValueError(f"device {device.name!r}: unit 0 is everyone on a serial line, and nobody answers")

    def _fields_of(self, device: Device, info: ValidationInfo) -> tuple[registers.Field, ...]:
        own = bool(device.tags or device.tags_file)
        tags, file = (device.tags, device.tags_file) if own else (self.tags, self.tags_file)
        order = device.order or self.order
        fields = [_field(tag, f"tags[{index}]", order) for index, tag in enumerate(tags)]
        if file is not None:
            fields += read_tags(_place(file, info), order)
        return tuple(_finished(field, device.name, self.first_address) for field in fields)

    def time_of(self, device: Device) -> registers.Field | None:
        """The place of the device's clock; its tag has no name."""
        time = device.time or self.time
        if time is None:
            return None
        order = time.order or device.order or self.order
        found = registers.Field("time", "", time.table, time.address, Type(time.type.value), order)
        return _finished(found, device.name, self.first_address)

    def mailbox_of(self, device: Device) -> mailbox.Slot | None:
        """Where the device's mailbox lies, and which of its tags are written through it."""
        if (written := device.mailbox) is None:
            return None
        echo = written.address + mailbox.REGISTERS if written.echo is None else written.echo
        return mailbox.Slot(
            address=written.address - self.first_address,
            echo_address=echo - self.first_address,
            tag_ids={tag.replace("{device}", device.name): number for tag, number in written.tags.items()},
            heartbeat_seconds=written.heartbeat_ms / 1000,
        )

    def doubts(self) -> tuple[str, ...]:
        """What is allowed and still unwise, a sentence each; `plantgate check` shows them as warnings."""
        found = []
        if self.framing in (Framing.TCP, Framing.RTU_OVER_TCP):
            found.append(
                f"framing {self.framing.value}: anyone on the network can read and answer in the devices' place;"
                " keep them on a network of their own"
            )
        for device in self.devices:
            interval = device.poll_interval_ms or self.poll_interval_ms
            timeout = device.timeout_ms or self.timeout_ms
            if timeout > 10 * interval:
                found.append(
                    f"devices: {device.name} has a timeout of {timeout:g} ms and is polled every {interval:g} ms;"
                    " one missed answer costs more than ten polls"
                )
        return tuple(found)


def _field(tag: Tag, where: str, order: Order) -> registers.Field:
    if tag.bit is not None and tag.bits is not None:
        raise ValueError(f"{where}: tag {tag.tag!r} has `bit` and `bits`; write one of them")
    bits = (tag.bit, tag.bit) if tag.bit is not None else tag.bits
    default = Type.BOOL if tag.table.of_bits or (tag.bit is not None and tag.bit < 16) else Type.UINT16
    return registers.Field(
        where=where,
        tag=tag.tag,
        table=tag.table,
        address=tag.address,
        type=tag.type or default,
        order=tag.order or order,
        bits=bits,
        scale=tag.scale,
        offset=tag.offset,
        length=tag.length or 0,
    )


def _finished(field: registers.Field, device: str, first_address: int) -> registers.Field:
    """With the device's name filled in and the address as on the wire. Raises `ValueError` for what cannot be."""
    from dataclasses import replace

    finished = replace(field, tag=field.tag.replace("{device}", device), address=field.address - first_address)
    if field.address < first_address:
        raise ValueError(f"device {device!r}: {field.where}: address 0, though first_address says they count from 1")
    if problem := finished.problem():
        raise ValueError(f"device {device!r}: {field.where}: {finished.tag or 'time'}: {problem}")
    return finished


_FOLDER: Final = "folder"


def _place(path: Path, info: ValidationInfo) -> Path:
    """A relative path counts from the plant file's folder, where the host names it in the validation context."""
    folder = info.context.get(_FOLDER) if isinstance(info.context, dict) else None
    return Path(folder) / path if isinstance(folder, str | Path) else path
