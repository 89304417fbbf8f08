"""From settings to what is done: where a device is, how its line is spoken to, what is read from it."""

from typing import Final

from plantgate.sdk import Backoff
from plantgate_connectors.modbus.blocks import Budget
from plantgate_connectors.modbus.clock_register import ClockRegister
from plantgate_connectors.modbus.described import Device, Framing, Parity, TimeUnit, TransactionId
from plantgate_connectors.modbus.device import Plan
from plantgate_connectors.modbus.dial import Address, Remote
from plantgate_connectors.modbus.exchange import Patience
from plantgate_connectors.modbus.line import Manner
from plantgate_connectors.modbus.serial_port import SerialPort
from plantgate_connectors.modbus.settings import ModbusSettings

_PORT: Final = 502
_TLS_PORT: Final = 802
_PARITY: Final = {Parity.NONE: "N", Parity.EVEN: "E", Parity.ODD: "O"}
_NANOSECONDS: Final = {TimeUnit.SECONDS: 1_000_000_000, TimeUnit.MILLISECONDS: 1_000_000}


def address_of(settings: ModbusSettings, device: Device) -> Address:
    """Devices with equal addresses share a line."""
    if settings.serial is not None:
        serial = settings.serial
        return SerialPort(serial.port, serial.baud, _PARITY[serial.parity], serial.stop_bits, serial.rs485)
    host = device.host or settings.host
    assert host is not None, "the settings were checked"
    default = _TLS_PORT if settings.framing is Framing.TLS else _PORT
    return Remote(host, device.port or settings.port or default, settings.tls)


def manner_of(settings: ModbusSettings, address: Address) -> Manner:
    """The devices at this address say how many questions may be under way there."""
    rtu = settings.framing in (Framing.RTU, Framing.RTU_OVER_TCP)
    numbered = not rtu and settings.transaction_id is TransactionId.CHECKED
    there = [device for device in settings.devices if address_of(settings, device) == address]
    most = max(device.in_flight_max or settings.in_flight_max for device in there)
    return Manner(
        rtu=rtu,
        numbered=numbered,
        in_flight_max=most if numbered else 1,
        connect_seconds=settings.connect_seconds,
    )


def plan_of(settings: ModbusSettings, device: Device) -> Plan:
    """The device's own settings, and the connection's where it has none."""
    time, place = device.time or settings.time, settings.time_of(device)
    clock = None if time is None or place is None else ClockRegister(place, _NANOSECONDS[time.unit])
    interval = _seconds(device.poll_interval_ms or settings.poll_interval_ms)
    gap = settings.gap_registers_max if device.gap_registers_max is None else device.gap_registers_max
    pause = settings.pause_ms if device.pause_ms is None else device.pause_ms
    return Plan(
        name=device.name,
        unit=device.unit,
        fields=device.fields,
        clock=clock,
        budget=Budget(device.registers_max or settings.registers_max, gap),
        patience=Patience(
            timeout_seconds=_seconds(device.timeout_ms or settings.timeout_ms),
            pause_seconds=_seconds(pause),
            in_flight_max=device.in_flight_max or settings.in_flight_max,
        ),
        interval_seconds=interval,
        demote_after=settings.demote_after,
        probe=Backoff(min(2 * interval, settings.probe_seconds_max), settings.probe_seconds_max),
    )


def _seconds(milliseconds: float) -> float:
    return milliseconds / 1000
