"""How a feature is declared: a named function with its unit, bounds, direction and source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray, quantise, quantise_array

if TYPE_CHECKING:
    from features.book import BookAsOf

Family = Literal[
    "kyc", "leverage", "concentration", "volatility", "liquidity", "trading", "history", "market"
]
Group = Literal["kyc", "trading", "portfolio", "market"]
Direction = Literal[-1, 0, 1]
FAMILIES: Final[tuple[str, ...]] = get_args(Family)
GROUPS: Final[tuple[str, ...]] = get_args(Group)


@dataclass(frozen=True)
class Feature:
    """The declaration of a feature and the function that computes it.

    Attributes
    ----------
    name : the function's name, which is also the column
    unit : what 1 means, in words
    one : quanta in one unit
    direction : +1 if a higher value is riskier, -1 if safer, 0 if left free
    family : family of reasons it belongs to
    group : which inputs it needs
    window_sessions : sessions it looks back, the as-of session included; 0 for the latest state
    low, high : bounds in the unit; values beyond are clipped
    missing : when it is undefined
    en, zh : short names
    evidence : public source
    description : the docstring of the function, its dictionary entry
    """

    name: str
    unit: str
    one: int
    direction: Direction
    family: Family
    group: Group
    window_sessions: int
    low: float
    high: float
    missing: str
    en: str
    zh: str
    evidence: str
    description: str
    function: Callable[[BookAsOf], FloatArray]

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InputError(
                f"feature {self.name}: bounds {self.low} to {self.high} are not ascending"
            )
        for what in ("description", "unit", "missing", "en", "zh", "evidence"):
            if not getattr(self, what).strip():
                raise InputError(f"feature {self.name} states no {what}; declare it")

    def values(self, book: BookAsOf) -> IntArray:
        """The feature of every client, clipped, then quantised once; ``NULL`` where undefined."""
        raw = np.asarray(self.function(book), dtype=np.float64)
        if raw.shape != (book.clients,):
            raise InputError(
                f"feature {self.name} has shape {raw.shape} for {book.clients} clients;"
                " return one value a client"
            )
        return quantise_array(np.clip(raw, self.low, self.high), self.one)

    def declaration(self) -> dict[str, str | int]:
        """What the hash of a feature set covers; bounds in quanta."""
        return {
            "name": self.name,
            "unit": self.unit,
            "one": self.one,
            "direction": self.direction,
            "family": self.family,
            "group": self.group,
            "window_sessions": self.window_sessions,
            "low": quantise(self.low, self.one),
            "high": quantise(self.high, self.one),
            "missing": self.missing,
            "en": self.en,
            "zh": self.zh,
            "evidence": self.evidence,
            "description": self.description,
        }


REGISTRY: Final[dict[str, Feature]] = {}
"""Every declared feature by name; filled by importing ``features.definitions``."""


def feature(
    *,
    unit: str,
    one: int,
    direction: Direction,
    family: Family,
    group: Group,
    window_sessions: int,
    low: float,
    high: float,
    missing: str,
    en: str,
    zh: str,
    evidence: str,
) -> Callable[[Callable[[BookAsOf], FloatArray]], Callable[[BookAsOf], FloatArray]]:
    """Register a function as the feature of its name; the docstring is the dictionary entry."""

    def register(
        function: Callable[[BookAsOf], FloatArray],
    ) -> Callable[[BookAsOf], FloatArray]:
        name = function.__name__
        if name in REGISTRY:
            raise InputError(f"feature {name} is declared twice; rename one of them")
        REGISTRY[name] = Feature(
            name=name,
            unit=unit,
            one=one,
            direction=direction,
            family=family,
            group=group,
            window_sessions=window_sessions,
            low=low,
            high=high,
            missing=missing,
            en=en,
            zh=zh,
            evidence=evidence,
            description=" ".join((function.__doc__ or "").split()),
            function=function,
        )
        return function

    return register
