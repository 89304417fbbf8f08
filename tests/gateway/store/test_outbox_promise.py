"""The outbox's promises as properties over seeds, and proof that each can fail."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from plantgate.store.cursor import Saved
from plantgate.store.destination import Destination
from plantgate.store.loss import Loss
from plantgate.testing.disk import SimulatedFile
from tests.gateway.store.outbox_world import World


@pytest.mark.simulated(seeds=25)
def test_whatever_happens_nothing_accepted_is_lost_unnamed(seed: int) -> None:
    World(seed).run()


@pytest.mark.simulated(seeds=10)
def test_without_crashes_every_figure_is_exact(seed: int) -> None:
    World(seed, exact=True).run()


def _store_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    sync = SimulatedFile.datasync

    def datasync(self: SimulatedFile) -> None:
        if self._path.suffix != ".segment" or not any(self._node.content[1024:]):
            sync(self)  # cursors, and the making of a segment

    monkeypatch.setattr(SimulatedFile, "datasync", datasync)


def _save_the_cursor_ahead_of_the_ack(monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Destination.saved

    def saved_ahead(self: Destination) -> Saved:
        return replace(saved(self), position=self.given)

    monkeypatch.setattr(Destination, "saved", saved_ahead)


def _drop_without_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loss, "count", property(lambda _: 0, lambda _, __: None), raising=False)


def _drop_without_telling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loss, "told", lambda self: self.gaps)


def _run_seeds(count: int) -> None:
    for seed in range(count):
        World(seed).run()


@pytest.mark.parametrize(
    "break_it",
    [_store_before_the_sync, _save_the_cursor_ahead_of_the_ack, _drop_without_counting, _drop_without_telling],
)
def test_the_promise_notices(break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)) as broken:  # checked inside tasks, or at the end
        _run_seeds(40)
    assert isinstance(broken.value, AssertionError) or broken.group_contains(AssertionError)
