"""The last published decision of each client, as the next night's steps and hysteresis need it.

A client stands in the segment of its bucket, or, where it could not be decided on, among the held
ones beside it. One that came from another bucket, with its related group, is looked for in all.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts.case import TIERS
from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int
from data_contracts.snapshot import SNAPSHOT_FORMAT, MarketSnapshot
from data_contracts.units import NULL, RATIO_ONE, BoolArray, FloatArray, IntArray
from features.panel import PricePanel
from serving.nightly.columns import Before
from serving.nightly.segments import DECISIONS_FILE, HELD_FILE
from serving.nightly.store import Store

RUNS_FOLDER: Final = "runs"
MARKET_FOLDER: Final = "market"
MARGINS_SINCE_FORMAT: Final = 3
"""Earlier snapshots do not hold the margins that the anti-procyclical layer goes on from."""
COLUMNS: Final = (
    "client_id", "max_debt_amt", "soft_cap_amt", "rate_bps", "tier", "candidate_tier",
    "candidate_sessions", "month_change_bps", "quarter_changes",
)  # fmt: skip


@dataclass(frozen=True)
class LastNight:
    """The run that a night's steps refer to: its segments by bucket, and how far back it lies."""

    run_id: str
    segments: tuple[str, ...]
    sessions: int
    same_month: bool
    same_quarter: bool


def last_night(
    run: Mapping[str, Any] | None, panel: PricePanel, as_of: dt.date
) -> LastNight | None:
    """The last run as the next night needs it.

    Month and quarter budgets start again with the calendar month and quarter.
    """
    if run is None:
        return None
    day = dt.date.fromisoformat(run["as_of"])
    since = panel.session_index(np.datetime64(as_of)) - panel.session_index(np.datetime64(day))
    quarter, now = (day.year, (day.month - 1) // 3), (as_of.year, (as_of.month - 1) // 3)
    return LastNight(
        run_id=str(run["run_id"]),
        segments=tuple(run["segments"]),
        sessions=max(1, since),
        same_month=(day.year, day.month) == (as_of.year, as_of.month),
        same_quarter=quarter == now,
    )


def last_margins(store: Store, last: LastNight | None, symbols: Sequence[str]) -> FloatArray | None:
    """The margins that the last night's anti-procyclical layer left, NaN for a name it had not.

    None without a last night, or where its snapshot is of a format that did not hold them: the
    layer then starts anew.

    Raises
    ------
    InputError
        If the snapshot is missing or is no longer the one that was decided on.
    """
    if last is None:
        return None
    place = f"{RUNS_FOLDER}/{last.run_id}/{MARKET_FOLDER}"
    manifest = store.get(f"{place}/market.json")
    if manifest is not None:
        try:
            stated = int(orjson.loads(manifest)["format"])
        except (ValueError, KeyError, TypeError):
            stated = SNAPSHOT_FORMAT  # damaged: reading it says how
        if stated < MARGINS_SINCE_FORMAT:
            return None
    with store.base_with(*(f for f, _, _ in store.listing(place))) as base:
        market = MarketSnapshot.read(base / place)
    at = {s: k for k, s in enumerate(market.symbols)}
    place_of = np.array([at.get(s, -1) for s in symbols], dtype=np.int64)
    margin = np.append(market.damped_margin, NULL)[place_of]
    return np.where(margin == NULL, np.nan, margin / RATIO_ONE)


def _read(store: Store, relative: str, columns: Sequence[str]) -> pa.Table:
    data = store.get(relative)
    if data is None:
        raise InputError(f"segment {store.named}/{relative} is missing; restore it from a backup")
    try:
        return pq.read_table(io.BytesIO(data), columns=list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"segment {store.named}/{relative} is damaged: {error}; restore it from a backup"
        ) from None


def published(store: Store, relative: str) -> pa.Table:
    """What a bucket's clients were told: one row each; ``waited`` is the sessions before that."""
    table = _read(store, relative, COLUMNS)
    tier = table["tier"].cast(pa.string())
    code = pc.if_else(pc.equal(tier, "D"), str(TIERS[-1]), tier).cast(pa.int64())
    table = table.set_column(table.column_names.index("tier"), "tier", code)
    for name in ("candidate_tier", "candidate_sessions", "month_change_bps", "quarter_changes"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(pa.int64()))
    table = table.append_column("waited", pa.array(np.zeros(len(table), dtype=np.int64)))
    held = relative.removesuffix(DECISIONS_FILE) + HELD_FILE
    if store.get(held) is not None:
        table = pa.concat_tables(
            [table, _read(store, held, table.column_names)], promote_options="permissive"
        )
    return table.combine_chunks()


def _places(table: pa.Table, client_ids: Sequence[str]) -> IntArray:
    found = pc.index_in(pa.array(client_ids, pa.string()), value_set=table["client_id"])
    return np.asarray(found.fill_null(-1)).astype(np.int64)


def strangers(store: Store, relative: str, client_ids: Sequence[str]) -> list[str]:
    """Clients that a bucket's segment, held ones included, does not hold."""
    table = _read(store, relative, ["client_id"])
    held = relative.removesuffix(DECISIONS_FILE) + HELD_FILE
    if store.get(held) is not None:
        table = pa.concat_tables([table, _read(store, held, ["client_id"])])
    return [client_ids[k] for k in np.flatnonzero(_places(table, client_ids) < 0).tolist()]


def find_strangers(store: Store, last: LastNight, wanted: Sequence[str]) -> pa.Table | None:
    """Rows of the last night of clients that are in another bucket now; None where there are none.

    One column of every segment is read, and more only of segments that hold one of them.
    """
    if not wanted:
        return None
    names = pa.array(wanted, pa.string())
    parts = []
    for relative in last.segments:
        held = store.get(relative.removesuffix(DECISIONS_FILE) + HELD_FILE) is not None
        ids = _read(store, relative, ["client_id"])["client_id"]
        if held or pc.any(pc.is_in(ids, value_set=names)).as_py():
            table = published(store, relative)
            parts.append(table.filter(pc.is_in(table["client_id"], value_set=names)))
    return pa.concat_tables(parts).combine_chunks() if parts else None


def before_of(
    last: LastNight | None, table: pa.Table | None, client_ids: Sequence[str]
) -> tuple[Before, IntArray]:
    """The last published decision of each client, and its limit in minor units (``NULL``: none).

    A client that was in tier D comes back as tier 7.
    """
    out = Before.nothing(len(client_ids))
    limit = np.full(len(client_ids), NULL, dtype=np.int64)
    if last is None or table is None or len(client_ids) == 0:
        return out, limit
    place = _places(table, client_ids)
    here = np.flatnonzero(place >= 0)
    at = place[here]

    def column(name: str) -> IntArray:
        values = table[name]
        if pa.types.is_decimal(values.type):
            return decimal_to_int(values)[at]
        return np.asarray(values.cast(pa.int64()).fill_null(NULL)).astype(np.int64)[at]

    limit[here] = column("max_debt_amt")
    decided = column("rate_bps") != NULL  # a held client that never was decided on has no terms
    here, at = here[decided], at[decided]
    known: BoolArray = out.known
    known[here] = True
    for name in out.columns:
        if name != "sessions_since":
            out.columns[name][here] = column(name)
    out.columns["sessions_since"][here] = last.sessions + column("waited")
    if not last.same_month:
        out.columns["month_change_bps"][here] = 0
    if not last.same_quarter:
        out.columns["quarter_changes"][here] = 0
    return out, limit
