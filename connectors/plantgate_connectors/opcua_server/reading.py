"""Read, and the making of monitored items. Rules: OPC 10000-4, 5.11.2, 5.13.2 and 5.13.3."""

import itertools
import math
import struct
from collections.abc import Callable
from typing import Final

from asyncua import ua

from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.fault import Fault
from plantgate_connectors.opcua_server.monitored import (
    DISABLED,
    REPORTING,
    STATUS_VALUE,
    STATUS_VALUE_TIMESTAMP,
    Item,
    Wanted,
)
from plantgate_connectors.opcua_server.nodes import VALUE
from plantgate_connectors.opcua_server.publishing import Publishing
from plantgate_connectors.opcua_server.settings import Limits
from plantgate_connectors.opcua_server.subscription import Subscription
from plantgate_connectors.opcua_server.tree import Tree, key_of

NODE_UNKNOWN: Final = 0x8034_0000
ATTRIBUTE_INVALID: Final = 0x8035_0000
RANGE_INVALID: Final = 0x8036_0000
ENCODING_INVALID: Final = 0x8038_0000
TIMES_INVALID: Final = 0x802B_0000
MODE_INVALID: Final = 0x8041_0000
ITEM_UNKNOWN: Final = 0x8042_0000
FILTER_UNSUPPORTED: Final = 0x8044_0000
FILTER_NOT_ALLOWED: Final = 0x8045_0000
DEADBAND_INVALID: Final = 0x808E_0000
TOO_MANY_ITEMS: Final = 0x80DB_0000

_NULL: Final = b"\xff\xff\xff\xff"
_TYPES_WITH_NUMBERS: Final = frozenset({values.INT64, values.UINT64, values.DOUBLE, 26})


class Reading:
    """Values and attributes for clients."""

    def __init__(self, tree: Tree, publishing: Publishing, limits: Limits, clock: Callable[[], int]) -> None:
        self._tree = tree
        self._publishing = publishing
        self._limits = limits
        self._clock = clock
        self._numbers = itertools.count(1)

    def read(self, wanted: ua.ReadParameters) -> bytes:
        """Encoded ReadResponse behind its header; raises `Fault`."""
        times = _times(wanted.TimestampsToReturn)
        server = values.ticks(self._clock())
        found = [values.with_times(self._value(each, server), times) for each in wanted.NodesToRead]
        return struct.pack("<i", len(found)) + b"".join(found) + _NULL

    def _value(self, wanted: ua.ReadValueId, server: int) -> bytes:
        key = key_of(wanted.NodeId)
        attribute = int(wanted.AttributeId)
        slot = self._tree.slot(key)
        if slot is not None and attribute == VALUE:
            found: bytes | None = slot.encoded
        else:
            node = self._tree.find(key)
            if node is None:
                return values.data_value(b"", NODE_UNKNOWN, 0, server)
            found = node.attribute(attribute, server)
        if found is None:
            return values.data_value(b"", ATTRIBUTE_INVALID, 0, server)
        if problem := _problem(wanted):
            return values.data_value(b"", problem, 0, server)
        return found

    # Monitored items.

    def watch(self, subscription: Subscription, wanted: ua.CreateMonitoredItemsParameters) -> bytes:
        """Encoded CreateMonitoredItemsResponse behind its header; raises `Fault`."""
        times = _times(wanted.TimestampsToReturn)
        results = [self._watch(subscription, each, times) for each in wanted.ItemsToCreate]
        return struct.pack("<i", len(results)) + b"".join(results) + _NULL

    def _watch(self, subscription: Subscription, wanted: ua.MonitoredItemCreateRequest, times: int) -> bytes:
        read, mode = wanted.ItemToMonitor, int(wanted.MonitoringMode)
        key, attribute = key_of(read.NodeId), int(read.AttributeId)
        node = self._tree.find(key)
        if node is None or key is None:
            return _created(NODE_UNKNOWN)
        server = values.ticks(self._clock())
        if node.attribute(attribute, server) is None or attribute == 12:
            return _created(ATTRIBUTE_INVALID)  # 12, EventNotifier: this server has no events
        if problem := _problem(read):
            return _created(problem)
        if not DISABLED <= mode <= REPORTING:
            return _created(MODE_INVALID)
        if self._publishing.items >= self._limits.monitored_items_max:
            return _created(TOO_MANY_ITEMS)
        slot = self._tree.slot(key) if attribute == VALUE else None
        granted = self._granted(
            wanted.RequestedParameters, times, numeric=attribute == VALUE and _numeric(node.data_type)
        )
        if isinstance(granted, int):
            return _created(granted)

        def probe() -> bytes:
            found = node.attribute(attribute, values.ticks(self._clock()))
            return found if found is not None else values.data_value(b"", ATTRIBUTE_INVALID, 0, 0)

        item = Item(next(self._numbers), subscription, (key, attribute), slot, None if slot is not None else probe)
        item.revise(granted)
        subscription.add(item)
        item.turn(mode)
        return _created(0, item.number, granted.queue)

    def change(self, subscription: Subscription, wanted: ua.ModifyMonitoredItemsParameters) -> bytes:
        """Encoded ModifyMonitoredItemsResponse behind its header; raises `Fault`."""
        times = _times(wanted.TimestampsToReturn)
        results = []
        for each in wanted.ItemsToModify:
            item = subscription.items.get(int(each.MonitoredItemId))
            if item is None:
                results.append(_modified(ITEM_UNKNOWN))
                continue
            numeric = item.slot is not None and _numeric(item.slot.kind)
            granted = self._granted(each.RequestedParameters, times, numeric=numeric)
            if isinstance(granted, int):
                results.append(_modified(granted))
                continue
            item.revise(granted)
            results.append(_modified(0, granted.queue))
        return struct.pack("<i", len(results)) + b"".join(results) + _NULL

    def _granted(self, wanted: ua.MonitoringParameters, times: int, *, numeric: bool) -> Wanted | int:
        """What is granted, or a StatusCode."""
        trigger, deadband = STATUS_VALUE, 0.0
        match wanted.Filter:
            case ua.uaprotocol_auto.DataChangeFilter() as asked:  # ua.DataChangeFilter is a subclass, not decoded to
                trigger = int(asked.Trigger)
                if not 0 <= trigger <= STATUS_VALUE_TIMESTAMP:
                    return FILTER_UNSUPPORTED
                match int(asked.DeadbandType):
                    case 0:
                        pass
                    case 1 if not numeric:
                        return FILTER_NOT_ALLOWED
                    case 1:
                        deadband = float(asked.DeadbandValue)
                        if not 0.0 <= deadband < math.inf:
                            return DEADBAND_INVALID
                    case _:
                        return FILTER_UNSUPPORTED  # percent needs an EURange, which tags do not have
            case None:
                pass
            case ua.ExtensionObject() as nothing if nothing.TypeId == ua.NodeId():
                pass
            case _:
                return FILTER_NOT_ALLOWED
        queue = min(max(int(wanted.QueueSize), 1), self._limits.queue_max)
        return Wanted(int(wanted.ClientHandle), trigger, deadband, queue, bool(wanted.DiscardOldest), times)


def _numeric(kind: int) -> bool:
    """Types that deadbands are for; also a tag that has had no value yet."""
    return kind in _TYPES_WITH_NUMBERS or kind == 0


def _times(wanted: int) -> int:
    found = int(wanted)
    if not 0 <= found <= 3:
        raise Fault(TIMES_INVALID)
    return found


def _problem(wanted: ua.ReadValueId) -> int:
    """A StatusCode where less than a whole value, or another encoding, is asked for."""
    if wanted.IndexRange:
        return RANGE_INVALID
    encoding = wanted.DataEncoding
    if encoding is not None and encoding.Name and encoding.Name != "Default Binary":
        return ENCODING_INVALID
    return 0


def _created(status: int, number: int = 0, queue: int = 0) -> bytes:
    """MonitoredItemCreateResult; the revised sampling interval is 0: every change is told."""
    return struct.pack("<IIdIBBB", status, number, 0.0, queue, 0, 0, 0)


def _modified(status: int, queue: int = 0) -> bytes:
    return struct.pack("<IdIBBB", status, 0.0, queue, 0, 0, 0)
