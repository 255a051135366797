"""Accounts opened with a given portfolio at a given leverage, and what became of them.

For comparing rules of lending: the same people meet the same prices and the same chance, with the
same names in the same proportions, and only the leverage at opening and the most leverage at later
purchases differ. Life after the opening is that of the engine.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from data_contracts.units import FloatArray, IntArray
from training.lab import behaviour as b
from training.lab.behaviour import pick
from training.lab.compiled import compiled
from training.lab.engine import (
    GROUPS_FROM,
    SETTLING_SESSIONS,
    State,
    begin,
    new_state,
    step,
)
from training.lab.margin_lines import CLOSED, EQUITY_BEFORE
from training.lab.market import FINANCEABLE, Market
from training.lab.mechanics import (
    ACCRUED,
    CALL,
    CASH,
    COST,
    DEBT,
    EVENTS,
    FORCED_SALE,
    HOLDINGS,
    LOANS,
    MAX_HOLDINGS,
    OWED,
    PRINCIPAL,
    SHARES,
    SHORTFALL,
    SINCE,
    SOLD_IN,
    SYMBOL,
    WHO,
    Logs,
    Terms,
    open_loan,
    worth,
)
from training.lab.output import WIDTHS
from training.lab.random import client_key, uniform

_TASTE: Final = 0x0F0F_5EED
"""Another stream than the one of life: choosing a portfolio uses up nobody's chance."""
_ROWS: Final = 512
_CHUNK: Final = 256
_CONTRACTS: Final = 11
"""Most contracts at opening: the engine keeps room for one more purchase on credit."""

(
    OPENED, LIVED, LOAN_DAYS_OF_EQUITY, EQUITY_DAYS, CALLS, FORCED, FORCED_OF_EQUITY,
    SHORT_OF_EQUITY, FIRST_FORCED, LIVE, DEBT_DAYS_AMT, FORCED_AMT, SHORT_AMT, FORCED_EVER,
) = range(14)  # fmt: skip
FIGURES: Final = 14


class Cast(NamedTuple):
    """Who opens what: n clients, at most ``MAX_HOLDINGS`` names each.

    ``number`` and ``group`` (n,) as in ``Clients``; ``parameters`` (n, 30); ``opens`` and ``ends``
    (n,) sessions of the market, the end left out; ``desired`` (n,) intended holdings over equity;
    ``names`` (n,) how many; ``symbol`` (n, 15) and ``weight`` (n, 15) the portfolio.
    """

    number: IntArray
    group: IntArray
    parameters: FloatArray
    opens: IntArray
    ends: IntArray
    desired: FloatArray
    names: IntArray
    symbol: IntArray
    weight: FloatArray

    def some(self, rows: Any) -> Cast:
        """Some of the clients."""
        return Cast(*(x[rows] for x in self))


@compiled
def _choose(m: Market, seed: int, cast: Cast, low: int, high: int) -> None:
    """Pick the names of each client, the first ``names`` different ones it comes across."""
    for i in range(low, high):
        key = client_key(seed ^ _TASTE, cast.number[i])
        s, wanted, found, total = cast.opens[i], cast.names[i], 0, 0.0
        for k in range(wanted):
            for again in range(3):
                symbol = pick(m, s, key, cast.parameters[i], 40 + 10 * (3 * k + again))
                if symbol < 0 or not m.flags[s, symbol] & FINANCEABLE:
                    continue
                seen = False
                for j in range(found):
                    seen = seen or cast.symbol[i, j] == symbol
                if not seen:
                    share = 0.4 + 1.2 * uniform(key, s, 2 * k)
                    cast.symbol[i, found], cast.weight[i, found] = symbol, share
                    total += share
                    found += 1
                    break
        cast.names[i] = found
        for j in range(found):
            cast.weight[i, j] /= total


def with_portfolios(market: Market, seed: int, cast: Cast) -> Cast:
    """The clients with the portfolios they mean to open with; who finds nothing is left out."""
    n = len(cast.number)
    made = cast._replace(
        names=np.minimum(cast.names, MAX_HOLDINGS).astype(np.int64),
        symbol=np.full((n, MAX_HOLDINGS), -1, dtype=np.int64),
        weight=np.zeros((n, MAX_HOLDINGS)),
    )
    _choose(market, seed, made, 0, n)
    return made.some(made.names > 0)


@compiled
def _open(
    m: Market,
    t: Terms,
    s: int,
    leverage: float,
    cast: Cast,
    i: int,
    a: IntArray,
    hold: IntArray,
    loan: IntArray,
    g: IntArray,
    c: FloatArray,
) -> None:
    """Buy the portfolio at ``leverage``, each name partly on credit, in whole lots."""
    equity = float(a[CASH])
    financed, left = 0.0, 0.0
    for j in range(cast.names[i]):
        if j < _CONTRACTS:
            financed += cast.weight[i, j]
    share = min(max(leverage - 1.0, 0.0) / max(leverage * financed, 1e-9), 1.0)
    for j in range(cast.names[i]):
        symbol = cast.symbol[i, j]
        close = m.close[s, symbol]
        price = close + (close * t.cost_bps + 9_999) // 10_000
        left += cast.weight[i, j] * leverage * equity
        lots = int(left * 100.0 / price / t.lot)
        shares = lots * t.lot
        if shares <= 0:
            continue
        amount = (price * shares + 50) // 100
        left -= amount
        h = a[HOLDINGS]
        a[HOLDINGS] += 1
        hold[h, SYMBOL], hold[h, SINCE], hold[h, SOLD_IN] = symbol, s, -1
        hold[h, SHARES], hold[h, COST] = shares, amount
        on_credit = int(shares * share / t.lot + 0.5) * t.lot
        if j < _CONTRACTS and on_credit > 0:
            borrowed = (price * on_credit + 50) // 100
            open_loan(m, s, a, loan, symbol, on_credit, borrowed, m.day[s] + 182)
        a[CASH] -= amount
    if a[CASH] < 0:  # rounding to lots: the rest is borrowed under the last contract
        if a[LOANS] == 0:
            open_loan(m, s, a, loan, hold[0, SYMBOL], 0, 0, m.day[s] + 182)
        j = a[LOANS] - 1
        loan[j, OWED] -= a[CASH]
        loan[j, PRINCIPAL] -= a[CASH]
        a[DEBT] -= a[CASH]
        a[CASH] = 0
    value = worth(m, s, a, hold)
    g[EQUITY_BEFORE] = a[CASH] + value - a[DEBT] - a[ACCRUED]
    c[b.VALUE_BEFORE] = float(value)


@compiled
def _live(
    m: Market,
    t: Terms,
    seed: int,
    cast: Cast,
    limit: FloatArray,
    own: State,
    logs: Logs,
    low: int,
    high: int,
    count_from: int,
    out: FloatArray,
) -> None:
    """Let clients ``low`` to ``high`` open and live; ``own`` has room for one client."""
    flow = np.zeros(6, dtype=np.int64)
    offer = np.zeros(2, dtype=np.int64)
    never = np.full(1, np.int64(1) << 60)
    kyc = np.ones((1, 3))
    a, hold, loan, g, c = own.totals[0], own.holdings[0], own.loans[0], own.margin[0], own.mind[0]
    for i in range(low, high):
        own.totals[:], own.holdings[:], own.loans[:] = 0, 0, 0
        own.margin[:], own.mind[:] = 0, 0.0
        g[CLOSED] = -1
        key = client_key(seed, cast.number[i])
        friends = key
        if cast.group[i] >= 0:
            friends = client_key(seed, GROUPS_FROM + cast.group[i])
        p, opens, row = cast.parameters[i], cast.opens[i], out[i]
        leverage = min(limit[i], cast.desired[i])
        offer[0] = max(int(limit[i] * 1000.0), 1000)
        begin(opens, key, p, offer, a, g, c)
        equity = float(max(a[CASH], 1))
        c[b.TARGET], c[b.MARGIN_IS_ON] = cast.desired[i], 1.0
        _open(m, t, opens, leverage, cast, i, a, hold, loan, g, c)
        row[OPENED], row[FIRST_FORCED] = leverage, -1.0
        for s in range(opens, cast.ends[i]):
            if s > opens:
                logs.used[0], logs.used[1], logs.used[WHO] = 0, 0, i
                step(
                    m, t, s, opens - SETTLING_SESSIONS, key, friends, p, offer, a, hold, loan, g,
                    c, flow, logs, never, kyc,
                )  # fmt: skip
                for r in range(min(logs.used[0], len(logs.rows))):
                    if logs.rows[r, 0] != EVENTS:
                        continue
                    kind, amount = logs.rows[r, 3], float(logs.rows[r, 4])
                    if kind == FORCED_SALE:
                        row[FORCED_EVER] = 1.0
                        if row[FIRST_FORCED] < 0.0:
                            row[FIRST_FORCED] = s
                    if s < count_from:
                        continue
                    if kind == CALL:
                        row[CALLS] += 1.0
                    if kind == FORCED_SALE:
                        row[FORCED] = 1.0
                        row[FORCED_OF_EQUITY] += amount / equity
                        row[FORCED_AMT] += amount
                    if kind == SHORTFALL:
                        row[SHORT_OF_EQUITY] += amount / equity
                        row[SHORT_AMT] += amount
            if g[CLOSED] >= 0:
                break
            if s >= count_from:
                row[LIVE] = 1.0
                row[LIVED] += 1.0
                row[LOAN_DAYS_OF_EQUITY] += a[DEBT] / equity
                row[EQUITY_DAYS] += g[EQUITY_BEFORE] / equity
                row[DEBT_DAYS_AMT] += float(a[DEBT])
        if g[CLOSED] < 0 and g[EQUITY_BEFORE] < 0 and cast.ends[i] > count_from:
            # under water at the end and not sold yet: the lender's loss as it is marked
            row[SHORT_OF_EQUITY] -= g[EQUITY_BEFORE] / equity
            row[SHORT_AMT] -= float(g[EQUITY_BEFORE])


@dataclass(frozen=True)
class Fates:
    """What became of n accounts: ``figures``, float64, shape (n, FIGURES), named above.

    Amounts are over the opening deposit, or minor units where the name ends in ``AMT``; all but
    ``OPENED``, ``FIRST_FORCED`` and ``FORCED_EVER`` count from a given session on.
    """

    figures: FloatArray

    def of(self, column: int) -> FloatArray:
        """One figure, shape (n,)."""
        return self.figures[:, column]


def live_on(
    market: Market,
    terms: Terms,
    seed: int,
    cast: Cast,
    limit: FloatArray,
    *,
    count_from: int = 0,
    threads: int | None = None,
) -> Fates:
    """Open every account at ``min(limit, desired)`` and let it live to its end.

    The same seed gives the same figures on any number of threads.
    """
    n = len(cast.number)
    out = np.zeros((n, FIGURES))

    def part(low: int) -> None:
        logs = Logs(
            np.empty((_ROWS, 2 + max(WIDTHS)), dtype=np.int64), np.empty((0, 5), dtype=np.int64),
            np.zeros(3, dtype=np.int64), np.empty(0, dtype=np.int64),
        )  # fmt: skip
        high = min(low + _CHUNK, n)
        _live(market, terms, seed, cast, limit, new_state(1), logs, low, high, count_from, out)

    with ThreadPoolExecutor(max_workers=threads or os.cpu_count() or 1) as pool:
        list(pool.map(part, range(0, n, _CHUNK)))
    return Fates(out)
