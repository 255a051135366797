"""A real market brought to the form that the generator draws from: one cell a name and session."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from data_contracts.errors import InputError
from data_contracts.units import NULL, BoolArray, FloatArray, IntArray
from features.panel import PricePanel
from training.lab.market import COLLATERAL, FINANCEABLE, limit_prices
from training.lab.random import uniform_table

FAST, SLOW = 0.94, 0.99
"""Decay of the two EWMA variances of the market; the greater one is the market's variance."""
WARM_UP: Final = 20
"""Sessions with a return before a session may be drawn: its variance must rest on something."""
FLOOR: Final = 2_000
"""No generated price lies lower: below 0.20 a limit of 5 % is less than a tick of 0.01."""
HIGHEST: Final = 500_000_000
"""A price above this, or above ``GROWTH`` times its start, is split."""
GROWTH: Final = 128
NO_LIMIT: Final = -1

UNUSABLE, FREE, LOCK_UP, LOCK_DOWN, HALT, HALTED = 0, 1, 2, 3, 4, 5
"""What a cell holds, its low three bits: no return; a trading session, free or locked at its
limit; the first session of a suspension, a later one."""
KIND: Final = 7
SPECIAL: Final = 64
"""Special treatment, beside ``FINANCEABLE`` and ``COLLATERAL`` of ``training.lab.market``."""

CellArray = npt.NDArray[np.uint8]
MoveArray = npt.NDArray[np.float32]
SmallArray = npt.NDArray[np.int32]


class Source(NamedTuple):
    """What the compiled generator reads: T source sessions by N names.

    ``moves`` are returns over the reference price, ``limits`` in 1e-6 (``NO_LIMIT`` for none),
    ``index_moves`` (T,) is empty without an index; ``fast`` and ``slow`` (T,) are daily variances
    known before the session; ``board_start`` and ``board_names`` list the names of each board;
    ``halts, ups, downs`` are the cells, ``row * N + name``, that are suspended or locked.
    """

    cells: CellArray
    moves: MoveArray
    limits: SmallArray
    index_moves: FloatArray
    fast: FloatArray
    slow: FloatArray
    first: int
    tick: int
    board: SmallArray
    board_start: SmallArray
    board_names: SmallArray
    halts: IntArray
    ups: IntArray
    downs: IntArray
    split_above: IntArray


class Drawn(NamedTuple):
    """A source panel, what the kernel reads of it, and where generated prices start."""

    panel: PricePanel
    source: Source
    start: IntArray


def reduced(panel: PricePanel, symbols: int | None) -> PricePanel:
    """The panel with ``symbols`` of its names, the same ones for every seed; all for None.

    Names without any close are left out in either case.
    """
    known = np.flatnonzero((panel.close != NULL).any(axis=0))
    if symbols is not None and not 1 <= symbols <= len(known):
        raise InputError(f"the market has {len(known)} names with prices, not {symbols}; ask fewer")
    if symbols is not None:
        lot = uniform_table(0, known, 0, 1)[:, 0]
        known = np.sort(known[np.argsort(lot, kind="stable")[:symbols]])
    if len(known) == len(panel.symbols):
        return panel
    return panel.part(slice(None), known.astype(np.int64))


def market_variances(returns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fast and slow EWMA variance of the market known before each session, shape (T,).

    Weights are scaled to sum to one, so that the first sessions are not biased; a session without
    a return changes nothing. Session ``t`` uses returns before ``t`` only.
    """
    square = np.nan_to_num(returns * returns)
    present = ~np.isnan(returns)
    out = []
    for decay in (FAST, SLOW):
        variance = np.zeros(len(returns))
        total = weight = 0.0
        for t in range(len(returns)):
            variance[t] = total / weight if weight > 0 else 0.0
            if present[t]:
                total = decay * total + (1.0 - decay) * float(square[t])
                weight = decay * weight + (1.0 - decay)
        out.append(variance)
    return out[0], out[1]


def draw_from(panel: PricePanel, symbols: int | None) -> Drawn:
    """Prepare a panel, or some of its names, for the generator.

    Raises
    ------
    InputError
        If the panel is too short, or holds no session whose market variance is known.
    """
    panel = reduced(panel, symbols)
    returns = panel.simple_returns()
    listed = (panel.close != NULL) & (panel.close > 0)
    halted = listed & panel.suspended
    up, down = limit_prices(panel)
    trading = listed & ~panel.suspended & ~np.isnan(returns)
    kind = np.where(trading, FREE, UNUSABLE)
    kind[trading & (up != NULL) & (panel.close >= up)] = LOCK_UP
    kind[trading & (down != NULL) & (panel.close <= down)] = LOCK_DOWN
    before = np.zeros_like(halted)
    before[1:] = halted[:-1]
    kind[halted] = HALT
    kind[halted & before] = HALTED
    cells = (
        kind
        + panel.margin_eligible * FINANCEABLE
        + panel.collateral_eligible * COLLATERAL
        + panel.special_treatment * SPECIAL
    ).astype(np.uint8)

    has_index = bool(np.all(panel.index_close != NULL))
    market = panel.index_returns()
    fast, slow = market_variances(market)
    seen = np.cumsum(~np.isnan(market)) - ~np.isnan(market)
    usable = (seen >= WARM_UP) & ~np.isnan(market) & (np.maximum(fast, slow) > 0)
    first = int(np.argmax(usable)) if bool(usable.any()) else len(market)
    if len(market) - first < 2:
        raise InputError(
            f"the market has {len(market)} sessions; a generated one needs at least"
            f" {WARM_UP + 3} with returns to draw from"
        )
    cells[:first] &= 0xFF ^ KIND  # never drawn, nor a halt or a lock to go on from
    kind = cells & KIND
    boards = sorted(set(panel.board))
    board = np.array([boards.index(b) for b in panel.board], dtype=np.int32)
    start = _start_prices(panel.close, listed)
    tick = int(np.gcd.reduce(np.append(panel.close[listed], 100)))
    start = np.maximum((start + tick // 2) // tick * tick, FLOOR)
    limits = np.where(panel.price_limit == NULL, NO_LIMIT, panel.price_limit)
    source = Source(
        cells=np.ascontiguousarray(cells),
        moves=np.nan_to_num(returns).astype(np.float32),
        limits=limits.astype(np.int32),
        index_moves=np.nan_to_num(market) if has_index else np.empty(0),
        fast=fast,
        slow=slow,
        first=first,
        tick=tick,
        board=board,
        board_start=np.searchsorted(np.sort(board), np.arange(len(boards) + 1)).astype(np.int32),
        board_names=np.argsort(board, kind="stable").astype(np.int32),
        halts=_places(kind >= HALT),
        ups=_places(kind == LOCK_UP),
        downs=_places(kind == LOCK_DOWN),
        split_above=np.maximum(2 * start, np.minimum(GROWTH * start, HIGHEST)),
    )
    return Drawn(panel, source, start)


def _start_prices(close: IntArray, listed: BoolArray) -> IntArray:
    """Each name's last close; the market's median for a name that was never listed."""
    last = len(close) - 1 - np.argmax(listed[::-1], axis=0)
    price = close[last, np.arange(close.shape[1])]
    ever = listed.any(axis=0)
    return np.where(ever, price, int(np.median(price[ever])))


def _places(mask: BoolArray) -> IntArray:
    return np.flatnonzero(mask).astype(np.int64)
