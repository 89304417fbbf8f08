"""Fetches what is missing before anything that came after it is given."""

from asyncua import ua
from asyncua.ua.uaerrors import UaStatusCodeError

from plantgate_connectors.opcua.backlog import BYTES_MAX, Arrival, Entry, Hole, Interruption
from plantgate_connectors.opcua.bounds import MalformedNotification
from plantgate_connectors.opcua.continuity import Continuity
from plantgate_connectors.opcua.decode import Plain
from plantgate_connectors.opcua.envelope import DATA_CHANGE, Envelope, Fault, open_republished
from plantgate_connectors.opcua.failures import translated
from plantgate_connectors.opcua.fill import Filler
from plantgate_connectors.opcua.inbox import Inbox
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.settings import OpcUaSettings


class Mender:
    """One for each session. Run it; it returns never and raises `Unavailable` when the session is gone."""

    def __init__(
        self, session: Session, settings: OpcUaSettings, continuity: Continuity, inbox: Inbox, plain: Plain
    ) -> None:
        self._session = session
        self._continuity = continuity
        self._inbox = inbox
        self._filler = Filler(session, settings, continuity, inbox, plain)

    async def run(self) -> None:
        """Mend holes as they appear, interruptions once they are next to be given."""
        backlog = self._continuity.backlog
        while True:
            self._inbox.mend.clear()
            entry = next((each for each in backlog if isinstance(each, Hole)), None) or backlog.front
            if isinstance(entry, Hole):
                backlog.replace(entry, *await self._ask_again(entry))
            elif isinstance(entry, Interruption) and entry.fetched is None:
                backlog.replace(entry, *await self._filler.fill(entry))
            else:
                await self._inbox.mend.wait()
                continue
            self._inbox.wake.set()

    async def _ask_again(self, hole: Hole) -> list[Entry]:
        """Republish; what cannot be had becomes an interruption in its place."""
        found: list[Entry] = []
        lost = hole.beyond
        values = size = 0
        for place, sequence in enumerate(hole.sequences):
            if size > BYTES_MAX:  # give this much first
                rest = Hole(hole.subscription, hole.handles, hole.sequences[place:], hole.cause, hole.beyond)
                return [*self._judged(hole, found, values, lost=lost and not hole.beyond), rest]
            envelope = await self._republish(hole.subscription.id, sequence)
            if envelope is None:
                lost = True
                continue
            self._continuity.context.standing.count("republished_messages")
            values += _values(envelope)
            size += len(envelope.body)
            found.append(Arrival(envelope, hole.subscription, self._continuity.context.clock.now()))
        return self._judged(hole, found, values, lost=lost)

    def _judged(self, hole: Hole, found: list[Entry], values: int, *, lost: bool) -> list[Entry]:
        if lost:
            return [*found, Interruption(hole.handles, hole.cause or "notifications lost", refresh=True)]
        if hole.cause is not None:
            return [Interruption(hole.handles, hole.cause, fetched=values), *found]
        return found

    async def _republish(self, subscription: int, sequence: int) -> Envelope | None:
        request = ua.RepublishRequest()
        request.Parameters.SubscriptionId = ua.UInt32(subscription)
        request.Parameters.RetransmitSequenceNumber = ua.UInt32(sequence)
        protocol = self._session.client.uaclient.protocol
        with translated(self._session.context, "fetch a missed message"):
            if protocol is None:
                raise ConnectionError("the connection is closed")
            try:
                answer = await protocol.send_request(request)
            except UaStatusCodeError:
                return None
        try:
            envelope = open_republished(answer.read(len(answer)), subscription)
        except (Fault, MalformedNotification):
            return None
        # asyncua's server answers with an empty message where it should say BadMessageNotAvailable
        return envelope if envelope.sequence == sequence else None


def _values(envelope: Envelope) -> int:
    """How many values a message declares."""
    return sum(
        int.from_bytes(envelope.body[part.start : part.start + 4], "little", signed=True)
        for part in envelope.parts
        if part.kind == DATA_CHANGE and part.end - part.start >= 4
    )
