"""Compile LightGBM boosters with at most two features a path into integer tables.

The input is the dictionary of ``Booster.dump_model()``, or several of them (bags) that are averaged
into one set of tables; no LightGBM is imported here. Beside the tables come the path-dependent
Shapley values of each cell, as floats, which must equal the booster's own ``pred_contrib``: that
equality is the proof that the compilation is right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import LOG_ODDS_ONE, FloatArray, IntArray
from models.scorer.floats import FloatTables
from models.scorer.front import FloatFront
from models.scorer.nodes import FloatReading, IntegerReading, Node, Reading, seen_categories
from models.scorer.reference import joint_counts
from models.scorer.tables import AdditiveTables, bin_numbers, explained_effect

Dump = Mapping[str, Any]


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
class _Leaf:
    """A leaf with the way to it: each node passed, and whether its left branch was taken."""

    value: float
    path: tuple[tuple[Node, bool], ...]

    @property
    def features(self) -> tuple[int, ...]:
        return tuple(sorted({int(node["split_feature"]) for node, _ in self.path}))


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


@dataclass(frozen=True)
class CompiledFloat:
    """A compiled model over raw float64 columns, with the values that prove it."""

    front: FloatFront
    compiled: Compiled

    @cached_property
    def served(self) -> FloatTables:
        """What is stored and served: front and tables, without the proof's float values."""
        return FloatTables(self.front, self.compiled.tables)

    @property
    def tables(self) -> AdditiveTables:
        """The integer tables, over codes."""
        return self.compiled.tables

    def score(self, values: FloatArray) -> IntArray:
        """Log-odds in 2**-40, shape (N,), of raw values, float (N, K)."""
        return self.served.score(values)

    def score_and_attributions(self, values: FloatArray) -> tuple[IntArray, IntArray]:
        """Log-odds, shape (N,), and attributions, shape (N, K), in 2**-40."""
        return self.served.score_and_attributions(values)

    def path_dependent(self, values: FloatArray) -> FloatArray:
        """Path-dependent Shapley values and base, (N, K + 1), as ``pred_contrib`` gives them."""
        return self.compiled.path_dependent(self.front.encode(values))

    def to_json(self) -> dict[str, Any]:
        """What is served, as a JSON document without floats."""
        return self.served.to_json()

    @staticmethod
    def from_json(document: dict[str, Any]) -> FloatTables:
        """Read what ``to_json`` wrote: the tables without the proof's path-dependent values."""
        return FloatTables.from_json(document)


def _nodes(node: Node) -> Iterator[Node]:
    if "split_index" in node:
        yield node
        yield from _nodes(node["left_child"])
        yield from _nodes(node["right_child"])


def _leaves(
    node: Node, reading: Reading, path: tuple[tuple[Node, bool], ...] = ()
) -> Iterator[_Leaf]:
    if "split_index" not in node:
        if "leaf_coeff" in node or "leaf_const" in node:
            raise InputError("linear trees cannot be compiled: a leaf must hold one value")
        yield _Leaf(float(node["leaf_value"]), path)
        return
    reading.check(node)
    yield from _leaves(node["left_child"], reading, (*path, (node, True)))
    yield from _leaves(node["right_child"], reading, (*path, (node, False)))


def _count(node: Node) -> int:
    return int(node["internal_count"] if "split_index" in node else node["leaf_count"])


def _add_leaf(leaf: _Leaf, group: _Group, reading: Reading, scale: float) -> None:
    """Add a leaf to its group's tables (Shapley values of a game of one or two players)."""
    inside = [np.ones(len(s) + 2, dtype=bool) for s in group.splits]
    share = [1.0] * len(group.features)
    for node, left in leaf.path:
        axis = group.features.index(int(node["split_feature"]))
        goes = reading.goes_left(node, group.splits[axis])
        inside[axis] &= goes if left else ~goes
        child = node["left_child"] if left else node["right_child"]
        share[axis] *= _count(child) / _count(node)
    v = leaf.value * scale
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


def _checked(dumps: Sequence[Dump], reference_shape: tuple[int, ...]) -> int:
    """Number of features, after refusing what is no sum of trees for two classes."""
    if not dumps:
        raise InputError("there is no booster to compile")
    n_features = int(dumps[0]["max_feature_idx"]) + 1
    for dump in dumps:
        if dump.get("average_output") or int(dump.get("num_tree_per_iteration", 1)) != 1:
            raise InputError(
                "averaged forests and boosters of several classes cannot be compiled; train a"
                " binary booster whose trees are summed"
            )
        if int(dump["max_feature_idx"]) + 1 != n_features:
            raise InputError("bags of one model must read the same features")
    if len(reference_shape) != 2 or reference_shape[0] == 0 or reference_shape[1] != n_features:
        raise InputError(
            f"the reference population has shape {reference_shape}; it needs at least one row of"
            f" the booster's {n_features} features"
        )
    return n_features


def _compile(
    dumps: Sequence[Dump], reading: Reading, reference: IntArray, head: str, least_cell: int
) -> Compiled:
    """Tables of the mean of the boosters, over int64 codes."""
    by_features: dict[tuple[int, ...], list[_Leaf]] = {}
    constant, scale = 0.0, 1.0 / len(dumps)
    for dump in dumps:
        for number, tree in enumerate(dump["tree_info"]):
            for leaf in _leaves(tree["tree_structure"], reading):
                if len(leaf.features) > 2:
                    raise InputError(
                        f"a path of tree {number} uses {len(leaf.features)} features; a glass-box"
                        " path uses at most two"
                    )
                if leaf.path:
                    by_features.setdefault(leaf.features, []).append(leaf)
                else:
                    constant += leaf.value * scale
    groups, effects = [], []
    for features in sorted(by_features, key=lambda f: (len(f), f)):
        leaves = by_features[features]
        splits = tuple(
            reading.splits(
                f, (n for leaf in leaves for n, _ in leaf.path if int(n["split_feature"]) == f)
            )
            for f in features
        )
        shape = tuple(len(s) + 2 for s in splits)
        group = _Group(
            features, splits, np.zeros(shape, dtype=np.int64), np.zeros(shape), np.zeros(shape), 0.0
        )
        for leaf in leaves:
            _add_leaf(leaf, group, reading, scale)
        groups.append(group)
        counts = joint_counts(features, splits, reference, least_cell)
        effects.append(explained_effect(features, splits, group.score, counts))
    tables = AdditiveTables(
        head, reference.shape[1], round(constant * LOG_ODDS_ONE), tuple(effects)
    )
    return Compiled(tables, tuple(groups), constant)


def compile_booster(
    dump: Dump | Sequence[Dump], reference: IntArray, head: str, *, least_cell: int = 1
) -> Compiled:
    """Tables of a booster on quantised integers, with attributions against a reference population.

    Parameters
    ----------
    dump : ``Booster.dump_model()`` of a binary booster, or of each bag, which are averaged
    reference : int64, shape (R, K), quantised features of the reference population
    head : name of the head, for example ``default_60``
    least_cell : reference cells with fewer rows are merged (``models.scorer.reference``)

    Raises
    ------
    InputError
        If a path uses more than two features, is linear, categorical or reads zero as missing, if
        trees are averaged, or if there is no reference population.
    """
    dumps = [dump] if isinstance(dump, Mapping) else list(dump)
    _checked(dumps, reference.shape)
    return _compile(dumps, IntegerReading(), reference, head, least_cell)


def compile_float_booster(
    dump: Dump | Sequence[Dump], reference: FloatArray, head: str, *, least_cell: int = 1
) -> CompiledFloat:
    """Tables of a booster on raw float columns, with LightGBM's semantics for every value.

    Parameters
    ----------
    dump : ``Booster.dump_model()`` of a binary booster, or of each bag, which are averaged
    reference : float, shape (R, K), raw rows of the reference population, NaN for missing
    head : name of the head
    least_cell : reference cells with fewer rows are merged (``models.scorer.reference``)

    Raises
    ------
    InputError
        If a path uses more than two features or is linear, if trees are averaged, or if there is
        no reference population.
    """
    dumps = [dump] if isinstance(dump, Mapping) else list(dump)
    n_features = _checked(dumps, reference.shape)
    seen: list[set[int] | None] = [None] * n_features
    for booster in dumps:
        for tree in booster["tree_info"]:
            for node in _nodes(tree["tree_structure"]):
                if node["decision_type"] == "==":
                    f = int(node["split_feature"])
                    seen[f] = (seen[f] or set()) | set(seen_categories(node))
    front = FloatFront(
        tuple(None if s is None else np.array(sorted(s), dtype=np.int64) for s in seen)
    )
    codes = front.encode(reference)
    return CompiledFloat(front, _compile(dumps, FloatReading(front), codes, head, least_cell))
