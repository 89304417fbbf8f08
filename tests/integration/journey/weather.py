"""What happens to a machine and its cable: lost answers, lost or late bytes, resets, and that the machine freezes."""

import asyncio
import random
from collections import Counter

from tests.integration.journey.machines import Machine


async def weather(
    machine: Machine, luck: random.Random, over: asyncio.Event, met: Counter[str], fair_seconds: float
) -> None:
    """Nothing for a while, then a trouble for a while, half of them in the middle of a write; calm when it is over.

    `met`: how many writes each trouble met in the middle. `fair_seconds`: the longest while without trouble.
    """
    cable = machine.cable
    troubles = {
        "answers lost": cable.lose_answers,
        "cut": cable.cut,
        "stall": cable.stall,
        "reset": cable.reset,
        "freeze": machine.child.freeze,
    }
    while not over.is_set():
        cable.slowness.latency_seconds = luck.choice((0.0, 0.0, 0.01, 0.05))
        await asyncio.sleep(luck.uniform(0.1, 1.0) * fair_seconds)
        name = luck.choice(tuple(troubles))
        begin = troubles[name]
        if luck.random() < 0.5:
            machine.heard.then.append(begin)
            await asyncio.sleep(luck.uniform(0.3, 2.5))
            if begin in machine.heard.then:
                machine.heard.then.remove(begin)
            else:
                met[name] += 1
        else:
            begin()
            await asyncio.sleep(luck.uniform(0.05, 2.0))
        machine.child.thaw()
        cable.mend()
