"""What the account went through: results, leverage over time, calls and cures, deposits."""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import NULL, RATIO_ONE, FloatArray, IntArray
from features.arithmetic import last_columns, mean_of_known, ratio, real
from features.book import LONGEST_WINDOW_SESSIONS, BookAsOf
from features.declare import feature

LEAST_NAVS: Final = 20
"""Equity values below which a drawdown is not stated."""
CURE_SESSIONS: Final = 5
"""A cure counts as paid in cash if cash came in within this many sessions up to it."""
GAIN_SESSIONS: Final = 5


def external_flows(book: BookAsOf, sessions: int) -> IntArray:
    """Money the client (or a write-off) moved in or out, (clients, sessions)."""
    return book.external_flows[:, LONGEST_WINDOW_SESSIONS - sessions :]


def growth_index(book: BookAsOf, sessions: int) -> FloatArray:
    """Equity with external flows taken out, 1 at the first of the sessions; (clients, sessions).

    A session's factor is (equity - flows) / equity before, at least 0; it is 1 where one of the
    two is unknown or the equity before is not above 0.
    """
    # Here, so that a process that computes no feature of a path loads no compiler.
    from features.loops import grown

    nav = last_columns(book.nav_path, sessions)
    return grown(nav.T, external_flows(book, sessions).T, NULL).T


def largest_loss(book: BookAsOf, sessions: int) -> FloatArray:
    """Largest fall of the growth index from an earlier high; NaN below ``LEAST_NAVS`` values."""
    from features.loops import largest_fall

    fall = largest_fall(growth_index(book, sessions).T)
    known = (last_columns(book.nav_path, sessions) != NULL).sum(axis=1)
    return np.where(known >= LEAST_NAVS, fall, np.nan)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=0, family="history", group="trading",
    window_sessions=61, low=-1, high=10,
    missing="no equity value 60 sessions ago, or nothing invested",
    en="Return over 60 sessions", zh="60日净值收益率", evidence="Barber & Odean 2000; Dietz 1966",
)  # fmt: skip
def nav_return_60(book: BookAsOf) -> FloatArray:
    """Gain of 60 sessions over the equity before plus the money paid in since.

    The gain is equity now, less equity 60 sessions ago, less net external flows.
    """
    nav = last_columns(book.nav_path, 61)
    flows = external_flows(book, 60)
    start = real(nav[:, 0])
    gain = real(nav[:, -1]) - start - flows.sum(axis=1)
    return ratio(gain, start + np.where(flows > 0, flows, 0).sum(axis=1))


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="history", group="trading",
    window_sessions=60, low=0, high=1, missing="fewer than 20 equity values",
    en="Largest loss over 60 sessions", zh="60日最大回撤", evidence="Thaler & Johnson 1990",
)  # fmt: skip
def max_drawdown_60_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Largest fall of equity from an earlier high within 60 sessions, external flows taken out."""
    return largest_loss(book, 60)


@feature(
    unit="x", one=RATIO_ONE, direction=1, family="leverage", group="trading",
    window_sessions=21, low=-20, high=20, missing="no equity now or 20 sessions ago",
    en="Change of leverage in a month", zh="20日杠杆变动", evidence="Heimer & Simsek 2019",
)  # fmt: skip
def leverage_change_20_sessions(book: BookAsOf) -> FloatArray:
    """Assets over equity now less the same 20 sessions ago."""
    assets = last_columns(book.paths.assets, 21)[:, [0, -1]]
    nav = last_columns(book.nav_path, 21)[:, [0, -1]]
    leverage = ratio(real(assets), real(nav))
    return leverage[:, 1] - leverage[:, 0]


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=1, family="history", group="trading",
    window_sessions=66, low=0, high=1, missing="no new borrowing in the window",
    en="Borrowing after gains", zh="盈利后加杠杆占比", evidence="An, Lou & Shi 2022",
)  # fmt: skip
def relever_after_gain(book: BookAsOf) -> FloatArray:
    """Share of the new borrowing of 60 sessions that came after a gain.

    New borrowing is a rise of the principal from one session to the next; it came after a gain if
    equity, external flows taken out, rose over the 5 sessions that end the session before.
    """
    index = growth_index(book, 60 + GAIN_SESSIONS + 1)
    debt = last_columns(book.paths.debt, 61)
    known = (debt[:, 1:] != NULL) & (debt[:, :-1] != NULL)
    rise = np.where(known, np.maximum(np.diff(np.where(debt == NULL, 0, debt), axis=1), 0), 0)
    gained = index[:, GAIN_SESSIONS:-1] > index[:, : -GAIN_SESSIONS - 1]
    return ratio((rise * gained).sum(axis=1), rise.sum(axis=1))


def _count_events(book: BookAsOf, kind: str, sessions: int) -> FloatArray:
    events = book.events
    recent = events.of_kinds(kind) & (events.session > book.t - sessions)
    return book.sum_by_client(events.client, recent).astype(np.float64)


@feature(
    unit="calls", one=1, direction=1, family="history", group="trading",
    window_sessions=250, low=0, high=250, missing="never",
    en="Margin calls in a year", zh="一年内追保次数", evidence="broker practice; Bian et al. 2021",
)  # fmt: skip
def calls_250_sessions(book: BookAsOf) -> FloatArray:
    """Number of margin calls over 250 sessions."""
    return _count_events(book, "call", 250)


@feature(
    unit="forced sales", one=1, direction=1, family="history", group="trading",
    window_sessions=250, low=0, high=250, missing="never",
    en="Forced sales in a year", zh="一年内强平次数", evidence="broker practice; Bian et al. 2021",
)  # fmt: skip
def forced_sales_250_sessions(book: BookAsOf) -> FloatArray:
    """Number of forced sales over 250 sessions."""
    return _count_events(book, "forced_sale", 250)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=-1, family="history", group="trading",
    window_sessions=250, low=0, high=1, missing="no cure in the window",
    en="Share of calls cured in cash", zh="现金补足追保占比", evidence="broker practice",
)  # fmt: skip
def cures_cash_share(book: BookAsOf) -> FloatArray:
    """Share of the cures of 250 sessions that came with cash.

    A cure came with cash if a cash cure was paid in at its session or one of the 4 before.
    """
    events, flows = book.events, book.cash_flows
    sessions = book.t + 1
    cures = np.flatnonzero(events.of_kinds("cure") & (events.session > book.t - 250))
    paid = np.flatnonzero(flows.of_kinds("cash_cure"))
    key = np.sort(flows.client[paid] * sessions + flows.session[paid])
    mine = events.client[cures] * sessions
    first = mine + np.maximum(events.session[cures] - CURE_SESSIONS + 1, 0)
    last = mine + events.session[cures]
    with_cash = np.searchsorted(key, last, side="right") > np.searchsorted(key, first)
    count = book.sum_by_client(events.client[cures], np.ones(len(cures), dtype=np.int64))
    return ratio(book.sum_by_client(events.client[cures], with_cash), count)


@feature(
    unit="1 = 100 %", one=RATIO_ONE, direction=-1, family="history", group="trading",
    window_sessions=60, low=-5, high=5, missing="no assets in the window",
    en="Net deposits over 60 sessions", zh="60日净入金比", evidence="Yao et al. 2017",
)  # fmt: skip
def net_deposits_60_sessions_ratio(book: BookAsOf) -> FloatArray:
    """Deposits and cash cures less withdrawals, over the mean assets of 60 sessions."""
    flows = book.cash_flows
    mine = flows.of_kinds("deposit", "withdrawal", "cash_cure") & (flows.session > book.t - 60)
    net = book.sum_by_client(flows.client, np.where(mine, flows.amount_amt, 0))
    return ratio(net, mean_of_known(last_columns(book.paths.assets, 60)))


@feature(
    unit="sessions", one=1, direction=-1, family="history", group="trading",
    window_sessions=0, low=0, high=5000, missing="never; 0 without an account",
    en="Age of the account", zh="开户以来交易日数", evidence="An, Lou & Shi 2022; Seru et al. 2010",
)  # fmt: skip
def account_age_sessions(book: BookAsOf) -> FloatArray:
    """Sessions since the oldest open account was opened, within the market's history."""
    return book.account_age_sessions.astype(np.float64)
