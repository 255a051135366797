"""A night's cases: opened segment by segment, going on from those of the nights before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.canonical import canonical_bytes, sha256_hex
from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int
from models.bundle import Bundle
from models.review import ReviewPolicy
from serving.ledger import Ledger, LedgerReader, Submission
from serving.ledger.database import Database
from serving.ledger.envelope import Request, freeze
from serving.ledger.group import Act
from serving.nightly.segments import INPUTS_FILE, read_decisions
from serving.review import rows
from serving.review.case import ReviewCase, instant
from serving.review.opening import SYSTEM, segment_cases

_AT_ONCE: Final = 5_000
"""Cases of one submission: an entry stays small and readers of the file are not held up."""


def _published(root: Path, segments: Sequence[str], bucket: int) -> dict[str, int] | None:
    """Limits of a night's bucket by client; None where there was no night before."""
    if bucket >= len(segments) or not (root / segments[bucket]).is_file():
        return None
    before = read_decisions(root / segments[bucket], ["client_id", "max_debt_amt"])
    amounts = decimal_to_int(before["max_debt_amt"]).tolist()
    return dict(zip(before["client_id"].to_pylist(), amounts, strict=True))


def _rules(case: ReviewCase) -> set[tuple[str, object]]:
    """What a case is about: rules, and of exceptions which."""
    return {(t.rule, t.value if t.rule == "exception" else None) for t in case.triggers}


def _goes_on(
    database: Database, cases: Sequence[ReviewCase], now: dt.datetime, policy: ReviewPolicy
) -> tuple[list[ReviewCase], list[ReviewCase]]:
    """New cases that take over from those of earlier nights, and the old ones as they end.

    Who has a case that waits keeps one, with its age and due time; a case that somebody holds or
    that waits for an approval stays; what a person looked at lately is not asked again.
    """
    before: dict[str, list[ReviewCase]] = {}
    for known in rows.cases_of_clients(database, [c.client_id for c in cases]):
        if known.kind == "decision" and known.source == "night":
            before.setdefault(known.client_id, []).append(known)
    since = instant(now - policy.repeat_after)
    fresh, ended = [], []
    for case in cases:
        made: ReviewCase | None = case
        for known in before.get(case.client_id, ()):
            later = known.case_id == case.case_id or known.as_of > case.as_of
            if later or known.state == "proposed" or known.held_by(now) is not None:
                made = None
            elif known.state == "closed":
                looked = known.resolution in ("confirmed", "overridden")
                if looked and (known.closed_at or "") > since and _rules(case) <= _rules(known):
                    made = None
        if made is None:
            continue
        for known in before.get(case.client_id, ()):
            if known.state == "open":
                end = known.changed(
                    state="closed", resolution="superseded", closed_at=instant(now),
                    closed_by=SYSTEM, holder=None, lease_until=None,
                )  # fmt: skip
                ended.append(end)
                made = replace(
                    made, opened_at=min(known.opened_at, made.opened_at),
                    due_at=min(known.due_at, made.due_at), level=max(known.level, made.level),
                    escalated=max(known.escalated, made.escalated),
                    snoozed_until=known.snoozed_until,
                )  # fmt: skip
        fresh.append(made)
    return fresh, ended


def _open_act(
    run_id: str,
    bucket: int,
    part: int,
    cases: Sequence[ReviewCase],
    now: dt.datetime,
    policy: ReviewPolicy,
) -> Act:
    def act(database: Database, position: int) -> Sequence[Request]:
        fresh, ended = _goes_on(database, cases, now, policy)
        rows.insert_cases(database, fresh)
        for old in ended:
            rows.update_case(database, old)
        body: dict[str, object] = {
            "run_id": run_id,
            "bucket": bucket,
            "part": part,
            "opened": len(fresh),
            "superseded": [c.case_id for c in ended],
            "acted_at": instant(now),
            "rules_sha256": policy.sha256,
            "cases_sha256": sha256_hex(canonical_bytes([c.to_json() for c in fresh])),
        }
        return [freeze(rows.NIGHT_KIND, body, canonical_bytes(body))] if fresh else []

    return act


@dataclass(frozen=True)
class OpenReport:
    """What opening a run's cases did. ``known`` counts those that were in the queue already."""

    run_id: str
    decisions: int
    found: int
    opened: int
    by_rule: Mapping[str, int]


def run_bodies(reader: LedgerReader, run_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The bodies of the start and the end of a run on record."""
    found: dict[str, dict[str, Any]] = {}
    for entry in reader.latest(f"run_id/{run_id}", 10_000):
        found.setdefault(entry.kind, dict(entry.body))
    if "run_started" not in found or "run_finished" not in found:
        raise InputError(
            f"run {run_id!r} is not finished on record; `gearline reprice` makes one, and its"
            " `run_id` names it"
        )
    return found["run_started"], found["run_finished"]


def open_run(
    root: Path,
    ledger: Ledger,
    run_id: str,
    *,
    now: dt.datetime,
    policy: ReviewPolicy,
    progress: Callable[[int, int], None] | None = None,
) -> OpenReport:
    """Open the cases of a recorded run, segment by segment; again opens nothing twice.

    Memory holds one segment at a time. A run that is broken off goes on where it stopped: what is
    in the queue is passed over.
    """
    with LedgerReader(ledger.where) as reader:
        started, finished = run_bodies(reader, run_id)
    bundle = Bundle.read(root / started["bundle_path"])
    currency = _currency(root, finished)
    earlier: list[str] = []
    if started.get("previous_run") is not None:
        with LedgerReader(ledger.where) as reader:
            earlier = list(run_bodies(reader, str(started["previous_run"]))[1]["segments"])
    decisions = found = opened = 0
    by_rule: dict[str, int] = {}
    segments = list(finished["segments"])
    for bucket, segment in enumerate(segments):
        cases = segment_cases(
            root, segment, run_id=run_id, bucket=bucket, bundle=bundle, currency=currency,
            now=now, policy=policy, published=_published(root, earlier, bucket),
        )  # fmt: skip
        decisions += read_decisions(root / segment, ["decision_id"]).num_rows
        found += len(cases)
        for case in cases:
            for rule in {t.rule for t in case.triggers}:
                by_rule[rule] = by_rule.get(rule, 0) + 1
        for part, start in enumerate(range(0, len(cases), _AT_ONCE)):
            act = _open_act(run_id, bucket, part, cases[start : start + _AT_ONCE], now, policy)
            done = ledger.submit(Submission([], None, act))
            if done.entries:
                opened += int(orjson.loads(done.entries[0])["body"]["opened"])
        if progress:
            progress(bucket + 1, len(segments))
    return OpenReport(run_id, decisions, found, opened, dict(sorted(by_rule.items())))


def _currency(root: Path, finished: Mapping[str, Any]) -> str:
    for segment in finished["segments"]:
        table = pq.read_table((root / segment).parent / INPUTS_FILE, columns=["case"],
                              partitioning=None)  # fmt: skip
        if table.num_rows:
            return str(orjson.loads(table["case"][0].as_py())["currency"])
    return ""


def night_case(
    root: Path,
    reader: LedgerReader,
    run_id: str,
    decision: str,
    now: dt.datetime,
    policy: ReviewPolicy,
) -> ReviewCase | None:
    """What an appeal against a decision of a night is about; None if the run has no such one."""
    started, finished = run_bodies(reader, run_id)
    for bucket, segment in enumerate(finished["segments"]):
        names = read_decisions(root / segment, ["decision_id"])["decision_id"]
        if pc.index(names, decision).as_py() < 0:
            continue
        [found] = segment_cases(
            root, segment, run_id=run_id, bucket=bucket,
            bundle=Bundle.read(root / started["bundle_path"]), currency=_currency(root, finished),
            now=now, policy=policy, asked=decision,
        )  # fmt: skip
        return found
    return None
