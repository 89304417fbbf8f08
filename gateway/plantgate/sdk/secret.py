"""A secret is written as a reference, and read at the moment it is used."""

import os
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from plantgate.sdk.errors import Unavailable

_PATTERN: Final = r"^\$\{(file|env):([^{}]+)\}$"


class Secret:
    """``${file:/run/secrets/name}`` or ``${env:NAME}``; a password typed into the plant file is refused."""

    __slots__ = ("_kind", "_name")

    def __init__(self, reference: str) -> None:
        kind, separator, name = reference.removeprefix("${").removesuffix("}").partition(":")
        if not (reference.startswith("${") and reference.endswith("}") and separator and name) or kind not in (
            "file",
            "env",
        ):
            raise ValueError("a secret is written as a reference: ${file:/run/secrets/NAME} or ${env:NAME}")
        self._kind, self._name = kind, name

    def reveal(self) -> str:
        """The secret itself, read anew each time so that a rotated file counts; a file's last newline is dropped.

        Raises `Unavailable` if the file or variable is not there.
        """
        if self._kind == "env":
            try:
                return os.environ[self._name]
            except KeyError:
                raise Unavailable(f"secret: environment variable {self._name} is not set") from None
        try:
            return Path(self._name).read_text(encoding="utf-8").removesuffix("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise Unavailable(f"secret: cannot read {self._name}: {error}") from error

    def __str__(self) -> str:
        return f"${{{self._kind}:{self._name}}}"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and str(other) == str(self)

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        """From a string; shown as its reference."""
        return core_schema.no_info_plain_validator_function(
            cls._from_setting, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A string of that pattern."""
        return {"type": "string", "pattern": _PATTERN, "examples": ["${file:/run/secrets/password}"]}

    @classmethod
    def _from_setting(cls, written: object) -> "Secret":
        if isinstance(written, cls):
            return written
        if not isinstance(written, str):
            raise ValueError("a secret is written as a reference: ${file:/run/secrets/NAME} or ${env:NAME}")
        return cls(written)
