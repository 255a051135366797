"""The checks of a lake: every row rule, keys and references; bad rows go to quarantine.

``LAKE/quarantine/TABLE.parquet`` holds each bad row with its file and position, the first rule it
breaks, the value and the way out. The table files are left as they are: ``read_table`` leaves out
rows that break a row rule, readers of versions take the later of two rows with the same key and
``known_at``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import lake_info, read_file, table_files, write_parquet
from data_contracts.row_rules import RowRule, first_broken, row_rules
from data_contracts.tables import TABLES, Table
from data_contracts.units import IntArray

QUARANTINE: Final = "quarantine"
MAX_BAD_PERCENT: Final = 1
"""Share of a table's rows that may be bad; above it the source is wrong, not the odd row."""

DUPLICATE_KEY: Final = "duplicate key"
_DUPLICATE_WAY_OUT: Final = "give a correction a later known_at; the later row was kept"

REFERENCES: Final = {"client_id": "clients", "account_id": "accounts"}
"""Columns that name a row of another table, and that table."""


@dataclass(frozen=True)
class CheckedRows:
    """The good rows, and the bad ones with ``row, rule, value, way_out`` before their columns."""

    good: pa.Table
    bad: pa.Table


@dataclass(frozen=True)
class CheckReport:
    """What ``check_lake`` found; ``by_rule`` counts bad rows by ``table: rule``."""

    rows: int
    quarantined: int
    by_rule: dict[str, int]


@dataclass(frozen=True)
class _Finding:
    """Bad rows of one rule: positions in the table, values as text."""

    rule: str
    way_out: str
    rows: IntArray
    values: Any


def check_rows(spec: Table, table: pa.Table) -> CheckedRows:
    """Split a table into rows that keep every row rule and rows that break one.

    A rule on a column that ``table`` lacks is left out.
    """
    names = set(table.column_names)
    rules = [rule for rule in row_rules(spec) if names.issuperset(rule.columns)]
    return _split(table, _row_findings(rules, table))


def check_lake(
    root: Path, *, write: bool = True, progress: Callable[[str, int, int], None] | None = None
) -> CheckReport:
    """Check every contract table of a lake; with ``write``, renew ``LAKE/quarantine``.

    Parameters
    ----------
    progress : called with the table's name, the tables done and the tables in all

    Raises
    ------
    InputError
        If the folder is no lake, a column is missing or of another type, or more than
        ``MAX_BAD_PERCENT`` of a table's rows are bad.
    """
    lake_info(root)
    present = [name for name in TABLES if (root / name).is_dir()]
    known = {
        column: _identifiers(root, home, column)
        for column, home in REFERENCES.items()
        if home in present
    }
    rows = quarantined = 0
    by_rule: dict[str, int] = {}
    refusal: str | None = None
    for done, name in enumerate(present):
        if progress is not None:
            progress(name, done, len(present))
        count, bad = _check_table(root, TABLES[name], known)
        found = {f"{name}: {v['values']}": v["counts"] for v in _counts(bad)}
        by_rule |= found
        rows, quarantined = rows + count, quarantined + bad.num_rows
        path = root / QUARANTINE / f"{name}.parquet"
        if write and bad.num_rows:
            write_parquet(path, bad)
        elif write:
            path.unlink(missing_ok=True)
        if refusal is None and bad.num_rows * 100 > count * MAX_BAD_PERCENT:
            worst = max(found, key=lambda rule: found[rule]).removeprefix(f"{name}: ")
            example = bad.filter(pc.equal(bad["rule"], worst)).slice(0, 1).to_pylist()[0]
            refusal = (
                f"table {name}: {bad.num_rows} of {count} rows are bad"
                f" ({100 * bad.num_rows / count:.2f} %, at most {MAX_BAD_PERCENT} % is allowed),"
                f" most by the rule {worst!r}, for example {example['value']}"
                f" ({example['file']}, row {example['row']}); {example['way_out']}"
            )
    if progress is not None:
        progress("", len(present), len(present))
    if refusal is not None:
        raise InputError(refusal)
    return CheckReport(rows, quarantined, by_rule)


def _counts(bad: pa.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bad["rule"].combine_chunks().value_counts().to_pylist()
    return found


def _identifiers(root: Path, home: str, column: str) -> Any:
    spec = TABLES[home]
    parts = [read_file(p, spec, [column], checked=False)[0] for p in table_files(root, home)]
    found = pa.concat_tables(parts)[column] if parts else pa.chunked_array([], type=pa.string())
    return found.unique().drop_null()


def _check_table(root: Path, spec: Table, known: dict[str, Any]) -> tuple[int, pa.Table]:
    """The number of rows of a table, and its bad rows. Memory holds one bucket at a time."""
    rows = 0
    bad: list[pa.Table] = []
    for _, files in groupby(table_files(root, spec.name), key=lambda path: path.parent):
        good: list[pa.Table] = []
        for path in files:
            names = [c.name for c in spec.columns]
            table, rules = read_file(path, spec, names, checked=False)
            rows += table.num_rows
            place = pa.repeat(path.relative_to(root).as_posix(), table.num_rows)
            table = table.append_column("file", place)
            table = table.append_column("position", pa.array(np.arange(table.num_rows)))
            found = _row_findings(rules, table) + _reference_findings(spec, known, table)
            checked = _split(table, found)
            bad.append(checked.bad)
            good.append(checked.good)
        kept = pa.concat_tables(good)
        bad.append(_split(kept, _duplicates(spec, kept)).bad)
    empty = _split(pa.schema([*spec.arrow_schema, *_PLACE]).empty_table(), []).bad
    joined = pa.concat_tables([empty, *bad])
    order = ["file", "position", "rule", "value", "way_out", *(c.name for c in spec.columns)]
    renamed = ["row" if name == "position" else name for name in order]
    return rows, joined.select(order).rename_columns(renamed)


_PLACE: Final = (pa.field("file", pa.string()), pa.field("position", pa.int64()))


def _row_findings(rules: Sequence[RowRule], table: pa.Table) -> list[_Finding]:
    broken = first_broken(rules, table)
    if broken is None:
        return []
    found = []
    for k in np.unique(broken[broken >= 0]):
        chosen = np.flatnonzero(broken == k)
        values = rules[k].value(table.take(pa.array(chosen)))
        found.append(_Finding(rules[k].name, rules[k].way_out, chosen, values))
    return found


def _reference_findings(spec: Table, known: dict[str, Any], table: pa.Table) -> list[_Finding]:
    found = []
    for column, home in REFERENCES.items():
        if column not in known or column not in table.column_names or home == spec.name:
            continue
        named = table[column].unique().drop_null()
        strange = named.filter(pc.invert(pc.is_in(named, value_set=known[column])))
        if len(strange):
            mask = pc.is_in(table[column], value_set=strange).combine_chunks()
            chosen = np.flatnonzero(np.asarray(mask))
            way_out = f"add its row to table {home} or correct the number"
            values = table[column].take(pa.array(chosen)).combine_chunks()
            found.append(_Finding(f"{column} in {home}", way_out, chosen, values))
    return found


def _duplicates(spec: Table, table: pa.Table) -> list[_Finding]:
    """Earlier rows with the same key and ``known_at`` as a later row of other content."""
    key = list(dict.fromkeys([*spec.key, "known_at"]))
    if table.group_by(key).aggregate([([], "count_all")]).num_rows == table.num_rows:
        return []
    codes = {c.name: _codes(table[c.name]) for c in spec.columns}
    group = np.zeros(table.num_rows, dtype=np.int64)
    for name in key:
        pairs = group * (int(codes[name].max()) + 1) + codes[name]
        group = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
    last = np.zeros(int(group.max()) + 1, dtype=np.int64)
    np.maximum.at(last, group, np.arange(table.num_rows))
    kept = last[group]
    differs = np.zeros(table.num_rows, dtype=bool)
    for code in codes.values():
        differs |= code != code[kept]
    chosen = np.flatnonzero(differs)
    if not len(chosen):
        return []
    named = RowRule(DUPLICATE_KEY, tuple(key), _DUPLICATE_WAY_OUT)
    values = named.value(table.take(pa.array(chosen)))
    return [_Finding(DUPLICATE_KEY, _DUPLICATE_WAY_OUT, chosen, values)]


def _codes(column: pa.ChunkedArray) -> IntArray:
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    return np.asarray(encoded.indices).astype(np.int64)


def _split(table: pa.Table, findings: Sequence[_Finding]) -> CheckedRows:
    """Rows without a finding, and each other row once, with its first finding."""
    free = np.ones(table.num_rows, dtype=bool)
    rows, rules, values, ways_out = [np.empty(0, dtype=np.int64)], [], [], []
    for finding in findings:
        first = free[finding.rows]
        chosen = finding.rows[first]
        free[chosen] = False
        rows.append(chosen)
        rules.append(pa.repeat(finding.rule, len(chosen)))
        values.append(_flat(finding.values).filter(pa.array(first)))
        ways_out.append(pa.repeat(finding.way_out, len(chosen)))
    place = np.concatenate(rows)
    order = pa.array(np.argsort(place, kind="stable"))
    bad = table.take(pa.array(place))
    nullable = pa.schema([field.with_nullable(True) for field in bad.schema])
    bad = pa.Table.from_arrays(bad.columns, schema=nullable)
    stated: tuple[tuple[str, Any], ...] = (
        ("row", pa.array(place)),
        ("rule", pa.chunked_array(rules, type=pa.string())),
        ("value", pa.chunked_array(values, type=pa.string())),
        ("way_out", pa.chunked_array(ways_out, type=pa.string())),
    )
    for at, (name, column) in enumerate(stated):
        bad = bad.add_column(at, name, column)
    return CheckedRows(table if not findings else table.filter(pa.array(free)), bad.take(order))


def _flat(values: Any) -> Any:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
