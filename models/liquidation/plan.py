"""Plan the forced sales of a firm's distressed accounts together.

For each account: the amount that restores the target line; then, session by session, shares of the
names where a unit of impact cost frees most margin, never more than may be sold and, over all
accounts together, never more than a share of a name's daily volume. Nothing is ever bought.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from data_contracts.case import Book
from data_contracts.errors import InputError
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, RATIO_ONE, ceil_div, format_decimal
from models.liquidation.impact import impact_ratio
from models.maintenance.state import sale_to_reach
from models.policy import CONTRACTS, Policy

SLICES: Final = 8
"""Parts that a holding is looked at in, because the impact of the first shares is the least."""

SUSPENDED, LOCKED, SETTLING, RESTRICTED, VOLUME, WORTHLESS, TOO_LITTLE = (
    "suspended", "limit_locked", "not_settled", "restricted", "volume", "no_price", "too_little",
)  # fmt: skip


@dataclass(frozen=True)
class SaleMarket:
    """What a sale meets in a name, beyond the snapshot. Left out: no volume, nothing locked.

    Attributes
    ----------
    adv_shares : average daily volume under stress, shares
    volatility_ratio : daily volatility, 1e-6
    locked : names that stand limit-down without bids
    crossable_shares : buying interest of the firm's other clients, netted before the market is met
    """

    adv_shares: Mapping[str, int] = field(default_factory=dict)
    volatility_ratio: Mapping[str, int] = field(default_factory=dict)
    locked: frozenset[str] = frozenset()
    crossable_shares: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Distressed:
    """An account to sell from.

    ``bought_today`` is not settled where shares cannot be sold on the day of purchase;
    ``restricted`` may not be sold at all (pledged, frozen, lock-up). ``prefers`` ranks names by
    the client's wish.
    """

    account_id: str
    book: Book
    bought_today: Mapping[str, int] = field(default_factory=dict)
    restricted: Mapping[str, int] = field(default_factory=dict)
    prefers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Slice:
    """Shares of a name to sell from an account in a session, 0 for the first."""

    account_id: str
    session: int
    symbol: str
    quantity_shares: int
    value_amt: int
    crossed_shares: int


@dataclass(frozen=True)
class AccountPlan:
    """What a plan does for an account.

    ``needed_amt`` is the sale that restores the target, null where no sale can. ``ratio_after`` is
    the maintenance ratio after all slices at the planned cost, null where nothing is owed any more.
    Where ``restored`` is false, ``short_amt`` is the value that still had to be sold and ``why``
    the value that each hindrance holds back.
    """

    account_id: str
    needed_amt: int | None
    planned_amt: int
    restored: bool
    ratio_after: int | None
    short_amt: int
    why: dict[str, int]


@dataclass(frozen=True)
class Plan:
    """Slices and their outcome. ``person_first`` names what a person must look at before a sale."""

    slices: tuple[Slice, ...]
    accounts: tuple[AccountPlan, ...]
    person_first: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The plan as a document."""

        def amt(value: int | None) -> str | None:
            return None if value is None else format_decimal(value, 2)

        return {
            "advice": True,
            "slices": [
                {
                    "account_id": s.account_id,
                    "session": s.session,
                    "symbol": s.symbol,
                    "quantity_shares": s.quantity_shares,
                    "crossed_shares": s.crossed_shares,
                    "value_amt": amt(s.value_amt),
                }
                for s in self.slices
            ],
            "accounts": [
                {
                    "account_id": a.account_id,
                    "needed_amt": amt(a.needed_amt),
                    "planned_amt": amt(a.planned_amt),
                    "restored": a.restored,
                    "ratio_after": a.ratio_after,
                    "short_amt": amt(a.short_amt),
                    "why": {k: amt(v) for k, v in sorted(a.why.items())},
                }
                for a in self.accounts
            ],
            "person_first": dict(sorted(self.person_first.items())),
        }


@dataclass
class _Account:
    given: Distressed
    assets: int
    owed: int
    held: dict[str, int]
    sold: dict[str, int] = field(default_factory=dict)
    cost: int = 0
    value: int = 0

    def ratio_kept(self, line: int) -> bool:
        """Whether assets after the sales so far are at least ``line`` times what is owed."""
        owed = max(self.owed - (self.value - self.cost), 0)
        return (self.assets - self.value) * RATIO_ONE >= line * owed


class _Names:
    """Prices, sellability and volume of the names, and what of them is taken already."""

    def __init__(self, market: MarketSnapshot, sale: SaleMarket, policy: Policy) -> None:
        self.market, self.sale = market, sale
        self.share = policy["liquidation_adv_share_ratio"]
        self.fixed_cost = policy["liquidation_cost_ratio"]
        self.settling = policy.get("sessions_before_sale", 0)
        self.lot = 100 if policy.kind == "cn" else 1
        self.crossable = dict(sale.crossable_shares)
        self.taken: dict[str, int] = {}

    def price(self, symbol: str) -> int:
        k = self.market.index.get(symbol)
        return 0 if k is None or self.market.price[k] == NULL else int(self.market.price[k])

    def suspended(self, symbol: str) -> bool:
        k = self.market.index.get(symbol)
        return k is not None and bool(self.market.suspended[k])

    def next_session(self) -> None:
        self.taken = {}

    def room(self, symbol: str) -> int:
        """Shares of a name that the firm may still sell in this session, crossing included."""
        most = self.sale.adv_shares.get(symbol, 0) * self.share // RATIO_ONE
        return max(most - self.taken.get(symbol, 0), 0) + self.crossable.get(symbol, 0)

    def take(self, symbol: str, shares: int) -> int:
        """Use up room; returns how many of the shares are crossed inside the firm."""
        crossed = min(shares, self.crossable.get(symbol, 0))
        if crossed:
            self.crossable[symbol] -= crossed
        self.taken[symbol] = self.taken.get(symbol, 0) + shares - crossed
        return crossed

    def cost_ratio(self, symbol: str, shares: int) -> int:
        """Fixed cost and impact of the market part of a sale, 1e-6."""
        market = max(shares - self.crossable.get(symbol, 0), 0)
        volume = self.sale.adv_shares.get(symbol, 0)
        moved = impact_ratio(market, volume, self.sale.volatility_ratio.get(symbol, 0))
        return min(self.fixed_cost + moved, RATIO_ONE)

    def margin(self, symbol: str) -> int:
        k = self.market.index.get(symbol)
        margin = RATIO_ONE if k is None else int(self.market.security_margin[k])
        return RATIO_ONE if margin == NULL else margin


def sellable(a: Distressed, symbol: str, names: _Names, session: int) -> int:
    """Shares of a holding that may be sold in a session, before volume."""
    held = sum(p.quantity_shares for p in a.book.positions if p.symbol == symbol)
    if names.suspended(symbol) or names.price(symbol) == 0:
        return 0
    if session == 0 and symbol in names.sale.locked:
        return 0
    kept = a.restricted.get(symbol, 0)
    if session < names.settling:
        kept += a.bought_today.get(symbol, 0)
    return max(held - kept, 0)


def _account(given: Distressed, names: _Names) -> _Account:
    for what in (given.bought_today, given.restricted):
        if any(q < 0 for q in what.values()):
            raise InputError(
                f"account {given.account_id}: bought_today and restricted count shares, not less"
                " than none"
            )
    held = {p.symbol: p.quantity_shares for p in given.book.positions}
    value = sum(q * names.price(s) // 100 for s, q in held.items())
    book = given.book
    owed = book.debt_amt + book.accrued_amt + max(-book.cash_amt, 0)
    return _Account(given, value + max(book.cash_amt, 0), owed, held)


def _next_piece(a: _Account, names: _Names, session: int) -> tuple[str, int] | None:
    """The name and shares of the next part to sell: most margin freed for its cost."""
    best: tuple[tuple[int, int, int, str], int] | None = None
    for symbol, held in a.held.items():
        done = a.sold.get(symbol, 0)
        free = min(sellable(a.given, symbol, names, session) - done, names.room(symbol))
        if free <= 0:
            continue
        piece = max(held // SLICES, 1)
        piece = min(ceil_div(piece, names.lot) * names.lot, free)
        if piece < names.lot and piece < held - done:
            continue  # an odd lot is sold only to close the holding
        if piece < held - done:
            piece -= piece % names.lot
        cost = max(names.cost_ratio(symbol, piece), 1)
        wish = a.given.prefers.index(symbol) if symbol in a.given.prefers else len(a.given.prefers)
        freed = names.margin(symbol) * RATIO_ONE // cost
        rank = (wish, -freed, -names.margin(symbol), symbol)
        if best is None or rank < best[0]:
            best = (rank, piece)
    return None if best is None else (best[0][3], best[1])


def _fit(a: _Account, symbol: str, shares: int, names: _Names, line: int, most: int | None) -> int:
    """The piece cut to what the target, or the session's part, still asks for: whole lots, up."""
    price = names.price(symbol)
    cost = names.cost_ratio(symbol, shares)
    left = sale_to_reach(a.assets - a.value, max(a.owed - (a.value - a.cost), 0), line, cost)
    wanted = shares * price // 100 if left is None else left
    if most is not None:
        wanted = min(wanted, max(most - a.value, 0))
    asked = ceil_div(ceil_div(wanted * 100, price), names.lot) * names.lot
    return max(min(shares, asked), 0)


def _sell(a: _Account, names: _Names, session: int, line: int, most: int | None) -> list[Slice]:
    """Sell from an account in a session until the target, the part or the market ends it."""
    found: dict[str, list[int]] = {}
    while not a.ratio_kept(line) and (most is None or a.value < most):
        piece = _next_piece(a, names, session)
        if piece is None:
            break
        symbol, shares = piece[0], _fit(a, piece[0], piece[1], names, line, most)
        if shares <= 0:
            break
        value = shares * names.price(symbol) // 100
        a.cost += ceil_div(value * names.cost_ratio(symbol, shares), RATIO_ONE)
        crossed = names.take(symbol, shares)
        a.sold[symbol] = a.sold.get(symbol, 0) + shares
        a.value += value
        so_far = found.setdefault(symbol, [0, 0, 0])
        so_far[0] += shares
        so_far[1] += value
        so_far[2] += crossed
    return [
        Slice(a.given.account_id, session, s, q, v, crossed)
        for s, (q, v, crossed) in sorted(found.items())
    ]


def _hindrances(a: _Account, names: _Names) -> dict[str, int]:
    """Value that was not sold, by what holds it back."""
    why: dict[str, int] = {}

    def add(reason: str, shares: int, price: int) -> None:
        if shares > 0 and price > 0:
            why[reason] = why.get(reason, 0) + shares * price // 100

    for symbol, held in a.held.items():
        price, left = names.price(symbol), held - a.sold.get(symbol, 0)
        if left <= 0:
            continue
        if price == 0:
            why.setdefault(WORTHLESS, 0)
        elif names.suspended(symbol):
            add(SUSPENDED, left, price)
        else:
            kept = min(a.given.restricted.get(symbol, 0), left)
            add(RESTRICTED, kept, price)
            left -= kept
            locked = symbol in names.sale.locked and a.sold.get(symbol, 0) == 0
            fresh = min(a.given.bought_today.get(symbol, 0), left) if names.settling else 0
            add(SETTLING, fresh, price)
            add(LOCKED if locked else VOLUME, left - fresh, price)
    return why


def _person_first(accounts: Sequence[_Account], names: _Names, policy: Policy) -> dict[str, str]:
    """Names in which the firm's own selling would move the price: wait or take a pledge instead."""
    wanted: dict[str, int] = {}
    for a in accounts:
        for symbol in a.held:
            wanted[symbol] = wanted.get(symbol, 0) + a.sold.get(symbol, 0)
    found = {}
    for symbol, shares in wanted.items():
        market = max(shares - names.sale.crossable_shares.get(symbol, 0), 0)
        volume = names.sale.adv_shares.get(symbol, 0)
        moved = impact_ratio(market, volume, names.sale.volatility_ratio.get(symbol, 0))
        if moved > policy["spiral_impact_ratio"]:
            found[symbol] = "impact"
        elif volume and market * RATIO_ONE > policy["spiral_adv_share_ratio"] * volume:
            found[symbol] = "volume"
    return found


def plan(
    accounts: Sequence[Distressed],
    market: MarketSnapshot,
    policy: Policy,
    sale: SaleMarket | None = None,
) -> Plan:
    """Plan the sales that bring accounts back to the target line, all of them together.

    The worst account sells first in each session. An account above the immediate-close line sells
    a part of what it needs in the first session and the rest in those after; below it, all that
    can be sold. What the plan sells stays on the book until a person orders it.

    Raises
    ------
    InputError
        If share counts are negative, two accounts have one name, or the pack is for contracts for
        difference.
    """
    if policy.kind == CONTRACTS:
        raise InputError(
            f"policy pack {policy.pack!r} is for contracts for difference: they are closed with"
            " their provider at once, nothing is sold on a market; `gearline simulate CASE.json`"
            " says what to close"
        )
    names = _Names(market, sale or SaleMarket(), policy)
    line, force = policy["target_line_ratio"], policy["force_line_ratio"]
    made = [_account(a, names) for a in accounts]
    if len({a.account_id for a in accounts}) != len(accounts):
        raise InputError("two accounts to sell from have the same account_id")
    needed = {
        a.given.account_id: sale_to_reach(a.assets, a.owed, line, names.fixed_cost) for a in made
    }
    order = sorted(made, key=lambda a: (a.assets * RATIO_ONE // max(a.owed, 1), a.given.account_id))
    slices: list[Slice] = []
    for session in range(policy["liquidation_horizon_sessions"]):
        names.next_session()
        for a in order:
            most = None
            whole = needed[a.given.account_id]
            urgent = a.assets * RATIO_ONE < force * a.owed
            if session == 0 and not urgent and whole is not None:
                most = ceil_div(whole * policy["liquidation_close_factor_ratio"], RATIO_ONE)
            slices += _sell(a, names, session, line, most)
    results = []
    for a in made:
        restored = a.ratio_kept(line)
        owed = max(a.owed - (a.value - a.cost), 0)
        left = sale_to_reach(a.assets - a.value, owed, line, names.fixed_cost)
        why = {} if restored else _hindrances(a, names)
        if not restored and not why:
            why = {TOO_LITTLE: 0}
        results.append(
            AccountPlan(
                account_id=a.given.account_id,
                needed_amt=needed[a.given.account_id],
                planned_amt=a.value,
                restored=restored,
                ratio_after=(a.assets - a.value) * RATIO_ONE // owed if owed else None,
                short_amt=0 if restored else (a.assets - a.value if left is None else left),
                why=why,
            )
        )
    return Plan(tuple(slices), tuple(results), _person_first(made, names, policy))
