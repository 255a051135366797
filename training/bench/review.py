"""``bench review``: a list and a get-next in a full review queue, on SQLite and PostgreSQL.

The queue is the serving side's, so it is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any, Final

from data_contracts.errors import InputError
from training.bench import Answer, Stages

CASES: Final = 100_000
TARGET_MS: Final = {"sqlite": 200.0, "postgresql": 100.0}
"""The 95th percentile that a list and a get-next each stay below."""


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """Measure both databases; exit code 1 where a target is missed."""
    cases = CASES if arguments.cases is None else arguments.cases
    if not 1_000 <= cases <= 10_000_000:
        raise InputError(f"--cases is {cases}; a queue is measured with 1000 to 10000000 cases")
    stages("queue", 0, 1)
    began = time.perf_counter()
    command = [sys.executable, "-m", "serving.review.bench", str(cases), str(arguments.seed)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise InputError(f"the measurement failed: {ran.stderr.strip()[-300:]}")
    found: dict[str, Any] = json.loads(ran.stdout)
    stages("queue", 1, 1)
    targets = []
    lines = [f"{cases:,} cases; milliseconds, median and 95th percentile"]
    for name, bound in TARGET_MS.items():
        figures = found[name]
        for what in ("list", "next"):
            ms = None if figures is None else figures[f"{what}_ms"]
            met = None if ms is None else ms["p95"] < bound
            value = None if ms is None else ms["p95"]
            targets.append(
                {"target": f"{name} {what} p95", "value": value, "bound": bound, "met": met}
            )
            said = "not measured" if ms is None else f"{ms['p50']:8.2f} {ms['p95']:8.2f}"
            lines.append(f"  {name:<11} {what:<5} {said}   (p95 below {bound:g})")
    missed = any(t["met"] is False for t in targets)
    document = {**found, "targets": targets, "seconds": round(time.perf_counter() - began, 3)}
    return (1 if missed else 0), document, "\n".join(lines)
