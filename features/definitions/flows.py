"""What the client traded, from the tallies of its fills alone: no price, balance or holding."""

from __future__ import annotations

import numpy as np

from data_contracts.units import PRICE_PER_UNIT, RATIO_ONE, FloatArray
from features.arithmetic import ratio
from features.book import BookAsOf
from features.declare import feature

HIGHEST_AMT = 1e10
"""Traded values above ten billion currency units tell no more."""


@feature(
    unit="trades", one=1, direction=0, family="trading", group="trading",
    window_sessions=60, low=0, high=30_000, missing="never",
    en="Trades in a quarter", zh="60日成交笔数", evidence="Odean 1999",
)  # fmt: skip
def trades_60_sessions(book: BookAsOf) -> FloatArray:
    """Number of fills over 60 sessions."""
    return book.tallies.sum("trades", 60).astype(np.float64)


@feature(
    unit="trades", one=1, direction=0, family="trading", group="trading",
    window_sessions=250, low=0, high=100_000, missing="never",
    en="Trades in a year", zh="一年内成交笔数", evidence="Odean 1999",
)  # fmt: skip
def trades_250_sessions(book: BookAsOf) -> FloatArray:
    """Number of fills over 250 sessions."""
    return book.tallies.sum("trades", 250).astype(np.float64)


@feature(
    unit="account currency", one=1, direction=0, family="trading", group="trading",
    window_sessions=20, low=0, high=HIGHEST_AMT, missing="never",
    en="Value traded in a month", zh="20日成交金额", evidence="Barber & Odean 2000",
)  # fmt: skip
def traded_value_20_sessions_amt(book: BookAsOf) -> FloatArray:
    """Value bought plus value sold over 20 sessions."""
    return book.tallies.traded(20) / PRICE_PER_UNIT


@feature(
    unit="account currency", one=1, direction=0, family="trading", group="trading",
    window_sessions=250, low=0, high=HIGHEST_AMT, missing="never",
    en="Value traded in a year", zh="一年内成交金额", evidence="Barber & Odean 2000",
)  # fmt: skip
def traded_value_250_sessions_amt(book: BookAsOf) -> FloatArray:
    """Value bought plus value sold over 250 sessions."""
    return book.tallies.traded(250) / PRICE_PER_UNIT


@feature(
    unit="account currency a session", one=1, direction=0, family="trading", group="trading",
    window_sessions=0, low=0, high=HIGHEST_AMT, missing="never; 0 without any fill",
    en="Decaying mean of value traded", zh="成交金额指数加权均值",
    evidence="RiskMetrics 1996 (decay 0.94)",
)  # fmt: skip
def traded_value_decaying_amt(book: BookAsOf) -> FloatArray:
    """Exponentially weighted mean of the value traded a session, decay 0.94, whole history."""
    return book.tallies.mean_traded() / PRICE_PER_UNIT


@feature(
    unit="account currency", one=1, direction=0, family="trading", group="trading",
    window_sessions=60, low=0, high=HIGHEST_AMT, missing="no trade in the window",
    en="Mean value of a trade", zh="60日笔均成交金额", evidence="Barber & Odean 2000",
)  # fmt: skip
def mean_trade_60_sessions_amt(book: BookAsOf) -> FloatArray:
    """Value traded over the number of fills, 60 sessions."""
    return ratio(book.tallies.traded(60) / PRICE_PER_UNIT, book.tallies.sum("trades", 60))


@feature(
    unit="1 = every session", one=RATIO_ONE, direction=0, family="trading", group="trading",
    window_sessions=60, low=0, high=1, missing="never",
    en="Share of active sessions", zh="60日活跃交易日占比", evidence="Odean 1999",
)  # fmt: skip
def active_sessions_60_share(book: BookAsOf) -> FloatArray:
    """Sessions with a fill over 60."""
    return book.tallies.sum("active", 60) / 60


@feature(
    unit="1 = every session", one=RATIO_ONE, direction=0, family="trading", group="trading",
    window_sessions=250, low=0, high=1, missing="never",
    en="Share of active sessions in a year", zh="一年内活跃交易日占比", evidence="Odean 1999",
)  # fmt: skip
def active_sessions_250_share(book: BookAsOf) -> FloatArray:
    """Sessions with a fill over 250."""
    return book.tallies.sum("active", 250) / 250


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="trading", group="trading",
    window_sessions=60, low=0, high=1, missing="no trade in the window",
    en="Share of day trades", zh="60日日内回转占比",
    evidence="Chague, De-Losso & Giovannetti 2020; Barber et al. 2014",
)  # fmt: skip
def day_trade_60_sessions_share(book: BookAsOf) -> FloatArray:
    """Value bought and sold again in the same session, over the value traded, 60 sessions.

    Of a name in an account the smaller of value bought and value sold counts twice, once a side.
    On markets that settle in T+1 it is what was sold of yesterday's and bought back.
    """
    return ratio(2 * book.tallies.sum("matched", 60), book.tallies.traded(60))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="trading", group="trading",
    window_sessions=250, low=0, high=1, missing="no trade in the window",
    en="Share of day trades in a year", zh="一年内日内回转占比",
    evidence="Chague, De-Losso & Giovannetti 2020; Barber et al. 2014",
)  # fmt: skip
def day_trade_250_sessions_share(book: BookAsOf) -> FloatArray:
    """Value bought and sold again in the same session, over the value traded, 250 sessions."""
    return ratio(2 * book.tallies.sum("matched", 250), book.tallies.traded(250))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="leverage", group="trading",
    window_sessions=60, low=0, high=1, missing="nothing bought in the window",
    en="Share of buys on credit", zh="60日融资买入占比", evidence="Heimer & Simsek 2019",
)  # fmt: skip
def financed_buys_60_sessions_share(book: BookAsOf) -> FloatArray:
    """Value bought with borrowed money over the value of all buys, 60 sessions."""
    return ratio(book.tallies.sum("financed", 60), book.tallies.sum("bought", 60))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="leverage", group="trading",
    window_sessions=250, low=0, high=1, missing="nothing bought in the window",
    en="Share of buys on credit in a year", zh="一年内融资买入占比",
    evidence="Heimer & Simsek 2019",
)  # fmt: skip
def financed_buys_250_sessions_share(book: BookAsOf) -> FloatArray:
    """Value bought with borrowed money over the value of all buys, 250 sessions."""
    return ratio(book.tallies.sum("financed", 250), book.tallies.sum("bought", 250))


@feature(
    unit="1 = only buys", one=RATIO_ONE, direction=0, family="trading", group="trading",
    window_sessions=20, low=-1, high=1, missing="no trade in the window",
    en="Net buying in a month", zh="20日净买入占比", evidence="Bian et al. 2021",
)  # fmt: skip
def net_buying_20_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Value bought less value sold, over the value traded, 20 sessions."""
    bought, sold = book.tallies.sum("bought", 20), book.tallies.sum("sold", 20)
    return ratio(bought - sold, bought + sold)


@feature(
    unit="1 = only buys", one=RATIO_ONE, direction=0, family="trading", group="trading",
    window_sessions=60, low=-1, high=1, missing="no trade in the window",
    en="Net buying in a quarter", zh="60日净买入占比", evidence="Bian et al. 2021",
)  # fmt: skip
def net_buying_60_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Value bought less value sold, over the value traded, 60 sessions."""
    bought, sold = book.tallies.sum("bought", 60), book.tallies.sum("sold", 60)
    return ratio(bought - sold, bought + sold)


@feature(
    unit="1 = as before", one=RATIO_ONE, direction=0, family="trading", group="trading",
    window_sessions=250, low=0, high=12.5, missing="no trade in a year",
    en="Trading of a month against the year's", zh="近月交易活跃度变化",
    evidence="Barber & Odean 2000",
)  # fmt: skip
def trading_acceleration_ratio(book: BookAsOf) -> FloatArray:
    """Value traded a session over 20 sessions, over the same of 250 sessions."""
    return ratio(book.tallies.traded(20) * 25, book.tallies.traded(250) * 2)


@feature(
    unit="sessions", one=1, direction=0, family="trading", group="trading",
    window_sessions=0, low=0, high=5000, missing="no trade at all",
    en="Sessions since the last trade", zh="距上次成交交易日数", evidence="Odean 1999",
)  # fmt: skip
def sessions_since_trade(book: BookAsOf) -> FloatArray:
    """Sessions since the last session with a fill."""
    last = book.tallies.last
    return np.where(last >= 0, (book.tallies.t - last).astype(np.float64), np.nan)
