"""Batches to JSON, in the words that every plantgate reads again.

Speed comes from never touching a sample: each column becomes a list of JSON texts in one call, and the texts are laid
side by side (0.2-0.3 microseconds a value, against 0.7 for row objects given to the same encoder).
"""

from plantgate.sdk import Batch, quality_name
from plantgate_connectors.payloads.texts import (
    Remembered,
    gap_object,
    json_bytes,
    json_text,
    stamp,
    time_texts,
    value_texts,
)
from plantgate_connectors.payloads.words import TimeFormat


class BatchWriter:
    """Writes batches and single samples, their times in one format."""

    def __init__(self, time: TimeFormat) -> None:
        self._time = time
        self._times = time_texts(time)
        self._heads = Remembered[str](lambda tag: f',"tag":{json_text(tag)},"value":')
        """What stands between the position of a sample and its value."""
        self._joints = Remembered[str](lambda tag: f'}},{{"tag":{json_text(tag)},"value":')
        """What stands between the time of the sample before and the value."""
        self._qualities = Remembered[int](
            lambda code: f',"quality":{json_text(quality_name(code))},"code":{code},"time":'
        )
        """What stands between a value and its time."""

    def rows(self, batch: Batch, start: int, stop: int, more: str = "") -> bytes:
        """``{"origin","position","samples":[{"tag","value","quality","code","time"}]}`` for samples `start` to `stop`.

        `more` goes before the last brace.
        """
        count = stop - start
        tags, values, qualities, times = batch.tags, batch.values, batch.qualities, batch.times
        if count != len(batch):
            tags, values = tags[start:stop], values[start:stop]
            qualities, times = qualities[start:stop], times[start:stop]
        pieces = [""] * (4 * count)
        pieces[0::4] = map(self._joints.__getitem__, tags)
        pieces[1::4] = value_texts(values)
        pieces[2::4] = map(self._qualities.__getitem__, qualities)
        pieces[3::4] = self._times(times)
        samples = "".join(pieces)
        return (
            f'{{"origin":{json_text(batch.origin)},"position":{batch.position + start},"samples":['
            f"{samples[2:]}{'}' if count else ''}]{more}}}"
        ).encode()

    def columns(self, batch: Batch, start: int, stop: int, more: str = "") -> bytes:
        """``{"origin","position","tags":[],"values":[],"qualities":[],"times":[]}``, all lists equally long."""
        return (
            f'{{"origin":{json_text(batch.origin)},"position":{batch.position + start},'
            f'"tags":{json_text(batch.tags[start:stop])},"values":[{",".join(value_texts(batch.values[start:stop]))}],'
            f'"qualities":{json_text(batch.qualities[start:stop])},'
            f'"times":[{",".join(self._times(batch.times[start:stop]))}]{more}}}'
        ).encode()

    def each(self, batch: Batch) -> list[bytes]:
        """``{"origin","position","tag","value","quality","code","time"}`` for each sample."""
        count = len(batch)
        if not count:
            return []
        joint = f'}}\n{{"origin":{json_text(batch.origin)},"position":'
        pieces = [joint] * (6 * count)
        pieces[0::6] = json_text(list(range(batch.position, batch.position + count)))[1:-1].split(",")
        pieces[1::6] = map(self._heads.__getitem__, batch.tags)
        pieces[2::6] = value_texts(batch.values)
        pieces[3::6] = map(self._qualities.__getitem__, batch.qualities)
        pieces[4::6] = self._times(batch.times)
        pieces[-1] = "}"
        return f"{joint[2:]}{''.join(pieces)}".encode().split(b"\n")  # JSON has no line ends in it

    def gaps(self, batch: Batch) -> bytes:
        """``{"origin","position","gaps":[{"tags","since","until","cause","lost","recovered"}]}``."""
        return json_bytes(
            {
                "origin": batch.origin,
                "position": batch.position,
                "gaps": [gap_object(gap, self._time) for gap in batch.gaps],
            }
        )


def event(kind: str, source: str, batch: Batch, position: int, data: bytes) -> bytes:
    """A CloudEvents 1.0 envelope in structured mode; `id` is the same whenever the same samples are sent again."""
    received = stamp(batch.received or None)
    moment = "" if received is None else f'"time":"{received}",'
    return (
        (
            f'{{"specversion":"1.0","id":{json_text(f"{batch.origin}/{position}")},"source":{json_text(source)},'
            f'"type":"{kind}",{moment}"datacontenttype":"application/json","data":'
        ).encode()
        + data
        + b"}"
    )
