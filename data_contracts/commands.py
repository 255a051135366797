"""The verbs of the data side: market import, data check."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]


def run_import(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``market import``."""
    from data_contracts.importers import import_market

    report = import_market(arguments.files, arguments.format, arguments.out, progress=stages)
    document = report.as_dict()
    lines = [f"{key}: {value}" for key, value in document.items()]
    lines.append(f"market folder: {arguments.out}")
    return 0, {**document, "out": str(arguments.out)}, "\n".join(lines)


def run_check(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``data check``; 1 if a row is quarantined."""
    import resource

    from data_contracts.checks import check_lake

    started = time.perf_counter()
    report = check_lake(
        arguments.lake, progress=lambda _, done, total: stages("check", done, total)
    )
    document = {
        "rows": report.rows,
        "quarantined": report.quarantined,
        "by_rule": report.by_rule,
        "seconds": round(time.perf_counter() - started, 3),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    text = f"{report.rows:,} rows checked, {report.quarantined:,} quarantined"
    if report.quarantined:
        text += "".join(f"\n  {rule}: {count:,}" for rule, count in report.by_rule.items())
        text += f"\nsee {arguments.lake}/quarantine"
    return (1 if report.quarantined else 0), document, text
