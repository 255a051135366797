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
def survival(
    first: IntArray,
    symbol: IntArray,
    value: IntArray,
    paths: Int16Array,
    unit: int,
    weight: IntArray,
    budget: int,
    call: int,
    force: int,
    deadline: int,
    one: int,
    share: IntArray,
    chance: IntArray,
    error: IntArray,
) -> None:
    """Each book's largest debt over assets that all but ``budget`` of the paths survive.

    Parameters
    ----------
    first : int64, shape (B + 1,), where each book's holdings begin
    symbol, value : int64, shape (M,), of the holdings
    paths : int16, shape (N, H, P), value of a unit held in 1 / ``unit``
    weight : int64, shape (P,), of each path; ``budget`` is in the same unit, over all paths
    call, force : the lines, in ``one``; ``deadline`` sessions lie between a call and the sale
    share, chance, error : int64, shape (B,), filled: debt over assets in 1 / ``one``, the weight of
        the paths sold at it over the number of paths, and its standard error; ``share`` stays
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
        low, high = np.int64(0), np.int64(one)
        while low < high:
            middle = (low + high + 1) // 2
            edge = np.int32(middle)
            sold = np.int64(0)
            for p in range(count):
                sold += weight[p] if critical[p] < edge else np.int64(0)
            if sold <= budget:
                low = middle
            else:
                high = middle - 1
        sold, square = np.int64(0), np.int64(0)
        for p in range(count):
            if critical[p] < low:
                sold += weight[p]
                square += weight[p] * weight[p]
        mean = sold // count
        spread = max(square // count - mean * mean, 0) // count
        # integer square root, rounded up (Newton's method from above)
        root = np.int64(0)
        if spread > 0:
            root = np.int64(1) << 31
            nearer = (root + spread // root) // 2
            while nearer < root:
                root = nearer
                nearer = (root + spread // root) // 2
            if root * root < spread:
                root += 1
        share[b] = low
        chance[b] = -(-sold // count)
        error[b] = root
