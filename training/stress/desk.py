"""Scenarios over a book: paths, fire-sale feedback, Monte Carlo, reverse stress, reserve pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from training.stress import kernel
from training.stress.book import StressBook
from training.stress.kernel import Lines
from training.stress.scenario import Names, PricePath, Scenario, price_path

BLOCK: Final = 8192
ROUNDS: Final = 10
IMPACT: Final = 0.10
"""Fall of a price where a session's forced sales equal its average daily volume; this project's."""
MOST_IMPACT: Final = 0.30
STEPS: Final = 40
DRAWS: Final = 2000
FACTOR_DF: Final = 4
"""Degrees of freedom of the common factor's t distribution."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PathTotals:
    """What one path does to a book; money in minor units.

    ``sold_shares`` is (sessions, names), ``events`` (sessions, ``kernel.EVENTS``).
    """

    called: int
    forced: int
    sold_amt: int
    shortfall_amt: int
    insolvent_debt_amt: int
    shortfalls: int
    cured: int
    sold_shares: IntArray
    events: IntArray

    def as_dict(self) -> dict[str, Any]:
        """The totals; money as decimal strings."""

        def money(minor: int) -> str:
            return f"{minor // 100}.{minor % 100:02d}"

        return {
            "called": self.called,
            "cured": self.cured,
            "forced": self.forced,
            "shortfalls": self.shortfalls,
            "sold_amt": money(self.sold_amt),
            "shortfall_amt": money(self.shortfall_amt),
            "insolvent_debt_amt": money(self.insolvent_debt_amt),
        }


def counted_in(book: StressBook, path: PricePath) -> IntArray:
    """The book's haircuts in every session of a path, (sessions, names)."""
    return np.ascontiguousarray(np.broadcast_to(book.haircut, path.price.shape))


def run_path(
    book: StressBook,
    path: PricePath,
    depth_ratio: float,
    lines: Lines,
    cures: IntArray,
    threads: int = 1,
    counted: IntArray | None = None,
) -> PathTotals:
    """Walk every client through a path. Integer sums: the same on any number of threads.

    ``counted`` (sessions, names), 1e-6, takes the place of the book's haircuts where it is given.
    """
    sessions, names = path.price.shape
    haircut = counted_in(book, path) if counted is None else counted
    if book.clients and int(book.owed.max()) > (2**63 - 1) // max(lines.target, lines.call):
        raise InputError(
            f"a client owes {int(book.owed.max()) // 100}, more than the engine's integers hold;"
            " stress this client by hand"
        )
    blocks = [(k, min(k + BLOCK, book.clients)) for k in range(0, book.clients, BLOCK)]
    most = int(np.diff(book.pointer).max()) if book.clients else 0
    share = max(1, -(-len(blocks) // max(threads, 1)))
    parts = [blocks[k : k + share] for k in range(0, len(blocks), share)]
    depth = round(depth_ratio * kernel.ONE)

    def walk(part: list[tuple[int, int]]) -> tuple[IntArray, IntArray, IntArray]:
        totals, sold, events = kernel.empty_totals(sessions, names)
        left = np.zeros(max(most, 1), dtype=np.int64)
        for first, last in part:
            kernel.walk(
                first, last, book.pointer, book.symbol, book.shares, book.cash, book.owed, cures,
                path.price, path.open_to_sale, haircut, depth, lines, totals, sold, events, left,
            )  # fmt: skip
        return totals, sold, events

    if threads > 1 and len(parts) > 1:
        with ThreadPoolExecutor(threads) as pool:
            done = list(pool.map(walk, parts))
    else:
        done = [walk(part) for part in parts]
    totals, sold, events = kernel.empty_totals(sessions, names)
    for one, other, more in done:
        totals += one
        sold += other
        events += more
    k = kernel
    return PathTotals(
        int(totals[k.CALLED]), int(totals[k.FORCED]), int(totals[k.SOLD_AMT]),
        int(totals[k.SHORTFALL_AMT]), int(totals[k.INSOLVENT_DEBT_AMT]),
        int(totals[k.SHORTFALLS]), int(totals[k.CURED]), sold, events,
    )  # fmt: skip


@dataclass(frozen=True)
class Amplified:
    """A path with and without the prices' answer to the lender's own forced sales."""

    without: PathTotals
    final: PathTotals
    rounds: int
    amplification: float | None


def with_feedback(
    book: StressBook,
    path: PricePath,
    depth_ratio: float,
    lines: Lines,
    cures: IntArray,
    daily_volume_shares: FloatArray,
    threads: int = 1,
    counted: IntArray | None = None,
) -> Amplified:
    """Liquidate, let sales move prices, mark again, at most ``ROUNDS`` times until nothing changes.

    A session's sale of x shares in a name with average daily volume V lowers its price from the
    next session on by min(MOST_IMPACT, IMPACT x / V). Names without a known volume do not answer.
    ``amplification`` is final over initial shortfall; None where there was none.
    """
    first = run_path(book, path, depth_ratio, lines, cures, threads, counted)
    now, rounds = first, 0
    known = np.isfinite(daily_volume_shares) & (daily_volume_shares > 0)
    for k in range(ROUNDS):
        if not known.any():
            break
        fall = np.where(
            known, IMPACT * now.sold_shares / np.where(known, daily_volume_shares, 1.0), 0.0
        )
        level = np.cumprod(1 - np.minimum(fall, MOST_IMPACT), axis=0)
        level = np.vstack([np.ones((1, level.shape[1])), level[:-1]])
        moved = np.where(path.price > 0, np.maximum(np.rint(path.price * level), 1), 0).astype(
            np.int64
        )
        shifted = replace(path, price=moved)
        again = run_path(book, shifted, depth_ratio, lines, cures, threads, counted)
        rounds = k + 1
        settled = bool(np.array_equal(again.sold_shares, now.sold_shares))
        now = again
        if settled:
            break
    ratio = None if first.shortfall_amt == 0 else now.shortfall_amt / first.shortfall_amt
    return Amplified(first, now, rounds, ratio)


def group_losses(
    book: StressBook, path: PricePath, depth_ratio: float, lines: Lines, cures: IntArray
) -> IntArray:
    """Shortfall of each related group under a path, minor units, by group number."""
    out = np.zeros(int(book.group.max()) + 1 if book.clients else 0, dtype=np.int64)
    most = int(np.diff(book.pointer).max()) if book.clients else 0
    depth = round(depth_ratio * kernel.ONE)
    _, sold, events = kernel.empty_totals(*path.price.shape)
    haircut = counted_in(book, path)
    left = np.zeros(max(most, 1), dtype=np.int64)
    for i in range(book.clients):
        totals = np.zeros(kernel.TOTALS, dtype=np.int64)
        kernel.walk(
            i, i + 1, book.pointer, book.symbol, book.shares, book.cash, book.owed, cures,
            path.price, path.open_to_sale, haircut, depth, lines, totals, sold, events, left,
        )  # fmt: skip
        out[book.group[i]] += totals[kernel.SHORTFALL_AMT]
    return out


@dataclass(frozen=True)
class Simulated:
    """Shortfall, sale and insolvent debt of each draw, minor units, in the order drawn."""

    shortfall_amt: IntArray
    sold_amt: IntArray
    insolvent_debt_amt: IntArray

    def at_risk(self, share: float) -> dict[str, int]:
        """Value at risk (insolvent debt) and liquidations at risk at a level, minor units."""
        return {
            "var_amt": int(np.quantile(self.insolvent_debt_amt, share, method="higher")),
            "lar_amt": int(np.quantile(self.sold_amt, share, method="higher")),
        }

    def expected_shortfall(self, share: float) -> int:
        """Mean loss in the worst 1 - ``share`` of the draws, at least one of them."""
        worst = np.sort(self.shortfall_amt)[::-1][
            : max(1, round(len(self.shortfall_amt) * (1 - share)))
        ]
        return int(worst.sum()) // len(worst)


def monte_carlo(
    book: StressBook,
    names: Names,
    market_volatility: float,
    scenario: Scenario,
    lines: Lines,
    cures: IntArray,
    *,
    draws: int = DRAWS,
    seed: int = 7,
    threads: int = 1,
    progress: Progress | None = None,
) -> Simulated:
    """Common-factor paths: a market move of Student's t, each name's beta and own noise.

    Each draw is generated, walked and forgotten: memory does not grow with draws or with accounts
    times draws. Draw k depends on the seed and k alone.

    Parameters
    ----------
    market_volatility : of a session; the factor is scaled to it over the path's length
    scenario : its depth, locks and suspensions hold in every draw; its shock is added
    """
    losses, sold, insolvent = (np.zeros(draws, dtype=np.int64) for _ in range(3))
    scale = market_volatility * np.sqrt(scenario.sessions) * np.sqrt((FACTOR_DF - 2) / FACTOR_DF)
    for k in range(draws):
        factor = float(np.random.default_rng([seed, k]).standard_t(FACTOR_DF)) * scale
        shock = float(np.clip((1 + scenario.shock_ratio) * np.exp(factor) - 1, -0.95, 5.0))
        drawn = replace(scenario, shock_ratio=shock, volatility=max(scenario.volatility, 1.0))
        path = price_path(drawn, names, seed * 1_000_003 + k)
        found = run_path(book, path, scenario.depth_ratio, lines, cures, threads)
        losses[k], sold[k], insolvent[k] = (
            found.shortfall_amt,
            found.sold_amt,
            found.insolvent_debt_amt,
        )
        if progress:
            progress(k + 1, draws)
    return Simulated(losses, sold, insolvent)


def reverse(
    book: StressBook,
    names: Names,
    scenario: Scenario,
    lines: Lines,
    cures: IntArray,
    pool_amt: int,
    seed: int,
    threads: int = 1,
) -> float | None:
    """The smallest fall of the market that empties a pool, to 1 / 2**12; None if none does.

    Found by halving between no fall and 95 %: at the answer the loss passes the pool, one step below
    it does not. Earlier sales can spare a later loss, so a smaller fall elsewhere is not excluded.
    """

    def loss(fall: float) -> int:
        path = price_path(replace(scenario, shock_ratio=-fall, volatility=0.0), names, seed)
        return run_path(book, path, scenario.depth_ratio, lines, cures, threads).shortfall_amt

    low, high = 0.0, 0.95
    if loss(high) <= pool_amt:
        return None
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if loss(middle) > pool_amt else (middle, high)
    return high


def draw_down(loss_amt: int, layers: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """Who bears a loss, in order; what is left over is uncovered.

    >>> draw_down(150, [("pool", 100), ("capital", 30)])[-1]["uncovered_amt"]
    20
    """
    left, out = loss_amt, []
    for name, size in layers:
        used = min(left, max(size, 0))
        left -= used
        out.append({"layer": name, "size_amt": size, "used_amt": used})
    out.append({"layer": "uncovered", "uncovered_amt": left})
    return out
