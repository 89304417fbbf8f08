from plantgate.runtime.rate import Rate


def test_a_rate_is_growth_over_the_last_seconds() -> None:
    rate = Rate()
    assert rate.seen(0, 100.0) == 0.0
    assert rate.seen(50, 101.0) == 50.0
    for second in range(2, 20):
        latest = rate.seen(50 + 10 * (second - 1), 100.0 + second)
    assert latest == 10.0


def test_two_lookers_do_not_disturb_each_other() -> None:
    rate = Rate()
    rate.seen(0, 0.0)
    rate.seen(100, 1.0)
    assert rate.seen(101, 1.01) == rate.seen(101, 1.01)
