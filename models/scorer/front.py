"""The binning front for float tables: raw float64 columns to the int64 codes that tables bin.

A number's code is its bits as an ordered integer, so ``x <= t`` is ``code(x) <= code(t)`` for all
doubles, infinities included; NaN is ``NULL``; values within ``ZERO`` of zero are 0.0, as LightGBM's
predictor drops them from a row (``RowPairFunctionFromDenseMatric`` in its ``src/c_api.cpp``). A
category's code is its place among the categories
the model has seen; anything else (NaN, negative, unseen, beyond int32) is ``NULL``, the "other" bin
0. Float32 input is widened first, which is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL, FloatArray, IntArray

_MAGNITUDE: Final = np.int64(0x7FFF_FFFF_FFFF_FFFF)
ZERO: Final = float(np.float32(1e-35))
"""LightGBM's kZeroThreshold: values from -ZERO to ZERO are zero."""
LARGEST_CATEGORY: Final = 2**31 - 1
"""LightGBM reads a category as a C int; larger values wrap to a negative one, which is unseen."""


def codes_of_numbers(values: FloatArray) -> IntArray:
    """Ordered int64 codes of float64 values; NaN is ``NULL``. -0.0 sorts next below 0.0.

    >>> codes_of_numbers(np.array([0.0, 5e-324, np.nan])).tolist() == [0, 1, NULL]
    True
    """
    bits = np.ascontiguousarray(values, dtype=np.float64).view(np.int64)
    ordered = np.where(bits < 0, bits ^ _MAGNITUDE, bits)
    return np.where(np.isnan(values), NULL, ordered)


def numbers_of_codes(codes: IntArray) -> FloatArray:
    """The float64 values of codes; ``NULL`` is NaN."""
    bits = np.where(codes < 0, codes ^ _MAGNITUDE, codes)
    return np.where(codes == NULL, np.nan, bits.view(np.float64))


@dataclass(frozen=True)
class FloatFront:
    """How the raw columns of a float table become int64 codes.

    Attributes
    ----------
    categories : for each feature None (a number), or the ascending categories the model has seen
    """

    categories: tuple[IntArray | None, ...]

    def __post_init__(self) -> None:
        for f, seen in enumerate(self.categories):
            if seen is not None and (bool(np.any(np.diff(seen) <= 0)) or bool(np.any(seen < 0))):
                raise InputError(f"feature {f}: categories must be ascending and not negative")

    @property
    def n_features(self) -> int:
        """Features of the table."""
        return len(self.categories)

    def encode(self, values: FloatArray) -> IntArray:
        """Codes, int64 (N, K), of raw values, float (N, K).

        Raises
        ------
        InputError
            If the shape does not fit.
        """
        values = self.checked(values)
        codes = np.empty(values.shape, dtype=np.int64)
        for f, seen in enumerate(self.categories):
            column = values[:, f]
            codes[:, f] = (
                codes_of_numbers(np.where(np.abs(column) <= ZERO, 0.0, column))
                if seen is None
                else _places(column, seen)
            )
        return codes

    def checked(self, values: FloatArray) -> FloatArray:
        """The values as float64 of the right shape."""
        if values.ndim != 2 or values.shape[1] != self.n_features:
            raise InputError(
                f"the table has shape {values.shape}; the model reads {self.n_features} columns"
            )
        return values if values.dtype == np.float64 else values.astype(np.float64)

    def to_json(self) -> list[dict[str, Any]]:
        """One object a feature."""
        return [
            {"kind": "number"} if c is None else {"kind": "category", "categories": c.tolist()}
            for c in self.categories
        ]

    @staticmethod
    def from_json(document: list[dict[str, Any]]) -> FloatFront:
        """Read a front written by ``to_json``."""
        return FloatFront(
            tuple(
                np.array(f["categories"], dtype=np.int64) if f["kind"] == "category" else None
                for f in document
            )
        )


def _places(column: FloatArray, seen: IntArray) -> IntArray:
    """Place of each value, cut to an integer, among the seen categories; else ``NULL``."""
    if len(seen) == 0:
        return np.full(len(column), NULL)
    readable = (column > -1.0) & (column < LARGEST_CATEGORY + 1.0)  # -0.5 is category 0
    whole = np.where(readable, column, 0.0).astype(np.int64)
    place = np.minimum(np.searchsorted(seen, whole), len(seen) - 1)
    return np.where(readable & (seen[place] == whole), place, NULL)
