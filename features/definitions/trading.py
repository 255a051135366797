"""How the client trades: how much, how long, and which biases show."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray, IntArray
from features.arithmetic import last_columns, mean_of_known, ratio
from features.book import BookAsOf
from features.declare import feature

CHASED_RETURN: Final = 0.10
"""A buy chases momentum after a rise beyond this over 5 sessions."""
RISE_SESSIONS: Final = 5


def trade_value(book: BookAsOf) -> IntArray:
    """Quantity times price of each trade, in 0.0001 of a currency unit."""
    return book.trades.quantity_shares * book.trades.price


def held_before(book: BookAsOf, account: IntArray, symbol: IntArray, session: IntArray) -> IntArray:
    """Interval that held a symbol at the session before, -1 if there was none."""
    held = book.intervals
    sessions, symbols = book.t + 2, len(book.panel.symbols)
    key = (held.account * symbols + held.symbol) * sessions + held.start
    wanted = (account * symbols + symbol) * sessions + session - 1
    found = np.searchsorted(key, wanted, side="right") - 1
    if len(key) == 0:
        return found
    safe = np.maximum(found, 0)
    good = (found >= 0) & (held.account[safe] == account) & (held.symbol[safe] == symbol)
    good &= (held.end[safe] >= session - 1) & (held.quantity_shares[safe] > 0)
    return np.where(good, found, -1)


@feature(
    unit="times", one=RATIO_ONE, direction=1, family="trading", group="trading",
    window_sessions=60, low=0, high=60, missing="no assets in the window",
    en="Turnover over 60 sessions", zh="60日换手率", evidence="Barber & Odean 2000",
)  # fmt: skip
def turnover_60_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Half of all buys and sells of 60 sessions over the mean assets of those sessions."""
    recent = book.trades.session > book.t - 60
    traded = book.sum_by_client(book.trades.client, np.where(recent, trade_value(book), 0))
    return ratio(traded / 200, mean_of_known(last_columns(book.paths.assets, 60)))


@feature(
    unit="trades", one=1, direction=0, family="trading", group="trading",
    window_sessions=20, low=0, high=10_000, missing="never",
    en="Trades in a month", zh="20日成交笔数", evidence="Odean 1999",
)  # fmt: skip
def trades_20_sessions(book: BookAsOf) -> FloatArray:
    """Number of fills over 20 sessions."""
    recent = book.trades.session > book.t - 20
    return book.sum_by_client(book.trades.client, recent).astype(np.float64)


@feature(
    unit="sessions", one=1000, direction=-1, family="trading", group="trading",
    window_sessions=250, low=0, high=250, missing="nothing sold in the window",
    en="Mean holding time", zh="平均持有交易日", evidence="Barber et al. 2014; Little 1961",
)  # fmt: skip
def holding_sessions_mean(book: BookAsOf) -> FloatArray:
    """Securities held, summed over the sessions of a year, over the value sold in them.

    By Little's law the mean time a unit of value is held; counted from end-of-session holdings, so
    a day trade adds nothing above.
    """
    sold = book.sum_by_client(book.trades.client, np.where(book.trades.buy, 0, trade_value(book)))
    return ratio(book.paths.securities.sum(axis=1), sold / 100)


def disposition_counts(book: BookAsOf) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Realised gains, realised losses, paper gains and paper losses of each client."""
    held, trades = book.intervals, book.trades
    sessions, symbols = book.t + 2, len(book.panel.symbols)
    sells = np.flatnonzero(~trades.buy)
    sold_key = (trades.account[sells] * symbols + trades.symbol[sells]) * sessions
    sold, at = np.unique(sold_key + trades.session[sells], return_inverse=True)
    sold_quantity = np.zeros(len(sold), dtype=np.int64)
    sold_value = np.zeros(len(sold), dtype=np.int64)
    np.add.at(sold_quantity, at, trades.quantity_shares[sells])
    np.add.at(sold_value, at, trade_value(book)[sells])
    days = np.unique(trades.account[sells] * sessions + trades.session[sells])
    # Each interval meets the selling days of its account on which it was held the session before.
    low = np.searchsorted(days, held.account * sessions + held.start + 1)
    last = np.minimum(held.end, book.t) + 1
    high = np.searchsorted(days, held.account * sessions + last, side="right")
    met = np.where(held.quantity_shares > 0, np.maximum(high - low, 0), 0)
    row = np.repeat(np.arange(len(met)), met)
    day = days[np.arange(len(row)) - np.repeat(np.cumsum(met) - met - low, met)] % sessions
    key = (held.account[row] * symbols + held.symbol[row]) * sessions + day
    place = np.minimum(np.searchsorted(sold, key), max(len(sold) - 1, 0))
    realised = sold[place] == key if len(sold) else np.zeros(len(key), dtype=bool)
    price = book.panel.close[day, held.symbol[row]].astype(np.float64)
    if len(sold):
        price = np.where(realised, sold_value[place] / sold_quantity[place], price)
    cost = held.cost_amt[row] * 100 / held.quantity_shares[row]
    priced = price > 0  # NULL, not listed, is below
    gain, loss = priced & (price > cost), priced & (price < cost)
    client = held.client[row]

    def count(which: BoolArray) -> IntArray:
        return book.sum_by_client(client, which)

    return (
        count(gain & realised),
        count(loss & realised),
        count(gain & ~realised),
        count(loss & ~realised),
    )


@feature(
    unit="difference of shares", one=RATIO_ONE, direction=1, family="trading", group="trading",
    window_sessions=250, low=-1, high=1,
    missing="no gain, or no loss, to realise on the client's selling days",
    en="Disposition effect", zh="处置效应（PGR−PLR）", evidence="Odean 1998",
)  # fmt: skip
def disposition_ratio(book: BookAsOf) -> FloatArray:
    """Share of gains realised less share of losses realised, on selling days over 250 sessions.

    On each session on which an account sells, each holding of the session before counts once:
    realised if the name is sold, at the mean selling price, else on paper, at the close; a gain or
    loss against the holding's average cost.
    """
    realised_gain, realised_loss, paper_gain, paper_loss = disposition_counts(book)
    gains = ratio(realised_gain, realised_gain + paper_gain)
    return gains - ratio(realised_loss, realised_loss + paper_loss)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="trading", group="trading",
    window_sessions=250, low=0, high=1, missing="nothing bought in the window",
    en="Share of buys into losers", zh="亏损补仓占比", evidence="Heimer & Imas 2022; Odean 1998",
)  # fmt: skip
def averaging_down_share(book: BookAsOf) -> FloatArray:
    """Value of buys that add to a losing holding over the value of all buys, 250 sessions.

    A holding is losing if its close at the session before stood below its average cost.
    """
    trades = book.trades
    before = held_before(book, trades.account, trades.symbol, trades.session)
    losing = np.zeros(len(before), dtype=bool)
    some = np.flatnonzero((before >= 0) & trades.buy & (trades.session > 0))
    held = book.intervals
    row = before[some]
    close = book.panel.close[trades.session[some] - 1, trades.symbol[some]]
    losing[some] = (close != NULL) & (
        close.astype(np.float64) < held.cost_amt[row] * 100 / held.quantity_shares[row]
    )
    return _share_of_buys(book, losing, 250)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="trading", group="trading",
    window_sessions=60, low=0, high=1, missing="nothing bought in the window",
    en="Share of buys after a rise", zh="追涨买入占比", evidence="Grinblatt & Keloharju 2000",
)  # fmt: skip
def momentum_chasing_share(book: BookAsOf) -> FloatArray:
    """Value of buys after a rise above 10 % over the value of all buys, 60 sessions.

    The rise is the sum of the name's returns over the 5 sessions before the buy.
    """
    trades = book.trades
    some = np.flatnonzero(trades.buy & (trades.session > book.t - 60))
    rise = np.zeros(len(some))
    for back in range(RISE_SESSIONS, 0, -1):
        session = trades.session[some] - back
        step = book.returns[np.maximum(session, 0), trades.symbol[some]]
        rise += np.where(np.isnan(step) | (session < 0), 0.0, step)
    chasing = np.zeros(len(trades.session), dtype=bool)
    chasing[some] = rise > CHASED_RETURN
    return _share_of_buys(book, chasing, 60)


def _share_of_buys(book: BookAsOf, chosen: BoolArray, sessions: int) -> FloatArray:
    bought = book.trades.buy & (book.trades.session > book.t - sessions)
    value = np.where(bought, trade_value(book), 0)
    part = book.sum_by_client(book.trades.client, np.where(chosen, value, 0))
    return ratio(part, book.sum_by_client(book.trades.client, value))
