"""Capital by Euler allocation of the firm's expected shortfall on the night's scenario set.

On path p the firm loses X(p), the sum over clients of exposure x d(p) x l(p). A client's account
stands at its debt after the draw-down; the path sells it where it is called by the policy's lines
and the deadline passes, as the path limit counts it. There d(p) is the one-year PD over the weight
of the paths that sell it, so that all of its defaults fall on these paths, and l(p) what the sale
at the next close, less cost and unsecured recovery, leaves bare. Elsewhere d(p) is the stressed PD
and l(p) the LGD, and neither is ever less. What clients have in common is in the paths: no
systematic factor and no correlation is assumed.

The firm's expected shortfall is the weighted mean of X over its tail, the worst paths by X whose
weights make up ``capital_tail_ratio`` of all, the last of them in part. For a homogeneous risk
measure a client's part is the derivative in its exposure (Tasche 1999), the mean of its own losses
over the firm's tail:

    K = sum over the tail of w(p) d(p) l(p) / sum over the tail of w(p)

so that K x exposure sums to the firm's expected shortfall. The tail travels in the market snapshot
as one weight a path; from there on a client's K depends on no other client.

The weights are the paths' own likelihood ratios, not those blended with stress that the limit uses:
blended, the worst twentieth would hold a quarter of all weight and the tail one or two paths.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from data_contracts.snapshot import MarketSnapshot, ScenarioPaths
from data_contracts.units import MAX_AMT, PROB_ONE, RATIO_ONE, IntArray
from models.margin.book import BookColumns
from models.margin.exact import over, part, up
from models.margin.limits import BookLimits
from models.margin.paths import SETS_KEPT, UNIT, scenario_set, walked
from models.policy import Policy
from models.price.rate import exposure_at_default, stressed_pd

NO_TAIL, FIRM, MARKET = None, "firm", "market"
TAILS: Final = (NO_TAIL, FIRM, MARKET)
"""Whose worst paths the charge is taken on: the firm's own, found in the night's first pass; the
market's, where the snapshot is of no night; none without a scenario set."""
TIERS: Final = 7
Int16Array = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Tail:
    """The paths that capital is charged on: whose (``TAILS``), and a weight for every path."""

    source: str
    weight: IntArray


@dataclass(frozen=True)
class CapitalColumns:
    """Capital of N clients per unit of exposure, int64, shape (N,), rounded up.

    Attributes
    ----------
    femto : K in 1e-15, as the charge is computed from it
    ratio : the same in 1e-6
    sold_ratio : 1e-6, the tail's weight on the paths that sell the account
    sold_pd : 1e-9, the default rate on paths that sell it
    tail_loss : 1e-6, mean loss per unit in default over the tail
    source, paths : whose tail it is (``TAILS``), and of how many paths
    """

    femto: IntArray
    ratio: IntArray
    sold_ratio: IntArray
    sold_pd: IntArray
    tail_loss: IntArray
    source: str | None
    paths: int


def quota(paths: ScenarioPaths, policy: Policy) -> int:
    """The weight of the tail, of the same unit as the paths' weights."""
    return max(int(paths.weight.sum()) * policy["capital_tail_ratio"] // RATIO_ONE, 1)


def market_tail(paths: ScenarioPaths, policy: Policy) -> IntArray:
    """The paths on which the market falls furthest, scaled to the tail's weight, shape (P,)."""
    stress = paths.stress_weight if paths.stress_weight.any() else paths.weight
    reached = [0]
    total, wanted = int(stress.sum()), quota(paths, policy)
    for summed in np.cumsum(stress).tolist():
        reached.append(summed * wanted // max(total, 1))
    so_far = np.array(reached, dtype=np.int64)
    return so_far[1:] - so_far[:-1]


def firm_tail(paths: ScenarioPaths, policy: Policy, losses: list[int]) -> IntArray | None:
    """The firm's worst paths by their own weight until it is the tail's, shape (P,).

    None where the firm loses the same on every path: no path is worse than another. Of equal losses
    those come first on which the market falls further, then the earlier path.
    """
    if len(set(losses)) < 2:
        return None
    left = quota(paths, policy)
    out = np.zeros(paths.paths, dtype=np.int64)
    stress, weight = paths.stress_weight.tolist(), paths.weight.tolist()
    for p in sorted(range(paths.paths), key=lambda p: (-losses[p], -stress[p], p)):
        taken = min(weight[p], left)
        out[p] = taken
        left -= taken
        if left == 0:
            break
    return out


def tail_of(market: MarketSnapshot, policy: Policy) -> Tail | None:
    """The snapshot's tail: the firm's, else the market's, None without a scenario set."""
    paths = scenario_set(market, policy)
    if paths is None:
        return None
    if market.tail_weight is not None:
        return Tail(FIRM, market.tail_weight)
    return Tail(MARKET, market_tail(paths, policy))


def drawn_share(limits: BookLimits, debt: IntArray, policy: Policy) -> IntArray:
    """Debt over assets after the counted draw-down, 1e-6 from 0 to one, rounded up.

    The draw-down goes towards what the book itself supports, whatever the client's tier: no head
    enters it, so that a worse score cannot make the loss smaller.
    """
    limit = np.minimum.reduce(
        [limits.statutory, limits.line, limits.concentration, limits.structural]
    )
    drawn = exposure_at_default(debt, np.maximum(limit, 0), policy)
    assets = np.maximum(limits.equity, 0) + drawn
    # two of the largest amounts together would pass int64 on the way
    by = np.where(assets > MAX_AMT, 4, 1)
    share = -over(-up(drawn, by), np.maximum(assets // by, 1))
    return np.clip(np.where(limits.equity > 0, share, RATIO_ONE * (drawn > 0)), 0, RATIO_ONE)


_KEPT: OrderedDict[str, tuple[Int16Array, Int16Array]] = OrderedDict()
_KEEPING = Lock()


def _along(paths: ScenarioPaths) -> tuple[Int16Array, Int16Array]:
    """Values along the paths by name and path, and the least of each: in order of their reading."""
    with _KEEPING:
        found = _KEPT.get(paths.sha256)
        if found is None:
            by_path = np.ascontiguousarray(walked(paths).transpose(0, 2, 1))
            found = np.ascontiguousarray(by_path.min(axis=2)), by_path
            _KEPT[paths.sha256] = found
        _KEPT.move_to_end(paths.sha256)
        while len(_KEPT) > SETS_KEPT:
            _KEPT.popitem(last=False)
        return found


def _rules(policy: Policy) -> IntArray:
    names = (
        "call_line_ratio", "force_line_ratio", "call_deadline_sessions", "liquidation_cost_ratio",
        "unsecured_recovery_ratio",
    )  # fmt: skip
    return np.array([policy[n] for n in names], dtype=np.int64)


def _holdings(books: BookColumns) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Books with a holding of worth, where each begins, and symbols and values of these."""
    known = np.flatnonzero((books.holding_symbol >= 0) & (books.holding_value > 0))
    book = books.holding_book[known]
    first = np.flatnonzero(np.r_[True, book[1:] != book[:-1]]) if len(book) else known
    return (
        book[first],
        np.append(first, len(book)),
        books.holding_symbol[known],
        books.holding_value[known],
    )


def tail_totals(
    books: BookColumns,
    share: IntArray,
    lgd: IntArray,
    pd: IntArray,
    paths: ScenarioPaths,
    tail: IntArray,
    policy: Policy,
) -> IntArray:
    """Each book's losses in a tail, summed by weight, int64, shape (N, 4).

    The default rate on paths that sell it (1e-9), the tail's weight on these, the loss per unit in
    default there (1e-6) times their weight, and the LGD times the rest of the weight.
    """
    out = np.zeros((books.n, 4), dtype=np.int64)
    out[:, 0] = stressed = stressed_pd(pd, policy)
    out[:, 3] = lgd * int(tail.sum())
    mine, first, symbol, value = _holdings(books)
    if len(mine):
        from models.price.capital_kernel import tail_sums

        lowest, values = _along(paths)
        found = np.empty((len(mine), 4), dtype=np.int64)
        tail_sums(
            first, symbol, value, lowest, values, UNIT, paths.weight, tail, share[mine], lgd[mine],
            pd[mine], stressed[mine], _rules(policy), RATIO_ONE, PROB_ONE, found,
        )  # fmt: skip
        out[mine] = found
    return out


def capital_columns(
    books: BookColumns,
    limits: BookLimits,
    pd: IntArray,
    lgd: IntArray,
    market: MarketSnapshot,
    policy: Policy,
) -> CapitalColumns:
    """What each client's exposure adds to the firm's expected shortfall, on the snapshot's tail.

    Without a scenario set, and for a book without holdings, it is the stressed PD times ``lgd``.
    """
    tail, paths = tail_of(market, policy), scenario_set(market, policy)
    if tail is None or paths is None:
        stressed, none = stressed_pd(pd, policy), np.zeros(books.n, dtype=np.int64)
        femto = stressed * lgd
        return CapitalColumns(femto, up(femto, PROB_ONE), none, stressed, lgd, None, 0)
    share = drawn_share(limits, books.debt, policy)
    rate, weight, lost, rest = tail_totals(books, share, lgd, pd, paths, tail.weight, policy).T
    total = int(tail.weight.sum())
    femto = rate * up(lost, total) + stressed_pd(pd, policy) * up(rest, total)
    return CapitalColumns(
        femto,
        up(femto, PROB_ONE),
        up(weight * RATIO_ONE, total),
        rate,
        up(lost + rest, total),
        tail.source,
        int((tail.weight > 0).sum()),
    )


def path_losses(
    books: BookColumns,
    limits: BookLimits,
    pd: IntArray,
    lgd: IntArray,
    tier: IntArray,
    ead: IntArray,
    market: MarketSnapshot,
    policy: Policy,
) -> IntArray:
    """The books' losses together on every path, for the firm's tail; sums of books add up.

    Parameters
    ----------
    tier : int64, shape (N,), from 1 to 7
    ead : int64, shape (N,), exposure at default, minor units

    Returns
    -------
    int64, shape (9, P): whole minor units, millionths of one, and by tier the default rate (1e-6)
    times the loss (1e-6), above what they are on a path that does not sell the client; P is 0
    without a scenario set
    """
    paths = scenario_set(market, policy)
    if paths is None:
        return np.zeros((2 + TIERS, 0), dtype=np.int64)
    out = np.zeros((2 + TIERS, paths.paths), dtype=np.int64)
    mine, first, symbol, value = _holdings(books)
    bare = np.ones(books.n, dtype=bool)
    bare[mine] = False
    stressed = stressed_pd(pd, policy)
    lost = sum(
        -(-e * s // PROB_ONE) * g
        for e, s, g in zip(*(c[bare].tolist() for c in (ead, stressed, lgd)), strict=True)
    )
    out[:2] = np.array(divmod(lost, RATIO_ONE))[:, None]
    if len(mine):
        from models.price.capital_kernel import firm_sums

        lowest, values = _along(paths)
        share = drawn_share(limits, books.debt, policy)
        firm_sums(
            first, symbol, value, lowest, values, UNIT, paths.weight, share[mine], lgd[mine],
            pd[mine], stressed[mine], _rules(policy), RATIO_ONE, PROB_ONE, ead[mine],
            tier[mine] - 1, out,
        )  # fmt: skip
    return out


def firm_losses(summed: IntArray) -> list[int]:
    """The firm's loss on each path, in millionths of a minor unit, from ``path_losses``."""
    return [w * RATIO_ONE + r for w, r in zip(*summed[:2].tolist(), strict=True)]


def expected_shortfall(losses: list[int], weight: IntArray) -> int:
    """The weighted mean of the losses over a tail, in their unit, rounded up."""
    total: int = sum(x * w for x, w in zip(losses, weight.tolist(), strict=True))
    return -(-total // int(weight.sum()))


def tail_charge_bps(summed: IntArray, weight: IntArray, policy: Policy) -> IntArray:
    """By tier the sum over clients of what a tail adds to their charge in bps, rounded down."""
    total, hurdle = int(weight.sum()), policy["hurdle_bps"]
    made = [
        hurdle
        * sum(y * w for y, w in zip(row, weight.tolist(), strict=True))
        // (total * RATIO_ONE * RATIO_ONE)
        for row in summed[2:].tolist()
    ]
    return np.array(made, dtype=np.int64)


def exposure_amt(limits: BookLimits, debt: IntArray, share: IntArray, policy: Policy) -> IntArray:
    """Exposure at default in the first pass: the limits of the book alone and of the tier's share.

    Group, firm, steps and people's limits come later; they only lower it.
    """
    limit = np.minimum.reduce(
        [limits.statutory, limits.line, limits.concentration, part(limits.structural, share)]
    )
    return exposure_at_default(debt, np.maximum(limit, 0), policy)
