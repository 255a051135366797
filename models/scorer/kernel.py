"""The machine code of the scorer: bins, scores and attributions of a block of rows, all in int64.

A block of ``BLOCK`` rows is turned into columns; each value finds its bin through a grid (a shift
gives the grid cell, a table the thresholds before it, and at most a few branch-free halving steps
the rest); each pair adds both its attributions from one cell; the block is written back as rows.
Integer sums are exact in any order, so every block size and thread count gives the same bytes.

What was found to pay, each alone on one core: the grid cells of a block are found in a loop of
their own, which the compiler turns into vector instructions; ``NULL`` is the first threshold of
integer columns, so that missing values need no test; most main effects are part of a pair's cells,
and the first pair of such a feature writes where the others add (``Plan``); four rows are turned at
a time; a large result is written past the cache.

Indices are unsigned: numba would otherwise add a test for negative ones to every look-up.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from data_contracts.units import IntArray
from models.compiled import compiled

BLOCK: Final = 512
LARGE: Final = 1 << 20
"""Numbers of a result from which it is written past the cache, where it would not stay anyway."""
INTEGER, NUMBER, ORDERED, CATEGORY, UNUSED = range(5)
"""Kinds of column: int64 codes; float64 numbers by a linear grid, or by ordered codes where they
are skewed over many powers of two; float64 categories; features without a table."""

# columns of the features' plan; of a NUMBER, LOW, HIGH and SCALE are the bits of float64
KIND, LOW, HIGH, SHIFT, STEPS, AT_THRESHOLDS, AT_GRID, AT_MAIN, COUNT, SCALE, FOLDED = range(11)
FRESH: Final = 4
"""Column of the pairs' plan: 1 where the first feature's total is written, not added to, plus 2
where the second's is."""

_U = np.uint64
_NULL: Final = np.int64(-(2**63))
_MAGNITUDE: Final = np.int64(2**63 - 1)
_INFINITY: Final = np.int64(0x7FF0_0000_0000_0000)
_ZERO_VALUE: Final = np.float64(np.float32(1e-35))
_ZERO: Final = np.int64(np.float64(np.float32(1e-35)).view(np.int64))
_CATEGORIES_END: Final = 2.0**31


def _stored_past_cache(context: Any, array: Any, row: Any, column: Any, value: Any) -> Any:
    """``array[row, column] = value`` by a non-temporal store, for numba to build in."""
    numba_cgutils: Any = cgutils

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        made = _made_array(kind)(context, builder, arguments[0])
        at = [
            context.cast(builder, a, t, types.uintp)
            for a, t in zip(arguments[1:3], signature.args[1:3], strict=True)
        ]
        place = numba_cgutils.get_item_pointer(context, builder, kind, made, at, wraparound=False)
        store = builder.store(arguments[3], place)
        one = builder.module.add_metadata([numba_cgutils.int32_t(1)])
        store.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(array, row, column, value), build


_made_array: Any = make_array
_stream: Any = intrinsic(_stored_past_cache)


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
def _category_bins(column: IntArray, m: np.uint64, seen: IntArray, bins: Any) -> None:
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


@compiled
def _number_bins(
    column: IntArray,
    m: np.uint64,
    plan: IntArray,
    thresholds: IntArray,
    grid: Any,
    cells: Any,
    bins: Any,
) -> None:
    """Bins of float64 numbers by a linear grid.

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
        values[r] = x
        cells[r] = np.int64((inside - low) * scale)
    if steps == 1:
        for r in range(m):
            x, k = values[r], _U(grid[_U(cells[r])])
            bins[r] = k + _U(ends[k] < x) + _U(x == x)
    elif steps == 2:
        for r in range(m):
            x, k = values[r], _U(grid[_U(cells[r])])
            k += _U(2) * _U(ends[k + one] < x)
            bins[r] = k + _U(ends[k] < x) + _U(x == x)
    else:
        for r in range(m):
            x, k = values[r], _U(grid[_U(cells[r])])
            half = one << _U(steps)
            while half > one:
                half >>= one
                k += half * _U(ends[k + half - one] < x)
            bins[r] = k + _U(x == x)


@compiled
def _bins(
    column: IntArray,
    m: np.uint64,
    plan: IntArray,
    thresholds: IntArray,
    grid: Any,
    cells: Any,
    bins: Any,
) -> None:
    """Bins of codes; the first threshold is NULL, which no code but NULL fails to pass."""
    low, high, shift, steps = plan[LOW], plan[HIGH], _U(plan[SHIFT]), plan[STEPS]
    start, one = _U(low), _U(1)
    for r in range(m):
        cells[r] = (_U(min(max(column[r], low), high)) - start) >> shift
    if steps == 1:
        for r in range(m):
            k = _U(grid[_U(cells[r])])
            bins[r] = k + _U(thresholds[k] < column[r])
    elif steps == 2:
        for r in range(m):
            x, k = column[r], _U(grid[_U(cells[r])])
            k += _U(2) * _U(thresholds[k + one] < x)
            bins[r] = k + _U(thresholds[k] < x)
    else:
        for r in range(m):
            x, k = column[r], _U(grid[_U(cells[r])])
            half = one << _U(steps)
            while half > one:
                half >>= one
                k += half * _U(thresholds[k + half - one] < x)
            bins[r] = k


@compiled
def _add_pair(
    pair: IntArray,
    m: np.uint64,
    first: Any,
    second: Any,
    maps: npt.NDArray[np.int32],
    cells: IntArray,
    of_first: IntArray,
    of_second: IntArray,
) -> None:
    """Both attributions of a pair, added, or written where it is the first of its feature."""
    rows, places, fresh = maps[_U(pair[2]) :], maps[_U(pair[3]) :], pair[FRESH]
    if fresh == 0:
        for r in range(m):
            cell = _U(rows[_U(first[r])]) + _U(places[_U(second[r])])
            of_first[r] += cells[cell, _U(0)]
            of_second[r] += cells[cell, _U(1)]
    elif fresh == 1:
        for r in range(m):
            cell = _U(rows[_U(first[r])]) + _U(places[_U(second[r])])
            of_first[r] = cells[cell, _U(0)]
            of_second[r] += cells[cell, _U(1)]
    elif fresh == 2:
        for r in range(m):
            cell = _U(rows[_U(first[r])]) + _U(places[_U(second[r])])
            of_first[r] += cells[cell, _U(0)]
            of_second[r] = cells[cell, _U(1)]
    else:
        for r in range(m):
            cell = _U(rows[_U(first[r])]) + _U(places[_U(second[r])])
            of_first[r] = cells[cell, _U(0)]
            of_second[r] = cells[cell, _U(1)]


@compiled
def _turned(values: IntArray, start: Any, m: np.uint64, columns: IntArray) -> None:
    """A block of rows as columns, four rows at a time."""
    k, whole = _U(values.shape[1]), m - m % _U(4)
    for r in range(_U(0), whole, _U(4)):
        for f in range(k):
            for d in range(_U(4)):
                columns[f, r + d] = values[start + r + d, f]
    for r in range(whole, m):
        for f in range(k):
            columns[f, r] = values[start + r, f]


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
    at_grid = np.empty(width, np.uint16)
    explained, large = phi.shape[1] > 0, phi.size >= LARGE
    for start in range(_U(0), n, _U(BLOCK)):
        m = min(block, n - start)
        _turned(values, start, m, columns)
        for f in range(k):
            plan, into = plans[f], bins[f]
            kind = plan[KIND]
            at, by = thresholds[_U(plan[AT_THRESHOLDS]) :], grid[_U(plan[AT_GRID]) :]
            if kind == UNUSED:
                totals[f, :] = 0
                continue
            if kind == CATEGORY:
                _category_bins(columns[f], m, at[: _U(plan[COUNT])], into)
            elif kind == NUMBER:
                _number_bins(columns[f], m, plan, at, by, at_grid, into)
            else:
                if kind == ORDERED:
                    _number_codes(columns[f], m)
                _bins(columns[f], m, plan, at, by, at_grid, into)
            if not plan[FOLDED]:
                main, total = mains[_U(plan[AT_MAIN]) :], totals[f]
                for r in range(m):
                    total[r] = main[_U(into[r])]
        for p in range(_U(pairs.shape[0])):
            i, j = _U(pairs[p, 0]), _U(pairs[p, 1])
            _add_pair(pairs[p], m, bins[i], bins[j], maps, cells, totals[i], totals[j])
        for r in range(m):
            total_of_row = base
            if not explained:
                for f in range(k):
                    total_of_row += totals[f, r]
            elif large:
                for f in range(k):
                    part = totals[f, r]
                    total_of_row += part
                    _stream(phi, start + r, f, part)
            else:
                for f in range(k):
                    part = totals[f, r]
                    total_of_row += part
                    phi[start + r, f] = part
            score[start + r] = total_of_row


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
    column, number = np.empty(1, np.int64), np.empty(1, np.int64)
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
                _category_bins(column, one, seen, bins[f:])
                phi[r, f] = mains[main + bins[f]]
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
