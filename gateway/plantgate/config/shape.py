"""Finds the part of a settings model that a place in a document belongs to, to say what could stand there."""

from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from plantgate.config.place import Step, Trail


def spelled(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the name an operator writes."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def models_at(annotation: Any, trail: Trail) -> tuple[type[BaseModel], ...]:
    """The models a mapping at this trail can be; none if it is not a mapping with fixed names."""
    for step in trail:
        annotation = Union[tuple(_below(annotation, step)) or (None,)]  # noqa: UP007  built at run time
    return tuple(member for member in _members(annotation) if _is_model(member))


def field_at(model: type[BaseModel], trail: Trail) -> FieldInfo | None:
    """The field a trail names, if it names one."""
    if not trail or not isinstance(trail[-1], str):
        return None
    for parent in models_at(model, trail[:-1]):
        if found := spelled(parent).get(trail[-1]):
            return found
    return None


def models_in(field: FieldInfo) -> tuple[type[BaseModel], ...]:
    """The models a field holds directly."""
    return models_at(field.annotation, ())


def classes_in(annotation: Any) -> Iterator[type]:
    """Every class an annotation mentions, at any depth of lists and mappings."""
    for member in _members(annotation):
        if isinstance(member, type):
            yield member
        for argument in get_args(member):
            yield from classes_in(argument)


def _below(annotation: Any, step: Step) -> Iterator[Any]:
    for member in _members(annotation):
        origin, arguments = get_origin(member), get_args(member)
        if _is_model(member):
            if isinstance(step, str) and (field := spelled(member).get(step)):
                yield field.annotation
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            yield arguments[1]
        elif isinstance(step, int) and origin in (list, set, frozenset):
            yield arguments[0]
        elif isinstance(step, int) and origin is tuple:
            yield arguments[0 if arguments[-1] is Ellipsis or step >= len(arguments) else step]


def _members(annotation: Any) -> Iterator[Any]:
    """What an annotation allows: through aliases, `Annotated`, and every arm of a union."""
    annotation = getattr(annotation, "__value__", annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for arm in get_args(annotation):
            yield from _members(arm)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
