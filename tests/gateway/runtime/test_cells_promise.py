"""Cells change none of the promises, whenever one is killed or stands still; and each promise is seen to fail."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from plantgate.runtime.cells import hosted
from plantgate.runtime.cells.link import Session
from plantgate.runtime.cells.messages import Done, Given, Take
from plantgate.runtime.cells.wire import unpacked
from plantgate.sdk import Batch, Sink, Source
from plantgate.store.limits import WhenFull
from plantgate.testing.simloop import simulate
from tests.gateway.runtime.celled import CelledGateway
from tests.journeys.telemetry import Journey, travel
from tests.journeys.test_telemetry import ROOMY, TIGHT, holds, notices


async def celled(**options: object) -> Journey:
    return await travel(living_in=CelledGateway, **{"limits": ROOMY, **options})  # type: ignore[arg-type]


@pytest.mark.simulated(seeds=40)
async def test_nothing_is_lost_after_acceptance() -> None:
    holds(await celled())


@pytest.mark.simulated(seeds=15)
async def test_what_a_device_lost_before_acceptance_is_named_with_the_right_count() -> None:
    holds(await celled(capacity=10))


@pytest.mark.simulated(seeds=10)
async def test_what_a_full_outbox_drops_is_named_with_the_right_count() -> None:
    holds(await celled(limits=replace(TIGHT, when_full=WhenFull.DROP_OLDEST), readings=400))


@pytest.mark.simulated(seeds=25)
async def test_a_batch_that_crosses_in_pieces_is_one_batch_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosted, "PIECE_BYTES_MAX", 100)
    holds(await celled())


def test_cells_are_killed_and_frozen_many_times_in_these_journeys() -> None:
    before = CelledGateway.harms
    for seed in range(10):
        simulate(celled, seed=seed)
    assert CelledGateway.harms - before > 30


# Each of these breaks one promise.


def _acknowledge_before_the_gateway_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read = hosted.HostedSession._read

    async def hasty(self: hosted.HostedSession, source: Source) -> Given:
        given = await read(self, source)
        await source.ack(given.parcel.cursor)
        return given

    monkeypatch.setattr(hosted.HostedSession, "_read", hasty)


def _acknowledge_with_the_first_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = hosted.HostedSession._cut

    def careless(self: hosted.HostedSession, batch: Batch) -> list[Given]:
        pieces = cut(self, batch)
        for piece in pieces:
            piece.whole, piece.parcel.cursor = True, batch.cursor
        return pieces

    monkeypatch.setattr(hosted, "PIECE_BYTES_MAX", 100)
    monkeypatch.setattr(hosted.HostedSession, "_cut", careless)


def _confirm_before_the_far_end_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trusting(self: hosted.HostedSession, sink: Sink) -> None:
        self._say(Done(self.opened.session))
        while isinstance(order := await self.orders.get(), Take):
            self._say(Done(self.opened.session))
            await sink.accept(unpacked(order.parcel))

    monkeypatch.setattr(hosted.HostedSession, "_take", trusting)


def _call_the_end_of_a_cell_a_confirmation(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = Session.accept

    async def rosy(self: Session, batch: Batch) -> None:
        try:
            await accept(self, batch)
        except Exception:
            if not self._link.over:
                raise

    monkeypatch.setattr(Session, "accept", rosy)


@pytest.mark.parametrize(
    "break_it",
    [
        _acknowledge_before_the_gateway_has_it,
        _acknowledge_with_the_first_piece,
        _confirm_before_the_far_end_has_it,
        _call_the_end_of_a_cell_a_confirmation,
    ],
)
def test_a_loss_is_noticed(break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch)
    notices(celled, "are missing, 0 named")


def test_another_order_of_pieces_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = hosted.HostedSession._cut

    def swapped(self: hosted.HostedSession, batch: Batch) -> list[Given]:
        *pieces, last = cut(self, batch)
        if pieces:
            pieces[0].parcel.content, last.parcel.content = last.parcel.content, pieces[0].parcel.content
        return [*pieces, last]

    monkeypatch.setattr(hosted, "PIECE_BYTES_MAX", 100)
    monkeypatch.setattr(hosted.HostedSession, "_cut", swapped)
    notices(celled, "arrived after number")
