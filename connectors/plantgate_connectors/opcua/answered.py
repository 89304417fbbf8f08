"""Answers that are believed only where they say that they belong to the request."""

import struct
from typing import Any, Final

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

from plantgate_connectors.opcua.protocol import BoundedProtocol

_HEAD: Final = struct.Struct("<qI")
"""Of every answer, faults included: timestamp and request handle (OPC 10000-4, 7.34)."""


def check_handle(body: Buffer, request: Any) -> None:
    """Raises `UaError` for an answer to something else; asyncua looks at the channel's request id only."""
    head = body.copy()
    nodeid_from_binary(head)
    _, handle = _HEAD.unpack(head.read(_HEAD.size))
    if handle != request.RequestHeader.RequestHandle:
        raise ua.UaError("an answer with the handle of another request")


async def read(protocol: BoundedProtocol, parameters: ua.ReadParameters) -> list[ua.DataValue]:
    """What the server has for these. Raises what asyncua raises."""
    request = ua.ReadRequest()
    request.Parameters = parameters
    body = await protocol.send_request(request)
    check_handle(body, request)
    response = struct_from_binary(ua.ReadResponse, body)
    response.ResponseHeader.ServiceResult.check()
    results: list[ua.DataValue] = response.Results
    return results
