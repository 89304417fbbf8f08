"""Guesses what the operator meant by a value of the wrong kind."""

import re
from typing import Final

_SHOWN_MOST: Final = 48
_SECRET: Final = re.compile(r"pass(word|phrase)?|secret|token|credential|api_?key", re.IGNORECASE)
_TRUE: Final = ("yes", "on", "y", "enabled")
_FALSE: Final = ("no", "off", "n", "disabled")
_UNITS: Final = {
    "ms": 0.001,
    "s": 1.0, "sec": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "minutes": 60.0,
    "h": 3600.0, "hours": 3600.0,
    "d": 86400.0, "days": 86400.0,
}  # fmt: skip


def shown(name: str, written: object) -> str:
    """A value for a message; what may be a secret is not shown."""
    if isinstance(written, dict):
        return "`name: value` lines"
    if isinstance(written, list):
        return "a list"
    if written is None:
        return "nothing"
    if isinstance(written, bool):
        return str(written).lower()
    if _SECRET.search(name):
        return "what is written there"
    text = " ".join(str(written).split())
    if not text:
        return "an empty text"
    return f"`{text[:_SHOWN_MOST]}…`" if len(text) > _SHOWN_MOST else f"`{text}`"


def size(count: int) -> str:
    """A number of bytes as an operator writes it: ``16MiB``."""
    for unit, factor in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= factor and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def quantity(nouns: list[str], name: str, written: object) -> str:
    """What to write instead, as the end of a sentence; empty if there is no good guess."""
    if isinstance(written, str):
        text = written.strip().lower()
        if "true or false" in nouns and text in ("true", "false", *_TRUE, *_FALSE):
            return f"; write {'true' if text in ('true', *_TRUE) else 'false'}, without quotes"
        if "a whole number" in nouns or "a number" in nouns:
            return _number(text, name)
        if "a list" in nouns:
            return f"; write [{written}]" if re.fullmatch(r"[\w./-]+", written) else "; put it in [ ]"
    if "a whole number" in nouns and isinstance(written, float) and written.is_integer():
        return f"; write {written:.0f}"
    if "text" in nouns and isinstance(written, bool | int | float):
        return f'; write it in quotes: "{str(written).lower() if isinstance(written, bool) else written}"'
    if "a list" in nouns and isinstance(written, dict):
        return "; each member begins with `- `"
    return ""


def _number(text: str, name: str) -> str:
    plain = text.replace("_", "").replace(" ", "")
    if re.fullmatch(r"[-+]?\d+(\.\d+)?", plain):
        return f"; write {plain}" if plain != text else f"; write {plain} without quotes"
    if re.fullmatch(r"[-+]?\d+,\d+", plain):
        return f"; write {plain.replace(',', '.')}"
    unit = 1.0 if name.endswith("_seconds") else 0.001 if name.endswith("_ms") else 0.0
    if not unit:
        return ""
    said = "seconds" if unit == 1.0 else "milliseconds"
    if clock := re.fullmatch(r"(\d+):(\d\d)(?::(\d\d))?", plain):
        first, second, third = (int(part or 0) for part in clock.groups())
        seconds = first * 3600 + second * 60 + third if clock[3] else first * 60 + second
        return f"; it is a number of {said}: write {seconds / unit:g}"
    if (measure := re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]+)", plain)) and measure[2] in _UNITS:
        return f"; it is a number of {said}: write {float(measure[1]) * _UNITS[measure[2]] / unit:.12g}"
    return f"; it is a number of {said}"
