"""Reads files batch by batch, on one thread: which file next, what is new in it, and what cannot be read."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from plantgate.sdk import Batch, Context, Gap, Unavailable
from plantgate.sdk.plausible import doubt_clock
from plantgate_connectors.files.found import matching, renamed
from plantgate_connectors.files.lines import START, Cut, Place, Record, cut
from plantgate_connectors.files.positions import Position, Positions
from plantgate_connectors.files.refused import Refusal, SetAside
from plantgate_connectors.files.rows import Rows, Samples, needs_header, rows_of
from plantgate_connectors.files.settings import Format, Read

_QUIET_NS: Final = 5_000_000_000
"""A rotated file nobody has written to for this long will not get the rest of its last line."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """What a file's beginning says about the rest."""

    inode: int
    rows: Rows
    start: Place


class Reader:
    """Blocking; every method is called on the same thread. A new one begins at what was acknowledged."""

    def __init__(self, settings: Read, context: Context) -> None:
        self._settings, self._context = settings, context
        self._positions = Positions(context.folder / "positions")
        self._set_aside = SetAside(context.folder / "refused.jsonl")
        self._at: dict[str, Position] = {position.path: position for position in self._positions.all()}
        self._layouts: dict[str, _Layout] = {}
        self._unreadable: dict[str, tuple[int, bytes]] = {}
        self._gaps: dict[str, str] = {}
        self._last_times: dict[str, int] = {}
        self._tags: set[str] = set()
        self._current: Path | None = None
        self._told: set[tuple[str, str]] = set()
        self.more = False
        """After `next_batch` gave None: True if it only paused in lines that gave nothing."""

    def files(self) -> tuple[Path, ...]:
        """The files the path stands for now, in the order they are read."""
        return matching(self._settings.path)

    def next_batch(self, most: int) -> Batch | None:
        """Up to `most` rows of one file, or None if there is nothing new. Raises `Unavailable` for an I/O error."""
        self.more = False
        try:
            for path in self._in_order():
                batch = self._read_file(path, most)
                if batch is not None or self.more:
                    self._current = path
                    return batch
        except OSError as error:
            file = error.filename or self._settings.path
            raise Unavailable(f"{self._context.connection}: cannot read {file}: {error.strerror or error}") from error
        self._current = None
        return None

    def settle(self, cursor: str) -> None:
        """Everything up to this cursor need never be read again. Durable on return."""
        position = Position.of(cursor)
        now = self._at.get(position.path)
        if now is None or now.inode != position.inode:  # renamed since it was read
            moved = next((other for other in self._at.values() if other.inode == position.inode), None)
            if moved is not None:
                position = replace(position, path=moved.path, was=moved.was)
        try:
            self._positions.keep(position)
        except OSError as error:
            raise Unavailable(f"{self._context.connection}: cannot keep its position: {error}") from error

    def _in_order(self) -> Iterator[Path]:
        """The file it is in the middle of; then what was rotated away before its end, and the files there are."""
        if self._current is not None and _inode(self._current) == self._at[str(self._current)].inode:
            yield self._current
        self._follow_renames()
        yield from self._all()

    def _all(self) -> list[Path]:
        files = self.files()
        rotated = [
            Path(position.path)
            for position in self._at.values()
            if position.was and Path(position.path) not in files and self._is_ours(Path(position.was), files)
        ]
        return [*sorted(rotated), *files]

    def _is_ours(self, was: Path, files: tuple[Path, ...]) -> bool:
        return was in files or was == self._settings.path or was.match(str(self._settings.path))

    def _follow_renames(self) -> None:
        """Positions go with their files: `a.csv` became `a.csv.1`, and the `a.csv.1` before it became `a.csv.2`."""
        moves = renamed(self._at.values())
        while moves:
            old = next((old for old, new in moves.items() if new not in moves), next(iter(moves)))
            self._rename(old, moves.pop(old))

    def _rename(self, old: str, new: str) -> None:
        position = self._at.pop(old)
        position = replace(position, path=new, was=position.was or old)
        acknowledged = self._positions.get(old)
        if acknowledged is None or acknowledged.inode != position.inode:
            acknowledged = Position(old, inode=position.inode)
        self._positions.keep(replace(acknowledged, path=new, was=position.was))
        self._positions.forget(old)
        self._at[new] = position
        self._layouts.pop(new, None)
        if (layout := self._layouts.pop(old, None)) is not None:
            self._layouts[new] = layout

    def _read_file(self, path: Path, most: int) -> Batch | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            position = self._position(path, fd)
            if os.fstat(fd).st_size <= position.place.offset:
                return None
            layout = self._layout(path, fd)
            return None if layout is None else self._read_open(position, layout, fd, most)
        finally:
            os.close(fd)

    def _position(self, path: Path, fd: int) -> Position:
        """Where to go on; from the start, after a gap, where the file is not the one that was read before."""
        name = str(path)
        position = self._at.get(name)
        if position is not None and not position.is_in(fd):
            same = position.inode == os.fstat(fd).st_ino
            self._gaps[name] = "file truncated" if same else "file replaced"
            self._context.log.warning(f"{self._gaps[name]}: read from its start", file=name)
            self._layouts.pop(name, None)
            position = None
        if position is None:
            position = Position(name, inode=os.fstat(fd).st_ino)
        self._at[name] = position
        return position

    def _layout(self, path: Path, fd: int) -> _Layout | None:
        name, inode = str(path), os.fstat(fd).st_ino
        known = self._layouts.get(name)
        if known is not None and known.inode == inode:
            return known
        settings = self._settings
        head = self._cut(fd, START, 1, finished=not settings.follow)
        header = head.records[0] if head.records else None
        if header is None and needs_header(settings) and settings.follow:
            return None  # not there yet
        if header is not None and self._unreadable.get(name) == (inode, header.raw):
            return None
        try:
            if header is not None and header.fault and needs_header(settings):
                raise ValueError(f"its first line is {header.fault}")
            rows = rows_of(settings, header)
        except ValueError as error:
            first = header or Record(1, 0, b"")
            self._unreadable[name] = (inode, first.raw)
            self._refuse([Refusal(name, 1, 0, f"the file cannot be read: {error}", first.raw)], "refused_files")
            return None
        layout = _Layout(inode, rows, head.place if needs_header(settings) else START)
        self._layouts[name] = layout
        return layout

    def _read_open(self, position: Position, layout: _Layout, fd: int, most: int) -> Batch | None:
        samples, refusals = Samples(), list[Refusal]()
        place = max(position.place, layout.start)
        found = self._cut(fd, place, most, finished=self._is_finished(position, fd))
        for record in found.records:
            self._read_record(position.path, record, layout.rows, samples, refusals)
        if refusals:
            self._refuse(refusals, "refused_lines")
        moved = position.moved(found.place, fd)
        self._at[position.path] = moved
        if not samples.tags and not samples.gaps:
            self.more = not found.at_end
            return None
        return self._batch(moved, samples)

    def _read_record(self, name: str, record: Record, rows: Rows, samples: Samples, refusals: list[Refusal]) -> None:
        reason = record.fault
        if not reason:
            faults = len(samples.faults)
            try:
                rows.read(record, samples)
            except ValueError as error:
                reason = str(error)
            for fault in samples.faults[faults:]:
                self._context.standing.count("unreadable_cells")
                self._tell_once(
                    "cell", name, "cells cannot be read, samples without value", f"{name}:{record.line}", fault
                )
        if reason:
            refusals.append(Refusal(name, record.line, record.offset, reason, record.raw))

    def _batch(self, position: Position, samples: Samples) -> Batch:
        name = position.path
        now = self._context.clock.now()
        doubt_clock(samples.times, samples.qualities, now)
        gaps = tuple(samples.gaps)
        times = [time for time in samples.times if time is not None]
        if (cause := self._gaps.pop(name, None)) is not None:
            tags = tuple(dict.fromkeys(samples.tags))
            gap = Gap(tags, self._last_times.get(name), min(times, default=None), cause, lost=None)
            gaps = (gap, *gaps)
        if times:
            self._last_times[name] = max(times)
        self._tags.update(samples.tags)
        standing = self._context.standing
        standing.live = standing.monitored = len(self._tags)
        standing.desired = max(len(self._settings.columns), len(self._tags))
        return Batch(
            samples.tags,
            samples.values,
            samples.qualities,
            samples.times,
            cursor=position.cursor(),
            gaps=gaps,
            received=now,
        )

    def _is_finished(self, position: Position, fd: int) -> bool:
        """True if the last line counts even without a line end."""
        if not self._settings.follow:
            return True
        return bool(position.was) and self._context.clock.now() - os.fstat(fd).st_mtime_ns > _QUIET_NS

    def _cut(self, fd: int, place: Place, most: int, *, finished: bool) -> Cut:
        settings = self._settings
        quoted = settings.reading is Format.CSV
        return cut(fd, place, most=most, line_most=settings.line_bytes_max, quoted=quoted, finished=finished)

    def _refuse(self, refusals: list[Refusal], counter: str) -> None:
        self._set_aside.put(refusals)
        self._context.standing.count(counter, len(refusals))
        for refusal in refusals:
            where = f"{refusal.file}:{refusal.line}"
            self._tell_once(
                counter, refusal.file, f"refused, set aside in {self._set_aside.path}", where, refusal.reason
            )

    def _tell_once(self, what: str, name: str, event: str, where: str, reason: str) -> None:
        """One log line for each file and kind of fault; the counters have the rest."""
        if (what, name) not in self._told:
            self._told.add((what, name))
            self._context.log.warning(event, where=where, reason=reason)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return -1
