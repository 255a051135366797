"""The rules that a single row must keep, derived from the declaration of its table.

A rule can be proved for a whole file from its Parquet statistics, for a whole table from a few
reductions, and only where both fail row by row. A null breaks no rule but ``not null``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.columns import Comparison, Table
from data_contracts.units import BoolArray, IntArray

_TESTS: Final[Mapping[str, tuple[Callable[[Any, Any], bool], Callable[[Any, Any], Any]]]] = {
    ">=": (operator.ge, pc.greater_equal),
    "<=": (operator.le, pc.less_equal),
    ">": (operator.gt, pc.greater),
}
"""Each comparison on two values and on two columns."""


@dataclass(frozen=True)
class Statistics:
    """What the row groups of a file say of one column; ``low`` is None where they do not say."""

    rows: int
    nulls: int
    low: Any
    high: Any


@dataclass(frozen=True)
class RowRule:
    """One rule. ``name`` states it, ``way_out`` says what to do with a row that breaks it."""

    name: str
    columns: tuple[str, ...]
    way_out: str

    def broken(self, table: pa.Table) -> Any:
        """Which rows break the rule: an Arrow array of booleans without nulls."""
        raise NotImplementedError

    def holds(self, table: pa.Table) -> bool:
        """Whether every row keeps the rule, as cheaply as can be told."""
        return not pc.any(self.broken(table)).as_py()

    def proved(self, statistics: Sequence[Statistics]) -> bool:
        """Whether the statistics of its columns alone prove the rule."""
        return False

    @property
    def sql(self) -> str:
        """The SQL condition of a row that breaks the rule; null where it cannot be told."""
        raise NotImplementedError


@dataclass(frozen=True)
class NotNull(RowRule):
    """The column is always given."""

    def broken(self, table: pa.Table) -> Any:
        return pc.is_null(table[self.columns[0]])

    def holds(self, table: pa.Table) -> bool:
        return bool(table[self.columns[0]].null_count == 0)

    def proved(self, statistics: Sequence[Statistics]) -> bool:
        return statistics[0].nulls == 0

    @property
    def sql(self) -> str:
        return f"{self.columns[0]} IS NULL"


@dataclass(frozen=True)
class Bound(RowRule):
    """The column keeps to one side of a whole number."""

    sign: str
    bound: int

    def broken(self, table: pa.Table) -> Any:
        column = table[self.columns[0]]
        decimal = pa.types.is_decimal(column.type)
        bound = pa.scalar(Decimal(self.bound) if decimal else self.bound, type=column.type)
        return pc.fill_null(pc.invert(_TESTS[self.sign][1](column, bound)), False)

    def holds(self, table: pa.Table) -> bool:
        found = pc.min_max(table[self.columns[0]]).as_py()
        return self._inside(found["min"], found["max"])

    def proved(self, statistics: Sequence[Statistics]) -> bool:
        (s,) = statistics
        return s.nulls == s.rows or (s.low is not None and self._inside(s.low, s.high))

    @property
    def sql(self) -> str:
        return f"NOT ({self.columns[0]} {self.sign} {self.bound})"

    def _inside(self, low: Any, high: Any) -> bool:
        extreme = high if self.sign == "<=" else low
        return extreme is None or _TESTS[self.sign][0](extreme, self.bound)


@dataclass(frozen=True)
class OneOf(RowRule):
    """The column is one of a few words."""

    choices: tuple[str, ...]

    def broken(self, table: pa.Table) -> Any:
        column = table[self.columns[0]]
        coded = pa.types.is_dictionary(column.type)
        words = pa.array(self.choices, type=column.type.value_type if coded else column.type)
        known = pc.is_in(column, value_set=words)
        return pc.and_(pc.invert(known), pc.is_valid(column))

    def holds(self, table: pa.Table) -> bool:
        return set(table[self.columns[0]].unique().to_pylist()) <= {None, *self.choices}

    @property
    def sql(self) -> str:
        words = ", ".join(f"'{word}'" for word in self.choices)
        return f"{self.columns[0]} NOT IN ({words})"


@dataclass(frozen=True)
class Ordered(RowRule):
    """Two columns stand in order where both are given, and where ``word`` is if there is one."""

    sign: str
    word: str | None

    def broken(self, table: pa.Table) -> Any:
        left, right = (table[name] for name in self.columns[:2])
        out = pc.fill_null(pc.invert(_TESTS[self.sign][1](left, right)), False)
        if self.word is None:
            return out
        return pc.and_(out, pc.fill_null(pc.equal(table[self.columns[2]], self.word), False))

    def proved(self, statistics: Sequence[Statistics]) -> bool:
        return any(s.nulls == s.rows for s in statistics)

    @property
    def sql(self) -> str:
        broken = f"NOT ({self.columns[0]} {self.sign} {self.columns[1]})"
        return broken if self.word is None else f"{broken} AND {self.columns[2]} = '{self.word}'"


@cache
def row_rules(spec: Table) -> tuple[RowRule, ...]:
    """The rules of a table: nulls, ranges, choices, then the comparisons it declares."""
    rules: list[RowRule] = [
        NotNull(f"{c.name} not null", (c.name,), "supply the value or leave the row out")
        for c in spec.columns
        if not c.nullable
    ]
    for c in spec.columns:
        for sign, bound in ((">=", c.low), ("<=", c.high)):
            if bound is not None:
                rules.append(_bound(Comparison(c.name, sign, bound)))
        if c.choices:
            way_out = "write one of these words or leave the row out"
            rules.append(
                OneOf(f"{c.name} in ({', '.join(c.choices)})", (c.name,), way_out, c.choices)
            )
    for rule in spec.comparisons:
        if isinstance(rule.right, int):
            rules.append(_bound(rule))
        else:
            way_out = f"correct {rule.left} or {rule.right}"
            column, word = rule.when or (None, None)
            columns = (rule.left, rule.right) if column is None else (rule.left, rule.right, column)
            rules.append(Ordered(str(rule), columns, way_out, rule.sign, word))
    return tuple(rules)


def _bound(rule: Comparison) -> RowRule:
    assert isinstance(rule.right, int)
    return Bound(str(rule), (rule.left,), "correct the value or its unit", rule.sign, rule.right)


def unproved_rules(spec: Table, metadata: pq.FileMetaData, schema: pa.Schema) -> list[RowRule]:
    """The rules that the statistics of a Parquet file do not prove.

    A rule on a column that the file lacks is left out: whoever asks for the column is told.
    """
    groups = [metadata.row_group(k) for k in range(metadata.num_row_groups)]
    place = {metadata.schema.column(k).path: k for k in range(metadata.num_columns)}
    known: dict[str, Statistics | None] = {}
    ranged = {rule.columns[0] for rule in row_rules(spec) if isinstance(rule, Bound)}
    left = []
    for rule in row_rules(spec):
        if any(name not in place for name in rule.columns):
            continue
        for name in rule.columns:
            if name not in known:
                found = schema.field(name).type
                stored = found.value_type if pa.types.is_dictionary(found) else found
                declared = stored == spec.column(name).arrow_type
                known[name] = _statistics(groups, place[name], name in ranged) if declared else None
        statistics = [s for s in (known[name] for name in rule.columns) if s is not None]
        if len(statistics) < len(rule.columns) or not rule.proved(statistics):
            left.append(rule)
    return left


def _statistics(
    groups: Sequence[pq.RowGroupMetaData], place: int, ranged: bool
) -> Statistics | None:
    """What the groups say of a column; the range only where a rule asks for it."""
    rows = nulls = 0
    lows, highs = [], []
    bounded = True
    for group in groups:
        found = group.column(place).statistics
        if found is None or not found.has_null_count:
            return None
        rows += group.num_rows
        nulls += found.null_count
        if ranged and found.has_min_max:
            lows.append(found.min)
            highs.append(found.max)
        elif found.null_count < group.num_rows:
            bounded = False
    if not bounded or not lows:
        return Statistics(rows, nulls, None, None)
    return Statistics(rows, nulls, min(lows), max(highs))


def first_broken(rules: Sequence[RowRule], table: pa.Table) -> IntArray | None:
    """For each row the position of the first rule it breaks, -1 for none; None if all is well."""
    failing = [(k, rule) for k, rule in enumerate(rules) if not rule.holds(table)]
    if not failing:
        return None
    out = np.full(table.num_rows, -1, dtype=np.int64)
    for k, rule in reversed(failing):
        broken: BoolArray = np.asarray(_whole(rule.broken(table))).astype(bool)
        out[broken] = k
    return out


def _whole(array: Any) -> Any:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
