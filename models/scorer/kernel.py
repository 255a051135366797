"""The machine code of the scorer: bins, scores and attributions of a block of rows, all in int64.

A block of ``BLOCK`` rows is turned into columns; each value finds its bin through a grid (a shift
gives the grid cell, a table the thresholds before it, and at most a few branch-free halving steps
the rest); each pair adds both its attributions from one cell; the block is written back as rows.
Integer sums are exact in any order, so every block size and thread count gives the same bytes.

Indices are unsigned: numba would otherwise add a test for negative ones to every look-up.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from data_contracts.units import IntArray
from models.compiled import compiled

BLOCK: Final = 512
INTEGER, NUMBER, ORDERED, CATEGORY, UNUSED = range(5)
"""Kinds of column: int64 codes; float64 numbers by a linear grid, or by ordered codes where they
are skewed over many powers of two; float64 categories; features without a table."""

# columns of the features' plan; of a NUMBER, LOW, HIGH and SCALE are the bits of float64
KIND, LOW, HIGH, SHIFT, STEPS, AT_THRESHOLDS, AT_GRID, AT_MAIN, COUNT, SCALE = range(10)

_U = np.uint64
_NULL: Final = np.int64(-(2**63))
_MAGNITUDE: Final = np.int64(2**63 - 1)
_INFINITY: Final = np.int64(0x7FF0_0000_0000_0000)
_ZERO_VALUE: Final = np.float64(np.float32(1e-35))
_ZERO: Final = np.int64(np.float64(np.float32(1e-35)).view(np.int64))
_CATEGORIES_END: Final = 2.0**31


@compiled
def _number_codes(column: IntArray, m: np.uint64) -> None:
    """Turn the bits of float64 numbers into ordered codes in place; NaN becomes NULL."""
    for r in range(m):
        bits = column[r]
        magnitude = bits & _MAGNITUDE
        code = bits if bits >= 0 else bits ^ _MAGNITUDE
        code = np.int64(0) if magnitude <= _ZERO else code
        column[r] = _NULL if magnitude > _INFINITY else code


@compiled
def _category_bins(
    column: IntArray, m: np.uint64, seen: IntArray, bins: Any, main: IntArray, total: IntArray
) -> None:
    """Bins of float64 categories: place among the seen ones plus one; anything else is 0."""
    values = column.view(np.float64)
    for r in range(m):
        value = values[r]
        place = _U(0)
        if value > -1.0 and value < _CATEGORIES_END:
            whole = np.int64(value)
            low, high = _U(0), _U(len(seen))
            while low < high:
                middle = (low + high) >> _U(1)
                if seen[middle] < whole:
                    low = middle + _U(1)
                else:
                    high = middle
            if low < _U(len(seen)) and seen[low] == whole:
                place = low + _U(1)
        bins[r] = place
        total[r] = main[place]


@compiled
def _number_bins(
    column: IntArray,
    m: np.uint64,
    plan: IntArray,
    thresholds: IntArray,
    grid: Any,
    bins: Any,
    main: IntArray,
    total: IntArray,
) -> None:
    """Bins of float64 numbers by a linear grid, and each row's main effect.

    Subtracting and scaling keep the order of doubles, so a number in another grid cell than a
    threshold lies on the side that the cells say; within a cell the doubles themselves decide.
    """
    values, ends, known = (
        column.view(np.float64),
        thresholds.view(np.float64),
        plan.view(np.float64),
    )
    low, high, scale = known[LOW], known[HIGH], known[SCALE]
    steps, one = plan[STEPS], _U(1)
    for r in range(m):
        x = values[r]
        x = 0.0 if abs(x) <= _ZERO_VALUE else x
        inside = x if x > low else low  # a missing value compares false
        inside = inside if inside < high else high
        k = _U(grid[_U(np.int64((inside - low) * scale))])
        if steps == 1:
            k += _U(ends[k] < x)
        elif steps == 2:
            k += _U(2) * _U(ends[k + one] < x)
            k += _U(ends[k] < x)
        else:
            half = one << _U(steps)
            while half > one:
                half >>= one
                k += half * _U(ends[k + half - one] < x)
        k += _U(x == x)
        bins[r] = k
        total[r] = main[k]


@compiled
def _bins(
    column: IntArray,
    m: np.uint64,
    plan: IntArray,
    thresholds: IntArray,
    grid: Any,
    bins: Any,
    main: IntArray,
    total: IntArray,
) -> None:
    """Bins of codes, and each row's main effect."""
    low, high, shift, steps = plan[LOW], plan[HIGH], _U(plan[SHIFT]), plan[STEPS]
    start, one = _U(low), _U(1)
    if steps == 1:
        for r in range(m):
            x = column[r]
            k = _U(grid[(_U(min(max(x, low), high)) - start) >> shift])
            k += _U(thresholds[k] < x) + _U(x != _NULL)
            bins[r] = k
            total[r] = main[k]
    elif steps == 2:
        for r in range(m):
            x = column[r]
            k = _U(grid[(_U(min(max(x, low), high)) - start) >> shift])
            k += _U(2) * _U(thresholds[k + one] < x)
            k += _U(thresholds[k] < x) + _U(x != _NULL)
            bins[r] = k
            total[r] = main[k]
    else:
        for r in range(m):
            x = column[r]
            k = _U(grid[(_U(min(max(x, low), high)) - start) >> shift])
            half = one << _U(steps)
            while half > one:
                half >>= one
                k += half * _U(thresholds[k + half - one] < x)
            k += _U(x != _NULL)
            bins[r] = k
            total[r] = main[k]


@compiled
def explain_rows(
    values: IntArray,
    plans: IntArray,
    thresholds: IntArray,
    grid: Any,
    mains: IntArray,
    pairs: IntArray,
    maps: npt.NDArray[np.int32],
    cells: IntArray,
    base: int,
    score: IntArray,
    phi: IntArray,
) -> None:
    """Score and attributions of rows, written into ``score`` (N,) and ``phi`` (N, K).

    ``values`` are int64 (N, K), of float tables the bits of float64. The other arrays are a
    ``models.scorer.plan.Plan``. A ``phi`` of no columns is not written: scores alone.
    """
    n, k = _U(values.shape[0]), _U(values.shape[1])
    block = min(_U(BLOCK), n)
    width = np.int64(block + _U(8))  # a width of a power of two would evict itself from the cache
    columns = np.empty((np.int64(k), width), np.int64)
    totals = np.empty((np.int64(k), width), np.int64)
    bins = np.empty((np.int64(k), width), grid.dtype)
    explained = phi.shape[1] > 0
    for start in range(_U(0), n, _U(BLOCK)):
        m = min(block, n - start)
        for r in range(m):
            for f in range(k):
                columns[f, r] = values[start + r, f]
        for f in range(k):
            plan = plans[f]
            kind, main = plan[KIND], mains[_U(plan[AT_MAIN]) :]
            if kind == UNUSED:
                totals[f, :] = 0
                continue
            at = thresholds[_U(plan[AT_THRESHOLDS]) :]
            if kind == CATEGORY:
                seen = at[: _U(plan[COUNT])]
                _category_bins(columns[f], m, seen, bins[f], main, totals[f])
                continue
            cells_of_grid = grid[_U(plan[AT_GRID]) :]
            if kind == NUMBER:
                _number_bins(columns[f], m, plan, at, cells_of_grid, bins[f], main, totals[f])
                continue
            if kind == ORDERED:
                _number_codes(columns[f], m)
            _bins(columns[f], m, plan, at, cells_of_grid, bins[f], main, totals[f])
        for p in range(_U(pairs.shape[0])):
            i, j = _U(pairs[p, 0]), _U(pairs[p, 1])
            rows, places = maps[_U(pairs[p, 2]) :], maps[_U(pairs[p, 3]) :]
            first, second, of_first, of_second = bins[i], bins[j], totals[i], totals[j]
            for r in range(m):
                cell = _U(rows[_U(first[r])]) + _U(places[_U(second[r])])
                of_first[r] += cells[cell, _U(0)]
                of_second[r] += cells[cell, _U(1)]
        for r in range(m):
            total = base
            if explained:
                for f in range(k):
                    part = totals[f, r]
                    total += part
                    phi[start + r, f] = part
            else:
                for f in range(k):
                    total += totals[f, r]
            score[start + r] = total


@compiled
def explain_few(
    values: IntArray,
    plans: IntArray,
    thresholds: IntArray,
    grid: Any,
    mains: IntArray,
    pairs: IntArray,
    maps: npt.NDArray[np.int32],
    cells: IntArray,
    base: int,
    score: IntArray,
    phi: IntArray,
) -> None:
    """What ``explain_rows`` does, row by row without turning blocks: quicker for a few rows."""
    n, k, one = _U(values.shape[0]), _U(values.shape[1]), _U(1)
    bins = np.empty(np.int64(k), np.uint64)
    column = np.empty(1, np.int64)
    total, number = np.empty(1, np.int64), np.empty(1, np.int64)
    doubles, ends = plans.view(np.float64), thresholds.view(np.float64)
    for r in range(n):
        for f in range(k):
            kind, x = plans[f, KIND], values[r, f]
            if kind == UNUSED:
                phi[r, f] = 0
                continue
            at, main = _U(plans[f, AT_THRESHOLDS]), _U(plans[f, AT_MAIN])
            if kind == CATEGORY:
                column[0] = x
                seen = thresholds[at : at + _U(plans[f, COUNT])]
                _category_bins(column, one, seen, bins[f:], mains[main:], total)
                phi[r, f] = total[0]
                continue
            place, half = _U(0), one << _U(plans[f, STEPS])
            if kind == NUMBER:
                number[0] = x
                value = number.view(np.float64)[0]
                value = 0.0 if abs(value) <= _ZERO_VALUE else value
                inside = max(value, doubles[f, LOW]) if value == value else doubles[f, LOW]
                inside = (min(inside, doubles[f, HIGH]) - doubles[f, LOW]) * doubles[f, SCALE]
                place = _U(grid[_U(plans[f, AT_GRID]) + _U(np.int64(inside))])
                while half > one:
                    half >>= one
                    place += half * _U(ends[at + place + half - one] < value)
                place += _U(value == value)
            else:
                if kind == ORDERED:
                    magnitude = x & _MAGNITUDE
                    x = x if x >= 0 else x ^ _MAGNITUDE
                    x = np.int64(0) if magnitude <= _ZERO else x
                    x = _NULL if magnitude > _INFINITY else x
                low = plans[f, LOW]
                cell = (_U(min(max(x, low), plans[f, HIGH])) - _U(low)) >> _U(plans[f, SHIFT])
                place = _U(grid[_U(plans[f, AT_GRID]) + cell])
                while half > one:
                    half >>= one
                    place += half * _U(thresholds[at + place + half - one] < x)
                place += _U(x != _NULL)
            bins[f] = place
            phi[r, f] = mains[main + place]
        for p in range(_U(pairs.shape[0])):
            i, j = _U(pairs[p, 0]), _U(pairs[p, 1])
            place = _U(maps[_U(pairs[p, 2]) + bins[i]]) + _U(maps[_U(pairs[p, 3]) + bins[j]])
            phi[r, i] += cells[place, _U(0)]
            phi[r, j] += cells[place, _U(1)]
        sum_of_parts = base
        for f in range(k):
            sum_of_parts += phi[r, f]
        score[r] = sum_of_parts
