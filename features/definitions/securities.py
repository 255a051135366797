"""What the names held are like: industry, age of the listing, cost of selling, crowding."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray
from features.arithmetic import deviation, ordered_sum, ratio, real
from features.book import BookAsOf
from features.declare import feature

NEW_LISTING_DAYS: Final = 365
"""A name counts as newly listed for a year: its history is too short to be priced."""
NOT_TRADED: Final = 1e18
"""Value over turnover of a name without any, in place of infinity."""
LEAST_RETURNS: Final = 40
"""Returns out of 60 below which a name's volatility is not stated."""


def _mean_of_holdings(book: BookAsOf, of_name: FloatArray) -> FloatArray:
    """Value-weighted mean over the holdings whose figure is known; NaN if none is."""
    found = of_name[book.positions.symbol]
    known = ~np.isnan(found)
    value = np.where(known, book.position_value.astype(np.float64), 0.0)
    client = book.positions.client
    part = ordered_sum(client, value * np.where(known, found, 0.0), book.clients)
    return ratio(part, ordered_sum(client, value, book.clients))


def _share_of_known(book: BookAsOf, chosen: BoolArray, known: BoolArray) -> FloatArray:
    """Value of the chosen holdings over that of those that could have been chosen."""
    client, value = book.positions.client, book.position_value
    part = book.sum_by_client(client, np.where(chosen & known, value, 0))
    return ratio(part, book.sum_by_client(client, np.where(known, value, 0)))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="concentration", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no holding whose industry is known",
    en="Largest industry", zh="第一大行业持仓占比",
    evidence="Goetzmann & Kumar 2008; broker concentration tables",
)  # fmt: skip
def largest_industry_ratio(book: BookAsOf) -> FloatArray:
    """Value held in the industry with the most, over all holdings whose industry is known."""
    if book.panel.industry is None:
        return np.full(book.clients, np.nan)
    code = book.panel.industry[book.t][book.positions.symbol]
    known = code >= 0
    client, value = book.positions.client[known], book.position_value[known]
    pair, place = np.unique(np.stack([client, code[known]]), axis=1, return_inverse=True)
    sums = np.zeros(pair.shape[1], dtype=np.int64)
    np.add.at(sums, place.ravel(), value)
    largest = np.zeros(book.clients, dtype=np.int64)
    np.maximum.at(largest, pair[0], sums)
    return ratio(largest, book.sum_by_client(client, value))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="volatility", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no holding whose listing day is known",
    en="Share in new listings", zh="次新股占比",
    evidence="Ritter 1991; broker concentration tables",
)  # fmt: skip
def new_listing_share(book: BookAsOf) -> FloatArray:
    """Share of names listed less than 365 calendar days ago, of the value with a known listing."""
    if book.panel.listed_on is None:
        return np.full(book.clients, np.nan)
    listed = book.panel.listed_on[book.positions.symbol]
    age = np.datetime64(book.session, "D") - listed
    return _share_of_known(book, age < np.timedelta64(NEW_LISTING_DAYS, "D"), ~np.isnat(listed))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="liquidity", group="portfolio",
    window_sessions=60, low=0, high=1,
    missing="no holding whose name has 40 returns of 60 sessions and a turnover of 20",
    en="Price impact of a sale", zh="变现冲击成本",
    evidence="Almgren, Thum, Hauptmann & Li 2005; Sato & Kanazawa 2024 (square root)",
)  # fmt: skip
def price_impact_ratio(book: BookAsOf) -> FloatArray:
    """Value-weighted mean over the holdings of s sqrt(V / T), at most 1 for each.

    s is the name's standard deviation of returns over 60 sessions, V the value held, T the name's
    mean turnover over the sessions of the last 20 that have a figure; sessions without trading
    count with 0. A holding whose name has no s or no T is left out.
    """
    if book.panel.turnover_amt is None:
        return np.full(book.clients, np.nan)
    turnover = book.panel.turnover_amt[max(0, book.t - 19) : book.t + 1]
    known = turnover != NULL
    mean = ratio(np.where(known, turnover, 0).sum(axis=0), known.sum(axis=0))
    sigma = deviation(book.returns[max(0, book.t - 59) : book.t + 1].T, LEAST_RETURNS)
    symbol, client = book.positions.symbol, book.positions.client
    value = book.position_value.astype(np.float64)
    share = ratio(value / 100, mean[symbol])  # both in minor units
    share[(mean[symbol] == 0) & (value > 0)] = NOT_TRADED
    cost = np.minimum(sigma[symbol] * np.sqrt(share), 1.0)
    found = ~np.isnan(cost)
    weight = np.where(found, value, 0.0)
    part = ordered_sum(client, weight * np.where(found, cost, 0.0), book.clients)
    return ratio(part, ordered_sum(client, weight, book.clients))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="liquidity", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no holding whose financing balance is published",
    en="Crowding with other borrowers", zh="持仓融资拥挤度",
    evidence="SSE and SZSE margin trading rules 2015 (25 % of a name's float)",
)  # fmt: skip
def crowding_ratio(book: BookAsOf) -> FloatArray:
    """Value-weighted mean over the holdings of a name's margin debt over its tradable value.

    The last figure published by the cut-off counts; exchanges publish a session's the next day.
    """
    financed, tradable = book.panel.financing_amt, book.panel.float_value_amt
    if financed is None or tradable is None:
        return np.full(book.clients, np.nan)
    return _mean_of_holdings(book, ratio(real(financed[book.t]), real(tradable[book.t])))


def _market_financing(book: BookAsOf, t: int) -> tuple[int, int]:
    """Margin debt and tradable value, minor units, of the names of which both are known."""
    financed, tradable = book.panel.financing_amt, book.panel.float_value_amt
    if financed is None or tradable is None or t < 0:
        return 0, 0
    both = (financed[t] != NULL) & (tradable[t] != NULL)
    return int(financed[t][both].sum()), int(tradable[t][both].sum())


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="market", group="market",
    window_sessions=0, low=0, high=1, missing="no financing balance is published",
    en="Margin debt of the market", zh="两融余额占流通市值比", evidence="Bian et al. 2018",
)  # fmt: skip
def market_financing_ratio(book: BookAsOf) -> FloatArray:
    """Margin debt of all names over their tradable value, as published by the cut-off."""
    financed, tradable = _market_financing(book, book.t)
    return np.full(book.clients, financed / tradable if tradable else np.nan)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="market", group="market",
    window_sessions=21, low=-1, high=10,
    missing="no financing balance is published now, or none 20 sessions ago",
    en="Growth of the market's margin debt", zh="两融余额20日增速",
    evidence="Schularick & Taylor 2012; Bian et al. 2018",
)  # fmt: skip
def market_financing_growth_20_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Margin debt of all names over that of 20 sessions ago, less 1, each as published then."""
    now, _ = _market_financing(book, book.t)
    then, _ = _market_financing(book, book.t - 20)
    return np.full(book.clients, now / then - 1.0 if now and then else np.nan)
