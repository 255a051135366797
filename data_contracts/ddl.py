"""``CREATE TABLE`` of the contract tables, for DuckDB and PostgreSQL."""

from __future__ import annotations

from typing import Final, Literal

from data_contracts.columns import Column, Kind, Table

Dialect = Literal["duckdb", "postgresql"]
DIALECTS: Final[tuple[Dialect, ...]] = ("duckdb", "postgresql")

SQL_TYPES: Final[dict[Kind, str]] = {
    "id": "VARCHAR",
    "text": "VARCHAR",
    "money": "DECIMAL(18,2)",
    "price": "DECIMAL(18,4)",
    "shares": "BIGINT",
    "ratio": "DECIMAL(18,6)",
    "bps": "INTEGER",
    "int": "BIGINT",
    "date": "DATE",
    "timestamp": "TIMESTAMPTZ",
    "flag": "BOOLEAN",
    "bytes": "BLOB",
}


def sql_type(column: Column, dialect: Dialect = "duckdb") -> str:
    """The SQL type of a column; both dialects differ in bytes only."""
    if dialect == "postgresql" and column.kind == "bytes":
        return "BYTEA"
    return SQL_TYPES[column.kind]


def create_table(spec: Table, dialect: Dialect = "duckdb") -> str:
    """``CREATE TABLE`` with its checks, then the meaning of table and columns as comments.

    A reference names a row of which there may be several versions, so it cannot be a foreign key
    of SQL: it stands in the column's comment, and ``gearline data check`` holds it.
    """
    lines = []
    for c in spec.columns:
        line = f"  {c.name} {sql_type(c, dialect)}"
        if not c.nullable:
            line += " NOT NULL"
        if c.choices:
            allowed = ", ".join(f"'{v}'" for v in c.choices)
            line += f" CHECK ({c.name} IN ({allowed}))"
        for sign, bound in ((">=", c.low), ("<=", c.high)):
            if bound is not None:
                line += f" CHECK ({c.name} {sign} {bound})"
        lines.append(line)
    lines += [f"  CHECK ({rule.sql})" for rule in spec.comparisons]
    if spec.known_after:
        lines.append("  CHECK (known_at >= event_at)")
    key = dict.fromkeys((*spec.key, "known_at"))
    lines.append(f"  PRIMARY KEY ({', '.join(key)})")
    made = f"CREATE TABLE {spec.name} (\n" + ",\n".join(lines) + "\n);\n"
    comments = [f"COMMENT ON TABLE {spec.name} IS {_text(f'{spec.en} · {spec.zh}')};"]
    for c in spec.columns:
        meaning = f"{c.en} · {c.zh} ({c.privacy})"
        if c.references is not None:
            meaning += f"; in {c.references}.{c.name}"
        comments.append(f"COMMENT ON COLUMN {spec.name}.{c.name} IS {_text(meaning)};")
    return made + "\n".join(comments) + "\n"


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"
