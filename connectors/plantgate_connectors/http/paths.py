"""Paths of requests: which are asked for, and how their segments become tags."""

import re
from collections.abc import Mapping, Sequence, Set
from typing import Final
from urllib.parse import unquote_to_bytes

PATH_BYTES_MAX: Final = 2048
_NAME: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_SEGMENT: Final = re.compile(r"\{([a-z][a-z0-9_]*)(#?)\}")
_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def read_path(target: str) -> tuple[str, ...] | None:
    """The segments of a request's path, decoded; None where it breaks the rules.

    Refused: what is not UTF-8 or not percent-encoding, and a segment that is `.`, `..` or empty, or hides a `/`, a `\\`
    or a NUL: one program would read another path out of it than the next.
    """
    raw = target.partition("?")[0].encode(errors="surrogateescape")
    if not raw.startswith(b"/") or len(raw) > PATH_BYTES_MAX or _PERCENT.search(raw):
        return None
    try:
        segments = tuple(unquote_to_bytes(segment).decode() for segment in raw[1:].split(b"/"))
    except UnicodeDecodeError:
        return None
    if segments == ("",):
        return ()
    for segment in segments:
        if segment in ("", ".", "..") or "/" in segment or "\\" in segment or "\0" in segment:
            return None
    return segments


class Template:
    """Text with ``{name}`` in it."""

    __slots__ = ("_pieces", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces: Sequence[str] = _NAME.split(text)  # text, name, text, name, text
        self.names: Set[str] = frozenset(self._pieces[1::2])
        if not text or any(brace in piece for piece in self._pieces[0::2] for brace in "{}"):
            raise ValueError(f"{text!r}: a name in braces is lower-case letters, digits and _, for example {{line}}")

    def only(self, allowed: Set[str], where: str) -> None:
        """Refuse names nobody will fill."""
        for name in sorted(self.names - allowed):
            known = ", ".join(f"{{{known}}}" for known in sorted(allowed)) or "none"
            raise ValueError(f"{where}: {{{name}}} has no meaning here; names that have one: {known}")

    def fill(self, names: Mapping[str, str]) -> str:
        """The text, with the names filled in."""
        if not self.names:
            return self.text
        return "".join(names[piece] if place % 2 else piece for place, piece in enumerate(self._pieces))


class PathPattern:
    """A path in which segments may be ``{name}``, and the last one ``{name#}``: all that follow."""

    def __init__(self, text: str) -> None:
        if not text.startswith("/") or "?" in text or (text != "/" and text.endswith("/")):
            raise ValueError(f"path {text!r}: write /name/name, without a / at the end and without ?")
        self.text = text
        self._segments: list[tuple[str | None, str]] = []
        """For each segment: the text it must be, or None; the name it is known by."""
        self._open = False
        written = () if text == "/" else text[1:].split("/")
        for place, segment in enumerate(written):
            found = _SEGMENT.fullmatch(segment)
            if found is None:
                if not segment or any(character in segment for character in "{}#%\\"):
                    raise ValueError(f"path {text!r}: {segment!r} must be plain text or {{name}}")
                self._segments.append((segment, ""))
                continue
            if found[2] and place != len(written) - 1:
                raise ValueError(f"path {text!r}: {segment} stands for all that follow, so it can only come last")
            self._open = bool(found[2])
            self._segments.append((None, found[1]))
        names = [name for literal, name in self._segments if literal is None]
        if len(names) != len(set(names)):
            raise ValueError(f"path {text!r}: a name stands twice in it")
        self.names: Set[str] = frozenset(names)

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The named segments; None if this path is not meant."""
        fixed = len(self._segments) - self._open
        if len(segments) < len(self._segments) if self._open else len(segments) != fixed:
            return None
        found = {}
        for (literal, name), segment in zip(self._segments[:fixed], segments, strict=False):
            if literal is None:
                found[name] = segment
            elif literal != segment:
                return None
        if self._open:
            found[self._segments[-1][1]] = "/".join(segments[fixed:])
        return found
