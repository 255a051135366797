"""Volatility, beta and liquidity of what the client holds now."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray
from features.arithmetic import deviation, fill_undefined, ordered_sum, ratio, row_sum
from features.book import BookAsOf
from features.declare import feature
from features.definitions.portfolio import share_of_securities

REFERENCE_CALL_RATIO: Final = 1.30
"""Maintenance ratio from which the distance to a call is measured, whatever line policy sets."""
CALL_HORIZON_SESSIONS: Final = 20
"""Horizon of the ``call_20`` label; the distance is in standard deviations over it."""
LEAST_RETURNS: Final = 40
"""Returns out of 60 below which a volatility is not stated."""
LEAST_BETA_RETURNS: Final = 120
"""Returns out of 250 below which a name's beta is not stated."""
PARTICIPATION: Final = 0.2
"""Share of a name's mean volume that a sale may take."""


def holdings_returns(book: BookAsOf, sessions: int) -> FloatArray:
    """Returns of today's holdings over past sessions, (clients, sessions); NaN if none is known.

    The value-weighted mean over the positions whose return that session is known.
    """
    # Here, so that a process that computes no feature loads no compiler.
    from features.loops import weighted_returns

    p = book.positions
    known = f"holdings_returns_{sessions}"
    if known not in book.worked_out:
        window = np.ascontiguousarray(book.returns[max(0, book.t - sessions + 1) :].T)
        value = book.position_value.astype(np.float64)
        made = weighted_returns(p.client, p.symbol, value, window, book.clients)
        book.worked_out[known] = made.T
    return book.worked_out[known]


@feature(
    unit="per session, 1 = 100 %", one=RATIO_ONE, direction=1, family="volatility",
    group="portfolio", window_sessions=60, low=0, high=1,
    missing="no securities, or fewer than 40 returns of today's holdings",
    en="Volatility of the holdings", zh="持仓60日波动率", evidence="Markowitz 1952; Merton 1974",
)  # fmt: skip
def portfolio_volatility_60_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Sample standard deviation of the returns that today's holdings had over 60 sessions.

    Not annualised. A session's return is value-weighted over the positions that traded.
    """
    known = "portfolio_volatility_60"
    if known not in book.worked_out:
        book.worked_out[known] = deviation(holdings_returns(book, 60), LEAST_RETURNS)
    return book.worked_out[known]


@feature(
    unit="standard deviations", one=RATIO_ONE, direction=-1, family="leverage",
    group="portfolio", window_sessions=60, low=-20, high=20,
    missing="nothing owed, no assets, or no volatility",
    en="Distance to a margin call", zh="距追保线距离（标准差）",
    evidence="Bian, He, Shue & Zhou 2018",
)  # fmt: skip
def distance_to_call_sigma(book: BookAsOf) -> FloatArray:
    """ln(R / 1.30) / (s sqrt(20)): R is the maintenance ratio, s the volatility of the assets.

    s is the 60-session volatility of the holdings times the securities' share of assets, so cash
    lowers it. 1.30 is a fixed reference, not the client's own line.
    """
    margin = ratio(book.assets, book.owed)
    exposed = ratio(book.securities, book.assets)
    sigma = portfolio_volatility_60_sessions_ratio(book) * exposed
    distance = np.log(np.where(margin > 0, margin, np.nan) / REFERENCE_CALL_RATIO)
    return ratio(distance, sigma * math.sqrt(CALL_HORIZON_SESSIONS))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="volatility", group="portfolio",
    window_sessions=20, low=-1, high=1, missing="no securities, or fewer than 10 returns",
    en="Mean of the five best days", zh="最大五日收益均值（MAX5）",
    evidence="Bali, Cakici & Whitelaw 2011",
)  # fmt: skip
def max5_return(book: BookAsOf) -> FloatArray:
    """Mean of the five highest returns that today's holdings had over 20 sessions."""
    returns = holdings_returns(book, 60)[:, -20:]
    known = (~np.isnan(returns)).sum(axis=1)
    if returns.shape[1] < 5:
        return np.full(book.clients, np.nan)
    best = np.sort(np.where(np.isnan(returns), -np.inf, returns), axis=1)[:, -5:]
    return fill_undefined(row_sum(np.where(np.isinf(best), 0.0, best)) / 5, known < 10)


@feature(
    unit="1 = the index", one=RATIO_ONE, direction=1, family="volatility", group="portfolio",
    window_sessions=250, low=-5, high=5,
    missing="no securities, or no name with 120 returns",
    en="Beta of the holdings", zh="持仓贝塔", evidence="Sharpe 1964; Frazzini & Pedersen 2014",
)  # fmt: skip
def beta(book: BookAsOf) -> FloatArray:
    """Value-weighted mean of the names' betas to the index over 250 sessions.

    A name's beta is covariance over variance on the sessions on which both returns are known; a
    name with fewer than 120 of them is left out and the others' weights grow.
    """
    p = book.positions
    used, place = np.unique(p.symbol, return_inverse=True)
    first = max(0, book.t - 249)
    index = book.index_returns[first:][:, None]
    returns = book.returns[first:][:, used]
    both = ~np.isnan(returns) & ~np.isnan(index)
    count = both.sum(axis=0)
    x = np.where(both, index, 0.0)
    y = np.where(both, returns, 0.0)
    x = np.where(both, x - ratio(row_sum(x.T), count), 0.0)
    y = np.where(both, y - ratio(row_sum(y.T), count), 0.0)
    slope = ratio(row_sum((x * y).T), row_sum((x * x).T))
    slope[count < LEAST_BETA_RETURNS] = np.nan
    mine = slope[place]
    known = ~np.isnan(mine)
    value = np.where(known, book.position_value.astype(np.float64), 0.0)
    total = ordered_sum(p.client, value, book.clients)
    return ratio(ordered_sum(p.client, value * np.where(known, mine, 0.0), book.clients), total)


def lottery_names(book: BookAsOf) -> BoolArray:
    """Names with a close below the market's median, and volatility and MAX above it."""
    window = book.returns[max(0, book.t - 59) :].T
    volatility = deviation(window, LEAST_RETURNS)
    highest = np.max(np.where(np.isnan(window), -np.inf, window), axis=1)
    price = np.where(book.close > 0, book.close.astype(np.float64), np.nan)
    fit = ~np.isnan(volatility) & ~np.isnan(price)
    if not bool(fit.any()):
        return np.zeros(len(price), dtype=bool)
    cheap = price < np.median(price[fit])
    wild = volatility > np.median(volatility[fit])
    chosen: BoolArray = fit & cheap & wild & (highest > np.median(highest[fit]))
    return chosen


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="trading", group="portfolio",
    window_sessions=60, low=0, high=1,
    missing="no securities, or no name of the market with 40 returns",
    en="Share in lottery-like stocks", zh="彩票型股票占比",
    evidence="Kumar 2009; Bali, Cakici & Whitelaw 2011",
)  # fmt: skip
def lottery_share(book: BookAsOf) -> FloatArray:
    """Share of the securities' value in lottery-like names.

    Such a name has a close below, and both a 60-session volatility and a highest 60-session return
    above, the median of the market's names with at least 40 returns.
    """
    if book.t + 1 < LEAST_RETURNS:
        return np.full(book.clients, np.nan)
    return share_of_securities(book, lottery_names(book)[book.positions.symbol])


@feature(
    unit="sessions", one=1000, direction=1, family="liquidity", group="portfolio",
    window_sessions=20, low=0, high=250,
    missing="no securities, or a holding without any volume figure",
    en="Sessions to sell everything", zh="清仓所需交易日", evidence="Amihud 2002; NSCC, SPAN 2",
)  # fmt: skip
def days_to_liquidate(book: BookAsOf) -> FloatArray:
    """Sessions to sell the slowest position at 20 % of its mean volume over 20 sessions.

    Sessions without a volume figure are left out of the mean, suspensions count with volume 0; a
    name that did not trade at all takes the upper bound.
    """
    p = book.positions
    volume = book.panel.volume_shares[max(0, book.t - 19) :]
    known = volume != NULL
    mean = ratio(np.where(known, volume, 0).sum(axis=0), known.sum(axis=0))[p.symbol]
    need = ratio(p.quantity_shares, PARTICIPATION * mean)
    need[mean == 0] = np.inf
    slowest = np.zeros(book.clients)
    np.maximum.at(slowest, p.client, np.where(np.isnan(need), 0.0, need))
    unknown = np.zeros(book.clients, dtype=bool)
    unknown[p.client[np.isnan(mean)]] = True
    return fill_undefined(slowest, unknown | (book.securities <= 0))
