"""What a server is asked to report of a tag: the trigger and the deadband, as the filter of its monitored item."""

from typing import Final

from asyncua import ua

from plantgate_connectors.opcua.addressing import ItemOptions
from plantgate_connectors.opcua.settings import Trigger

_TRIGGERS: Final = {
    Trigger.STATUS: ua.DataChangeTrigger.Status,
    Trigger.STATUS_VALUE: ua.DataChangeTrigger.StatusValue,
    Trigger.STATUS_VALUE_TIMESTAMP: ua.DataChangeTrigger.StatusValueTimestamp,
}


def data_change_filter(options: ItemOptions, given_up: int = 0) -> ua.DataChangeFilter | None:
    """The filter an item needs (OPC 10000-4, 7.22.2); None where the server's default does the same.

    `given_up` says how much of it the server has refused: 1 the deadband, 2 all of it.
    """
    deadband = options.deadband if given_up == 0 else None
    if given_up > 1 or (deadband is None and options.trigger is Trigger.STATUS_VALUE):
        return None
    made = ua.DataChangeFilter()
    made.Trigger = _TRIGGERS[options.trigger]
    if deadband is not None:
        kind = ua.DeadbandType.Absolute if deadband.kind == "absolute" else ua.DeadbandType.Percent
        made.DeadbandType, made.DeadbandValue = ua.UInt32(kind), ua.Double(deadband.size)
    return made
