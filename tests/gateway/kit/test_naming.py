import pytest

from plantgate.kit.naming import BadName, Names, names
from plantgate.registry import registry


def test_one_name_makes_all_the_others() -> None:
    called = names("acme_press", registry())
    assert called == Names("acme_press")
    assert (called.module, called.package, called.type_name) == (
        "plantgate_acme_press",
        "plantgate-acme-press",
        "AcmePress",
    )


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("Acme-Press", "'Acme-Press' cannot be a connector's name: .*; write for example acme_press"),
        ("3com", "cannot be a connector's name"),
        ("acme__press", "write for example acme_press"),
        ("", "cannot be a connector's name"),
        ("../x", "write for example x"),
        ("läser", "write for example l_ser"),
        ("import", "a word of Python's own"),
        ("mqtt", "there is a connector 'mqtt' already"),
        ("a" * 41, "too long"),
    ],
)
def test_a_name_nobody_could_use_is_refused_with_one_that_works(wanted: str, message: str) -> None:
    with pytest.raises(BadName, match=message):
        names(wanted, registry())
