"""Finds an outbox's destinations on disk, and brings them into line with what its journal still holds. Blocking."""

from dataclasses import dataclass, field
from pathlib import Path

from plantgate.sdk.sample import Gap
from plantgate.store.cursor import CursorFile, CursorLost, Saved, names
from plantgate.store.destination import Destination
from plantgate.store.disk import Disk, Lock
from plantgate.store.limits import Join
from plantgate.store.loss import DAMAGED
from plantgate.store.reader import JournalWalk
from plantgate.store.record import START, Position


@dataclass(slots=True)
class Restored:
    """What was found, under a lock."""

    lock: Lock
    destinations: dict[str, Destination] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    """Destinations whose cursor cannot be read."""
    sentences: list[str] = field(default_factory=list)
    """What was wrong, for the log."""

    @property
    def floor(self) -> Position:
        """The journal is known to have reached this."""
        return max((destination.position for destination in self.destinations.values()), default=START)


def folder(directory: Path) -> Path:
    """Where cursors live."""
    return directory / "destinations"


def restore(disk: Disk, directory: Path) -> Restored:
    """Lock an outbox's directory, made if missing, and load its cursors. Raises `InUse`, `OSError`."""
    disk.make_directory(folder(directory))
    restored = Restored(disk.lock(directory))
    try:
        for name in names(disk, folder(directory)):
            try:
                file, saved = CursorFile.load(disk, folder(directory), name)
            except CursorLost as error:
                restored.lost.append(name)
                restored.sentences.append(f"{error}; it begins again with the oldest record, so some may come twice")
                continue
            restored.destinations[name] = Destination.restored(name, file, saved)
    except BaseException:
        restored.lock.release()
        raise
    return restored


def begin_destination(
    disk: Disk, directory: Path, name: str, join: Join, oldest: Position, end: Position
) -> Destination:
    """A new destination, durable."""
    position = oldest if join is Join.OLDEST else end
    saved = Saved(position, joined=position.weight)
    return Destination.restored(name, CursorFile.create(disk, folder(directory), name, saved), saved)


def fit(destination: Destination, walk: JournalWalk, oldest: Position, end: Position) -> None:
    """Count what is missing before the oldest record, and find out how old the queue is."""
    if destination.position.sequence < oldest.sequence:
        missing = oldest.weight - destination.position.weight
        destination.dropped += missing
        destination.position = oldest
        destination.owe([Gap((), None, None, DAMAGED, missing)])
        destination.begin_session()
    if destination.position.sequence < end.sequence:
        found = walk.read(destination.position.sequence, 1)
        if isinstance(found, list) and found:
            destination.oldest = found[0].time
