"""Leverage, concentration and capacity to pay, from the latest state of the book."""

from __future__ import annotations

import numpy as np

from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray
from features.arithmetic import fill_undefined, ordered_sum, ratio, real
from features.book import BookAsOf
from features.declare import feature


def share_of_securities(book: BookAsOf, chosen: BoolArray) -> FloatArray:
    """Value of the chosen positions over the value of all; NaN without securities."""
    client = book.positions.client
    part = book.sum_by_client(client, np.where(chosen, book.position_value, 0))
    return ratio(part, book.sum_by_client(client, book.position_value))


def weights(book: BookAsOf) -> FloatArray:
    """Each position's share of its client's securities."""
    total = book.sum_by_client(book.positions.client, book.position_value)
    return ratio(book.position_value, total[book.positions.client])


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=-1, family="leverage", group="portfolio",
    window_sessions=0, low=0, high=20, missing="nothing owed",
    en="Maintenance ratio", zh="维持担保比例", evidence="SSE and SZSE margin trading rules 2015",
)  # fmt: skip
def maintenance_ratio(book: BookAsOf) -> FloatArray:
    """Assets over principal and interest owed, at the close."""
    return ratio(book.assets, book.owed)


@feature(
    unit="x", one=RATIO_ONE, direction=1, family="leverage", group="portfolio",
    window_sessions=0, low=0, high=20, missing="no assets and nothing owed",
    en="Leverage", zh="杠杆倍数", evidence="Heimer & Simsek 2019; Bian et al. 2021",
)  # fmt: skip
def leverage_ratio(book: BookAsOf) -> FloatArray:
    """Assets over equity (assets less all owed), at the close; the upper bound without equity."""
    equity = book.assets - book.owed
    out = ratio(book.assets, equity)
    out[(equity <= 0) & (book.owed > 0)] = np.inf
    return out


@feature(
    unit="x", one=RATIO_ONE, direction=-1, family="kyc", group="portfolio",
    window_sessions=0, low=-100, high=100, missing="net worth not stated, or nothing owed",
    en="Stated net worth to debt", zh="申报净资产与负债之比", evidence="credit-scoring norm",
)  # fmt: skip
def net_worth_to_debt_ratio(book: BookAsOf) -> FloatArray:
    """Stated net worth over principal and interest owed."""
    return ratio(real(book.kyc.net_worth_amt), book.owed)


@feature(
    unit="x", one=RATIO_ONE, direction=-1, family="kyc", group="portfolio",
    window_sessions=0, low=0, high=100, missing="liquid assets not stated, or nothing owed",
    en="Outside liquid assets to debt", zh="账户外流动资产与负债之比",
    evidence="FINRA Rule 2111; Yao et al. 2017",
)  # fmt: skip
def liquid_assets_to_debt_ratio(book: BookAsOf) -> FloatArray:
    """Stated liquid assets outside the account over principal and interest owed."""
    return ratio(real(book.kyc.liquid_assets_amt), book.owed)


@feature(
    unit="years of income", one=RATIO_ONE, direction=1, family="kyc", group="portfolio",
    window_sessions=0, low=0, high=100, missing="income not stated, or income 0",
    en="Debt to income", zh="负债收入比", evidence="credit-scoring norm; Thomas 2000",
)  # fmt: skip
def debt_to_income_ratio(book: BookAsOf) -> FloatArray:
    """Principal and interest owed over stated yearly income."""
    return ratio(book.owed, real(book.kyc.income_amt))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=-1, family="liquidity", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no assets",
    en="Cash share of assets", zh="现金占总资产比", evidence="Yao et al. 2017",
)  # fmt: skip
def cash_share_ratio(book: BookAsOf) -> FloatArray:
    """Cash over assets, at the close."""
    return ratio(book.cash, book.assets)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="concentration", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no securities",
    en="Largest position", zh="第一大持仓占比", evidence="NSCC concentration charge (30 %)",
)  # fmt: skip
def largest_weight_ratio(book: BookAsOf) -> FloatArray:
    """Value of the largest position over the value of all securities."""
    largest = np.zeros(book.clients, dtype=np.int64)
    np.maximum.at(largest, book.positions.client, book.position_value)
    return ratio(largest, book.sum_by_client(book.positions.client, book.position_value))


@feature(
    unit="1 = one name", one=RATIO_ONE, direction=1, family="concentration", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no securities",
    en="Herfindahl index of positions", zh="持仓集中度（赫芬达尔指数）",
    evidence="Goetzmann & Kumar 2008",
)  # fmt: skip
def herfindahl_ratio(book: BookAsOf) -> FloatArray:
    """Sum of squared weights of the positions."""
    w = weights(book)
    w = np.where(np.isnan(w), 0.0, w)
    out = ordered_sum(book.positions.client, w * w, book.clients)
    return fill_undefined(out, book.securities <= 0)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="concentration", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no securities",
    en="Share in special-treatment stocks", zh="风险警示股占比",
    evidence="exchange risk-warning boards; single-name limits of brokers",
)  # fmt: skip
def special_treatment_share(book: BookAsOf) -> FloatArray:
    """Share of the securities' value in names marked ST or *ST at the session."""
    flagged = book.panel.special_treatment[book.t]
    return share_of_securities(book, flagged[book.positions.symbol])


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="volatility", group="portfolio",
    window_sessions=0, low=0, high=1, missing="no securities, or a market without price limits",
    en="Share on boards with wide price limits", zh="宽涨跌幅板块占比",
    evidence="exchange trading rules (20 % and 30 % limits)",
)  # fmt: skip
def high_limit_share(book: BookAsOf) -> FloatArray:
    """Share of the securities' value in names whose daily price limit is 20 % or wider."""
    limit = book.panel.price_limit[book.t]
    if bool(np.all(limit == NULL)):
        return np.full(book.clients, np.nan)
    return share_of_securities(book, limit[book.positions.symbol] >= RATIO_ONE // 5)
