"""Which tags of a connection can be written, where they lie, and as which OPC UA type."""

from typing import Final

from plantgate_connectors.modbus.described import Device
from plantgate_connectors.modbus.registers import Field, Table, Type
from plantgate_connectors.modbus.settings import ModbusSettings

_BROADCAST: Final = 0
_FLOATING: Final = ("Float", "Double")
_WHOLE: Final = ("SByte", "Byte", "Int16", "UInt16", "Int32", "UInt32", "Int64", "UInt64")


def place_of(settings: ModbusSettings, tag: str) -> tuple[Device, Field] | None:
    """The device that has it, and where."""
    return next(
        ((device, field) for device in settings.devices for field in device.fields if field.tag == tag),
        None,
    )


def unwritable(settings: ModbusSettings, tag: str, data_type: str) -> str:
    """Why not, in a sentence; empty if it can be."""
    found = place_of(settings, tag)
    if found is None:
        return f"no device of this connection has a tag `{tag}`; a tag that is written is also listed under `tags`"
    device, field = found
    if trouble := read_only(settings, device, field):
        return trouble
    fits = _types(field)
    if data_type not in fits:
        scaled = ", scaled" if field.scale is not None or field.offset is not None else ""
        return f"`{tag}` is a {field.type.value}{scaled}, which is written as {' or '.join(fits)}, not as {data_type}"
    return ""


def read_only(settings: ModbusSettings, device: Device, field: Field) -> str:
    """What keeps it from being written as any type, in a sentence."""
    if device.unit == _BROADCAST:
        return (
            f"`{field.tag}`: unit 0 is everyone behind a gateway, and a write to everyone is never confirmed;"
            f" give device {device.name} a unit from 1 to 255"
        )
    slot = settings.mailbox_of(device)
    if slot is not None and field.tag in slot.tag_ids:
        return ""
    if field.table not in (Table.HOLDING, Table.COIL):
        return f"`{field.tag}` is in table {field.table.value}, which is read-only; holding registers and coils are not"
    if field.bits is not None:
        return (
            f"`{field.tag}` is a part of a register, and Modbus writes whole ones: what the machine changes beside it"
            " meanwhile would be lost; have a register or a coil of its own made for it"
        )
    if field.type is Type.STRING and field.length % 2:
        return f"`{field.tag}` has half of its last register, and Modbus writes whole ones; make `length` even"
    return ""


def _types(field: Field) -> tuple[str, ...]:
    if field.table.of_bits:
        return ("Boolean",)
    if field.type is Type.STRING:
        return ("String",)
    if field.type in (Type.FLOAT32, Type.FLOAT64) or field.scale is not None or field.offset is not None:
        return _FLOATING
    return _WHOLE
