"""The house rules of provisioning and a night's overlays: read, checked, hashed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import MAX_AMT, RATIO_ONE, parse_decimal

STAGES: Final = (1, 2, 3)
LEAST_ODDS_E6: Final = 1_000
"""Odds are moved by a thousandth at least: a scenario in which nobody defaults is none."""


@dataclass(frozen=True)
class Outlook:
    """A possible outcome, all 1e-6: its weight, what multiplies the odds of default, and the LGD."""

    name: str
    weight: int
    pd_odds: int
    lgd: int


@dataclass(frozen=True)
class Rules:
    """How a night is provisioned.

    Attributes
    ----------
    pd_multiple, pd_increase : 1e-6; both must be passed for a significant increase of PD
    tiers_down : tiers lost since opening that count as one
    days_stage_2, days_stage_3 : days under the call line after which a client is at least there
    insolvent_below : assets over debt below which a client is credit-impaired, 1e-6
    on_demand_life_days : exposure to a loan without a due date, and to a limit without a loan
    further_rollovers, rollover_days : what is expected after the due date of a loan that has one
    scenarios : weights sum to 1e6
    """

    name: str
    pd_multiple: int
    pd_increase: int
    tiers_down: int
    days_stage_2: int
    days_stage_3: int
    insolvent_below: int
    on_demand_life_days: int
    further_rollovers: int
    rollover_days: int
    scenarios: tuple[Outlook, ...]
    sha256: str


@dataclass(frozen=True)
class Overlay:
    """A judgement on top of what is modelled, on one stage; of ``ratio`` and ``amt`` one is zero.

    ``ratio`` (1e-6) is of the modelled loss of the stage, ``amt`` minor units; both may be negative.
    In force from ``since`` to ``until``, both included.
    """

    name: str
    reason: str
    author: str
    approver: str
    stage: int
    ratio: int
    amt: int
    since: dt.date
    until: dt.date

    def on(self, day: dt.date, modelled_amt: int) -> int:
        """What it adds to a stage on a day, minor units, rounded away from zero."""
        if not self.since <= day <= self.until:
            return 0
        part = abs(self.ratio) * modelled_amt
        return self.amt + (1 if self.ratio >= 0 else -1) * -(-part // RATIO_ONE)


def _document(path: Path | None, what: str) -> Any:
    """YAML of a file, else of the shipped rules."""
    try:
        text = (
            (resources.files("training.provisions") / "rules.yaml").read_text(encoding="utf-8")
            if path is None
            else path.read_text(encoding="utf-8")
        )
        return yaml.safe_load(text)
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{what} {path} is no YAML: {error}") from None


def _only(document: Any, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(document, dict) or set(document) != set(keys):
        given = sorted(map(str, document)) if isinstance(document, dict) else document
        raise InputError(f"{what} holds {given}; it must hold exactly {', '.join(sorted(keys))}")
    return document


def _ratio(value: Any, low: int, high: int, what: str) -> int:
    if not isinstance(value, str):
        raise InputError(f"{what}: write {value!r} as a quoted decimal, so that no float is read")
    number = parse_decimal(value, 6, what)
    if not low <= number <= high:
        raise InputError(
            f"{what} is {value}; it lies in {low / RATIO_ONE:g} to {high / RATIO_ONE:g}"
        )
    return number


def _count(value: Any, low: int, high: int, what: str) -> int:
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"{what} is {value!r}; it is an integer from {low} to {high}")
    return value


def read_rules(path: Path | None = None) -> Rules:
    """The shipped rules, or those of a file with the same keys.

    Raises
    ------
    InputError
        If a key is missing, too many or out of its range, or the weights do not sum to one.
    """
    what = "the provision rules" if path is None else f"the provision rules {path}"
    scalars = (
        "name", "pd_multiple_ratio", "pd_increase_ratio", "tiers_down", "days_stage_2",
        "days_stage_3", "insolvent_below_ratio", "on_demand_life_days", "further_rollovers",
        "rollover_days",
    )  # fmt: skip
    d = _only(_document(path, "the rules"), (*scalars, "scenarios"), what)
    scenarios = []
    listed = d["scenarios"]
    for k, item in enumerate(listed if isinstance(listed, list) else []):
        at = f"{what}: scenario {k + 1}"
        s = _only(item, ("name", "weight_ratio", "pd_odds_ratio", "lgd_ratio"), at)
        scenarios.append(
            Outlook(
                str(s["name"]),
                _ratio(s["weight_ratio"], 0, RATIO_ONE, f"{at}: weight_ratio"),
                _ratio(s["pd_odds_ratio"], LEAST_ODDS_E6, 1000 * RATIO_ONE, f"{at}: pd_odds_ratio"),
                _ratio(s["lgd_ratio"], 0, 100 * RATIO_ONE, f"{at}: lgd_ratio"),
            )
        )
    if sum(s.weight for s in scenarios) != RATIO_ONE:
        raise InputError(f"{what}: the weights of the scenarios do not sum to one; correct them")
    found = Rules(
        str(d["name"]),
        _ratio(d["pd_multiple_ratio"], RATIO_ONE, 1000 * RATIO_ONE, f"{what}: pd_multiple_ratio"),
        _ratio(d["pd_increase_ratio"], 0, RATIO_ONE, f"{what}: pd_increase_ratio"),
        _count(d["tiers_down"], 1, 7, f"{what}: tiers_down"),
        _count(d["days_stage_2"], 0, 365, f"{what}: days_stage_2"),
        _count(d["days_stage_3"], 1, 365, f"{what}: days_stage_3"),
        _ratio(d["insolvent_below_ratio"], 0, 2 * RATIO_ONE, f"{what}: insolvent_below_ratio"),
        _count(d["on_demand_life_days"], 1, 36_500, f"{what}: on_demand_life_days"),
        _count(d["further_rollovers"], 0, 100, f"{what}: further_rollovers"),
        _count(d["rollover_days"], 0, 3_650, f"{what}: rollover_days"),
        tuple(scenarios),
        sha256_hex(canonical_bytes(d)),
    )
    if found.days_stage_3 < found.days_stage_2:
        raise InputError(f"{what}: days_stage_3 comes before days_stage_2; it must not")
    return found


def read_overlays(path: Path | None) -> tuple[Overlay, ...]:
    """Overlays of a YAML list, none without a file.

    Raises
    ------
    InputError
        If a key is missing or too many, a reason is empty, or author and approver are one person.
    """
    if path is None:
        return ()
    listed = _document(path, "the overlays")
    if not isinstance(listed, list):
        raise InputError(f"the overlays {path} must be a list")
    keys = ("name", "reason", "author", "approver", "stage", "from", "until")
    found = []
    for k, item in enumerate(listed):
        at = f"the overlays {path}: entry {k + 1}"
        how = "amount_amt" if isinstance(item, dict) and "amount_amt" in item else "share_ratio"
        o = _only(item, (*keys, how), at)
        for name in ("name", "reason", "author", "approver"):
            if not str(o[name] or "").strip():
                raise InputError(f"{at}: {name} is empty; an overlay without one is not taken")
        if str(o["author"]).strip() == str(o["approver"]).strip():
            raise InputError(f"{at}: {o['author']} is author and approver; they must differ")
        for name in ("from", "until"):
            if not isinstance(o[name], dt.date) or isinstance(o[name], dt.datetime):
                raise InputError(f"{at}: {name} is {o[name]!r}; write a date, YYYY-MM-DD")
        amount = 0
        if how == "amount_amt":
            amount = parse_decimal(str(o[how]), 2, f"{at}: {how}")
            if not isinstance(o[how], str) or abs(amount) > MAX_AMT:
                raise InputError(
                    f"{at}: write {how} as a quoted decimal of at most {MAX_AMT // 100}"
                )
        found.append(
            Overlay(
                str(o["name"]), str(o["reason"]), str(o["author"]), str(o["approver"]),
                _count(o["stage"], 1, 3, f"{at}: stage"),
                0 if amount or how == "amount_amt"
                else _ratio(o[how], -RATIO_ONE, 100 * RATIO_ONE, f"{at}: {how}"),
                amount, o["from"], o["until"],
            )
        )  # fmt: skip
    return tuple(found)
