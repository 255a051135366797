"""Compiled loops of the path limit: integers only, so that no order of work changes it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from data_contracts.units import IntArray
from models.compiled import compiled

Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]


@compiled
def walk(
    moves: Int32Array,
    limit: IntArray,
    days: Int32Array,
    suspended: int,
    one: int,
    unit: int,
    out: Int16Array,
) -> None:
    """Value of a unit held of each name along each path, shape (N, H, P), in 1 / ``unit``.

    What a price limit cuts off is carried over to the next session; a suspension keeps the value.
    A value rises at most to what ``out`` can hold: no gain above that is counted.
    """
    paths, horizon = days.shape
    start = np.int64(1_000_000_000)
    most_level = start * 1000
    top = np.int64(32767)
    for i in range(moves.shape[0]):
        most = limit[i]
        for p in range(paths):
            level, carried = start, np.int64(0)
            for h in range(horizon):
                x = np.int64(moves[i, days[p, h]])
                if x != suspended:
                    wanted = carried + x
                    done = min(max(wanted, -most), most)
                    carried = wanted - done
                    level = min(level * (one + done) // one, most_level)
                out[i, h, p] = min(level * unit // start, top)


@compiled
def _root_up(value: np.int64) -> np.int64:
    """Integer square root, rounded up (Newton's method from above)."""
    root = np.int64(0)
    if value > 0:
        root = np.int64(1) << 31
        nearer = (root + value // root) // 2
        while nearer < root:
            root = nearer
            nearer = (root + value // root) // 2
        if root * root < value:
            root += 1
    return root


@compiled
def stretched(margin: int, add_on: int, stretch: int, one: int) -> int:
    """Least margin beside an add-on at which debt is ``stretch`` times that at a base margin.

    With D = E (1 - m) / m, m' / (1 - m') = m / (1 - m) / stretch of both margins with the add-on.
    Rounded up, and never above the base margin.
    """
    both = min(margin + add_on, one)
    room = both + stretch * (one - both) // one
    return min(-(-both * one // room) - add_on, margin) if room > 0 else margin


@compiled
def survival(
    first: IntArray,
    symbol: IntArray,
    value: IntArray,
    paths: Int16Array,
    unit: int,
    weight: IntArray,
    budget: IntArray,
    base: int,
    stretch: int,
    add_on: IntArray,
    call: int,
    force: int,
    deadline: int,
    one: int,
    share: IntArray,
    chance: IntArray,
    error: IntArray,
) -> None:
    """Each book's largest debt over assets that all but a budget of the paths survive.

    One walk along the paths serves every budget.

    Parameters
    ----------
    first : int64, shape (B + 1,), where each book's holdings begin
    symbol, value : int64, shape (M,), of the holdings
    paths : int16, shape (N, H, P), value of a unit held in 1 / ``unit``
    weight : int64, shape (P,), of each path
    budget : int64, shape (T,), in the same unit, over all paths, never rising; before the place
        ``base`` a debt is at most ``stretch`` times that at ``base``
    add_on : int64, shape (B,), margin asked for beside the paths', which that bound counts too
    call, force : the lines, in ``one``; ``deadline`` sessions lie between a call and the sale
    share, chance, error : int64, shape (B, T), filled: debt over assets in 1 / ``one``, the weight
        of the paths sold at it over the number of paths, and its standard error; they stay
        untouched for a book that is worth nothing
    """
    count, horizon = paths.shape[2], paths.shape[1]
    whole = np.int64(65536)
    now = np.empty(count, dtype=np.int32)
    kept = max(deadline, 1)
    before = np.empty((kept, count), dtype=np.int32)
    highest = np.empty(count, dtype=np.int32)
    lowest = np.empty(count, dtype=np.int32)
    called = np.empty(count, dtype=np.int32)
    critical = np.empty(count, dtype=np.int32)
    ordered = np.empty(count, dtype=np.int32)
    weighs = np.empty(count, dtype=np.int64)
    for b in range(len(first) - 1):
        total = np.int64(0)
        for k in range(first[b], first[b + 1]):
            total += value[k]
        if total <= 0:
            continue
        held = np.int64(0)
        for k in range(first[b], first[b + 1]):
            held += value[k] * whole // total
        begin = np.int32(held * unit)
        for p in range(count):
            lowest[p] = begin
            called[p] = begin
            for d in range(deadline):
                before[d, p] = begin
        for h in range(horizon):
            for p in range(count):
                now[p] = 0
            for k in range(first[b], first[b + 1]):
                part = np.int32(value[k] * whole // total)
                row = paths[symbol[k], h]
                for p in range(count):
                    now[p] += np.int32(part * np.int32(row[p]))
            # below the call line at every close of the deadline and at the one of the call
            for p in range(count):
                lowest[p] = min(lowest[p], now[p])
                highest[p] = now[p]
            for d in range(deadline):
                row_before = before[d]
                for p in range(count):
                    highest[p] = max(highest[p], row_before[p])
            row_before = before[h % kept]
            for p in range(count):
                called[p] = min(called[p], highest[p])
                row_before[p] = now[p]
        for p in range(count):
            a = np.int64(lowest[p]) * one // force
            c = np.int64(called[p]) * one // call
            critical[p] = min(min(a, c) * one // (whole * unit), np.int64(one))
        # the most debt at the largest budget: the paths that it leaves whole matter to none
        low, high = np.int64(0), np.int64(one)
        while low < high:
            middle = (low + high + 1) // 2
            edge = np.int32(middle)
            sold = np.int64(0)
            for p in range(count):
                sold += weight[p] if critical[p] < edge else np.int64(0)
            if sold <= budget[0]:
                low = middle
            else:
                high = middle - 1
        # those that it sells, and the next, in order of the debt from which on they are
        some = 0
        for p in range(count):
            if critical[p] <= low:
                at = some
                while at > 0 and ordered[at - 1] > critical[p]:
                    ordered[at] = ordered[at - 1]
                    weighs[at] = weighs[at - 1]
                    at -= 1
                ordered[at] = critical[p]
                weighs[at] = weight[p]
                some += 1
        for back in range(len(budget)):
            # the base first, then what is bounded by it
            t = (base + back) % len(budget)
            sold, found = np.int64(0), low
            for p in range(some):
                sold += weighs[p]
                if sold > budget[t]:
                    found = min(np.int64(ordered[p]), low)
                    break
            if t < base:
                bound = one - stretched(one - share[b, base], add_on[b], stretch, one)
                found = min(found, np.int64(bound))
            sold, square = np.int64(0), np.int64(0)
            for p in range(some):
                if ordered[p] >= found:
                    break
                sold += weighs[p]
                square += weighs[p] * weighs[p]
            mean = sold // count
            spread = max(square // count - mean * mean, 0) // count
            share[b, t] = found
            chance[b, t] = -(-sold // count)
            error[b, t] = _root_up(spread)
