"""A controller to test against: asyncua's server on the simulated network, with faults on command. Rung 2c."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from asyncua import Server, ua

from plantgate.sdk import Sample
from tests.connectors.opcua.space import quick_server

HOST = "plc"
URL = f"opc.tcp://{HOST}:4840/plant"
NAMESPACE = "urn:press"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Plc:
    """Variables by name in `urn:press`, and a server that can be ended, begun again, and told to refuse."""

    def __init__(self, names: Iterable[str], *, before: Sequence[str] = ()) -> None:
        self._names = list(names)
        self._before = before
        self._server: Server | None = None
        self.refusals: dict[str, list[int]] = {}
        """StatusCodes that the next calls of a session service get, by the service's name."""
        self.items_per_call_max: int | None = None
        self.items_per_subscription_max: int | None = None
        self.takes_filters = True
        self.publishing_ms_least: float | None = None
        """What a subscription is revised to that asks for a shorter interval."""
        self.calls: list[int] = []
        """How many items each call to create some asked for."""
        self.written: list[tuple[str, Any]] = []
        """Name and value of every write by a client that was done."""
        self.write_refusal: int | None = None
        """StatusCode of every write from now on, none of which is done."""

    async def begin(self, *, before: Sequence[str] | None = None, without: Sequence[str] = ()) -> None:
        """Start; namespaces in `before` come first and so move ours, names in `without` do not exist yet."""
        self._before = self._before if before is None else before
        server = await quick_server()
        server.set_endpoint(URL)
        server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        for uri in self._before:
            await server.register_namespace(uri)
        self.index = await server.register_namespace(NAMESPACE)
        self._server = server
        self._count_writes(server)
        for name in self._names:
            if name not in without:
                await self.add(name)
        self._refuse_on_command(server)
        await server.start()

    async def add(self, name: str) -> None:
        """Make a variable; it has no value yet."""
        waiting = ua.DataValue(
            ua.Variant(None, ua.VariantType.Null), ua.StatusCode(ua.StatusCodes.BadWaitingForInitialData)
        )
        node = await self._running.nodes.objects.add_variable(ua.NodeId(name, self.index), name, 0.0)
        await node.set_writable()
        await self._running.write_attribute_value(node.nodeid, waiting)

    async def remove(self, name: str) -> None:
        """Take a variable away, as a program change does."""
        await self._running.delete_nodes([self._running.get_node(ua.NodeId(name, self.index))])

    async def end(self) -> None:
        """Stop; sessions and subscriptions are gone with it."""
        if self._server is not None:
            server, self._server = self._server, None
            for session in list(server.iserver._external_sessions.values()):
                await session.close_session(True)
            await server.iserver.subscription_service.delete_subscriptions(
                list(server.iserver.subscription_service.subscriptions)
            )
            await server.stop()

    async def show(self, *samples: Sample) -> None:
        """Let the variables have these values, qualities and times."""
        for sample in samples:
            value: Any = sample.value
            variant = ua.Variant(value) if value is not None else ua.Variant(None, ua.VariantType.Null)
            made = ua.DataValue(variant, ua.StatusCode(sample.quality), time_of(sample.time))
            await self._running.write_attribute_value(ua.NodeId(sample.tag, self.index), made)

    def put(self, name: str, value: Any, status: int = 0) -> None:
        """Let a variable have a value at once; nobody who monitors it is told."""
        self._attribute(name, ua.AttributeIds.Value).value = ua.DataValue(ua.Variant(value), ua.StatusCode(status))

    def retype(self, name: str, kind: int, *, rank: int = -1) -> None:
        """Let a variable declare another type, as after a change of the program."""
        self._attribute(name, ua.AttributeIds.DataType).value = ua.DataValue(ua.Variant(ua.NodeId(kind)))
        self._attribute(name, ua.AttributeIds.ValueRank).value = ua.DataValue(ua.Variant(rank, ua.VariantType.Int32))

    def _attribute(self, name: str, attribute: ua.AttributeIds) -> Any:
        return self._running.iserver.aspace._nodes[ua.NodeId(name, self.index)].attributes[attribute]

    def answer_writes(self, change: Callable[[Any], list[Any]], kind: type[Any] = ua.WriteResponse) -> None:
        """From now on clients that are connected get these responses, in place of the right one to a write.

        Or to what else has responses of that kind.
        """
        for client in self._running.bserver.clients:
            processor = client.processor
            right = processor.send_response

            def send(handle: Any, header: Any, response: Any, *more: Any, right: Any = right) -> None:
                for each in change(response) if isinstance(response, kind) else [response]:
                    right(each.ResponseHeader.RequestHandle or handle, header, each, *more)

            processor.send_response = send

    def refuse(self, service: str, code: int, times: int = 1) -> None:
        """Have the next calls of a service fail: ``create_subscription``, ``create_monitored_items``, …"""
        self.refusals[service] = [code] * times

    @property
    def subscriptions(self) -> dict[int, Any]:
        """The server's own, by id."""
        return dict(self._running.iserver.subscription_service.subscriptions)

    async def end_sessions(self) -> None:
        """Close every session with its subscriptions, as an operator of the server can."""
        for session in list(self.iserver._external_sessions.values()):
            await session.close_session(True)

    async def forget_subscriptions(self) -> None:
        """Lose them without a word; the sessions live on."""
        service = self.iserver.subscription_service
        lost = list(service.subscriptions.values())
        service.subscriptions.clear()
        for subscription in lost:
            await subscription.stop()

    def mute_subscriptions(self) -> None:
        """Keep them, and send nothing for them any more."""

        async def nothing(requestdata: Any = None) -> bool:
            return False

        for subscription in self.iserver.subscription_service.subscriptions.values():
            subscription.publish_results = nothing

    def corrupt_next_notification(self) -> None:
        """The next message with values declares more of them than it holds; it cannot be fetched again either."""
        for subscription in self.iserver.subscription_service.subscriptions.values():
            subscription._pop_publish_result = self._corrupting(subscription, subscription._pop_publish_result)

    def _corrupting(self, subscription: Any, pop: Any) -> Any:
        def pop_corrupt() -> Any:
            result = pop()
            parts = result.NotificationMessage.NotificationData
            if parts:
                subscription._pop_publish_result = pop
                parts[:] = [ua.ExtensionObject(ua.FourByteNodeId(811), b"\x09\x00\x00\x00" + bytes(10))]
            return result

        return pop_corrupt

    async def report_gone(self, name: str) -> None:
        """Tell who monitors it that the node is no longer there."""
        gone = ua.DataValue(ua.Variant(None, ua.VariantType.Null), ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown))
        await self._running.write_attribute_value(ua.NodeId(name, self.index), gone)
        await asyncio.sleep(1.0)

    async def add_elsewhere(self, uri: str, name: str, value: float) -> None:
        """A variable in a namespace that is new too."""
        index = await self._running.register_namespace(uri)
        await self._running.nodes.objects.add_variable(ua.NodeId(name, index), name, value)

    @property
    def iserver(self) -> Any:
        """asyncua's internal server."""
        return self._running.iserver

    @property
    def _running(self) -> Server:
        assert self._server is not None, "the controller is off"
        return self._server

    def _count_writes(self, server: Server) -> None:
        service = server.iserver.attribute_service
        write = service.write

        async def counted(params: Any, **named: Any) -> Any:
            if self.write_refusal is not None:
                return [ua.StatusCode(self.write_refusal)] * len(params.NodesToWrite)
            results = await write(params, **named)
            for wanted, result in zip(params.NodesToWrite, results, strict=True):
                mine = wanted.NodeId.Identifier in self._names and wanted.AttributeId == ua.AttributeIds.Value
                if mine and result.is_good():
                    self.written.append((wanted.NodeId.Identifier, wanted.Value.Value.Value))
            return results

        service.write = counted

    def _refuse_on_command(self, server: Server) -> None:
        service = server.iserver.subscription_service
        service.create_subscription = self._revised(service.create_subscription)
        service.modify_subscription = self._modified(service)
        service.create_monitored_items = self._limited(service, service.create_monitored_items)
        for name in ("create_subscription", "create_monitored_items", "transfer_subscriptions", "republish", "publish"):
            setattr(service, name, self._guarded(name, getattr(service, name)))

    def _revised(self, create: Any) -> Any:
        def create_revised(params: Any, *arguments: Any, **named: Any) -> Any:
            least = self.publishing_ms_least or 0.0
            params.RequestedPublishingInterval = max(params.RequestedPublishingInterval, least)
            return create(params, *arguments, **named)

        return create_revised

    def _modified(self, service: Any) -> Any:
        """asyncua's own answers what there is and changes nothing."""

        def modify(params: Any) -> Any:
            if params.SubscriptionId in service.subscriptions:
                granted = service.subscriptions[params.SubscriptionId].data
                granted.RevisedMaxKeepAliveCount = params.RequestedMaxKeepAliveCount
                granted.RevisedLifetimeCount = params.RequestedLifetimeCount
            return type(service).modify_subscription(service, params)

        return modify

    def _limited(self, service: Any, create: Any) -> Any:
        async def create_within_limits(params: Any) -> Any:
            wanted = list(params.ItemsToCreate)
            self.calls.append(len(wanted))
            if self.items_per_call_max is not None and len(wanted) > self.items_per_call_max:
                raise ua.UaStatusCodeError(ua.StatusCodes.BadTooManyOperations)
            subscription = service.subscriptions.get(params.SubscriptionId)
            held = len(subscription.monitored_item_srv._monitored_items) if subscription is not None else 0
            results = []
            for item in wanted:
                if self.items_per_subscription_max is not None and held >= self.items_per_subscription_max:
                    results.append(_refused(ua.StatusCodes.BadTooManyMonitoredItems))
                elif not self.takes_filters and "DataChangeFilter" in type(item.RequestedParameters.Filter).__name__:
                    results.append(_refused(ua.StatusCodes.BadMonitoredItemFilterUnsupported))
                else:
                    params.ItemsToCreate = [item]
                    results += await create(params)
                    held += 1
            return results

        return create_within_limits

    def _guarded(self, name: str, call: Any) -> Any:
        def guarded(*arguments: Any, **named: Any) -> Any:
            left = self.refusals.get(name)
            if left:
                raise ua.UaStatusCodeError(left.pop(0))
            return call(*arguments, **named)

        return guarded


def _refused(code: int) -> ua.MonitoredItemCreateResult:
    result = ua.MonitoredItemCreateResult()
    result.StatusCode = ua.StatusCode(code)
    return result


@asynccontextmanager
async def plc(names: Iterable[str], *, before: Sequence[str] = (), without: Sequence[str] = ()) -> AsyncIterator[Plc]:
    """A running controller."""
    made = Plc(names, before=before)
    await made.begin(without=without)
    try:
        yield made
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await made.end()


def time_of(nanoseconds: int | None) -> datetime | None:
    """asyncua's form of a source time; exact to the microsecond."""
    return None if nanoseconds is None else _EPOCH + timedelta(microseconds=nanoseconds // 1000)
