"""The documentation page and the DDL of the contract tables, generated from their declarations."""

from __future__ import annotations

from data_contracts.columns import UNITS, Column, Table
from data_contracts.ddl import SQL_TYPES, Dialect, create_table
from data_contracts.quality.rules import rules_of
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
holds every rule of [contracts.md](contracts.md) and copies each bad row to
`LAKE/quarantine/TABLE.parquet`. A column's `in TABLE` names the table that has a row with the same
value.

Privacy classes: `public`; `pseudonymous` (personal data under a random number); `protected` (for
the fairness audit only); `direct` (identifies a person, encrypted).
"""

_CONTRACTS = """\
# Contracts

Generated from the declarations in `data_contracts/`; do not edit by hand. One declaration of a
table gives its Arrow schema, its DDL for DuckDB and PostgreSQL, its Great Expectations suite, the
page [tables.md](tables.md) and the rules below.

`gearline data check LAKE` holds all of them in one pass of DuckDB over the files, with bounded
memory. A rule's full name is `TABLE.RULE`; it does not change. Exit code 1 says that a row is bad.

**Effect.** `left out`: readers leave the row out. `superseded`: readers take the later row.
`reported`: readers keep the row, because a rule between tables says that two rows disagree and not
which one is wrong. A row may break several rules and then counts under each.

**Quarantine.** `LAKE/quarantine/TABLE.parquet` has a row for each bad row and rule: `table, key,
file, row` (the position in the file, from 0), `rule, text, value, way_out`, then every column as
it is stored. Table files are never changed. A later check renews the folder.

**Stopping.** Where more than a table's share of rows is bad (see tables.md), the source is wrong
and not the odd row: the check says `stopped`, and every reader refuses the lake, decisions
included, until a later check lets it pass. A `fresh` rule counts no row towards that share.

**Between tables** the newest version of each key counts, without rows that are left out, and only
where the lake has all the tables that the rule compares. An account opened before the lake's first
balance or holding starts with an opening one, which is not judged. A trade at price 0 is a booking:
it moves shares and is no fill. A price may carry costs of up to 1 %, and a limit is rounded to the
tick. Days are those of the lake's market; freshness is against the newest fill, flow or balance.

**Great Expectations.** `LAKE/quarantine/validation.json` holds the counts of every rule as
validation results. `gearline data docs LAKE` writes them as Data Docs, which load nothing from
elsewhere, with a project that `great_expectations.get_context(project_root_dir=DIR)` opens. The
suites also run by themselves on tables of up to 1,000,000 rows
(`data_contracts.quality.suites.run_suites`); a rule between rows or tables is a column
`rule: NAME` there, worked out in pandas.

**Bringing data in.** `gearline data import SOURCE --table NAME --out LAKE` reads CSV (UTF-8 or
GB18030), Parquet and PostgreSQL (`pip install 'gearline[postgres]'`). Values become the declared
types without a float in between; what has more places than the unit holds is rounded half to even
and counted. A row that cannot be read is set aside in `LAKE/quarantine/import-TABLE.parquet`; above
the table's share the delivery is refused and the lake stays as it was. Import `clients` first.
"""


def tables_markdown() -> str:
    """The page ``docs/tables.md``."""
    contents = ["| table | one row is | 中文 |", "|---|---|---|"]
    contents += [f"| [`{t.name}`](#{t.name}) | {t.en} | {t.zh} |" for t in TABLES.values()]
    sections = [_section(spec) for spec in TABLES.values()]
    return "\n".join([_PREFACE, *contents, "", "\n".join(sections)])


def contracts_markdown() -> str:
    """The page ``docs/contracts.md``: what holds, what a broken rule means, every rule."""
    return "\n".join([_CONTRACTS, *(_rules_section(name) for name in TABLES)])


def _rules_section(name: str) -> str:
    lines = [f"## {name}", "", "| rule | what holds | 规则 | effect | way out | 办法 |"]
    lines.append("|---|---|---|---|---|---|")
    for rule in rules_of(name):
        cells = (f"`{rule.name.partition('.')[2]}`", rule.en, rule.zh, rule.effect)
        ways = (rule.way_out, rule.way_out_zh)
        escaped = (cell.replace("|", "\\|") for cell in (*cells, *ways))
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join([*lines, ""])


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
    if spec.fresh_days is not None:
        lines.append(f"- fresh: at most {spec.fresh_days} days behind the book's last day")
    lines.append(f"- stops above {spec.max_bad_percent} % of bad rows")
    lines += [f"- rule: `{rule}`" for rule in spec.comparisons]
    if spec.known_after:
        lines.append("- rule: `known_at >= event_at`")
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
    if column.references is not None:
        return f"in `{column.references}`"
    if column.choices:
        return ", ".join(f"`{choice}`" for choice in column.choices)
    if column.low is not None and column.high is not None:
        return f"{column.low} to {column.high}"
    if column.low is not None:
        return f"at least {column.low}"
    return "" if column.high is None else f"at most {column.high}"
