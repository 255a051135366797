"""Small helpers of the feature definitions.

Sums over rows are integer sums; where a float sum cannot be avoided it runs in a fixed order, one
addition after another, so that neither threads nor vector width change it.
"""

from __future__ import annotations

import numpy as np

from data_contracts.units import NULL, BoolArray, FloatArray, IntArray


def real(values: IntArray) -> FloatArray:
    """Integers as floats, ``NULL`` as NaN."""
    return np.where(values == NULL, np.nan, values.astype(np.float64))


def ratio(numerator: IntArray | FloatArray, denominator: IntArray | FloatArray) -> FloatArray:
    """Quotient where the denominator is above 0, NaN elsewhere."""
    below = np.asarray(denominator, dtype=np.float64)
    out = np.full(below.shape, np.nan)
    np.divide(np.asarray(numerator, dtype=np.float64), below, out=out, where=below > 0)
    return out


def ordered_sum(client: IntArray, values: FloatArray, clients: int) -> FloatArray:
    """Float sums by client, in row order."""
    return np.bincount(client, weights=values, minlength=clients).astype(np.float64)


def row_sum(values: FloatArray) -> FloatArray:
    """Float sums over the last axis, left to right."""
    out = np.zeros(values.shape[:-1])
    for k in range(values.shape[-1]):
        out += values[..., k]
    return out


def deviation(values: FloatArray, at_least: int) -> FloatArray:
    """Sample standard deviation over the last axis, NaN with fewer than ``at_least`` values."""
    # Here, so that a process that computes no feature loads no compiler.
    from features.loops import spread_of

    return spread_of(values.T, at_least)


def mean_of_known(amounts: IntArray) -> FloatArray:
    """Mean over the last axis of the values that are not ``NULL``; NaN if there are none."""
    known = amounts != NULL
    return ratio(np.where(known, amounts, 0).sum(axis=-1), known.sum(axis=-1))


def last_columns(values: IntArray, count: int) -> IntArray:
    """The last ``count`` columns, padded with ``NULL`` on the left."""
    have = values.shape[1]
    if have >= count:
        return values[:, have - count :]
    pad = np.full((values.shape[0], count - have), NULL, dtype=np.int64)
    return np.concatenate([pad, values], axis=1)


def fill_undefined(values: FloatArray, undefined: BoolArray) -> FloatArray:
    """NaN where undefined."""
    return np.where(undefined, np.nan, values)
