"""Numbered messages come out in order, each once, and nothing is held for ever."""

import random

from plantgate_connectors.sparkplug.order import HELD_BYTES_MOST, HELD_MOST, Order, Turn


def test_messages_that_overtake_each_other_come_out_in_order() -> None:
    luck = random.Random("order")
    for _ in range(200):
        order: Order[int] = Order()
        order.begin(luck.randrange(256))
        first = order.next or 0
        sent = list(range(600))
        for at in range(0, 590, 10):
            part = sent[at : at + 10]
            luck.shuffle(part)
            sent[at : at + 10] = part
        out: list[int] = []
        for number in sent:
            turn, ready = order.give((first + number) % 256, 10, number)
            assert turn in (Turn.NEXT, Turn.EARLY)
            out += ready
        assert out == list(range(600))
        assert not order


def test_what_is_given_up_comes_out_in_order_and_the_count_goes_on() -> None:
    order: Order[int] = Order()
    order.begin(250)
    for number in (3, 1, 4, 9):  # 251 is due: 0, 2 and 5 to 8 are missing
        assert order.give((251 + number) % 256, 10, number) == (Turn.EARLY, [])
    assert order.give((251 + 3) % 256, 10, 3) == (Turn.REPEATED, [])
    assert order.give_up() == [1, 3, 4, 9]
    assert order.give((251 + 10) % 256, 10, 10) == (Turn.NEXT, [10])


def test_too_far_ahead_or_too_much_held_gives_up_at_once() -> None:
    order: Order[str] = Order()
    order.begin(255)
    assert order.give(2, 10, "early")[0] is Turn.EARLY
    assert order.give(HELD_MOST + 1, 10, "far") == (Turn.LOST, ["early", "far"])
    assert order.give(HELD_MOST + 2, 10, "next") == (Turn.NEXT, ["next"])
    assert order.give(HELD_MOST + 4, HELD_BYTES_MOST, "large")[0] is Turn.EARLY
    assert order.give(HELD_MOST + 5, 1, "more") == (Turn.LOST, ["large", "more"])
