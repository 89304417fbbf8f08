"""How far a value must move before the device reports it."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_HOW: Final = 'a deadband is a number in the tag\'s own unit (0.5) or a share of its range ("2%", 0 to 100)'


@dataclass(frozen=True, slots=True)
class Deadband:
    """Absolute (the tag's own unit) or percent of the tag's EURange; judged by the server (OPC 10000-4, 7.22.2)."""

    kind: Literal["absolute", "percent"]
    size: float

    @classmethod
    def parse(cls, written: object) -> "Deadband":
        """From ``0.5`` or ``"2%"``; raises ValueError with what to write instead."""
        if isinstance(written, cls):
            return written
        if isinstance(written, bool) or not isinstance(written, int | float | str):
            raise ValueError(_HOW)
        text = str(written).strip()
        percent = text.endswith("%")
        try:
            size = float(text.removesuffix("%"))
        except ValueError:
            raise ValueError(f"{text!r}: {_HOW}") from None
        if not 0 <= size < float("inf") or (percent and size > 100):
            raise ValueError(f"{text!r}: {_HOW}")
        return cls("percent" if percent else "absolute", size)

    def __str__(self) -> str:
        return f"{self.size:g}%" if self.kind == "percent" else f"{self.size:g}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """From a number or text; shown as it is written."""
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A number, or text that may end in ``%``."""
        return {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9.eE+-]+ ?%?$"}]}
