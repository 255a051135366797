"""Where an account stands: lines, deadlines, the way out of a call, distance to every limit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from data_contracts.case import Case
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, RATIO_ONE, ceil_div, format_decimal, parse_decimal
from models.law import cfd
from models.margin.book import book_columns
from models.margin.limits import LINES, BookLimits, book_limits
from models.policy import CONTRACTS, Policy

LEVELS: Final = ("clear", *LINES)
Level = Literal["clear", "observe", "warn", "call", "force"]
Side = Literal["buy", "sell", "deposit", "withdraw", "repay", "borrow"]
REDUCING: Final = ("sell", "deposit", "repay")


@dataclass(frozen=True)
class Distance:
    """How far a line is: minor units and 1e-6; null where nothing is owed.

    ``fall_ratio`` is the fall of asset value until the line is reached, negative once it is passed;
    ``deposit_amt`` the cash that brings the account back to it; ``sale_amt`` the sale that does,
    its cost included, with the proceeds repaid. ``sale_amt`` is null where no sale can.
    """

    line: str
    line_ratio: int
    fall_ratio: int | None
    deposit_amt: int
    sale_amt: int | None


@dataclass(frozen=True)
class Account:
    """Where an account stands at a session's close.

    ``level`` is the most severe line that it is below. ``deadline`` is the session by whose close a
    call must be met; null without a call, or past the sessions given. ``withdrawable_amt`` is what
    may leave without falling below the withdrawal line, where the market has one.
    ``required_margin_amt`` is the initial margin of the open contracts where the rules ask for one
    by class of underlying, ``margin_level_ratio`` equity over it: the force line then is the level
    at which contracts are closed.
    """

    level: Level
    assets_amt: int
    owed_amt: int
    maintenance_ratio: int | None
    distances: tuple[Distance, ...]
    deadline: dt.date | None
    cure: Distance | None
    withdrawable_amt: int | None
    contracts_due: tuple[tuple[str, int], ...]
    required_margin_amt: int | None = None
    margin_level_ratio: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """The account as a document: money in decimal strings, ratios in 1e-6."""

        def amt(value: int | None) -> str | None:
            return None if value is None else format_decimal(value, 2)

        def distance(d: Distance) -> dict[str, Any]:
            return {
                "line": d.line,
                "line_ratio": d.line_ratio,
                "fall_ratio": d.fall_ratio,
                "deposit_amt": amt(d.deposit_amt),
                "sale_amt": amt(d.sale_amt),
            }

        return {
            "level": self.level,
            "assets_amt": amt(self.assets_amt),
            "owed_amt": amt(self.owed_amt),
            "maintenance_ratio": self.maintenance_ratio,
            "distances": [distance(d) for d in self.distances],
            "deadline": None if self.deadline is None else self.deadline.isoformat(),
            "cure": None if self.cure is None else distance(self.cure),
            "withdrawable_amt": amt(self.withdrawable_amt),
            "contracts_due": [
                {"contract_id": name, "days": days} for name, days in self.contracts_due
            ],
            "required_margin_amt": amt(self.required_margin_amt),
            "margin_level_ratio": self.margin_level_ratio,
        }


def sale_to_reach(assets: int, owed: int, line: int, cost: int) -> int | None:
    """Value to sell so that what is left is ``line`` times what is still owed, rounded up.

    S = (R D - A) / (R (1 - c) - 1), proceeds after cost repaid; 0 where the account is there, null
    where even selling everything is too little.
    """
    short = line * owed - assets * RATIO_ONE
    if short <= 0:
        return 0
    gained = line * (RATIO_ONE - cost) // RATIO_ONE - RATIO_ONE
    if gained <= 0:
        return None
    amount = ceil_div(short, gained)
    return amount if amount <= assets else None


def _distance(name: str, line: int, assets: int, owed: int, cost: int) -> Distance:
    fall = None
    if owed > 0:
        fall = RATIO_ONE - ceil_div(line * owed, max(assets, 1))
    needed = max(ceil_div(line * owed, RATIO_ONE) - assets, 0)
    return Distance(name, line, fall, needed, sale_to_reach(assets, owed, line, cost))


def _level_of(maintenance: int | None, lines: Sequence[int]) -> Level:
    """The most severe line that a maintenance ratio is below."""
    found: Level = "clear"
    if maintenance is not None:
        names: tuple[Level, ...] = ("observe", "warn", "call", "force")
        for name, line in zip(names, lines, strict=True):
            if maintenance < line:
                found = name
    return found


def _by_margin(
    distances: Sequence[Distance], limits: BookLimits, owed: int, policy: Policy
) -> tuple[Distance, ...]:
    """The same lines where each is a level of the account's required margin: a deposit adds to
    equity and asks for no margin, and a fall lowers equity before it lowers the margin."""
    equity, required = int(limits.equity[0]), int(limits.required[0])
    falls = cfd.falls(limits.assets, limits.equity, limits.required, policy)[0].tolist()
    return tuple(
        replace(
            d,
            fall_ratio=falls[k] if owed > 0 else None,
            deposit_amt=cfd.deposit_to(policy[cfd.LEVELS[k]], equity, required),
        )
        for k, d in enumerate(distances)
    )


def _restored(limits: BookLimits, assets: int, owed: int, cost: int, policy: Policy) -> Distance:
    """What brings an account back to the level that closing contracts restores."""
    level, required = policy[cfd.TARGET], int(limits.required[0])
    line = int(cfd.line_at(level, limits.assets, limits.required, limits.required)[0])
    paid = cfd.deposit_to(level, int(limits.equity[0]), required)
    return replace(_distance("target", line, assets, owed, cost), deposit_amt=paid)


def account(
    case: Case, market: MarketSnapshot, policy: Policy, coming: Sequence[dt.date] = ()
) -> Account:
    """Where the case's account stands.

    Parameters
    ----------
    coming : the sessions after the market's, ascending: what a deadline is counted in
    """
    columns = book_columns([case.book], market, [f"client {case.client_id}"])
    limits = book_limits(columns, market, policy, loss=np.zeros(1, dtype=np.int64))
    assets, owed = int(limits.assets[0]), int(columns.owed[0])
    ratio = None if limits.maintenance[0] == NULL else int(limits.maintenance[0])
    cost = policy["liquidation_cost_ratio"]
    lines: list[int] = limits.lines[0].tolist()
    distances = tuple(
        _distance(name, line, assets, owed, cost) for name, line in zip(LINES, lines, strict=True)
    )
    by_margin = policy.kind == CONTRACTS
    required: int | None = None
    if by_margin:
        required = int(limits.required[0])
        distances = _by_margin(distances, limits, owed, policy)
    level = _level_of(ratio, lines)
    called = level in ("call", "force")
    sessions = 0 if level == "force" else policy["call_deadline_sessions"]
    deadline = None
    if called:
        after = [market.session, *coming]
        deadline = after[sessions] if sessions < len(after) else None
    withdrawable = None
    if "withdrawal_line_ratio" in policy:
        line = policy["withdrawal_line_ratio"]
        withdrawable = max(min(int(columns.cash[0]), assets - ceil_div(line * owed, RATIO_ONE)), 0)
    due = tuple(
        (c.contract_id, (c.due_on - market.session).days)
        for c in sorted(case.book.contracts, key=lambda c: c.contract_id)
        if c.due_on is not None
    )
    cure = None
    if called and by_margin:
        cure = _restored(limits, assets, owed, cost, policy)
    elif called:
        cure = _distance("target", policy["target_line_ratio"], assets, owed, cost)
    return Account(
        level=level,
        assets_amt=assets,
        owed_amt=owed,
        maintenance_ratio=ratio,
        distances=distances,
        deadline=deadline,
        cure=cure,
        withdrawable_amt=withdrawable,
        contracts_due=due,
        required_margin_amt=required,
        margin_level_ratio=None
        if required is None
        else cfd.margin_level(int(limits.equity[0]), required),
    )


def rooms(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Distance to every limit of a decision: what each term still leaves above the debt there is.

    ``room_amt`` is negative where the debt is above the term; both are null where it does not
    apply. Nothing need be repaid for it: only the lines force.
    """
    debt = parse_decimal(body["debt_amt"], 2, "debt_amt")
    found = []
    for step in body["cap_waterfall"]:
        limit = step["limit_amt"]
        room = None if limit is None else parse_decimal(limit, 2, "limit_amt") - debt
        found.append(
            {
                "term": step["term"],
                "limit_amt": limit,
                "room_amt": None if room is None else format_decimal(room, 2),
            }
        )
    return found


def may_place(side: Side, level: Level) -> bool:
    """Whether an order or transfer may be placed at a level: what reduces risk always may.

    From the warning line on nothing may be bought, borrowed or withdrawn.
    """
    return side in REDUCING or LEVELS.index(level) < LEVELS.index("warn")
