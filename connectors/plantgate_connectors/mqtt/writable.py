"""Which tags of a connection can be written, and as which OPC UA type."""

from typing import Final

from plantgate_connectors.mqtt.commands import Command, State
from plantgate_connectors.mqtt.settings import MqttSettings
from plantgate_connectors.payloads.words import Payload

_BOOLEAN: Final = "Boolean"
_STRING: Final = "String"


def unwritable(settings: MqttSettings, tag: str, data_type: str) -> str:
    """Why not, in a sentence; empty if it can be."""
    command = next((command for command in settings.commands if command.tag == tag), None)
    if command is None:
        return f"no command of this connection has the tag `{tag}`; write under `commands` which message sets it"
    if command.state is None:
        return (
            f"`{tag}`: its command has no `state`, so nobody could say what the device has; write the topic on which it"
            " reports"
        )
    return _unsayable(command, data_type) or _unreadable(tag, command.state, data_type)


def _unsayable(command: Command, data_type: str) -> str:
    if command.payload is not Payload.NUMBER:
        return ""
    if data_type == _STRING:
        return f"`{command.tag}` is sent as payload: number, which says no String; write payload: text or json"
    if data_type == _BOOLEAN and command.true_is is None:
        return f"`{command.tag}` is sent as payload: number; for a Boolean write true_is: 1 and false_is: 0"
    return ""


def _unreadable(tag: str, state: State, data_type: str) -> str:
    if data_type == _BOOLEAN:
        if state.true_is is None and state.payload is not Payload.JSON:
            return (
                f"`{tag}`: its state is read as payload: {state.payload.value}; for a Boolean write state.true_is and"
                " state.false_is as the device writes them, or payload: json for a bare true or false"
            )
        return ""
    if state.true_is is not None:
        return f"`{tag}`: its state has true_is and false_is, which are for a Boolean, and it is written as {data_type}"
    if (data_type == _STRING) and state.payload is Payload.NUMBER:
        return f"`{tag}`: its state is read as payload: number, which gives no String; write payload: text or json"
    if (data_type != _STRING) and state.payload is Payload.TEXT:
        return f"`{tag}`: its state is read as payload: text, which gives no {data_type}; write payload: number or json"
    return ""
