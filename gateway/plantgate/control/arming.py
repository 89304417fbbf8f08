"""Who may stop, and what it takes to go on."""

import asyncio
from typing import Final

from plantgate.audit.entry import Kind, Result, Target, Who
from plantgate.control.approvals import Person
from plantgate.control.record import GATEWAY, Record
from plantgate.control.settings import Role
from plantgate.control.steady import Steady
from plantgate.control.switches import EVERYTHING, NotKept, Switches, Thrown
from plantgate.sdk import Clock, GatewayError, Rejected, iso

_TOGETHER_SECONDS: Final = 300.0
"""How long the first of two people waits for the second."""
_ROLES: Final = frozenset({Role.OPERATOR, Role.ENGINEER})


class Arming:
    """Stopping takes one word from anybody; arming takes an operator and an engineer."""

    def __init__(self, switches: Switches, steady: Steady, record: Record, clock: Clock, *, people: int) -> None:
        self._switches, self._steady, self._record, self._clock = switches, steady, record, clock
        self._people = people
        self._first: dict[str, tuple[Person, Thrown | None, float]] = {}
        """Of two people the one who came first, the stop that was seen, and until when that counts, by switch."""

    async def stop(self, name: str, who: Who, reason: str) -> None:
        """Counts before it is on record, and also where it cannot be. Raises `GatewayError` then."""
        try:
            self._switches.throw(name, Thrown(who.id, reason, iso(self._clock.now()) or ""))
        finally:
            details = {"switch": "stopped"}
            await self._record.observed(
                Kind.SWITCH, who, target=_target(name), note=reason, details=details, emergency=True
            )

    async def arm(self, name: str, person: Person, reason: str) -> str:
        """The switch is released once enough people have said so; a sentence that says how it stands.

        Raises `Rejected`, `GatewayError`: it stays stopped.
        """
        if not person.roles & _ROLES:
            raise Rejected(f"{person.id} is neither operator nor engineer")
        untrusted = name == EVERYTHING and bool(self._steady.objection())
        if name not in self._switches.thrown() and not untrusted:
            raise Rejected(f"{name!r} is not stopped; `plantgate control status` shows what is")
        first = self._waiting(name)
        if self._people > 1 and (first is None or first.id == person.id):
            until = asyncio.get_running_loop().time() + _TOGETHER_SECONDS
            self._first[name] = person, self._switches.thrown().get(name), until
            return f"{person.id} agrees; within {_TOGETHER_SECONDS / 60:g} minutes somebody else must too"
        if self._people > 1 and first is not None and not first.roles | person.roles >= _ROLES:
            raise Rejected("arming takes an operator and an engineer")
        throws = self._switches.throws
        together = (person.id,) if first is None else (first.id, person.id)
        who = Who(kind="person", id=person.id, authenticated_by="local socket")
        await self._record.observed(
            Kind.SWITCH,
            who,
            target=_target(name),
            note=reason,
            details={"switch": "armed", "people": " ".join(together)},
            result=Result.OK,
        )
        if self._switches.throws != throws:
            why = f"somebody stopped something meanwhile; {name} stays stopped: look, and arm it again"
            raise await self._not_armed(name, Rejected(why))
        try:
            self._switches.release(name)
        except NotKept as error:
            raise await self._not_armed(name, error) from error
        self._first.pop(name, None)
        if name == EVERYTHING:
            self._steady.trust()
        return f"{name} is armed"

    def begun(self) -> dict[str, str]:
        """By switch, the one person who has said so where two are needed, while that counts."""
        return {name: person.id for name in self._first if (person := self._waiting(name)) is not None}

    async def _not_armed(self, name: str, error: GatewayError) -> GatewayError:
        """The record says that it was."""
        details = {"switch": "stopped"}
        await self._record.observed(
            Kind.SWITCH, GATEWAY, target=_target(name), note=str(error), details=details, emergency=True
        )
        return error

    def _waiting(self, name: str) -> Person | None:
        person, seen, until = self._first.get(name, (None, None, 0.0))
        same = seen == self._switches.thrown().get(name)
        return person if same and until > asyncio.get_running_loop().time() else None


def _target(name: str) -> Target:
    return Target(connection=name, address="")
