"""From integer score to PD, and from PD to tier: strictly increasing integer tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import PROB_ONE, IntArray

KNOT_SHIFT: Final = 20
"""Knots are in 2**-20 log-odds: a product of a knot step and a PD step then stays inside int64."""


@dataclass(frozen=True)
class Calibration:
    """A map from score to one-year PD with an interval, and to the 60-session default probability.

    Attributes
    ----------
    knots : int64, ascending, score >> 20
    pd, pd_low, pd_high, default_60 : int64 in 1e-9 at the knots; ``pd`` strictly increasing
    market_years : how many market years the map rests on; ``enough_years`` is false below eight
    method : how it was fitted, in words
    """

    knots: IntArray
    pd: IntArray
    pd_low: IntArray
    pd_high: IntArray
    default_60: IntArray
    market_years: int
    enough_years: bool
    method: str

    def __post_init__(self) -> None:
        if len(self.knots) < 2:
            raise InputError("calibration: at least two knots are needed")
        for name in ("pd", "pd_low", "pd_high", "default_60"):
            if getattr(self, name).shape != self.knots.shape:
                raise InputError(f"calibration: {name} has not one value for each knot")
        for name in ("knots", "pd"):
            if bool(np.any(np.diff(getattr(self, name)) <= 0)):
                raise InputError(f"calibration: {name} must be strictly increasing")
        for name in ("pd_low", "pd_high", "default_60"):
            if bool(np.any(np.diff(getattr(self, name)) < 0)):
                raise InputError(f"calibration: {name} must not fall")
        if self.pd[0] < 1 or self.pd[-1] > PROB_ONE:
            raise InputError("calibration: PD must lie between 1e-9 and 1")
        if bool(np.any((self.pd_low > self.pd) | (self.pd > self.pd_high))):
            raise InputError("calibration: PD must lie within its interval")
        for name in ("pd_low", "pd_high", "default_60"):
            table = getattr(self, name)
            if table[0] < 0 or table[-1] > PROB_ONE:
                raise InputError(f"calibration: {name} must lie between 0 and 1")

    def _map(self, score: IntArray, table: IntArray) -> IntArray:
        at = np.clip(score >> KNOT_SHIFT, self.knots[0], self.knots[-1])
        k = np.clip(np.searchsorted(self.knots, at, side="right") - 1, 0, len(self.knots) - 2)
        left, right = self.knots[k], self.knots[k + 1]
        rise = (table[k + 1] - table[k]) * (at - left) // (right - left)
        return np.asarray(table[k] + rise, dtype=np.int64)

    def of_score(self, score: IntArray) -> tuple[IntArray, IntArray, IntArray]:
        """PD, its lower and its upper bound, in 1e-9."""
        return (
            self._map(score, self.pd),
            self._map(score, self.pd_low),
            self._map(score, self.pd_high),
        )

    def default_60_of_score(self, score: IntArray) -> IntArray:
        """Probability of a default within 60 sessions, in 1e-9."""
        return self._map(score, self.default_60)

    def to_json(self) -> dict[str, Any]:
        """The map as a JSON document of integers."""
        return {
            "unit": {"knots": "2**-20 log-odds", "pd": "1e-9"},
            "knots": self.knots.tolist(),
            "pd": self.pd.tolist(),
            "pd_low": self.pd_low.tolist(),
            "pd_high": self.pd_high.tolist(),
            "default_60": self.default_60.tolist(),
            "market_years": self.market_years,
            "enough_years": self.enough_years,
            "method": self.method,
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> Calibration:
        """Read a map written by ``to_json``; a map that does not increase is refused."""
        arrays = {
            n: np.array(document[n], dtype=np.int64)
            for n in ("knots", "pd", "pd_low", "pd_high", "default_60")
        }
        return Calibration(
            **arrays,
            market_years=int(document["market_years"]),
            enough_years=bool(document["enough_years"]),
            method=document["method"],
        )


def tier_of_pd(pd: IntArray, edges: IntArray) -> IntArray:
    """Tier 1 (best) to 7 from PD and six ascending edges; at an edge it is the better.

    >>> tier_of_pd(np.array([5, 6, 99]), np.array([5, 10, 20, 30, 40, 50]))
    array([1, 2, 7])
    """
    return 1 + np.searchsorted(edges, pd, side="left")
