"""The tags of a batch as metrics: looked up once, and known again as long as batches of the same tags come."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from plantgate.sdk import Value
from plantgate_connectors.sparkplug.metric import Metric

_INT64_LEAST: Final = -(2**63)
_INT64_MOST: Final = 2**63 - 1


@dataclass(slots=True, eq=False)
class Lineup:
    """Metrics as a batch has them, and what of their bytes never changes, as columns."""

    tags: list[str]
    metrics: list[Metric]
    kinds: list[type | None]
    """Of their usual values; None for a metric that has none."""
    keys: list[bytes]
    """Of the fields of their usual values."""
    writers: list[Callable[[Any], bytes]]
    """What writes the rest of the fields of their usual values."""
    fields: list[bytes]
    """`Metric.field`."""
    width: int
    """Of `fields`, in bytes; 0 where it differs."""
    floats: bool
    """Whether all of them are floats."""
    whole: list[int]
    """Places of those that are whole numbers."""
    texts: list[int]
    """Places of those that are text."""
    again: bool = False
    """Whether it has been met more than once."""
    parts: "list[tuple[str | None, Sequence[int], Lineup]]" = field(default_factory=list)
    """By device, None for the edge node's own: places in the batch, and the lineup of those."""

    @classmethod
    def of(cls, metrics: list[Metric], tags: list[str]) -> "Lineup":
        """Look everything up."""
        kinds, keys, writers = zip(*[metric.way for metric in metrics], strict=True) if metrics else ((), (), ())
        heads = [metric.field for metric in metrics]
        width = len(heads[0]) if heads else 0
        if width * len(heads) != sum(map(len, heads)):
            width = 0
        found = cls(
            tags,
            metrics,
            list(kinds),
            list(keys),
            list(writers),
            heads,
            width,
            kinds.count(float) == len(kinds),
            [place for place, kind in enumerate(kinds) if kind is int] if int in kinds else [],
            [place for place, kind in enumerate(kinds) if kind is str] if str in kinds else [],
        )
        devices = [metric.place.device for metric in metrics]
        if metrics and devices.count(devices[0]) == len(devices):
            found.parts.append((devices[0], range(len(metrics)), found))
            return found
        places: dict[str | None, list[int]] = {}
        for index, device in enumerate(devices):
            places.setdefault(device, []).append(index)
        for device, some in places.items():
            found.parts.append((device, some, cls.of([metrics[at] for at in some], [tags[at] for at in some])))
        return found

    def unusual(self, values: Sequence[Value]) -> list[int]:
        """Places of values that are not of the usual kind for their metric."""
        kinds = list(map(type, values))
        if kinds == self.kinds:
            return []
        return [place for place, (kind, usual) in enumerate(zip(kinds, self.kinds, strict=True)) if kind is not usual]

    def doubtful(self, values: Sequence[Value]) -> list[int]:
        """Places of values that may not fit their metric's type: unusual ones, huge numbers, texts beyond ASCII."""
        places = self.unusual(values)
        whole, texts = self.whole, self.texts
        if places:
            some = set(places)
            whole, texts = [at for at in whole if at not in some], [at for at in texts if at not in some]
        if whole:
            numbers: list[Any] = [values[at] for at in whole]
            if min(numbers) < _INT64_LEAST or max(numbers) > _INT64_MOST:
                places += whole
        some_texts: list[Any] = [values[at] for at in texts]
        if not all(map(str.isascii, some_texts)):
            places += texts
        return places
