"""``replay`` and ``ledger``: look into what is recorded."""

from __future__ import annotations

import argparse
import sys

import orjson

from serving.commands.places import Answer, Stages, existing_ledger
from serving.ledger import Ledger, export, named, prove, verify
from serving.ledger.migrations import CURRENT_VERSION
from serving.nightly.segments import segment_digests
from serving.replay import replay_one, replay_sample, report_json

SHOWN = 20
"""Differences that are listed for a person; ``--json`` lists all."""


def run_replay(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``replay ID`` or ``replay --sample N``."""
    path = existing_ledger(arguments.lake, arguments.ledger)
    text = ""
    if arguments.sample is not None:
        report = replay_sample(
            arguments.lake,
            path,
            arguments.sample,
            arguments.seed,
            lambda done, total: stages("replay", done, total),
        )
        document = report_json(report)
    else:
        report, body = replay_one(arguments.lake, path, arguments.decision_id)
        document = {**report_json(report), "decision": body}
        text = orjson.dumps(body, option=orjson.OPT_INDENT_2).decode() + "\n"
    text += f"{report.checked} decided again, {report.equal} equal (engine {report.engine_version})"
    text += "".join(f"\n  {d.decision_id}: {d.what}" for d in report.different[:SHOWN])
    if len(report.different) > SHOWN:
        text += f"\n  and {len(report.different) - SHOWN} more; --json lists all"
    return (0 if report.equal == report.checked else 1), document, text


def run_verify(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``ledger verify``."""
    report = verify(
        existing_ledger(arguments.lake, arguments.ledger),
        since=arguments.since,
        segment_reader=segment_digests,
        base_dir=arguments.lake,
    )
    state = "all in order" if report.ok else "NOT in order"
    text = f"{report.entries:,} entries, {report.segments:,} segments: {state}"
    bad = report.first_bad
    if bad is not None:
        where = "the file" if bad.position is None else f"entry {bad.position}"
        text += f"\n  {where}: {bad.what}: {bad.detail}"
    return (0 if report.ok else 1), report.to_dict(), text


def run_prove(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``ledger prove POSITION``."""
    proof = prove(existing_ledger(arguments.lake, arguments.ledger), arguments.position)
    return 0, proof, orjson.dumps(proof, option=orjson.OPT_INDENT_2).decode()


def run_export(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``ledger export``: one entry a line on stdout; with ``--json`` one document instead."""
    lines = export(existing_ledger(arguments.lake, arguments.ledger))
    if arguments.json:
        return 0, {"entries": [orjson.loads(line) for line in lines]}, ""
    count = 0
    for line in lines:
        sys.stdout.buffer.write(line)
        count += 1
    sys.stdout.buffer.flush()
    print(f"{count:,} entries", file=sys.stderr)
    return 0, {}, ""


def run_migrate(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``ledger migrate WHERE``: make a ledger, or bring one up to this version's format."""
    where = arguments.where
    with Ledger.open(where, create=True) as ledger:
        size = ledger.head().size
    document = {"ledger": named(where), "format": CURRENT_VERSION, "entries": size}
    return 0, document, f"{named(where)}: format {CURRENT_VERSION}, {size:,} entries"
