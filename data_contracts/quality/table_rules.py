"""The rules of one table as DuckDB statements: rows, keys over versions, references, clocks."""

from __future__ import annotations

from collections.abc import Sequence

from data_contracts.columns import Table
from data_contracts.quality.rules import Rule, row_rule_name
from data_contracts.quality.scan import Scan
from data_contracts.row_rules import row_rules
from data_contracts.tables import TABLES


def value_sql(spec: Table, columns: Sequence[str]) -> str:
    """The values that a rule looked at, as text; never what identifies a person."""
    texts = [
        "'(hidden)'"
        if spec.column(name).privacy == "direct"
        else f"coalesce(CAST({name} AS VARCHAR), 'null')"
        for name in columns
    ]
    if len(columns) == 1:
        return texts[0]
    named = [f"'{name}=' || {text}" for name, text in zip(columns, texts, strict=True)]
    return " || ', ' || ".join(named)


def check_rows(scan: Scan, name: str) -> None:
    """Row rules and clocks, in one scan; rules proved by the files' statistics are left out."""
    spec = TABLES[name]
    conditions = [
        (row_rule_name(spec, rule), rule.columns, rule.sql)
        for rule in row_rules(spec)
        if row_rule_name(spec, rule) in scan.unproved[name]
    ]
    if spec.known_after:
        columns = ("known_at", "event_at")
        conditions.append((f"{name}.known_at_ge_event_at", columns, "known_at < event_at"))
    if not conditions:
        return
    broken = ", ".join(
        f"CASE WHEN {sql} THEN {{'rule': '{rule}', 'value': {value_sql(spec, columns)}}} END"
        for rule, columns, sql in conditions
    )
    scan.db.execute(
        f"INSERT INTO findings SELECT '{name}', f.rule, _file, _row, f.value FROM"
        f" (SELECT _file, _row, unnest([{broken}]) AS f FROM raw_{name}"
        f" WHERE {' OR '.join(f'({sql})' for _, _, sql in conditions)}) WHERE f IS NOT NULL"
    )


def check_references(scan: Scan, rule: Rule) -> None:
    """Rows that name a row of another table which is not there."""
    (column,) = rule.columns
    (home,) = rule.needs
    scan.db.execute(
        f"INSERT INTO findings SELECT '{rule.table}', '{rule.name}', _file, _row, r.{column}"
        f" FROM raw_{rule.table} r ANTI JOIN (SELECT DISTINCT {column} FROM raw_{home}) h"
        f" ON r.{column} = h.{column} WHERE r.{column} IS NOT NULL"
    )


def check_versions(scan: Scan, name: str) -> None:
    """Keys with several versions: ``old_TABLE`` are the rows that a newer version replaces.

    Of two rows with the same key and ``known_at`` the later stands; the earlier breaks the rule
    unless it says the same. Hashes find the keys in question, which are then compared.
    """
    spec = TABLES[name]
    key = ", ".join(spec.key)
    scan.good(name, versions=False)
    scan.db.execute(
        f"CREATE OR REPLACE TEMP TABLE several AS SELECT hash({key}) AS h FROM good_{name}"
        " GROUP BY h HAVING count(*) > 1"
    )
    scan.db.execute(f"CREATE TEMP TABLE old_{name} (_file INTEGER, _row BIGINT, differs BOOLEAN)")
    if not scan.one("SELECT count(*) FROM several"):
        return
    content = ", ".join(c.name for c in spec.columns)
    place = "known_at, _file, _row"
    scan.db.execute(
        f"INSERT INTO old_{name} SELECT _file, _row, next_known = known_at AND last <> content FROM"
        f" (SELECT _file, _row, known_at, content,"
        f" lead(known_at) OVER (PARTITION BY {key} ORDER BY {place}) AS next_known,"
        f" last_value(content) OVER (PARTITION BY {key}, known_at ORDER BY {place}"
        " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS last"
        f" FROM (SELECT {key}{'' if 'known_at' in spec.key else ', known_at'}, _file, _row,"
        f" hash({content}) AS content FROM good_{name}"
        f" SEMI JOIN several ON hash({key}) = several.h)) WHERE next_known IS NOT NULL"
    )
    if scan.one(f"SELECT count(*) FROM old_{name} WHERE differs"):
        columns = tuple(dict.fromkeys((*spec.key, "known_at")))
        scan.db.execute(
            f"INSERT INTO findings SELECT '{name}', '{name}.key_unique', r._file, r._row,"
            f" {value_sql(spec, columns)} FROM raw_{name} r"
            f" JOIN (SELECT * FROM old_{name} WHERE differs) o USING (_file, _row)"
        )


def check_fresh(scan: Scan, name: str, book: str | None) -> None:
    """The newest row is the witness of a table that lies too far behind the book's last day."""
    spec = TABLES[name]
    if book is None:
        return
    late = f"date_diff('day', {scan.day('event_at')}, DATE '{book}')"
    scan.db.execute(
        f"INSERT INTO findings SELECT '{name}', '{name}.fresh', _file, _row,"
        f" {value_sql(spec, ('event_at',))} || ', the book ends {book}' FROM (SELECT * FROM"
        f" raw_{name} WHERE event_at IS NOT NULL ORDER BY event_at DESC, _file DESC, _row DESC"
        f" LIMIT 1) WHERE {late} > {spec.fresh_days}"
    )


def last_day_of_book(scan: Scan) -> str | None:
    """The newest day of fills, cash and balances: what the market's tables must reach."""
    days = [
        scan.one(f"SELECT CAST({scan.day('max(event_at)')} AS VARCHAR) FROM raw_{name}")
        for name in ("trades", "cash_flows", "balances")
        if scan.has(name)
    ]
    return max((day for day in days if day is not None), default=None)
