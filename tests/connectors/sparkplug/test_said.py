"""Of every tag the newest, however the columns came that it was in."""

import random
from dataclasses import dataclass

import pytest

from plantgate_connectors.sparkplug.said import LastSaid, Said


@dataclass(eq=False)
class Whom:
    """Tags that come together."""

    tags: list[str]


@pytest.mark.parametrize("mutation", ["none", "the older batch counts"])
def test_the_newest_of_every_tag_is_known(mutation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    luck = random.Random("said")
    if mutation != "none":
        monkeypatch.setattr(LastSaid, "_take_apart", lambda said, where: said._whole.pop(where))
    wrong = 0
    for _ in range(60):
        said, expected = LastSaid(), dict[str, Said]()
        known = [Whom([f"t{luck.randrange(12)}" for _ in range(luck.randrange(1, 6))]) for _ in range(4)]
        for number in range(80):
            match luck.randrange(4):
                case 0:
                    tag, what = f"t{luck.randrange(12)}", (number, 0, number)
                    said.one(tag, what)
                    expected[tag] = what
                case 1:
                    tag = f"t{luck.randrange(12)}"
                    wrong += said.get(tag) != expected.get(tag)
                case way:
                    whom = luck.choice(known)
                    values = [number * 10 + place for place in range(len(whom.tags))]
                    qualities = [0] * len(values)
                    said.many(whom.tags, values, qualities, values, whom=whom if way == 2 else None)
                    expected.update(zip(whom.tags, zip(values, qualities, values, strict=True), strict=True))
            wrong += len(said) != len(expected)
        wrong += {tag: said.get(tag) for tag in expected} != expected
    assert bool(wrong) == (mutation != "none")
