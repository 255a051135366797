"""Products and quotients of amounts and ratios that no int64 array can hold on the way."""

from __future__ import annotations

import numpy as np

from data_contracts.units import RATIO_ONE, IntArray


def up(a: IntArray | int, b: IntArray | int) -> IntArray:
    """``a / b`` rounded towards plus infinity, for positive ``b``.

    >>> up(np.array([7, -7]), 2)
    array([ 4, -3])
    """
    return np.asarray(-(-np.asarray(a, dtype=np.int64) // b), dtype=np.int64)


def part(amount: IntArray, ratio: IntArray | int) -> IntArray:
    """``amount x ratio`` rounded down; exact while the result itself fits, for ratios below 10**12.

    >>> part(np.array([9_000_000_000_000, -3]), 3_500_000)
    array([31500000000000,            -11])
    """
    whole, rest = np.divmod(np.asarray(amount, dtype=np.int64), RATIO_ONE)
    return np.asarray(whole * ratio + rest * ratio // RATIO_ONE, dtype=np.int64)


def part_up(amount: IntArray, ratio: IntArray | int) -> IntArray:
    """``amount x ratio`` rounded up; exact while the result itself fits.

    >>> part_up(np.array([3]), 500_000)
    array([2])
    """
    return -part(-np.asarray(amount, dtype=np.int64), ratio)


def over(amount: IntArray, ratio: IntArray | int, by: IntArray | int = RATIO_ONE) -> IntArray:
    """``amount x by / ratio`` rounded down, for a positive ratio; exact while the result fits.

    >>> over(np.array([9_000_000_000_000]), 500_000)
    array([18000000000000])
    """
    whole, rest = np.divmod(np.asarray(amount, dtype=np.int64), ratio)
    return np.asarray(whole * by + rest * by // ratio, dtype=np.int64)
