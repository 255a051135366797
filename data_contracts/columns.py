"""How a table declares its columns: kind, meaning in English and Chinese, range, privacy class."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal

import pyarrow as pa

Kind = Literal[
    "id", "text", "money", "price", "shares", "ratio", "bps", "int", "date", "timestamp", "flag",
    "bytes",
]  # fmt: skip
Privacy = Literal["public", "pseudonymous", "protected", "direct"]

ARROW_TYPES: Final[dict[Kind, pa.DataType]] = {
    "id": pa.string(),
    "text": pa.string(),
    "money": pa.decimal128(18, 2),
    "price": pa.decimal128(18, 4),
    "shares": pa.int64(),
    "ratio": pa.decimal128(18, 6),
    "bps": pa.int32(),
    "int": pa.int64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "flag": pa.bool_(),
    "bytes": pa.binary(),
}
UNITS: Final[dict[Kind, str]] = {
    "money": "account currency",
    "price": "currency per share",
    "shares": "shares",
    "ratio": "1 = 100 %",
    "bps": "0.0001 a year",
    "timestamp": "UTC",
}


@dataclass(frozen=True)
class Column:
    """One column of a table, as declared on a field of the table's dataclass."""

    name: str
    kind: Kind
    en: str
    zh: str
    nullable: bool
    low: int | None
    high: int | None
    choices: tuple[str, ...]
    privacy: Privacy
    references: str | None = None

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type of the column."""
        return ARROW_TYPES[self.kind]


def col(
    kind: Kind,
    en: str,
    zh: str,
    *,
    nullable: bool = False,
    low: int | None = None,
    high: int | None = None,
    choices: tuple[str, ...] = (),
    privacy: Privacy = "pseudonymous",
    references: str | None = None,
) -> Any:
    """Declare a column on a dataclass field. ``low`` and ``high`` are inclusive, in whole units.

    ``references`` names the table in which a row has the same value in the column of that name.
    """
    return field(
        metadata={
            "column": {
                "kind": kind,
                "en": en,
                "zh": zh,
                "nullable": nullable,
                "low": low,
                "high": high,
                "choices": choices,
                "privacy": privacy,
                "references": references,
            }
        }
    )


@dataclass(frozen=True)
class Comparison:
    """A rule between a column and another column or a whole number, for rows that have both.

    With ``when``, a column and one of its words, only for rows where the column says that word.
    """

    left: str
    sign: str
    right: str | int
    when: tuple[str, str] | None = None

    @staticmethod
    def parse(text: str) -> Comparison:
        """Read ``"close > 0"`` or ``"outstanding <= principal if kind = financing"``."""
        rule, _, condition = text.partition(" if ")
        left, sign, right = rule.split()
        when = None
        if condition:
            column, _, word = condition.partition(" = ")
            when = (column, word)
        return Comparison(left, sign, int(right) if right.isdigit() else right, when)

    def __str__(self) -> str:
        rule = f"{self.left} {self.sign} {self.right}"
        return rule if self.when is None else f"{rule} if {self.when[0]} = {self.when[1]}"

    @property
    def sql(self) -> str:
        """The rule as an SQL condition."""
        rule = f"{self.left} {self.sign} {self.right}"
        return rule if self.when is None else f"{self.when[0]} <> '{self.when[1]}' OR {rule}"


@dataclass(frozen=True)
class Table:
    """A contract table: its columns, key and what says when a row happened."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    event: str
    bucketed: bool
    en: str
    zh: str
    comparisons: tuple[Comparison, ...] = ()
    known_after: bool = False
    fresh_days: int | None = None
    max_bad_percent: int = 1

    def column(self, name: str) -> Column:
        """The declaration of a column, by name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema, in declared order, with ``event_at`` and ``known_at`` last."""
        return pa.schema(
            [pa.field(c.name, c.arrow_type, nullable=c.nullable) for c in self.columns]
        )


TABLES: dict[str, Table] = {}
"""Every contract table by name; filled by the declarations in ``data_contracts.tables``."""


def table(
    name: str,
    *,
    key: tuple[str, ...],
    event: str,
    zh: str,
    bucketed: bool = True,
    rules: tuple[str, ...] = (),
    known_after: bool = False,
    fresh_days: int | None = None,
    max_bad_percent: int = 1,
) -> Any:
    """Class decorator that registers a dataclass as a contract table.

    ``event`` names the business column that says when the row happened. The physical columns
    ``event_at`` and ``known_at`` are added to every table. ``rules`` are comparisons such as
    ``"high >= low"``, beside what the columns themselves declare. With ``known_after`` no row is
    known before it happens; the newest row lies at most ``fresh_days`` calendar days behind the
    book; above ``max_bad_percent`` of bad rows the source is wrong, not the odd row, and the run
    stops.
    """

    def register(cls: type[Any]) -> type[Any]:
        made = dataclass(frozen=True)(cls)
        columns = [Column(name=f.name, **f.metadata["column"]) for f in fields(made)]
        stamps = [
            Column(stamp, "timestamp", stamp_en, stamp_zh, False, None, None, (), "public")
            for stamp, stamp_en, stamp_zh in (
                ("event_at", "When it happened", "发生时间"),
                ("known_at", "When the lender knew", "获知时间"),
            )
        ]
        en = (cls.__doc__ or "").strip().split("\n")[0]
        comparisons = tuple(Comparison.parse(rule) for rule in rules)
        TABLES[name] = Table(
            name,
            tuple(columns + stamps),
            key,
            event,
            bucketed,
            en,
            zh,
            comparisons,
            known_after,
            fresh_days,
            max_bad_percent,
        )
        return made

    return register
