"""JSON logs on standard error, and the last of them kept as news for the live view."""

import logging
import sys
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import structlog

NEWS_MOST = 100
"""How many log lines the live view remembers."""

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class News:
    """The latest log lines of info and above, newest last, and whoever wants to hear of the next one."""

    def __init__(self) -> None:
        self.lines: deque[dict[str, object]] = deque(maxlen=NEWS_MOST)
        self.listeners: set[Callable[[dict[str, object]], None]] = set()

    def __call__(self, logger: object, method: str, facts: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor: remember and pass on."""
        if method != "debug":
            line: dict[str, object] = {
                key: value if isinstance(value, str | int | float | bool) else str(value)
                for key, value in facts.items()
                if key != "exc_info"
            }
            self.tell(line)
        return facts

    def tell(self, line: dict[str, object]) -> None:
        """Remember a line and pass it on."""
        self.lines.append(line)
        for listener in tuple(self.listeners):
            listener(line)


def configure_logging(
    level: str, news: News, *, stream: TextIO | None = None, text: bool = False, cell: str = ""
) -> None:
    """Set up structlog for the process; `level` is debug, info, warning or error; `text` is for a person at a terminal.

    `cell` is said in every line, if there is one. Libraries that use the standard module are heard from `warning` on,
    in the same shape.
    """
    out = stream if stream is not None else sys.stderr
    render: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    if cell:
        shared.append(lambda _, __, facts: {**facts, "cell": cell})
    structlog.configure(
        processors=[*shared, news, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(_LEVELS[level], logging.WARNING))
