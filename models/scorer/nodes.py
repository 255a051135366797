"""How each kind of split sends the bins of a feature, exactly as LightGBM sends the values.

A reading knows which int64 thresholds a set of nodes needs (``splits``) and which bins go left at
a node (``goes_left``, bin 0 being missing or "other"). Source: ``Tree::NumericalDecision`` and
``Tree::CategoricalDecision`` in LightGBM's ``include/LightGBM/tree.h``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, IntArray
from models.scorer.front import ZERO, FloatFront, codes_of_numbers, numbers_of_codes

Node = Mapping[str, Any]

LARGEST_THRESHOLD: Final = 2.0**52
"""Beyond every quantised value; a split on missing alone has a huge threshold."""


class Reading(Protocol):
    """What a node means for the bins of its feature."""

    def check(self, node: Node) -> None:
        """Refuse a node that cannot be read."""

    def splits(self, feature: int, nodes: Iterable[Node]) -> IntArray:
        """Ascending thresholds that part all values the nodes part."""

    def goes_left(self, node: Node, splits: IntArray) -> BoolArray:
        """Whether each bin goes left, shape (len(splits) + 2,)."""


class IntegerReading:
    """Quantised integers: ``x <= floor(t)``; missing is NULL; zero is a value like any other."""

    def check(self, node: Node) -> None:
        """Refuse categorical and zero-as-missing nodes."""
        if node["decision_type"] != "<=":
            raise InputError(
                "a categorical split cannot be compiled by this version; encode the category"
            )
        if node["missing_type"] == "Zero":
            raise InputError("zero_as_missing models are refused: zero is a value here")

    def _threshold(self, node: Node) -> int:
        bounded = max(-LARGEST_THRESHOLD, min(LARGEST_THRESHOLD, float(node["threshold"])))
        return math.floor(bounded)

    def splits(self, feature: int, nodes: Iterable[Node]) -> IntArray:
        """The floors of the thresholds."""
        return np.array(sorted({self._threshold(n) for n in nodes}), dtype=np.int64)

    def goes_left(self, node: Node, splits: IntArray) -> BoolArray:
        """Bins whose upper end is at most the threshold; missing by default, or as 0."""
        threshold = self._threshold(node)
        left = np.zeros(len(splits) + 2, dtype=bool)
        left[1:-1] = splits <= threshold
        if node["missing_type"] == "NaN":
            left[0] = bool(node["default_left"])
        else:
            left[0] = threshold >= 0  # LightGBM reads a missing value as 0.0 here
        return left


def float_threshold(node: Node) -> float:
    """The threshold of a split on numbers: dumps write an infinite one as 1e300 (AvoidInf).

    A threshold of -0.0 becomes 0.0, which it takes in.
    """
    threshold = float(node["threshold"]) + 0.0
    return math.copysign(math.inf, threshold) if abs(threshold) >= 1e300 else threshold


def seen_categories(node: Node) -> list[int]:
    """The categories that a categorical node sends left."""
    return [int(c) for c in str(node["threshold"]).split("||") if c]


class FloatReading:
    """Raw float64 columns and categories, coded by a :class:`FloatFront`."""

    def __init__(self, front: FloatFront) -> None:
        self.front = front

    def check(self, node: Node) -> None:
        """Refuse a feature that is split both as a number and as a category."""
        seen = self.front.categories[int(node["split_feature"])]
        if (node["decision_type"] == "==") != (seen is not None):
            raise InputError(
                f"feature {node['split_feature']} is split both as a number and as a category"
            )

    def splits(self, feature: int, nodes: Iterable[Node]) -> IntArray:
        """Codes of the thresholds; zero parted off where it is missing; one bin a category."""
        seen = self.front.categories[feature]
        if seen is not None:
            return np.arange(max(len(seen) - 1, 0), dtype=np.int64)
        ends: set[float] = set()
        for node in nodes:
            ends.add(float_threshold(node))
            if node["missing_type"] == "Zero":
                ends |= {math.nextafter(-ZERO, -math.inf), ZERO}
        return np.unique(codes_of_numbers(np.array(sorted(ends), dtype=np.float64)))

    def goes_left(self, node: Node, splits: IntArray) -> BoolArray:
        """Each bin decided at its upper end, as LightGBM decides that value."""
        seen = self.front.categories[int(node["split_feature"])]
        left = np.zeros(len(splits) + 2, dtype=bool)
        if seen is not None:
            left[1 : 1 + len(seen)] = np.isin(seen, seen_categories(node))
            return left
        threshold, default = float_threshold(node), bool(node["default_left"])
        ends = np.append(numbers_of_codes(splits), np.inf)
        left[1:] = ends <= threshold
        left[0] = threshold >= 0.0
        if node["missing_type"] == "Zero":
            left[1:][np.abs(ends) <= ZERO] = default
            left[0] = default
        elif node["missing_type"] == "NaN":
            left[0] = default
        return left
