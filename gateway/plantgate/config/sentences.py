"""Turns what pydantic reports into sentences for an operator: what is wrong, and what to write instead."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from plantgate.config.hints import quantity, shown, size
from plantgate.config.problems import instead

Report = Mapping[str, Any]
"""One entry of `ValidationError.errors()`."""

_NOUNS: Final = {
    "string_type": "text",
    "string_sub_type": "text",
    "path_type": "a path",
    "bytes_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
    "dict_type": "`name: value` lines",
    "mapping_type": "`name: value` lines",
    "model_type": "`name: value` lines",
    "model_attributes_type": "`name: value` lines",
    "dataclass_type": "`name: value` lines",
    "typed_dict_type": "`name: value` lines",
    "none_required": "null",
    **dict.fromkeys(("url_type", "url_parsing"), "a URL such as https://erp.example/api"),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing"), "a date such as 2026-01-31"),
    **dict.fromkeys(("time_type", "time_parsing"), "a time of day such as 06:30:00"),
    **dict.fromkeys(
        ("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), "a time such as 2026-01-31T06:30:00Z"
    ),
    **dict.fromkeys(("time_delta_type", "time_delta_parsing"), "a duration such as PT90S"),
    **dict.fromkeys(("uuid_type", "uuid_parsing"), "a UUID"),
}


def expects(report: Report) -> str | None:
    """What kind of value was expected, if the report is that the value is of the wrong kind altogether."""
    return _NOUNS.get(report["type"])


def wrong_kind(nouns: list[str], name: str, written: object, *, needed: bool = False) -> str:
    """The value is of the wrong kind; `name` is the setting's, `written` what stands in the file."""
    wanted = " or ".join(dict.fromkeys(nouns))
    if written is None:
        return f"has no value; write {wanted}{'' if needed else ', or remove the line'}"
    text = "the text " if isinstance(written, str) and written.strip() and "text" not in nouns else ""
    return f"expected {wanted}, not {text}{shown(name, written)}{quantity(nouns, name, written)}"


def sentence(report: Report, name: str, written: object) -> str:
    """One report as a sentence; unknown and missing settings and wrong kinds are said elsewhere."""
    if report["type"] in _SENTENCES:
        return _SENTENCES[report["type"]](report.get("ctx", {}), name, written)
    if noun := expects(report):
        return wrong_kind([noun], name, written)
    said = re.sub(r"^(Input|Value|String|Value error,|Assertion failed,) ?(should|must)? ?", "", str(report["msg"]))
    return f"{shown(name, written)}: this should {said}" if "should" in str(report["msg"]) else said


def not_a_name(written: object) -> str:
    """What names look like, and one made from what was written."""
    made = re.sub(r"[^a-z0-9_-]+", "_", str(written).lower()).strip("_-").lstrip("0123456789_-")[:64]
    example = f", for example `{made}`" if made else ""
    rule = "a name has lower-case letters, digits, _ and -, begins with a letter, and is at most 64 long"
    return f"`{str(written)[:64]}` is not a name; {rule}{example}"


def _bound(words: str, key: str) -> Callable[[Mapping[str, Any], str, object], str]:
    def say(context: Mapping[str, Any], name: str, written: object) -> str:
        limit = size(context[key]) if "bytes" in name else f"{context[key]:,}".replace(",", "")
        return f"must be {words} {limit.removesuffix('.0')}, not {shown(name, written)}"

    return say


def _length(words: str, key: str, unit: str) -> Callable[[Mapping[str, Any], str, object], str]:
    def say(context: Mapping[str, Any], name: str, written: object) -> str:
        count = context[key]
        if key == "min_length" and count == 1:
            return "must not be empty"
        return f"must have {words} {count} {unit}{'' if count == 1 else 's'}"

    return say


def _choice(context: Mapping[str, Any], name: str, written: object) -> str:
    allowed = re.findall(r"'((?:[^'\\]|\\.)*)'", str(context["expected"]))
    if not allowed:
        return f"must be {context['expected']}, not {shown(name, written)}"
    if written is None:
        return f"has no value; write one of {', '.join(allowed)}, or remove the line"
    text = str(written).lower() if isinstance(written, bool) else str(written)
    if not isinstance(written, str) and text in allowed:
        return f'is text here; write it in quotes: "{text}"'
    if not isinstance(written, str | int | float):
        return f"expected one of {', '.join(allowed)}, not {shown(name, written)}"
    guess = instead(text, allowed, there_are="write one of")
    others = f" (there are {', '.join(allowed)})" if guess.startswith("did") and len(allowed) > 1 else ""
    return f"{shown(name, written)} is not one of its values; {guess}{others}"


def _own(context: Mapping[str, Any], name: str, written: object) -> str:
    """What a validator of the settings model said, in its own words."""
    return str(context.get("error", "is not allowed"))


def _pattern(context: Mapping[str, Any], name: str, written: object) -> str:
    return f"{shown(name, written)} does not have the form {context['pattern']}"


_SENTENCES: Final[dict[str, Callable[[Mapping[str, Any], str, object], str]]] = {
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "multiple_of": _bound("a multiple of", "multiple_of"),
    "string_too_short": _length("at least", "min_length", "character"),
    "string_too_long": _length("at most", "max_length", "character"),
    "too_short": _length("at least", "min_length", "member"),
    "too_long": _length("at most", "max_length", "member"),
    "enum": _choice,
    "literal_error": _choice,
    "union_tag_invalid": lambda context, name, written: _choice(
        {"expected": context["expected_tags"]}, name, context["tag"]
    ),
    "union_tag_not_found": lambda context, name, written: (
        f"has no {str(context['discriminator']).strip(chr(39))}; it must be given"
    ),
    "value_error": _own,
    "assertion_error": _own,
    "name": lambda context, name, written: not_a_name(written),
    "string_pattern_mismatch": _pattern,
    "finite_number": lambda context, name, written: "must be a finite number",
    "int_parsing_size": lambda context, name, written: "is a number of too many digits",
}
