"""Changes people make to tables: merge, prune, edit. Each gives new tables and a diff.

A new set has a new hash, so proofs and approvals of the old one do not carry over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson

from data_contracts.canonical import sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import IntArray
from models.scorer.plan import fine_bins
from models.scorer.reference import Reference
from models.scorer.tables import AdditiveTables, Effect, explained_effect


@dataclass(frozen=True)
class Edited:
    """New tables, the reference counts of their effects, and what changed (JSON)."""

    tables: AdditiveTables
    reference: Reference
    diff: dict[str, Any]


def tables_sha256(tables: AdditiveTables) -> str:
    """Hash of a table set."""
    return sha256_hex(orjson.dumps(tables.to_json(), option=orjson.OPT_SORT_KEYS))


def expanded(table: IntArray, effect: Effect, splits: Sequence[IntArray]) -> IntArray:
    """A table of an effect on finer splits."""
    at = [fine_bins(f, s) for f, s in zip(splits, effect.splits, strict=True)]
    return table[np.ix_(*at)]


def _joined(effects: Sequence[Effect], axis: int) -> IntArray:
    return np.unique(np.concatenate([e.splits[axis] for e in effects]))


def diff_tables(before: AdditiveTables, after: AdditiveTables) -> dict[str, Any]:
    """What differs: hashes, base, and for each effect the cells changed and the largest change."""
    old, new = ({e.features: e for e in merged([t]).effects} for t in (before, after))
    effects = []
    for features in sorted(set(old) | set(new), key=lambda f: (len(f), f)):
        a, b = old.get(features), new.get(features)
        both = [e for e in (a, b) if e is not None]
        splits = [_joined(both, axis) for axis in range(len(features))]
        zero = np.zeros(tuple(len(s) + 2 for s in splits), dtype=np.int64)
        change = (zero if b is None else expanded(b.score, b, splits)) - (
            zero if a is None else expanded(a.score, a, splits)
        )
        if change.any() or a is None or b is None:
            effects.append(
                {
                    "features": list(features),
                    "kind": "added" if a is None else "dropped" if b is None else "changed",
                    "cells_changed": int(np.count_nonzero(change)),
                    "least_change": int(change.min()),
                    "largest_change": int(change.max()),
                }
            )
    return {
        "unit": "2**-40 log-odds",
        "sha256_before": tables_sha256(before),
        "sha256_after": tables_sha256(after),
        "base_before": before.base,
        "base_after": after.base,
        "effects": effects,
    }


def _compacted(effect: Effect) -> Effect:
    """The effect without splits between bins that no cell tells apart."""
    splits, score, first = list(effect.splits), effect.score, effect.first
    for axis in range(len(splits)):
        both = np.stack(
            [np.moveaxis(t, axis, 0).reshape(t.shape[axis], -1) for t in (score, first)]
        )
        keep = np.append([True, True], (both[:, 2:] != both[:, 1:-1]).any(axis=(0, 2)))
        splits[axis] = splits[axis][keep[2:]]
        score, first = (np.compress(keep, t, axis=axis) for t in (score, first))
    return replace(effect, splits=tuple(splits), score=score, first=first)


def merged(sets: Sequence[AdditiveTables]) -> AdditiveTables:
    """The sum of table sets, one table for each set of features, equal bins made one.

    Scores and attributions of the result are the sums of those of the sets, as integers.
    """
    if not sets or len({s.n_features for s in sets}) != 1:
        raise InputError("table sets to merge must read the same features")
    grouped: dict[tuple[int, ...], list[Effect]] = {}
    for tables in sets:
        for e in tables.effects:
            grouped.setdefault(e.features, []).append(e)
    effects = []
    for features in sorted(grouped, key=lambda f: (len(f), f)):
        same = grouped[features]
        splits = tuple(_joined(same, axis) for axis in range(len(features)))
        score = sum(expanded(e.score, e, splits) for e in same)
        first = sum(expanded(e.first, e, splits) for e in same)
        constant = sum(e.constant for e in same)
        whole = Effect(features, splits, constant, np.asarray(score), np.asarray(first))
        effects.append(_compacted(whole))
    return replace(sets[0], base=sum(s.base for s in sets), effects=tuple(effects))


def importances(tables: AdditiveTables, reference: Reference) -> list[float]:
    """Standard deviation of each effect over the reference population, in log-odds."""
    _check(tables, reference)
    found = []
    for e, counts in zip(tables.effects, reference.counts, strict=True):
        weight = counts / counts.sum()
        centred = (e.score - float((e.score * weight).sum())) / 2.0**40
        found.append(float(np.sqrt((centred**2 * weight).sum())))
    return found


def pruned(tables: AdditiveTables, reference: Reference, least: float) -> tuple[Edited, int]:
    """Tables without effects less important than ``least`` log-odds, and the bound on the error.

    A dropped effect leaves its reference mean in the base. No score moves by more than the bound,
    in 2**-40.
    """
    kept = [x >= least for x in importances(tables, reference)]
    dropped = [e for e, keep in zip(tables.effects, kept, strict=True) if not keep]
    bound = sum(int(np.abs(e.score - e.constant).max()) for e in dropped)
    new = replace(
        tables,
        base=tables.base + sum(e.constant for e in dropped),
        effects=tuple(e for e, keep in zip(tables.effects, kept, strict=True) if keep),
    )
    counts = tuple(c for c, keep in zip(reference.counts, kept, strict=True) if keep)
    return Edited(new, replace(reference, counts=counts), diff_tables(tables, new)), bound


def edited(
    tables: AdditiveTables,
    reference: Reference,
    features: tuple[int, ...],
    cells: dict[tuple[int, ...], int],
) -> Edited:
    """Tables with cells of one effect set, attributions split anew against the reference.

    Parameters
    ----------
    features : the effect's features
    cells : bin numbers to log-odds in 2**-40
    """
    _check(tables, reference)
    at = [k for k, e in enumerate(tables.effects) if e.features == features]
    if len(at) != 1:
        raise InputError(f"there are {len(at)} effects of features {list(features)} to edit, not 1")
    effect = tables.effects[at[0]]
    score = effect.score.copy()
    for cell, value in cells.items():
        if len(cell) != score.ndim or not all(
            0 <= c < n for c, n in zip(cell, score.shape, strict=True)
        ):
            raise InputError(f"cell {list(cell)} is outside the table's {score.shape} bins")
        score[cell] = value
    counts = reference.counts[at[0]]
    new = with_effect(tables, at[0], explained_effect(features, effect.splits, score, counts))
    return Edited(new, reference, diff_tables(tables, new))


def with_effect(tables: AdditiveTables, at: int, effect: Effect) -> AdditiveTables:
    """The tables with one effect replaced."""
    return replace(tables, effects=(*tables.effects[:at], effect, *tables.effects[at + 1 :]))


def _check(tables: AdditiveTables, reference: Reference) -> None:
    shapes = [c.shape for c in reference.counts]
    if shapes != [e.score.shape for e in tables.effects]:
        raise InputError("the reference counts are of other tables")
