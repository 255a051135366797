"""Contracts for difference: initial margin by class of underlying, and the close-out per account.

A contract is a holding of units and a loan of what the client did not post: equity then is the
funds of the account and its unrealised result, debt is exposure less equity, and assets over equity
is the leverage that the rules speak of. The class of the underlying stands in the snapshot's board.

Source: ESMA Decision (EU) 2018/796, Article 1 and Annex I; FCA COBS 22.5 (PS19/18); FCA PS20/10.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import MAX_AMT, RATIO_ONE, BoolArray, IntArray, ceil_div
from models.margin.book import BookColumns
from models.margin.exact import over, part_up, up
from models.policy import CONTRACTS, Policy

KIND: Final = CONTRACTS
CLASSES: Final = (
    "fx_major", "fx_minor", "gold", "index_major", "index_minor", "commodity", "share",
    "government_bond", "crypto", "other",
)  # fmt: skip
"""Classes of underlying, each with its own margin rule."""
LEVELS: Final = (
    "observe_level_ratio", "warn_level_ratio", "call_level_ratio", "close_out_level_ratio",
)  # fmt: skip
"""Equity over required margin at which each line stands, from observe to the close-out."""
TARGET: Final = "target_level_ratio"
CALL: Final = 2
BAN: Final = "crypto_retail_ban"
_PASSED: Final = -(10**12)
"""A line passed by a million times the assets is passed; more says nothing."""
_MOST_OPENED: Final = 10**15
"""An opening exposure above this needs more margin than any account holds."""


def margin_rule(underlying: str) -> str:
    """The rule that holds a class's initial margin."""
    return f"margin_{underlying}_ratio"


def class_of(market: MarketSnapshot) -> IntArray:
    """Position in ``CLASSES`` of every symbol, -1 where its board names none."""
    known = {name: k for k, name in enumerate(CLASSES)}
    return np.array([known.get(b, -1) for b in market.board], dtype=np.int64)


def closed_to_retail(market: MarketSnapshot, policy: Policy) -> BoolArray:
    """Symbols in which no new contract may be sold to a retail client."""
    if BAN not in policy:
        return np.zeros(len(market.symbols), dtype=bool)
    return np.asarray(class_of(market) == CLASSES.index("crypto"), dtype=bool)


def strictest_class(policy: Policy, professional: BoolArray) -> IntArray:
    """Position of the class with the highest margin that each client may open, shape (N,).

    What a draw-down opens is not known: the law must hold whatever it is.
    """
    margin = [policy[margin_rule(c)] for c in CLASSES]
    anyone = margin.index(max(margin))
    sold = [
        m if c != "crypto" or BAN not in policy else -1
        for c, m in zip(CLASSES, margin, strict=True)
    ]
    return np.where(professional, anyone, sold.index(max(sold)))


def opened_class(
    market: MarketSnapshot, policy: Policy, buying: IntArray | None, professional: BoolArray
) -> IntArray:
    """Position in ``CLASSES`` of what new contracts are taken to be, shape (N,).

    The class of the name asked for; the strictest where none is named or its class is not known.
    ``buying`` holds positions in the snapshot, negative for an unknown name or none.
    """
    assumed = strictest_class(policy, professional)
    if buying is None:
        return assumed
    named = np.append(class_of(market), -1)[np.maximum(buying, -1)]
    return np.where(named >= 0, named, assumed)


def _margins(policy: Policy) -> IntArray:
    """Margin of each class, and last the highest of all for what has no class."""
    margin = [policy[margin_rule(c)] for c in CLASSES]
    return np.array([*margin, max(margin)], dtype=np.int64)


def required_margin(books: BookColumns, market: MarketSnapshot, policy: Policy) -> IntArray:
    """Initial margin of each account's open contracts, minor units, shape (N,), rounded up.

    The margin is a share of the exposure, and the exposure the greater of today's and that at
    opening, so that a loss never lowers it. A contract's opening exposure is what was financed over
    one less the share that was posted, which is never below the class's margin. A name that the
    snapshot does not know, or whose class it does not, takes the highest margin.
    """
    margin = _margins(policy)
    of_symbol = np.append(class_of(market), -1)
    held = margin[of_symbol[np.maximum(books.holding_symbol, -1)]]
    own = margin[of_symbol[np.maximum(books.loan_symbol, -1)]]
    posted = np.where(
        (books.loan_ratio >= own) & (books.loan_ratio < RATIO_ONE), books.loan_ratio, own
    )
    opened = np.minimum(-over(-books.loan_outstanding, RATIO_ONE - posted), _MOST_OPENED)
    more = np.maximum(opened - books.loan_value, 0)
    now = books.per_book(part_up(books.holding_value, held), books.holding_book)
    return now + books.per_book(part_up(more, own), books.loan_book)


def opening_margin(
    market: MarketSnapshot, policy: Policy, buying: IntArray | None, professional: BoolArray
) -> IntArray:
    """Initial margin of a new contract of each client, 1e-6, shape (N,)."""
    return _margins(policy)[opened_class(market, policy, buying, professional)]


def limit(
    books: BookColumns,
    equity: IntArray,
    required: IntArray,
    new: IntArray,
    professional: BoolArray,
) -> IntArray:
    """Most debt: margin of the open contracts and of a new one is covered by equity.

    What is opened, at margin ``new``, takes all the cash there is and the new debt. A professional
    client has no limit by law: the largest amount that a decision holds.
    """
    exposure = over(np.maximum(equity - required, 0), new)
    most = np.maximum(books.debt - books.cash + exposure, 0)
    return np.where(professional, MAX_AMT, most)


def _line(need: IntArray) -> IntArray:
    """Assets over debt at which equity is ``need`` of assets, 1e-6, rounded up."""
    return up(
        np.full(len(need), RATIO_ONE * RATIO_ONE), RATIO_ONE - np.minimum(need, RATIO_ONE - 1)
    )


def line_at(level: int, assets: IntArray, required: IntArray, new: IntArray) -> IntArray:
    """Assets over debt at which equity is a level of the required margin, 1e-6, shape (N,).

    An account whose equity is less than that level of its required margin is below the line.
    ``new`` is the margin assumed of an account without contracts.
    """
    need = np.minimum(part_up(required, level), np.maximum(assets, 0))
    share = up(need * RATIO_ONE, np.maximum(assets, 1))
    return _line(np.where(required > 0, share, part_up(new, level)))


def account_lines(assets: IntArray, required: IntArray, new: IntArray, policy: Policy) -> IntArray:
    """Each account's lines, 1e-6, shape (N, 4), from observe to the close-out."""
    return np.stack([line_at(policy[n], assets, required, new) for n in LEVELS], axis=1)


def opening_call_line(
    invested: IntArray, required: IntArray, new: IntArray, named: BoolArray, policy: Policy
) -> IntArray:
    """The call line of an account whose assets are all exposure, in the proportions it has now.

    Of a name that is asked for with a higher margin, that margin.
    """
    whole = np.minimum(required, invested) * RATIO_ONE
    mix = np.where(invested > 0, up(whole, np.maximum(invested, 1)), new)
    mix = np.where(named, np.maximum(mix, new), mix)
    return _line(part_up(mix, policy[LEVELS[CALL]]))


def falls(assets: IntArray, equity: IntArray, required: IntArray, policy: Policy) -> IntArray:
    """Fall of asset value until each line, 1e-6, shape (N, 4), rounded down; negative once passed.

    The margin stays what it is today while prices fall, as it does by the rule once they are below
    those of opening: the distance is never overstated.
    """
    most = np.maximum(assets, 1)
    made = []
    for name in LEVELS:
        left = np.clip(equity - part_up(required, policy[name]), -MAX_AMT, MAX_AMT)
        made.append(np.maximum(over(left, most), _PASSED))
    return np.stack(made, axis=1)


def deposit_to(level: int, equity: int, required: int) -> int:
    """Cash that brings an account to a level of its required margin, minor units, rounded up."""
    return max(ceil_div(required * level, RATIO_ONE) - equity, 0)


def margin_level(equity: int, required: int) -> int | None:
    """Equity over required margin, 1e-6, rounded down; null without open contracts."""
    return None if required <= 0 else equity * RATIO_ONE // required
