"""The outbox's promises as properties over seeds, and proof that each can fail."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from plantgate.store.cursor import Saved
from plantgate.store.destination import Destination
from plantgate.store.loss import Loss
from plantgate.testing.disk import SimulatedFile

from .outbox_world import World


def test_whatever_happens_nothing_accepted_is_lost_unnamed() -> None:
    for seed in range(120):
        World(seed).run()


def test_without_crashes_every_figure_is_exact() -> None:
    for seed in range(60):
        World(seed, exact=True).run()


def _store_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    sync = SimulatedFile.datasync

    def datasync(self: SimulatedFile) -> None:
        if self._path.suffix != ".segment":
            sync(self)

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


@pytest.mark.parametrize(
    "break_it",
    [_store_before_the_sync, _save_the_cursor_ahead_of_the_ack, _drop_without_counting, _drop_without_telling],
)
def test_the_promise_notices(break_it: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    break_it(monkeypatch)
    caught = 0
    for seed in range(40):
        try:
            World(seed).run()
        except Exception:  # any broken promise, in whichever wrapping
            caught += 1
    assert caught
