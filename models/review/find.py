"""From a decision's facts to why a person should look at it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from data_contracts.errors import InputError
from data_contracts.units import PROB_ONE, RATIO_ONE, format_decimal
from models.conditions import CONDITIONS
from models.decide.gates import GATES, REFER
from models.reasons import CATALOGUE, render
from models.reasons.catalogue import AUDIENCES, Language
from models.review.rules import RULES, ReviewPolicy

_OWN_RULE: Final = {
    "gate_human_requested": "human_requested",
    "hold_out_of_domain": "out_of_domain",
    "hold_thin_file": "thin_file",
}
"""Codes that have a rule of their own; every other gate or hold is an exception."""
_EXCEPTIONS: Final = {code for code, severity in GATES.items() if severity == REFER} | {
    code for row in CONDITIONS.values() for code in row.reasons if row.found == "service"
}


@dataclass(frozen=True)
class Looked:
    """What the rules look at of one decision.

    ``pd*`` and ``tier_edges`` in 1e-9, money in minor units. ``previous_amt`` is the limit last
    published, ``requested_amt`` what was asked for, ``codes`` the decision's reasons in order,
    ``undefined`` of ``features`` values are null, ``outside`` a feature beyond its declared bounds.
    """

    decision_id: str
    currency: str
    outcome: str
    pd: int
    pd_low: int
    pd_high: int
    tier_edges: tuple[int, ...]
    debt_amt: int
    max_debt_amt: int
    previous_amt: int | None
    requested_amt: int | None
    codes: tuple[str, ...]
    undefined: int
    features: int
    outside: tuple[str, int, int] | None = None


@dataclass(frozen=True)
class Trigger:
    """Why a decision is in the queue: a rule, the value found, and the bound it met.

    ``value`` and ``bound`` are integers of the rule's unit (1e-6, minor units), or a code.
    """

    rule: str
    unit: str
    value: int | str | None
    bound: int | str | None
    priority: int
    sla_hours: int
    audience: str

    def to_json(self) -> dict[str, Any]:
        """The trigger as a document; the inverse is ``Trigger(**document)``."""
        return dict(vars(self))


def hash_share(seed: str, name: str) -> int:
    """A number from 0 to 999,999 that a name has under a seed: uniform, and the same for ever.

    >>> hash_share("house-1", "d1")
    192446
    """
    digest = hashlib.sha256(f"{seed}\x1f{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * RATIO_ONE >> 64


def is_blind(case_id: str, policy: ReviewPolicy) -> bool:
    """Whether a case's reader first says what they think, before the score is shown."""
    return hash_share(f"blind/{policy.sample_seed}", case_id) < policy.blind_ratio


def _nearest(pd: int, edges: tuple[int, ...]) -> int | None:
    """Distance of a PD to the nearest inner edge of a tier, as a share of that edge, 1e-6.

    Rounded up: what is beyond a bound by less than a unit is beyond it.
    """
    inner = [e for e in edges if 0 < e < PROB_ONE]
    return min((-(-abs(pd - e) * RATIO_ONE // e) for e in inner), default=None)


def _values(d: Looked) -> list[tuple[str, int | str, int | str | None, bool]]:
    """Rule, value, a bound of its own, and whether a small value is what is looked for."""
    found: list[tuple[str, int | str, int | str | None, bool]] = []
    if d.outside is not None:
        name, value, bound = d.outside
        found.append(("out_of_domain", f"{name} = {value}", str(bound), False))
    if d.previous_amt is not None and d.previous_amt > 0:
        moved = abs(d.max_debt_amt - d.previous_amt) * RATIO_ONE // d.previous_amt
        found.append(("large_step", moved, None, False))
    found.append(("large_exposure", max(d.debt_amt, d.max_debt_amt), None, False))
    if d.features:
        found.append(("thin_file", d.undefined * RATIO_ONE // d.features, None, False))
    if d.requested_amt is not None and d.max_debt_amt > 0:
        away = -(-abs(d.requested_amt - d.max_debt_amt) * RATIO_ONE // d.max_debt_amt)
        found.append(("near_limit", away, None, True))
    nearest = _nearest(d.pd, d.tier_edges)
    if nearest is not None:
        found.append(("near_boundary", nearest, None, True))
    if d.pd > 0:
        found.append(("wide_interval", (d.pd_high - d.pd_low) * RATIO_ONE // d.pd, None, False))
    return found


def find_triggers(d: Looked, policy: ReviewPolicy) -> tuple[Trigger, ...]:
    """Every rule that holds for a decision, the most urgent first.

    Decisions that no rule names and that nobody was asked about are drawn for quality control by
    their hash: the same ones again on every run, unknown to whoever lacks the seed.
    """
    found: dict[tuple[str, int | str | None], Trigger] = {}

    def add(
        name: str,
        value: int | str | None,
        bound: int | str | None,
        audience: str,
        unit: str | None = None,
    ) -> None:
        rule = policy.rules[name]
        made = Trigger(
            name, unit or rule.unit, value, bound, rule.priority, rule.sla_hours, audience
        )
        found.setdefault((name, value if name == "exception" else None), made)

    for name, value, own, small in _values(d):
        rule = policy.rules[name]
        bound = rule.bound_in(d.currency)
        if own is not None:
            add(name, value, own, rule.audience)
        elif (
            bound is not None
            and isinstance(value, int)
            and ((value <= bound) if small else (value >= bound))
        ):
            add(name, value, bound, rule.audience)
    for code in d.codes:
        # who is refused by law is told so; a person is asked where the outcome is open
        own_rule = _OWN_RULE.get(code)
        if own_rule is not None:
            add(own_rule, code, None, policy.rules[own_rule].audience, "code")
        elif code in _EXCEPTIONS and d.outcome == "refer":
            audience = max(CATALOGUE[code].audience, "staff", key=AUDIENCES.index)
            add("exception", code, None, audience)
    if d.outcome == "refer" and not any(t.rule in ("exception", *_OWN_RULE.values())
                                        for t in found.values()):  # fmt: skip
        add("exception", "referred", None, "staff")
    if not found:
        rule = policy.rules["quality_sample"]
        share = hash_share(policy.sample_seed, d.decision_id)
        bound = rule.bound_in(d.currency)
        if bound is not None and share < bound:
            add("quality_sample", share, bound, rule.audience)
    order = list(RULES)
    return tuple(
        sorted(found.values(), key=lambda t: (t.priority, order.index(t.rule), str(t.value)))
    )


def _written(value: int | str | None, unit: str) -> str:
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    if unit == "amt":
        return format_decimal(value, 2)
    return format_decimal(value // 1000, 1) if unit == "ratio" else str(value)


def trigger_text(
    trigger: Trigger, language: str, reader: str, names: Mapping[str, str] | None = None
) -> str | None:
    """A trigger in words, or None where it is not for that reader's eyes."""
    if reader not in AUDIENCES:
        raise InputError(f"there is no reader {reader!r}; readers are {', '.join(AUDIENCES)}")
    if AUDIENCES.index(trigger.audience) > AUDIENCES.index(reader):
        return None
    value = _written(trigger.value, trigger.unit)
    if trigger.unit == "code" and RULES[trigger.rule].unit != "code":
        return RULES[trigger.rule].name[language]  # the decision's own reason says the rest
    if trigger.value == "referred":
        value = "系统转人工" if language == "zh" else "the system referred it"
    elif trigger.rule == "exception" and trigger.value in CATALOGUE:
        code = str(trigger.value)
        try:
            said = render({"code": code, "args": {}}, cast(Language, language), reader, names)
        except KeyError:  # the text has places for values; the decision's own reason fills them
            said = code
        value = (said or code).rstrip("。.")
    if trigger.unit == "feature" and " = " in value:
        name, _, rest = value.partition(" = ")
        value = f"{(names or {}).get(name, name)} = {rest}"
    bound = _written(trigger.bound, trigger.unit)
    return RULES[trigger.rule].text[language].format(value=value, bound=bound)
