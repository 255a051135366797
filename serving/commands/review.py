"""``review``: open a night's cases, look at the queue, write the lake's ``reviews`` table."""

from __future__ import annotations

import argparse
import datetime as dt

from data_contracts.units import format_decimal
from models.review import RULES, trigger_text
from serving.commands.places import Answer, Stages, existing_ledger
from serving.commands.service import demo_clock, is_demo
from serving.ledger import Ledger
from serving.review import CaseFilter, ReviewDesk, Reviewer, ReviewStore
from serving.review.export import export_reviews
from serving.service.settings import utc_now


def _now(arguments: argparse.Namespace) -> dt.datetime:
    """The clock of the lake: a demo's stands in the past."""
    where = existing_ledger(arguments.lake, arguments.ledger)
    return demo_clock(arguments.lake, where)() if is_demo(arguments.lake) else utc_now()


def run_open(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``review open RUN``: again opens nothing twice."""
    where, now = existing_ledger(arguments.lake, arguments.ledger), _now(arguments)
    with Ledger.open(where) as ledger, ReviewStore(where) as store:
        report = ReviewDesk(ledger, store).open_run(
            arguments.lake, arguments.run_id, now, lambda done, total: stages("review", done, total)
        )
    document = {
        "run_id": report.run_id,
        "decisions": report.decisions,
        "found": report.found,
        "opened": report.opened,
        "by_rule": dict(report.by_rule),
    }
    lines = [
        f"{report.decisions:,} decisions, {report.found:,} for a person, {report.opened:,} opened"
    ]
    lines += [f"  {RULES[name].name['en']}: {n:,}" for name, n in report.by_rule.items()]
    return 0, document, "\n".join(lines)


def run_list(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``review list``: what is due first. The operator of the file reads as staff."""
    where, now = existing_ledger(arguments.lake, arguments.ledger), _now(arguments)
    with ReviewStore(where) as store:
        reader = Reviewer("gearline")
        late = True if arguments.late else None
        page = store.page(
            reader, now, CaseFilter(rule=arguments.rule, late=late), limit=arguments.limit
        )
        counts = store.counts(reader, now)
    cases = [
        {
            "case_id": c.case_id,
            "client_id": c.client_id,
            "rule": c.main_rule,
            "priority": c.priority,
            "due_at": c.due_at,
            "late": c.late(now),
            "holder": c.held_by(now),
            "blind": c.blind,
            # what is read blind is not told here either
            "outcome": None if c.blind else c.outcome,
            "exposure_amt": None if c.blind else format_decimal(c.exposure_amt, 2),
        }
        for c in page.cases
    ]
    lines = [f"{counts['open']:,} open, {counts['late']:,} late, {counts['held']:,} held"]
    for c in page.cases:
        mark = "late" if c.late(now) else "due "
        why = "(read blind)" if c.blind else trigger_text(c.triggers[0], "en", "staff") or ""
        lines.append(f"  {mark} {c.due_at[:16]}  {c.case_id}  {c.client_id}  {why}")
    return 0, {"counts": counts, "cases": cases}, "\n".join(lines)


def run_export(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``review export``: the lake's ``reviews`` table, from the acts on record."""
    where = existing_ledger(arguments.lake, arguments.ledger)
    with ReviewStore(where) as store:
        rows = export_reviews(arguments.lake, store)
    text = f"{rows:,} acts of people in {arguments.lake}/reviews"
    return 0, {"rows": rows, "out": str(arguments.lake / "reviews")}, text
