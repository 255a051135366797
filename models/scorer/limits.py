"""The range of scores that tables can give, with the bins that attain its ends.

The least sum over all combinations of bins is found by eliminating one feature after another: exact
while the intermediate tables stay small, which for sparse pairs they do. Otherwise the sum of the
least cells bounds it, and a search by coordinates gives a score that is attained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from data_contracts.units import NULL, IntArray
from models.scorer.plan import bin_ends, fine_bins, joined_splits
from models.scorer.tables import AdditiveTables

LARGEST_TABLE: Final = 4_000_000
_Factor = tuple[tuple[int, ...], IntArray]


@dataclass(frozen=True)
class Range:
    """Bounds of the score in 2**-40; ``exact`` if the witnesses (codes, (K,)) attain them."""

    low: int
    high: int
    exact: bool
    low_witness: IntArray
    high_witness: IntArray


def _aligned(factor: _Factor, features: tuple[int, ...], sizes: dict[int, int]) -> IntArray:
    """A factor as an array over the given ascending features, of length 1 where it has none."""
    return factor[1].reshape([sizes[f] if f in factor[0] else 1 for f in features])


def _least(factors: list[_Factor], sizes: dict[int, int]) -> dict[int, int] | None:
    """The bin of each feature at the least sum; None if a table would be too large."""
    left, todo = list(factors), set(sizes)
    steps: list[tuple[int, tuple[int, ...], IntArray]] = []
    while todo:
        around = {
            f: tuple(sorted({g for fs, _ in left if f in fs for g in fs} | {f})) for f in todo
        }
        cost = {f: int(np.prod([float(sizes[g]) for g in around[f]])) for f in todo}
        f = min(todo, key=lambda g: (cost[g], g))
        if cost[f] > LARGEST_TABLE:
            return None
        features = around[f]
        table = np.zeros([sizes[g] for g in features], dtype=np.int64)
        for factor in left:
            if f in factor[0]:
                table = table + _aligned(factor, features, sizes)
        axis = features.index(f)
        others = tuple(g for g in features if g != f)
        steps.append((f, others, table.argmin(axis=axis)))
        left = [x for x in left if f not in x[0]]
        left.append((others, table.min(axis=axis)))
        todo.remove(f)
    at: dict[int, int] = {}
    for f, others, best in reversed(steps):
        at[f] = int(best[tuple(at[g] for g in others)])
    return at


def _searched(factors: list[_Factor], sizes: dict[int, int]) -> dict[int, int]:
    """Bins from which no change of a single feature lessens the sum."""
    at, moved = dict.fromkeys(sizes, 0), True
    while moved:
        moved = False
        for f, size in sizes.items():
            sums = np.zeros(size, dtype=np.int64)
            for features, table in factors:
                if f in features:
                    sums += table[tuple(slice(None) if g == f else at[g] for g in features)]
            if sums[at[f]] > sums.min():
                at[f], moved = int(sums.argmin()), True
    return at


def score_range(tables: AdditiveTables) -> Range:
    """Least and greatest score over all values, missing ones included."""
    used = sorted({f for e in tables.effects for f in e.features})
    splits = {f: joined_splits(tables, f) for f in used}
    sizes = {f: len(s) + 2 for f, s in splits.items()}
    ends, exact, witnesses = [], True, []
    for sign in (1, -1):
        factors: list[_Factor] = []
        for e in tables.effects:
            at = [fine_bins(splits[f], s) for f, s in zip(e.features, e.splits, strict=True)]
            factors.append((e.features, sign * e.score[np.ix_(*at)]))
        found = _least(factors, sizes)
        if found is None:
            exact = False
            found = _searched(factors, sizes)
            ends.append(sign * tables.base + sum(int(t.min()) for _, t in factors))
        else:
            at_least = (int(t[tuple(found[f] for f in fs)]) for fs, t in factors)
            ends.append(sign * tables.base + sum(at_least))
        row = np.full(tables.n_features, NULL)
        for f, b in found.items():
            if b > 0:
                row[f] = bin_ends(splits[f])[b - 1]
        witnesses.append(row)
    return Range(ends[0], -ends[1], exact, witnesses[0], witnesses[1])
