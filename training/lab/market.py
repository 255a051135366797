"""A price panel prepared for the engine: what may be traded, and how names look to a client.

Everything at a session uses that session and earlier ones only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray, IntArray
from features.panel import PricePanel

LOOK_BACK = 60
"""Sessions over which clients judge a name's trend and swings."""

LISTED, BUYABLE, SELLABLE, FINANCEABLE, COLLATERAL = 1, 2, 4, 8, 16
SLOTS_A_NAME = 4
"""Places a name has on average in the list that clients look up names in."""
TRADED_OVER = 20
"""Sessions of turnover behind the attention that a name gets."""
TICK = 100
"""Limit prices are rounded to 0.01 currency units, 100 quanta of a price."""


class Market(NamedTuple):
    """Arrays over the simulated window, T sessions by N names.

    ``candidates`` lists the names that a client may come across, the first ``candidate_count`` of a
    row, each as often as it draws attention. Prices, payouts, flags and haircuts lie name by name
    in memory: a client follows a few names through many sessions.
    """

    close: IntArray
    payout: IntArray
    flags: npt.NDArray[np.uint8]
    haircut: IntArray
    trend_rank: npt.NDArray[np.float32]
    swing_rank: npt.NDArray[np.float32]
    crowd_rank: npt.NDArray[np.float32]
    candidates: npt.NDArray[np.int32]
    candidate_count: npt.NDArray[np.int32]
    market_trend: FloatArray
    day: IntArray
    month_first: BoolArray
    month_last: BoolArray
    ratio: IntArray
    rate: IntArray


def limit_prices(panel: PricePanel) -> tuple[IntArray, IntArray]:
    """Limit-up and limit-down prices, rounded half up to 0.01; ``NULL`` where there is no limit."""
    reference = reference_prices(panel)
    free = (panel.price_limit == NULL) | (reference == NULL)
    limit = np.where(free, 0, panel.price_limit)
    base = np.where(free, 0, reference)
    unit = TICK * RATIO_ONE
    up = (base * (RATIO_ONE + limit) + unit // 2) // unit * TICK
    down = (base * (RATIO_ONE - limit) + unit // 2) // unit * TICK
    return np.where(free, NULL, up), np.where(free, NULL, down)


def tradable(panel: PricePanel) -> tuple[BoolArray, BoolArray]:
    """Whether a name could be bought, and sold, at the close of a session; shape (T, N) each."""
    up, down = limit_prices(panel)
    trading = (panel.close != NULL) & (panel.close > 0) & ~panel.suspended
    locked_up = (up != NULL) & (panel.close >= up)
    locked_down = (down != NULL) & (panel.close <= down)
    return trading & ~locked_up, trading & ~locked_down


def prepare(
    panel: PricePanel,
    ratio_e6: IntArray,
    rate_bps: IntArray,
    default_haircut: int,
    first: int,
    last: int,
) -> Market:
    """Prepare the sessions ``first`` to ``last`` of a panel, both included."""
    listed = (panel.close != NULL) & (panel.close > 0)
    buyable, sellable = tradable(panel)
    wanted = buyable & panel.collateral_eligible & ~panel.special_treatment
    flags = (
        listed * LISTED
        + buyable * BUYABLE
        + sellable * SELLABLE
        + panel.margin_eligible * FINANCEABLE
        + panel.collateral_eligible * COLLATERAL
    ).astype(np.uint8)
    haircut = np.where(panel.haircut == NULL, default_haircut, panel.haircut)
    haircut = np.where(panel.collateral_eligible & ~panel.special_treatment, haircut, 0)
    reference = reference_prices(panel)
    payout = np.zeros_like(panel.close)
    known = (panel.close[:-1] != NULL) & (reference[1:] != NULL) & ~panel.suspended[1:]
    payout[1:] = np.where(known, panel.close[:-1] - reference[1:], 0)
    np.maximum(payout, 0, out=payout)

    returns = np.nan_to_num(panel.simple_returns())
    level = np.cumprod(1.0 + returns, axis=0)
    trend = np.zeros_like(level)
    trend[LOOK_BACK:] = level[LOOK_BACK:] / level[:-LOOK_BACK] - 1.0
    square = np.cumsum(returns * returns, axis=0)
    swing = square.copy()
    swing[LOOK_BACK:] -= square[:-LOOK_BACK]
    count = np.maximum(listed.sum(axis=1), 1)
    market = np.cumprod(1.0 + returns.sum(axis=1) / count)
    market_trend = np.zeros(len(market))
    market_trend[LOOK_BACK:] = market[LOOK_BACK:] / market[:-LOOK_BACK] - 1.0

    month = panel.sessions.astype("datetime64[M]")
    month_first = np.zeros(len(month), dtype=bool)
    month_first[1:] = month[1:] != month[:-1]
    month_last = np.zeros(len(month), dtype=bool)
    month_last[:-1] = month[1:] != month[:-1]
    window = slice(first, last + 1)
    wanted = wanted[window]
    candidates, candidate_count = _seen(panel, wanted, window)
    # A name that left the exchange is sold at its last close: carried on, sellable, not listed.
    last_row = np.maximum.accumulate(np.where(listed, np.arange(len(listed))[:, None], -1), axis=0)
    carried = np.take_along_axis(panel.close, np.maximum(last_row, 0), axis=0)
    flags[~listed & (last_row >= 0)] = SELLABLE
    return Market(
        close=np.asfortranarray(np.where(last_row >= 0, carried, 0)[window]),
        payout=np.asfortranarray(payout[window]),
        flags=np.asfortranarray(flags[window]),
        haircut=np.asfortranarray(haircut[window]),
        trend_rank=_ranks(trend[window], wanted),
        swing_rank=_ranks(swing[window], wanted),
        crowd_rank=_ranks(_crowding(panel)[window], wanted),
        candidates=candidates,
        candidate_count=candidate_count,
        market_trend=market_trend[window].copy(),
        day=panel.sessions[window].astype("datetime64[D]").astype(np.int64),
        month_first=month_first[window].copy(),
        month_last=month_last[window].copy(),
        ratio=np.ascontiguousarray(ratio_e6[window], dtype=np.int64),
        rate=np.ascontiguousarray(rate_bps[window], dtype=np.int64),
    )


def _seen(
    panel: PricePanel, wanted: BoolArray, window: slice
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Names by how often clients come across them, and how many places of the list are taken.

    A name takes places in proportion to what was traded in it of late: people buy what draws
    attention (Barber and Odean 2008). Without volumes every name takes one place.
    """
    even = np.argsort(~wanted, axis=1, kind="stable").astype(np.int32)
    known = (panel.volume_shares != NULL) & (panel.close != NULL)
    traded = np.where(known, panel.close * 1e-4 * panel.volume_shares, 0.0)
    total = np.cumsum(traded, axis=0)
    total[TRADED_OVER:] -= total[:-TRADED_OVER].copy()
    weight = np.cumsum(np.where(wanted, np.maximum(total[window], 0.0), 0.0), axis=1)
    if not weight[:, -1].any():
        return even, wanted.sum(axis=1).astype(np.int32)
    places = SLOTS_A_NAME * weight.shape[1]
    out = np.zeros((len(weight), places), dtype=np.int32)
    count = np.where(weight[:, -1] > 0, places, 0).astype(np.int32)
    for s in np.flatnonzero(count):
        at = (np.arange(places) + 0.5) / places * weight[s, -1]
        out[s] = np.searchsorted(weight[s], at, side="right")
    return out, count


def reference_prices(panel: PricePanel) -> IntArray:
    """The exchange's reference price, else the previous close."""
    reference = np.full_like(panel.close, NULL)
    reference[1:] = panel.close[:-1]
    return np.where(panel.pre_close != NULL, panel.pre_close, reference)


def _crowding(panel: PricePanel) -> FloatArray:
    """Shares traded over ten sessions against the look-back; 0 where volume is unknown."""
    known = np.where(panel.volume_shares == NULL, 0, panel.volume_shares)
    total = np.cumsum(known, axis=0)
    short, long = total.copy(), total.copy()
    short[10:] -= total[:-10]
    long[LOOK_BACK:] -= total[:-LOOK_BACK]
    return np.asarray(short / np.maximum(long, 1))


def _ranks(values: FloatArray, wanted: BoolArray) -> npt.NDArray[np.float32]:
    """Rank of each wanted name among the wanted names of its session, 0 to 1."""
    order = np.argsort(np.where(wanted, values, np.inf), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(values.shape[1])[None, :], axis=1)
    top = np.maximum(wanted.sum(axis=1, keepdims=True) - 1, 1)
    return np.asarray(np.where(wanted, rank / top, 0.0), dtype=np.float32)
