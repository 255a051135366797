"""Load a policy pack, and resolve it to the integers in force on a date."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import yaml

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import RATIO_ONE, parse_decimal

PACK_NAMES: Final = ("cn", "us")
LEVELS: Final = ("statute", "exchange", "house")
_PLACES: Final = {"ratio": 6, "amt": 2}


@dataclass(frozen=True)
class DatedValue:
    """A value from a date on, with where it is written. ``values`` has one entry, or one a tier."""

    since: dt.date
    values: tuple[int, ...]
    reference: str
    verified: bool


@dataclass(frozen=True)
class Parameter:
    """A rule of a pack: its level, unit and dated values."""

    name: str
    level: str
    unit: str
    en: str
    zh: str
    history: tuple[DatedValue, ...]


@dataclass(frozen=True)
class Policy:
    """A pack resolved to one effective date; every number an integer of its unit.

    Reading a parameter that the pack does not have raises, naming it.
    """

    pack: str
    kind: str
    currency: str
    effective_on: dt.date
    sha256: str
    in_force: dict[str, DatedValue]

    def __getitem__(self, name: str) -> int:
        """The single value of a parameter."""
        return self.vector(name)[0]

    def vector(self, name: str) -> tuple[int, ...]:
        """All values of a parameter that has one a tier."""
        if name not in self.in_force:
            raise InputError(
                f"policy pack {self.pack!r} has no parameter {name!r} on {self.effective_on}"
            )
        return self.in_force[name].values

    def reference(self, name: str) -> str:
        """Where the value in force is written."""
        return self.in_force[name].reference


@dataclass(frozen=True)
class Pack:
    """A jurisdiction's rules with their history, from ``first_date`` to ``last_date``."""

    name: str
    title_en: str
    title_zh: str
    kind: str
    currency: str
    first_date: dt.date
    last_date: dt.date
    parameters: dict[str, Parameter]
    sha256: str

    def on(self, effective_on: dt.date) -> Policy:
        """The policy in force on a date.

        Raises
        ------
        InputError
            If the date lies outside the dates the pack knows: a rule is never guessed.
        """
        if not self.first_date <= effective_on <= self.last_date:
            raise InputError(
                f"policy pack {self.name!r} is known from {self.first_date} to {self.last_date};"
                f" {effective_on} is outside; extend the pack or choose another date"
            )
        in_force = {}
        for name, parameter in self.parameters.items():
            past = [v for v in parameter.history if v.since <= effective_on]
            if past:
                in_force[name] = past[-1]
        return Policy(self.name, self.kind, self.currency, effective_on, self.sha256, in_force)


def _integer(value: Any, unit: str, what: str) -> int:
    if unit == "int":
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{what}: {value!r} is not an integer")
        return value
    if not isinstance(value, str):
        raise InputError(f"{what}: write {value!r} as a quoted decimal, so that no float is read")
    return parse_decimal(value, _PLACES[unit], what)


def _parameter(pack: str, name: str, body: dict[str, Any]) -> Parameter:
    level, unit = body["level"], body["unit"]
    if level not in LEVELS:
        raise InputError(f"pack {pack}: {name} has level {level!r}; levels are {', '.join(LEVELS)}")
    history = tuple(
        DatedValue(
            since,
            tuple(
                _integer(v, unit, f"pack {pack}: {name}")
                for v in item.get("values", [item.get("value")])
            ),
            item["reference"],
            bool(item["verified"]),
        )
        for since, item in body["values"].items()
    )
    if list(history) != sorted(history, key=lambda v: v.since):
        raise InputError(f"pack {pack}: the values of {name} are not in order of date")
    return Parameter(name, level, unit, body["en"], body["zh"], history)


def _plain(document: Any) -> Any:
    """The YAML document with dates as text, for the canonical hash."""
    if isinstance(document, dict):
        return {str(k): _plain(v) for k, v in document.items()}
    if isinstance(document, list):
        return [_plain(v) for v in document]
    return document.isoformat() if isinstance(document, dt.date) else document


def build_pack(document: dict[str, Any], house: dict[str, Any]) -> Pack:
    """A pack from its YAML document and the house profile it includes, checked."""
    name = document["pack"]
    bodies = dict(document["parameters"])
    for key, item in house["from_first_date"].items():
        value = {k: item[k] for k in ("value", "values") if k in item}
        bodies[key] = {
            "level": "house",
            "unit": item["unit"],
            "en": item["en"],
            "zh": item["zh"],
            "values": {
                document["first_date"]: {**value, "reference": item["reference"], "verified": True}
            },
        }
    parameters = {key: _parameter(name, key, body) for key, body in bodies.items()}
    pack = Pack(
        name=name,
        title_en=document["name"]["en"],
        title_zh=document["name"]["zh"],
        kind=document["kind"],
        currency=document["currency"],
        first_date=document["first_date"],
        last_date=document["last_date"],
        parameters=parameters,
        sha256=sha256_hex(canonical_bytes(_plain({"pack": document, "house": house}))),
    )
    for parameter in parameters.values():
        for dated in parameter.history:
            if pack.first_date <= dated.since <= pack.last_date:
                _check_house_tightens(pack.on(dated.since))
    return pack


def _check_house_tightens(policy: Policy) -> None:
    """Refuse a pack whose house values are looser than its law."""
    if policy.kind == "reg_t":
        least = -(-RATIO_ONE * RATIO_ONE // (RATIO_ONE - policy["maintenance_margin_ratio"]))
    else:
        least = policy["minimum_call_line_ratio"]
    if policy["call_line_ratio"] < least:
        raise InputError(
            f"pack {policy.pack} on {policy.effective_on}: the house call line"
            f" {policy['call_line_ratio']} is looser than the rule's {least} (in 1e-6); raise it"
        )
    lines = [policy[f"{n}_line_ratio"] for n in ("observe", "warn", "call", "force")]
    if lines != sorted(lines, reverse=True):
        raise InputError(
            f"pack {policy.pack}: observe, warn, call, force must fall in that order, not {lines}"
        )
    tiers = policy.vector("tier_cap_ratio")
    if len(tiers) != 7 or list(tiers) != sorted(tiers, reverse=True):
        raise InputError(f"pack {policy.pack}: tier_cap_ratio must be seven values that never rise")
    if tiers[0] > RATIO_ONE or tiers[-1] < 0:
        raise InputError(f"pack {policy.pack}: tier_cap_ratio must lie between 0 and 1")


@lru_cache(maxsize=8)
def load_pack(name: str) -> Pack:
    """A pack that ships with Gearline, by name.

    >>> load_pack("cn").on(dt.date(2015, 11, 23))["financing_margin_ratio"]
    1000000
    """
    if name not in PACK_NAMES:
        raise InputError(f"there is no policy pack {name!r}; the packs are {', '.join(PACK_NAMES)}")
    folder = resources.files("models.policy") / "packs"
    document = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
    house = yaml.safe_load((folder / document.pop("include")).read_text(encoding="utf-8"))
    return build_pack(document, house)
