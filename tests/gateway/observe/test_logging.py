import io
import json
import logging

import structlog

from plantgate.observe.logging import NEWS_MOST, News, configure_logging


def test_every_line_is_json_and_a_librarys_warning_has_the_same_shape() -> None:
    out = io.StringIO()
    configure_logging("info", News(), stream=out)
    log = structlog.get_logger().bind(connection="press3")
    log.debug("not worth a line")
    log.warning("away", reason='no answer\nfrom "press3"')
    logging.getLogger("a.library").info("not worth a line either")
    logging.getLogger("a.library").warning("odd %s", "message")
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError as error:
        log.error("session ended", exc_info=error)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("warning", "away"),
        ("warning", "odd message"),
        ("error", "session ended"),
    ]
    assert lines[0]["connection"] == "press3"
    assert lines[1]["logger"] == "a.library"
    assert "ZeroDivisionError: oops" in lines[2]["exception"]
    assert all(line["time"].endswith("Z") for line in lines)


def test_the_news_keeps_the_latest_and_tells_who_listens() -> None:
    news, heard = News(), []
    configure_logging("info", news, stream=io.StringIO())
    news.listeners.add(heard.append)
    for number in range(NEWS_MOST + 10):
        structlog.get_logger().info("line", number=number)
    assert len(news.lines) == NEWS_MOST
    assert news.lines[-1]["number"] == NEWS_MOST + 9
    assert len(heard) == NEWS_MOST + 10
