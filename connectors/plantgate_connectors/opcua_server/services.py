"""Answers requests: who may ask what, and which part of the server knows the answer.

Everything that would change something (Write, Call, AddNodes, …) is refused here, in one place, before anything of it
is looked at; there is no code behind it that could do it.
"""

import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from asyncua import ua
from asyncua.ua.ua_binary import struct_to_binary

from plantgate_connectors.opcua_server import values
from plantgate_connectors.opcua_server.browsing import NOTHING_TO_DO, Browsing
from plantgate_connectors.opcua_server.channel import Message
from plantgate_connectors.opcua_server.endpoints import Endpoints
from plantgate_connectors.opcua_server.fault import Fault, answer, fault
from plantgate_connectors.opcua_server.publishing import Publishing, revised
from plantgate_connectors.opcua_server.reading import ITEM_UNKNOWN, MODE_INVALID, Reading
from plantgate_connectors.opcua_server.requests import Unknown, handle_of, read_request, type_of
from plantgate_connectors.opcua_server.sessions import Line, Session, Sessions

UNSUPPORTED: Final = 0x800B_0000
"""BadServiceUnsupported."""
NOT_WRITABLE: Final = 0x803B_0000
DENIED: Final = 0x801F_0000
TOO_MANY_OPERATIONS: Final = 0x8010_0000

_NULL: Final = b"\xff\xff\xff\xff"
Answer: TypeAlias = bytes | None
"""Encoded response; None where it comes later (Publish)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, decoded."""

    line: Line
    request_id: int
    request: Any

    @property
    def handle(self) -> int:
        """By which the client knows the answer."""
        return int(self.request.RequestHeader.RequestHandle)


class Services:
    """The table of services."""

    def __init__(
        self, sessions: Sessions, publishing: Publishing, reading: Reading, browsing: Browsing, endpoints: Endpoints,
        *, clock: Callable[[], int], operations_max: int,
    ) -> None:  # fmt: skip
        self._sessions = sessions
        self._publishing = publishing
        self._reading = reading
        self._browsing = browsing
        self._endpoints = endpoints
        self._clock = clock
        self._operations_max = operations_max
        open_to_all: dict[str, Callable[[Call], Awaitable[bytes]]] = {
            "FindServers": self._find_servers,
            "GetEndpoints": self._get_endpoints,
            "CreateSession": self._create_session,
            "ActivateSession": self._activate_session,
            "CloseSession": self._close_session,
        }
        for_users: dict[str, Callable[[Call, Session], Answer]] = {
            "Read": self._read,
            "Browse": self._browse,
            "BrowseNext": self._browse_next,
            "TranslateBrowsePathsToNodeIds": self._translate,
            "RegisterNodes": self._register,
            "UnregisterNodes": self._unregister,
            "CreateSubscription": self._create_subscription,
            "ModifySubscription": self._modify_subscription,
            "SetPublishingMode": self._set_publishing,
            "DeleteSubscriptions": self._delete_subscriptions,
            "TransferSubscriptions": self._transfer,
            "Publish": self._publish,
            "Republish": self._republish,
            "CreateMonitoredItems": self._create_items,
            "ModifyMonitoredItems": self._modify_items,
            "SetMonitoringMode": self._set_monitoring,
            "DeleteMonitoredItems": self._delete_items,
            "Write": self._write,
            "Call": self._call,
        }
        self._kinds = {
            _encoding(f"{name}Request"): getattr(ua, f"{name}Request") for name in {**open_to_all, **for_users}
        }
        self._open = {_encoding(f"{name}Request"): handler for name, handler in open_to_all.items()}
        self._for_users = {_encoding(f"{name}Request"): handler for name, handler in for_users.items()}

    async def answer(self, line: Line, message: Message) -> Answer:
        """The response, or a ServiceFault. Raises `Broken` for bytes that cannot be a request."""
        number = type_of(message.body)
        try:
            call = Call(line, message.request_id, read_request(message.body, self._kinds))
        except Unknown:
            return fault(handle_of(message.body), self._now(), UNSUPPORTED)
        try:
            if number in self._open:
                return await self._open[number](call)
            session = self._sessions.of(call.request.RequestHeader, line)
            return self._for_users[number](call, session)
        except Fault as refused:
            return fault(call.handle, self._now(), refused.status)

    def _now(self) -> int:
        return values.ticks(self._clock())

    def _wrap(self, call: Call, response: Any) -> bytes:
        """A structure of asyncua's as a response."""
        response.ResponseHeader.RequestHandle = call.request.RequestHeader.RequestHandle
        response.ResponseHeader.Timestamp = ua.uatypes.win_epoch_to_datetime(self._now())
        return struct_to_binary(response)

    def _raw(self, call: Call, name: str, body: bytes) -> bytes:
        return answer(_encoding(f"{name}Response"), call.handle, self._now(), body)

    def _statuses(self, call: Call, name: str, statuses: list[int]) -> bytes:
        packed = struct.pack(f"<i{len(statuses)}I", len(statuses), *statuses)
        return self._raw(call, name, packed + _NULL)

    def _some(self, wanted: list[Any] | None) -> list[Any]:
        """What to do, if it is something and not too much; raises `Fault`."""
        if not wanted:
            raise Fault(NOTHING_TO_DO)
        if len(wanted) > self._operations_max:
            raise Fault(TOO_MANY_OPERATIONS)
        return wanted

    # Discovery and sessions.

    async def _find_servers(self, call: Call) -> bytes:
        response = ua.FindServersResponse()
        described = self._endpoints.described(call.request.Parameters.EndpointUrl)
        uris = call.request.Parameters.ServerUris
        response.Servers = [described] if not uris or described.ApplicationUri in uris else []
        return self._wrap(call, response)

    async def _get_endpoints(self, call: Call) -> bytes:
        response = ua.GetEndpointsResponse()
        response.Endpoints = self._endpoints.listed(call.request.Parameters.EndpointUrl)
        return self._wrap(call, response)

    async def _create_session(self, call: Call) -> bytes:
        return self._wrap(call, self._sessions.create(call.request, call.line))

    async def _activate_session(self, call: Call) -> bytes:
        return self._wrap(call, await self._sessions.activate(call.request, call.line))

    async def _close_session(self, call: Call) -> bytes:
        session = self._sessions.to_close(call.request.RequestHeader, call.line)
        del self._sessions.by_token[session.token]
        self._publishing.closed(session, delete=bool(call.request.DeleteSubscriptions))
        return self._raw(call, "CloseSession", b"")

    # The address space.

    def _read(self, call: Call, session: Session) -> bytes:
        self._some(call.request.Parameters.NodesToRead)
        return self._raw(call, "Read", self._reading.read(call.request.Parameters))

    def _browse(self, call: Call, session: Session) -> bytes:
        self._some(call.request.Parameters.NodesToBrowse)
        return self._raw(call, "Browse", self._browsing.browse(session, call.request.Parameters))

    def _browse_next(self, call: Call, session: Session) -> bytes:
        self._some(call.request.Parameters.ContinuationPoints)
        return self._raw(call, "BrowseNext", self._browsing.browse_next(session, call.request.Parameters))

    def _translate(self, call: Call, session: Session) -> bytes:
        return self._wrap(call, self._browsing.translate(self._some(call.request.Parameters.BrowsePaths)))

    def _register(self, call: Call, session: Session) -> bytes:
        response = ua.RegisterNodesResponse()
        response.Parameters.RegisteredNodeIds = self._some(call.request.Parameters.NodesToRegister)
        return self._wrap(call, response)

    def _unregister(self, call: Call, session: Session) -> bytes:
        return self._raw(call, "UnregisterNodes", b"")

    # What is not to be had.

    def _write(self, call: Call, session: Session) -> bytes:
        return self._statuses(call, "Write", [NOT_WRITABLE for _ in self._some(call.request.Parameters.NodesToWrite)])

    def _call(self, call: Call, session: Session) -> bytes:
        response = ua.CallResponse()
        denied = ua.StatusCode(ua.UInt32(DENIED))
        response.Results = [
            ua.CallMethodResult(StatusCode=denied) for _ in self._some(call.request.Parameters.MethodsToCall)
        ]
        return self._wrap(call, response)

    # Subscriptions.

    def _create_subscription(self, call: Call, session: Session) -> bytes:
        made = self._publishing.create(session, call.request.Parameters)
        pace = made.pace
        body = struct.pack("<IdII", made.number, pace.interval * 1000, pace.lifetime, pace.keep_alive)
        return self._raw(call, "CreateSubscription", body)

    def _modify_subscription(self, call: Call, session: Session) -> bytes:
        wanted = call.request.Parameters
        changed = self._publishing.of(session, int(wanted.SubscriptionId))
        pace = changed.pace = revised(
            wanted.RequestedPublishingInterval, wanted.RequestedMaxKeepAliveCount, wanted.RequestedLifetimeCount,
            wanted.MaxNotificationsPerPublish,
        )  # fmt: skip
        changed.priority = int(wanted.Priority)
        return self._raw(
            call, "ModifySubscription", struct.pack("<dII", pace.interval * 1000, pace.lifetime, pace.keep_alive)
        )

    def _set_publishing(self, call: Call, session: Session) -> bytes:
        statuses = []
        for number in self._some(call.request.Parameters.SubscriptionIds):
            try:
                self._publishing.of(session, int(number)).enabled = bool(call.request.Parameters.PublishingEnabled)
                statuses.append(0)
            except Fault as refused:
                statuses.append(refused.status)
        return self._statuses(call, "SetPublishingMode", statuses)

    def _delete_subscriptions(self, call: Call, session: Session) -> bytes:
        numbers = self._some(call.request.Parameters.SubscriptionIds)
        statuses = [self._publishing.delete(session, int(number)) for number in numbers]
        return self._statuses(call, "DeleteSubscriptions", statuses)

    def _transfer(self, call: Call, session: Session) -> bytes:
        body = []
        wanted = call.request.Parameters
        for number in self._some(wanted.SubscriptionIds):
            status, kept = self._publishing.transfer(session, int(number), initial=bool(wanted.SendInitialValues))
            body.append(struct.pack(f"<Ii{len(kept)}I", status, len(kept), *kept))
        return self._raw(call, "TransferSubscriptions", struct.pack("<i", len(body)) + b"".join(body) + _NULL)

    def _publish(self, call: Call, session: Session) -> None:
        self._publishing.publish(session, call.request_id, call.request)

    def _republish(self, call: Call, session: Session) -> bytes:
        wanted = call.request.Parameters
        kept = self._publishing.republish(session, int(wanted.SubscriptionId), int(wanted.RetransmitSequenceNumber))
        return self._raw(call, "Republish", kept)

    # Monitored items.

    def _create_items(self, call: Call, session: Session) -> bytes:
        wanted = call.request.Parameters
        subscription = self._publishing.of(session, int(wanted.SubscriptionId))
        self._some(wanted.ItemsToCreate)
        return self._raw(call, "CreateMonitoredItems", self._reading.watch(subscription, wanted))

    def _modify_items(self, call: Call, session: Session) -> bytes:
        wanted = call.request.Parameters
        subscription = self._publishing.of(session, int(wanted.SubscriptionId))
        self._some(wanted.ItemsToModify)
        return self._raw(call, "ModifyMonitoredItems", self._reading.change(subscription, wanted))

    def _set_monitoring(self, call: Call, session: Session) -> bytes:
        wanted = call.request.Parameters
        subscription = self._publishing.of(session, int(wanted.SubscriptionId))
        mode = int(wanted.MonitoringMode)
        if not 0 <= mode <= 2:
            raise Fault(MODE_INVALID)
        statuses = []
        for number in self._some(wanted.MonitoredItemIds):
            item = subscription.items.get(int(number))
            statuses.append(ITEM_UNKNOWN if item is None else 0)
            if item is not None:
                item.turn(mode)
        return self._statuses(call, "SetMonitoringMode", statuses)

    def _delete_items(self, call: Call, session: Session) -> bytes:
        wanted = call.request.Parameters
        subscription = self._publishing.of(session, int(wanted.SubscriptionId))
        numbers = self._some(wanted.MonitoredItemIds)
        statuses = [0 if subscription.remove(int(number)) else ITEM_UNKNOWN for number in numbers]
        return self._statuses(call, "DeleteMonitoredItems", statuses)


def _encoding(name: str) -> int:
    found = getattr(ua.ObjectIds, f"{name}_Encoding_DefaultBinary")
    assert isinstance(found, int)
    return found
