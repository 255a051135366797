"""The reference population of the attributions: how many rows fall into each cell of each table.

Joint counts are all that the interventional values need, so no row of a client is kept. A cell with
fewer than ``LEAST_CELL`` rows could point at a person: its rows are counted in the nearest cell
that has enough. Nearest is the fewest bins along both axes, a missing bin being farther than any
other; the first in row order wins a tie. Where no cell has enough, the fullest takes all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.units import IntArray

if TYPE_CHECKING:
    from models.scorer.tables import Effect

LEAST_CELL: Final = 5
REFERENCE_FORMAT: Final = 1
_MISSING_IS_FAR: Final = 1 << 20


def merge_small(counts: IntArray, least: int) -> IntArray:
    """Counts of one or two axes in which every cell has no row or at least ``least``.

    >>> merge_small(np.array([[0, 9, 0], [0, 2, 7]]), 5).tolist()
    [[0, 9, 0], [0, 0, 9]]
    """
    small = np.argwhere((counts > 0) & (counts < least))
    if len(small) == 0:
        return counts
    large = np.argwhere(counts >= least)
    if len(large) == 0:
        large = np.argwhere(counts == counts.max())[:1]
    merged = counts.copy()
    merged[tuple(small.T)] = 0
    for cell in small:
        far = (np.abs(large - cell) + _MISSING_IS_FAR * ((large == 0) != (cell == 0))).sum(axis=1)
        merged[tuple(large[far.argmin()])] += counts[tuple(cell)]
    return merged


def joint_counts(
    features: tuple[int, ...],
    splits: tuple[IntArray, ...],
    rows: IntArray,
    least: int = LEAST_CELL,
) -> IntArray:
    """Rows in each cell of a table, of int64 codes (R, K); small cells are merged."""
    from models.scorer.tables import bin_numbers

    counts = np.zeros(tuple(len(s) + 2 for s in splits), dtype=np.int64)
    cells = tuple(bin_numbers(rows[:, f], s) for f, s in zip(features, splits, strict=True))
    np.add.at(counts, cells, 1)
    return merge_small(counts, least)


@dataclass(frozen=True)
class Reference:
    """Joint counts for each effect of a table set, in its order.

    Attributes
    ----------
    least_cell : every cell holds no row or at least so many
    counts : for each effect, int64 in the effect's shape
    """

    least_cell: int
    counts: tuple[IntArray, ...]

    @staticmethod
    def of(effects: Iterable[Effect], rows: IntArray, least_cell: int = LEAST_CELL) -> Reference:
        """Count int64 codes (R, K), quantised features or a front's."""
        return Reference(
            least_cell, tuple(joint_counts(e.features, e.splits, rows, least_cell) for e in effects)
        )

    @property
    def sha256(self) -> str:
        """Hash of the canonical document."""
        return sha256_hex(canonical_bytes(self.to_json()))

    def to_json(self) -> dict[str, Any]:
        """The filled cells of each table: place in row order, rows, ascending by place."""
        tables = []
        for counts in self.counts:
            at = np.flatnonzero(counts)
            tables.append(
                {
                    "shape": list(counts.shape),
                    "cells": at.tolist(),
                    "rows": counts.ravel()[at].tolist(),
                }
            )
        return {
            "format": REFERENCE_FORMAT,
            "least_cell": self.least_cell,
            "tables": tables,
        }

    @staticmethod
    def from_json(document: dict[str, Any]) -> Reference:
        """Read what ``to_json`` wrote; small cells are refused."""
        if document.get("format") != REFERENCE_FORMAT:
            raise InputError(
                f"reference counts of format {document.get('format')!r}; this version reads"
                f" {REFERENCE_FORMAT}"
            )
        least, read = int(document["least_cell"]), []
        for table in document["tables"]:
            counts = np.zeros(table["shape"], dtype=np.int64)
            counts.ravel()[np.array(table["cells"], dtype=np.int64)] = table["rows"]
            read.append(counts)
        return Reference(least, tuple(read))
