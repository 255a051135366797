"""``publish``, ``rollback``, ``night monitors``, ``night report`` and ``night kpis``."""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson

from data_contracts.errors import InputError
from data_contracts.units import parse_decimal
from serving.commands.places import Answer, Stages, existing_ledger
from serving.ledger import LedgerReader, LedgerUnavailableError
from serving.nightly.kpis.figures import Pool
from serving.nightly.kpis.page import kpi
from serving.nightly.monitors import monitor_run
from serving.nightly.morning_report import write_kpis, write_morning_report
from serving.nightly.publishing.flow import Publication, publish_run, rollback
from serving.nightly.publishing.history import find_run, history

DONE, FOUND = 0, 1
SAID: Final = {
    "published": "published",
    "unchanged": "is in force already; nothing changed",
    "held": "HELD for two people",
    "blocked": "BLOCKED; nobody can publish it",
    "judged": "judged; nothing written",
}


def _actor(arguments: argparse.Namespace) -> str:
    try:
        return arguments.actor or getpass.getuser()
    except (OSError, KeyError):
        return "somebody"


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except LedgerUnavailableError as error:
        raise InputError(str(error)) from error


def _document(made: Publication) -> dict[str, Any]:
    verdict = None if made.verdict is None else made.verdict.to_json()
    return {
        "run_id": made.run.run_id,
        "run_sha256": made.run.sha256,
        "state": made.state,
        "replaces": made.replaces,
        "verdict": None if verdict is None else verdict["verdict"],
        "verdict_sha256": made.verdict_sha256,
        "rules": [] if verdict is None else verdict["rules"],
        "not_tested": [] if verdict is None else verdict["not_tested"],
        "bounds_sha256": None if verdict is None else verdict["bounds_sha256"],
        "proposal_id": made.proposal_id,
    }


def _text(made: Publication) -> str:
    lines = [f"run {made.run.run_id}: {SAID[made.state]}"]
    if made.replaces and made.state == "published":
        lines[0] += f"; it replaces {made.replaces}"
    if made.verdict is not None:
        lines[0] += f" (gate: {made.verdict.verdict})"
        lines += [f"  {line}" for line in made.verdict.why().splitlines()]
        if made.verdict.untested:
            lines.append(f"  not tested: {', '.join(made.verdict.untested)}")
    if made.state == "held":
        lines.append(
            f"  proposal {made.proposal_id} is open: two people approve it, then publish again"
        )
    return "\n".join(lines)


def run_publish(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``publish``: exit code 1 where the gate held or blocked."""
    with _refusing():
        made = publish_run(
            arguments.lake,
            existing_ledger(arguments.lake, arguments.ledger),
            arguments.run_id,
            actor=_actor(arguments),
            bounds=arguments.bounds,
            dry_run=arguments.dry_run,
        )
    bad = made.verdict is not None and made.verdict.verdict != "pass"
    return (FOUND if bad and made.state != "published" else DONE), _document(made), _text(made)


def run_rollback(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``rollback``."""
    with _refusing():
        made = rollback(
            arguments.lake,
            existing_ledger(arguments.lake, arguments.ledger),
            actor=_actor(arguments),
            reason=arguments.reason,
        )
    text = f"returned to run {made.run.run_id} from {made.replaces}"
    document = {
        "run_id": made.run.run_id,
        "run_sha256": made.run.sha256,
        "replaces": made.replaces,
        "reason": arguments.reason,
    }
    return DONE, document, text


def run_monitors(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``night monitors``: exit code 1 where one is red."""
    where = existing_ledger(arguments.lake, arguments.ledger)
    with _refusing():
        with LedgerReader(where) as reader:
            run = find_run(reader, arguments.run_id)
        document = monitor_run(arguments.lake, where, run)
    lines = [f"run {run.run_id} against {document['against'] or 'nothing'}: {document['worst']}"]
    for m in document["monitors"]:
        value = "not tested" if m["value"] is None else m["value"]
        lines.append(f"  {m['status']:<10} {m['monitor']:<32} {value}  {m['detail']}".rstrip())
    red = document["worst"] == "red"
    return (FOUND if red else DONE), document, "\n".join(lines)


def run_report(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``night report``."""
    where = existing_ledger(arguments.lake, arguments.ledger)
    with _refusing(), LedgerReader(where) as reader:
        run = find_run(reader, arguments.run_id)
        report = write_morning_report(arguments.lake, reader, run, history(reader), arguments.out)
    text = (
        f"run {run.run_id}: {report['clients']:,} clients, gate {report['gate']['verdict']};"
        f" open {report['page']}"
    )
    return DONE, report, text


def _pool(arguments: argparse.Namespace) -> Pool:
    """The pool held, and the expected shortfall of a document of ``gearline stress --json``."""
    held = None if arguments.pool is None else parse_decimal(arguments.pool, 2, "--pool")
    if arguments.stress is None:
        return Pool(held, None)
    try:
        found = orjson.loads(arguments.stress.read_bytes())
        amount = found["pool"]["expected_shortfall_999_amt"]
        return Pool(held, parse_decimal(amount, 2, "expected_shortfall_999_amt"))
    except OSError as error:
        raise InputError(f"{arguments.stress} cannot be read: {error.strerror}") from None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise InputError(
            f"{arguments.stress} is no document of `gearline stress LAKE --json`"
        ) from None


def run_kpis(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``night kpis``."""
    pool = _pool(arguments)
    where = existing_ledger(arguments.lake, arguments.ledger)
    with _refusing(), LedgerReader(where) as reader:
        run = find_run(reader, arguments.run_id)
        document = write_kpis(arguments.lake, reader, run, history(reader), pool, arguments.out)
    lines = [f"run {document['run_id']}, {document['as_of']}"]
    for k in document["kpis"]:
        value = "not applicable" if k["value"] is None else kpi(k)
        lines.append(
            f"  {k['kpi']:<30}{value:>16}  n {k['n']:,}  {k['formula']}  {k['why_null']}".rstrip()
        )
    if document["page"] is not None:
        lines.append(f"open {document['page']}")
    return DONE, document, "\n".join(lines)
