"""The publish loop of our own, on asyncua's protocol with nothing behind it."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from asyncua import Client, ua
from asyncua.client.ua_client import UASocketProtocol
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary, struct_to_binary

from plantgate.sdk import SystemClock
from plantgate_connectors.opcua.bounds import MalformedNotification
from plantgate_connectors.opcua.envelope import Envelope
from plantgate_connectors.opcua.publish import Publisher, check_library
from plantgate_connectors.opcua.subscription import Mark, Subscription
from tests.connectors.opcua.messages import message, value

pytestmark = pytest.mark.simulated(seeds=1)


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        self.written.append(chunk)


class Taken:
    """A receiver that keeps what it is given."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.bad: list[MalformedNotification] = []
        self.failures: list[Exception] = []
        self.none = 0
        self.has_room = True
        self.marks: list[Mark] = []

    def room(self) -> bool:
        return self.has_room

    def arrived(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    def malformed(self, body: bytes, error: MalformedNotification) -> None:
        self.bad.append(error)

    def to_acknowledge(self, most: int) -> list[Mark]:
        told, self.marks = self.marks[:most], self.marks[most:]
        return told

    def not_acknowledged(self, marks: list[Mark]) -> None:
        self.marks = marks + self.marks

    def no_subscription(self) -> None:
        self.none += 1

    def ended(self, error: Exception) -> None:
        self.failures.append(error)


class Rig:
    """A publisher, and the server's side of its channel."""

    def __init__(self, outstanding: int = 3) -> None:
        self.protocol = UASocketProtocol()
        self.protocol.authentication_token = ua.NodeId(b"token", 1)
        self.wire = Wire()
        self.protocol.transport = cast("asyncio.Transport", self.wire)
        self.taken = Taken()
        client = cast("Client", SimpleNamespace(uaclient=SimpleNamespace(protocol=self.protocol)))
        self.publisher = Publisher(client, self.taken, outstanding=outstanding, clock=SystemClock())

    @property
    def waiting(self) -> list[int]:
        """Request ids the server has not answered."""
        return list(self.protocol._callbackmap)

    def requests(self) -> list[Any]:
        """Everything sent, as asyncua's server reads it."""
        return [_read_request(chunk) for chunk in self.wire.written]

    async def answer(self, body: bytes, request: int | None = None) -> None:
        """The server answers the oldest request, or this one."""
        self.protocol._call_callback(self.waiting[0] if request is None else request, Buffer(body))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def refuse(self, code: int) -> None:
        fault = ua.ServiceFault()
        fault.ResponseHeader.ServiceResult = ua.StatusCode(code)
        await self.answer(bytes(struct_to_binary(fault)))


def _read_request(chunk: bytes) -> Any:
    body = Buffer(chunk[24:])  # message header 12, token 4, sequence header 8: no security
    assert nodeid_from_binary(body.copy()) == ua.FourByteNodeId(ua.ObjectIds.PublishRequest_Encoding_DefaultBinary)
    request = struct_from_binary(ua.PublishRequest, body)
    assert len(body) == 0
    return request


def acks(request: Any) -> Sequence[tuple[int, int]]:
    given = request.Parameters.SubscriptionAcknowledgements or []
    return [(each.SubscriptionId, each.SequenceNumber) for each in given]


def test_asyncua_has_what_the_hook_relies_on() -> None:
    check_library()


async def test_a_request_is_what_asyncua_would_have_sent() -> None:
    rig = Rig(1)
    subscription = Subscription(7, 0.1, 5.0, 60.0)
    rig.taken.marks = [(subscription, 3), (subscription, 4)]
    rig.publisher.start()
    [request] = rig.requests()
    assert request.RequestHeader.AuthenticationToken == ua.NodeId(b"token", 1)
    assert request.RequestHeader.RequestHandle == 1
    assert request.RequestHeader.TimeoutHint == 0
    assert request.RequestHeader.AuditEntryId is None
    assert acks(request) == [(7, 3), (7, 4)]
    theirs = ua.PublishRequest()
    theirs.RequestHeader = request.RequestHeader
    theirs.Parameters = request.Parameters
    assert rig.wire.written[0].endswith(bytes(struct_to_binary(theirs)))


async def test_requests_are_kept_outstanding_and_answers_are_handed_on_in_order() -> None:
    rig = Rig(3)
    rig.publisher.start()
    assert rig.publisher.outstanding == 3
    for sequence in range(1, 9):
        await rig.answer(message([value()], sequence=sequence))
        assert rig.publisher.outstanding == 3
    assert [envelope.sequence for envelope in rig.taken.envelopes] == list(range(1, 9))


async def test_it_asks_for_nothing_while_there_is_no_room_and_goes_on_when_there_is() -> None:
    rig = Rig(3)
    rig.publisher.start()
    rig.taken.has_room = False
    for sequence in (1, 2, 3):
        await rig.answer(message([value()], sequence=sequence))
    assert rig.publisher.outstanding == 0
    rig.publisher.top_up()
    assert rig.publisher.outstanding == 0
    rig.taken.has_room = True
    rig.publisher.top_up()
    assert rig.publisher.outstanding == 3


async def test_too_many_requests_leads_to_fewer_and_after_a_while_to_one_more() -> None:
    rig = Rig(3)
    rig.publisher.start()
    await rig.refuse(ua.StatusCodes.BadTooManyPublishRequests)
    assert rig.publisher.outstanding == 2
    await rig.answer(message([value()]))
    assert rig.publisher.outstanding == 2
    await asyncio.sleep(61)
    assert rig.publisher.outstanding == 3
    assert rig.taken.failures == []


async def test_refused_for_ever_it_goes_on_asking_ever_more_seldom() -> None:
    rig = Rig(3)
    rig.publisher.start()
    asked = 0
    for _ in range(600):
        while rig.waiting:
            asked += 1
            await rig.refuse(ua.StatusCodes.BadTooManyPublishRequests)
        await asyncio.sleep(1.0)
    assert 100 < asked < 300
    assert rig.taken.failures == []
    await asyncio.sleep(10.0)
    await rig.answer(message([value()]))
    assert len(rig.taken.envelopes) == 1
    assert rig.publisher.outstanding == 1


async def test_acknowledgements_on_a_refused_request_ride_again() -> None:
    rig = Rig(1)
    subscription = Subscription(7, 0.1, 5.0, 60.0)
    rig.taken.marks = [(subscription, 3)]
    rig.publisher.start()
    await rig.refuse(ua.StatusCodes.BadTimeout)
    assert [acks(request) for request in rig.requests()] == [[(7, 3)], [(7, 3)]]


async def test_acknowledgements_of_a_dying_session_are_handed_back() -> None:
    rig = Rig(1)
    subscription = Subscription(7, 0.1, 5.0, 60.0)
    rig.taken.marks = [(subscription, 3)]
    rig.publisher.start()
    rig.protocol._fail_all_pending(ConnectionError("gone"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert rig.taken.marks == [(subscription, 3)]
    assert [str(error) for error in rig.taken.failures] == ["gone"]


async def test_no_subscription_pauses_until_there_is_one() -> None:
    rig = Rig(2)
    rig.publisher.start()
    await rig.refuse(ua.StatusCodes.BadNoSubscription)
    assert rig.taken.none == 1
    await rig.refuse(ua.StatusCodes.BadNoSubscription)
    assert rig.publisher.outstanding == 0
    rig.publisher.start()
    assert rig.publisher.outstanding == 2


@pytest.mark.parametrize("code", [ua.StatusCodes.BadSessionIdInvalid, ua.StatusCodes.BadSessionClosed])
async def test_a_session_that_is_over_ends_it_once(code: int) -> None:
    rig = Rig(2)
    rig.publisher.start()
    await rig.refuse(code)
    await rig.refuse(code)
    assert [cast("ua.UaStatusCodeError", error).code for error in rig.taken.failures] == [code]
    assert rig.publisher.outstanding == 0


async def test_a_response_that_makes_no_sense_is_set_aside_and_asking_goes_on() -> None:
    rig = Rig(2)
    rig.publisher.start()
    await rig.answer(message([value()])[:-6])
    await rig.answer(message([value()]))
    assert len(rig.taken.bad) == 1
    assert len(rig.taken.envelopes) == 1
    assert rig.publisher.outstanding == 2


async def test_a_request_whose_answer_was_aborted_is_replaced() -> None:
    """asyncua drops an aborted message without telling who waits for it."""
    rig = Rig(3)
    rig.publisher.start()
    lost = rig.waiting[0]
    for sequence in range(1, 40):
        await rig.answer(message([value()], sequence=sequence), rig.waiting[1 if rig.waiting[0] == lost else 0])
    assert lost not in rig.waiting
    assert rig.publisher.outstanding == 3


async def test_a_closed_connection_ends_it() -> None:
    rig = Rig(1)
    rig.protocol.transport = None
    rig.publisher.start()
    assert [str(error) for error in rig.taken.failures] == ["the connection is closed"]
