"""What a client can do to have a request approved: deposit, sell, or ask for less.

Each is found by running ``decide`` again on the changed case, whole, and is given only if that
decision approves. The features, and so the score, are those of the last cut-off. A decision's own
``counterfactuals`` field stays empty: a search of a few hundred decisions belongs to the client who
asks, not to every row of a night.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from data_contracts.case import Case
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import MAX_AMT, MINOR_PER_UNIT, format_decimal
from models.bundle import Bundle
from models.decide.columns import DecisionColumns, decide_columns
from models.decide.gates import APPROVE, GATES
from models.maintenance.what_if import AskLess, Deposit, Lever, Sell, what_if
from models.margin.cap import CAP_TERMS
from models.policy import Policy

TRIES: Final = 16
"""Amounts tried at once: a search over ten billion takes nine rounds of one decision call each."""


@dataclass(frozen=True)
class Counterfactual:
    """A lever that reaches approval, and the limit that the decision then has, minor units."""

    lever: Lever
    max_debt_amt: int

    def as_dict(self) -> dict[str, Any]:
        """The lever as a document."""
        made: dict[str, Any] = {
            "lever": None,
            "amount_amt": None,
            "symbol": None,
            "quantity_shares": None,
            "outcome": "approve",
            "max_debt_amt": format_decimal(self.max_debt_amt, 2),
        }
        match self.lever:
            case Deposit(amount):
                return made | {"lever": "deposit", "amount_amt": format_decimal(amount, 2)}
            case AskLess(amount):
                return made | {"lever": "ask_less", "amount_amt": format_decimal(amount, 2)}
            case Sell(symbol, shares):
                return made | {"lever": "sell", "symbol": symbol, "quantity_shares": shares}
            case _:
                raise InputError(f"{self.lever} is no lever of a client's")


@dataclass(frozen=True)
class WaysOut:
    """What a client can do; ``nothing`` names the rules that bind where nothing can be done."""

    found: tuple[Counterfactual, ...]
    nothing: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The ways as a document."""
        return {"ways": [c.as_dict() for c in self.found], "nothing": list(self.nothing)}


class _Search:
    def __init__(
        self,
        case: Case,
        features: FeatureFrame,
        bundle: Bundle,
        policy: Policy,
        market: MarketSnapshot,
    ) -> None:
        self.case, self.features, self.bundle = case, features, bundle
        self.policy, self.market = policy, market

    def decided(self, levers: Sequence[Lever]) -> DecisionColumns:
        """One decision a lever."""
        cases = [what_if(self.case, self.market, [lever])[0] for lever in levers]
        one = self.features
        frame = FeatureFrame(
            one.feature_set,
            one.feature_set_sha256,
            one.names,
            one.client_ids * len(cases),
            one.as_of,
            np.repeat(one.values, len(cases), axis=0),
        )
        return decide_columns(cases, frame, self.bundle, self.policy, self.market)

    def least(self, make: Callable[[int], Lever], most: int, step: int) -> Counterfactual | None:
        """The least multiple of ``step`` up to ``most`` that is approved, found by sections.

        Approval need not be monotone in the amount; what is returned was decided and approved, and
        nothing approved was seen below it.
        """
        low, high = 0, most // step
        if high < 1:
            return None
        best: Counterfactual | None = None
        while low < high:
            tried = sorted({low + (high - low) * k // TRIES for k in range(1, TRIES + 1)} - {low})
            d = self.decided([make(t * step) for t in tried])
            good = [k for k in range(len(tried)) if d.outcome[k] == APPROVE]
            if not good:
                return best
            k = good[0]
            best = Counterfactual(make(tried[k] * step), int(d.cap.cap[k]))
            low, high = (tried[k - 1] if k else low), tried[k]
            if high - low <= 1:
                break
        return best


def counterfactuals(
    case: Case, features: FeatureFrame, bundle: Bundle, policy: Policy, market: MarketSnapshot
) -> WaysOut:
    """The least deposit, the least sale of each holding, and the most that can be asked for.

    Parameters are those of ``decide``. A case that is approved has nothing to reach; where a gate
    or a term that no lever moves binds, its name is given.

    Raises
    ------
    InputError
        If the inputs do not belong together.
    """
    search = _Search(case, features, bundle, policy, market)
    now = decide_columns([case], features, bundle, policy, market)
    if now.outcome[0] == APPROVE:
        return WaysOut((), ())
    closed = [g for g in GATES if now.gate.closed[g][0] and g not in ("gate_neutral",)]
    hidden = bool(now.gate.closed["gate_neutral"][0])
    if closed:
        # what is true of sanctions, AML and PEP is for compliance alone: a client reads no hint
        shown = [g for g in closed if g not in ("gate_sanctioned", "gate_aml", "gate_pep")]
        return WaysOut((), tuple((["gate_neutral"] if hidden else []) + shown))
    found: list[Counterfactual] = []
    cap = int(now.cap.cap[0])
    if cap > 0:
        asked = search.decided([AskLess(cap)])
        if asked.outcome[0] == APPROVE:
            found.append(Counterfactual(AskLess(cap), int(asked.cap.cap[0])))
    room = MAX_AMT - max(case.book.cash_amt, 0) - int(now.books.invested[0])
    if case.group is not None:
        room -= sum(abs(b.cash_amt) for b in case.group.others)
    most = min(room // 2, 20 * max(case.request.requested_debt_amt or 0, cap, MINOR_PER_UNIT))
    deposit = search.least(Deposit, most, MINOR_PER_UNIT)
    if deposit is not None:
        found.append(deposit)
    for holding in sorted(case.book.positions, key=lambda p: p.symbol):
        sale = search.least(lambda q, s=holding.symbol: Sell(s, q), holding.quantity_shares, 1)  # type: ignore[misc]
        if sale is not None:
            found.append(sale)
    if found:
        return WaysOut(tuple(found), ())
    return WaysOut((), (f"bound_{CAP_TERMS[int(now.cap.binding[0])]}",))


def reaches(
    way: Counterfactual,
    case: Case,
    features: FeatureFrame,
    bundle: Bundle,
    policy: Policy,
    market: MarketSnapshot,
) -> bool:
    """Whether the whole of ``decide`` approves the case after the lever, with the limit stated."""
    changed, prices = what_if(case, market, [way.lever])
    d = decide_columns([replace(changed)], features, bundle, policy, prices)
    return bool(d.outcome[0] == APPROVE) and int(d.cap.cap[0]) == way.max_debt_amt
