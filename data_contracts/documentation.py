"""The documentation page and the DDL of the contract tables, generated from their declarations."""

from __future__ import annotations

from data_contracts.columns import UNITS, Column, Table
from data_contracts.ddl import SQL_TYPES, Dialect, create_table
from data_contracts.tables import TABLES

_PREFACE = """\
# Tables

Generated from the declarations in `data_contracts/tables/`; do not edit by hand. A lake is a
folder of Parquet with one sub-folder a table. Clients' tables are split into
`bucket=NNN` folders; shared tables are not. Every row has `event_at`, when it happened, and
`known_at`, when the lender knew; it is visible at a time when both lie at or before it. Of
several versions of a key the one with the greatest `known_at` counts, of two with the same
`known_at` the later row.

A row that breaks a rule on nulls, values or between columns is not read. `gearline data check LAKE`
names every such row, two rows with the same key and `known_at` but other content, and rows of a
client or account that is in no table, and copies them to `LAKE/quarantine/TABLE.parquet`.

Privacy classes: `public`; `pseudonymous` (personal data under a random number); `protected` (for
the fairness audit only); `direct` (identifies a person, encrypted).
"""


def tables_markdown() -> str:
    """The page ``docs/tables.md``."""
    contents = ["| table | one row is | 中文 |", "|---|---|---|"]
    contents += [f"| [`{t.name}`](#{t.name}) | {t.en} | {t.zh} |" for t in TABLES.values()]
    sections = [_section(spec) for spec in TABLES.values()]
    return "\n".join([_PREFACE, *contents, "", "\n".join(sections)])


def ddl_script(dialect: Dialect = "duckdb") -> str:
    """``CREATE TABLE`` of every contract table, for DuckDB or PostgreSQL."""
    return "\n".join(create_table(spec, dialect) for spec in TABLES.values())


def _section(spec: Table) -> str:
    kept = "split into buckets" if spec.bucketed else "shared by all clients"
    lines = [
        f"## {spec.name}",
        "",
        f"{spec.en} · {spec.zh}",
        "",
        f"- key: {', '.join(f'`{name}`' for name in spec.key)}",
        f"- event: `{spec.event}`",
        f"- {kept}",
    ]
    lines += [f"- rule: `{rule}`" for rule in spec.comparisons]
    lines += ["", "| column | type | unit | null | values | privacy | meaning | 含义 |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    lines += [_row(column) for column in spec.columns]
    return "\n".join([*lines, ""])


def _row(column: Column) -> str:
    cells = (
        f"`{column.name}`",
        SQL_TYPES[column.kind],
        UNITS.get(column.kind, ""),
        "yes" if column.nullable else "no",
        _values(column),
        column.privacy,
        column.en,
        column.zh,
    )
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _values(column: Column) -> str:
    if column.choices:
        return ", ".join(f"`{choice}`" for choice in column.choices)
    if column.low is not None and column.high is not None:
        return f"{column.low} to {column.high}"
    if column.low is not None:
        return f"at least {column.low}"
    return "" if column.high is None else f"at most {column.high}"
