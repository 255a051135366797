"""Reads a JSON object with errors that name the path, the value and the rule."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from data_contracts.errors import InputError
from data_contracts.units import parse_decimal


class JsonReader:
    """One JSON object at a path. With ``fields`` given, any other field is refused."""

    def __init__(self, document: Any, path: str, *fields: str) -> None:
        if not isinstance(document, Mapping):
            raise InputError(f"{path} must be a JSON object, not {type(document).__name__}")
        self.document, self.path = document, path
        extra = document.keys() - fields if fields else ()
        if extra:
            raise InputError(
                f"{path}.{min(extra)} is not a field; the fields are {', '.join(fields)}"
            )

    def raw(self, name: str) -> Any:
        """A field's value, whatever it is."""
        if name not in self.document:
            raise InputError(f"{self.path}.{name} is missing")
        return self.document[name]

    def typed(self, name: str, kind: type, optional: bool = False) -> Any:
        """A field's value of one type; ``optional`` allows null."""
        value = self.raw(name)
        if value is None and optional:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InputError(f"{self.path}.{name} is {value!r}; it must be of type {kind.__name__}")
        return value

    def amount(self, name: str, optional: bool = False) -> Any:
        """Money from a decimal string, in minor units."""
        value = self.typed(name, str, optional)
        return None if value is None else parse_decimal(value, 2, f"{self.path}.{name}")

    def ratio(self, name: str) -> int:
        """A ratio from a decimal string, in 1e-6."""
        return parse_decimal(self.typed(name, str), 6, f"{self.path}.{name}")

    def date(self, name: str, optional: bool = False) -> Any:
        """A date from its ISO 8601 form."""
        value = self.typed(name, str, optional)
        if value is None:
            return None
        try:
            return dt.date.fromisoformat(value)
        except ValueError:
            raise InputError(
                f"{self.path}.{name} is {value!r}; write a date like 2015-06-12"
            ) from None
