"""The debt a book supports under each rule, before tiers and steps.

All amounts are minor units, all ratios 1e-6, all arithmetic integer and rounded against the client.
E is equity, assets less debt and accrued interest. A limit is the most debt after the next
draw-down, whose proceeds buy shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import MAX_AMT, NULL, RATIO_ONE, BoolArray, IntArray
from models.law import cfd, china, eligible, united_states
from models.margin.book import BookColumns
from models.margin.concentration import concentration_margin, largest_share
from models.margin.exact import over, part, part_up, up
from models.margin.paths import PathLimit, PathRisk, path_risk, stretch_of
from models.policy import CONTRACTS, Policy


@dataclass(frozen=True)
class BookLimits:
    """What N books are worth and what debt they support, int64 arrays of shape (N,).

    Attributes
    ----------
    assets, invested, equity : minor units
    maintenance : assets over debt and accrued interest, 1e-6, ``NULL`` without debt
    largest_weight : share of the largest holding in assets, 1e-6
    portfolio_margin : equity asked for per unit of holdings, 1e-6
    largest_share : share of the largest holding in all holdings, 1e-6
    concentration_margin : what that adds to ``portfolio_margin``, 1e-6
    portfolio_gap : loss of value over a forced sale in a stress, 1e-6
    statutory, line, concentration, structural : most debt, minor units, never negative nor above
        the largest amount of a client; ``NO_LIMIT`` where the rule does not apply
    house : the house margin ratio's part of ``structural``, ``NO_LIMIT`` without such a rule
    paths : what the book survives on the night's scenario set at its client's tier;
        ``portfolio_margin`` less ``concentration_margin`` is never less
    stretch : debt at the best tier over that at the base tier, at most, 1e-6
    by_paths : bool, whether that asks for more than the joint tail loss does
    lines : shape (N, 4), maintenance ratio of each line, observe to force; the same for every book
        but where the rules ask for margin by class of underlying
    required : minor units, initial margin of the open contracts where the rules know one, else 0
    """

    assets: IntArray
    invested: IntArray
    equity: IntArray
    maintenance: IntArray
    largest_weight: IntArray
    portfolio_margin: IntArray
    portfolio_gap: IntArray
    largest_share: IntArray
    concentration_margin: IntArray
    statutory: IntArray
    line: IntArray
    concentration: IntArray
    structural: IntArray
    house: IntArray
    paths: PathLimit
    stretch: int
    by_paths: BoolArray
    lines: IntArray
    required: IntArray


def _weighted(
    books: BookColumns, per_symbol: IntArray, invested: IntArray, unknown: int
) -> IntArray:
    """Value-weighted mean of a ratio over each book, rounded up; ``unknown`` without holdings."""
    known = books.holding_symbol >= 0
    ratio = np.full(len(books.holding_symbol), RATIO_ONE, dtype=np.int64)
    if len(per_symbol):
        given = np.where(per_symbol == NULL, RATIO_ONE, np.clip(per_symbol, 0, RATIO_ONE))
        ratio[known] = given[books.holding_symbol[known]]
    total = books.per_book(books.holding_value * ratio, books.holding_book)
    return np.where(invested > 0, up(total, np.maximum(invested, 1)), unknown)


def tail_loss(books: BookColumns, market: MarketSnapshot, tail_ratio: int) -> IntArray:
    """Expected shortfall of each book's holdings over the snapshot's scenarios, minor units.

    The mean loss of the worst ``ceil(S x tail_ratio)`` joint scenarios, rounded up; 0 without any.
    """
    count = market.scenarios.shape[0]
    out = np.zeros(books.n, dtype=np.int64)
    known = np.flatnonzero(books.holding_symbol >= 0)
    if count == 0 or len(known) == 0:
        return out
    # a compiled loop, loaded by those who need it
    from models.margin.kernel import worst_sums

    worst = min(max(1, -(-count * tail_ratio // RATIO_ONE)), count)
    book = books.holding_book[known]
    first = np.flatnonzero(np.r_[True, book[1:] != book[:-1]])
    whole, rest = worst_sums(
        np.append(first, len(book)),
        books.holding_symbol[known],
        books.holding_value[known],
        np.ascontiguousarray(market.scenarios.T),
        worst,
        RATIO_ONE,
    )
    # the sum of the tail may pass int64: whole units and the rest are summed apart
    lost = up(-rest, RATIO_ONE) - whole
    out[book[first]] = up(np.maximum(lost, 0), worst)
    return out


def supported(equity: IntArray, margin: IntArray | int) -> IntArray:
    """Debt D with D = E (1 - m) / m: all assets bought with it need equity m. Rounded down."""
    free = np.maximum(equity, 0)
    m = np.clip(np.asarray(margin, dtype=np.int64), 1, RATIO_ONE)
    return over(free, m, RATIO_ONE - m)


def structural_margin(
    loss: IntArray, invested: IntArray, singles: IntArray, policy: Policy
) -> IntArray:
    """Equity asked for per unit of holdings, 1e-6, from 1 to ``RATIO_ONE``, rounded up.

    The joint tail loss times a multiple, or a share of the single-security margins if that is more.
    """
    multiple = policy["structural_multiple_ratio"]
    # a loss above this asks for all equity anyway, and its product would pass int64
    most = over(invested, multiple)
    joint = up(np.minimum(loss, most) * multiple, np.maximum(invested, 1))
    joint = np.where(loss > most, RATIO_ONE, joint)
    floor = part_up(singles, policy["diversification_floor_ratio"])
    unknown = policy["reference_portfolio_margin_ratio"]
    return np.clip(np.where(invested > 0, np.maximum(joint, floor), unknown), 1, RATIO_ONE)


def maintenance_of(books: BookColumns) -> IntArray:
    """Assets over debt and accrued interest, 1e-6, ``NULL`` without debt, shape (N,)."""
    assets, owed = books.per_book(books.holding_value, books.holding_book) + books.cash, books.owed
    ratio = np.minimum(over(assets, np.maximum(owed, 1), RATIO_ONE), LARGEST_MAINTENANCE)
    return np.where(owed > 0, ratio, NULL)


@dataclass(frozen=True)
class AccountLines:
    """Lines of N accounts, before any limit.

    Attributes
    ----------
    lines : int64, shape (N, 4), maintenance ratio in 1e-6 of each line, observe to force
    opening_call : shape (N,), the call line that a draw-down is judged by
    required, new : shape (N,), initial margin of the open contracts, minor units, and of a new one,
        1e-6; 0 where the rules know none
    """

    lines: IntArray
    opening_call: IntArray
    required: IntArray
    new: IntArray


def account_lines(
    books: BookColumns,
    market: MarketSnapshot,
    policy: Policy,
    *,
    buying: IntArray | None = None,
    professional: BoolArray | None = None,
) -> AccountLines:
    """Each account's lines: the policy's, or its own where the rules ask for margin by class.

    ``buying`` and ``professional`` are as in ``book_limits``.
    """
    if policy.kind != CONTRACTS:
        lines = np.tile([policy[f"{n}_line_ratio"] for n in LINES], (books.n, 1))
        none = np.zeros(books.n, dtype=np.int64)
        return AccountLines(lines, lines[:, LINES.index("call")], none, none)
    exempt = np.zeros(books.n, dtype=bool) if professional is None else professional
    invested = books.per_book(books.holding_value, books.holding_book)
    required = cfd.required_margin(books, market, policy)
    new = cfd.opening_margin(market, policy, buying, exempt)
    named = np.zeros(books.n, dtype=bool) if buying is None else buying != NULL
    return AccountLines(
        cfd.account_lines(invested + books.cash, required, new, policy),
        cfd.opening_call_line(invested, required, new, named, policy),
        required,
        new,
    )


def book_limits(
    books: BookColumns,
    market: MarketSnapshot,
    policy: Policy,
    *,
    loss: IntArray | None = None,
    paths: PathRisk | None = None,
    tier: IntArray | None = None,
    account: AccountLines | None = None,
    buying: IntArray | None = None,
    day_trader: BoolArray | None = None,
    professional: BoolArray | None = None,
) -> BookLimits:
    """What each book is worth and what debt each rule lets it carry.

    Parameters
    ----------
    loss : int64, shape (N,), joint tail loss of each book in minor units where it is known already;
        else it is found here (``tail_loss``)
    paths : what each book survives on the scenario set where it is known already; else it is found
        here (``path_risk``)
    tier : int64, shape (N,), tier in force, 8 for D, which sets the chance that the paths may
        leave; the base tier where left out
    account : each account's lines where they are known already; else they are found here
    buying : int64, shape (N,), position in the snapshot of the name that new borrowing will buy,
        -1 for a name the snapshot does not know, ``NULL`` where that is open
    day_trader : bool, shape (N,), pattern day traders; none where left out
    professional : bool, shape (N,), clients whom rules for retail clients exempt; none where left
        out
    """
    invested = books.per_book(books.holding_value, books.holding_book)
    assets = invested + books.cash
    equity = assets - books.owed
    largest = np.zeros(books.n, dtype=np.int64)
    np.maximum.at(largest, books.holding_book, books.holding_value)
    weight = np.where(assets > 0, up(largest * RATIO_ONE, np.maximum(assets, 1)), 0)

    gap_loss = market.gap_loss
    if policy.kind == "cn":
        gap_loss = np.where(
            gap_loss == NULL, NULL, np.maximum(gap_loss, china.lock_gaps(market, policy))
        )
    gap = _weighted(books, gap_loss, invested, policy["reference_portfolio_gap_ratio"])
    singles = _weighted(
        books, market.security_margin, invested, policy["reference_portfolio_margin_ratio"]
    )
    if loss is None:
        loss = tail_loss(books, market, policy["tail_ratio"])
    if paths is None:
        paths = path_risk(books, market, policy)
    joint = structural_margin(loss, invested, singles, policy)
    survived = paths.at(tier, policy)
    share = largest_share(books)
    add_on = concentration_margin(share, policy)
    # ``NULL`` is the smallest integer: a book without a path limit keeps what it had
    by_paths = survived.margin > joint
    margin = np.minimum(np.maximum(joint, survived.margin) + add_on, RATIO_ONE)
    base = np.minimum(np.maximum(joint, survived.base_margin) + add_on, RATIO_ONE)

    exempt = np.zeros(books.n, dtype=bool) if professional is None else professional
    if account is None:
        account = account_lines(books, market, policy, buying=buying, professional=professional)

    # opening line: one gap must not take the account below the call line
    opening = up(account.opening_call * RATIO_ONE, np.maximum(RATIO_ONE - gap, 1))
    free = np.maximum(equity, 0)
    line = over(free, np.maximum(opening - RATIO_ONE, 1))

    concentration = np.full(books.n, NO_LIMIT, dtype=np.int64)
    if "concentration_limit_1_ratio" in policy:
        band = np.where(
            weight > policy["concentration_limit_2_ratio"],
            policy["concentration_line_2_ratio"],
            policy["concentration_line_1_ratio"],
        )
        narrow = np.minimum(over(free, band - RATIO_ONE), MAX_AMT)
        concentration = np.where(weight > policy["concentration_limit_1_ratio"], narrow, NO_LIMIT)

    # the margin keeps within the stretch but for its last digit; the debt does to the last unit
    stretch = stretch_of(market, policy)
    most = part(np.minimum(supported(equity, base), NO_LIMIT), stretch)
    structural = np.minimum(supported(equity, margin), most)
    house = np.full(books.n, NO_LIMIT, dtype=np.int64)
    if policy.kind == "cn":
        statutory, house = china.limits(books, market, policy, buying)
    elif policy.kind == CONTRACTS:
        statutory = cfd.limit(books, equity, account.required, account.new, exempt)
    else:
        statutory = united_states.limit(books, market, policy, equity, day_trader)
    if buying is not None:
        # nothing new for a name that may not be bought on margin; what is owed stays owed
        shut = eligible.shut(buying, market, policy, exempt)
        statutory = np.where(shut, np.minimum(statutory, books.debt), statutory)
    return BookLimits(
        assets,
        invested,
        equity,
        maintenance_of(books),
        weight,
        margin,
        gap,
        share,
        add_on,
        np.minimum(statutory, MAX_AMT),
        np.minimum(line, MAX_AMT),
        concentration,
        np.minimum(np.minimum(structural, house), MAX_AMT),
        house,
        survived,
        stretch,
        by_paths,
        account.lines,
        account.required,
    )


LINES: Final = ("observe", "warn", "call", "force")


LARGEST_MAINTENANCE: Final = 1_000_000 * RATIO_ONE
"""Assets over a debt of a few cents: beyond a million times the ratio says nothing more, and a
canonical document could not hold it."""

NO_LIMIT: Final = 9_000_000_000_000_00
"""Stands for a rule that does not bind: a hundred times the largest amount."""
