"""A second channel of reasons: points lost against the best attainable, feature by feature.

An attribution compares a client with the reference population; points lost compare with the best
that anyone of that population reached in one feature, all else as it is:

    lost_i(x) = score(x) - least over attained v of score(x with feature i = v)

The two answer different questions and can name different features first; where they do, the row is
flagged, for a reader of either list should know.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from data_contracts.units import BoolArray, FloatArray, IntArray
from models.scorer import Reference
from models.scorer.front import numbers_of_codes
from models.scorer.plan import joined_splits
from models.scorer.tables import AdditiveTables, bin_numbers
from training.table_bundle import TableBundle

ROWS_AT_ONCE: Final = 1 << 18


def _attained(tables: AdditiveTables, reference: Reference, f: int, codes: IntArray) -> BoolArray:
    """Which codes lie in bins that rows of the reference have, in every table of the column."""
    found = np.ones(len(codes), dtype=bool)
    for e, count in zip(tables.effects, reference.counts, strict=True):
        if f in e.features:
            axis = e.features.index(f)
            rows = count if count.ndim == 1 else count.sum(axis=1 - axis)
            found &= rows[bin_numbers(codes, e.splits[axis])] > 0
    return found


def attained_values(bundle: TableBundle) -> list[FloatArray]:
    """For each feature one value of every bin, level and code that the reference population has.

    A missing value is no achievement and is not among them. A feature without any is left at none.
    """
    tables, front = bundle.tables.tables, bundle.tables.front
    reference = Reference.from_json(bundle.reference)
    found = []
    for c, feature in enumerate(bundle.encoder.features):
        seen = front.categories[c]
        if seen is not None:
            places = np.arange(len(seen), dtype=np.int64)
            found.append(seen[_attained(tables, reference, c, places)].astype(np.float64))
            continue
        splits = joined_splits(tables, c)
        codes = np.append(splits, splits[-1] + 1) if len(splits) else splits
        values = numbers_of_codes(codes)[_attained(tables, reference, c, codes)]
        values = values[np.isfinite(values) & ~np.isin(values, feature.special)]
        one = np.ones(1)
        for k, column in enumerate(bundle.encoder.columns):
            if column.feature == c and column.code is not None:
                code_of_one = front.encode(np.tile(one, (1, front.n_features)))[:, k]
                if _attained(tables, reference, k, code_of_one)[0]:
                    values = np.append(values, column.code)
        found.append(values)
    return found


def points_lost(bundle: TableBundle, values: FloatArray) -> IntArray:
    """Points lost in each feature, int64 (N, features), 2**-40 log-odds, never below zero.

    ``values`` are features as the encoder reads them, float (N, features).
    """
    score = bundle.tables.score(bundle.encoder.encode(values))
    lost = np.zeros(values.shape, dtype=np.int64)
    for f, candidates in enumerate(attained_values(bundle)):
        if not len(candidates):
            continue
        step = max(1, ROWS_AT_ONCE // len(candidates))
        for start in range(0, len(values), step):
            rows = np.repeat(values[start : start + step], len(candidates), axis=0)
            rows[:, f] = np.tile(candidates, len(rows) // len(candidates))
            other = bundle.tables.score(bundle.encoder.encode(rows)).reshape(-1, len(candidates))
            lost[start : start + step, f] = score[start : start + step] - other.min(axis=1)
    return np.maximum(lost, 0)


def disagree(attributions: IntArray, lost: IntArray) -> BoolArray:
    """Rows where the two channels name different features first, both (N, features).

    A row with no adverse attribution has no reason to give, and does not disagree.

    >>> disagree(np.array([[5, 1], [5, 1], [-1, -2]]), np.array([[9, 2], [2, 9], [0, 9]])).tolist()
    [False, True, False]
    """
    first = attributions.argmax(axis=1)
    rows = np.arange(len(lost))
    adverse = attributions[rows, first] > 0
    return np.asarray(adverse & (lost[rows, first] < lost.max(axis=1)))
