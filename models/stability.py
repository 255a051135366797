"""Has a population shifted? The stability index over cells, and cells frozen at fit time.

PSI is the sum over cells of (a - e) ln(a / e) (Siddiqi 2006); of a feature it is called CSI. Cells
frozen at fit time make two nights comparable: cells drawn anew each night would follow the shift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import NULL, FloatArray, IntArray

MONITOR_FORMAT: Final = 1
SCORE: Final = "score"
"""Name of the cells of the score, beside those of the features."""
BINS: Final = 10


class Index(NamedTuple):
    """A stability index; ``None`` where a population is empty.

    ``adjusted``: half a case was added to every cell, because one was empty on one side only.
    ``unit`` is 1/N + 1/M: under equal populations index / unit is about chi-square (Yurdakul and
    Naranjo 2020), and ``by_chance`` its mean.
    """

    value: float | None
    adjusted: bool
    by_chance: float | None
    cells: int
    unit: float


def psi_of_shares(expected: FloatArray, actual: FloatArray) -> float | None:
    """PSI of shares that sum to 1; None where a cell is empty on one side only.

    >>> round(psi_of_shares(np.array([.5, .5]), np.array([.6, .4])), 9)
    0.040546511
    """
    used = (expected > 0) | (actual > 0)
    e, a = expected[used], actual[used]
    if bool((e <= 0).any() or (a <= 0).any()):
        return None
    return float(((a - e) * np.log(a / e)).sum())


def psi_of_counts(expected: IntArray, actual: IntArray) -> Index:
    """PSI of counts in the same cells; a cell that is empty on both sides is left out.

    A cell empty on one side would make the index infinite: half a case is then added to every cell.
    """
    if len(expected) != len(actual):
        raise InputError(f"{len(expected)} classes against {len(actual)}; count the same ones")
    used = (expected > 0) | (actual > 0)
    e, a = expected[used].astype(float), actual[used].astype(float)
    if e.sum() == 0 or a.sum() == 0:
        return Index(None, False, None, len(e), math.inf)
    adjusted = bool((e == 0).any() or (a == 0).any())
    if adjusted:
        e, a = e + 0.5, a + 0.5
    unit = float(1 / e.sum() + 1 / a.sum())
    value = psi_of_shares(e / e.sum(), a / a.sum())
    return Index(value, adjusted, (len(e) - 1) * unit, len(e), unit)


def cells_of(reference: FloatArray, bins: int = BINS) -> FloatArray:
    """Edges of about equal cells of a reference sample; missing values are a cell of their own."""
    known = reference[~np.isnan(reference)]
    return np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else known


def counts_in(values: FloatArray, edges: Any) -> IntArray:
    """Cases in each cell of ``cells_of``: below, between and above the edges, then missing."""
    missing = np.isnan(values)
    place = np.where(missing, len(edges) + 1, np.searchsorted(edges, values, side="left"))
    return np.bincount(place, minlength=len(edges) + 2)


@dataclass(frozen=True)
class FrozenCells:
    """Cells of one quantised quantity, and how many development rows fell into each.

    Attributes
    ----------
    edges : int64, ascending; a value belongs below the first edge that is not smaller
    counts : int64, shape (len(edges) + 2,), the last for missing values
    """

    name: str
    edges: IntArray
    counts: IntArray

    @staticmethod
    def of(name: str, values: IntArray) -> FrozenCells:
        """About ten equal cells of integer codes, ``NULL`` for missing."""
        numbers = np.where(values == NULL, np.nan, values.astype(np.float64))
        # codes are whole: at or below an edge is at or below its floor
        edges = np.unique(np.floor(cells_of(numbers))).astype(np.int64)
        made = FrozenCells(name, edges, np.zeros(len(edges) + 2, dtype=np.int64))
        return FrozenCells(name, edges, made.count(values))

    def count(self, values: IntArray) -> IntArray:
        """Rows in each cell."""
        place = np.where(
            values == NULL,
            len(self.edges) + 1,
            np.searchsorted(self.edges, values, side="left"),
        )
        return np.bincount(place, minlength=len(self.edges) + 2)


def frozen_document(names: Sequence[str], values: IntArray, score: IntArray) -> dict[str, Any]:
    """What a bundle keeps of its development rows: cells of the score and of each feature.

    Parameters
    ----------
    values : int64 codes, shape (N, K), in the order of ``names``
    score : int64 in 2**-40 log-odds, shape (N,)
    """
    cells = [FrozenCells.of(SCORE, score)]
    cells += [FrozenCells.of(name, values[:, k]) for k, name in enumerate(names)]
    return {
        "format": MONITOR_FORMAT,
        "rows": len(score),
        "cells": [
            {"name": c.name, "edges": c.edges.tolist(), "counts": c.counts.tolist()} for c in cells
        ],
    }


def frozen_cells(document: dict[str, Any] | None) -> dict[str, FrozenCells]:
    """The cells of a bundle by name; empty for a bundle that was fitted before they were kept."""
    if document is None:
        return {}
    if document.get("format") != MONITOR_FORMAT:
        raise InputError(
            f"monitoring cells of format {document.get('format')!r}; this version reads"
            f" {MONITOR_FORMAT}"
        )
    return {
        c["name"]: FrozenCells(
            c["name"],
            np.array(c["edges"], dtype=np.int64),
            np.array(c["counts"], dtype=np.int64),
        )
        for c in document["cells"]
    }
