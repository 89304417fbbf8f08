"""Samples from JSON lines, wide or long; a line that cannot be a sample of ours may be a gap record of ours."""

from abc import ABC, abstractmethod
from typing import Final

from plantgate.sdk import Gap
from plantgate.sdk.quality import BAD_NO_DATA, GOOD
from plantgate_connectors.files.cells import labelled, native, of_kind, parsed, quality_of
from plantgate_connectors.files.lines import Record
from plantgate_connectors.files.rows import RowTimes, Samples, tag_of, text_of
from plantgate_connectors.files.settings import Empty, Kind, Read
from plantgate_connectors.files.times import Moment, time_reader

_ISO: Final = time_reader("iso", "UTC")


class _Json(ABC):
    def __init__(self, settings: Read) -> None:
        self._settings = settings
        self._times = RowTimes(settings)
        self._holding = settings.holding

    def read(self, record: Record, samples: Samples) -> None:
        """Add the line's samples. Raises `ValueError` when it is not a JSON object, or has no time."""
        text = text_of(self._settings, record)
        if not text or text.isspace():
            return
        row = parsed(text)
        if not isinstance(row, dict):
            raise ValueError("it is not a JSON object")
        self._read_row(row, record, samples)

    def _moment(self, row: dict[str, object], record: Record) -> Moment | None:
        name = self._settings.time_column
        if name is None:
            return None
        if name not in row:
            raise ValueError(f"no key {name!r}")
        return None if row[name] is None else self._times.of(row[name], record)

    def _put(self, tag: str, cell: object, quality: int, kind: Kind, moment: Moment | None, samples: Samples) -> None:
        try:
            if cell is not None:
                samples.put(tag, of_kind(native(cell), kind), quality, moment)
            elif quality != GOOD:
                samples.put(tag, None, quality, moment)
            elif self._settings.empty is Empty.BAD:
                samples.put(tag, None, BAD_NO_DATA, moment)
        except ValueError as error:
            samples.bad(tag, error, moment)

    @abstractmethod
    def _read_row(self, row: dict[str, object], record: Record, samples: Samples) -> None: ...


class WideJson(_Json):
    """A key for each tag; without `columns` every key but the time is one."""

    def _read_row(self, row: dict[str, object], record: Record, samples: Samples) -> None:
        settings = self._settings
        moment = self._moment(row, record)
        names = settings.columns or {name: tag_of(settings, name) for name in row if name != settings.time_column}
        for name, column in names.items():
            if name in row:
                tag, kind = (column, settings.holding) if isinstance(column, str) else (column.tag, column.kind)
                self._put(tag, row[name], GOOD, kind, moment, samples)


class LongJson(_Json):
    """An object for each sample; what this connector writes is read back exactly, gaps included."""

    def _read_row(self, row: dict[str, object], record: Record, samples: Samples) -> None:
        settings = self._settings
        if "gap" in row and settings.tag_column not in row:
            samples.gaps.append(_gap(row["gap"]))
            return
        for name in (settings.tag_column, settings.value_column):
            if name not in row:
                raise ValueError(f"no key {name!r}")
        moment = self._moment(row, record)
        tag, cell = tag_of(settings, row[settings.tag_column]), row[settings.value_column]
        label = row.get(settings.kind_column) if settings.kind_column is not None else None
        try:
            quality = quality_of(row.get(settings.quality_column)) if settings.quality_column is not None else GOOD
            if label == "none":
                samples.put(tag, None, quality, moment)
                return
            value = native(cell) if label is None else labelled(cell, str(label), settings.decimal)
        except ValueError as error:
            samples.bad(tag, error, moment)
            return
        if isinstance(value, bytes):
            samples.put(tag, value, quality, moment)
        else:
            self._put(tag, value, quality, self._holding, moment, samples)


def _gap(written: object) -> Gap:
    """A gap record as the sink writes it."""
    if not isinstance(written, dict):
        raise ValueError("gap is not an object")
    tags, lost, recovered = written.get("tags"), written.get("lost"), written.get("recovered", 0)
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError("gap: tags is not a list of names")
    if not (lost is None or _count(lost)) or not _count(recovered):
        raise ValueError("gap: lost and recovered are counts")
    since, until = (None if written.get(end) is None else _ISO(written[end]).time for end in ("since", "until"))
    return Gap(tuple(tags), since, until, str(written.get("cause", ""))[:200], lost, recovered)


def _count(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0
