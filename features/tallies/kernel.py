"""The loops over fills, compiled: sums of a session, then sums over windows of sessions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from data_contracts.units import BoolArray, FloatArray, IntArray

Int8Array = npt.NDArray[np.int8]
UInt8Array = npt.NDArray[np.uint8]
UInt32Array = npt.NDArray[np.uint32]
Int32Array = npt.NDArray[np.int32]
F = TypeVar("F", bound=Callable[..., object])

DAY_COLUMNS: Final = ("trades", "bought", "sold", "financed", "matched")
"""What is summed for a client and session. Values are in 0.0001 of a currency unit; ``financed`` is
the part of ``bought`` with borrowed money; ``matched`` the value bought and sold again, name by
name, in the same session."""
SUM_COLUMNS: Final = (*DAY_COLUMNS, "active")
"""What is summed over a window; ``active`` counts the sessions with a fill."""
WINDOWS: Final = (20, 60, 250)
DECAY: Final = 0.94
"""Daily weight of the decaying mean, RiskMetrics' choice."""
SMALL: Final = 48
"""Up to so many fills of a session are compared pair by pair; more are sorted first."""


def compiled(function: F) -> F:
    """Compile on first call, without the interpreter lock, float operations kept in order.

    What was compiled is kept beside the source, or in the user's cache; where neither can be
    written, each process compiles for itself.
    """
    try:
        kept = numba.njit(nogil=True, fastmath=False, error_model="numpy", cache=True)
        return cast(F, kept(function))
    except RuntimeError:
        plain = numba.njit(nogil=True, fastmath=False, error_model="numpy")
        return cast(F, plain(function))


def decay_powers(sessions: int) -> FloatArray:
    """Powers of ``DECAY``, by repeated multiplication, so that all builds use the same floats."""
    out = np.ones(sessions + 1)
    for k in range(sessions):
        out[k + 1] = out[k] * DECAY
    return out


@compiled
def _matched(rows: IntArray, name: IntArray, buy: BoolArray, value: IntArray) -> int:
    """Sum over the names of the smaller of value bought and value sold."""
    total = 0
    if len(rows) > SMALL:
        rows = rows[np.argsort(name[rows])]
        start = 0
        while start < len(rows):
            bought, sold, end = 0, 0, start
            while end < len(rows) and name[rows[end]] == name[rows[start]]:
                if buy[rows[end]]:
                    bought += value[rows[end]]
                else:
                    sold += value[rows[end]]
                end += 1
            total += min(bought, sold)
            start = end
        return total
    for i in range(len(rows)):
        bought, sold, first = 0, 0, True
        for j in range(len(rows)):
            if name[rows[j]] == name[rows[i]]:
                if j < i:
                    first = False
                    break
                if buy[rows[j]]:
                    bought += value[rows[j]]
                else:
                    sold += value[rows[j]]
        if first:
            total += min(bought, sold)
    return total


@compiled
def _fold(
    order: IntArray,
    client: IntArray,
    session: IntArray,
    name: IntArray,
    buy: BoolArray,
    value: IntArray,
    financed: BoolArray,
) -> tuple[Int32Array, Int32Array, IntArray]:
    who = np.empty(len(order), dtype=np.int32)
    when = np.empty(len(order), dtype=np.int32)
    numbers = np.zeros((len(order), len(DAY_COLUMNS)), dtype=np.int64)
    made, start = 0, 0
    while start < len(order):
        head = order[start]
        end, bought, sold, borrowed = start, 0, 0, 0
        while end < len(order):
            row = order[end]
            if client[row] != client[head] or session[row] != session[head]:
                break
            if buy[row]:
                bought += value[row]
                if financed[row]:
                    borrowed += value[row]
            else:
                sold += value[row]
            end += 1
        who[made] = client[head]
        when[made] = session[head]
        numbers[made, 0] = end - start
        numbers[made, 1] = bought
        numbers[made, 2] = sold
        numbers[made, 3] = borrowed
        if bought > 0 and sold > 0:
            numbers[made, 4] = _matched(order[start:end], name, buy, value)
        made += 1
        start = end
    return who[:made].copy(), when[:made].copy(), numbers[:made].copy()


def day_sums(
    client: IntArray,
    session: IntArray,
    name: IntArray,
    buy: BoolArray,
    value: IntArray,
    financed: BoolArray,
    sessions: int,
) -> tuple[Int32Array, Int32Array, IntArray]:
    """Client, session and ``DAY_COLUMNS`` of each client's session with a fill, in that order.

    ``name`` stands for the account and the symbol; ``sessions`` is the length of the calendar.
    """
    order = np.argsort(client * np.int64(sessions) + session, kind="stable")
    return _fold(order, client, session, name, buy, value, financed)


@compiled
def add_days(
    client: Int32Array,
    session: Int32Array,
    numbers: IntArray,
    t: int,
    powers: FloatArray,
    sums: IntArray,
    decayed: FloatArray,
    last: Int32Array,
) -> None:
    """Add days, in order of session for each client, to sums (windows, columns, clients).

    ``decayed`` is each client's decaying sum of traded value as of its ``last`` session, -1 for
    none.
    """
    for k in range(len(client)):
        c, s = client[k], session[k]
        for w in range(len(WINDOWS)):
            if s > t - WINDOWS[w]:
                for column in range(len(DAY_COLUMNS)):
                    sums[w, column, c] += numbers[k, column]
                sums[w, len(DAY_COLUMNS), c] += 1
        if last[c] >= 0:
            decayed[c] *= powers[s - last[c]]
        decayed[c] += float(numbers[k, 1] + numbers[k, 2])
        last[c] = s


@compiled
def take_days(
    client: Int32Array,
    numbers: IntArray,
    count: Int8Array,
    edges: IntArray,
    first: int,
    stop: int,
    sums: IntArray,
) -> None:
    """Take the days of sessions ``first`` to ``stop`` out of one window's sums.

    ``edges`` (groups, sessions + 1) says where the days of each session stand in each group;
    ``count`` is how many sessions a day is, negative for one that was taken back.
    """
    for group in range(len(edges)):
        for k in range(edges[group, first], edges[group, stop]):
            for column in range(len(DAY_COLUMNS)):
                sums[column, client[k]] -= numbers[k, column]
            sums[len(DAY_COLUMNS), client[k]] -= count[k]


@compiled
def find_hashes(
    wanted: UInt32Array,
    group: IntArray,
    hashes: UInt32Array,
    edges: IntArray,
    place: IntArray,
    count: IntArray,
) -> None:
    """Where each wanted hash stands among the ascending hashes of its group, and how often."""
    for k in range(len(wanted)):
        low, high = edges[group[k]], edges[group[k] + 1]
        end, size = high, high - low
        # Hashes are spread evenly: nearly always the place is near its share of the range.
        near = low + ((np.int64(wanted[k]) * size) >> 32)
        reach = 2 * int(np.sqrt(size)) + 2
        if near - reach > low and hashes[near - reach] < wanted[k]:
            low = near - reach
        if near + reach < high and hashes[near + reach] >= wanted[k]:
            high = near + reach
        while low < high:
            middle = (low + high) // 2
            if hashes[middle] < wanted[k]:
                low = middle + 1
            else:
                high = middle
        place[k] = low
        while low < end and hashes[low] == wanted[k]:
            low += 1
        count[k] = low - place[k]


@compiled
def hash_texts(start: IntArray, held: UInt8Array, out: UInt32Array) -> None:
    """FNV-1a hashes of texts, given where each begins in their bytes and the last ends."""
    for k in range(len(out)):
        found = 2166136261
        for j in range(start[k], start[k + 1]):
            found = ((found ^ held[j]) * 16777619) & 0xFFFFFFFF
        out[k] = found


@compiled
def copy_ranges(source: UInt8Array, start: IntArray, stop: IntArray, out: UInt8Array) -> None:
    """Copy ranges of bytes one after the other."""
    at = 0
    for k in range(len(start)):
        for j in range(start[k], stop[k]):
            out[at] = source[j]
            at += 1
