"""The compiled generator: one path of a market, session by session, from source cells.

The only implementation: a generated market is one path of it, continuations are many.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from data_contracts.units import RATIO_ONE, FloatArray, IntArray
from training.lab.compiled import compiled
from training.lab.generated.source import (
    FAST,
    FLOOR,
    HALT,
    HALTED,
    KIND,
    LOCK_DOWN,
    LOCK_UP,
    SLOW,
    UNUSABLE,
    Source,
)
from training.lab.market import BUYABLE, LISTED, SELLABLE
from training.lab.random import client_key, mix, uniform

SUSPENDED: Final = 32
"""Flag of a suspended name, beside those of ``training.lab.market`` and ``SPECIAL``."""
SPLIT: Final = 64
"""Old shares become this many."""
_ATTRIBUTES = np.uint8(0xFF ^ KIND)
_UNIT = 100 * RATIO_ONE
_TOP = 1e17
MOST: Final = 2_000_000_000
"""No price of a continuation is greater: they are int32."""
_PROBES = 8
_CONTINUED = np.uint64(0xA0761D6478BD642F)
"""Separates the numbers of continuations from those of the path that they continue."""
ROW, AGE, TIME = 0, 1, 2
V_FAST, V_SLOW, EXCESS, LEVEL = 0, 1, 2, 3


class State(NamedTuple):
    """Where a path stands after its last session; the kernel changes it in place.

    ``close`` (N,) in 0.0001; ``carry`` (N,) what a name has still to move, as a factor; ``status``
    (N,) the kind of its last cell; ``donor`` (N,) whose cells it takes, -1 for none yet; ``halt``
    (N,) the source session of a name on its own clock, else -1; ``clock`` the market's source
    session, the block's age, sessions generated so far; ``market`` fast and slow variance, the
    excess of the squared rescaling factor over one, the index level.
    """

    close: IntArray
    carry: FloatArray
    status: npt.NDArray[np.uint8]
    donor: npt.NDArray[np.int32]
    halt: npt.NDArray[np.int32]
    clock: IntArray
    market: FloatArray


class Plan(NamedTuple):
    """Chance that a block ends, cap and floor of the squared factor, what of it a session keeps."""

    ends: float
    lowest: float
    highest: float
    kept: float


class Trace(NamedTuple):
    """Per session: reference prices (S, N), source session and name of each cell, market row."""

    reference: IntArray
    row: npt.NDArray[np.int32]
    donor: npt.NDArray[np.int32]
    market: npt.NDArray[np.int32]


@compiled
def _usable(kind: Any) -> Any:
    """Whether a name that follows the market may take a cell: trading, or halted from there on."""
    return kind != UNUSABLE and kind != HALTED


@compiled
def _pick(source: Source, row: int, name: int, key: Any, time: int) -> int:
    """Another name of the board with a usable cell, else any name with one, else -1."""
    own = mix(key ^ np.uint64(name + 1))
    low = source.board_start[source.board[name]]
    count = source.board_start[source.board[name] + 1] - low
    place = 0
    for probe in range(_PROBES):
        place = int(uniform(own, time, probe) * count)
        found = source.board_names[low + place]
        if _usable(source.cells[row, found] & KIND):
            return int(found)
    for step in range(1, count):
        found = source.board_names[low + (place + step) % count]
        if _usable(source.cells[row, found] & KIND):
            return int(found)
    every = len(source.board)
    place = int(uniform(own, time, _PROBES) * every)
    for step in range(every):
        other = (place + step) % every
        if _usable(source.cells[row, other] & KIND):
            return other
    return -1


@compiled
def _market_row(source: Source, plan: Plan, state: State, key: Any, fresh: bool) -> bool:
    """Move the market to its next source session; True where a block begins."""
    clock, market = state.clock, state.market
    time = clock[TIME]
    rows = len(source.cells)
    begins = fresh or time == 0 or uniform(key, time, 0) < plan.ends
    if begins:
        span = rows - source.first
        clock[ROW] = source.first + int(uniform(key, time, 1) * span)
    elif clock[ROW] + 1 == rows:
        clock[ROW] = source.first
        begins = True
    else:
        clock[ROW] += 1
        clock[AGE] += 1
    row = clock[ROW]
    if begins:
        clock[AGE] = 0
        if market[V_FAST] <= 0.0 and market[V_SLOW] <= 0.0:  # a market begins as its block did
            market[V_FAST], market[V_SLOW] = source.fast[row], source.slow[row]
        there = max(source.fast[row], source.slow[row])
        ratio = max(market[V_FAST], market[V_SLOW]) / there
        market[EXCESS] = min(max(ratio, plan.lowest), plan.highest) - 1.0
    else:
        market[EXCESS] *= plan.kept
    return begins


@compiled
def _reopen(source: Source, state: State, key: Any) -> None:
    """Give every halted or locked name a source cell of its kind to go on from.

    What the path's own source cells hold next is not known to anybody inside the market.
    """
    names = len(state.close)
    for j in range(names):
        state.halt[j] = -1
        state.donor[j] = -1
        status = state.status[j]
        if status >= HALT:
            cells = source.halts
        elif status == LOCK_UP:
            cells = source.ups
        elif status == LOCK_DOWN:
            cells = source.downs
        else:
            continue
        if len(cells) == 0:
            continue
        own = mix(key ^ np.uint64(j + 1))
        chosen = cells[int(uniform(own, state.clock[TIME], 0) * len(cells))]
        state.halt[j] = chosen // names
        state.donor[j] = chosen % names


@compiled
def advance(
    source: Source, plan: Plan, state: State, key: Any, fresh: bool, splits: bool,
    close: Any, flags: Any, index: Any, trace: Trace,
) -> None:  # fmt: skip
    """Generate the next ``len(close)`` sessions of a path.

    Parameters
    ----------
    fresh : a new block begins at once, and halted names go on from any halted cell
    splits : whether a price that has grown beyond reason is split, by its reference price
    close, flags : shape (S, N), filled; index : (S,), its level, filled where there is an index
    trace : filled unless its arrays are empty
    """
    sessions, names = close.shape
    traced = len(trace.row) > 0
    rows = len(source.cells)
    unit = float(source.tick)
    if fresh:
        _reopen(source, state, key)
    for s in range(sessions):
        begins = _market_row(source, plan, state, key, fresh and s == 0)
        time, at = state.clock[TIME], state.clock[ROW]
        factor = np.sqrt(1.0 + state.market[EXCESS])
        total, count = 0.0, 0
        for j in range(names):
            # The cell: on its own clock a name goes on in its source, else it follows the market.
            row, donor, scale = at, state.donor[j], factor
            own_clock = False
            if state.halt[j] >= 0:
                row = state.halt[j] + 1
                own_clock = row < rows and source.cells[row, donor] & KIND != UNUSABLE
                if own_clock:
                    scale = 1.0
                else:
                    row, donor = at, -1
                    state.halt[j] = -1
            if not own_clock:
                if begins or donor < 0 or not _usable(source.cells[row, donor] & KIND):
                    donor = j
                    if not _usable(source.cells[row, j] & KIND):
                        donor = _pick(source, row, j, key, time)
                state.donor[j] = donor
                if donor < 0:
                    donor = j
            cell = source.cells[row, donor]
            kind = cell & KIND
            flag = np.uint8((cell & _ATTRIBUTES) | LISTED)
            previous = state.close[j]
            reference = previous
            if kind >= HALT:
                state.halt[j] = row
                flag |= np.uint8(SUSPENDED)
            else:
                if own_clock:
                    locked = kind in (LOCK_UP, LOCK_DOWN)
                    state.halt[j] = row if locked else -1
                    if not locked:
                        state.donor[j] = -1
                if splits and previous > source.split_above[j]:
                    reference = max(previous // SPLIT // source.tick * source.tick, FLOOR)
                carry = state.carry[j]
                wanted = carry * (1.0 + scale * source.moves[row, donor])
                price = np.int64(np.floor(reference * wanted / unit + 0.5)) * source.tick
                flag |= np.uint8(BUYABLE | SELLABLE)
                carried = 1.0
                limit = np.int64(source.limits[row, donor])
                if limit >= 0:
                    up = (reference * (RATIO_ONE + limit) + _UNIT // 2) // _UNIT * 100
                    down = (reference * (RATIO_ONE - limit) + _UNIT // 2) // _UNIT * 100
                    if price >= up or (kind == LOCK_UP and carry >= 1.0):
                        carried = max(reference * wanted / up, 1.0)
                        price = up
                    elif price <= down or (kind == LOCK_DOWN and carry <= 1.0):
                        carried = min(reference * wanted / down, 1.0)
                        price = down
                    if price < FLOOR:
                        price, carried = min(np.int64(FLOOR), up), 1.0
                    if price >= up:
                        flag ^= np.uint8(BUYABLE)
                    if price <= down:
                        flag ^= np.uint8(SELLABLE)
                elif price < FLOOR:
                    price = np.int64(FLOOR)
                if not splits:
                    price = min(price, np.int64(MOST))
                state.close[j] = price
                state.carry[j] = carried
                total += price / reference - 1.0
                count += 1
            state.status[j] = kind
            close[s, j] = state.close[j]
            flags[s, j] = flag
            if traced:
                trace.reference[s, j] = reference
                trace.row[s, j] = row
                trace.donor[s, j] = donor
        moved = total / count if count > 0 else 0.0
        if len(source.index_moves) > 0:
            moved = factor * source.index_moves[at]
            state.market[LEVEL] = min(max(state.market[LEVEL] * (1.0 + moved), 1.0), _TOP)
            index[s] = np.int64(np.rint(state.market[LEVEL]))
        state.market[V_FAST] = FAST * state.market[V_FAST] + (1.0 - FAST) * moved * moved
        state.market[V_SLOW] = SLOW * state.market[V_SLOW] + (1.0 - SLOW) * moved * moved
        state.clock[TIME] = time + 1
        if traced:
            trace.market[s] = at


@compiled
def path_key(seed: int, path: int) -> Any:
    """The key of a generated market's own numbers (path 0)."""
    return client_key(seed, path)


@compiled
def advance_many(
    source: Source, plan: Plan, state: State, seed: int, low: int,
    close: Any, flags: Any, index: Any, trace: Trace,
) -> None:  # fmt: skip
    """Continuations ``low, low + 1, ...`` of a state, which is left as it is.

    ``close`` and ``flags`` have the shape (P, S, N), ``index`` (P, S).
    """
    for p in range(len(close)):
        own = State(
            state.close.copy(), state.carry.copy(), state.status.copy(), state.donor.copy(),
            state.halt.copy(), state.clock.copy(), state.market.copy(),
        )  # fmt: skip
        key = mix(client_key(seed, low + p) ^ _CONTINUED)
        advance(source, plan, own, key, True, False, close[p], flags[p], index[p], trace)
