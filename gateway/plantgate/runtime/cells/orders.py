"""What a cell is told about one use of a connection, as the plant file was read; the cell reads no plant file."""

import pickle
from typing import Any, TypeAlias

import msgspec

from plantgate.sdk import Connector, Settings

Plan: TypeAlias = tuple[type[Connector[Any]], Settings]


class Orders(msgspec.Struct, array_like=True, frozen=True):
    """Enough to build the connector."""

    connection: str
    flow: str
    folder: str
    site_folder: str
    plan: bytes
    """The connector's class and its settings, pickled: so that settings which have read files of their own, such as
    tag lists, mean the same in both processes. Secrets in them are references, read where they are used."""


def packed_plan(connector: type[Connector[Any]], settings: Settings) -> bytes:
    """Raises `ValueError` for a connector that cannot be carried into a cell."""
    try:
        return pickle.dumps((connector, settings))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot be carried into another process: {error}") from error


def unpacked_plan(orders: Orders) -> Plan:
    """Imports the connector, and so can raise anything.

    The gateway started this process, and there is no border to defend against it; nothing is unpickled the other way.
    """
    plan: Plan = pickle.loads(orders.plan)  # noqa: S301
    return plan
