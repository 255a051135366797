"""The verbs ``market import``, ``data check``, ``data docs`` and ``data import``."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Answer = tuple[int, dict[str, Any], str]
Progress = Callable[[str, int, int], None]
DONE, FOUND = 0, 1


def add_data_verbs(add: Callable[[str, str, str, str], argparse.ArgumentParser]) -> None:
    """Declare the verbs; ``add(name, run, text, example)`` makes a parser."""
    text, example = "check every rule, quarantine the bad rows", "gearline data check out/demo"
    parser = add("check", "data_contracts.commands:run_check", text, example)
    parser.add_argument("lake", type=Path, metavar="LAKE", help="the data folder")

    text, example = "pages of every rule and what it found", "gearline data docs out/demo"
    parser = add("docs", "data_contracts.commands:run_docs", text, example)
    parser.add_argument("lake", type=Path, metavar="LAKE", help="the data folder")
    parser.add_argument("--out", type=Path, help="folder to write (default LAKE/data_docs)")

    text = "bring a CSV or Parquet file or a PostgreSQL table into a lake"
    example = "gearline data import fills.csv --table trades --out lake --map trade_id=fill_no"
    parser = add("import", "data_contracts.commands:run_data_import", text, example)
    one = parser.add_argument
    one("source", metavar="SOURCE", help="FILE.csv, FILE.csv.gz, FILE.parquet or postgresql://...")
    one("--table", required=True, help="contract table, see docs/tables.md")
    one("--out", type=Path, required=True, metavar="LAKE", help="the data folder")
    text = "our column from theirs; the others by name"
    one("--map", action="append", default=[], metavar="OURS=THEIRS", help=text)
    text = "of a CSV file: utf-8 or gb18030 (default: whichever fits)"
    one("--encoding", choices=("utf-8", "gb18030"), help=text)
    one("--source-table", metavar="NAME", help="table in PostgreSQL (default: --table)")
    text = "zone of times without one, such as Asia/Shanghai"
    one("--zone", help=text)
    text = "when all rows became known, if no column says so: 2024-01-02T18:00:00+08:00"
    one("--known-at", metavar="TIME", help=text)
    text = "of a new lake: USD:XNYS, CNY:XSHG"
    one("--market", metavar="CURRENCY:MIC", help=text)


def run_import(arguments: argparse.Namespace, stages: Progress) -> Answer:
    """``market import``."""
    from data_contracts.importers import import_market

    report = import_market(arguments.files, arguments.format, arguments.out, progress=stages)
    document = report.as_dict()
    lines = [f"{key}: {value}" for key, value in document.items()]
    lines.append(f"market folder: {arguments.out}")
    return DONE, {**document, "out": str(arguments.out)}, "\n".join(lines)


def run_check(arguments: argparse.Namespace, stages: Progress) -> Answer:
    """``data check``."""
    from data_contracts.checks import check_lake
    from data_contracts.quality.rules import all_rules

    started = time.perf_counter()
    report = check_lake(
        arguments.lake,
        threads=arguments.threads,
        progress=lambda _, done, total: stages("check", done, total),
    )
    document = {
        "rows": report.rows,
        "quarantined": report.quarantined,
        "by_rule": report.by_rule,
        "stopped": list(report.stopped.values()),
        "seconds": round(time.perf_counter() - started, 3),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    text = f"{report.rows:,} rows checked, {report.quarantined:,} quarantined"
    for name, count in report.by_rule.items():
        text += f"\n  {name}: {count:,} ({all_rules()[name].en})"
    if report.quarantined:
        text += f"\nsee {arguments.lake}/quarantine"
    text += "".join(f"\nstopped: {reason}" for reason in report.stopped.values())
    return (FOUND if report.quarantined else DONE), document, text


def run_docs(arguments: argparse.Namespace, stages: Progress) -> Answer:
    """``data docs``."""
    from data_contracts.quality.data_docs import write_data_docs

    out = arguments.out or arguments.lake / "data_docs"
    written = write_data_docs(arguments.lake, out, arguments.threads, stages)
    text = f"{written.rules} rules of {written.tables} tables, {written.failed} broken"
    document = {
        "tables": written.tables,
        "rules": written.rules,
        "broken": written.failed,
        "index": str(written.index),
        "out": str(out),
    }
    return (FOUND if written.failed else DONE), document, f"{text}\nopen {written.index}"


def run_data_import(arguments: argparse.Namespace, stages: Progress) -> Answer:
    """``data import``."""
    from data_contracts.sources import Delivery, import_table

    delivery = Delivery(
        arguments.source,
        arguments.table,
        tuple(arguments.map),
        arguments.encoding,
        arguments.source_table,
        arguments.zone,
        arguments.known_at,
    )
    report = import_table(delivery, arguments.out, arguments.market, stages)
    document = {
        "table": arguments.table,
        "rows": report.rows,
        "inexact": report.inexact,
        "unreadable": report.unreadable,
        "by_column": report.by_column,
        "encoding": report.encoding,
        "files": report.files,
        "out": str(arguments.out),
    }
    lines = [f"{report.rows:,} rows into {arguments.table} of {arguments.out}"]
    lines += [f"  {c}: {n:,} rounded to the unit" for c, n in report.inexact.items() if n]
    if report.unreadable:
        lines.append(f"  {report.unreadable:,} rows set aside, see {arguments.out}/quarantine")
    lines.append(f"next: gearline data check {arguments.out}")
    return (FOUND if report.unreadable else DONE), document, "\n".join(lines)
