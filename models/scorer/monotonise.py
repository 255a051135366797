"""Repair tables that break a declared direction, changing them as little as possible.

First each pair table is repaired by isotonic regression along its ordered axis, with the room that
the main effect gives it; cells weigh by their reference rows. What remains, rounding included, is
taken up by the main effect: the nearest one whose steps outweigh the worst step of every pair. So
the result always passes the proof. (Barlow and others, 1972, for pool adjacent violators.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from models.scorer.operations import Edited, diff_tables, expanded
from models.scorer.plan import fine_bins, joined_splits
from models.scorer.reference import Reference
from models.scorer.tables import AdditiveTables, Effect, explained_effect, monotone_violations

_PASSES = 20


def isotonic(values: FloatArray, weights: FloatArray) -> FloatArray:
    """The ascending sequence nearest to the values in weighted squares.

    >>> isotonic(np.array([1.0, 3.0, 2.0]), np.ones(3)).tolist()
    [1.0, 2.5, 2.5]
    """
    means: list[float] = []
    masses: list[float] = []
    lengths: list[int] = []
    for value, weight in zip(values.tolist(), weights.tolist(), strict=True):
        means.append(value)
        masses.append(weight)
        lengths.append(1)
        while len(means) > 1 and means[-2] > means[-1]:
            mass = masses[-2] + masses[-1]
            means[-2] = (means[-2] * masses[-2] + means[-1] * masses[-1]) / mass
            masses[-2], lengths[-2] = mass, lengths[-2] + lengths[-1]
            means.pop(), masses.pop(), lengths.pop()
    return np.repeat(means, lengths)


def _worst_steps(effect: Effect, axis: int, direction: int) -> IntArray:
    """For each step between known bins, the least change over the partner's bins."""
    change = direction * np.diff(np.moveaxis(effect.score, axis, 0)[1:], axis=0)
    return change if change.ndim == 1 else change.min(axis=1)


def _on(splits: IntArray, effect: Effect, axis: int, steps: IntArray) -> IntArray:
    """Steps at an effect's own splits, laid on the joined ones."""
    out = np.zeros(len(splits), dtype=np.int64)
    out[np.searchsorted(splits, effect.splits[axis])] = steps
    return out


def _repair_pairs(
    tables: AdditiveTables, reference: Reference, feature: int, direction: int
) -> tuple[AdditiveTables, bool]:
    """Isotonic regression of the pair tables that take more room than the main effect gives."""
    splits = joined_splits(tables, feature)
    uses = [(k, e, e.features.index(feature)) for k, e in enumerate(tables.effects)
            if feature in e.features]  # fmt: skip
    room = np.zeros(len(splits), dtype=np.int64)
    need = np.zeros(len(splits), dtype=np.int64)
    for _, e, axis in uses:
        steps = _on(splits, e, axis, _worst_steps(e, axis, direction))
        if len(e.features) == 1:
            room += steps
        else:
            room += np.maximum(steps, 0)
            need += np.maximum(-steps, 0)
    short = need > np.maximum(room, 0)
    if not short.any():
        return tables, False
    share = np.where(short, np.maximum(room, 0) / np.maximum(need, 1), 1.0)
    effects = list(tables.effects)
    for k, e, axis in uses:
        if len(e.features) == 1:
            continue
        own = np.searchsorted(splits, e.splits[axis])
        steps = _worst_steps(e, axis, direction)
        if not (short[own] & (steps < 0)).any():
            continue
        allowed = np.append(0.0, np.cumsum(np.maximum(-steps, 0) * share[own]))
        table = np.moveaxis(e.score, axis, 0).copy()
        rows = np.moveaxis(reference.counts[k], axis, 0) + 1.0
        for c in range(table.shape[1]):
            lifted = direction * table[1:, c] + allowed
            if (np.diff(lifted) < 0).any():
                fitted = isotonic(lifted, rows[1:, c].astype(np.float64)) - allowed
                table[1:, c] = direction * np.rint(fitted).astype(np.int64)
        score = np.ascontiguousarray(np.moveaxis(table, 0, axis))
        effects[k] = explained_effect(e.features, e.splits, score, reference.counts[k])
    return replace(tables, effects=tuple(effects)), True


def _repair_main(
    tables: AdditiveTables, reference: Reference, feature: int, direction: int
) -> tuple[AdditiveTables, Reference]:
    """The nearest main effect whose steps make up for the worst steps of all pairs."""
    splits = joined_splits(tables, feature)
    worst = np.zeros(len(splits), dtype=np.int64)
    main = next((k for k, e in enumerate(tables.effects) if e.features == (feature,)), None)
    for k, e in enumerate(tables.effects):
        if feature in e.features and k != main:
            axis = e.features.index(feature)
            worst += _on(splits, e, axis, _worst_steps(e, axis, direction))
    effects, counts = list(tables.effects), list(reference.counts)
    if main is None:
        zero = np.zeros(2, dtype=np.int64)
        effects.append(Effect((feature,), (np.zeros(0, dtype=np.int64),), 0, zero, zero))
        rows = next(
            np.moveaxis(c, e.features.index(feature), 0).reshape(
                c.shape[e.features.index(feature)], -1
            )
            for e, c in zip(tables.effects, reference.counts, strict=True)
            if feature in e.features
        ).sum(axis=1)
        counts.append(np.array([rows[0], rows[1:].sum()]))
        main = len(effects) - 1
    effect = effects[main]
    score = expanded(effect.score, effect, [splits])
    at = fine_bins(splits, effect.splits[0])
    # rows of a bin that is parted here are shared evenly: the counts do not say more
    weight = counts[main][at] / np.bincount(at)[at]
    lift = np.append(0, np.cumsum(worst))
    fitted = isotonic(
        (direction * score[1:] + lift).astype(np.float64), (weight[1:] + 1.0).astype(np.float64)
    )
    new = np.append(score[:1], direction * (np.rint(fitted).astype(np.int64) - lift))
    mean = round(float((new * weight).sum() / weight.sum()))
    effects[main] = Effect((feature,), (splits,), mean, new, new - mean)
    counts[main] = np.rint(weight).astype(np.int64)
    return replace(tables, effects=tuple(effects)), replace(reference, counts=tuple(counts))


def monotonised(tables: AdditiveTables, reference: Reference, directions: Sequence[int]) -> Edited:
    """Tables that pass the proof of monotonicity, near the given ones, and the diff.

    Tables that pass already come back as they are. Each effect must occur once (``merged``).
    """
    if len({e.features for e in tables.effects}) != len(tables.effects):
        raise InputError("tables of the same features must be merged before they are repaired")
    new, counts, fixed = tables, reference, tuple(directions)
    for _ in range(_PASSES):
        if not monotone_violations(new, fixed):
            return Edited(new, counts, diff_tables(tables, new))
        moved = False
        for feature, direction in enumerate(fixed):
            if direction:
                new, changed = _repair_pairs(new, counts, feature, direction)
                moved |= changed
        if not moved:
            break
    for feature, direction in enumerate(fixed):
        only = tuple(d if f == feature else 0 for f, d in enumerate(fixed))
        if monotone_violations(new, only):
            new, counts = _repair_main(new, counts, feature, direction)
    return Edited(new, counts, diff_tables(tables, new))
