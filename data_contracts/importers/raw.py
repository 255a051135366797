"""A price file on its way to the daily form: columns in quanta, rows to drop, counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from data_contracts.errors import InputError
from data_contracts.importers.daily import VALUES, Daily, DateArray, Security, sorted_daily
from data_contracts.importers.source import AnyFloats, days, floats, symbols, to_quanta
from data_contracts.units import NULL, BoolArray, IntArray

LARGEST_PRICE: Final = 9_000_000
"""With it a price in 0.0001 times an adjustment ratio in 1e-8 stays inside int64."""


@dataclass(frozen=True)
class Read:
    """A file in daily form, the sessions it covers, and the counts of the report."""

    daily: Daily
    sessions: DateArray
    inexact: Counter[str]
    dropped: Counter[str]
    unknown_limits: int = 0


class RawFile:
    """The rows of one price file while its format is being read."""

    def __init__(
        self, path: Path, table: pa.Table, parse_symbol: Callable[[str], Security]
    ) -> None:
        self.path = path
        self.table = table
        self.day = days(path, table)
        self.values: dict[str, IntArray] = {}
        self._rough: dict[str, BoolArray] = {}
        self._keep = np.ones(table.num_rows, dtype=np.bool_)
        self._dropped: Counter[str] = Counter()
        names, code = symbols(path, table)
        position: dict[str, int] = {}
        self.securities: list[Security] = []
        recode = np.empty(len(names), dtype=np.int64)
        for i, name in enumerate(names):
            security = parse_symbol(name)
            recode[i] = position.setdefault(security.symbol, len(self.securities))
            if recode[i] == len(self.securities):
                self.securities.append(security)
            elif self.securities[recode[i]].mic != security.mic:
                other = self.securities[recode[i]].mic
                raise InputError(
                    f"{path}: a code belongs to one exchange in a market folder; {security.symbol}"
                    f" is on {other} and on {security.mic}; leave one of them out"
                )
        self.code = recode[code]

    def numbers(self, column: str) -> AnyFloats:
        """A numeric column as the file holds it."""
        return floats(self.path, self.table, column)

    def take_price(self, column: str) -> None:
        """Take a price in 0.0001; a row whose price is not positive or too large is dropped."""
        given = self.numbers(column)
        self.drop(given <= 0, "non-positive price")
        self.drop(given > LARGEST_PRICE, f"price above {LARGEST_PRICE}")
        if column == "close":
            self.drop(np.isnan(given), "no close")
        self.values[column], self._rough[column] = to_quanta(given, 4)

    def take_amount(self, column: str, name: str, places: int) -> None:
        """Take shares or money; a row with a negative or infinite amount is dropped."""
        given = self.numbers(column)
        self.drop((given < 0) | (given > 1e15), f"{column} is negative or above 1e15")
        self.values[name], self._rough[name] = to_quanta(given, places)

    def drop(self, rows: BoolArray, reason: str) -> None:
        """Leave rows out; a row counts for the first of its reasons."""
        new = rows & self._keep
        if bool(new.any()):
            self._dropped[reason] += int(new.sum())
            self._keep &= ~rows

    def inexact(self, name: str) -> BoolArray:
        """Which values of a column were not exact."""
        return self._rough[name]

    def finish(self) -> Read:
        """The rows that stay, columns that the format lacks null and flags that it lacks unset."""
        if not bool(self._keep.any()):
            reasons = ", ".join(f"{n} {reason}" for reason, n in self._dropped.items())
            raise InputError(f"{self.path} has no usable row ({reasons}); export it again")
        inexact = Counter({n: int((r & self._keep).sum()) for n, r in self._rough.items()})
        rows = len(self._keep)
        columns = dict(self.values)
        for name in VALUES:
            if name not in columns:
                value = 0 if name in ("suspended", "is_special_treatment") else NULL
                columns[name] = np.full(rows, value, dtype=np.int64)
        kept = {name: column[self._keep] for name, column in columns.items()}
        daily, repeated = sorted_daily(
            self.securities, self.code[self._keep], self.day[self._keep], kept
        )
        dropped = self._dropped + Counter({"duplicate key": repeated})
        return Read(daily, np.unique(daily.day), inexact, dropped)
