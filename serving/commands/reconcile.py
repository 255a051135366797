"""``reconcile``: what the counter system enforces against the published night."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any, Final

from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int
from data_contracts.units import parse_decimal
from models.gate.reconcile import LINES, Terms, lends_more, reconcile, totals
from models.policy import Policy
from models.policy.kept import pack_of
from serving.commands.places import Answer, Stages, existing_ledger
from serving.ledger import LedgerReader
from serving.nightly.publishing.history import Run, find_run, history
from serving.nightly.segments import read_decisions
from serving.overrides import in_force

SHOWN: Final = 20
NEEDED: Final = ("client_id", "max_debt_amt")
OPTIONAL: Final = ("rate_bps", *LINES)


def _row(path: Path, number: int, row: dict[str, str]) -> tuple[str, Terms]:
    where = f"{path} line {number}"
    client = (row["client_id"] or "").strip()
    if not client:
        raise InputError(f"{where}: client_id is empty; every row names a client")
    rate = (row.get("rate_bps") or "").strip()
    if rate and not rate.lstrip("-").isdigit():
        raise InputError(f"{where}: rate_bps is {rate!r}; write whole basis points, like 620")
    lines = {}
    for name in LINES:
        text = (row.get(name) or "").strip()
        if text:
            lines[name] = parse_decimal(text, 6, f"{where}: {name}")
    amount = parse_decimal((row["max_debt_amt"] or "").strip(), 2, f"{where}: max_debt_amt")
    return client, Terms(amount, int(rate) if rate else None, lines)


def read_enforced(path: Path) -> dict[str, Terms]:
    """The terms of a counter system's file, UTF-8 CSV with a header.

    Raises
    ------
    InputError
        If a column is missing or unknown, a value is not of its unit, or a client is there twice.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; export the counter system's limits as CSV")
    found: dict[str, Terms] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            names = reader.fieldnames or []
            missing = [n for n in NEEDED if n not in names]
            strange = [n for n in names if n not in (*NEEDED, *OPTIONAL)]
            if missing or strange:
                raise InputError(
                    f"{path}: {'no column ' + missing[0] if missing else 'column ' + strange[0]};"
                    f" the columns are {', '.join(NEEDED)} and, where it has them,"
                    f" {', '.join(OPTIONAL)}"
                )
            for number, row in enumerate(reader, start=2):
                client, terms = _row(path, number, row)
                if client in found:
                    raise InputError(f"{path} line {number}: client {client} is there twice")
                found[client] = terms
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}; export it again") from None
    return found


def _lines(policy: Policy) -> dict[str, int]:
    return {name: policy[f"{name}_line_ratio"] for name in LINES}


def decided_terms(root: Path, reader: LedgerReader, run: Run) -> dict[str, Terms]:
    """What holds of each client: the published limit or a tighter override, rate and lines."""
    day = run.effective_on
    lines = _lines(pack_of(root, run.started).on(day))
    overrides = {c: o.max_debt_amt for c, o in in_force(reader, day).items()}
    found = {}
    for name in run.finished["segments"]:
        table = read_decisions(root / name, ["client_id", "max_debt_amt", "rate_bps", "debt_amt"])
        caps, debts = (decimal_to_int(table[c]).tolist() for c in ("max_debt_amt", "debt_amt"))
        for client, cap, debt, rate in zip(
            table["client_id"].to_pylist(), caps, debts, table["rate_bps"].to_pylist(), strict=True
        ):
            found[client] = Terms(min(cap, overrides.get(client, cap)), rate, lines, debt)
    return found


def run_reconcile(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``reconcile``: exit code 1 where the counter system lends more than was decided."""
    enforced = read_enforced(arguments.file)
    with LedgerReader(existing_ledger(arguments.lake, arguments.ledger)) as reader:
        current = history(reader).current
        if current is None:
            raise InputError("no night is published; run `gearline publish` first")
        decided = decided_terms(arguments.lake, reader, find_run(reader, current))
    differences = reconcile(decided, enforced)
    by_kind = totals(differences)
    looser = lends_more(differences)
    document: dict[str, Any] = {
        "run_id": current,
        "decided": len(decided),
        "enforced": len(enforced),
        "lends_more": looser,
        "by_kind": by_kind,
        "differences": [d.to_json() for d in differences],
    }
    text = f"run {current}: {len(decided):,} decided, {len(enforced):,} enforced"
    for kind, found in by_kind.items():
        text += f"\n  {kind:<8} {found['count']:>9,}  {found['amount_amt']}"
    for d in [x.to_json() for x in differences if x.kind in ("looser", "extra")][:SHOWN]:
        text += (
            f"\n  {d['kind']} {d['client_id']} {d['term']}: decided {d['decided']}, enforced"
            f" {d['enforced']}"
        )
    if looser:
        text += "\nthe counter system lends more than was decided; load the published night again"
    return (1 if looser else 0), document, text
