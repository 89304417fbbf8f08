"""What is known of one polled URL, from one look to the next: whether it answers, and what was missed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from plantgate.sdk import Batch, Gap
from plantgate.sdk.quality import BAD_DECODING
from plantgate_connectors.http.settings import Poll
from plantgate_connectors.payloads.words import Payload

BAD_NO_COMMUNICATION: Final = 0x8031_0000
"""Communication with the data source is defined, but not established (OPC 10000-4, 7.39)."""
_NOT_RUNNING: Final = "gateway was not running"
_TAGS_MOST: Final = 10_000
"""A gap names at most this many tags."""


@dataclass(slots=True)
class Watched:
    """One URL. Outlives sessions, so that what one of them missed is told by the next."""

    poll: Poll
    offer: Callable[[Batch], bool]
    """Takes a batch; False if there is no room for it."""
    failing: str = ""
    """Why it does not answer as it should; empty while it does."""
    _tags: tuple[str, ...] = ()
    """Its tags: as written, or as last seen."""
    _told: int | None = None
    """The bad quality its tags have been given."""
    _missed: int = 0
    """Looks that gave nothing since the last one that did."""
    _cause: str = ""
    _last: int | None = None
    """Newest source time seen."""
    _body: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self._named:
            self._tags = tuple(self.poll.values) or (self.poll.tag or "",)

    def saw(self, body: bytes, batch: Batch) -> bool:
        """It answered, with these samples. False if there was no room: the whole has to be asked for again."""
        self.failing, self._told = "", None
        known = [time for time in batch.times if time is not None]
        if body == self._body and len(known) == len(batch):
            return True  # the same readings as before, by their own times
        if not self._named and batch.tags:
            self._tags = tuple(dict.fromkeys(batch.tags))[:_TAGS_MOST]
        if self._missed:
            batch.gaps = (self._gap(min(known, default=None)), *batch.gaps)
        if not (batch.tags or batch.gaps):
            return True
        if not self.offer(batch):
            self.missed("outbox did not keep up")
            return False
        self._missed = 0
        self._body = body
        newest = max(known, default=None)
        if newest is not None and (self._last is None or newest > self._last):
            self._last = newest
        return True

    def unchanged(self) -> None:
        """It answered that nothing has changed."""
        self.failing = ""

    def missed(self, cause: str, looks: int = 1) -> None:
        """So many looks were not made, or what they gave could not be kept."""
        self._missed += looks
        self._cause = cause
        self._body = None

    def failed(self, reason: str, *, unreadable: bool = False) -> None:
        """It did not answer, or not with what it should have. Its tags are bad from now on, which is said once."""
        self.failing = reason
        self.missed("unreadable answer" if unreadable else "poll failed")
        quality = BAD_DECODING if unreadable else BAD_NO_COMMUNICATION
        count = len(self._tags)
        if self._told == quality:
            return
        bad = Batch(list(self._tags), [None] * count, [quality] * count, [None] * count)
        if not count:  # nothing was ever seen there, so nobody knows its tags
            bad.gaps = (self._gap(None),)
        if self.offer(bad):
            self._told = quality

    def not_running(self) -> None:
        """The gateway has run before and was away since."""
        self._missed, self._cause = max(1, self._missed), _NOT_RUNNING

    @property
    def _named(self) -> bool:
        """Whether the plant file names its tags."""
        return self.poll.payload not in (Payload.FIELDS, Payload.PLANTGATE)

    def _gap(self, until: int | None) -> Gap:
        countable = self._named and self._cause != _NOT_RUNNING
        lost = self._missed * len(self._tags) if countable else None
        return Gap(self._tags or (self.poll.tag or self.poll.url,), self._last, until, self._cause, lost)
