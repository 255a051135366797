"""What the pictures show: purified effects of a bundle in the terms of its own features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from models.bundle import Bundle
from models.scorer.floats import FloatTables
from models.scorer.front import codes_of_numbers, numbers_of_codes
from models.scorer.plan import bin_ends, fine_bins
from models.scorer.purify import Purified, purified
from models.scorer.reference import Reference
from models.scorer.tables import AdditiveTables, bin_numbers
from training.report.texts import UNIT_TEXTS, Text, same
from training.table_bundle import KIND, TableBundle
from training.table_encode import number_text

MISSING: Final = Text("missing", "缺失")
OTHER: Final = Text("other or missing", "其他或缺失")


@dataclass(frozen=True)
class Axis:
    """The bins of one feature; bin 0 is the missing or other one.

    Attributes
    ----------
    edges : ascending thresholds, in the feature's own unit; None for a category
    labels : of a category, the names of bins 1 and up
    """

    name: Text
    unit: Text
    edges: FloatArray | None
    labels: tuple[str, ...] | None = None

    @property
    def nothing(self) -> Text:
        """What bin 0 is called."""
        return MISSING if self.labels is None else OTHER

    @property
    def bins(self) -> int:
        """Bins without bin 0."""
        if self.labels is not None:
            return len(self.labels)
        return 0 if self.edges is None else len(self.edges) + 1


@dataclass(frozen=True)
class Shape:
    """A main effect in log-odds, (bins + 1,), rows of the reference in each bin, and a band.

    ``low`` and ``high`` are the least and greatest of the bags' own effects; None of one booster.
    """

    axis: Axis
    effect: FloatArray
    count: FloatArray
    low: FloatArray | None
    high: FloatArray | None

    @property
    def importance(self) -> float:
        """Mean absolute effect over the reference rows."""
        return float(np.average(np.abs(self.effect), weights=np.maximum(self.count, 1e-12)))


@dataclass(frozen=True)
class Heat:
    """A pair's own effect in log-odds, (bins + 1, bins + 1), and reference rows in each cell."""

    first: Axis
    second: Axis
    effect: FloatArray
    count: FloatArray

    @property
    def importance(self) -> float:
        """Mean absolute effect over the reference rows."""
        return float((np.abs(self.effect) * self.count).sum() / max(self.count.sum(), 1.0))


@dataclass(frozen=True)
class Pictured:
    """All that is drawn of a bundle, the most important first."""

    shapes: tuple[Shape, ...]
    heats: tuple[Heat, ...]


AxisOf = Callable[[int, IntArray], tuple[Axis, IntArray]]
"""From a column and its thresholds (codes) to an axis and the code that stands for each bin."""


def _numbers(name: Text, unit: Text, edges: FloatArray, splits: IntArray) -> tuple[Axis, IntArray]:
    return Axis(name, unit, edges), bin_ends(splits)


def _of_deciding(bundle: Bundle) -> AxisOf:
    """Axes of quantised features, in the unit of their declaration."""
    declared = bundle.features["features"]

    def axis(f: int, splits: IntArray) -> tuple[Axis, IntArray]:
        d = declared[f]
        name = Text(str(d.get("en", d["name"])), str(d.get("zh", d["name"])))
        unit = str(d.get("unit", ""))
        known = UNIT_TEXTS.get(unit, same(unit))
        return _numbers(name, known, splits / int(d.get("one", 1)), splits)

    return axis


def _of_table(bundle: TableBundle) -> AxisOf:
    """Axes of a table's columns: numbers, levels of categories, special codes."""
    columns, features = bundle.encoder.columns, bundle.encoder.features

    def axis(c: int, splits: IntArray) -> tuple[Axis, IntArray]:
        feature, code = features[columns[c].feature], columns[c].code
        if code is not None:
            label = f"{feature.name} = {number_text(code)}"
            ends = codes_of_numbers(np.array([0.0, 1.0]))
            return Axis(same(label), same(""), None, ("no", "yes")), ends
        seen = bundle.tables.front.categories[c]
        if seen is None:
            return _numbers(same(feature.name), same(""), numbers_of_codes(splits), splits)
        levels = feature.levels or ()
        labels = tuple(str(levels[s] if levels[s] is not None else "–") for s in seen.tolist())
        return Axis(same(feature.name), same(""), None, labels), np.arange(len(seen))

    return axis


def _counts(tables: AdditiveTables, reference: Reference, f: int, codes: IntArray) -> FloatArray:
    """Reference rows in each bin: of the table that divides the feature most finely.

    A coarse bin's rows are shared out evenly over the fine bins in it.
    """
    best, rows = np.zeros(0, dtype=np.int64), np.zeros(2, dtype=np.int64)
    for e, count in zip(tables.effects, reference.counts, strict=True):
        if f in e.features:
            axis = e.features.index(f)
            if len(e.splits[axis]) >= len(best):
                best = e.splits[axis]
                rows = count if count.ndim == 1 else count.sum(axis=1 - axis)
    coarse = np.append(0, bin_numbers(codes, best))
    return np.asarray(rows[coarse] / np.bincount(coarse, minlength=len(rows))[coarse])


def mains_at(parts: Purified, f: int, codes: IntArray) -> FloatArray:
    """A purified main effect at bin 0 and at each code; 0 where it has none."""
    if f not in parts.mains:
        return np.zeros(len(codes) + 1)
    return np.asarray(parts.mains[f][np.append(0, bin_numbers(codes, parts.splits[f]))])


def _pictured(
    tables: AdditiveTables, reference: Reference, axis_of: AxisOf, bands: dict[int, Any]
) -> Pictured:
    parts = purified(tables, _of_margins(reference))
    shapes = []
    for f in parts.mains:
        axis, codes = axis_of(f, parts.splits[f])
        at = np.append(0, bin_numbers(codes, parts.splits[f]))
        band = bands.get(f)
        low, high = (None, None) if band is None else (np.array(b)[at] for b in band)
        count = _counts(tables, reference, f, codes)
        shapes.append(Shape(axis, mains_at(parts, f, codes), count, low, high))
    heats = []
    of_pair = {
        e.features: (e.splits, c) for e, c in zip(tables.effects, reference.counts, strict=True)
    }
    for pair, effect in parts.pairs.items():
        splits, rows = of_pair[pair]
        axes, places = [], []
        for f, s in zip(pair, splits, strict=True):
            axis, codes = axis_of(f, s)
            axes.append(axis)
            places.append(np.append(0, bin_numbers(codes, s)))
        shown = np.ix_(*places)
        spread = [np.bincount(a, minlength=n)[a] for a, n in zip(places, rows.shape, strict=True)]
        heats.append(Heat(axes[0], axes[1], effect[shown], rows[shown] / np.outer(*spread)))
    return Pictured(
        tuple(sorted(shapes, key=lambda s: (-s.importance, s.axis.name))),
        tuple(sorted(heats, key=lambda h: (-h.importance, h.first.name, h.second.name))),
    )


def _of_margins(reference: Reference) -> Reference:
    """The reference as if the two features of each pair were independent.

    A main effect purified with these weights is the mean over the partners at every value, so it
    keeps a direction that the model has, and the mean of the bags' effects is the served one.
    """
    return Reference(
        reference.least_cell,
        tuple(
            # one more row everywhere: a bin without any would keep its values in the pair
            c if c.ndim == 1 else np.outer(c.sum(axis=1) + 1, c.sum(axis=0) + 1)
            for c in reference.counts
        ),
    )


def _on_bins_of(served: AdditiveTables, bag: AdditiveTables) -> AdditiveTables:
    """A bag's tables on the bins of the served ones; zero where the bag has no such table."""
    by_features = {e.features: e for e in bag.effects}
    effects = []
    for e in served.effects:
        own = by_features.get(e.features)
        score = np.zeros_like(e.score)
        if own is not None:
            at = [fine_bins(s, o) for s, o in zip(e.splits, own.splits, strict=True)]
            score = own.score[np.ix_(*at)]
        first = score - e.constant if len(e.features) == 1 else np.zeros_like(score)
        effects.append(replace(e, score=score, first=first))
    return replace(bag, effects=tuple(effects))


def bands_of(
    bags: Sequence[FloatTables], served: FloatTables, reference: Reference
) -> dict[str, Any]:
    """Least and greatest of the bags' own main effects, at the served tables' bins.

    Parameters
    ----------
    bags : the tables of each booster alone, whose mean is served
    served, reference : what the picture shows, and its counts
    """
    weights = _of_margins(reference)
    parts = purified(served.tables, weights)
    alone = [purified(_on_bins_of(served.tables, one.tables), weights) for one in bags]
    columns = {}
    for f, splits in parts.splits.items():
        each = np.stack([mains_at(p, f, bin_ends(splits)) for p in alone])
        columns[str(f)] = {
            "low": [f"{x:.9f}" for x in each.min(axis=0)],
            "high": [f"{x:.9f}" for x in each.max(axis=0)],
        }
    return {"bags": len(bags), "unit": "log-odds", "columns": columns}


def pictured(folder: Path) -> Pictured:
    """The pictures of a bundle folder, of ``train`` or of ``fit``.

    Raises
    ------
    InputError
        If it is neither, or a bundle of ``train`` holds no joint reference counts.
    """
    manifest = folder / "bundle.json"
    if manifest.is_file() and orjson.loads(manifest.read_bytes()).get("kind") == KIND:
        table = TableBundle.read(folder)
        bands = {
            int(f): ([float(x) for x in b["low"]], [float(x) for x in b["high"]])
            for f, b in (table.bands or {"columns": {}})["columns"].items()
        }
        reference = Reference.from_json(table.reference)
        return _pictured(table.tables.tables, reference, _of_table(table), bands)
    bundle = Bundle.read(folder)
    joint = bundle.joint_reference
    if joint is None:
        raise InputError(f"{folder} holds no joint reference counts; train the bundle again")
    return _pictured(bundle.head, joint, _of_deciding(bundle), {})


def waterfall_of(folder: Path, table: Path, row: int) -> tuple[list[tuple[str, int]], int, int]:
    """Parts of one row's score by feature, 2**-40, with base and score."""
    from training.table_read import matrix, read_any

    bundle = TableBundle.read(folder)
    values = matrix(read_any(table), bundle.encoder, table)
    if not 0 <= row < len(values):
        raise InputError(f"--row is {row}; {table} has rows 0 to {len(values) - 1}")
    columns = bundle.encoder.encode(values[row : row + 1])
    score, phi = bundle.tables.score_and_attributions(columns)
    parts = bundle.encoder.by_feature(phi)[0]
    named = [(f.name, int(p)) for f, p in zip(bundle.encoder.features, parts, strict=True)]
    if bundle.tables.base_attribution + sum(p for _, p in named) != int(score[0]):
        raise InputError("the parts do not sum to the score; the bundle is damaged")
    return named, bundle.tables.base_attribution, int(score[0])
