"""Costs as account screens show them, loans and results: what the second version adds."""

from __future__ import annotations

import numpy as np

from data_contracts.units import MINOR_PER_UNIT, NULL, RATIO_ONE, FloatArray, IntArray
from features.arithmetic import deviation, last_columns, mean_of_known, ratio
from features.book import BookAsOf
from features.declare import feature
from features.definitions.history import growth_index, largest_loss
from features.definitions.portfolio import share_of_securities

LEAST_RETURNS = 40


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=-1, family="history", group="portfolio",
    window_sessions=0, low=-1, high=10, missing="no holding with a cost above 0",
    en="Paper gain on average cost", zh="持仓浮动盈亏比（买入均价）", evidence="Odean 1998",
)  # fmt: skip
def paper_gain_average_cost_ratio(book: BookAsOf) -> FloatArray:
    """Value of the holdings over their average cost, less 1.

    Average cost is the mean buying price of the shares held: a sale takes its share of the cost
    away and leaves the mean as it was.
    """
    cost = book.sum_by_client(book.positions.client, book.positions.cost_amt)
    return ratio(book.securities - cost, cost)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=-1, family="history", group="trading",
    window_sessions=0, low=-10, high=10, missing="nothing held that fills explain",
    en="Gain on diluted cost", zh="持仓盈亏比（摊薄成本）",
    evidence="A-share account statements (摊薄成本); Odean 1998",
)  # fmt: skip
def gain_diluted_cost_ratio(book: BookAsOf) -> FloatArray:
    """Value of the holdings less their diluted cost, over their value.

    Diluted cost, as A-share account screens show it, is all that was paid for a name since it was
    last not held, less all that its sales brought: a gain already taken lowers it, even below 0.
    From fills alone, in order of time, without fees.
    """
    return ratio(book.securities - book.diluted_cost, book.securities)


@feature(
    unit="times", one=RATIO_ONE, direction=1, family="trading", group="trading",
    window_sessions=20, low=0, high=60, missing="no assets in the window",
    en="Turnover over a month", zh="20日换手率", evidence="Barber & Odean 2000",
)  # fmt: skip
def turnover_20_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Half of all buys and sells of 20 sessions over the mean assets of those sessions."""
    mean = mean_of_known(last_columns(book.paths.assets, 20))
    return ratio(book.tallies.traded(20) / 200, mean)


@feature(
    unit="times", one=RATIO_ONE, direction=1, family="trading", group="trading",
    window_sessions=250, low=0, high=250, missing="no assets in the window",
    en="Turnover over a year", zh="一年换手率", evidence="Barber & Odean 2000",
)  # fmt: skip
def turnover_250_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Half of all buys and sells of 250 sessions over the mean assets of those sessions."""
    mean = mean_of_known(last_columns(book.paths.assets, 250))
    return ratio(book.tallies.traded(250) / 200, mean)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="history", group="trading",
    window_sessions=250, low=0, high=1, missing="fewer than 20 equity values",
    en="Largest loss over a year", zh="一年最大回撤", evidence="Thaler & Johnson 1990",
)  # fmt: skip
def max_drawdown_250_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Largest fall of equity from an earlier high within 250 sessions, external flows taken out."""
    return largest_loss(book, 250)


@feature(
    unit="per session, 1 = 100 %", one=RATIO_ONE, direction=1, family="history", group="trading",
    window_sessions=60, low=0, high=10, missing="fewer than 40 returns of the equity",
    en="Volatility of the results", zh="60日净值波动率", evidence="Thaler & Johnson 1990",
)  # fmt: skip
def equity_volatility_60_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Sample standard deviation of the equity's returns over 60 sessions, flows taken out."""
    index = growth_index(book, 61)
    nav = last_columns(book.nav_path, 61)
    known = (nav[:, 1:] != NULL) & (nav[:, :-1] != NULL) & (nav[:, :-1] > 0) & (index[:, :-1] > 0)
    steps = index[:, 1:] / np.where(index[:, :-1] > 0, index[:, :-1], 1.0) - 1.0
    return deviation(np.where(known, steps, np.nan), LEAST_RETURNS)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="liquidity", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no securities",
    en="Share suspended", zh="停牌证券占比", evidence="SPAN 2; exchange suspension rules",
)  # fmt: skip
def suspended_share(book: BookAsOf) -> FloatArray:
    """Share of the securities' value in names suspended at the session."""
    return share_of_securities(book, book.panel.suspended[book.t][book.positions.symbol])


def _largest(book: BookAsOf, values: IntArray) -> FloatArray:
    out = np.full(book.clients, -1, dtype=np.int64)
    np.maximum.at(out, book.contracts.client, values)
    return np.where(out < 0, np.nan, out.astype(np.float64))


@feature(
    unit="times", one=1, direction=1, family="leverage", group="portfolio",
    window_sessions=0, low=0, high=100, missing="no open loan contract",
    en="Roll-overs of a loan", zh="融资合约最多展期次数", evidence="broker practice",
)  # fmt: skip
def rollovers_largest(book: BookAsOf) -> FloatArray:
    """Times that the most often extended open loan contract was rolled over."""
    return _largest(book, book.contracts.rollovers)


@feature(
    unit="calendar days", one=1, direction=1, family="leverage", group="portfolio",
    window_sessions=0, low=0, high=3650, missing="no open loan contract",
    en="Age of the oldest loan", zh="最早未了结融资合约天数", evidence="broker practice",
)  # fmt: skip
def oldest_loan_days(book: BookAsOf) -> FloatArray:
    """Calendar days since the oldest open loan contract was opened."""
    age = np.datetime64(book.session, "D") - book.contracts.opened_on
    return _largest(book, age.astype(np.int64))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="leverage", group="portfolio",
    window_sessions=0, low=0, high=1, missing="nothing owed",
    en="Interest share of debt", zh="应付利息占负债比", evidence="broker practice",
)  # fmt: skip
def accrued_share_of_debt_ratio(book: BookAsOf) -> FloatArray:
    """Interest owed over principal and interest owed."""
    return ratio(book.accrued, book.owed)


@feature(
    unit="sessions", one=1, direction=-1, family="history", group="trading",
    window_sessions=0, low=0, high=5000, missing="never called",
    en="Sessions since the last call", zh="距上次追保交易日数",
    evidence="broker practice; Bian et al. 2021",
)  # fmt: skip
def sessions_since_call(book: BookAsOf) -> FloatArray:
    """Sessions since the last margin call."""
    calls = book.events.of_kinds("call")
    last = np.full(book.clients, -1, dtype=np.int64)
    np.maximum.at(last, book.events.client[calls], book.events.session[calls])
    return np.where(last < 0, np.nan, (book.t - last).astype(np.float64))


@feature(
    unit="account currency", one=MINOR_PER_UNIT, direction=-1, family="kyc", group="portfolio",
    window_sessions=0, low=0, high=1e10, missing="never",
    en="Size of the account", zh="账户总资产", evidence="An, Lou & Shi 2022",
)  # fmt: skip
def account_assets_amt(book: BookAsOf) -> FloatArray:
    """Cash plus securities at the close."""
    return book.assets / MINOR_PER_UNIT
