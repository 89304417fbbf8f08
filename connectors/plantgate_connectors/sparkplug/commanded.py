"""What an operator writes of metrics that may be written to."""

from enum import Enum
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator

from plantgate.sdk import Settings
from plantgate_connectors.mqtt.settings import Seconds
from plantgate_connectors.sparkplug.placing import BDSEQ
from plantgate_connectors.sparkplug.topics import checked_id

_CONTROL: Final = "Node Control/"


class By(Enum):
    """What a command calls its metric."""

    ALIAS = "alias"
    NAME = "name"


class Commanded(Settings):
    """One metric, named in full: nothing is guessed from a tag."""

    tag: str
    """The tag by which rules and people know it; the same that `subscribe` makes of it."""
    group: str
    """Group of the edge node."""
    edge_node: str
    """Edge node that has it."""
    device: str | None = None
    """Device that has it; without, it is the edge node's own, and is written by NCMD instead of DCMD."""
    metric: str
    """Name of the metric, as the birth certificate has it."""
    by: By = By.NAME
    """`name`: by the name, always, which means the same metric in every birth. `alias`: by the alias where the birth
    certificate gives one, as the specification wants it, and dangerous: an edge node that hands out its aliases anew
    just then writes **another metric**, which is told afterwards as an unknown outcome. Only for edge nodes that do not
    look at names, and whose aliases stay the same."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """How far the number that the edge node reports after a command may be from the one that was sent, and still
    confirm it: for machines that round. In the metric's own unit."""

    @property
    def edge(self) -> tuple[str, str]:
        """Group and edge node."""
        return self.group, self.edge_node

    @property
    def where(self) -> tuple[str | None, str]:
        """Device and metric."""
        return self.device, self.metric

    @field_validator("group", "edge_node", "device")
    @classmethod
    def _ids(cls, written: str | None) -> str | None:
        return None if written is None else checked_id(written)

    @field_validator("metric")
    @classmethod
    def _ordinary(cls, written: str) -> str:
        if not written or written == BDSEQ or written.startswith(_CONTROL):
            raise ValueError(f"{written!r} is not written: it is no value of a machine but Sparkplug's own")
        return written


class Commands(Settings):
    """For `control`: what may be written to, as a host application."""

    metrics: Annotated[tuple[Commanded, ...], Field(min_length=1, max_length=1_000)]
    """The metrics that may be written."""
    answer_seconds: Seconds = 5.0
    """How long an edge node may take to report the new value, before the outcome of a command counts as unknown."""
    fresh_seconds: Seconds = 5.0
    """How old an edge node's last word on a metric may be and still be what the machine has. When it is older, new
    birth certificates are asked for, which is the only question that Sparkplug knows: so this is also the least time
    between two such questions. Some edge nodes leave one unanswered that comes too soon after the last."""
    datatypes: bool = False
    """Whether commands say the type of their value, for edge nodes that do not remember what they announced; the
    specification advises against it."""
    client_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Name at the broker of the session for commands. Needed only where the connection has a `client_id`."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        tags, places = set[str](), set[tuple[str, str, str | None, str]]()
        for metric in self.metrics:
            place = (*metric.edge, *metric.where)
            if metric.tag in tags or place in places:
                raise ValueError(f"metrics: {metric.tag} stands there twice, or its metric does")
            tags.add(metric.tag)
            places.add(place)
        return self

    def by_alias(self) -> list[str]:
        """Tags whose metrics are called by what can change hands."""
        return [metric.tag for metric in self.metrics if metric.by is By.ALIAS]
