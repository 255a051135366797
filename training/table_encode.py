"""From a table's columns to the numbers that the booster and its tables read.

A number stays as it is. Its special codes (-7 "no inquiry", 96 "not available") are split off: the
number is missing there, and each code has a column that is 1 where it occurs, so that a monotone
direction holds for true numbers only. A category becomes the position of its level; a level that
training did not see is missing. No data frame and no training library is imported here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from data_contracts.errors import InputError
from data_contracts.units import FloatArray


def level_of(value: Any) -> str | None:
    """The name of a category's level; None for a missing value.

    >>> [level_of(v) for v in ("A11", 3.0, True, None, float("nan"))]
    ['A11', '3', '1', None, None]
    """
    if value is None or (isinstance(value, float) and math.isnan(value)) or value != value:
        return None
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def number_text(value: float) -> str:
    """A code as it is written: without a decimal point where it is whole."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


@dataclass(frozen=True)
class Feature:
    """One column of the table.

    Attributes
    ----------
    name : of the column
    levels : of a category, in the order of their positions; None for a number
    special : codes of a number that are not numbers
    direction : +1 if a higher number is riskier, -1 if safer, 0 if free
    """

    name: str
    levels: tuple[str | None, ...] | None = None
    special: tuple[float, ...] = ()
    direction: int = 0

    def positions(self, values: Sequence[Any] | npt.NDArray[Any]) -> FloatArray:
        """Positions of a category's values; NaN for a level that training did not see."""
        known = {level: float(k) for k, level in enumerate(self.levels or ())}
        seen: dict[Any, float] = {}
        out = np.empty(len(values))
        for row, value in enumerate(values):
            key = None if value != value else value
            if key not in seen:
                seen[key] = known.get(level_of(key), math.nan)
            out[row] = seen[key]
        return out


@dataclass(frozen=True)
class Column:
    """One column that the booster reads: a feature's value, or one of its special codes."""

    feature: int
    code: float | None = None


@dataclass(frozen=True)
class Encoder:
    """What turns the features of a table into the booster's columns."""

    features: tuple[Feature, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """The booster's columns: all features in order, then their special codes."""
        codes = [Column(k, c) for k, f in enumerate(self.features) for c in f.special]
        return (*(Column(k) for k in range(len(self.features))), *codes)

    @property
    def directions(self) -> tuple[int, ...]:
        """The direction of each column."""
        return tuple(
            self.features[c.feature].direction if c.code is None else 0 for c in self.columns
        )

    @property
    def categorical(self) -> tuple[int, ...]:
        """Columns that hold categories."""
        return tuple(k for k, f in enumerate(self.features) if f.levels is not None)

    def encode(self, values: FloatArray) -> FloatArray:
        """The booster's columns of features (N, features), categories as positions."""
        codes = [c for c in self.columns if c.code is not None]
        out = np.empty((len(values), len(self.features) + len(codes)))
        out[:, : len(self.features)] = values
        for k, column in enumerate(codes, start=len(self.features)):
            at = values[:, column.feature] == column.code
            out[:, k] = at
            out[at, column.feature] = np.nan
        return out

    def by_feature(self, attributions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Attributions of columns, (N, columns), summed to features, (N, features)."""
        out = attributions[:, : len(self.features)].copy()
        for k, column in enumerate(self.columns):
            if column.code is not None:
                out[:, column.feature] += attributions[:, k]
        return out

    def to_json(self) -> dict[str, Any]:
        """The features as a document without floats: codes are decimal strings."""
        return {
            "features": [
                {
                    "name": f.name,
                    "kind": "number" if f.levels is None else "category",
                    "levels": None if f.levels is None else list(f.levels),
                    "special": [number_text(c) for c in f.special],
                    "direction": f.direction,
                }
                for f in self.features
            ]
        }

    @staticmethod
    def from_json(document: Mapping[str, Any]) -> Encoder:
        """Read what ``to_json`` wrote."""
        return Encoder(
            tuple(
                Feature(
                    str(f["name"]),
                    None if f["levels"] is None else tuple(f["levels"]),
                    tuple(float(c) for c in f["special"]),
                    int(f["direction"]),
                )
                for f in document["features"]
            )
        )


def levels_in(values: Sequence[Any] | npt.NDArray[Any]) -> tuple[str | None, ...]:
    """The levels that occur, in a fixed order, the missing one last.

    >>> levels_in(["b", None, "a"])
    ('a', 'b', None)
    """
    found = {level_of(v) for v in values}
    named = sorted(level for level in found if level is not None)
    return (*named, None) if None in found else tuple(named)


def declared(
    names: Sequence[str],
    categories: Mapping[str, tuple[str | None, ...]],
    monotone: Mapping[str, int],
    special: Mapping[str, Sequence[float]],
) -> Encoder:
    """An encoder of named features with their declarations.

    Raises
    ------
    InputError
        If a declaration names no feature, a direction is not -1, 0 or +1, or a category has one.
    """
    for what, given in (("categorical", categories), ("monotone", monotone), ("special", special)):
        for name in given:
            if name not in names:
                raise InputError(f"{what} names {name!r}, which is no feature of the table")
    for name, direction in monotone.items():
        if direction not in (-1, 0, 1):
            raise InputError(f"the direction of {name!r} is {direction!r}; it is 1, -1 or 0")
    for name in categories:
        if monotone.get(name) or special.get(name):
            raise InputError(
                f"{name!r} is a category: it has levels, not a direction or special codes"
            )
    return Encoder(
        tuple(
            Feature(
                name,
                categories.get(name),
                tuple(sorted({float(c) for c in special.get(name, ())})),
                int(monotone.get(name, 0)),
            )
            for name in names
        )
    )
