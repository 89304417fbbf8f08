"""The payloads an edge node or a host application sends seldom: births, deaths and commands."""

from collections.abc import Iterable
from typing import Final

from plantgate.sdk import Value
from plantgate_connectors.sparkplug.catalog import NOTHING_YET, Catalog
from plantgate_connectors.sparkplug.datatypes import JSON, NULL, DataType, write
from plantgate_connectors.sparkplug.metric import Metric
from plantgate_connectors.sparkplug.placing import BDSEQ, GAPS, OFFSETS, ORIGIN, POSITION, REBIRTH
from plantgate_connectors.sparkplug.quality import Properties
from plantgate_connectors.sparkplug.stamps import NS, stamp
from plantgate_connectors.sparkplug.wire import blob, varint

_IS_JSON: Final = blob(b"\x42", blob(b"\x12", b"application/json"))
"""Metadata with a content type."""


def payload(milliseconds: int, metrics: Iterable[bytes], seq: int | None) -> bytes:
    """A whole message; one without `seq` is a death of an edge node, or a command."""
    end = b"" if seq is None else b"\x18" + varint(seq)
    return b"".join((b"\x08", stamp(milliseconds), *metrics, end))


def named(name: str, milliseconds: int, datatype: DataType, value: Value, *, announced: bool = True) -> bytes:
    """A metric of ours, by name; its type is said where it is announced."""
    kind = b"\x20" + varint(datatype) if announced else b""
    return blob(b"\x12", blob(b"\x0a", name.encode()) + b"\x18" + stamp(milliseconds) + kind + write(datatype, value))


def node_death(milliseconds: int, bdseq: int) -> bytes:
    """NDEATH: the number that ties it to a birth, and nothing else."""
    return payload(milliseconds, (named(BDSEQ, milliseconds, DataType.INT64, bdseq),), None)


def rebirth_request(milliseconds: int) -> bytes:
    """NCMD: say everything anew."""
    return payload(milliseconds, (named(REBIRTH, milliseconds, DataType.BOOLEAN, True),), None)


class Births:
    """Writes birth certificates from a catalog."""

    def __init__(self, catalog: Catalog, *, exact_time: bool, numbers: bool, gaps: bool) -> None:
        """`numbers` and `gaps`: whether the metrics that carry them are announced."""
        self._catalog = catalog
        self._exact_time = exact_time
        self._numbers = numbers
        self._gaps = gaps
        self._properties = Properties()

    def node(self, milliseconds: int, bdseq: int, origin: str, metrics: Iterable[Metric], *, values: bool) -> bytes:
        """NBIRTH; its `seq` is 0, and those of all that follows count from it.

        Without `values` all are null, for where the whole would be too large.
        """
        own = [
            named(BDSEQ, milliseconds, DataType.INT64, bdseq),
            named(REBIRTH, milliseconds, DataType.BOOLEAN, False),
        ]
        if self._numbers:
            own.append(named(ORIGIN, milliseconds, DataType.STRING, origin or None))
        if self._gaps:
            own.append(named(GAPS, milliseconds, DataType.STRING, None))
        return payload(
            milliseconds, (*own, *self._ours(milliseconds), *self._metrics(milliseconds, metrics, values)), 0
        )

    def device(self, milliseconds: int, seq: int, metrics: Iterable[Metric], *, values: bool) -> bytes:
        """DBIRTH."""
        return payload(milliseconds, (*self._ours(milliseconds), *self._metrics(milliseconds, metrics, values)), seq)

    def _ours(self, milliseconds: int) -> list[bytes]:
        if not self._numbers:
            return []
        return [
            named(POSITION, milliseconds, DataType.UINT64, None),
            named(OFFSETS, milliseconds, DataType.UINT32_ARRAY, None),
        ]

    def _metrics(self, milliseconds: int, metrics: Iterable[Metric], values: bool) -> Iterable[bytes]:
        for metric in metrics:
            value, quality, time = self._catalog.last(metric.tag) if values else NOTHING_YET
            datatype = metric.announced_as
            timed = time is not None and time >= 0
            moment, rest = divmod(time, NS) if time is not None and timed else (milliseconds, 0)
            content = (
                blob(b"\x0a", metric.place.metric.encode(errors="backslashreplace"))
                + metric.field
                + stamp(moment)
                + b"\x20"
                + varint(datatype)
                + (_IS_JSON if datatype is JSON else b"")
                + self._properties[quality, rest if self._exact_time else 0, timed]
                + (NULL if value is None else write(datatype, value))
            )
            yield blob(b"\x12", content)
