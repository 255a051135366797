"""Generated decisions of every pack before an oracle that shares no code with them."""

from __future__ import annotations

import datetime as dt
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from data_contracts.canonical import canonical_bytes
from data_contracts.decision import OUTCOMES
from data_contracts.errors import InputError
from data_contracts.units import NULL
from models.bundle import Bundle
from models.decide import DecisionColumns, decide, decide_columns
from models.decide.written import written
from models.policy import Policy, load_pack
from training.bench.decide.made import DAYS, made_bundle, made_cases, made_frame, made_market

ORACLE: Final = Path(__file__).resolve().parents[3] / "tests" / "law" / "oracle.py"
CASES_AT_ONCE: Final = 2_000
ROWS_COMPARED: Final = 20
"""Of each batch, decisions that are made again one by one and compared byte for byte."""
PolicyOf = Callable[[str, dt.date], Policy]


@cache
def oracle() -> Any:
    """The oracle of ``tests/law``, loaded by its path: it is no part of the installed package."""
    if not ORACLE.is_file():
        raise InputError(
            f"bench decide needs the project's source tree: its oracle, {ORACLE}, is not there"
        )
    spec = importlib.util.spec_from_file_location("gearline_law_oracle", ORACLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=1)
def bench_bundle() -> Bundle:
    """The bundle of all generated cases."""
    return made_bundle()


def shipped(pack: str, effective_on: dt.date) -> Policy:
    """The pack that ships, on a day."""
    return load_pack(pack).on(effective_on)


@dataclass
class Found:
    """What was looked at and found.

    ``sums_broken`` counts decisions whose waterfalls do not sum to cap and rate, ``unequal`` rows
    whose written form is not the row form's bytes.
    """

    cases: int = 0
    breaches: Counter[str] = field(default_factory=Counter)
    bound: Counter[int] = field(default_factory=Counter)
    sums_broken: int = 0
    compared: int = 0
    unequal: int = 0
    first: str | None = None

    def add(self, other: Found) -> None:
        """Take another's counts in."""
        self.cases += other.cases
        self.breaches += other.breaches
        self.bound += other.bound
        self.sums_broken += other.sums_broken
        self.compared += other.compared
        self.unequal += other.unequal
        self.first = self.first or other.first


def sums_broken(d: DecisionColumns) -> int:
    """Decisions whose cap or rate is not what its waterfall leaves, or binds elsewhere."""
    limits, removed = d.cap.limits, d.cap.removed
    cap = limits[:, 0] - removed.sum(axis=1)
    rate = d.rate.components.sum(axis=1)
    wrong = (cap != d.cap.cap) | (limits.min(axis=1) != d.cap.cap) | (removed < 0).any(axis=1)
    wrong |= limits.argmin(axis=1) != d.cap.binding
    wrong |= rate != d.rate.rate_bps
    score = d.attributions.sum(axis=1) + d.bundle.head.base_attribution
    return int(np.count_nonzero(wrong | (score != d.score)))


def unequal_rows(d: DecisionColumns, rows: Iterable[int]) -> int:
    """Rows whose written bytes are not the canonical bytes of the row form's own decision."""
    documents = [document for part in written(d) for document in part]
    hashes = [digest for part in written(d) for digest in part.sha256]
    wrong = 0
    for k in rows:
        alone = decide(d.cases[k], d.features.take([k]), d.bundle, d.policy, d.market)
        same = documents[k] == canonical_bytes(alone.body)
        wrong += not (same and hashes[k].hex() == alone.sha256)
    return wrong


def batch(
    pack: str,
    day: dt.date,
    seed: int,
    count: int,
    policy_of: PolicyOf = shipped,
    *,
    compared: int = ROWS_COMPARED,
    stop_at_first: bool = False,
) -> Found:
    """Decide on generated cases of one day and have the oracle look at each."""
    judge = oracle()
    market = made_market(pack, day, seed)
    cases = made_cases(pack, day, market, count, seed + 1)
    frame = made_frame(bench_bundle(), cases, seed + 2)
    d = decide_columns(cases, frame, bench_bundle(), policy_of(pack, day), market)
    names = judge.names_of(market, pack)
    caps, statutory = d.cap.cap.tolist(), d.cap.limits[:, 0].tolist()
    outcomes = d.outcome.tolist()
    known = d.books.maintenance != NULL
    forced = (known & (d.books.maintenance < d.books.lines[:, -1])).tolist()
    found = Found(cases=count, sums_broken=sums_broken(d))
    for k, case in enumerate(cases):
        broken = judge.breach(
            case, market, names, pack, day, caps[k], statutory[k], OUTCOMES[outcomes[k]], forced[k]
        )
        if broken is not None:
            found.breaches[broken] += 1
            found.first = found.first or f"{pack} {day} seed {seed} {case.client_id}: {broken}"
            if stop_at_first:
                return found
    found.bound.update(d.cap.binding.tolist())
    if compared:
        rows = range(0, count, max(1, count // compared))
        found.compared = len(rows)
        found.unequal = unequal_rows(d, rows)
    return found


def batches(cases: int, seed: int) -> list[tuple[str, dt.date, int, int]]:
    """Pack, day, seed and size of each batch: all days of all packs in turn."""
    days = [(pack, dt.date.fromisoformat(d)) for pack, ds in DAYS.items() for d in ds]
    size = max(1, min(CASES_AT_ONCE, -(-cases // len(days))))
    made = []
    left, k = cases, 0
    while left > 0:
        pack, day = days[k % len(days)]
        made.append((pack, day, seed * 1_000_003 + 7 * k, min(size, left)))
        left -= size
        k += 1
    return made


def one_batch(task: tuple[str, dt.date, int, int]) -> Found:
    """A batch by its description, for a pool of processes."""
    return batch(*task)
