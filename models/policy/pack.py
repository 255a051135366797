"""Load a policy pack, and resolve it to the integers in force at a moment."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import RATIO_ONE, parse_decimal
from models.policy.document import instant, shipped_documents

PACK_NAMES: Final = ("cn", "us", "eu-cfd", "uk-cfd")
CONTRACTS: Final = "cfd"
"""The kind of packs for contracts for difference: decided case by case, no book is simulated."""
STRESS_ONLY: Final = "none"
"""The pack, and its kind, of positions that are stressed and never decided on."""
LEVELS: Final = ("statute", "exchange", "house")
TIGHTER: Final = ("higher", "lower")
APPLIED: Final = ("decide", "data", "maintenance", "liquidation", "lender")
"""Who applies a rule. ``data``: it must already stand in the published columns of the securities.
``lender``: the lender's own process; Gearline states the rule and does not check it."""
OPEN_CONTRACTS: Final = ("keep", "may_lower")
"""What a change does to contracts that are open: they keep their value, or lender and client may
agree on the new one where it is lower."""
PLACES: Final = {"ratio": 6, "amt": 2}
QUANTUM: Final = {"ratio": "1e-6", "amt": "0.01", "int": "1"}


@dataclass(frozen=True)
class DatedValue:
    """A value from a moment on, in the market's time, with where it is written.

    ``values`` has one entry, or one a tier; none where the rule was repealed.
    """

    since: dt.datetime
    values: tuple[int, ...]
    reference: str
    verified: bool
    open_contracts: str = "keep"

    @property
    def first_day(self) -> dt.date:
        """The first day that begins under the value: a change after the close counts from then."""
        day = self.since.date()
        return day if self.since.time() == dt.time() else day + dt.timedelta(days=1)


@dataclass(frozen=True)
class Parameter:
    """A rule of a pack: its level, unit, who applies it, and its dated values.

    ``tighter`` says which way is stricter, ``begins`` that there was no such rule before.
    """

    name: str
    level: str
    unit: str
    en: str
    zh: str
    history: tuple[DatedValue, ...]
    applied: str = "decide"
    tighter: str | None = None
    begins: dt.datetime | None = None

    def at(self, moment: dt.datetime) -> DatedValue | None:
        """The value in force at a moment of the market's time; None before it began or after."""
        past = [v for v in self.history if v.since <= moment]
        return past[-1] if past and past[-1].values else None


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
    parameters: Mapping[str, Parameter] = field(default_factory=dict, repr=False, compare=False)
    first_date: dt.date = dt.date.min

    def __getitem__(self, name: str) -> int:
        """The single value of a parameter."""
        return self.vector(name)[0]

    def __contains__(self, name: str) -> bool:
        """Whether the rule exists and is in force."""
        return name in self.in_force

    def get(self, name: str, default: int) -> int:
        """The single value of a parameter, or ``default`` where no such rule is in force."""
        return default if name not in self.in_force else self[name]

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

    def by_opening_day(self, name: str) -> tuple[tuple[dt.date, ...], tuple[int, ...]]:
        """What an open contract must keep at least, by the day it was opened.

        Days ascend, each with the value for contracts opened from that day to the day before the
        next. A contract keeps the value of its day; where a later change lets lender and client
        agree on a lower one for open contracts, the lower one is lawful too.
        """
        past = [v for v in self.parameters[name].history if v.first_day <= self.effective_on]
        least: list[int] = []
        lowest: int | None = None
        for value in reversed(past):
            own = value.values[0]
            least.append(own if lowest is None else min(own, lowest))
            if value.open_contracts == "may_lower":
                lowest = own if lowest is None else min(own, lowest)
        return tuple(v.first_day for v in past), tuple(reversed(least))


@dataclass(frozen=True)
class Pack:
    """A jurisdiction's rules with their history, from ``first_date`` to ``last_date``."""

    name: str
    title_en: str
    title_zh: str
    kind: str
    currency: str
    zone: str
    first_date: dt.date
    last_date: dt.date
    parameters: dict[str, Parameter]
    sha256: str

    def on(self, effective_on: dt.date) -> Policy:
        """The policy in force when a date begins, in the market's own time.

        Raises
        ------
        InputError
            If the date lies outside the dates the pack knows: a rule is never guessed.
        """
        return self.at(dt.datetime.combine(effective_on, dt.time()))

    def at(self, moment: dt.datetime) -> Policy:
        """The policy in force at a moment; without a time zone it is the market's own time.

        Raises
        ------
        InputError
            If the moment lies outside the dates the pack knows.
        """
        if moment.tzinfo is not None:
            moment = moment.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        day = moment.date()
        if not self.first_date <= day <= self.last_date:
            raise InputError(
                f"policy pack {self.name!r} is known from {self.first_date} to {self.last_date};"
                f" {day} is outside; extend the pack or choose another date"
            )
        found = {name: p.at(moment) for name, p in self.parameters.items()}
        in_force = {name: value for name, value in found.items() if value is not None}
        return Policy(
            self.name,
            self.kind,
            self.currency,
            day,
            self.sha256,
            in_force,
            self.parameters,
            self.first_date,
        )


def _integer(value: Any, unit: str, what: str) -> int:
    if unit == "int":
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"{what}: {value!r} is not an integer")
        return value
    if not isinstance(value, str):
        raise InputError(f"{what}: write {value!r} as a quoted decimal, so that no float is read")
    return parse_decimal(value, PLACES[unit], what)


def _one_of(value: Any, allowed: tuple[str, ...], what: str) -> str:
    if value not in allowed:
        raise InputError(f"{what} {value!r}; it must be one of {', '.join(allowed)}")
    return str(value)


def _dated(since: Any, item: dict[str, Any], unit: str, what: str) -> DatedValue:
    given = item["values"] if "values" in item else [item["value"]]
    repealed = given == [None]
    return DatedValue(
        instant(since, what),
        () if repealed else tuple(_integer(v, unit, what) for v in given),
        item["reference"],
        bool(item["verified"]),
        _one_of(item.get("open_contracts", "keep"), OPEN_CONTRACTS, f"{what}: open_contracts is"),
    )


def make_parameter(pack: str, name: str, body: dict[str, Any]) -> Parameter:
    """A rule from its YAML body, every value read in its unit."""
    what = f"pack {pack}: {name}"
    level, unit = body["level"], body["unit"]
    if level not in LEVELS:
        raise InputError(f"{what} has level {level!r}; levels are {', '.join(LEVELS)}")
    if unit not in QUANTUM:
        raise InputError(f"{what} has unit {unit!r}; units are {', '.join(QUANTUM)}")
    history = tuple(_dated(since, item, unit, what) for since, item in body["values"].items())
    if list(history) != sorted(history, key=lambda v: v.since):
        raise InputError(f"pack {pack}: the values of {name} are not in order of date")
    tighter = body.get("tighter")
    return Parameter(
        name,
        level,
        unit,
        body["en"],
        body["zh"],
        history,
        _one_of(body.get("applied", "decide"), APPLIED, f"{what}: applied is"),
        None if tighter is None else _one_of(tighter, TIGHTER, f"{what}: tighter is"),
        instant(body["begins"], what) if "begins" in body else None,
    )


def _plain(document: Any) -> Any:
    """The YAML document with dates as text, for the canonical hash."""
    if isinstance(document, dict):
        return {str(_plain(k)): _plain(v) for k, v in document.items()}
    if isinstance(document, list):
        return [_plain(v) for v in document]
    return document.isoformat() if isinstance(document, dt.date) else document


def rule_bodies(document: dict[str, Any], house: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every rule's YAML body by name; the house profile's hold from the pack's first date."""
    bodies = dict(document["parameters"])
    for key, item in house["from_first_date"].items():
        if key in bodies or key in document.get("leaves_out", ()):
            continue  # the pack says more of this rule than the profile, or takes none of it
        value = {k: item[k] for k in ("value", "values") if k in item}
        bodies[key] = {
            **{k: item[k] for k in ("unit", "en", "zh", "applied", "tighter") if k in item},
            "level": "house",
            "values": {
                document["first_date"]: {**value, "reference": item["reference"], "verified": True}
            },
        }
    return bodies


def assemble(document: dict[str, Any], house: dict[str, Any]) -> Pack:
    """A pack from its documents, each value read, its rules not held against each other."""
    name = document["pack"]
    bodies = rule_bodies(document, house)
    return Pack(
        name=name,
        title_en=document["name"]["en"],
        title_zh=document["name"]["zh"],
        kind=document["kind"],
        currency=document["currency"],
        zone=document["zone"],
        first_date=document["first_date"],
        last_date=document["last_date"],
        parameters={key: make_parameter(name, key, body) for key, body in bodies.items()},
        sha256=sha256_hex(canonical_bytes(_plain({"pack": document, "house": house}))),
    )


def changes(pack: Pack) -> list[dt.datetime]:
    """Every moment inside the pack's dates at which a value changes, its first one included."""
    first = dt.datetime.combine(pack.first_date, dt.time())
    last = dt.datetime.combine(pack.last_date, dt.time.max)
    found = {v.since for p in pack.parameters.values() for v in p.history}
    return sorted({first} | {t for t in found if first <= t <= last})


def build_pack(document: dict[str, Any], house: dict[str, Any]) -> Pack:
    """A pack from its YAML document and the house profile it includes, checked."""
    pack = assemble(document, house)
    if pack.kind == STRESS_ONLY:
        return pack  # it has no law that a house value could be looser than
    for moment in changes(pack):
        _check_house_tightens(pack.at(moment))
    return pack


def least_call_line(policy: Policy) -> int:
    """The lowest call line that law and exchange leave to the lender, 1e-6."""
    if policy.kind == "reg_t":
        return -(-RATIO_ONE * RATIO_ONE // (RATIO_ONE - policy["maintenance_margin_ratio"]))
    return policy.get("minimum_call_line_ratio", RATIO_ONE)


def _check_levels(policy: Policy) -> None:
    """Refuse margin levels that are looser than the close-out by law, or out of order."""
    names = [f"{n}_level_ratio" for n in ("observe", "warn", "call", "close_out")]
    levels = [policy[n] for n in names]
    if levels != sorted(levels, reverse=True):
        raise InputError(
            f"pack {policy.pack} on {policy.effective_on}: observe, warn, call and close-out level"
            f" must fall in that order, not {levels}"
        )


def _check_house_tightens(policy: Policy) -> None:
    """Refuse a pack whose house values are looser than its law."""
    if policy.kind == CONTRACTS:
        _check_levels(policy)
    else:
        _check_lines(policy)
    # a pack kept by an earlier release lacks the later rules: the linter says so
    for name in ("tier_cap_ratio", *(n for n in _BY_TIER if n in policy)):
        tiers = policy.vector(name)
        if len(tiers) != 7 or list(tiers) != sorted(tiers, reverse=True):
            raise InputError(f"pack {policy.pack}: {name} must be seven values that never rise")
        if tiers[0] > RATIO_ONE or tiers[-1] < 0:
            raise InputError(f"pack {policy.pack}: {name} must lie between 0 and 1")
    for name, least, most in _BETWEEN:
        if name in policy and not least <= policy[name] <= most:
            raise InputError(
                f"pack {policy.pack}: {name} is {policy[name]}; it must lie between {least} and"
                f" {most} (in 1e-6)"
            )


_BY_TIER: Final = ("structural_chance_by_tier_ratio",)
_BETWEEN: Final = (
    ("structural_stretch_ratio", RATIO_ONE, 2 * RATIO_ONE),
    ("structural_hot_rise_ratio", 1, 10 * RATIO_ONE),
    ("concentration_margin_from_ratio", 0, RATIO_ONE),
    ("concentration_margin_slope_ratio", 0, 10 * RATIO_ONE),
)
"""A stretch below 1 would ask more of a good tier than of the base, a start or slope below 0 would
lower the equity asked for."""


def _check_lines(policy: Policy) -> None:
    """Refuse lines of assets over debt that are looser than the law, or out of order."""
    least = least_call_line(policy)
    if policy["call_line_ratio"] < least:
        raise InputError(
            f"pack {policy.pack} on {policy.effective_on}: the house call line"
            f" {policy['call_line_ratio']} is looser than the rule's {least} (in 1e-6); raise it"
        )
    cure = "longest_cure_sessions"
    if cure in policy and policy["call_deadline_sessions"] > policy[cure]:
        raise InputError(
            f"pack {policy.pack} on {policy.effective_on}: the house deadline of"
            f" {policy['call_deadline_sessions']} sessions is longer than the rule's"
            f" {policy[cure]}; shorten it"
        )
    lines = [policy[f"{n}_line_ratio"] for n in ("observe", "warn", "call", "force")]
    if lines != sorted(lines, reverse=True):
        raise InputError(
            f"pack {policy.pack}: observe, warn, call, force must fall in that order, not {lines}"
        )


def refuse_without_law(policy: Policy) -> None:
    """Refuse to decide on anybody under a pack that states no law to lend under.

    Raises
    ------
    InputError
        If the pack is for stress only.
    """
    if policy.kind == STRESS_ONLY:
        raise InputError(
            f"onboarding is refused: policy pack {policy.pack!r} states no law to lend under, its"
            " positions are stressed and reported only (`gearline stress FILE`); the packs that"
            f" decide are {', '.join(PACK_NAMES)}"
        )


def refuse_contracts(pack: Pack, what: str) -> None:
    """Refuse what works on books of shares, ``what``, under a pack of contracts for difference.

    Raises
    ------
    InputError
        If the pack is of that kind.
    """
    if pack.kind == CONTRACTS:
        raise InputError(
            f"{what} works on a market and a book of shares on margin, and policy pack"
            f" {pack.name!r} is for contracts for difference, which no lake holds; decide on one"
            " account with `gearline decide CASE.json` or `gearline simulate CASE.json`"
        )


@lru_cache(maxsize=8)
def load_pack(name: str) -> Pack:
    """A pack that ships with Gearline, by name.

    >>> load_pack("cn").on(dt.date(2015, 11, 23))["financing_margin_ratio"]
    1000000
    """
    if name not in (*PACK_NAMES, STRESS_ONLY):
        raise InputError(f"there is no policy pack {name!r}; the packs are {', '.join(PACK_NAMES)}")
    return build_pack(*shipped_documents(name))
