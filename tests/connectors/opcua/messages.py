"""Notification messages as a server would send them, encoded by asyncua."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

WHEN = datetime(2026, 11, 26, 3, 0, 0, 250_000, tzinfo=UTC)
ANSWERED = datetime(2026, 11, 26, 3, 0, 1, tzinfo=UTC)
WHEN_NS = int(WHEN.timestamp()) * 1_000_000_000 + 250_000_000


def value(
    content: Any = 1.5,
    kind: ua.VariantType | None = ua.VariantType.Double,
    *,
    status: int | None = None,
    source: datetime | None = WHEN,
    server: datetime | None = None,
    source_picoseconds: int | None = None,
    server_picoseconds: int | None = None,
) -> ua.DataValue:
    """A DataValue with exactly these fields on the wire; no Value at all if `kind` is None."""
    variant = content if isinstance(content, ua.Variant) else ua.Variant(content, kind or ua.VariantType.Null)
    made = ua.DataValue(
        variant,
        None if status is None else ua.StatusCode(status),
        source,
        server,
        source_picoseconds,
        server_picoseconds,
    )
    if kind is None:
        made.Value = None
    return made


def message(
    values: Sequence[ua.DataValue],
    *,
    handles: Sequence[int] | None = None,
    subscription: int = 7,
    sequence: int = 3,
    available: Sequence[int] = (2, 3),
    more: bool = False,
    results: Sequence[int] = (),
    parts: Sequence[Any] | None = None,
) -> bytes:
    """A publish response that holds these values, or `parts` in their place."""
    items = [
        ua.MonitoredItemNotification(ClientHandle=handle, Value=each)
        for handle, each in zip(handles or range(len(values)), values, strict=True)
    ]
    response = ua.PublishResponse()
    response.ResponseHeader.Timestamp = ANSWERED
    result = response.Parameters
    result.SubscriptionId = subscription
    result.AvailableSequenceNumbers = list(available)
    result.MoreNotifications = more
    result.NotificationMessage.SequenceNumber = sequence
    result.NotificationMessage.PublishTime = ANSWERED
    result.NotificationMessage.NotificationData = (
        list(parts) if parts is not None else [ua.DataChangeNotification(MonitoredItems=items)]
    )
    result.Results = [ua.StatusCode(code) for code in results]
    return bytes(struct_to_binary(response))
