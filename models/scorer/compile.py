"""Compile a LightGBM booster with at most two features a path into integer tables.

The input is the dictionary of ``Booster.dump_model()``; no LightGBM is imported here. Beside the
tables come the path-dependent Shapley values of each cell, as floats, which must equal the
booster's own ``pred_contrib``: that equality is the proof that the compilation is right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, BoolArray, FloatArray, IntArray
from models.scorer.tables import AdditiveTables, bin_numbers, explained_effect


@dataclass
class _Group:
    """All leaves whose paths use the same one or two features."""

    features: tuple[int, ...]
    splits: tuple[IntArray, ...]
    score: IntArray
    path_first: FloatArray
    path_second: FloatArray
    path_base: float


@dataclass(frozen=True)
class Compiled:
    """Tables to serve, and float path-dependent values to prove them by."""

    tables: AdditiveTables
    groups: tuple[_Group, ...]
    constant: float

    def path_dependent(self, values: IntArray) -> FloatArray:
        """Path-dependent Shapley values and base, (N, K + 1), as ``pred_contrib`` gives them."""
        n_features = self.tables.n_features
        out = np.zeros((len(values), n_features + 1))
        out[:, n_features] = self.constant
        for g in self.groups:
            cells = tuple(
                bin_numbers(values[:, f], s) for f, s in zip(g.features, g.splits, strict=True)
            )
            out[:, g.features[0]] += g.path_first[cells]
            if len(g.features) == 2:
                out[:, g.features[1]] += g.path_second[cells]
            out[:, n_features] += g.path_base
        return out


def _threshold(node: Mapping[str, Any]) -> int:
    """The node's threshold for integers: x <= floor(t); a split on missing alone is huge."""
    return math.floor(max(-(2.0**52), min(2.0**52, float(node["threshold"]))))


@dataclass(frozen=True)
class _Leaf:
    """A leaf with the way to it: each node passed, and whether its left branch was taken."""

    value: float
    path: tuple[tuple[Mapping[str, Any], bool], ...]

    @property
    def features(self) -> tuple[int, ...]:
        return tuple(sorted({int(node["split_feature"]) for node, _ in self.path}))


def _leaves(
    node: Mapping[str, Any], path: tuple[tuple[Mapping[str, Any], bool], ...] = ()
) -> Iterator[_Leaf]:
    if "split_index" not in node:
        if "leaf_coeff" in node or "leaf_const" in node:
            raise InputError("linear trees cannot be compiled: a leaf must hold one value")
        yield _Leaf(float(node["leaf_value"]), path)
        return
    if node["decision_type"] != "<=":
        raise InputError(
            "a categorical split cannot be compiled by this version; encode the category"
        )
    if node["missing_type"] == "Zero":
        raise InputError("zero_as_missing models are refused: zero is a value here")
    yield from _leaves(node["left_child"], (*path, (node, True)))
    yield from _leaves(node["right_child"], (*path, (node, False)))


def _count(node: Mapping[str, Any]) -> int:
    return int(node["internal_count"] if "split_index" in node else node["leaf_count"])


def _goes_left(node: Mapping[str, Any], splits: IntArray) -> BoolArray:
    """Whether each bin of the node's feature goes left, bin 0 being missing."""
    threshold = _threshold(node)
    left = np.zeros(len(splits) + 2, dtype=bool)
    left[1:-1] = splits <= threshold
    if node["missing_type"] == "NaN":
        left[0] = bool(node["default_left"])
    else:
        left[0] = threshold >= 0  # LightGBM reads a missing value as 0.0 here
    return left


def _add_leaf(leaf: _Leaf, group: _Group) -> None:
    """Add a leaf to its group's tables (Shapley values of a game of one or two players)."""
    inside = [np.ones(len(s) + 2, dtype=bool) for s in group.splits]
    share = [1.0] * len(group.features)
    for node, left in leaf.path:
        axis = group.features.index(int(node["split_feature"]))
        goes = _goes_left(node, group.splits[axis])
        inside[axis] &= goes if left else ~goes
        child = node["left_child"] if left else node["right_child"]
        share[axis] *= _count(child) / _count(node)
    v = leaf.value
    # rounding a leaf once keeps the order of leaves, so the tables are as monotone as the booster
    fixed = round(v * LOG_ODDS_ONE)
    o = [m.astype(np.float64) for m in inside]
    if len(o) == 1:
        group.score += fixed * inside[0]
        group.path_first += v * (o[0] - share[0])
        group.path_base += v * share[0]
        return
    oi, oj = o[0][:, None], o[1][None, :]
    zi, zj = share
    group.score += fixed * (inside[0][:, None] & inside[1][None, :])
    group.path_first += v * (oi - zi) * (oj + zj) / 2
    group.path_second += v * (oj - zj) * (oi + zi) / 2
    group.path_base += v * zi * zj


def compile_booster(dump: Mapping[str, Any], reference: IntArray, head: str) -> Compiled:
    """Tables of a booster, with attributions against a reference population.

    Parameters
    ----------
    dump : ``Booster.dump_model()`` of a binary booster trained on quantised integers
    reference : int64, shape (R, K), quantised features of the reference population
    head : name of the head, for example ``default_60``

    Raises
    ------
    InputError
        If a path uses more than two features, is linear, categorical or reads zero as missing, if
        trees are averaged, or if there is no reference population.
    """
    if dump.get("average_output") or int(dump.get("num_tree_per_iteration", 1)) != 1:
        raise InputError(
            "averaged forests and boosters of several classes cannot be compiled; train a binary"
            " booster whose trees are summed"
        )
    n_features = int(dump["max_feature_idx"]) + 1
    if reference.ndim != 2 or len(reference) == 0 or reference.shape[1] != n_features:
        raise InputError(
            f"the reference population has shape {reference.shape}; it needs at least one row of"
            f" the booster's {n_features} features"
        )
    by_features: dict[tuple[int, ...], list[_Leaf]] = {}
    constant = 0.0
    for number, tree in enumerate(dump["tree_info"]):
        for leaf in _leaves(tree["tree_structure"]):
            if len(leaf.features) > 2:
                raise InputError(
                    f"a path of tree {number} uses {len(leaf.features)} features; a glass-box"
                    " path uses at most two"
                )
            if leaf.path:
                by_features.setdefault(leaf.features, []).append(leaf)
            else:
                constant += leaf.value
    groups, effects = [], []
    for features in sorted(by_features, key=lambda f: (len(f), f)):
        used: dict[int, set[int]] = {f: set() for f in features}
        for leaf in by_features[features]:
            for node, _ in leaf.path:
                used[int(node["split_feature"])].add(_threshold(node))
        splits = tuple(np.array(sorted(used[f]), dtype=np.int64) for f in features)
        shape = tuple(len(s) + 2 for s in splits)
        group = _Group(
            features, splits, np.zeros(shape, dtype=np.int64), np.zeros(shape), np.zeros(shape), 0.0
        )
        for leaf in by_features[features]:
            _add_leaf(leaf, group)
        groups.append(group)
        cells = tuple(
            bin_numbers(reference[:, f], s) for f, s in zip(features, splits, strict=True)
        )
        counts = np.zeros(shape, dtype=np.int64)
        np.add.at(counts, cells, 1)
        effects.append(explained_effect(features, splits, group.score, counts))
    tables = AdditiveTables(head, n_features, round(constant * LOG_ODDS_ONE), tuple(effects))
    return Compiled(tables, tuple(groups), constant)
