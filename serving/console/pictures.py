"""The geometry of the pictures: integers in, positions out; the words around them are HTML.

A picture here is a table whose rows carry a bar. The figures stay text: they can be read aloud,
copied, and do not shrink with the window. Bars live on a scale of ``SCALE`` units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from data_contracts.units import LARGEST_QUANTA, IntArray
from models.scorer.tables import AdditiveTables, Effect

SCALE: Final = 1000
LEAST: Final = 4
"""A bar that stands for something is never too thin to be seen."""
SHAPE_WIDTH: Final = 600
SHAPE_HEIGHT: Final = 160
_PAD: Final = 8


@dataclass(frozen=True)
class Bar:
    """A bar from ``at`` over ``width`` units of the scale."""

    at: int
    width: int


def _bar(low: float, high: float, floor: float, span: float) -> Bar:
    left = round((low - floor) / span * SCALE)
    wide = round((high - low) / span * SCALE)
    if high > low:
        wide = max(wide, LEAST)
    return Bar(min(left, SCALE - wide), wide)


def waterfall(start: int, steps: Sequence[int]) -> list[Bar]:
    """The bars of a start, of each signed step from the level before it, and of the total.

    >>> [(b.at, b.width) for b in waterfall(100, [-40, 0, -10])]
    [(0, 1000), (600, 400), (600, 0), (500, 100), (0, 500)]
    """
    levels = [start]
    for step in steps:
        levels.append(levels[-1] + step)
    low, high = min(0, *levels), max(0, *levels)
    span = float(high - low) or 1.0
    bars = [_bar(min(0, start), max(0, start), low, span)]
    for before, after in pairwise(levels):
        bars.append(_bar(min(before, after), max(before, after), low, span))
    return [*bars, _bar(min(0, levels[-1]), max(0, levels[-1]), low, span)]


def diverging(values: Sequence[int]) -> list[Bar]:
    """Bars to the left and right of a common middle, on one scale.

    >>> [(b.at, b.width) for b in diverging([50, -100])]
    [(500, 250), (0, 500)]
    """
    most = max((abs(v) for v in values), default=0) or 1
    return [_bar(min(v, 0), max(v, 0), -most, 2 * most) for v in values]


def lengths(counts: Sequence[int]) -> list[Bar]:
    """Bars from zero, the longest over the whole scale."""
    most = max(counts, default=0) or 1
    return [_bar(0, c, 0, most) for c in counts]


def shade(count: int, most: int) -> int:
    """One of ten shades of a cell, by the root of its share: small counts stay visible."""
    return 0 if count <= 0 else max(1, math.ceil(10 * math.sqrt(count / max(most, 1))))


@dataclass(frozen=True)
class Shape:
    """The log-odds of one feature as a step line on a canvas of 600 by 160.

    ``missing`` is the height of the level of a missing value, ``zero`` that of no effect; ``low``
    and ``high`` are the outer splits in the feature's quantum, ``least`` and ``most`` the range of
    log-odds in 2**-40.
    """

    feature: int
    path: str
    zero: int
    missing: int | None
    low: int
    high: int
    least: int
    most: int


def main_effect(effect: Effect, counts: IntArray | None) -> list[tuple[int, IntArray, IntArray]]:
    """Feature, splits and centred attribution per bin of a table; of a pair, each one's mean.

    A pair's part of a feature is averaged over the other's bins, weighted by the reference counts
    where the bundle holds them.
    """
    if len(effect.features) == 1:
        return [(effect.features[0], effect.splits[0], effect.first)]
    second = effect.score - effect.constant - effect.first
    weights = np.ones(effect.score.shape) if counts is None else counts + 1e-9
    over = [
        (effect.first * weights).sum(axis=1) / weights.sum(axis=1),
        (second * weights).sum(axis=0) / weights.sum(axis=0),
    ]
    return [
        (f, s, np.rint(o).astype(np.int64))
        for f, s, o in zip(effect.features, effect.splits, over, strict=True)
    ]


def shapes(tables: AdditiveTables, counts: Sequence[IntArray] | None) -> list[Shape]:
    """One shape a feature, those with the widest range first.

    The tables of a feature are added on the union of their splits; see ``main_effect`` for pairs.
    """
    parts: dict[int, list[tuple[IntArray, IntArray]]] = {}
    for k, effect in enumerate(tables.effects):
        for feature, splits, own in main_effect(effect, None if counts is None else counts[k]):
            parts.setdefault(feature, []).append((splits, own))
    made = []
    for feature, found in parts.items():
        splits = np.unique(np.concatenate([s for s, _ in found]))
        # beyond that no value lies: such a split only parts the missing ones from all others
        splits = splits[splits < LARGEST_QUANTA]
        if not len(splits):
            continue
        # a point of each bin: the split itself lies in the bin below it, the last bin above all
        points = np.append(splits, splits[-1] + 1)
        over = [v[1 + np.searchsorted(s, points, side="left")] for s, v in found]
        values: IntArray = np.stack(over).sum(axis=0)
        absent = sum(int(v[0]) for _, v in found)
        made.append(_shape(feature, splits, values, absent))
    return sorted(made, key=lambda s: (s.least - s.most, s.feature))


def _shape(feature: int, splits: IntArray, values: IntArray, absent: int) -> Shape:
    # bins have equal width: the splits are quantiles, so each step stands for about as many clients
    least, most = min(int(values.min()), absent, 0), max(int(values.max()), absent, 0)
    span = (most - least) or 1

    def height(value: int) -> int:
        return round(_PAD + (most - value) / span * (SHAPE_HEIGHT - 2 * _PAD))

    step = SHAPE_WIDTH / len(values)
    path = []
    for k, value in enumerate(values.tolist()):
        y = height(value)
        path.append(
            f"{'M' if k == 0 else 'L'}{round(k * step, 1):g} {y}H{round((k + 1) * step, 1):g}"
        )
    return Shape(
        feature,
        "".join(path),
        height(0),
        height(absent),
        int(splits[0]),
        int(splits[-1]),
        least,
        most,
    )


@dataclass(frozen=True)
class Bin:
    """A bar of a histogram: from, to (excluded; None without a bound), and how many."""

    low: int | None
    high: int | None
    count: int


def binned(values: IntArray, edges: Sequence[int]) -> list[Bin]:
    """Counts between ascending edges, with open ends.

    >>> [b.count for b in binned(np.array([-5, 0, 3, 9]), [0, 5])]
    [1, 2, 1]
    """
    place = np.searchsorted(np.array(edges), values, side="right")
    counts = np.bincount(place, minlength=len(edges) + 1).tolist()
    bounds = [None, *edges, None]
    return [Bin(bounds[k], bounds[k + 1], c) for k, c in enumerate(counts)]
