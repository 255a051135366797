"""A made-up lake of accounts and trades, written bucket by bucket, of any size.

The history stands compacted in one file a bucket, in order of account and time and in small row
groups, so that statistics find a client's rows; the last session is a delivery of its own, with
late and corrected rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.lake import (
    LakeInfo,
    bucket_of,
    create_lake,
    to_arrow,
    write_parquet,
    write_shared,
)
from data_contracts.tables import TABLES
from data_contracts.units import IntArray
from features.panel import DateArray

MIC: Final = "XSHG"
SESSIONS: Final = 270
SYMBOLS: Final = 3000
NAMES_A_CLIENT: Final = 12
LATE_SHARE: Final = 0.002
"""Share of the last delivery that happened in an earlier session."""
CORRECTED_SHARE: Final = 0.001
"""Share of the last delivery that is a new version of an older row."""
ROW_GROUP: Final = 16_384
DAY: Final = 86_400_000_000
DELIVERED_AFTER: Final = 3 * 3_600_000_000
"""Fills are known three hours after they happen, before the cut-off."""


@dataclass(frozen=True)
class MadeLake:
    """Where it is, its sessions, and how many trades it holds."""

    root: Path
    sessions: DateArray
    trades: int
    clients: int


def numbered(prefix: str, numbers: IntArray, digits: int) -> pa.Array:
    """Names such as ``T000000042``, made without a loop over rows."""
    width = len(prefix) + digits
    text = np.empty((len(numbers), width), dtype=np.uint8)
    text[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    rest = numbers.astype(np.int64).copy()
    for place in range(width - 1, len(prefix) - 1, -1):
        text[:, place] = 48 + rest % 10
        rest //= 10
    offsets = (np.arange(len(numbers) + 1, dtype=np.int64) * width).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(text)]
    return pa.Array.from_buffers(pa.string(), len(numbers), buffers)


def weekdays(count: int) -> DateArray:
    """The first weekdays from 2 January 2024 on."""
    days = np.arange(np.datetime64("2024-01-02"), np.datetime64("2024-01-02") + 2 * count)
    return days[np.is_busday(days)][:count].astype("datetime64[D]")


def make_lake(
    root: Path,
    trades: int,
    clients: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> MadeLake:
    """Write the lake; equal arguments give equal bytes."""
    sessions = weekdays(SESSIONS)
    buckets = min(256, max(4, clients // 1000))
    create_lake(root, LakeInfo("CNY", MIC, buckets, "made for bench features"))
    opening = sessions.astype("datetime64[us]").astype(np.int64) + 90 * 60_000_000
    stamps = [pa.array(opening + k * 3_600_000_000, pa.timestamp("us", "UTC")) for k in (0, 6)]
    write_shared(
        root,
        "sessions",
        {
            "mic": [MIC] * SESSIONS,
            "session": pa.array(sessions),
            "open_at": stamps[0],
            "close_at": stamps[1],
            "event_at": stamps[0],
            "known_at": stamps[0],
        },
    )
    write_shared(root, "instruments", _instruments(sessions))
    names = numbered("C", np.arange(clients), 9)
    bucket = np.array([bucket_of(c, None, buckets) for c in names.to_pylist()], dtype=np.int64)
    order = np.argsort(bucket, kind="stable")
    edges = np.searchsorted(bucket[order], np.arange(buckets + 1))
    written = 0
    for number in range(buckets):
        mine = order[edges[number] : edges[number + 1]]
        rng = np.random.default_rng([seed, number])
        share = trades * len(mine) // clients
        _write_accounts(root, number, mine, sessions)
        written += _write_trades(root, number, mine, share, written, sessions, rng)
        if progress:
            progress(number + 1, buckets)
    return MadeLake(root, sessions, written, clients)


def _instruments(sessions: DateArray) -> dict[str, Any]:
    stamp = pa.array(
        np.full(SYMBOLS, sessions[0].astype("datetime64[us]")), pa.timestamp("us", "UTC")
    )
    yes = pa.array(np.ones(SYMBOLS, dtype=bool))
    return {
        "symbol": numbered("S", np.arange(SYMBOLS), 6),
        "mic": [MIC] * SYMBOLS,
        "session": pa.array(np.full(SYMBOLS, sessions[0])),
        "board": ["main"] * SYMBOLS,
        "currency": ["CNY"] * SYMBOLS,
        "price_limit_ratio": pa.nulls(SYMBOLS, pa.decimal128(18, 6)),
        "collateral_haircut_ratio": pa.nulls(SYMBOLS, pa.decimal128(18, 6)),
        "margin_eligible": yes,
        "collateral_eligible": yes,
        "is_special_treatment": pa.array(np.zeros(SYMBOLS, dtype=bool)),
        "listed_on": pa.nulls(SYMBOLS, pa.date32()),
        "industry": pa.nulls(SYMBOLS, pa.string()),
        "float_shares": pa.nulls(SYMBOLS, pa.int64()),
        "event_at": stamp,
        "known_at": stamp,
    }


def _write_accounts(root: Path, number: int, clients: IntArray, sessions: DateArray) -> None:
    count = len(clients)
    first = sessions[0].astype("datetime64[us]").astype(np.int64)
    stamp = pa.array(np.full(count, first), pa.timestamp("us", "UTC"))
    columns: dict[str, Any] = {
        "account_id": numbered("A", clients, 9),
        "client_id": numbered("C", clients, 9),
        "market": [MIC] * count,
        "product": ["financing"] * count,
        "currency": ["CNY"] * count,
        "opened_on": pa.array(np.full(count, sessions[0])),
        "closed_on": pa.nulls(count, pa.date32()),
        "event_at": stamp,
        "known_at": stamp,
    }
    table = to_arrow(TABLES["accounts"], columns)
    write_parquet(root / "accounts" / f"bucket={number:03d}" / "part-0.parquet", table)


def _write_trades(
    root: Path,
    number: int,
    clients: IntArray,
    count: int,
    first_id: int,
    sessions: DateArray,
    rng: np.random.Generator,
) -> int:
    # A few clients trade very much, most little, as in every book.
    weight = rng.lognormal(0.0, 1.0, len(clients))
    client = np.sort(rng.choice(len(clients), size=count, p=weight / weight.sum()))
    session = rng.integers(SESSIONS - 260, SESSIONS, size=count)
    place = rng.integers(0, NAMES_A_CLIENT, size=count)
    symbol = (clients[client] * 7919 + place * 104_729) % SYMBOLS
    opening = sessions.astype("datetime64[us]").astype(np.int64) + 90 * 60_000_000
    event = opening[session] + rng.integers(0, 5 * 3_600_000_000, size=count)
    made = {
        "trade": first_id + np.arange(count),
        "client": clients[client],
        "symbol": symbol,
        "buy": rng.random(count) < 0.52,
        "quantity": 100 * rng.integers(1, 100, size=count),
        "price": 30_000 + (symbol * 37) % 400_000 + rng.integers(0, 9_000, size=count),
        "financed": rng.random(count) < 0.4,
        "event": event,
        "known": event + DELIVERED_AFTER,
    }
    last = np.flatnonzero(session == SESSIONS - 1)
    before = np.flatnonzero(session < SESSIONS - 1)
    before = before[np.lexsort((event[before], client[before]))]
    late = last[rng.random(len(last)) < LATE_SHARE]
    made["event"][late] = opening[SESSIONS - 30] + rng.integers(0, DAY // 8, size=len(late))
    corrected = rng.choice(before, size=min(int(len(last) * CORRECTED_SHARE), len(before)))
    newer = {name: values[corrected].copy() for name, values in made.items()}
    newer["quantity"] += 100
    newer["known"][:] = opening[-1] + DELIVERED_AFTER
    delivery = {n: np.concatenate([v[last], newer[n]]) for n, v in made.items()}
    folder = root / "trades" / f"bucket={number:03d}"
    folder.mkdir(parents=True)
    for part, chosen in enumerate(({n: v[before] for n, v in made.items()}, delivery)):
        path = folder / f"part-{part}.parquet"
        pq.write_table(
            _table(chosen), path, compression="zstd", compression_level=1, row_group_size=ROW_GROUP
        )
    return count + len(corrected)


def move_delivery(lake: Path, away: Path) -> None:
    """Move the last session's files to or from a folder that is no lake."""
    for path in sorted(lake.glob("trades/*/part-1.parquet")):
        target = away / path.relative_to(lake)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def _table(made: dict[str, IntArray]) -> pa.Table:
    stamps = {n: pa.array(made[n], pa.timestamp("us", "UTC")) for n in ("event", "known")}
    return to_arrow(
        TABLES["trades"],
        {
            "trade_id": numbered("T", made["trade"], 10),
            "account_id": numbered("A", made["client"], 9),
            "client_id": numbered("C", made["client"], 9),
            "symbol": numbered("S", made["symbol"], 6),
            "side": pa.DictionaryArray.from_arrays(
                pa.array((~made["buy"].astype(bool)).astype(np.int8)), pa.array(["buy", "sell"])
            ).cast(pa.string()),
            "quantity_shares": made["quantity"],
            "price": made["price"],
            "financed": pa.array(made["financed"].astype(bool)),
            "executed_at": stamps["event"],
            "event_at": stamps["event"],
            "known_at": stamps["known"],
        },
    )
