"""Decodes event notifications, and keeps conditions refreshed: what no message repeats must be asked for."""

from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary

from plantgate.sdk.quality import BAD_DECODING
from plantgate_connectors.opcua import events
from plantgate_connectors.opcua.addressing import WantedEvent
from plantgate_connectors.opcua.bounds import ELEMENTS_MAX, MalformedNotification, Walk, skip_variant
from plantgate_connectors.opcua.decode import Columns
from plantgate_connectors.opcua.envelope import Part
from plantgate_connectors.opcua.monitored import Items
from plantgate_connectors.opcua.session import Session
from plantgate_connectors.opcua.values import Unlearned, Values


class Alarms:
    """The event streams of one session."""

    def __init__(self, session: Session, values: Values) -> None:
        self._session = session
        self._values = values
        self._plans: dict[int, events.Plan] = {}
        self._stale: set[int] = set()

    async def plan(self, handle: int, wanted: WantedEvent) -> events.Plan:
        """What to ask of the server for this item. Raises `Unavailable`."""
        if handle not in self._plans:
            self._plans[handle] = await events.plan(self._session, wanted)
        return self._plans[handle]

    async def adopt(self, items: Items) -> None:
        """Plan for the items that a former session left monitored; their conditions may have changed meanwhile."""
        for handle, wanted in items.events.items():
            if items.ids[handle]:
                await self.plan(handle, wanted)
                self.made(handle)

    def made(self, handle: int) -> None:
        """The server monitors this item (again)."""
        if handle in self._plans and self._plans[handle].conditions:
            self._stale.add(handle)

    async def refresh(self, items: Items) -> None:
        """Have the server report the conditions that stand, where that is due. Raises `Unavailable`."""
        stale, self._stale = self._stale, set()
        for subscription in sorted({items.homes[handle] for handle in stale if items.ids[handle]}):
            await events.refresh(self._session, subscription)

    def decode(self, body: bytes, part: Part, into: Columns) -> bool:
        """Append the records of one event notification; True if the server asks for a refresh.

        Format: OPC 10000-4, 7.25.3 (EventNotificationList). Raises `MalformedNotification`, with `into` as it was.
        """
        walk = Walk(body, part.end)
        lists = walk.count(part.start, 8, "event lists", ELEMENTS_MAX)
        at = part.start + 4
        found: list[tuple[int, list[tuple[int, int]]]] = []
        for _ in range(lists):
            after = walk.need(at, 4, "a client handle")
            handle = int.from_bytes(body[at:after], "little")
            fields = walk.count(after, 1, "event fields", ELEMENTS_MAX)
            at = after + 4
            places = []
            for _ in range(fields):
                end = skip_variant(walk, at)
                places.append((at, end))
                at = end
            found.append((handle, places))
        if at != part.end:
            raise MalformedNotification(f"{part.end - at} bytes left over", at)
        wanting = False
        for handle, places in found:
            plan = self._plans.get(handle)
            if plan is not None:
                wanting |= self._record(handle, plan, [_field(body, *place) for place in places], into)
        return wanting

    def _record(self, handle: int, plan: events.Plan, fields: list[ua.Variant], into: Columns) -> bool:
        try:
            event = events.read_event(plan, fields, self._values)
        except Unlearned:
            return False  # the caller sees that a type is to be learned and decodes again
        if event is None:
            return False
        if event.kind is events.Kind.REFRESH_REQUIRED:
            self.made(handle)
        if event.kind is events.Kind.RECORD:
            into.handles.append(handle)
            into.values.append(event.value)
            into.qualities.append(event.quality)
            into.times.append(event.time)
        return event.kind is events.Kind.REFRESH_REQUIRED


def _field(body: bytes, start: int, end: int) -> ua.Variant:
    encoded = body[start:end]
    try:
        skip_variant(Walk(encoded, len(encoded), inside=True), 0)
        return variant_from_binary(Buffer(encoded))
    except Exception:  # noqa: BLE001  whatever the decoder of a structure raises concerns this one field
        return ua.Variant(ua.StatusCode(ua.UInt32(BAD_DECODING)))
