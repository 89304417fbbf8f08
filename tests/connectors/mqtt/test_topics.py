"""Topics become tags, and what cannot be a topic is refused with a reason."""

import pytest

from plantgate_connectors.mqtt.topics import Pattern, Template, read_topic, topic_problem


@pytest.mark.parametrize(
    ("written", "filter_", "topic", "levels"),
    [
        ("plant/{line}/+/temp", "plant/+/+/temp", "plant/3/press/temp", {"line": "3"}),
        ("plant/{line}/{rest#}", "plant/+/#", "plant/3/a/b/c", {"line": "3", "rest": "a/b/c"}),
        ("plant/#", "plant/#", "plant", {}),
        ("plant/#", "plant/#", "plant/a/b", {}),
        ("#", "#", "a/b", {}),
        ("+/b", "+/b", "/b", {}),
        ("a//{x}", "a//+", "a//", {"x": ""}),
        ("exact/topic", "exact/topic", "exact/topic", {}),
    ],
)
def test_named_levels_are_found(written: str, filter_: str, topic: str, levels: dict[str, str]) -> None:
    pattern = Pattern(written)
    assert pattern.filter == filter_
    assert pattern.match(topic) == {**levels, "topic": topic}


@pytest.mark.parametrize(
    ("written", "topic"),
    [
        ("plant/{line}/temp", "plant/3/press/temp"),
        ("plant/{line}/temp", "plant/temp"),
        ("plant/{line}/temp", "Plant/3/temp"),
        ("#", "$SYS/broker/load"),
        ("+/broker/load", "$SYS/broker/load"),
        ("plant/{rest#}", "plant"),
    ],
)
def test_another_topic_is_not_matched(written: str, topic: str) -> None:
    assert Pattern(written).match(topic) is None


def test_the_brokers_own_topics_match_when_asked_for_by_name() -> None:
    assert Pattern("$SYS/broker/{what#}").match("$SYS/broker/load") == {
        "what": "load",
        "topic": "$SYS/broker/load",
    }


@pytest.mark.parametrize(
    "written", ["", "a/#/b", "a/{x#}/b", "a+", "a/b#", "a/{X}", "a/{x}/{x}", "a/{topic}", "a/{x", "a\0b", "x" * 1025]
)
def test_a_broken_pattern_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="topic"):
        Pattern(written)


@pytest.mark.parametrize("topic", ["", "a/+/b", "a/#", "a\0", "$SYS/x", "x" * 1025, "half\ud800"])
def test_what_cannot_be_published_to_is_told(topic: str) -> None:
    assert topic_problem(topic)


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"a\0b", b"a/+", b"a/#", b"x" * 65_535])
def test_a_received_topic_that_breaks_the_rules_is_none(raw: bytes) -> None:
    assert read_topic(raw) is None


def test_a_template_names_what_it_cannot_fill() -> None:
    with pytest.raises(ValueError, match=r"\{what\} has no meaning here; there is \{tag\}"):
        Template("a/{what}").only({"tag"}, "topic")
    with pytest.raises(ValueError, match="lower-case"):
        Template("a/{What}")
    assert Template("{a}/x/{b}").fill({"a": "1", "b": "2"}) == "1/x/2"
