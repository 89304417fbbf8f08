"""The page's figures for those who have no browser: drawn in place on a terminal, else a line every few seconds."""

import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from deploy.demo.counting import Balance

_GREEN, _YELLOW, _RED, _DIM, _BOLD, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
_CODES: Final = re.compile("\x1b\\[[0-9;]*m")
_LINE_SECONDS: Final = 5.0
_BAR: Final = 30


@dataclass(frozen=True, slots=True)
class Moment:
    """What there is to show."""

    url: str
    story: str
    seconds: float
    """Since the machine began."""
    status: Mapping[str, Any] | None
    """The gateway's own, or None while it does not answer."""
    balance: Balance


class Screen:
    """One of the two, by whether there is a terminal."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._drawn = 0
        self._said_at = -_LINE_SECONDS
        self._story = ""
        self.in_place = out.isatty()

    def show(self, moment: Moment) -> None:
        """Draw, or say something if it is time to."""
        if self.in_place:
            width = shutil.get_terminal_size().columns
            lines = [_fitted(line, width) for line in self._lines(moment)]
            up = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
            self._out.write(up + "\n".join(lines) + "\n")
            self._drawn = len(lines)
        else:
            told = moment.story.partition(" In ")[0]
            if told == self._story and moment.seconds - self._said_at < _LINE_SECONDS:
                return
            if told != self._story:
                self._out.write(f"{moment.seconds:6.1f} s  -- {told}\n")
            self._story, self._said_at = told, moment.seconds
            self._out.write(f"{moment.seconds:6.1f} s  {_figures(moment)}\n")
        self._out.flush()

    def _lines(self, moment: Moment) -> Sequence[str]:
        balance = moment.balance
        lines = ["", f"  {_BOLD}{moment.url}{_PLAIN}   {_DIM}Ctrl-C ends the demo{_PLAIN}", "", f"  {moment.story}", ""]
        if moment.status is None:
            lines += [f"  {_RED}the gateway does not answer{_PLAIN}", "", "", ""]
        else:
            flow = next(iter(moment.status["flows"].values()))
            end = next(iter(flow["destinations"].values()))
            states = [f"{name} {_state(use['state'])}" for name, use in _uses(moment.status)]
            off = _colour(_GREEN if end["difference"] == 0 else _RED, f"{end['difference']:,}")
            filled = min(_BAR, round(end["queued"] / 50))
            bar = f"{_YELLOW}{'█' * filled}{_PLAIN}{_DIM}{'·' * (_BAR - filled)}{_PLAIN}"
            lines += [
                f"  {'   '.join(states)}   in {flow['rate_in']:,.0f}/s, out {end['rate_out']:,.0f}/s",
                f"  gateway  {_equation(end)}   difference {_BOLD}{off}{_PLAIN}",
                f"  outbox   {bar} {end['queued']:,} queued",
                "",
            ]
        faults = balance.altered + balance.unknown + balance.out_of_order
        lines += [
            f"  counted outside the gateway, by the machine and by the broker, {moment.seconds:,.0f} s:",
            f"  made {balance.made:,}   arrived {balance.arrived:,}   on the way {balance.on_the_way:,}"
            f"   in gap records {balance.named:,}   twice {balance.again:,}   altered or out of order "
            + _colour(_GREEN if faults == 0 else _RED, f"{faults:,}"),
            "",
        ]
        return lines


def _fitted(line: str, width: int) -> str:
    """A line that would wrap would spoil the drawing in place: cut, and without its colours."""
    plain = _CODES.sub("", line)
    return line if len(plain) < width else plain[: width - 1]


def _figures(moment: Moment) -> str:
    balance = moment.balance
    counted = f"made {balance.made:,}, arrived {balance.arrived:,}, on the way {balance.on_the_way:,}"
    if moment.status is None:
        return f"{counted} | gateway: no answer"
    flow = next(iter(moment.status["flows"].values()))
    end = next(iter(flow["destinations"].values()))
    states = ", ".join(f"{name} {use['state']}" for name, use in _uses(moment.status))
    return f"{counted} | gateway: {_equation(end)}, difference {end['difference']:,} | {states}"


def _equation(end: Mapping[str, Any]) -> str:
    return (
        f"accepted {end['accepted']:,} = delivered {end['delivered']:,} + queued {end['queued']:,}"
        f" + dropped {end['dropped']:,}"
    )


def _uses(status: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, use) for name, connection in status["connections"].items() for use in connection["uses"]]


def _state(state: str) -> str:
    return _colour({"up": _GREEN, "away": _RED}.get(state, _YELLOW), state)


def _colour(colour: str, text: str) -> str:
    return f"{colour}{text}{_PLAIN}"
