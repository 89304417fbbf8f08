"""Asks every peer of a plant, all at once, what it would grant; changes nothing there."""

import asyncio
from dataclasses import dataclass

from plantgate.config.model import Plant
from plantgate.runtime.build import context_for
from plantgate.sdk import Finding, GatewayError


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What came of asking one connection."""

    connection: str
    type_name: str
    findings: tuple[Finding, ...] = ()
    trouble: str = ""
    """Why it could not be asked, in a sentence."""


async def survey_all(plant: Plant, *, seconds: float) -> list[Surveyed]:
    """One survey for each connection that a flow uses, in the order of the plant file."""
    async with asyncio.TaskGroup() as group:
        asked = [
            group.create_task(_survey(plant, name, flow, seconds))
            for name in plant.connections
            if (flow := next(plant.uses(name), None)) is not None
        ]
    return [task.result() for task in asked]


async def _survey(plant: Plant, name: str, flow: str, seconds: float) -> Surveyed:
    connection = plant.connections[name]
    try:
        async with asyncio.timeout(seconds):
            connector = connection.connector(connection.settings, context_for(plant, name, flow))
            return Surveyed(name, connection.type_name, (await connector.survey()).findings)
    except TimeoutError:
        trouble = f"did not answer within {seconds:g} s"
    except (GatewayError, OSError) as error:
        trouble = str(error).removeprefix(f"{name}: ")
    except Exception as error:  # noqa: BLE001  one connector's bug must not hide what the others' peers say
        trouble = f"the connector failed, which is a bug: {type(error).__name__}: {error}"
    return Surveyed(name, connection.type_name, trouble=trouble)
