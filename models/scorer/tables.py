"""Integer look-up tables for log-odds and their attributions.

Each effect is a table over one feature or a pair. A feature value x (an integer in its own quantum,
``NULL`` for missing) falls into bin 0 when missing, else into bin 1 + (number of splits below x).
The log-odds are ``base + sum of cells`` in 2**-40; each cell is split into a constant, a part of
the first feature and a part of the second that sum to it exactly, so attributions sum to the score
as integers.

The parts are interventional Shapley values against a reference population, which for one pair are
(Lundberg & Lee 2017, on a game of two players)

    phi_i = 1/2 [ E_j g(x_i, .) - E g + g(x_i, x_j) - E_i g(., x_j) ]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from data_contracts.canonical import LARGEST_INTEGER
from data_contracts.errors import InputError
from data_contracts.units import NULL, IntArray

if TYPE_CHECKING:
    from models.scorer.plan import Plan


def bin_numbers(values: IntArray, splits: IntArray) -> IntArray:
    """Bin of each value: 0 for missing, k + 1 for splits[k-1] < x <= splits[k].

    >>> bin_numbers(np.array([NULL, 5, 6]), np.array([5]))
    array([0, 1, 2])
    """
    return np.where(values == NULL, 0, 1 + np.searchsorted(splits, values, side="left"))


@dataclass(frozen=True)
class Effect:
    """One table of the score.

    Attributes
    ----------
    features : one or two positions in feature-set order, ascending
    splits : for each feature, ascending int64 thresholds; ``x <= split`` is below it
    constant : int, this effect's share of the base attribution, 2**-40
    score : int64, shape (bins,) or (bins_i, bins_j), the cell's log-odds in 2**-40
    first : int64, same shape, the first feature's attribution; the second's is the rest
    """

    features: tuple[int, ...]
    splits: tuple[IntArray, ...]
    constant: int
    score: IntArray
    first: IntArray

    def __post_init__(self) -> None:
        where = f"scorer table of features {list(self.features)}"
        if len(self.features) not in (1, 2) or list(self.features) != sorted(set(self.features)):
            raise InputError(f"{where}: a table has one feature, or two ascending ones")
        if any(bool(np.any(s[1:] <= s[:-1])) for s in self.splits):
            raise InputError(f"{where}: splits must be strictly ascending")
        shape = tuple(len(s) + 2 for s in self.splits)
        if (
            len(self.splits) != len(self.features)
            or self.score.shape != shape
            or self.first.shape != shape
        ):
            raise InputError(f"{where}: shape {self.score.shape} does not fit its splits")
        if len(self.features) == 1 and not np.array_equal(self.first, self.score - self.constant):
            raise InputError(f"{where}: attributions do not sum to the score")

    def cells(self, values: IntArray) -> tuple[IntArray, ...]:
        """The bin numbers of each row, one array a feature."""
        return tuple(
            bin_numbers(values[:, f], s) for f, s in zip(self.features, self.splits, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """The table as a JSON document of integers."""
        return {
            "features": list(self.features),
            "splits": [s.tolist() for s in self.splits],
            "constant": self.constant,
            "score": self.score.tolist(),
            "first": self.first.tolist(),
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> Effect:
        """Read a table, checking that its shape fits its splits."""
        splits = tuple(np.array(s, dtype=np.int64) for s in document["splits"])
        return Effect(
            tuple(int(f) for f in document["features"]),
            splits,
            int(document["constant"]),
            np.array(document["score"], dtype=np.int64),
            np.array(document["first"], dtype=np.int64),
        )


@dataclass(frozen=True)
class AdditiveTables:
    """A head of the scorer as tables over quantised features."""

    head: str
    n_features: int
    base: int
    effects: tuple[Effect, ...]

    def __post_init__(self) -> None:
        if any(not 0 <= f < self.n_features for e in self.effects for f in e.features):
            raise InputError(
                f"a scorer table names a feature outside the {self.n_features} there are"
            )
        largest = abs(self.base) + sum(
            int(e.score.max()) - min(int(e.score.min()), 0) for e in self.effects
        )
        if largest > LARGEST_INTEGER:
            raise InputError(
                "the scorer tables can pass 8192 log-odds; a decision cannot hold that"
            )

    @cached_property
    def base_attribution(self) -> int:
        """The reference population's mean score; attributions are against it."""
        return self.base + sum(e.constant for e in self.effects)

    @cached_property
    def plan(self) -> Plan:
        """The tables laid out for the kernel."""
        from models.scorer.plan import plan_of  # numba is loaded when something is scored

        return plan_of(self)

    def _checked(self, values: IntArray) -> IntArray:
        if values.ndim != 2 or values.shape[1] != self.n_features:
            raise InputError(
                f"the values have shape {values.shape}; the tables read {self.n_features} features"
            )
        return np.ascontiguousarray(values, dtype=np.int64)

    def score(self, values: IntArray, *, threads: int | None = None) -> IntArray:
        """Log-odds in 2**-40, shape (N,), of quantised features, shape (N, K)."""
        total = np.empty(len(values), dtype=np.int64)
        no_phi = np.empty((len(values), 0), dtype=np.int64)
        self.plan.run(self._checked(values), total, no_phi, threads)
        return total

    def score_and_attributions(
        self,
        values: IntArray,
        *,
        threads: int | None = None,
        out: tuple[IntArray, IntArray] | None = None,
    ) -> tuple[IntArray, IntArray]:
        """Log-odds, shape (N,), and attributions, shape (N, K), in 2**-40.

        ``base_attribution + attributions.sum(axis=1) == score``, exactly, on any number of
        threads. ``out`` takes arrays to fill instead of new ones, C-ordered, which saves the
        system from finding fresh pages.
        """
        values = self._checked(values)
        if out is None:
            out = np.empty(len(values), np.int64), np.empty(values.shape, np.int64)
        else:
            check_out(values.shape, *out)
        self.plan.run(values, *out, threads)
        return out

    def plain_score_and_attributions(self, values: IntArray) -> tuple[IntArray, IntArray]:
        """The same by numpy, table by table: what the kernel is checked against."""
        total = np.full(len(values), self.base, dtype=np.int64)
        phi = np.zeros((len(values), self.n_features), dtype=np.int64)
        for effect in self.effects:
            cells = effect.cells(values)
            score, first = effect.score[cells], effect.first[cells]
            total += score
            phi[:, effect.features[0]] += first
            if len(effect.features) == 2:
                phi[:, effect.features[1]] += score - effect.constant - first
        return total, phi

    def to_json(self) -> dict[str, Any]:
        """The head as a JSON document of integers."""
        return {
            "head": self.head,
            "n_features": self.n_features,
            "unit": "2**-40 log-odds",
            "base": self.base,
            "effects": [e.to_json() for e in self.effects],
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> AdditiveTables:
        """Read a head written by ``to_json``."""
        return AdditiveTables(
            document["head"],
            int(document["n_features"]),
            int(document["base"]),
            tuple(Effect.from_json(e) for e in document["effects"]),
        )


def check_out(shape: tuple[int, ...], total: IntArray, phi: IntArray) -> None:
    """Refuse result arrays that the kernel cannot fill."""
    for array, wanted in ((total, shape[:1]), (phi, shape)):
        if array.shape != wanted or array.dtype != np.int64 or not array.flags.c_contiguous:
            raise InputError(
                f"a result array has shape {array.shape} of {array.dtype}; it must be a C-ordered"
                f" int64 array of shape {wanted}"
            )


def explained_effect(
    features: tuple[int, ...],
    splits: tuple[IntArray, ...],
    score: IntArray,
    reference_counts: IntArray,
) -> Effect:
    """An effect whose cells are split into interventional attributions against reference counts."""
    weight = reference_counts / reference_counts.sum()
    mean = float((score * weight).sum())
    constant = round(mean)
    if len(features) == 1:
        return Effect(features, splits, constant, score, score - constant)
    over_j = (score * weight.sum(axis=0)[None, :]).sum(axis=1)[:, None]
    over_i = (score * weight.sum(axis=1)[:, None]).sum(axis=0)[None, :]
    first = 0.5 * (over_j - mean + score - over_i)
    return Effect(features, splits, constant, score, np.rint(first).astype(np.int64))


def monotone_violations(
    tables: AdditiveTables,
    directions: tuple[int, ...],
    shown: Callable[[int], object] = int,
) -> list[str]:
    """Proof of monotonicity on the served integers: an empty list, or a witness for each violation.

    For each feature i and step s to s', the change of its main effect plus, for each partner, the
    least change over the partner's bins must not have the wrong sign. Bin 0 (missing) is not part
    of the order. ``shown`` turns a code into what a reader knows.
    """
    witnesses = []
    for feature, direction in enumerate(directions):
        if direction == 0:
            continue
        used = [e for e in tables.effects if feature in e.features]
        points = sorted({int(s) for e in used for s in e.splits[e.features.index(feature)]})
        if not points:
            continue
        at = np.array([*points, points[-1] + 1], dtype=np.int64)
        worst = np.zeros(len(at) - 1, dtype=np.int64)
        for effect in used:
            axis = effect.features.index(feature)
            along = np.moveaxis(effect.score, axis, 0)[bin_numbers(at, effect.splits[axis])]
            change = direction * np.diff(along, axis=0)
            worst += change if change.ndim == 1 else change.min(axis=1)
        for k in np.flatnonzero(worst < 0):
            low, high = shown(int(at[k])), shown(int(at[k + 1]))
            witnesses.append(
                f"feature {feature}: from {low} to {high} the score may move by"
                f" {worst[k]} / 2**40 against its direction {direction:+d}"
            )
    return witnesses
