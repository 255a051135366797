"""The check of a lake: every rule in one out-of-core pass; bad rows go to quarantine.

``LAKE/quarantine/TABLE.parquet`` holds a row for each bad row and rule it breaks: table, key, file
and position, rule, value and way out, then the whole row. ``LAKE/quarantine/validation.json`` holds
the counts of every rule as Great Expectations results, ``LAKE/quarantine/check.json`` how the check
ended. The table files stay as they are: readers leave out rows that break a row rule and take the
later of two rows with the same key and ``known_at``; the other rules only report. A table with too
large a share of bad rows is stopped: readers refuse it until a later check lets it pass.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import duckdb
import orjson

from data_contracts.errors import InputError
from data_contracts.lake import CHECK_FILE, QUARANTINE, write_atomically
from data_contracts.quality.cross_rules import BOOK, check_book, check_market
from data_contracts.quality.results import validation_results
from data_contracts.quality.rules import all_rules
from data_contracts.quality.scan import Scan
from data_contracts.quality.table_rules import (
    check_fresh,
    check_references,
    check_rows,
    check_versions,
    last_day_of_book,
    value_sql,
)
from data_contracts.tables import TABLES

VALIDATION_FILE: Final = "validation.json"
EXAMPLES: Final = 20
"""Values of a rule that a validation result shows."""


@dataclass(frozen=True)
class CheckReport:
    """What ``check_lake`` found.

    ``rows`` and ``quarantined`` count rows, ``by_rule`` bad rows by stable rule name (a row counts
    under each rule it breaks), ``checked`` the rows that each rule looked at. ``stopped`` says for
    each table above its share of bad rows why.
    """

    rows: int
    quarantined: int
    by_rule: dict[str, int]
    stopped: dict[str, str] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)


def check_lake(
    root: Path,
    *,
    write: bool = True,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> CheckReport:
    """Check every rule of a lake; with ``write``, renew ``LAKE/quarantine``.

    Parameters
    ----------
    progress : called with what is checked, the steps done and the steps in all

    Raises
    ------
    InputError
        If the folder is no lake, or a column is missing or of another type.
    """
    scan = Scan(root, threads)
    try:
        _run(scan, progress)
        report, examples = _report(scan)
        if write:
            _write(scan, report, examples)
    except duckdb.Error as error:
        first = str(error).strip().split("\n")[0]
        raise InputError(
            f"{root} cannot be checked: {first}; restore the file or make the lake again"
        ) from None
    finally:
        scan.close()
    return report


def _run(scan: Scan, progress: Callable[[str, int, int], None] | None) -> None:
    present = [name for name in scan.tables if scan.has(name)]
    batches = scan.batches([name for name in BOOK if scan.has(name)])
    steps = len(present) + 1 + len(batches)
    done = 0

    def step(what: str) -> None:
        nonlocal done
        if progress is not None:
            progress(what, done, steps)
        done += 1

    book = last_day_of_book(scan)
    for name in present:
        step(name)
        check_rows(scan, name)
        check_versions(scan, name)
        for rule in scan.rules(name):
            if rule.kind == "reference":
                check_references(scan, rule)
            elif rule.kind == "fresh":
                check_fresh(scan, name, book)
    step("market")
    check_market(scan)
    for buckets in batches:
        step(f"book, {buckets[0]}")
        check_book(scan, buckets)
    step("")


def _report(scan: Scan) -> tuple[CheckReport, dict[str, list[str]]]:
    """Counts in the order of the declarations, and a few values of each broken rule."""
    report = CheckReport(sum(scan.rows(name) for name in scan.tables), _bad_rows(scan), {})
    examples: dict[str, list[str]] = {}
    for name in scan.tables:
        found = scan.found(name)
        for rule in scan.rules(name):
            report.checked[rule.name] = scan.rows(name)
            if found[rule.name]:
                report.by_rule[rule.name] = found[rule.name]
                sample = f"SELECT value FROM findings WHERE rule = '{rule.name}'"
                rows = scan.db.execute(f"{sample} ORDER BY file, pos LIMIT {EXAMPLES}").fetchall()
                examples[rule.name] = [value for (value,) in rows]
        reason = _why_stopped(scan, name, report.by_rule)
        if reason is not None:
            report.stopped[name] = reason
    return CheckReport(
        report.rows, report.quarantined, report.by_rule, report.stopped, report.checked
    ), examples


def _bad_rows(scan: Scan, where: str = "true") -> int:
    sql = f"SELECT count(*) FROM (SELECT DISTINCT tbl, file, pos FROM findings WHERE {where})"
    return int(scan.one(sql))


def _why_stopped(scan: Scan, name: str, by_rule: dict[str, int]) -> str | None:
    counting = [rule for rule in scan.rules(name) if rule.counts and rule.name in by_rule]
    if not counting:
        return None
    names = ", ".join(f"'{rule.name}'" for rule in counting)
    rows, allowed = scan.rows(name), TABLES[name].max_bad_percent
    bad = _bad_rows(scan, f"tbl = '{name}' AND rule IN ({names})")
    if bad * 100 <= rows * allowed:
        return None
    worst = max(counting, key=lambda rule: by_rule[rule.name])
    example = scan.db.execute(
        f"SELECT value, file, pos FROM findings WHERE rule = '{worst.name}'"
        " ORDER BY file, pos LIMIT 1"
    ).fetchone()
    assert example is not None
    return (
        f"table {name}: {bad} of {rows} rows are bad ({100 * bad / rows:.2f} %, at most {allowed} %"
        f" is allowed), most by the rule {worst.name} ({worst.en}), for example {example[0]}"
        f" ({scan.files[name][example[1]].place}, row {example[2]}); {worst.way_out}"
    )


def _write(scan: Scan, report: CheckReport, examples: dict[str, list[str]]) -> None:
    folder = scan.root / QUARANTINE
    folder.mkdir(exist_ok=True)
    for name in scan.tables:
        path = folder / f"{name}.parquet"
        if scan.has(name) and scan.found(name):
            _write_quarantine(scan, name, path)
        else:
            path.unlink(missing_ok=True)
    results = validation_results(report.checked, report.by_rule, examples)
    document: dict[str, Any] = {
        "format": 1,
        "rows": report.rows,
        "quarantined": report.quarantined,
        "by_rule": report.by_rule,
        "stopped": report.stopped,
    }
    for path, content in ((folder / VALIDATION_FILE, results), (folder / CHECK_FILE, document)):
        write_atomically(path, orjson.dumps(content, option=orjson.OPT_INDENT_2))


def _write_quarantine(scan: Scan, name: str, path: Path) -> None:
    spec = TABLES[name]
    rules = [rule for rule in all_rules().values() if rule.table == name]
    scan.db.execute("CREATE OR REPLACE TEMP TABLE told (rule VARCHAR, text VARCHAR, way VARCHAR)")
    scan.db.executemany(
        "INSERT INTO told VALUES (?, ?, ?)", [(r.name, r.en, r.way_out) for r in rules]
    )
    scan.db.execute("CREATE OR REPLACE TEMP TABLE places (file INTEGER, place VARCHAR)")
    scan.db.executemany(
        "INSERT INTO places VALUES (?, ?)",
        [(k, file.place) for k, file in enumerate(scan.files[name])],
    )
    columns = ", ".join(f"r.{c.name}" for c in spec.columns)
    temporary = path.with_name(path.name + ".tmp")
    target = str(temporary).replace("'", "''")
    scan.db.execute(
        f"COPY (SELECT '{name}' AS table, {value_sql(spec, spec.key)} AS key, p.place AS file,"
        f" f.pos AS row, f.rule, t.text, f.value, t.way AS way_out, {columns}"
        f" FROM (SELECT * FROM findings WHERE tbl = '{name}') f"
        f" JOIN raw_{name} r ON r._file = f.file AND r._row = f.pos"
        " JOIN told t ON t.rule = f.rule JOIN places p ON p.file = f.file"
        f" ORDER BY f.file, f.pos, f.rule) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
    )
    os.replace(temporary, path)
