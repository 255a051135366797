"""Replay: decide again on the stored inputs, and compare byte for byte."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data_contracts.decision import DECISION_ENGINE_VERSION
from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from data_contracts.snapshot import MarketSnapshot
from models.bundle import Bundle
from models.decide import DecisionColumns, decide_columns
from models.decide.body import bodies
from models.policy.kept import pack_of
from serving.ledger import LedgerReader, Location, named, read_entries
from serving.nightly.segments import read_decisions, read_inputs, segment_table
from serving.replay_online import replay_entries

SINGLE_KIND: Final = "decision"
SINGLES_AT_ONCE: Final = 1024
Progress = Callable[[int, int], None]
Causes = list[str]

DAMAGE: Final = (ValueError, KeyError, IndexError, TypeError, ArithmeticError)
"""What damaged inputs may raise anywhere on the way to a decision; replay reports it."""


@dataclass(frozen=True)
class Difference:
    """A decision that did not come out as it was stored, and what differs."""

    decision_id: str
    what: str


@dataclass(frozen=True)
class ReplayReport:
    """How many decisions were decided again and how many came out equal."""

    checked: int
    equal: int
    different: tuple[Difference, ...]
    engine_version: str


@dataclass(frozen=True)
class _Segment:
    path: Path
    rows: int
    run: dict[str, Any]


@dataclass(frozen=True)
class _Record:
    """What can be replayed: segments of nights, and positions of single decisions."""

    segments: list[_Segment]
    singles: list[tuple[int, str]]
    runs: dict[str, dict[str, Any]]


def _recorded(root: Path, ledger_path: Location) -> _Record:
    runs: dict[str, dict[str, Any]] = {}
    found = []
    singles = []
    for entry in read_entries(ledger_path):
        body: dict[str, Any] = dict(entry.body)
        try:
            if entry.kind == "run_started":
                runs[body["run_id"]] = body
            elif entry.kind == "segment":
                path = root / body["file"]
                found.append(_Segment(path, int(body["rows"]), runs[body["run_id"]]))
            elif entry.kind == SINGLE_KIND:
                singles.append((entry.position, str(body["decision_id"])))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{named(ledger_path)}: entry {entry.position} cannot be used: {error!r}; run"
                " `gearline ledger verify`"
            ) from None
    if not found and not singles:
        raise InputError(
            f"{named(ledger_path)} holds no decisions yet; run `gearline demo` or `gearline"
            " reprice` first"
        )
    return _Record(found, singles, runs)


def _replay_singles(
    root: Path, ledger_path: Location, record: _Record, places: list[int]
) -> tuple[list[Difference], dict[str, Any]]:
    """What differs of decisions made one at a time; of a single one also the body now."""
    different, last = [], {}
    for start in range(0, len(places), SINGLES_AT_ONCE):
        part = places[start : start + SINGLES_AT_ONCE]
        with LedgerReader(ledger_path) as reader:
            entries = [reader.entry(position) for position in part]
        try:
            outcomes = list(replay_entries(root, entries, record.runs))
        except DAMAGE as error:
            what = f"cannot be decided again: {error}"
            different += [Difference(str(e.body["decision_id"]), what) for e in entries]
            continue
        for decision, causes, now in outcomes:
            last = now
            if causes:
                different.append(Difference(decision, "; ".join(causes)))
    return different, last if len(places) == 1 else {}


def _decide_again(segment: _Segment, root: Path, rows: list[int]) -> tuple[DecisionColumns, Causes]:
    """The decisions as they come out now, and which inputs are not those they were made with."""
    run = segment.run
    bundle = Bundle.read(root / run["bundle_path"], verify=False)
    market = MarketSnapshot.read(segment.path.parent.parent / "market", verify=False)
    policy = pack_of(root, run).on(dt.date.fromisoformat(run["effective_on"]))
    cases, values = read_inputs(segment.path.parent, rows)
    frame = FeatureFrame(
        str(bundle.features["feature_set"]),
        bundle.feature_set_sha256,
        bundle.names,
        tuple(c.client_id for c in cases),
        market.session,
        values,
    )
    causes = [
        f"{name} is not the one the decision was made with"
        for name, have, want in (
            ("the bundle", bundle.sha256, run["bundle"]),
            ("the market snapshot", market.sha256, run["market"]),
            ("the policy pack", policy.sha256, run["policy_sha256"]),
        )
        if have != want
    ]
    return decide_columns(cases, frame, bundle, policy, market), causes


def _replay_rows(
    root: Path, segment: _Segment, rows: list[int]
) -> tuple[list[Difference], dict[str, Any]]:
    """What differs in some rows of a segment; of a single row also the body as it comes out now."""
    stored = read_decisions(segment.path)
    if stored.num_rows != segment.rows or "decision_id" not in stored.schema.names:
        what = f"{segment.path} is not the sealed segment of {segment.rows} rows"
        return [Difference(f"row {k} of {segment.path}", what) for k in rows], {}
    stored = stored.take(pa.array(rows))
    ids = [str(v) for v in stored["decision_id"].to_pylist()]
    made_by = segment.run.get("engine_version", DECISION_ENGINE_VERSION)
    if made_by != DECISION_ENGINE_VERSION:
        what = (
            f"was decided by engine {made_by}, this is engine {DECISION_ENGINE_VERSION};"
            " replay it with a release of that engine"
        )
        return [Difference(k, what) for k in ids], {}
    try:
        made, causes = _decide_again(segment, root, rows)
        now = segment_table(made)
    except DAMAGE as error:
        return [Difference(k, f"cannot be decided again: {error}") for k in ids], {}
    if now.schema.names != stored.schema.names:
        causes.append(f"{segment.path} has other columns than were written")
    names = [n for n in now.schema.names if n in stored.schema.names]
    comes_out = {n: now[n].to_pylist() for n in names}
    was = {n: stored[n].to_pylist() for n in names}
    different = []
    for k, decision_id in enumerate(ids):
        off = [n for n in names if comes_out[n][k] != was[n][k]]
        if off or causes:
            what = "; ".join([*causes, *([f"differs in {', '.join(off)}"] if off else [])])
            different.append(Difference(decision_id, what))
    return different, next(iter(bodies(made))) if len(rows) == 1 else {}


def replay_sample(
    root: Path, ledger_path: Location, count: int, seed: int, progress: Progress | None = None
) -> ReplayReport:
    """Decide again on a uniform random sample of all stored decisions."""
    record = _recorded(root, ledger_path)
    segments = record.segments
    total = sum(s.rows for s in segments) + len(record.singles)
    if count < 1:
        raise InputError(f"--sample is {count}; it must be at least 1")
    chosen = np.sort(
        np.random.default_rng(seed).choice(total, size=min(count, total), replace=False)
    )
    different: list[Difference] = []
    start, done = 0, 0
    for segment in segments:
        rows = chosen[(chosen >= start) & (chosen < start + segment.rows)] - start
        start += segment.rows
        if len(rows):
            different += _replay_rows(root, segment, rows.tolist())[0]
            done += len(rows)
            if progress:
                progress(done, len(chosen))
    places = [record.singles[k][0] for k in (chosen[chosen >= start] - start).tolist()]
    different += _replay_singles(root, ledger_path, record, places)[0]
    if progress:
        progress(len(chosen), len(chosen))
    return ReplayReport(
        len(chosen), len(chosen) - len(different), tuple(different), DECISION_ENGINE_VERSION
    )


def replay_one(
    root: Path, ledger_path: Location, decision_id: str
) -> tuple[ReplayReport, dict[str, Any]]:
    """Decide again on one stored decision; also returns its canonical body as it comes out now."""
    record = _recorded(root, ledger_path)
    for position, name in record.singles:
        if name == decision_id:
            different, body = _replay_singles(root, ledger_path, record, [position])
            equal = 1 - len(different)
            return ReplayReport(1, equal, tuple(different), DECISION_ENGINE_VERSION), body
    for segment in record.segments:
        ids = read_decisions(segment.path, ["decision_id"])["decision_id"].to_pylist()
        if decision_id in ids:
            different, body = _replay_rows(root, segment, [ids.index(decision_id)])
            return (
                ReplayReport(1, 1 - len(different), tuple(different), DECISION_ENGINE_VERSION),
                body,
            )
    raise InputError(
        f"no decision {decision_id} in {named(ledger_path)}; the decision_id column of the"
        f" segments under {root / 'runs'} lists them, and `gearline decide {root / 'case.json'}"
        " --json` shows one"
    )


def report_json(report: ReplayReport) -> dict[str, Any]:
    """The report's JSON keys."""
    return {
        "checked": report.checked,
        "equal": report.equal,
        "different": [{"decision_id": d.decision_id, "what": d.what} for d in report.different],
        "engine_version": report.engine_version,
    }
