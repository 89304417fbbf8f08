"""How a sample or a gap stands in a written file, and how the last of them is found again."""

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Final

from plantgate.sdk import Batch, Gap, Rejected, Value, iso, quality_name
from plantgate.sdk.quality import GOOD

_JSON_MARK: Final = re.compile(rb',"origin":("[^"\\]*"),"position":(\d+)}\n$')
_CSV_MARK: Final = re.compile(rb',([^,"]*),(\d+)\n$')
CSV_HEADER: Final = b"time,tag,value,kind,quality,origin,position\n"


def json_lines(batch: Batch, start: int, stop: int) -> Iterator[str]:
    """A line for each sample whose index in the batch lies from `start` up to `stop`."""
    origin = _dumped(batch.origin)
    tags = {tag: _dumped(tag) for tag in set(batch.tags)}
    qualities = {quality: _quality(quality) for quality in set(batch.qualities)}
    times = {time: _dumped(iso(time)) for time in set(batch.times)}
    for index in range(start, stop):
        value, quality = batch.values[index], batch.qualities[index]
        if type(value) is float and math.isfinite(value):
            text = repr(value)
        else:
            kind = _kind_in_json(value, quality)
            text = _dumped(plain(value)) + (f',"kind":"{kind}"' if kind else "")
        yield (
            f'{{"time":{times[batch.times[index]]},"tag":{tags[batch.tags[index]]},"value":{text},'
            f'"quality":"{qualities[quality]}","origin":{origin},"position":{batch.position + index}}}\n'
        )


def csv_rows(batch: Batch, start: int, stop: int) -> Iterator[str]:
    """A row for each sample whose index in the batch lies from `start` up to `stop`; no row spans lines.

    Raises `Rejected` for a tag name that no row can hold.
    """
    for index in range(start, stop):
        tag = batch.tags[index]
        if not _fits_a_line(tag):
            raise Rejected(f"csv cannot hold the tag name {tag[:60]!r}; use format json_lines")
        kind, text = _in_csv(batch.values[index])
        cells = (iso(batch.times[index]) or "", tag, text, kind, _quality(batch.qualities[index]), batch.origin)
        yield ",".join(map(_cell, cells)) + f",{batch.position + index}\n"


def gap_lines(batch: Batch) -> Iterator[str]:
    """A JSON line for each gap, numbered as the sample that follows it."""
    for gap in batch.gaps:
        yield _dumped({"gap": _gap(gap), "origin": batch.origin, "position": batch.position}) + "\n"


def marks(lines: Iterable[bytes], *, csv: bool) -> Iterator[tuple[str, int, bool]]:
    """Origin, position, and whether it is a gap, of the lines that have them; other lines are passed over.

    They stand at a line's end, and are read from there: opening a file costs about a microsecond a line.
    """
    read = _CSV_MARK if csv else _JSON_MARK
    for line in lines:
        if (match := read.search(line)) is not None:
            origin = match[1].decode() if csv else json.loads(match[1])
            yield origin, int(match[2]), not csv and line.startswith(b'{"gap":')


def plain(value: Value) -> object:
    """As JSON can hold it: bytes as base64, and numbers that are none as the text OPC UA's JSON gives them."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


def _kind_in_json(value: Value, quality: int) -> str:
    """What JSON cannot say by itself."""
    if isinstance(value, float) and not math.isfinite(value):
        return "number"
    if isinstance(value, bytes):
        return "bytes"
    return "none" if value is None and quality == GOOD else ""


def _in_csv(value: Value) -> tuple[str, str]:
    match value:
        case None:
            return "none", ""
        case bool():
            return "boolean", "true" if value else "false"
        case int() | float():
            return "number", str(plain(value))
        case str() if _fits_a_line(value):
            return "text", value
        case bytes():
            return "bytes", str(plain(value))
    return "json", json.dumps(plain(value))


def _fits_a_line(text: str) -> bool:
    return text.isprintable() and (text.isascii() or not _surrogates(text))


def _surrogates(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _cell(text: str) -> str:
    if "," in text or '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def _quality(quality: int) -> str:
    """Its name; with the number too where the name does not say all of it."""
    name = quality_name(quality)
    return f"{name} 0x{quality:08X}" if quality & 0xFFFF and " 0x" not in name else name


def _gap(gap: Gap) -> dict[str, object]:
    return {
        "tags": list(gap.tags),
        "since": iso(gap.since),
        "until": iso(gap.until),
        "cause": gap.cause,
        "lost": gap.lost,
        "recovered": gap.recovered,
    }


def _dumped(value: object) -> str:
    text = _LEGIBLE.encode(value)
    return text if text.isascii() or not _surrogates(text) else _ASCII.encode(value)


_LEGIBLE: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_ASCII: Final = json.JSONEncoder(separators=(",", ":"))
