"""The state of the market: the same value for all clients of a session."""

from __future__ import annotations

import numpy as np

from data_contracts.units import RATIO_ONE, FloatArray
from features.arithmetic import deviation
from features.book import BookAsOf
from features.declare import feature


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="market", group="market",
    window_sessions=250, low=0, high=1, missing="fewer than 20 index returns",
    en="Index fall from its one-year high", zh="指数一年内回撤", evidence="Bian et al. 2018",
)  # fmt: skip
def index_drawdown_250_sessions_ratio(book: BookAsOf) -> FloatArray:
    """How far the index stands below its highest close of 250 sessions.

    Where the market has no index, the equal-weighted mean return of its securities stands in.
    """
    returns = book.index_returns[max(0, book.t - 248) : book.t + 1]
    if int(np.sum(~np.isnan(returns))) < 20:
        return np.full(book.clients, np.nan)
    level = np.cumprod(np.r_[1.0, np.where(np.isnan(returns), 0.0, returns) + 1.0])
    return np.full(book.clients, 1.0 - level[-1] / level.max())


@feature(
    unit="per session, 1 = 100 %", one=RATIO_ONE, direction=1, family="market", group="market",
    window_sessions=20, low=0, high=1, missing="fewer than 10 index returns",
    en="Index volatility over a month", zh="指数20日波动率",
    evidence="Brunnermeier & Pedersen 2009",
)  # fmt: skip
def index_volatility_20_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Sample standard deviation of the index's returns over 20 sessions, not annualised."""
    returns = book.index_returns[max(0, book.t - 19) : book.t + 1]
    return np.full(book.clients, deviation(returns[None, :], 10)[0])
