"""Tables over raw float64 columns: a binning front, and integer tables over its codes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from models.scorer.front import FloatFront, codes_of_numbers, numbers_of_codes
from models.scorer.tables import AdditiveTables, check_out, monotone_violations

if TYPE_CHECKING:
    from models.scorer.plan import Plan

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

    @cached_property
    def plan(self) -> Plan:
        """Front and tables laid out for the kernel."""
        from models.scorer.plan import plan_of  # numba is loaded when something is scored

        return plan_of(self.tables, self.front)

    def _bits(self, values: FloatArray) -> IntArray:
        return np.ascontiguousarray(self.front.checked(values)).view(np.int64)

    def score(self, values: FloatArray, *, threads: int | None = None) -> IntArray:
        """Log-odds in 2**-40, shape (N,), of raw values, float (N, K)."""
        total = np.empty(len(values), dtype=np.int64)
        no_phi = np.empty((len(values), 0), dtype=np.int64)
        self.plan.run(self._bits(values), total, no_phi, threads)
        return total

    def score_and_attributions(
        self,
        values: FloatArray,
        *,
        threads: int | None = None,
        out: tuple[IntArray, IntArray] | None = None,
    ) -> tuple[IntArray, IntArray]:
        """Log-odds, shape (N,), and attributions, shape (N, K), in 2**-40.

        As ``AdditiveTables.score_and_attributions``, of raw values, float (N, K).
        """
        bits = self._bits(values)
        if out is None:
            out = np.empty(len(bits), np.int64), np.empty(bits.shape, np.int64)
        else:
            check_out(bits.shape, *out)
        self.plan.run(bits, *out, threads)
        return out

    def plain_score_and_attributions(self, values: FloatArray) -> tuple[IntArray, IntArray]:
        """The same by numpy, table by table: what the kernel is checked against."""
        return self.tables.plain_score_and_attributions(self.front.encode(values))

    def monotone_violations(self, directions: tuple[int, ...]) -> list[str]:
        """Proof of monotonicity: no witness, or one for each violation, in the raw numbers.

        Missing values are not part of the order; a category has none, so a direction is refused.
        """
        for f, direction in enumerate(directions):
            if direction and self.front.categories[f] is not None:
                raise InputError(f"feature {f} is a category; it cannot have a direction")

        def shown(code: int) -> object:
            return float(numbers_of_codes(np.array([code]))[0])

        return monotone_violations(self.tables, directions, shown)

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
