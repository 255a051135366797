"""``bench decide``: law that cannot be crossed, and how fast decisions are made.

The law is checked on generated cases of all packs by an oracle that shares no code with what it
judges; faults are planted to show that it would see them. Speeds are of this machine, in this run.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

from data_contracts.errors import InputError
from data_contracts.feature_frame import FeatureFrame
from models.decide.cases import CaseColumns, case_columns
from models.decide.columns import Losses, decide_prepared, structural_losses
from models.decide.written import hashes
from models.margin.cap import CAP_TERMS
from models.margin.scenarios import HORIZON_SESSIONS
from models.policy import Policy
from training.bench.decide.faults import FAULTS, caught
from training.bench.decide.law import Found, batches, bench_bundle, one_batch, shipped
from training.bench.decide.made import made_cases, made_frame, made_market

Stages = Callable[[str, int, int], None]
Answer = tuple[int, dict[str, Any], str]

CASES: Final = 1_000_000
CLIENTS: Final = 20_000
SCENARIOS: Final = 500
ROUNDS: Final = 7
DAY: Final = dt.date(2024, 3, 18)
FOUND: Final = 1


def check_law(cases: int, seed: int, processes: int, stages: Stages) -> Found:
    """The oracle's look at many generated cases, the same for any number of processes."""
    tasks = batches(cases, seed)
    found = Found()
    if processes <= 1:
        for k, task in enumerate(tasks):
            found.add(one_batch(task))
            stages("law", k + 1, len(tasks))
        return found
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for k, part in enumerate(pool.map(one_batch, tasks)):
            found.add(part)
            stages("law", k + 1, len(tasks))
    return found


def find_faults(seed: int, stages: Stages) -> dict[str, str | None]:
    """What the oracle says with each planted fault in place; None where it sees nothing."""
    seen = {}
    for k, fault in enumerate(FAULTS):
        seen[fault.name] = caught(fault, seed)
        stages("faults", k + 1, len(FAULTS))
    return seen


def _paths(policy: Policy) -> int:
    """Paths that the policy asks a night for."""
    return policy.get("structural_paths", 0)


def _structural(c: CaseColumns, market: Any, policy: Any) -> Losses:
    """The structural part of a decision, from raw positions: what ``decide`` itself calls."""
    return structural_losses(c, market, policy)


def _rate(work: Callable[[], object], count: int, rounds: int) -> float:
    """Items a second: the median over rounds."""
    work()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return count / statistics.median(seconds)


def speeds(clients: int, seed: int, threads: int, stages: Stages) -> dict[str, float]:
    """Clients and decisions a second, on a mainland China night."""
    policy = shipped("cn", DAY)
    market = made_market(
        "cn", DAY, seed, scenarios=SCENARIOS, paths=_paths(policy), sessions=HORIZON_SESSIONS
    )
    cases = made_cases("cn", DAY, market, clients, seed)
    bundle = bench_bundle()
    frame = made_frame(bundle, cases, seed)
    stages("speed", 1, 5)
    # a bucket of clients a thread, as a night has them
    size = -(-clients // threads)
    rows = [range(k, min(k + size, clients)) for k in range(0, clients, size)]
    buckets = []
    for part in rows:
        c = case_columns([cases[k] for k in part], market).prepare()
        buckets.append((c, frame.take(list(part)), structural_losses(c, market, policy)))
    stages("speed", 2, 5)

    def one(bucket: tuple[CaseColumns, FeatureFrame, Losses]) -> list[bytes]:
        c, features, losses = bucket
        return hashes(decide_prepared(c, features, bundle, policy, market, losses))

    def structural(bucket: tuple[CaseColumns, FeatureFrame, Losses]) -> Losses:
        return _structural(bucket[0], market, policy)

    assert sum(len(one(bucket)) for bucket in buckets) == clients
    with ThreadPoolExecutor(threads) as pool:
        made = {
            "structural": _rate(lambda: list(pool.map(structural, buckets)), clients, 3),
            "decisions": _rate(lambda: list(pool.map(one, buckets)), clients, ROUNDS),
        }
    stages("speed", 3, 5)
    made["decisions_one_thread"] = _rate(lambda: [one(b) for b in buckets], clients, ROUNDS)
    stages("speed", 4, 5)

    def from_objects() -> list[bytes]:
        columns = case_columns(cases, market).prepare()
        return hashes(decide_prepared(columns, frame, bundle, policy, market))

    made["from_cases"] = _rate(from_objects, clients, 1)
    stages("speed", 5, 5)
    return made


def run(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``bench decide``."""
    cases = CASES if arguments.cases is None else arguments.cases
    clients = CLIENTS if arguments.clients is None else arguments.clients
    if cases < 1 or clients < 1:
        raise InputError(f"--cases is {cases} and --clients {clients}; both must be at least 1")
    threads = arguments.threads or 2
    speed = speeds(clients, arguments.seed, threads, stages)
    faults = find_faults(arguments.seed, stages)
    started = time.perf_counter()
    found = check_law(cases, arguments.seed, threads, stages)
    seconds = time.perf_counter() - started
    breaches = sum(found.breaches.values())
    missed = [name for name, what in faults.items() if what is None]
    document = {
        "structural_clients_per_second": round(speed["structural"]),
        "structural_scenarios": SCENARIOS,
        "structural_paths": _paths(shipped("cn", DAY)),
        "decisions_per_second": round(speed["decisions"]),
        "decisions_per_second_one_thread": round(speed["decisions_one_thread"]),
        "decisions_per_second_from_cases": round(speed["from_cases"]),
        "threads": threads,
        "law_cases": found.cases,
        "law_breaches": breaches,
        "law_breaches_by_rule": dict(sorted(found.breaches.items())),
        "first_breach": found.first,
        "law_seconds": round(seconds, 1),
        "bound_by": {term: found.bound[k] for k, term in enumerate(CAP_TERMS) if found.bound[k]},
        "waterfalls_broken": found.sums_broken,
        "planted_faults": len(faults),
        "planted_faults_caught": len(faults) - len(missed),
        "faults": [{"fault": name, "caught_by": what} for name, what in faults.items()],
        "row_equals_column": found.unequal == 0,
        "rows_compared": found.compared,
    }
    lines = [
        f"{found.cases:,} generated decisions of all packs, {breaches} breaches of law,"
        f" {found.sums_broken} waterfalls that do not sum",
        f"{len(faults) - len(missed)} of {len(faults)} planted faults caught",
        f"structural part {speed['structural']:,.0f} clients a second on {SCENARIOS} scenarios and"
        f" {document['structural_paths']} paths of {HORIZON_SESSIONS} sessions",
        f"decisions with reasons, bytes and hash: {speed['decisions']:,.0f} a second on {threads}"
        f" threads, {speed['decisions_one_thread']:,.0f} on one, {speed['from_cases']:,.0f} from"
        " case objects with the structural part",
        f"{found.compared:,} rows in writing compared with the row form, {found.unequal} differ",
    ]
    lines += [f"  not caught: {name}" for name in missed]
    if found.first:
        lines.append(f"  first breach: {found.first}")
    wrong = bool(breaches or missed or found.sums_broken or found.unequal)
    return FOUND if wrong else 0, document, "\n".join(lines)
