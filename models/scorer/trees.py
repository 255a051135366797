"""Monotonicity of any LightGBM trees on numbers, checked leaf against leaf, with a witness.

A tree is monotone in a feature if no two leaves that some move of that feature alone joins are in
the wrong order. It is a check of single trees, exact for each; the tables have a proof of the sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray

Node = Mapping[str, Any]


@dataclass(frozen=True)
class TreeWitness:
    """Two rows, apart in one feature only, that a tree scores against the direction."""

    tree: int
    feature: int
    low: FloatArray
    high: FloatArray
    drop: float


@dataclass(frozen=True)
class _Box:
    above: FloatArray
    upto: FloatArray
    value: float


def _boxes(node: Node, above: FloatArray, upto: FloatArray) -> Iterator[_Box]:
    """The leaves as boxes ``above < x <= upto``."""
    if "split_index" not in node:
        yield _Box(above, upto, float(node["leaf_value"]))
        return
    if node["decision_type"] != "<=":
        raise InputError("the leaf check reads splits on numbers only")
    f, t = int(node["split_feature"]), float(node["threshold"])
    left, right = upto.copy(), above.copy()
    left[f], right[f] = min(upto[f], t), max(above[f], t)
    if above[f] < left[f]:
        yield from _boxes(node["left_child"], above, left)
    if right[f] < upto[f]:
        yield from _boxes(node["right_child"], right, upto)


def tree_monotone_witnesses(
    dump: Mapping[str, Any], directions: Sequence[int]
) -> list[TreeWitness]:
    """The worst violation of each tree and feature of ``Booster.dump_model()``."""
    k = int(dump["max_feature_idx"]) + 1
    if len(directions) != k:
        raise InputError(f"{len(directions)} directions were given for {k} features")
    found = []
    for number, tree in enumerate(dump["tree_info"]):
        boxes = list(_boxes(tree["tree_structure"], np.full(k, -np.inf), np.full(k, np.inf)))
        above = np.array([b.above for b in boxes])
        upto = np.array([b.upto for b in boxes])
        value = np.array([b.value for b in boxes])
        start = np.maximum(above[:, None], above[None])
        end = np.minimum(upto[:, None], upto[None])
        meets = start < end
        for f, direction in enumerate(directions):
            if direction == 0:
                continue
            others = np.delete(meets, f, axis=2).all(axis=2)
            below = (
                above[:, None, f] < upto[None, :, f]
            )  # some x of the first under one of the second
            ordered = others & below & (above[:, None, f] < above[None, :, f])
            drop = np.where(ordered, direction * (value[:, None] - value[None, :]), 0.0)
            a, b = np.unravel_index(int(drop.argmax()), drop.shape)
            if drop[a, b] <= 0.0:
                continue
            row = _inside(start[a, b], end[a, b])
            low, high = row.copy(), row.copy()
            low[f] = _inside(above[a], np.minimum(upto[a], above[b]))[f]
            high[f] = _inside(np.maximum(above[b], low), upto[b])[f]
            found.append(TreeWitness(number, f, low, high, float(drop[a, b])))
    return found


def _inside(above: FloatArray, upto: FloatArray) -> FloatArray:
    """A finite point of a box ``above < x <= upto``."""
    open_end = np.where(np.isfinite(above), above, -1.0) + 1.0
    return np.where(np.isfinite(upto), upto, open_end)
