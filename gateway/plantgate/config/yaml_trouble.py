"""What a YAML parser says when it stumbles, said for someone who has never read the YAML specification."""

import re
from typing import Any, Final

_QUOTE: Final = (
    "after the closing quote nothing may follow; quote the whole text, or look for a quote above that is not closed"
)
_ESCAPE: Final = "in double quotes a backslash is written \\\\; in single quotes it is just \\"

_LIST: Final = (
    "this does not fit the list above: begin it with `- `, or indent it like the name that the list belongs to"
)
# libyaml's own idea of where a line ends.
_LINE_END: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

# A part of what libyaml says, or PyYAML's own parser where its words differ, and what it means to an operator.
_MEANINGS: Final = (
    ("entries are not allowed", "a list cannot begin here; put `- ` on a line of its own, below the name"),
    ("unknown escape", f"an unknown escape; {_ESCAPE}"),
    ("escape sequence", f"an escape that lacks digits; {_ESCAPE}"),
    ("xdecimal", f"an escape that lacks digits; {_ESCAPE}"),
    ("escape code", f"an escape that is no character; {_ESCAPE}"),
    ("node content", "a value is missing here, or this mark needs quotes"),
    ("alphabetic or numeric", "text that begins with * or & needs quotes"),
    ("tag handle", "text that begins with ! needs quotes"),
    ("'>'", "text that begins with ! needs quotes"),
    ("document start", "indented less than the first line; all names at the top begin in the same column"),
    ("mapping keys are not allowed", "a `?` that cannot be here; quote it if it is text"),
    ("incompatible YAML", "a plant file is read as YAML 1.2; remove the %YAML line"),
    ("line break", "after | or > nothing may follow in the line; quote the text if it is one line"),
    ("indentation indicator", "after | or > nothing may follow in the line; quote the text if it is one line"),
    ("nesting depth", "nested far too deep; no setting is"),
)


def sentence(error: Any, text: str) -> tuple[str, int, int]:
    """What is wrong and what to do, with the line and column (from 1) to look at; `error` is a `MarkedYAMLError`."""
    said = str(error.problem)
    mark = error.problem_mark or error.context_mark
    lines = _LINE_END.split(text)
    here = lines[mark.line] if mark.line < len(lines) else ""
    at = (mark.line + 1, mark.column + 1)
    opened = error.context_mark or mark

    if "mapping values are not allowed" in said:
        return _stray_colon(lines, mark.line, mark.column)
    if "could not find expected ':'" in said:
        return "this line has no colon; a setting is written `name: value`", opened.line + 1, opened.column + 1
    if "expected ',' or" in said:
        if re.search(r"\$$", here[: mark.column]) or re.search(r"\$\{(file|env)$", here[: mark.column]):
            return 'a reference in { } or [ ] needs quotes: "${file:...}"', *at
        closing = said[said.index("or '") + 4]
        return f"a comma is missing, or the closing {closing} of line {opened.line + 1}", *at
    if "end of stream" in said or "unexpected document" in said:
        return "this quote is never closed", opened.line + 1, opened.column + 1
    if "tab character" in said or ("cannot start any token" in said and _tab_before(here, mark.column)):
        return "a tab in the indentation; YAML indents with spaces", *at
    if "cannot start any token" in said:
        return f"text that begins with {here[mark.column]} needs quotes", *at
    misfit = any(part in said for part in ("expected key", "block end", "'-' indicator"))
    if (misfit or "node content" in said) and here[mark.column : mark.column + 1] == ":":
        return "the name before the colon is missing", *at
    if misfit and error.context == "while parsing a block collection":
        return _LIST, *at
    if misfit and here[: mark.column].rstrip().endswith(("'", '"')):
        return _QUOTE, *at
    if "directive" in said:
        return "a line that begins with % is not a setting; quote the name if it is one", mark.line + 1, 1
    if misfit:
        return "the indentation does not fit the lines above", *at
    for part, meaning in _MEANINGS:
        if part in said:
            return meaning, *at
    return f"not YAML here: {said}", *at


def _tab_before(line: str, column: int) -> bool:
    return "\t" in line[: column + 1] and not line[:column].strip()


def _stray_colon(lines: list[str], line: int, column: int) -> tuple[str, int, int]:
    """A colon where no name can be: the fault is in this line, or in the one above that ran on into it."""
    here = lines[line]
    if re.search(r":\s", here[:column]):
        return "a second `: ` in this line; quote text that holds a colon and a space", line + 1, column + 1
    for above in range(line - 1, -1, -1):
        before = lines[above].split(" #")[0].rstrip()
        if not before.strip() or before.lstrip().startswith("#"):
            continue
        start = len(before) - len(before.lstrip()) + 1
        if glued := re.fullmatch(r"\s*(?:- )?([\w-]+):(\S.*)", before):
            return f"a space is missing after the colon; write `{glued[1]}: {glued[2]}`", above + 1, start
        if not re.search(r":(\s|$)", before):
            return "this line has no colon; a setting is written `name: value`", above + 1, start
        break
    return (
        "indented deeper than the line above, which has a value already",
        line + 1,
        len(here) - len(here.lstrip()) + 1,
    )
