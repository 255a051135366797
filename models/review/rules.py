"""The review rules as they stand on a day, read from ``rules.yaml`` and checked."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final

import yaml

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import RATIO_ONE, parse_decimal
from models.reasons.catalogue import AUDIENCES

UNITS: Final = ("code", "feature", "ratio", "amt")
SIDES: Final = ("tightens", "loosens", "both")


@dataclass(frozen=True)
class Rule:
    """A rule as it stands on a day.

    ``bound`` is in 1e-6, or money in minor units by currency; None where the rule needs none.
    """

    name: str
    unit: str
    audience: str
    bound: int | Mapping[str, int] | None
    priority: int
    sla_hours: int
    reference: str

    def bound_in(self, currency: str) -> int | None:
        """The bound for a currency; None where there is none for it."""
        return self.bound.get(currency) if isinstance(self.bound, Mapping) else self.bound


@dataclass(frozen=True)
class RuleText:
    """What a rule is called and how it says what it found, in both languages."""

    name: Mapping[str, str]
    text: Mapping[str, str]
    unit: str


@dataclass(frozen=True)
class OverrideReason:
    """One of the closed list of reasons for an override."""

    code: str
    side: str
    en: str
    zh: str


@dataclass(frozen=True)
class ReviewPolicy:
    """Rules and settings in force on a day. Ratios are in 1e-6, money in minor units."""

    effective_on: dt.date
    sha256: str
    rules: Mapping[str, Rule]
    lease: dt.timedelta
    most_held: int
    longest_snooze: dt.timedelta
    longest_override: dt.timedelta
    repeat_after: dt.timedelta
    blind_ratio: int
    sample_seed: str
    authority: Mapping[str, Mapping[str, int]]
    stamp_agreement_ratio: int
    stamp_cases: int
    stamp_seconds: int

    def authority_of(self, roles: frozenset[str], currency: str) -> int:
        """What somebody with these roles decides on without an entry of their own."""
        return max((self.authority[r].get(currency, 0) for r in roles & set(self.authority)),
                   default=0)  # fmt: skip


def _document() -> dict[str, Any]:
    text = (resources.files("models.review") / "rules.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def _plain(document: Any) -> Any:
    if isinstance(document, dict):
        return {str(k): _plain(v) for k, v in document.items()}
    return document.isoformat() if isinstance(document, dt.date) else document


_DOCUMENT: Final = _document()
_SHA256: Final = sha256_hex(canonical_bytes(_plain(_DOCUMENT)))
RULES: Final[dict[str, RuleText]] = {
    name: RuleText(body["name"], {"en": body["en"], "zh": body["zh"]}, body["unit"])
    for name, body in _DOCUMENT["rules"].items()
}
"""Every rule's words, in the order in which a case names them."""
OVERRIDE_REASONS: Final[dict[str, OverrideReason]] = {
    code: OverrideReason(code, body["side"], body["en"], body["zh"])
    for code, body in _DOCUMENT["reasons"].items()
}


def _version(values: Mapping[dt.date, Any], day: dt.date, what: str) -> Any:
    past = [since for since in values if since <= day]
    if not past:
        raise InputError(
            f"{what} is known from {min(values)}; {day} is outside: choose a later day"
        )
    return values[max(past)]


def _bound(value: Any, unit: str, what: str) -> int | Mapping[str, int] | None:
    if value is None:
        return None
    if unit == "ratio":
        return parse_decimal(value, 6, what)
    if unit == "amt":
        return {currency: parse_decimal(v, 2, what) for currency, v in value.items()}
    raise InputError(f"{what}: a rule of unit {unit} has no bound; write null")


def _rule(name: str, body: Mapping[str, Any], day: dt.date) -> Rule:
    what = f"review rule {name}"
    now = _version(body["values"], day, what)
    if body["unit"] not in UNITS or body["audience"] not in AUDIENCES:
        raise InputError(f"{what}: unit {body['unit']!r} or audience {body['audience']!r} is none")
    if not 1 <= now["priority"] <= 5 or now["sla_hours"] < 1:
        raise InputError(f"{what}: priority runs from 1 to 5 and sla_hours from 1; correct it")
    return Rule(
        name,
        body["unit"],
        body["audience"],
        _bound(now["bound"], body["unit"], what),
        now["priority"],
        now["sla_hours"],
        now["reference"],
    )


@lru_cache(maxsize=64)
def load_review_rules(day: dt.date) -> ReviewPolicy:
    """The review rules in force on a day.

    >>> load_review_rules(dt.date(2024, 3, 18)).rules["human_requested"].priority
    1

    Raises
    ------
    InputError
        If the day is before the first version.
    """
    s = _version(_DOCUMENT["settings"], day, "the review settings")
    for code, reason in OVERRIDE_REASONS.items():
        if reason.side not in SIDES:
            raise InputError(f"override reason {code}: side {reason.side!r} is none of {SIDES}")
    ratio = parse_decimal(s["blind_ratio"], 6, "blind_ratio")
    if not 0 <= ratio <= RATIO_ONE:
        raise InputError(f"blind_ratio is {s['blind_ratio']}; it lies between 0 and 1")
    stamp = s["rubber_stamp"]
    return ReviewPolicy(
        effective_on=day,
        sha256=_SHA256,
        rules={name: _rule(name, body, day) for name, body in _DOCUMENT["rules"].items()},
        lease=dt.timedelta(minutes=s["lease_minutes"]),
        most_held=s["most_held"],
        longest_snooze=dt.timedelta(days=s["snooze_days"]),
        longest_override=dt.timedelta(days=s["override_days"]),
        repeat_after=dt.timedelta(days=s["repeat_days"]),
        blind_ratio=ratio,
        sample_seed=s["sample_seed"],
        authority={
            role: {c: parse_decimal(v, 2, f"authority_amt of {role}") for c, v in money.items()}
            for role, money in s["authority_amt"].items()
        },
        stamp_agreement_ratio=parse_decimal(stamp["agreement_ratio"], 6, "agreement_ratio"),
        stamp_cases=stamp["cases"],
        stamp_seconds=stamp["seconds"],
    )
