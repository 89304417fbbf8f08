"""Batches to the values of records: a sample, a tag's samples, a batch or a gap in each."""

from collections.abc import Sequence

from plantgate.sdk import Batch
from plantgate_connectors.payloads.batches import BatchWriter
from plantgate_connectors.payloads.texts import gap_object, json_bytes, json_text, time_texts, value_texts
from plantgate_connectors.payloads.words import TimeFormat


class Writer:
    """Writes values of records, with times in one format."""

    def __init__(self, time: TimeFormat) -> None:
        self._time = time
        self._times = time_texts(time)
        self.each = BatchWriter(time).each
        """``{"origin","position","tag","value","quality","code","time"}`` for each sample."""

    def tag(self, batch: Batch, tag: str, places: Sequence[int]) -> bytes:
        """``{"origin","positions":[],"tag","values":[],"qualities":[codes],"times":[]}``: one tag's samples."""
        positions = [batch.position + place for place in places]
        return (
            f'{{"origin":{json_text(batch.origin)},"positions":{json_text(positions)},"tag":{json_text(tag)},'
            f"{self._columns(batch, places)}}}"
        ).encode()

    def batch(self, batch: Batch, places: Sequence[int]) -> bytes:
        """``{"origin","positions":[],"tags":[],"values":[],"qualities":[codes],"times":[]}``."""
        positions = [batch.position + place for place in places]
        tags = [batch.tags[place] for place in places]
        return (
            f'{{"origin":{json_text(batch.origin)},"positions":{json_text(positions)},"tags":{json_text(tags)},'
            f"{self._columns(batch, places)}}}"
        ).encode()

    def gap(self, batch: Batch, number: int) -> bytes:
        """``{"origin","position","number","gap":{"tags","since","until","cause","lost","recovered"}}``."""
        return json_bytes(
            {
                "origin": batch.origin,
                "position": batch.position,
                "number": number,
                "gap": gap_object(batch.gaps[number], self._time),
            }
        )

    def _columns(self, batch: Batch, places: Sequence[int]) -> str:
        values = value_texts([batch.values[place] for place in places])
        qualities = [batch.qualities[place] for place in places]
        times = self._times([batch.times[place] for place in places])
        return f'"values":[{",".join(values)}],"qualities":{json_text(qualities)},"times":[{",".join(times)}]'
