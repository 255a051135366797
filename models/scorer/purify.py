"""Purified effects, for reading: pairs that hold only what no single feature can say.

A pair table can hold parts of main effects. Its purified form has weighted mean zero along every
row and column, the weights being the joint reference counts; what is taken out moves to the mains
(Lengerich and others, AISTATS 2020). Floats, in log-odds; never served.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, FloatArray, IntArray
from models.scorer.plan import fine_bins, joined_splits
from models.scorer.reference import Reference
from models.scorer.tables import AdditiveTables


@dataclass(frozen=True)
class Purified:
    """Log-odds as base + mains[f] over ``splits[f]`` + pairs over their own splits."""

    base: float
    splits: dict[int, IntArray]
    mains: dict[int, FloatArray]
    pairs: dict[tuple[int, int], FloatArray]


def _parts(table: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Row and column effects whose removal leaves weighted means of zero (least squares)."""
    rows, columns = table.shape
    of_row, of_column = weight.sum(axis=1), weight.sum(axis=0)
    normal = np.block([[np.diag(of_row), weight], [weight.T, np.diag(of_column)]])
    right = np.concatenate([(weight * table).sum(axis=1), (weight * table).sum(axis=0)])
    both = np.linalg.lstsq(normal, right, rcond=None)[0]
    return both[:rows], both[rows : rows + columns]


def purified(tables: AdditiveTables, reference: Reference) -> Purified:
    """Purify a table set against its reference counts; the sum is the score to 1e-9.

    An empty row or column has no weight and keeps its values.
    """
    used = sorted({f for e in tables.effects for f in e.features})
    splits = {f: joined_splits(tables, f) for f in used}
    mains = {f: np.zeros(len(splits[f]) + 2) for f in used}
    pairs: dict[tuple[int, int], FloatArray] = {}
    if [c.shape for c in reference.counts] != [e.score.shape for e in tables.effects]:
        raise InputError("the reference counts are of other tables")
    base = tables.base / LOG_ODDS_ONE
    for e, counts in zip(tables.effects, reference.counts, strict=True):
        table = e.score / LOG_ODDS_ONE
        at = [fine_bins(splits[f], s) for f, s in zip(e.features, e.splits, strict=True)]
        weight = counts / counts.sum()
        if len(e.features) == 1:
            mean = float((table * weight).sum())
            base += mean
            mains[e.features[0]] += (table - mean)[at[0]]
            continue
        mean = float((table * weight).sum())
        first, second = _parts(table - mean, weight)
        pair = (e.features[0], e.features[1])
        if pair in pairs:
            raise InputError("tables of the same features must be merged before purifying")
        base += mean
        mains[pair[0]] += first[at[0]]
        mains[pair[1]] += second[at[1]]
        pairs[pair] = table - mean - first[:, None] - second[None, :]
    return Purified(base, splits, mains, pairs)
