"""What a night did to the book: outcomes, tiers and changes, and who stands near a line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from data_contracts.decision import OUTCOMES
from data_contracts.units import NULL, IntArray
from serving.console.pictures import Bin, binned
from serving.nightly.segments import TIER_NAMES, read_decisions

LIMIT_EDGES_E6: Final = (-500_000, -250_000, -100_000, -50_000, 0, 1, 50_001, 100_001, 250_001)
"""Relative changes of a limit; 0 to 1 is the class that did not change."""
RATE_EDGES_BPS: Final = (-50, -25, -10, 0, 1, 11, 26, 51)
MAINTENANCE_EDGES_E6: Final = (
    1_100_000,
    1_300_000,
    1_400_000,
    1_500_000,
    1_800_000,
    2_400_000,
    3_000_000,
)
_COLUMNS: Final = [
    "client_id", "outcome", "tier", "rate_bps", "max_debt_amt", "debt_amt", "maintenance_e6",
]  # fmt: skip


@dataclass(frozen=True)
class Night:
    """The figures of one run, beside those of the run before it where there is one.

    Attributes
    ----------
    outcomes : clients by outcome
    migration : int64, shape (8, 8), clients by tier before (rows) and now; None for a first run
    new, gone : clients decided on for the first time, and no longer
    limit_changes, rate_changes : clients by change of the limit (1e-6 of it) and of the rate (bps)
    book : by bucket of the maintenance ratio: clients, and their debt in minor units
    without_debt : clients who owe nothing
    """

    clients: int
    outcomes: dict[str, int]
    tiers: tuple[int, ...]
    limit_minor: int
    debt_minor: int
    mean_rate_bps: int | None
    migration: IntArray | None
    new: int
    gone: int
    limit_changes: list[Bin]
    rate_changes: list[Bin]
    book: list[tuple[Bin, int]]
    without_debt: int


def _minor(column: Any) -> IntArray:
    scaled = column.cast(pa.decimal128(38, 2)).to_pylist()
    return np.array([int(v.scaleb(2)) for v in scaled], dtype=np.int64)


def _read(files: tuple[Path, ...]) -> dict[str, Any]:
    table = pa.concat_tables([read_decisions(f, _COLUMNS) for f in files]).combine_chunks()
    return {
        "client": table["client_id"].to_pylist(),
        "outcome": table["outcome"].to_pylist(),
        "tier": np.array([TIER_NAMES.index(t) for t in table["tier"].to_pylist()], dtype=np.int64),
        "rate": np.array(table["rate_bps"].to_pylist(), dtype=np.int64),
        "limit": _minor(table["max_debt_amt"]),
        "debt": _minor(table["debt_amt"]),
        "maintenance": np.array(
            [NULL if v is None else v for v in table["maintenance_e6"].to_pylist()], dtype=np.int64
        ),
    }


@lru_cache(maxsize=4)
def night_of(files: tuple[Path, ...], before: tuple[Path, ...]) -> Night:
    """The figures of a run's segment files; ``before`` are those of the run before, or none."""
    now = _read(files)
    n = len(now["client"])
    migration: IntArray | None = None
    new, gone = 0, 0
    empty: IntArray = np.empty(0, dtype=np.int64)
    limit_change, rate_change = empty, empty
    if before:
        was = _read(before)
        place = {c: k for k, c in enumerate(was["client"])}
        pairs = [(place[c], k) for k, c in enumerate(now["client"]) if c in place]
        old = np.array([p for p, _ in pairs], dtype=np.int64)
        own = np.array([k for _, k in pairs], dtype=np.int64)
        migration = np.zeros((len(TIER_NAMES), len(TIER_NAMES)), dtype=np.int64)
        np.add.at(migration, (was["tier"][old], now["tier"][own]), 1)
        new, gone = n - len(pairs), len(was["client"]) - len(pairs)
        had = was["limit"][old]
        some = had > 0
        limit_change = (now["limit"][own] - had)[some] * 1_000_000 // had[some]
        rate_change = now["rate"][own] - was["rate"][old]
    owing = (now["maintenance"] != NULL) & (now["debt"] > 0)
    bins = binned(now["maintenance"][owing], MAINTENANCE_EDGES_E6)
    place_of = np.searchsorted(np.array(MAINTENANCE_EDGES_E6), now["maintenance"], side="right")
    book = [(b, int(now["debt"][owing & (place_of == k)].sum())) for k, b in enumerate(bins)]
    debt = int(now["debt"].sum())
    return Night(
        n,
        {name: now["outcome"].count(name) for name in OUTCOMES},
        tuple(np.bincount(now["tier"], minlength=len(TIER_NAMES)).tolist()),
        int(now["limit"].sum()),
        debt,
        # a mean over what is owed: a rate nobody pays weighs nothing
        None
        if debt == 0
        else sum(int(r) * int(d) for r, d in zip(now["rate"], now["debt"], strict=True)) // debt,
        migration,
        new,
        gone,
        binned(limit_change, LIMIT_EDGES_E6),
        binned(rate_change, RATE_EDGES_BPS),
        book,
        int((~owing).sum()),
    )
