"""Tables laid out for the kernel: one set of bins a feature, and pair tables without repetition.

The thresholds of all tables of a feature are joined, so that each value is binned once. A pair
table maps those bins to its distinct rows and columns: bins that no cell tells apart share one,
which keeps all tables of a model in the processor's second-level cache.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from data_contracts.errors import InputError
from data_contracts.units import NULL, FloatArray, IntArray

if TYPE_CHECKING:
    from models.scorer.front import FloatFront
    from models.scorer.tables import AdditiveTables

MOST_BINS: Final = 1 << 16
_GRIDS: Final = (256, 1024, 4096)
_END: Final = np.iinfo(np.int64).max
_INFINITE: Final = int(np.array(np.inf).view(np.int64))
_LEAST_ROWS_A_THREAD: Final = 4096
_FEW_ROWS: Final = 8
_FOLDED_GROWTH: Final = 1.25


def bin_ends(splits: IntArray) -> IntArray:
    """A value of each bin but the missing one: its upper end."""
    return np.append(splits, _END)


def fine_bins(fine: IntArray, splits: IntArray) -> IntArray:
    """The bin under ``splits`` of each bin under ``fine``, a superset of them; 0 stays missing."""
    return np.append(0, 1 + np.searchsorted(splits, bin_ends(fine), side="left"))


def joined_splits(tables: AdditiveTables, feature: int) -> IntArray:
    """The thresholds of all tables of a feature, ascending."""
    return np.unique(
        np.concatenate(
            [np.zeros(0, dtype=np.int64)]
            + [
                s
                for e in tables.effects
                for f, s in zip(e.features, e.splits, strict=True)
                if f == feature
            ]
        )
    )


@dataclass(frozen=True)
class Plan:
    """The arrays of one table set that ``models.scorer.kernel`` reads."""

    plans: IntArray
    thresholds: IntArray
    grid: npt.NDArray[Any]
    mains: IntArray
    pairs: IntArray
    maps: npt.NDArray[np.int32]
    cells: IntArray
    base: int

    @cached_property
    def _many(self) -> Callable[..., None]:
        from models.scorer.kernel import explain_rows

        return explain_rows

    @cached_property
    def _few(self) -> Callable[..., None]:
        from models.scorer.kernel import explain_few

        return explain_few

    @cached_property
    def _arrays(self) -> tuple[Any, ...]:
        return (
            self.plans,
            self.thresholds,
            self.grid,
            self.mains,
            self.pairs,
            self.maps,
            self.cells,
            self.base,
        )

    @property
    def bytes(self) -> int:
        """Size of all look-up arrays."""
        arrays = (self.thresholds, self.grid, self.mains, self.maps, self.cells)
        return sum(a.nbytes for a in arrays)

    def run(
        self, values: IntArray, score: IntArray, phi: IntArray, threads: int | None = None
    ) -> None:
        """Fill ``score`` (N,) and, if it has columns, ``phi`` (N, K), from C-ordered ``values``."""
        n = len(values)
        if n <= _FEW_ROWS and phi.shape[1]:
            self._few(values, *self._arrays, score, phi)
            return
        parts = 1 if threads is None else min(threads, max(1, n // _LEAST_ROWS_A_THREAD))
        if parts == 1:
            self._many(values, *self._arrays, score, phi)
            return
        ends = [n * k // parts for k in range(parts + 1)]
        with ThreadPoolExecutor(parts) as pool:
            waits = [
                pool.submit(self._many, values[a:b], *self._arrays, score[a:b], phi[a:b])
                for a, b in itertools.pairwise(ends)
            ]
            for wait in waits:
                wait.result()


@dataclass(frozen=True)
class _Grid:
    """How values find the thresholds near them."""

    kind: int
    low: int
    high: int
    shift: int
    steps: int
    before: IntArray
    scale: int


def _cells(at: IntArray) -> tuple[IntArray, int]:
    """Thresholds before each grid cell, and the halving steps that part any cell."""
    per_cell = np.bincount(at)
    return np.append(0, np.cumsum(per_cell)[:-1]), int(per_cell.max()).bit_length()


def _ordered_grid(kind: int, splits: IntArray, size: int) -> _Grid:
    """A grid over int64 codes: a shift of their distance from below the first threshold.

    ``NULL`` counts as a threshold before all others, and has the first cell to itself unless the
    codes begin too low for that.
    """
    if len(splits) == 0:
        return _Grid(kind, 0, 0, 0, 1, np.zeros(1, dtype=np.int64), 0)
    low, high = int(splits[0]), int(splits[-1])
    shift = max(0, (high - low).bit_length() - size.bit_length() + 1)
    low = max(low - (1 << shift), NULL)
    at = np.array([0, *((int(s) - low) >> shift for s in splits)], dtype=np.int64)
    before, steps = _cells(at)
    return _Grid(kind, low, high, shift, steps, before, 0)


def _linear_grid(kind: int, ends: FloatArray, size: int) -> _Grid | None:
    """A grid over doubles: the scaled distance from the first threshold; None if out of range."""
    low, high = ends[0], ends[-1]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = (size - 1) / (high - low) if len(ends) > 1 else np.float64(0.0)
        at = (ends - low) * scale
    if not np.isfinite(scale) or not np.isfinite(at).all() or at[-1] >= 2 * size:
        return None
    before, steps = _cells(at.astype(np.int64))
    low_bits, high_bits, scale_bits = np.array([low, high, scale]).view(np.int64).tolist()
    return _Grid(kind, low_bits, high_bits, 0, steps, before, scale_bits)


def _best_grid(searched: IntArray, numbers: bool) -> _Grid:
    """The grid with the fewest halving steps, the smaller one in a tie; two steps are enough."""
    from models.scorer.front import numbers_of_codes
    from models.scorer.kernel import INTEGER, NUMBER, ORDERED

    best = _ordered_grid(ORDERED if numbers else INTEGER, searched, _GRIDS[0])
    for size in _GRIDS:
        found: list[_Grid | None] = [_ordered_grid(best.kind, searched, size)]
        if numbers and len(searched):
            found.insert(0, _linear_grid(NUMBER, numbers_of_codes(searched), size))
        for grid in found:
            if grid is not None and max(2, grid.steps) < max(2, best.steps):
                best = grid
    if numbers and len(searched) and best.kind == ORDERED and best.steps <= 2:
        linear = _linear_grid(NUMBER, numbers_of_codes(searched), _GRIDS[0])
        if linear is not None and linear.steps <= 2:
            best = linear
    return best


def _distinct(table: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct slices along the first axis, and which of them each slice is."""
    flat = table.reshape(len(table), -1)
    _, first, place = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    return table[first], place.ravel()


def plan_of(tables: AdditiveTables, front: FloatFront | None = None) -> Plan:
    """Lay out tables over int64 codes, or over the raw columns of a front.

    Raises
    ------
    InputError
        If a feature has more bins than a bin number can hold.
    """
    from models.scorer import kernel
    from models.scorer.front import numbers_of_codes

    k = tables.n_features
    plans = np.zeros((k, 11), dtype=np.int64)
    thresholds: list[IntArray] = []
    grids: list[IntArray] = []
    fine: list[IntArray] = []
    used = {f for e in tables.effects for f in e.features}
    for f in range(k):
        seen = None if front is None else front.categories[f]
        splits = joined_splits(tables, f)
        kind = kernel.INTEGER if front is None else kernel.NUMBER
        searched = splits
        if seen is not None:
            kind, searched = kernel.CATEGORY, seen
            splits = np.arange(max(len(seen) - 1, 0), dtype=np.int64)
        if len(splits) + 2 > MOST_BINS:
            raise InputError(
                f"feature {f} has {len(splits) + 2} bins; a bin number holds {MOST_BINS}"
            )
        fine.append(splits)
        if kind == kernel.NUMBER:
            searched = searched[searched < _INFINITE]  # no number lies above an infinite one
        found = _best_grid(searched, kind == kernel.NUMBER)
        if kind != kernel.CATEGORY:
            kind = found.kind
        ends = searched
        if kind == kernel.NUMBER:
            ends = numbers_of_codes(searched).view(np.int64)
        elif kind != kernel.CATEGORY:
            ends = np.append(NULL, searched)
        end = _INFINITE if kind == kernel.NUMBER else _END
        plans[f, : kernel.AT_MAIN] = (
            kind if f in used else kernel.UNUSED,
            found.low,
            found.high,
            found.shift,
            found.steps,
            sum(map(len, thresholds)),
            sum(map(len, grids)),
        )
        plans[f, kernel.COUNT], plans[f, kernel.SCALE] = len(searched), found.scale
        thresholds.append(np.append(ends, np.full(1 << found.steps, end)))
        grids.append(found.before)
    mains = [np.zeros(len(s) + 2, dtype=np.int64) for s in fine]
    for e in tables.effects:
        if len(e.features) == 1:
            mains[e.features[0]] += e.first[fine_bins(fine[e.features[0]], e.splits[0])]
    plans[:, kernel.AT_MAIN] = np.cumsum([0, *map(len, mains)])[:-1]
    most = max((len(m) for m in mains), default=0)
    pairs, maps, cells, folded = _laid_out(tables, fine, mains)
    plans[sorted(folded), kernel.FOLDED] = 1
    for f in folded:
        mains[f][:] = 0
    return Plan(
        plans,
        _joined(thresholds),
        _joined(grids).astype(np.uint8 if most <= 256 else np.uint16),
        _joined(mains),
        np.array(pairs, dtype=np.int64).reshape(-1, 5),
        _joined(maps).astype(np.int32),
        np.concatenate([np.zeros((0, 2), dtype=np.int64), *cells]),
        tables.base_attribution,
    )


_Distinct = tuple[IntArray, IntArray, IntArray]


def _without_repetition(both: IntArray) -> _Distinct:
    """Distinct rows and columns of a pair's cells, and which of them each bin has."""
    rows, row = _distinct(both)
    columns, column = _distinct(rows.swapaxes(0, 1))
    return columns.swapaxes(0, 1), row, column


def _laid_out(
    tables: AdditiveTables, fine: Sequence[IntArray], mains: Sequence[IntArray]
) -> tuple[list[tuple[int, ...]], list[IntArray], list[IntArray], set[int]]:
    """The pairs: their plan, maps and cells, and the features whose main effect is in a pair.

    A main effect goes into the cells of the first of its pairs whose table it makes at most
    ``_FOLDED_GROWTH`` larger, because it tells apart no more bins than the pair does already.
    """
    pairs: list[tuple[int, ...]] = []
    maps: list[IntArray] = []
    cells: list[IntArray] = []
    folded: set[int] = set()
    for e in tables.effects:
        if len(e.features) == 1:
            continue
        at = [fine_bins(fine[f], s) for f, s in zip(e.features, e.splits, strict=True)]
        both = np.stack([e.first, e.score - e.constant - e.first], axis=2)[np.ix_(*at)]
        found = _without_repetition(both)
        for side, f in enumerate(e.features):
            if f in folded:
                continue
            with_main = both.copy()
            with_main[:, :, side] += mains[f][:, None] if side == 0 else mains[f][None, :]
            larger = _without_repetition(with_main)
            if larger[0].size <= found[0].size * _FOLDED_GROWTH:
                both, found = with_main, larger
                folded.add(f)
        table, row, column = found
        offset, held = sum(map(len, cells)), sum(map(len, maps))
        maps += [row * table.shape[1] + offset, column]
        pairs.append((*e.features, held, held + len(row), 0))
        cells.append(table.reshape(-1, 2))
    begun = set(range(tables.n_features)) - folded
    for p, (i, j, *places, _) in enumerate(pairs):
        pairs[p] = (i, j, *places, (i not in begun) + 2 * (j not in begun))
        begun |= {i, j}
    return pairs, maps, cells, folded


def _joined(arrays: Sequence[IntArray]) -> IntArray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *arrays])
