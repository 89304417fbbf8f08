"""Writes batches to a row of files, each sample once, whatever is repeated."""

import fcntl
import json
import os
import re
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from plantgate.sdk import Batch, Context, Unavailable
from plantgate_connectors.files.appended import Appended
from plantgate_connectors.files.numbers import Numbers
from plantgate_connectors.files.settings import Format, Rotate, Write
from plantgate_connectors.files.written import CSV_HEADER, csv_rows, gap_lines, json_lines, marks

_GAPS_REMEMBERED: Final = 1000
_ENDINGS: Final = {Format.CSV: ".csv", Format.JSON_LINES: ".jsonl"}
_PERIODS: Final = {Rotate.NEVER: "", Rotate.DAILY: "%Y%m%d", Rotate.HOURLY: "%Y%m%dT%H"}


class Writer:
    """Blocking; after its making every method is called on the same thread."""

    def __init__(self, settings: Write, context: Context) -> None:
        self._settings, self._context = settings, context
        self._csv = settings.format is Format.CSV
        self._ending = _ENDINGS[settings.format]
        self._numbers = Numbers()
        self._through = 0
        """Files up to this number are accounted for in what was kept."""
        self._gaps: deque[str] = deque(maxlen=_GAPS_REMEMBERED)
        self._current: Appended | None = None
        self._gap_file: Appended | None = None
        self._kept = context.folder / "written.json"
        self._lock: IO[bytes] | None = None

    def open(self) -> None:
        """Find out what the files hold already.

        Raises `OSError`, or `Unavailable` where another flow writes under the same name.
        """
        self._settings.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._alone()
        self._recall()

    def write(self, batch: Batch) -> None:
        """On disk on return; what the files have already is passed over. Raises `OSError`, or `Rejected`."""
        gaps = [line for line in gap_lines(batch) if not batch.origin or line not in self._gaps]
        begin, end = batch.position, batch.position + len(batch)
        new = list(self._numbers.missing(batch.origin, begin, end)) if batch.origin else [(begin, end)]
        written = csv_rows if self._csv else json_lines
        lines = "".join(line for start, stop in new for line in written(batch, start - begin, stop - begin)).encode()
        if gaps and self._csv:
            self._gaps_beside().append("".join(gaps).encode())
        elif gaps:
            lines = "".join(gaps).encode() + lines
        if lines:
            self._file().append(lines)
        self._gaps.extend(gaps)
        if batch.origin and new:
            self._numbers.add(batch.origin, begin, end)
        count = sum(stop - start for start, stop in new)
        self._context.standing.count("samples_written", count)
        self._context.standing.count("repeats_recognised", len(batch) - count)

    def close(self) -> None:
        """Write down how far the files go, and let go of them. Does nothing where nothing is open."""
        if self._lock is None:
            return
        try:
            self._keep()
        finally:
            for file in (self._current, self._gap_file):
                if file is not None:
                    file.close()
            self._current = self._gap_file = None
            self._lock.close()
            self._lock = None

    def _alone(self) -> IO[bytes]:
        lock = (self._settings.folder / f".{self._settings.name}.lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise Unavailable(
                f"{self._context.connection}: another flow writes {self._settings.name} in {self._settings.folder}; "
                "give each its own name or folder"
            ) from error
        return lock

    def _recall(self) -> None:
        """From what was written down when a file was ended, and from the files since."""
        if self._kept.exists():
            try:
                kept = json.loads(self._kept.read_text(encoding="utf-8"))
                self._through, self._numbers = int(kept["through"]), Numbers.of(kept["numbers"])
            except (ValueError, KeyError, TypeError):
                self._context.log.warning("unreadable, going by the files alone", file=str(self._kept))
        for number, path in self._files():
            if number > self._through:
                file = self._reopen(path)
                self._learn(file, csv=self._csv)
                if self._current is not None:
                    self._current.close()
                self._current = file
        gap_file = self._gap_path()
        if self._csv and gap_file.exists():
            self._gap_file = self._reopen(gap_file)
            self._learn(self._gap_file, csv=False)

    def _reopen(self, path: Path) -> Appended:
        file, torn = Appended.reopen(path)
        if torn:
            self._context.log.warning("half a line at the end, set aside", file=str(path), bytes=torn)
        return file

    def _learn(self, file: Appended, *, csv: bool) -> None:
        for line in file.lines():
            for origin, position, is_gap in marks((line,), csv=csv):
                if is_gap:
                    self._gaps.append(line.decode())
                else:
                    self._numbers.add(origin, position, position + 1)

    def _file(self) -> Appended:
        if self._current is not None and not self._current.is_there():
            self._context.log.warning(
                "moved or deleted by someone, going on in a new file", file=str(self._current.path)
            )
            self._end_file()
        if self._current is not None and self._is_full(self._current):
            self._end_file()
        if self._current is None:
            number = max(self._through, *(number for number, _ in self._files()), 0) + 1
            stamp = self._now().strftime("%Y%m%dT%H%M%SZ")
            path = self._settings.folder / f"{self._settings.name}-{number:06d}-{stamp}{self._ending}"
            head = CSV_HEADER if self._settings.format is Format.CSV else b""
            self._current = Appended.create(path, head)
        return self._current

    def _end_file(self) -> None:
        assert self._current is not None
        self._through = int(self._current.path.name[len(self._settings.name) + 1 :].split("-")[0])
        self._keep()
        self._current.close()
        self._current = None

    def _is_full(self, file: Appended) -> bool:
        if file.size >= self._settings.file_bytes_max:
            return True
        period = self._now().strftime(_PERIODS[self._settings.rotate])
        return not file.path.name.rsplit("-", 1)[1].startswith(period)

    def _files(self) -> list[tuple[int, Path]]:
        """By number."""
        name = re.compile(rf"{re.escape(self._settings.name)}-(\d{{6,}})-\d{{8}}T\d{{6}}Z{re.escape(self._ending)}")
        files = self._settings.folder.iterdir()
        return sorted((int(match[1]), path) for path in files if (match := name.fullmatch(path.name)))

    def _gap_path(self) -> Path:
        return self._settings.folder / f"{self._settings.name}.gaps.jsonl"

    def _gaps_beside(self) -> Appended:
        if self._gap_file is not None and not self._gap_file.is_there():
            self._gap_file.close()
            self._gap_file = None
        if self._gap_file is None:
            self._gap_file = Appended.create(self._gap_path())
        return self._gap_file

    def _keep(self) -> None:
        """So that repeats are recognised even when someone has taken the written files away."""
        written = self._kept.with_suffix(".new")
        with written.open("w", encoding="utf-8") as file:
            json.dump({"through": self._through, "numbers": self._numbers.document()}, file)
            file.flush()
            os.fsync(file.fileno())
        written.rename(self._kept)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._context.clock.now() / 1e9, UTC)
