"""Read a policy document from YAML, refusing what plain YAML would silently drop."""

from __future__ import annotations

import datetime as dt
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from data_contracts.errors import InputError


class DoubledKeyError(InputError):
    """A key written twice: plain YAML keeps the later and forgets the earlier rule."""


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key written twice in one mapping."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in made:
            raise DoubledKeyError(
                f"{node.start_mark.name}: {key} is written twice, again in line"
                f" {key_node.start_mark.line + 1}; keep one"
            )
        made[key] = loader.construct_object(value_node, deep=True)
    return made


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(text: str, name: str) -> dict[str, Any]:
    """A YAML mapping; ``name`` is for messages."""
    loader = _StrictLoader(text)
    loader.name = name
    try:
        document = loader.get_single_data()
    except yaml.YAMLError as error:
        raise InputError(f"{name} is not YAML: {error}") from None
    finally:
        loader.dispose()
    if not isinstance(document, dict):
        raise InputError(f"{name} must hold a mapping of rules")
    return document


def shipped_documents(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pack's document and the house profile it includes, as they ship with Gearline."""
    folder = resources.files("models.policy") / "packs"
    document = read_yaml((folder / f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
    if "include" not in document:
        return document, {"from_first_date": {}}
    house = str(document.pop("include"))
    return document, read_yaml((folder / house).read_text(encoding="utf-8"), house)


def documents_of_file(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The same of a file; the house profile lies beside it, else the shipped one is taken."""
    if not path.is_file():
        raise InputError(f"there is no policy file {path}; name a pack, or a YAML file")
    document = read_yaml(path.read_text(encoding="utf-8"), path.name)
    house = str(document.pop("include", "house.yaml"))
    beside = path.parent / house
    if beside.is_file():
        return document, read_yaml(beside.read_text(encoding="utf-8"), house)
    shipped = resources.files("models.policy") / "packs" / house
    return document, read_yaml(shipped.read_text(encoding="utf-8"), house)


def instant(value: Any, what: str) -> dt.datetime:
    """The moment a rule takes effect, in the market's own time: a date is its midnight."""
    if isinstance(value, dt.datetime):
        if value.tzinfo is not None:
            raise InputError(f"{what}: write {value} without a zone; the pack's own zone holds")
        return value
    if isinstance(value, dt.date):
        return dt.datetime.combine(value, dt.time())
    raise InputError(f"{what}: {value!r} is no date; write 2015-11-23 or 2023-09-08T15:00:00")
