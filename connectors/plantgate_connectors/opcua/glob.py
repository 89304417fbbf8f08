"""Patterns over browse paths: ``Objects/Line*/**/Temp*``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Final

ANY_DEPTH: Final = "**"


@dataclass(frozen=True)
class Pattern:
    """A path pattern that is walked level by level, so that branches which cannot match are never opened.

    A state is a position in the pattern: "the segments before it have been matched". A path has a set of states.
    """

    segments: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Raises ValueError if it is empty or has an empty segment."""
        segments = tuple(text.strip().split("/"))
        if not all(segments):
            raise ValueError(f"{text!r} is not a browse path; write names with / between, for example Objects/Line*/**")
        if any(ANY_DEPTH in segment and segment != ANY_DEPTH for segment in segments):
            raise ValueError(f"{text!r}: ** stands alone between slashes and matches any number of levels")
        return cls(segments)

    @cached_property
    def _names(self) -> tuple[re.Pattern[str] | None, ...]:
        return tuple(None if segment == ANY_DEPTH else re.compile(translate(segment)) for segment in self.segments)

    @cached_property
    def fixed(self) -> int:
        """How many leading segments hold no wildcard."""
        for index, segment in enumerate(self.segments):
            if any(mark in segment for mark in "*?["):
                return index
        return len(self.segments)

    def start(self) -> frozenset[int]:
        """States at Root, before any name."""
        return self._closed({0})

    def step(self, states: frozenset[int], name: str) -> frozenset[int]:
        """States after one more name; empty when nothing below can match."""
        after: set[int] = set()
        for state in states:
            if state == len(self.segments):
                continue
            matcher = self._names[state]
            if matcher is None:
                after.add(state)
            elif matcher.match(name):
                after.add(state + 1)
        return self._closed(after)

    def matched(self, states: frozenset[int]) -> bool:
        """True when the whole pattern is matched."""
        return len(self.segments) in states

    def open(self, states: frozenset[int]) -> bool:
        """True when something below can match."""
        return any(state < len(self.segments) for state in states)

    def matches(self, names: Sequence[str]) -> bool:
        """Match a whole path at once."""
        states = self.start()
        for name in names:
            states = self.step(states, name)
        return self.matched(states)

    def _closed(self, states: set[int]) -> frozenset[int]:
        """``**`` also matches no level at all."""
        closed: set[int] = set()
        for state in states:
            closed.add(state)
            while state < len(self.segments) and self.segments[state] == ANY_DEPTH:
                state += 1
                closed.add(state)
        return frozenset(closed)
