"""What a model is validated on: two samples, the model's tables, and what else is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from data_contracts.canonical import sha256_hex
from data_contracts.units import FloatArray, IntArray
from models.scorer import AdditiveTables, FloatTables
from training.report.texts import Text


@dataclass(frozen=True)
class Feature:
    """A feature of the model: names, the declared direction (+1, -1, 0), whether a category.

    ``levels`` names the positions of a category.
    """

    name: str
    text: Text
    direction: int
    is_category: bool = False
    levels: tuple[str, ...] = ()

    def level(self, position: float) -> str:
        """The name of a category's position."""
        k = int(position)
        return self.levels[k] if 0 <= k < len(self.levels) else "other"


@dataclass(frozen=True)
class Cases:
    """One sample of cases with known outcomes.

    Attributes
    ----------
    score : float (N,), log-odds, higher is riskier
    probability : float (N,), predicted probability of the outcome, 0 to 1
    label : int (N,), 1 for the event
    grade : int (N,), 1 (best) to K
    features : float (N, F), NaN for missing; a category is the position of its level
    period : int (N,), for example the year; None where time is not known
    unit : int (N,), cases of one unit (client, group) are not independent; None where all are
    """

    score: FloatArray
    probability: FloatArray
    label: IntArray
    grade: IntArray
    features: FloatArray
    period: IntArray | None = None
    unit: IntArray | None = None

    def __len__(self) -> int:
        return len(self.label)

    @property
    def periods(self) -> int | None:
        """How many periods there are; None where time is not known."""
        return None if self.period is None else len(np.unique(self.period))

    def take(self, chosen: Any) -> Cases:
        """Some of the cases."""
        parts: dict[str, Any] = {
            name: None if (column := getattr(self, name)) is None else column[chosen]
            for name in self.__dataclass_fields__
        }
        return Cases(**parts)

    @cached_property
    def sha256(self) -> str:
        """Hash over every column's bytes, in the order of the attributes."""
        parts = []
        for name in self.__dataclass_fields__:
            column = getattr(self, name)
            if column is not None:
                parts.append(name.encode() + np.ascontiguousarray(column).tobytes())
        return sha256_hex(b"|".join(parts))

    def by_grade(self, grades: int) -> tuple[IntArray, IntArray, FloatArray]:
        """Cases, events and mean predicted probability of each grade 1 to ``grades``."""
        place = self.grade - 1
        n = np.bincount(place, minlength=grades)
        d = np.bincount(place, weights=self.label, minlength=grades).astype(np.int64)
        total = np.bincount(place, weights=self.probability, minlength=grades)
        return n, d, np.divide(total, n, out=np.full(grades, np.nan), where=n > 0)


@dataclass(frozen=True)
class Prices:
    """What was decided about each case of a book: caps, rates, exposure.

    Attributes
    ----------
    probability : float (N,), predicted one-year PD
    grade : int (N,)
    rate_bps : float (N,)
    leverage : float (N,), the cap as assets over equity; NaN without equity
    cap_amt, exposure_amt, expected_loss_amt : float (N,), in ``currency``
    approved : bool (N,)
    currency : of the amounts
    edges : float, ascending PD edges between grades
    night : int (N,), the night of each decision: funding costs move all rates of a night together
    """

    probability: FloatArray
    grade: IntArray
    rate_bps: FloatArray
    leverage: FloatArray
    cap_amt: FloatArray
    exposure_amt: FloatArray
    expected_loss_amt: FloatArray
    approved: Any
    currency: str
    edges: FloatArray
    night: IntArray


@dataclass(frozen=True)
class Overrides:
    """Acts of people on decisions; ``outcome`` is -1 where it is not known yet.

    ``side`` is +1 where the act was in the client's favour and -1 against; ``decisions`` counts all
    decisions that could have been overridden.
    """

    reviewer: tuple[str, ...]
    reason: tuple[str, ...]
    side: IntArray
    outcome: IntArray
    probability: FloatArray
    segment: tuple[str, ...]
    decisions: int
    segment_decisions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Material:
    """Everything that a report is made from. Nothing else goes into it, no clock and no network.

    Attributes
    ----------
    subject : identity of the model in words and hashes: ``name, purpose, exposure, owner, target,
        model_sha256, data_sha256``
    features : in column order of ``Cases.features``
    grades : how many grades there are
    development : what the model learnt from
    validation : what it did not
    initial : the sample of initial validation, which current figures are compared with
    benchmarks : probability of the same validation cases under other models, by name
    tables : the scorer's tables; None for a model that is known by its probabilities only
    rescore : from features to (score, probability), for perturbed cases
    protected : group of each validation case, by protected attribute; never an input
    prices, overrides : None where there are none
    migrations : counts of customers from grade to grade and three further columns, over a year
    served : (how many stored scores were compared, how many differ); None without any
    split : how development and validation are apart, in words
    as_of : ISO date that findings fall due from
    seed : of perturbations
    """

    subject: Mapping[str, Any]
    features: tuple[Feature, ...]
    grades: int
    development: Cases
    validation: Cases
    initial: Cases
    benchmarks: Mapping[str, FloatArray]
    tables: FloatTables | AdditiveTables | None
    rescore: Callable[[FloatArray], tuple[FloatArray, FloatArray]] | None
    protected: Mapping[str, Any]
    prices: Prices | None
    overrides: Overrides | None
    migrations: IntArray | None
    served: tuple[int, int] | None
    split: Text
    as_of: str
    seed: int
    reference: Any = None
    regimes: Mapping[str, Any] = field(default_factory=dict)
    absent: Mapping[str, Text] = field(default_factory=dict)
