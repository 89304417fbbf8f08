"""Turns the records of one file into samples, by the columns the operator named."""

import csv
from dataclasses import dataclass, field
from typing import Final, Protocol

from plantgate.sdk import Gap, Value
from plantgate.sdk.quality import BAD_DECODING, GOOD, UNCERTAIN
from plantgate_connectors.files.lines import Record
from plantgate_connectors.files.settings import Format, Layout, Read
from plantgate_connectors.files.times import Moment, time_reader

_BOM: Final = b"\xef\xbb\xbf"
_WIDE_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")
TAG_MOST: Final = 1024
"""Longest tag name a file may bring, in characters."""


@dataclass(slots=True)
class Samples:
    """Columns that grow as rows are read."""

    tags: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    qualities: list[int] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Why cells became bad samples, for the log."""

    def put(self, tag: str, value: Value, quality: int, moment: Moment | None) -> None:
        """One sample; a time that is not sure makes a good one uncertain."""
        if moment is not None and not moment.sure and quality == GOOD:
            quality = UNCERTAIN
        self.tags.append(tag)
        self.values.append(value)
        self.qualities.append(quality)
        self.times.append(None if moment is None else moment.time)

    def bad(self, tag: str, fault: object, moment: Moment | None) -> None:
        """A cell that could not be read: the tag, its time, no value."""
        self.faults.append(f"{tag}: {fault}")
        self.put(tag, None, BAD_DECODING, moment)


class Rows(Protocol):
    """Reads the records of one file."""

    def read(self, record: Record, samples: Samples) -> None:
        """Add the record's samples, if it has any. Raises `ValueError` when the whole record cannot be read."""
        ...


def rows_of(settings: Read, header: Record | None) -> Rows:
    """A reader for one file; `header` is its first record, where the columns' names may stand.

    Raises `ValueError` when the file lacks a column that the settings name, or is no text of a byte per character.
    """
    if header is not None and header.offset == 0 and header.raw.startswith(_WIDE_BOMS):
        raise ValueError("it is UTF-16; save it as UTF-8")
    if settings.reading is Format.JSON_LINES:
        from plantgate_connectors.files.json_rows import LongJson, WideJson  # the two modules need this one

        return WideJson(settings) if settings.placing is Layout.WIDE else LongJson(settings)
    from plantgate_connectors.files.csv_rows import LongCsv, WideCsv

    first = None
    if settings.names:
        names = list(settings.names)
    elif header is None:
        raise ValueError("it is empty where the names of its columns should be")
    else:
        names, first = [name.strip() for name in cells_of(settings, text_of(settings, header))], header.raw
    return (WideCsv if settings.placing is Layout.WIDE else LongCsv)(settings, names, first)


def needs_header(settings: Read) -> bool:
    """True where a file's first record names its columns."""
    return settings.reading is Format.CSV and not settings.names


def text_of(settings: Read, record: Record) -> str:
    """A record's text, without byte order mark. Raises `ValueError` where it is not the encoding it should be."""
    raw = record.raw.removeprefix(_BOM) if record.offset == 0 else record.raw
    try:
        text = raw.decode(settings.encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} of the line is not {settings.encoding}") from error
    if "\0" in text:
        raise ValueError("it holds a NUL byte")
    return text


def cells_of(settings: Read, text: str) -> list[str]:
    """A CSV row's cells. Raises `ValueError` for quotes that do not fit."""
    try:
        return next(csv.reader([text], delimiter=settings.delimiter, strict=True), [])
    except csv.Error as error:
        raise ValueError(f"not a CSV row: {error}") from error


def tag_of(settings: Read, name: object) -> str:
    """A tag that the file names itself. Raises `ValueError` for what cannot be a tag."""
    if not isinstance(name, str) or not name.strip():
        raise ValueError("it names no tag")
    tag = settings.prefix + name.strip()
    if len(tag) > TAG_MOST:
        raise ValueError(f"a tag name of {len(tag)} characters; at most {TAG_MOST}")
    if not tag.isprintable():
        raise ValueError(f"the tag name {name[:60]!r} holds control characters")
    return tag


class RowTimes:
    """The time of a row, from its time column."""

    def __init__(self, settings: Read) -> None:
        self._read = time_reader(settings.time_format, settings.time_zone)

    def of(self, cell: object, record: Record, *, sure: bool = True) -> Moment:
        """Not sure for the last line of a file that does not end in a line end: it may be half of one."""
        try:
            moment = self._read(cell)
        except OverflowError as error:
            raise ValueError(f"time {str(cell)[:40]!r} lies outside the years 1 to 9999") from error
        return moment if sure or record.ended else Moment(moment.time, sure=False)
