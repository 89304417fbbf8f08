"""What an operator writes about files to read and files to write."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from plantgate.sdk import Bytes, Settings


class Format(Enum):
    """How a line is written."""

    CSV = "csv"
    JSON_LINES = "json_lines"


class Layout(Enum):
    """Where a row keeps its tags."""

    WIDE = "wide"
    LONG = "long"


class Kind(Enum):
    """What a cell must hold."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    ANY = "any"


class Empty(Enum):
    """What an empty cell means."""

    SKIP = "skip"
    BAD = "bad"


class DecimalMark(Enum):
    """What stands between a number's whole part and its fraction."""

    POINT = "."
    COMMA = ","


class Rotate(Enum):
    """When a new file is begun, besides for its size."""

    NEVER = "never"
    DAILY = "daily"
    HOURLY = "hourly"


class Column(Settings):
    """One column of a wide file that becomes a tag."""

    tag: str = Field(min_length=1)
    """Full name of the tag; `prefix` is not put before it."""
    kind: Kind = Kind.NUMBER
    """What its cells must hold: `number`, `boolean`, `text`, or `any` (whichever of the three fits).
    A cell that holds something else gives a sample of quality BadDecodingError, never a guess."""


ENCODINGS: Final = ("utf-8", "ascii", "latin-1", "cp1250", "cp1252", "iso8859-15")
UNIX_UNITS: Final = {"unix_seconds": 10**9, "unix_ms": 10**6, "unix_us": 10**3, "unix_ns": 1}
LONG_NAMES: Final = ("tag_column", "value_column", "quality_column", "kind_column")


class Read(Settings):
    """Files to read."""

    path: Path
    """A file, or a pattern such as `./in/*.csv`; a relative one starts at the plant file.
    Several files are read one after the other in order of their names."""
    format: Format | None = None
    """`csv` or `json_lines`; without it the name decides (`.jsonl`, `.ndjson` and `.json` are JSON lines)."""
    layout: Layout | None = None
    """`wide`: a column (JSON: a key) for each tag. `long`: a row for each sample, with columns tag, value, quality
    and time. Without it CSV is wide and JSON lines are long."""
    encoding: str = "utf-8"
    """Of the text: `utf-8` (a byte order mark is skipped), `ascii`, `latin-1`, `cp1250`, `cp1252` or `iso8859-15`."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """Between the cells of a CSV row."""
    decimal: DecimalMark = DecimalMark.POINT
    """The decimal mark in CSV cells; with a comma the delimiter is usually `;`."""
    names: tuple[str, ...] = ()
    """Names of the columns of a CSV file without a header row; leave it out when the first row has the names."""
    time_column: str | None = "time"
    """The column with the device's time; `null` if there is none: the samples then have no source time."""
    time_format: str = "iso"
    """`iso` (`2016-07-01 00:00:00`, `2016-07-01T00:00:00.125Z`; to the nanosecond), `unix_seconds`, `unix_ms`,
    `unix_us`, `unix_ns`, or a strptime pattern such as `%d.%m.%Y %H:%M:%S`."""
    time_zone: str = "UTC"
    """For times that do not name their own: `UTC`, `+02:00` or a name such as `Europe/Berlin`.
    An hour that a clock change repeats is read as the first one and marked uncertain; one that it leaves out is
    refused."""
    columns: dict[str, str | Column] = Field(default_factory=dict)
    """Wide only: which columns become tags (`OT: transformer/oil_temperature`, or with a `kind`).
    Without it every column but the time becomes a numeric tag named after it."""
    prefix: str = ""
    """Put before the tags that a file names itself: `plant2/`."""
    tag_column: str = "tag"
    """Long only: the column with the tag's name."""
    value_column: str = "value"
    """Long only: the column with the value."""
    quality_column: str | None = "quality"
    """Long only: the column with the quality: a StatusCode as number (`0`, `0x80000000`) or a name (`Good`).
    A file without that column has good values; `null` says not to look for one."""
    kind_column: str | None = "kind"
    """Long only: the column that says what the value is (`number`, `boolean`, `text`), if the file has one."""
    kind: Kind | None = None
    """What cells hold where nothing else says so; `number` for wide CSV files, `any` for the others."""
    empty: Empty = Empty.SKIP
    """An empty cell gives no sample (`skip`), or one without value and of quality BadNoData (`bad`)."""
    rows_per_second: float | None = Field(default=None, gt=0, le=1_000_000)
    """Pace for replaying; without it as fast as the flow takes them."""
    follow: bool = False
    """Keep reading as files grow, are rotated and are added. Without it the flow ends at the end of the files."""
    poll_seconds: float = Field(default=0.5, gt=0, le=3600)
    """How often to look for more when following."""
    batch_rows: int = Field(default=500, ge=1, le=100_000)
    """Most rows that travel as one batch."""
    line_bytes_max: Bytes = Field(default=65536, ge=16, le=16 * 2**20)
    """A longer line is refused and set aside."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, written: str) -> str:
        if written not in ENCODINGS:
            raise ValueError(f"{written!r} cannot be read line by line; write one of {', '.join(ENCODINGS)}")
        return written

    @field_validator("delimiter")
    @classmethod
    def _usable_delimiter(cls, written: str) -> str:
        if written in '"\r\n\0' or not written.isascii():
            raise ValueError(f"{written!r} cannot separate cells; write for example ',' or ';' or '\\t'")
        return written

    @field_validator("time_format")
    @classmethod
    def _whole_time(cls, written: str) -> str:
        if written == "iso" or written in UNIX_UNITS:
            return written
        has_year = "%Y" in written or "%y" in written
        has_day = "%j" in written or ("%d" in written and any(part in written for part in ("%m", "%b", "%B")))
        if "%" not in written or not (has_year and has_day):
            raise ValueError(
                f"{written!r} does not say year, month and day; write iso, {', '.join(UNIX_UNITS)}, "
                "or a pattern such as '%d.%m.%Y %H:%M:%S'"
            )
        return written

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, written: str) -> str:
        if written != "UTC" and not written.startswith(("+", "-")):
            try:
                ZoneInfo(written)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise ValueError(
                    f"no time zone {written!r} on this machine; write UTC, +02:00 or an IANA name"
                ) from error
        elif written != "UTC" and not _is_offset(written):
            raise ValueError(f"{written!r} is not an offset; write it as +02:00")
        return written

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.decimal is DecimalMark.COMMA and self.delimiter == "," and self.reading is Format.CSV:
            raise ValueError("a comma cannot both separate cells and mark decimals; set delimiter, usually to ';'")
        if self.placing is Layout.LONG and self.columns:
            raise ValueError("columns belongs to layout wide; a long file names its tags in its tag column")
        if len(set(self.names)) < len(self.names):
            raise ValueError("names: every column needs a name of its own")
        if self.time_column is not None and self.time_column in self.columns:
            raise ValueError(f"columns: {self.time_column!r} is the time column; it cannot be a tag as well")
        return self

    @property
    def reading(self) -> Format:
        """The format, from the setting or the file's name."""
        if self.format is not None:
            return self.format
        json_endings = (".jsonl", ".ndjson", ".json")
        return Format.JSON_LINES if self.path.suffix.lower() in json_endings else Format.CSV

    @property
    def placing(self) -> Layout:
        """The layout, from the setting or the format."""
        if self.layout is not None:
            return self.layout
        return Layout.WIDE if self.reading is Format.CSV else Layout.LONG

    @property
    def holding(self) -> Kind:
        """What cells hold where nothing else says so."""
        if self.kind is not None:
            return self.kind
        return Kind.NUMBER if (self.reading, self.placing) == (Format.CSV, Layout.WIDE) else Kind.ANY


class Write(Settings):
    """Files to write."""

    folder: Path
    """Where the files go; made if it is not there; a relative one starts at the plant file.
    One flow writes to it under one `name`."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")] = "plantgate"
    """What the file names begin with: `plantgate-000001-20261126T120000Z.jsonl`."""
    format: Format = Format.JSON_LINES
    """`json_lines`: a line for each sample, gaps as lines of their own.
    `csv`: a row for each sample, gaps in a file beside it ending in `.gaps.jsonl`."""
    file_bytes_max: Bytes = Field(default=64 * 2**20, ge=1024)
    """A file that has reached this size is closed and the next begun. The gateway never deletes one."""
    rotate: Rotate = Rotate.DAILY
    """Begin a new file each `daily` or `hourly` (UTC), or only for size (`never`)."""


class FilesSettings(Settings):
    """Files as a source, as a destination, or both."""

    read: Read | None = None
    """Needed where a flow reads `from` this connection."""
    write: Write | None = None
    """Needed where a flow writes `to` this connection."""

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        if self.read is None and self.write is None:
            raise ValueError("nothing to do: write a section read: (for a source) or write: (for a destination)")
        return self


def _is_offset(written: str) -> bool:
    hours, colon, minutes = written[1:].partition(":")
    digits = len(hours) == 2 and len(minutes) == 2 and (hours + minutes).isdecimal() and (hours + minutes).isascii()
    return bool(colon) and digits and int(hours) <= 14 and int(minutes) < 60
