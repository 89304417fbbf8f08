"""Records in from topics; how far we have read is told to the cluster when the batch they became is safe."""

import asyncio
from collections import defaultdict, deque
from typing import Final

from plantgate.sdk import Batch, Context, Cursor, Deadline, Gap, Unavailable
from plantgate.sdk.plausible import doubt_clock
from plantgate.sdk.quality import BAD_NO_DATA, GOOD
from plantgate_connectors.kafka import refusals
from plantgate_connectors.kafka.fetch import COMMITTED_ONLY, EARLIEST, LATEST, Fetched, Place, bounds, fetch
from plantgate_connectors.kafka.link import Link, Topic, Unreached, pause
from plantgate_connectors.kafka.positions import Positions
from plantgate_connectors.kafka.records import Chunk, chunks
from plantgate_connectors.kafka.routes import Route
from plantgate_connectors.kafka.settings import KafkaSettings
from plantgate_connectors.payloads.readings import append
from plantgate_connectors.payloads.words import Payload

BATCH_SAMPLES: Final = 2_000
"""A batch is closed at this many, or with the record batch that passes them."""
_WAIT_SECONDS: Final = 0.5
"""How long a broker may wait for records before it says that there are none."""
_COMPLAINTS_MOST: Final = 100


class KafkaSource:
    """Reads in one session. Nothing is asked for but by `read`: waiting is backpressure, and nothing can get stuck."""

    def __init__(self, settings: KafkaSettings, context: Context, link: Link, complained: set[str]) -> None:
        """`complained` outlives the session: what is in the log already."""
        assert settings.group is not None, "the settings see to it"
        self._settings = settings
        self._context = context
        self._standing = context.standing
        self._link = link
        self._complained = complained
        self._routes = {subscribe.topic: Route.of(subscribe) for subscribe in settings.subscribe}
        self._positions = Positions(link, settings.group)
        self._topics: dict[str, Topic] = {}
        self._next: dict[Place, int] = {}
        """Offset of the next record to ask for."""
        self._ready: deque[Batch] = deque()
        self._owed: deque[tuple[int, dict[Place, int]]] = deque()
        """Batches made and not acknowledged: number, and the offsets up to which they go."""
        self._number = 0

    async def begin(self) -> None:
        """Find the topics, and where we were."""
        places: list[Place] = []
        for topic, route in self._routes.items():
            found = self._topics[topic] = await self._link.topic(topic)
            wanted = route.subscribe.partitions
            if wanted is not None and (missing := set(wanted) - set(found.leaders)):
                raise Unavailable(
                    f"{self._link.who}: topic {topic} has no partition {min(missing)}", retry_after_seconds=15.0
                )
            places += ((topic, partition) for partition in (wanted if wanted is not None else found.leaders))
        known = await self._positions.load(places)
        await self._place(places, known)
        self._standing.desired = self._standing.monitored = len(self._routes)
        self._standing.up(partitions=len(places))

    # The doors.

    async def read(self) -> Batch:
        """What has come; waits for it."""
        quiet_since: Deadline | None = None
        while not self._ready:
            trouble = await self._round()
            if trouble is None:
                quiet_since = None
                continue
            quiet_since = quiet_since or Deadline.after(self._settings.request_seconds)
            if quiet_since.passed():
                raise trouble
            await pause()
            await self._look_again()
        return self._ready.popleft()

    async def ack(self, cursor: Cursor) -> None:
        """Tell the cluster how far we are."""
        upto = int(cursor)
        safe: dict[Place, int] = {}
        while self._owed and self._owed[0][0] <= upto:
            safe |= self._owed.popleft()[1]
        if safe:
            await self._positions.save(safe)

    # Asking.

    async def _round(self) -> Unavailable | None:
        """Ask every leader once. Nothing is kept of it if it is cancelled."""
        by_leader: defaultdict[int, dict[Place, int]] = defaultdict(dict)
        for place, offset in self._next.items():
            by_leader[self._topics[place[0]].leaders.get(place[1], -1)][place] = offset
        if -1 in by_leader:
            topic, partition = min(by_leader.pop(-1))
            trouble: Unavailable | None = Unavailable(
                f"{self._link.who}: partition {partition} of {topic} has no leader"
            )
        else:
            trouble = None
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._ask(leader, theirs)) for leader, theirs in by_leader.items()]
        lost: list[Place] = []
        for task in asked:
            answer = task.result()
            if isinstance(answer, Unavailable):
                trouble = answer
                continue
            for fetched in answer:
                if fetched.code == refusals.OFFSET_OUT_OF_RANGE:
                    lost.append(fetched.place)
                elif fetched.code in refusals.PASSING:
                    trouble = refusals.unwanted(fetched.code, self._link.who, f"topic {fetched.place[0]}")
                elif fetched.code:
                    raise refusals.unwanted(fetched.code, self._link.who, f"topic {fetched.place[0]}")
                else:
                    self._take(fetched)
        if lost:
            await self._place(lost, {place: self._next[place] for place in lost})
        return trouble

    async def _ask(self, leader: int, positions: dict[Place, int]) -> list[Fetched] | Unavailable:
        try:
            return await fetch(
                self._link,
                leader,
                positions,
                wait_seconds=_WAIT_SECONDS,
                bytes_max=self._settings.fetch_bytes_max,
                isolation=COMMITTED_ONLY,
                line="fetch",
            )
        except Unavailable as error:
            return error

    async def _look_again(self) -> None:
        """Who leads now; a topic that is gone ends the session."""
        for topic in self._topics:
            try:
                self._topics[topic] = await self._link.topic(topic)
            except Unreached:
                return

    async def _place(self, places: list[Place], known: dict[Place, int]) -> None:
        """Begin where we were; what is gone from there on is named in a gap."""
        first = await bounds(self._link, self._topics, places, EARLIEST)
        last = await bounds(self._link, self._topics, places, LATEST)
        for place in places:
            offset = known.get(place)
            if offset is None:
                self._next[place] = first[place]
                continue
            self._next[place] = offset
            if offset < first[place]:
                self._next[place] = first[place]
                self._gap(place, "records deleted before we read them", first[place] - offset)
            elif offset > last[place]:
                self._next[place] = first[place]
                self._gap(place, "topic made anew", None)

    def _gap(self, place: Place, cause: str, lost: int | None) -> None:
        gap = Gap((self._shown(place),), None, None, cause, lost)
        self._hand_out(Batch.empty(gaps=(gap,)), {place: self._next[place]})

    # Making batches.

    def _take(self, fetched: Fetched) -> None:
        place = fetched.place
        wanted, batch = self._next[place], Batch.empty()
        for chunk in chunks(fetched.raw, fetched.aborted, bytes_max=self._settings.unpacked_bytes_max):
            if chunk.mendable:
                raise Unavailable(
                    f"{self._link.who}: {self._shown(place)}: records {chunk.problem}; install it and start again",
                    retry_after_seconds=60.0,
                )
            self._read(place, chunk, wanted, batch)
            self._next[place] = max(self._next[place], chunk.after)
            if len(batch) >= BATCH_SAMPLES:
                self._hand_out(batch, {place: self._next[place]})
                batch = Batch.empty()
        if self._next[place] == wanted and fetched.raw:
            raise Unavailable(f"{self._link.who}: {self._shown(place)} gives less than a batch at offset {wanted}")
        if batch.tags or batch.gaps:
            self._hand_out(batch, {place: self._next[place]})
        elif self._next[place] > wanted and self._owed:  # nothing usable came: told with what came before
            self._owed[-1][1][place] = self._next[place]

    def _read(self, place: Place, chunk: Chunk, wanted: int, batch: Batch) -> None:
        route = self._routes[place[0]]
        if chunk.problem and chunk.after > wanted:
            self._trouble(
                "unreadable", self._shown(place), f"offsets {chunk.first} to {chunk.after - 1}: {chunk.problem}"
            )
            batch.gaps = (*batch.gaps, Gap((self._shown(place),), None, None, "records unreadable", chunk.lost))
        for record in chunk.records:
            if record.offset < wanted:
                continue
            tag = route.tag(place[1], record.key)
            if tag is None:
                self._trouble("unroutable", self._shown(place), f"key {record.key!r:.100}: no tag can be made of it")
                continue
            stamp = route.stamp(record.timestamp, record.timestamp_type)
            if record.value is None:
                self._standing.count("tombstones")
                if route.subscribe.payload is not Payload.PLANTGATE:
                    append(batch, tag, None, BAD_NO_DATA, stamp)
            elif not route.read(batch, tag, record.value, GOOD, stamp):
                self._trouble("undecodable", tag, f"offset {record.offset}: not {route.subscribe.payload.value}")

    def _hand_out(self, batch: Batch, offsets: dict[Place, int]) -> None:
        batch.received = self._context.clock.now()
        if wrong := doubt_clock(batch.times, batch.qualities, batch.received):
            self._standing.count("clocks_ahead", wrong)
        self._number += 1
        batch.cursor = str(self._number)
        self._owed.append((self._number, offsets))
        self._ready.append(batch)
        self._standing.live = len(self._routes)

    def _shown(self, place: Place) -> str:
        return f"{place[0]}/{place[1]}"

    def _trouble(self, counter: str, what: str, words: str) -> None:
        self._standing.count(counter)
        if what not in self._complained and len(self._complained) < _COMPLAINTS_MOST:
            self._complained.add(what)
            self._context.log.warning("records not usable, counted and passed over", topic=what, reason=words)
