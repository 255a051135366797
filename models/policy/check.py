"""Find gaps, overlaps and rules that can never bind in a policy pack."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from data_contracts.errors import InputError
from data_contracts.units import RATIO_ONE
from models.policy.document import instant
from models.policy.pack import (
    CONTRACTS,
    STRESS_ONLY,
    Pack,
    Parameter,
    Policy,
    assemble,
    build_pack,
    changes,
    least_call_line,
    make_parameter,
    rule_bodies,
)

GAP, OVERLAP, UNREACHABLE, LOOSE, FORM = "gap", "overlap", "unreachable", "loose", "form"

_EVERYWHERE: Final = (
    "call_deadline_sessions", "funding_bps", "rate_ceiling_bps", "single_client_capital_ratio",
    "tier_cap_ratio",
)  # fmt: skip
_SHARED: Final = (
    "observe_line_ratio", "warn_line_ratio", "call_line_ratio", "force_line_ratio",
    "target_line_ratio", *_EVERYWHERE, "structural_chance_by_tier_ratio",
    "structural_stretch_ratio", "structural_hot_rise_ratio", "concentration_margin_from_ratio",
    "concentration_margin_slope_ratio",
)  # fmt: skip
NEEDED: Final = {
    "cn": (
        *_SHARED, "financing_margin_ratio", "haircut_max_share_ratio",
        "haircut_max_index_share_ratio", "haircut_max_special_treatment_ratio",
        "haircut_max_etf_ratio", "haircut_max_fund_ratio", "haircut_max_treasury_ratio",
        "crowding_stop_ratio", "crowding_resume_ratio", "withdrawal_line_ratio",
        "price_limit_main_ratio",
    ),
    STRESS_ONLY: (
        "liquidation_line_ratio", "target_line_ratio", "liquidation_cost_ratio",
        "call_deadline_sessions",
    ),
    "reg_t": (
        *_SHARED, "initial_margin_ratio", "maintenance_margin_ratio", "minimum_equity_amt",
        "nonmargin_security_margin_ratio",
    ),
    CONTRACTS: (
        *_EVERYWHERE, "margin_fx_major_ratio", "margin_fx_minor_ratio", "margin_gold_ratio",
        "margin_index_major_ratio", "margin_index_minor_ratio", "margin_commodity_ratio",
        "margin_share_ratio", "margin_government_bond_ratio", "margin_crypto_ratio",
        "margin_other_ratio", "observe_level_ratio", "warn_level_ratio", "call_level_ratio",
        "close_out_level_ratio", "target_level_ratio", "unsecured_recovery_ratio",
    ),
}  # fmt: skip
"""What a decision reads on every day of a pack of that kind."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a rule; ``kind`` is gap, overlap, unreachable, loose or form."""

    kind: str
    parameter: str
    detail: str


def _day(moment: dt.datetime) -> str:
    return moment.isoformat() if moment.time() != dt.time() else moment.date().isoformat()


def _of_dates(name: str, body: dict[str, Any]) -> Iterator[Finding]:
    """Two values from one moment, and values that are not in order."""
    keys = [instant(since, name) for since in body["values"]]
    for one, two in pairwise(keys):
        if one == two:
            yield Finding(OVERLAP, name, f"two values hold from {_day(one)}; keep one")
        elif two < one:
            yield Finding(OVERLAP, name, f"{_day(two)} stands after {_day(one)}; put it in order")


def _of_history(pack: Pack, p: Parameter) -> Iterator[Finding]:
    first = dt.datetime.combine(pack.first_date, dt.time())
    end = dt.datetime.combine(pack.last_date, dt.time.max)
    start = p.history[0].since
    if p.begins is None and start > first:
        yield Finding(
            GAP,
            p.name,
            f"no value from {pack.first_date} to {_day(start)}; add it, or say when the rule"
            " begins",
        )
    if p.begins is not None and p.begins != start:
        yield Finding(
            GAP, p.name, f"begins {_day(p.begins)}, its first value holds from {_day(start)}"
        )
    for value in p.history:
        if value.since > end:
            yield Finding(
                UNREACHABLE,
                p.name,
                f"the value of {_day(value.since)} lies after the pack's last date",
            )
    for one, two in pairwise(p.history):
        if two.since <= first:
            yield Finding(
                UNREACHABLE,
                p.name,
                f"the value of {_day(one.since)} is replaced on {_day(two.since)}, before the"
                " pack's first date",
            )
        if (one.values, one.reference) == (two.values, two.reference):
            yield Finding(
                OVERLAP, p.name, f"{_day(two.since)} repeats {_day(one.since)}; keep the earlier"
            )


def _strict(policy: Policy, name: str, least: int) -> bool:
    """Whether a house value that must be at least ``least`` says something of its own."""
    return policy[name] >= least


def _house_never_binds(pack: Pack, days: list[dt.datetime]) -> Iterator[Finding]:
    """House values that the law is stricter than at every moment at which they hold."""
    if pack.kind == CONTRACTS:
        return  # its levels stand in one order with the law's own: looser ones are refused
    useful: dict[tuple[str, dt.datetime], bool] = {}
    for moment in days:
        policy = pack.at(moment)
        held = {"call_line_ratio": _strict(policy, "call_line_ratio", least_call_line(policy))}
        if pack.kind == "cn":
            law = policy["financing_margin_ratio"]
            worst = policy["haircut_max_special_treatment_ratio"]
            constant = policy["house_margin_ratio_constant_ratio"] - worst
            held["house_margin_ratio_constant_ratio"] = constant > law
            held["house_margin_ratio_floor_ratio"] = policy["house_margin_ratio_floor_ratio"] >= law
        for name, says in held.items():
            value = policy.in_force[name]
            key = (name, max(value.since, days[0]))
            useful[key] = useful.get(key, False) or says
    for (name, since), says in useful.items():
        if not says:
            yield Finding(
                UNREACHABLE,
                name,
                f"the house value of {_day(since)} is looser than the law on every day it holds",
            )


def _of_moment(policy: Policy) -> Iterator[Finding]:
    """Rules that hide each other on one day."""
    on = f"on {policy.effective_on}"
    if "crowding_stop_ratio" in policy:
        stop, resume = policy["crowding_stop_ratio"], policy["crowding_resume_ratio"]
        if resume > stop:
            yield Finding(UNREACHABLE, "crowding_resume_ratio", f"{on} it lies above the stop")
    if "concentration_limit_1_ratio" in policy:
        one, two = (policy[f"concentration_limit_{k}_ratio"] for k in (1, 2))
        if two <= one:
            yield Finding(
                UNREACHABLE, "concentration_limit_1_ratio", f"{on} the second band hides the first"
            )
        one, two = (policy[f"concentration_line_{k}_ratio"] for k in (1, 2))
        if two <= one:
            yield Finding(
                UNREACHABLE, "concentration_line_2_ratio", f"{on} it asks no more than the first"
            )
    stands = "level" if policy.kind == CONTRACTS else "line"
    target = f"target_{stands}_ratio"
    if policy[target] < policy[f"call_{stands}_ratio"]:
        yield Finding(UNREACHABLE, target, f"{on} a forced sale would end below the call {stands}")
    least = policy["funding_bps"] + policy["operating_bps"]
    if policy["rate_ceiling_bps"] < least:
        yield Finding(
            UNREACHABLE, "rate_ceiling_bps", f"{on} it lies below funding and operating cost"
        )
    for name in policy.in_force:
        if name.startswith(("haircut_max", "price_limit")) and not (0 <= policy[name] <= RATIO_ONE):
            yield Finding(FORM, name, f"{on} it does not lie between 0 and 1")
        by_class = policy.kind == CONTRACTS and name.startswith("margin_")
        if by_class and not 0 < policy[name] < RATIO_ONE:
            yield Finding(FORM, name, f"{on} it does not lie above 0 and below 1")


def _readable(name: str, document: dict[str, Any], house: dict[str, Any]) -> list[Finding]:
    """What keeps the documents from being read as a pack at all."""
    found: list[Finding] = []
    left_out = set(document.get("leaves_out", ()))
    for key in sorted(left_out - house["from_first_date"].keys()):
        found.append(Finding(FORM, key, "the pack leaves it out and the house profile has no such"))
    for key in house["from_first_date"].keys() & document["parameters"].keys() - left_out:
        if document["parameters"][key]["level"] == "house":
            found.append(
                Finding(OVERLAP, key, "the pack and the house profile both say it; keep one")
            )
    for key, body in rule_bodies(document, house).items():
        missing = [k for k in ("level", "unit", "en", "zh", "values") if not body.get(k)]
        if missing:
            found.append(Finding(FORM, key, f"{', '.join(missing)} is missing"))
            continue
        for since, item in body["values"].items():
            for k in ("reference", "verified"):
                if item.get(k) in (None, ""):
                    found.append(Finding(FORM, key, f"the value of {since} has no {k}"))
        found += _of_dates(key, body)
        if not any(f.parameter == key and f.kind in (FORM, OVERLAP) for f in found):
            try:
                make_parameter(name, key, body)
            except InputError as error:
                found.append(Finding(FORM, key, str(error)))
    return found


def check_documents(
    document: dict[str, Any], house: dict[str, Any]
) -> tuple[Pack | None, list[Finding]]:
    """The pack, or None where it cannot be read, and everything found, in order of rule."""
    missing = [
        k
        for k in ("pack", "name", "kind", "currency", "zone", "first_date", "last_date")
        if k not in document
    ]
    if missing or not isinstance(document.get("parameters"), dict):
        return None, [Finding(FORM, "", f"{', '.join(missing or ['parameters'])} is missing")]
    if document["kind"] not in NEEDED:
        return None, [Finding(FORM, "kind", f"{document['kind']!r}; kinds are {', '.join(NEEDED)}")]
    found = _readable(document["pack"], document, house)
    absent = [n for n in NEEDED[document["kind"]] if n not in rule_bodies(document, house)]
    found += [Finding(GAP, n, "a decision reads it and the pack does not have it") for n in absent]
    if found:
        return None, sorted(found, key=lambda f: (f.parameter, f.kind, f.detail))
    pack = assemble(document, house)
    for p in pack.parameters.values():
        found += _of_history(pack, p)
    days = changes(pack)
    for moment in days:
        policy = pack.at(moment)
        absent = [n for n in NEEDED[pack.kind] if n not in policy]
        found += [Finding(GAP, n, f"no value in force on {policy.effective_on}") for n in absent]
        if not absent and pack.kind != STRESS_ONLY:
            found += _of_moment(policy)
    if pack.kind != STRESS_ONLY and not any(f.kind == GAP for f in found):
        found += _house_never_binds(pack, days)
        try:
            build_pack(document, house)
        except InputError as error:
            found.append(Finding(LOOSE, "", str(error)))
    unique = dict.fromkeys(found)
    return pack, sorted(unique, key=lambda f: (f.parameter, f.kind, f.detail))


def unverified(pack: Pack) -> list[tuple[Parameter, int]]:
    """Values of law whose text was not read, as rule and position in its history."""
    return [
        (p, k)
        for p in pack.parameters.values()
        for k, value in enumerate(p.history)
        if p.level != "house" and not value.verified
    ]
