"""The morning report: ``build`` makes the document, ``page`` a page; key figures are ``nightly.kpis``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.lake import write_atomically
from serving.ledger import LedgerReader
from serving.nightly.kpis.figures import Pool, kpis
from serving.nightly.kpis.page import render_kpis
from serving.nightly.morning_report.build import build_report
from serving.nightly.morning_report.page import render_page
from serving.nightly.publishing.flow import judge_run
from serving.nightly.publishing.history import History, Run
from serving.overrides import in_force

REPORT_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"
KPIS_FILE: Final = "kpis.json"
KPIS_PAGE: Final = "kpis.html"


def write_morning_report(
    root: Path, reader: LedgerReader, run: Run, published: History, out: Path
) -> dict[str, Any]:
    """Write ``report.json`` and ``report.html``; returns the document with the page's path.

    Of the night in force the one it replaced is what it is compared with, of any other the night in
    force.
    """
    found, verdict = judge_run(root, reader, run, published)
    document = build_report(root, run, found, verdict, len(in_force(reader, run.effective_on)))
    out.mkdir(parents=True, exist_ok=True)
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_atomically(out / REPORT_FILE, orjson.dumps(document, option=options))
    write_atomically(out / PAGE_FILE, render_page(document).encode())
    return {**document, "page": str(out / PAGE_FILE)}


def write_kpis(
    root: Path, reader: LedgerReader, run: Run, published: History, pool: Pool, out: Path | None
) -> dict[str, Any]:
    """The key figures of a night; with ``out`` also as ``kpis.json`` and ``kpis.html``."""
    found, _ = judge_run(root, reader, run, published)
    now, before = found.now, found.before
    overrides = len(in_force(reader, run.effective_on))
    document = {
        "run_id": run.run_id,
        "as_of": now.as_of.isoformat(),
        "against": None if before is None else before.run_id,
        "against_as_of": None if before is None else before.as_of.isoformat(),
        "currency": now.policy.currency,
        "kpis": kpis(root, before, now, overrides, pool),
    }
    if out is None:
        return {**document, "page": None}
    out.mkdir(parents=True, exist_ok=True)
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    write_atomically(out / KPIS_FILE, orjson.dumps(document, option=options))
    write_atomically(out / KPIS_PAGE, render_kpis(document).encode())
    return {**document, "page": str(out / KPIS_PAGE)}


__all__ = ["PAGE_FILE", "REPORT_FILE", "write_kpis", "write_morning_report"]
