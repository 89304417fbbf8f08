"""Pictures and the models that look at them: the two doors in front of a closed loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from plantgate.sdk.deadline import Deadline
from plantgate.sdk.sample import Value


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture, by reference: whoever passes it on copies no pixel."""

    name: str
    """What it is called where it comes from: a file's name, a camera's own number."""
    pixels: memoryview
    """Unsigned bytes, C order; shape (rows, columns) for grey, (rows, columns, 3) for red, green, blue."""
    at: float
    """When the gateway had it, or could have had it, on the loop's clock: budgets count from here."""
    time: int | None = None
    """The camera's own time, ns UTC; None where it gives none. Never ours."""
    context: Mapping[str, str] = field(default_factory=dict)
    """What the source knows about it: the product, the template it is compared with."""


class Camera(Protocol):
    """Gives pictures, the newest first of all: what nobody took in time is counted and gone, never queued."""

    async def frame(self) -> Frame:
        """The next picture. Raises `Unavailable` when the session is gone, `Exhausted` when there will be no more."""
        ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model made of one picture."""

    facts: Mapping[str, Value]
    """What rules may speak of, by name: ``{"defects": [{"kind": "open", "confidence": 0.97, ...}]}``."""
    confidence: float
    """Of the answer as a whole, 0 to 1; where single facts have a ``confidence`` of their own, that one counts."""
    inputs: str
    """``sha256:`` and the digest of exactly what the model saw."""
    output: str
    """The answer in a few words, for the record."""


class Model(Protocol):
    """Looks at a picture. It is asked one picture at a time, and holds no loop while it thinks."""

    @property
    def name(self) -> str:
        """As the catalog knows it, with its version."""
        ...

    @property
    def digest(self) -> str:
        """``sha256:`` and the digest of the model's file."""
        ...

    @property
    def target(self) -> str:
        """Where it really runs: runtime, execution provider, machine."""
        ...

    async def predict(self, frame: Frame, deadline: Deadline) -> Prediction:
        """Raises `Rejected` for a picture it cannot read, `Unavailable` while it cannot be asked.

        An answer after the deadline is of no use; the caller stops waiting then.
        """
        ...
