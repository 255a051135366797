"""Tables over raw float64 columns: a binning front, and integer tables over its codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from models.scorer.front import FloatFront, codes_of_numbers, numbers_of_codes
from models.scorer.tables import AdditiveTables

FLOAT_FORMAT: Final = 1


@dataclass(frozen=True)
class FloatTables:
    """A head of the scorer over raw columns: numbers with NaN for missing, and categories."""

    front: FloatFront
    tables: AdditiveTables

    def __post_init__(self) -> None:
        if self.front.n_features != self.tables.n_features:
            raise InputError(
                f"the front reads {self.front.n_features} columns, the tables"
                f" {self.tables.n_features}"
            )

    @property
    def base_attribution(self) -> int:
        """The reference population's mean score, 2**-40."""
        return self.tables.base_attribution

    def score(self, values: FloatArray) -> IntArray:
        """Log-odds in 2**-40, shape (N,), of raw values, float (N, K)."""
        return self.tables.score(self.front.encode(values))

    def score_and_attributions(self, values: FloatArray) -> tuple[IntArray, IntArray]:
        """Log-odds, shape (N,), and attributions, shape (N, K), in 2**-40."""
        return self.tables.score_and_attributions(self.front.encode(values))

    def to_json(self) -> dict[str, Any]:
        """A JSON document without floats: thresholds are decimal strings that read back exactly."""
        document = self.tables.to_json()
        for effect in document["effects"]:
            for axis, f in enumerate(effect["features"]):
                if self.front.categories[f] is None:
                    codes = np.array(effect["splits"][axis], dtype=np.int64)
                    effect["splits"][axis] = [repr(x) for x in numbers_of_codes(codes).tolist()]
        return {"format": FLOAT_FORMAT, "front": self.front.to_json(), "tables": document}

    @staticmethod
    def from_json(document: dict[str, Any]) -> FloatTables:
        """Read what ``to_json`` wrote.

        Raises
        ------
        InputError
            If the document is of another format, or damaged.
        """
        if document.get("format") != FLOAT_FORMAT:
            raise InputError(
                f"float tables of format {document.get('format')!r}; this version reads"
                f" {FLOAT_FORMAT}"
            )
        front = FloatFront.from_json(document["front"])
        effects = []
        for effect in document["tables"]["effects"]:
            splits = [
                codes_of_numbers(np.array([float(x) for x in s])).tolist()
                if front.categories[f] is None
                else s
                for f, s in zip(effect["features"], effect["splits"], strict=True)
            ]
            effects.append({**effect, "splits": splits})
        return FloatTables(
            front, AdditiveTables.from_json({**document["tables"], "effects": effects})
        )
