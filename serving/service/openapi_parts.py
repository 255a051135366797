"""Small schemas that the OpenAPI document is put together from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def as_object(properties: Schema, optional: Iterable[str] = (), **more: Any) -> Schema:
    """An object of exactly these properties."""
    left = set(optional)
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in left],
        "additionalProperties": False,
        **more,
    }


def or_null(schema: Schema) -> Schema:
    """A schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def as_list(of: Schema) -> Schema:
    """A list of one kind."""
    return {"type": "array", "items": of}


TEXT: Final[Schema] = {"type": "string"}
WHOLE: Final[Schema] = {"type": "integer"}
FLAG: Final[Schema] = {"type": "boolean"}
DATE: Final[Schema] = {"type": "string", "format": "date"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
HASH: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
NUMBER: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"}
SUBJECT: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:@|-]{0,127}$"}
ASKED: Final[Schema] = {
    "type": "string",
    "pattern": "^(0|[1-9][0-9]{0,9})(\\.[0-9]{1,2})?$",
    "description": "Money as a decimal string in the stated currency.",
}
DECIMAL: Final[Schema] = {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]+)?$"}
