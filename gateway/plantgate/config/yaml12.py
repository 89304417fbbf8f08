"""YAML as far as a plant file needs it: 1.2 core scalars, and nothing that surprises.

Built on the events of PyYAML (libyaml where there is one), not on its loaders: those read YAML 1.1, where ``on`` is
true, ``012`` is ten and ``1:30`` is ninety, keep the last of two equal keys without a word, and follow aliases, by
which 300 bytes grow to gigabytes. Here text is text unless it is plainly a number, true, false or null; equal keys,
aliases, anchors, tags and second documents are faults; every value knows the line and column it came from.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from plantgate.config.place import Place, Step, Trail
from plantgate.config.yaml_trouble import sentence

SIZE_MAX: Final = 2**20
"""Bytes a plant file may have; tags by the thousand belong in a CSV file."""

DEPTH_MAX: Final = 32
"""How deep lists and mappings may nest."""

FAULTS_MAX: Final = 50
"""After so many faults no more are looked for."""

Plain: TypeAlias = dict[str, "Plain"] | list["Plain"] | str | int | float | bool | None

# The core schema, https://yaml.org/spec/1.2.2/#1032-tag-resolution, without .inf and .nan, which no setting means,
# and without leading zeros, which YAML 1.1 reads as octal.
_INTEGER: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ZEROS: Final = re.compile(r"([-+]?)0+([0-9]+)")
_ENDLESS: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DIGITS_MAX: Final = 40
_NUMERIC_START: Final = frozenset("0123456789+-.")
_PARSER: Final[Any] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that keeps the file from being read."""

    text: str
    place: Place
    trail: Trail = ()


class NotYaml(ValueError):
    """The file cannot be read; every fault found says why and where."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.text for fault in faults))
        self.faults = faults


@dataclass(slots=True)
class _Spot:
    """Where a value stands, and its members stand; kept as the parser's own marks, since few are ever asked for."""

    key: Any
    value: Any
    members: "dict[Step, _Spot]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Document:
    """Plain values, and where each was written."""

    root: Plain
    _top: _Spot | None

    def place(self, trail: Trail, *, key: bool = False) -> Place:
        """Where the value at this trail begins, or with `key` its key; of what is not there, the nearest above it."""
        spot = self._top
        if spot is None:
            return Place(1, 1)
        found = spot.value
        for step in trail:
            spot = spot.members.get(step)
            if spot is None:
                break
            found = spot.key if key else spot.value
        return Place(found.line + 1, found.column + 1)


def parse(content: bytes, *, parser: Any = _PARSER) -> Document:
    """Read one document. Raises `NotYaml`. An empty file is null. `parser` is one of PyYAML's loader classes."""
    text = _text(content)
    builder = _Builder()
    try:
        document = builder.document(yaml.parse(text, Loader=parser))
    except yaml.MarkedYAMLError as error:
        said, line, column = sentence(error, text)
        raise NotYaml(*builder.faults, Fault(said, Place(line, column))) from error
    if builder.faults:
        raise NotYaml(*builder.faults)
    return document


def _text(content: bytes) -> str:
    """UTF-8, with or without a byte-order mark, of characters that can be seen."""
    if len(content) > SIZE_MAX:
        raise NotYaml(
            Fault(
                f"the file is larger than {SIZE_MAX // 2**20} MiB; keep tags by the thousand in a CSV file beside it",
                Place(1, 1),
            )
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotYaml(Fault("the file is UTF-16; save it as UTF-8", Place(1, 1)))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8-sig")
        wrong = "this is not a text file" if b"\0" in content else "save the file as UTF-8"
        raise NotYaml(Fault(f"byte 0x{content[error.start]:02x} is not UTF-8; {wrong}", _end(before))) from error
    if "\0" in text:
        raise NotYaml(Fault("this is not a text file", Place(1, 1)))
    if match := _CONTROL.search(text):
        where = _end(text[: match.start()])
        raise NotYaml(Fault(f"control character U+{ord(match.group()):04X} here; remove it", where))
    return text


@dataclass(slots=True)
class _Builder:
    """Builds values from events, noting faults and going on where that is possible."""

    faults: list[Fault] = field(default_factory=list)
    _trail: list[Step] = field(default_factory=list)

    def document(self, events: Any) -> Document:
        root: Plain = None
        top: _Spot | None = None
        seen = False
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    self._fault("a second document begins here; a plant file is one, without `---` inside", event)
                    break
                if event.version and event.version != (1, 2):
                    self._fault("a plant file is read as YAML 1.2; remove the %YAML line", event)
                seen = True
            elif isinstance(event, yaml.NodeEvent):
                top = _Spot(event.start_mark, event.start_mark)
                root = self._value(event, events, top)
        return Document(root, top)

    def _value(self, event: Any, events: Any, spot: _Spot) -> Plain:
        kind = type(event)
        if kind is yaml.AliasEvent:
            self._fault(f"`*{event.anchor}` points at another part of the file; write that part out here", event)
            return None
        if event.anchor is not None:
            self._fault(f"`&{event.anchor}` is not allowed; remove it, and write out what refers to it", event)
        if event.tag is not None:
            self._fault(f"`{_tag(event.tag)}` is not allowed; remove it, or quote the text if it is text", event)
        if kind is yaml.ScalarEvent:
            return self._scalar(event) if event.style in ("", None) and event.tag is None else self._text(event)
        if len(self._trail) >= DEPTH_MAX:
            deep = Fault(f"nested deeper than {DEPTH_MAX} levels; no setting is", _place(event.start_mark))
            raise NotYaml(*self.faults, deep)
        return self._mapping(events, spot) if kind is yaml.MappingStartEvent else self._sequence(events, spot)

    def _sequence(self, events: Any, spot: _Spot) -> Plain:
        members: list[Plain] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            index = len(members)
            self._trail.append(index)
            below = spot.members[index] = _Spot(event.start_mark, event.start_mark)
            members.append(self._value(event, events, below))
            self._trail.pop()
        return members

    def _mapping(self, events: Any, spot: _Spot) -> Plain:
        members: dict[str, Plain] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event, events)
            self._trail.append(key)
            if key in members:
                first = spot.members[key].key.line + 1
                self._fault(f"`{key}` stands here a second time; the first is in line {first}", event)
            value = next(events)
            below = spot.members[key] = _Spot(event.start_mark, value.start_mark)
            members[key] = self._value(value, events, below)
            self._trail.pop()
        return members

    def _key(self, event: Any, events: Any) -> str:
        """The text of a key, as written."""
        if not isinstance(event, yaml.ScalarEvent):
            self._trail.append("?")
            self._value(event, events, _Spot(event.start_mark, event.start_mark))
            self._trail.pop()
            if not isinstance(event, yaml.AliasEvent):
                self._fault("a list or mapping cannot be a name; quote it if it is text", event)
            return "?"
        if event.tag is not None or event.anchor is not None:
            self._value(event, events, _Spot(event.start_mark, event.start_mark))
        elif event.value == "" and event.style in ("", None):
            self._fault("the name before the colon is missing", event)
        elif event.value == "<<" and event.style in ("", None):
            self._fault("`<<` does not merge here; write the settings out", event)
        return self._text(event)

    def _text(self, event: Any) -> str:
        """Text that every encoder accepts: PyYAML's own parser lets half of a surrogate pair through."""
        text = str(event.value)
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            self._fault("an escape that is no character", event)
            return ""
        return text

    def _scalar(self, event: Any) -> Plain:
        """What unquoted text stands for."""
        text: str = event.value
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in _NUMERIC_START:
            return text
        if _INTEGER.fullmatch(text):
            if len(text) > _DIGITS_MAX:
                self._fault("a number of too many digits; quote it if it is text", event)
                return None
            return int(text)
        if _BASED.fullmatch(text) and len(text) <= _DIGITS_MAX:
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                self._fault(f"`{text}` is too large for a number; quote it if it is text", event)
                return None
            return number
        if match := _ZEROS.fullmatch(text):
            decimal = match[1] + (match[2].lstrip("0") or "0")
            octal = "" if re.search("[89]", text) else f", 0o{match[2].lstrip('0') or '0'} for an octal one"
            self._fault(f"`{text}` is ambiguous; write {decimal} for a number{octal}, '{text}' for text", event)
        elif _ENDLESS.fullmatch(text):
            self._fault(f"`{text}` is not a number a setting can have; quote it if it is text", event)
        return text

    def _fault(self, text: str, event: Any) -> None:
        self.faults.append(Fault(text, _place(event.start_mark), tuple(self._trail)))
        if len(self.faults) >= FAULTS_MAX:
            raise NotYaml(*self.faults)


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)


def _end(text: str) -> Place:
    """The place just behind this much of a file."""
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))
