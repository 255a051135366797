"""A small market and lake for the command line's tests, and the keys that docs/json.md promises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

import gearline
from data_contracts.importers import write_sample_market

PAGE = Path(__file__).resolve().parents[2] / "docs" / "json.md"
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \|", re.MULTILINE)
ONLY_WITH = re.compile(r", only with (?:an )?`?([\w-]+)`?$")

TYPES: dict[str, Callable[[Any], object]] = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: type(v) is int,
    "number": lambda v: type(v) in (int, float),
    "true or false": lambda v: isinstance(v, bool),
    "date": lambda v: re.fullmatch(r"\d{4}-\d\d-\d\d", v),
    "time": lambda v: re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", v),
    "hash": lambda v: re.fullmatch(r"[0-9a-f]{64}", v),
    "money": lambda v: re.fullmatch(r"-?\d+\.\d\d", v),
    "object": lambda v: isinstance(v, dict),
    "list": lambda v: isinstance(v, list),
    "any": lambda v: v is None or isinstance(v, int | float | str | bool),
}
"""How a value of each type looks; "object by X" and "list of X" go by their first word."""


def read_page(text: str) -> dict[str, dict[str, str]]:
    """Type by key of each section that has a table of keys."""
    sections = (part.partition("\n") for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:])
    tables = {title.strip("`"): dict(ROW.findall(body)) for title, _, body in sections}
    return {title: keys for title, keys in tables.items() if keys}


def _is(value: Any, kind: str) -> bool:
    kind = ONLY_WITH.sub("", kind)
    if kind.endswith(" or null"):
        if value is None:
            return True
        kind = kind.removesuffix(" or null")
    return bool(TYPES[kind if kind in TYPES else kind.split()[0]](value))


def differences(
    value: Any, keys: dict[str, str], empty: Iterable[str] = (), at: str = ""
) -> list[str]:
    """Where a printed value and the documented keys differ; ``empty`` names lists without items."""
    if not isinstance(value, dict):
        return [f"{at} is {value!r}, not an object"]
    inner: dict[str, dict[str, str]] = {}
    for key, kind in keys.items():
        name, _, rest = key.partition(".")
        inner.setdefault(name, {})[rest] = kind
    printed = {name.removesuffix("[]") for name in inner}
    found = [f"{at}{name} is printed, not documented" for name in value.keys() - printed]
    found += [f"{at}{name} is documented, not printed" for name in printed - value.keys()]
    for name, below in inner.items():
        item = value.get(name.removesuffix("[]"))
        kind = below.pop("", "")
        if name.removesuffix("[]") not in value:
            continue
        if kind and not _is(item, kind):
            found.append(f"{at}{name} is {item!r}, not {kind}")
        elif name.endswith("[]"):
            if not isinstance(item, list) or (not item and name not in empty):
                found.append(f"{at}{name} is {item!r}, not a list with items")
                continue
            for k, one in enumerate(item):
                found += differences(one, below, (), f"{at}{name[:-1]}{k}].")
        elif below and (item is not None or not kind):
            found += differences(item, below, (), f"{at}{name}.")
    return found


@pytest.fixture(scope="session")
def json_page() -> dict[str, dict[str, str]]:
    """What docs/json.md documents: type by key, by verb."""
    return read_page(PAGE.read_text("utf-8"))


@pytest.fixture
def undocumented(json_page: dict[str, dict[str, str]]) -> Callable[..., list[str]]:
    """``undocumented(verb, document)``: where the document is not as docs/json.md says.

    ``given`` names the options that bring keys of their own, ``empty`` the lists without items.
    """

    def compare(verb: str, document: Any, given: Iterable[str] = (), empty: Iterable[str] = ()):
        keys = {}
        for key, kind in json_page[verb].items():
            only = ONLY_WITH.search(kind)
            if only is None or only.group(1) in given:
                keys[key] = kind
        return differences(document, keys, empty)

    return compare


@pytest.fixture(scope="session")
def tiny_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled sample as a market folder. Read it only."""
    folder = tmp_path_factory.mktemp("market") / "us"
    write_sample_market(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_lake(tmp_path_factory: pytest.TempPathFactory, tiny_market: Path) -> Path:
    """A lake of 200 clients over 2014, with too few defaults to learn from. Read it only."""
    folder = tmp_path_factory.mktemp("tiny") / "lake"
    period = ["--from", "2014-01-01", "--to", "2014-12-31"]
    arguments = ["lab", "simulate", "--market", str(tiny_market), "--clients", "200", *period]
    assert gearline.main([*arguments, "--out", str(folder)]) == gearline.DONE
    return folder
