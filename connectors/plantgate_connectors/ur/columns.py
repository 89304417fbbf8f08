"""From a data package to columns: which of its fields is which tag."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plantgate.sdk import Value
from plantgate_connectors.ur.recipe import Held, Recipe
from plantgate_connectors.ur.settings import Output, Shape
from plantgate_connectors.ur.vectors import parts


@dataclass(frozen=True, slots=True)
class Columns:
    """Of one recipe."""

    tags: tuple[str, ...]
    refused: tuple[str, ...]
    """Tags whose field the controller does not have."""
    _takers: tuple[Callable[[Sequence[Held]], Sequence[Value]], ...]

    def values(self, package: Sequence[Held]) -> list[Value]:
        """A value for each tag."""
        found: list[Value] = []
        for take in self._takers:
            found += take(package)
        return found


def columns(outputs: Sequence[Output], recipe: Recipe) -> Columns:
    """The tags of the fields that are in the recipe; a vector is an array, or a tag for each of its parts."""
    tags: list[str] = []
    takers: list[Callable[[Sequence[Held]], Sequence[Value]]] = []
    for output in outputs:
        if output.field not in recipe.fields:
            continue
        at = recipe.fields.index(output.field)
        names = parts(output.field, recipe.types[at])
        if names and output.shape is Shape.SPREAD:
            tags += [f"{output.tag}/{name}" for name in names]
            takers.append(_spread(at))
        else:
            tags.append(output.tag)
            takers.append(_array(at) if names else _single(at))
    refused = tuple(output.tag for output in outputs if output.field not in recipe.fields)
    return Columns(tuple(tags), refused, tuple(takers))


def _single(at: int) -> Callable[[Sequence[Held]], Sequence[Value]]:
    return lambda package: (package[at],)


def _spread(at: int) -> Callable[[Sequence[Held]], Sequence[Value]]:
    def take(package: Sequence[Held]) -> Sequence[Value]:
        vector = package[at]
        assert isinstance(vector, tuple)
        return vector

    return take


def _array(at: int) -> Callable[[Sequence[Held]], Sequence[Value]]:
    def take(package: Sequence[Held]) -> Sequence[Value]:
        vector = package[at]
        assert isinstance(vector, tuple)
        return ([*vector],)

    return take
