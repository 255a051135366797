"""One number of a vectors file against what is found, and how near they must be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

EXACT: Final = 1e-12
"""Closed forms and exact fractions in float64: some rounding, nothing else."""
TAILS: Final = 1e-10
"""Tail probabilities and fits: R and scipy agree to about 1e-12, printed to 15 digits."""
PRINTED: Final = 5e-5
"""Figures published with four decimals."""
SMOOTHED: Final = 1e-9
"""A local smoother: many sums in another order."""
FITTED: Final = 1e-7
"""R's lrm stops its iterations near 1e-8 of the likelihood; its own glm figures are held to TAILS."""
SHAP: Final = 1e-6
"""The shap library's interventional algorithm reads features as float32; its file states 1.7e-8."""


@dataclass(frozen=True)
class Check:
    """One number of a file: expected, found, and how far apart they may be (absolute or relative)."""

    name: str
    expected: float | None
    found: float | None
    tolerance: float

    @property
    def ok(self) -> bool:
        """Both undefined, or within the tolerance."""
        if self.expected is None or self.found is None:
            return self.expected is self.found
        return math.isclose(
            self.expected, self.found, rel_tol=self.tolerance, abs_tol=self.tolerance
        )

    def as_dict(self) -> dict[str, Any]:
        """Every attribute, and whether it holds."""
        return {
            "name": self.name,
            "expected": self.expected,
            "found": self.found,
            "tolerance": self.tolerance,
            "ok": self.ok,
        }


Checks = Iterator[Check]
Document = Mapping[str, Any]


def ints(values: Any) -> Any:
    """An array of 64-bit integers."""
    return np.array(values, dtype=np.int64)


def floats(values: Any) -> Any:
    """An array of float64; exact fractions are rounded to the nearest."""
    return np.array(values, dtype=np.float64)
