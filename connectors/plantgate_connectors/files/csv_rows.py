"""Samples from CSV rows, wide or long."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from plantgate.sdk.quality import BAD_NO_DATA, GOOD
from plantgate_connectors.files.cells import ReadCell, cell_reader, labelled, quality_of
from plantgate_connectors.files.lines import Record
from plantgate_connectors.files.rows import RowTimes, Samples, cells_of, tag_of, text_of
from plantgate_connectors.files.settings import Empty, Read
from plantgate_connectors.files.times import Moment


class _Csv(ABC):
    may_lack_time = False
    """A row without its time is refused, or else gives samples without a source time."""

    def __init__(self, settings: Read, names: list[str], header: bytes | None) -> None:
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two columns are named {twice!r}")
        self._settings, self._names, self._header = settings, names, header
        self._times = RowTimes(settings)
        self._time_at = None if settings.time_column is None else self.at(settings.time_column)

    def read(self, record: Record, samples: Samples) -> None:
        """Add the row's samples. Raises `ValueError` when it has not the columns of the file, or no time."""
        if not record.raw.strip() or record.raw == self._header:
            return  # blank, or the header once more: its writer was restarted
        cells = cells_of(self._settings, text_of(self._settings, record))
        if len(cells) != len(self._names):
            raise ValueError(f"{len(cells)} cells where there are {len(self._names)} columns")
        moment = None
        if self._time_at is not None and (cells[self._time_at] or not self.may_lack_time):
            moment = self._times.of(cells[self._time_at], record, sure=False)
        self._fill(cells, moment, samples)

    def at(self, name: str) -> int:
        """Index of a column that must be there."""
        try:
            return self._names.index(name)
        except ValueError:
            have = ", ".join(map(repr, self._names[:20]))
            raise ValueError(f"no column {name!r}; the file has {have}") from None

    def maybe_at(self, name: str | None) -> int | None:
        """Index of a column that need not be there."""
        return self._names.index(name) if name in self._names else None

    @abstractmethod
    def _fill(self, cells: Sequence[str], moment: Moment | None, samples: Samples) -> None: ...


class WideCsv(_Csv):
    """A column for each tag."""

    def __init__(self, settings: Read, names: list[str], header: bytes | None) -> None:
        super().__init__(settings, names, header)
        self._bad_if_empty = settings.empty is Empty.BAD
        self._columns: list[tuple[int, str, ReadCell]] = []
        for name in settings.columns or [name for name in names if name and name != settings.time_column]:
            column = settings.columns.get(name) or tag_of(settings, name)
            tag, kind = (column, settings.holding) if isinstance(column, str) else (column.tag, column.kind)
            self._columns.append((self.at(name), tag, cell_reader(kind, settings.decimal)))

    def _fill(self, cells: Sequence[str], moment: Moment | None, samples: Samples) -> None:
        for index, tag, read in self._columns:
            cell = cells[index]
            if not cell or cell.isspace():
                if self._bad_if_empty:
                    samples.put(tag, None, BAD_NO_DATA, moment)
                continue
            try:
                value = read(cell)
            except ValueError as error:
                samples.bad(tag, error, moment)
            else:
                samples.put(tag, value, GOOD, moment)


class LongCsv(_Csv):
    """A row for each sample; an empty time says that its device gave none."""

    may_lack_time = True

    def __init__(self, settings: Read, names: list[str], header: bytes | None) -> None:
        super().__init__(settings, names, header)
        self._tag_at, self._value_at = self.at(settings.tag_column), self.at(settings.value_column)
        self._quality_at, self._kind_at = self.maybe_at(settings.quality_column), self.maybe_at(settings.kind_column)
        self._read_cell = cell_reader(settings.holding, settings.decimal)

    def _fill(self, cells: Sequence[str], moment: Moment | None, samples: Samples) -> None:
        tag, cell = tag_of(self._settings, cells[self._tag_at]), cells[self._value_at]
        label = "" if self._kind_at is None else cells[self._kind_at].strip()
        try:
            quality = GOOD if self._quality_at is None else quality_of(cells[self._quality_at])
            if label == "none" or (not cell and not label and quality != GOOD):
                samples.put(tag, None, quality, moment)
            elif label:
                samples.put(tag, labelled(cell, label, self._settings.decimal), quality, moment)
            elif cell:
                samples.put(tag, self._read_cell(cell), quality, moment)
            elif self._settings.empty is Empty.BAD:
                samples.put(tag, None, BAD_NO_DATA, moment)
        except ValueError as error:
            samples.bad(tag, error, moment)
