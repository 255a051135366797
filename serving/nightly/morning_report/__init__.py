"""The morning report: ``build`` makes the document, ``figures`` its key figures, ``page`` a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from data_contracts.lake import write_atomically
from serving.ledger import LedgerReader
from serving.nightly.morning_report.build import build_report
from serving.nightly.morning_report.page import render_page
from serving.nightly.publishing.flow import judge_run
from serving.nightly.publishing.history import History, Run
from serving.overrides import in_force

REPORT_FILE: Final = "report.json"
PAGE_FILE: Final = "report.html"


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


__all__ = ["PAGE_FILE", "REPORT_FILE", "write_morning_report"]
