"""The OPC UA actuator: one Write request of one node a command, on a session of its own that asks nothing twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import struct_from_binary
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate.sdk import Command, Context, Deadline, OutcomeUnknown, Rejected, Sample, Severity, Unavailable, severity
from plantgate.sdk.plausible import doubt_clock
from plantgate.sdk.quality import BAD_DECODING
from plantgate_connectors.leaving import under_way
from plantgate_connectors.opcua.answered import check_handle, read
from plantgate_connectors.opcua.bounds import MalformedNotification
from plantgate_connectors.opcua.declared import Seen, built_in
from plantgate_connectors.opcua.failures import MALFORMED, explain, status_name, translated
from plantgate_connectors.opcua.nodeids import of
from plantgate_connectors.opcua.protocol import BoundedProtocol
from plantgate_connectors.opcua.refusals import ENDED
from plantgate_connectors.opcua.session import Session, connect
from plantgate_connectors.opcua.setpoint import variant
from plantgate_connectors.opcua.settings import OpcUaSettings
from plantgate_connectors.opcua.values import Undecodable, Unlearned, Values
from plantgate_connectors.opcua.verdicts import DONE, NEVER_READ, REFUSED

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class OpcUaActuator:
    """Writes and reads single tags. Once the session is over, or an outcome unknown, every call is `Unavailable`."""

    def __init__(self, session: Session, settings: OpcUaSettings, seen: Seen) -> None:
        self._session, self._settings, self._seen = session, settings, seen
        self._connection = session.context.connection
        self._addresses = {row.tag: row.address for row in settings.rows}
        self._built_in: dict[ua.NodeId, int] = {}
        self._values = Values(session)
        self._under_way = 0
        """Writes that were sent and have no outcome yet."""
        self.over = ""
        """Why the session is of no more use."""
        self._over = asyncio.Event()

    async def lost(self) -> NoReturn:
        """Until the session is of no more use. Raises `Unavailable`."""
        await self._over.wait()
        raise Unavailable(self.over)

    async def keep(self) -> None:
        """Renew the channel's keys and show the server that we live, until cancelled or the session is over."""
        try:
            await self._session.keep()
        except Unavailable as error:
            self._drop(str(error))

    async def write(self, command: Command) -> None:
        """Send it once. Returns when the server has said Good: it has the value, or passes it on to the device.

        Raises as `plantgate.sdk.Actuator.write`; waits for the answer for `request_timeout_seconds`, also beyond the
        deadline. `CancelledError` after sending leaves the session, as an unknown outcome does.
        """
        tag = command.tag
        node = self._node(tag)
        try:
            async with command.deadline.timeout():
                kind, declared = await built_in(self._session, tag, node, self._built_in)
        except TimeoutError:
            raise Unavailable(f"{tag}: the server did not say in time what the node holds; nothing was sent") from None
        self._unchanged(tag, declared)
        request = _write_request(node, variant(tag, command.value, kind), command.id)
        seconds = self._settings.request_timeout_seconds
        protocol = self._session.protocol
        if objection := self.over or command.objection():
            raise Unavailable(f"{tag}: {objection}; nothing was sent")
        try:
            answer = protocol.send_now(request, seconds)  # no await between the look at the deadline and this
        except ConnectionError as error:
            raise Unavailable(f"{tag}: {error}; nothing was sent") from error
        late = asyncio.get_running_loop().call_at(command.deadline.at, self._keep_here, tag)
        self._under_way += 1
        try:
            async with asyncio.timeout(seconds):
                body = await answer
            status = _status(protocol, request, body)
        except (OSError, ua.UaError, MalformedNotification, *MALFORMED) as error:
            raise self._unknown(tag, self.over or explain(error)[0]) from error
        except BaseException:
            self._drop("a write was given up after it was sent")
            raise
        finally:
            late.cancel()
            self._under_way -= 1
        if status in REFUSED:
            if status in ENDED:
                self._drop(f"the server says {status_name(status)}")
            raise Rejected(f"{tag}: the server refused it with {status_name(status)}; nothing was changed")
        if status not in DONE:
            raise self._unknown(tag, f"the server says {status_name(status)}")

    async def read(self, tag: str, deadline: Deadline) -> Sample:
        """What the server has from the device now (its age is asked to be 0), with quality and source time.

        Raises `Unavailable`, `Rejected`. That a server answers from a cache of its own cannot be seen from here.
        """
        node = self._node(tag)
        parameters = ua.ReadParameters()
        parameters.MaxAge = ua.Double(0)
        parameters.TimestampsToReturn = ua.TimestampsToReturn.Source
        parameters.NodesToRead = [ua.ReadValueId(node, ua.UInt32(ua.AttributeIds.Value))]
        try:
            async with deadline.timeout():
                with translated(self._session.context, f"read {tag}"):
                    [answer] = await read(self._session.protocol, parameters)
                return await self._sample(tag, answer)
        except TimeoutError:
            raise Unavailable(f"{tag}: no answer from the server in time") from None

    async def _sample(self, tag: str, answer: ua.DataValue) -> Sample:
        quality = 0 if answer.StatusCode is None else int(answer.StatusCode.value)
        if quality in NEVER_READ:
            raise Rejected(f"{tag}: the server says {status_name(quality)}")
        moment = answer.SourceTimestamp
        times = [None if moment is None else _nanoseconds(moment)]
        value = None
        if answer.Value is not None and severity(quality) is not Severity.BAD:
            try:
                try:
                    value = self._values.plain(answer.Value.Value)
                except Unlearned:
                    await self._values.definitions.learn()
                    value = self._values.plain(answer.Value.Value)
            except Undecodable:
                quality = BAD_DECODING
        qualities = [quality]
        doubt_clock(times, qualities, self._session.context.clock.now())
        return Sample(tag, value, qualities[0], times[0])

    @property
    def busy(self) -> bool:
        """Whether a write was sent and has no outcome yet."""
        return self._under_way > 0

    def close(self) -> None:
        """The block has ended: nothing more is sent, and what of a write has not left this machine stays here."""
        if self.busy:
            self._drop("the session was closed while a write was under way")
        self.over = self.over or "the session is closed"

    def _node(self, tag: str) -> ua.NodeId:
        address = self._addresses.get(tag)
        if address is None:
            raise Rejected(f"{tag} is not among the `tags` of connection {self._connection}")
        if not address.stable:
            raise Rejected(f"{tag}: {address} can mean another node after a restart of the server; write nsu=…")
        if self.over:
            raise Unavailable(f"{tag}: {self.over}; open another session")
        node = address.resolve(self._session.namespaces)
        if node is None:
            raise Unavailable(f"{tag}: the server has no namespace {address.namespace}")
        return node

    def _unchanged(self, tag: str, declared: ua.NodeId) -> None:
        there = str(of(declared, self._session.namespaces))
        first = self._seen.types.setdefault(tag, there)
        if first != there:
            raise Rejected(
                f"{tag}: the node's type was {first} and is now {there}: the program of the controller was changed;"
                " check what the tag means there, then restart the gateway"
            )

    def _unknown(self, tag: str, why: str) -> OutcomeUnknown:
        self._drop(f"after a write of {tag} whose outcome is unknown")
        return OutcomeUnknown(f"{tag}: sent, and then {why}; look at the machine")

    def _keep_here(self, tag: str) -> None:
        """The deadline has passed, and what became of it is not known: nothing of it leaves any more."""
        with suppress(Unavailable):  # gone already
            transport = self._session.protocol.transport
            if transport is not None and under_way(transport):
                self._drop(f"a write of {tag} had not reached the server by its deadline")

    def _drop(self, why: str) -> None:
        """The session is of no more use, and what of it has not left this machine stays here."""
        if not self.over:
            self.over = why
            self._over.set()
            with suppress(Unavailable):  # gone already
                self._session.protocol.drop_unsent()
            self._session.abandon()


def _write_request(node: ua.NodeId, value: ua.Variant, audit_id: str) -> "ua.WriteRequest":
    """Value only: many servers refuse a write that brings a status or times (BadWriteNotSupported)."""
    wanted = ua.WriteValue()
    wanted.NodeId, wanted.AttributeId = node, ua.UInt32(ua.AttributeIds.Value)
    wanted.Value = ua.DataValue(value, StatusCode=None)
    request = ua.WriteRequest()
    request.RequestHeader.AuditEntryId = ua.String(audit_id)
    request.Parameters.NodesToWrite = [wanted]
    return request


def _status(protocol: BoundedProtocol, request: "ua.WriteRequest", body: Buffer) -> int:
    """The node's StatusCode, or that of the fault which answers the whole request.

    Raises what asyncua raises, and `UaError` for an answer to something else.
    """
    check_handle(body, request)
    try:
        response = struct_from_binary(ua.WriteResponse, protocol.checked(body, "WriteRequest"))
        response.ResponseHeader.ServiceResult.check()
    except UaStatusCodeError as fault:
        return int(fault.code)
    if len(response.Results) != 1:
        raise ua.UaError(f"{len(response.Results)} results for one write")
    return int(response.Results[0].value)


def _nanoseconds(moment: datetime) -> "int | None":
    since = moment.replace(tzinfo=UTC) - _EPOCH
    return since // _MICROSECOND * 1000 if since > timedelta() else None


@asynccontextmanager
async def opcua_actuator(settings: OpcUaSettings, context: Context, seen: Seen) -> AsyncIterator[OpcUaActuator]:
    """Connect; entering raises `Unavailable` if the server cannot be had."""
    session = await connect(settings, context)
    actuator = OpcUaActuator(session, settings, seen)
    keeping = asyncio.create_task(actuator.keep(), name=f"{context.connection}: session for writing")
    try:
        yield actuator
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        in_order = not actuator.over and not actuator.busy
        actuator.close()
        if in_order:
            await session.close(delete_subscriptions=True)
        else:
            session.abandon()
