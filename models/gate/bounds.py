"""The gate's bounds: dated house values, each with unit, reference and a way out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import parse_decimal
from models.policy import Policy
from models.policy.document import read_yaml

UNITS: Final = ("ratio", "int")
_PLACES: Final = 6
_KEYS: Final = frozenset(
    {"unit", "untested", "bound_by", "en", "zh", "way_out_en", "way_out_zh", "values"}
)
_VALUE_KEYS: Final = frozenset({"hold", "block", "reference"})


@dataclass(frozen=True)
class Bound:
    """A rule of the gate.

    Attributes
    ----------
    unit : ``ratio`` (1e-6) or ``int``
    hold, block : a figure above it holds, or blocks, the night; None never does
    untested : what a figure that could not be had does, ``pass`` or ``hold``
    """

    name: str
    unit: str
    hold: int | None
    block: int | None
    untested: str
    en: str
    zh: str
    way_out_en: str
    way_out_zh: str
    reference: str
    bound_by: str | None = None

    def __post_init__(self) -> None:
        if self.hold is not None and self.block is not None and self.hold > self.block:
            raise InputError(
                f"gate rule {self.name}: hold {self.hold} is above block {self.block}; a night is"
                " held before it is blocked"
            )
        if self.untested not in ("pass", "hold"):
            raise InputError(
                f"gate rule {self.name}: untested is {self.untested!r}; write pass or hold"
            )


@dataclass(frozen=True)
class Bounds:
    """The rules in force on a day, in order, and the hash of the document they are from."""

    rules: Mapping[str, Bound]
    sha256: str

    def with_policy(self, policy: Policy) -> Bounds:
        """The rules with the hold bounds that the policy pack states."""
        made = {}
        for name, rule in self.rules.items():
            if rule.bound_by is not None and rule.bound_by in policy:
                own = policy[rule.bound_by]
                block = rule.block if rule.block is None else max(own, rule.block)
                rule = replace(
                    rule, hold=own, block=block, reference=policy.reference(rule.bound_by)
                )
            made[name] = rule
        return Bounds(made, self.sha256)


def _number(value: Any, unit: str, what: str) -> int | None:
    if value is None:
        return None
    if unit == "int":
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{what}: {value!r} is not an integer")
        return value
    if not isinstance(value, str):
        raise InputError(f"{what}: write {value!r} as a quoted decimal, so that no float is read")
    return parse_decimal(value, _PLACES, what)


def _rule(name: str, body: Mapping[str, Any], day: dt.date) -> Bound:
    what = f"gate rule {name}"
    unknown = sorted(set(body) - _KEYS)
    if unknown or body.get("unit") not in UNITS:
        raise InputError(f"{what}: {unknown or body.get('unit')} is not known; correct it")
    days = sorted(body["values"])
    past = [d for d in days if d <= day]
    if not past:
        raise InputError(f"{what} has no value on {day}; its first holds from {days[0]}")
    value = body["values"][past[-1]]
    strange = sorted(set(value) - _VALUE_KEYS)
    if strange:
        raise InputError(f"{what} on {past[-1]}: {strange[0]} is not known; correct it")
    return Bound(
        name,
        body["unit"],
        _number(value.get("hold"), body["unit"], what),
        _number(value.get("block"), body["unit"], what),
        body["untested"],
        body["en"],
        body["zh"],
        body["way_out_en"],
        body["way_out_zh"],
        value["reference"],
        body.get("bound_by"),
    )


def _plain(document: Any) -> Any:
    if isinstance(document, dict):
        return {str(_plain(k)): _plain(v) for k, v in document.items()}
    return document.isoformat() if isinstance(document, dt.date) else document


def bounds_of(document: Mapping[str, Any], day: dt.date) -> Bounds:
    """The rules of a YAML document in force on a day.

    Raises
    ------
    InputError
        If a rule is not written as one, or has no value on the day.
    """
    rules = {name: _rule(name, body, day) for name, body in document.items()}
    return Bounds(rules, sha256_hex(canonical_bytes(_plain(document))))


@lru_cache(maxsize=8)
def _document(path: Path | None) -> dict[str, Any]:
    if path is None:
        text = (resources.files("models.gate") / "bounds.yaml").read_text(encoding="utf-8")
        return read_yaml(text, "bounds.yaml")
    if not path.is_file():
        raise InputError(f"there is no file of gate bounds at {path}; leave --bounds out")
    return read_yaml(path.read_text(encoding="utf-8"), path.name)


def load_bounds(day: dt.date, path: Path | None = None) -> Bounds:
    """The rules in force on a day, of a file or of house gate 1."""
    return bounds_of(_document(path), day)
