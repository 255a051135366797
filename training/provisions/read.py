"""The facts of a decided night: its sealed decisions, and the lake as it was known at its cut-off."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int, lake_info, read_table
from data_contracts.units import NULL, IntArray
from features.asof import BookHistory
from features.book import BookAsOf
from models.policy import Policy
from training.provisions.rules import Rules
from training.provisions.staging import Facts
from training.summary import TIER_ORDER

_COLUMNS: Final = [
    "client_id", "as_of", "effective_on", "tier", "pd_e9", "lgd_e6", "ead_amt", "debt_amt",
    "equity_amt", "maintenance_e6", "rate_bps", "decision_sha256",
]  # fmt: skip


@dataclass(frozen=True)
class DecidedNight:
    """A finished night of a lake: its run, its day and its decisions in bucket and row order."""

    run_id: str
    as_of: Any
    effective_on: Any
    decisions: pa.Table
    decisions_sha256: str


def nights_of(lake: Path) -> list[DecidedNight]:
    """Every night whose buckets are all there, by day and then run.

    Raises
    ------
    InputError
        If there is none.
    """
    buckets = lake_info(lake).buckets
    found = []
    for folder in sorted(p for p in (lake / "runs").glob("*") if p.is_dir()):
        files = sorted(folder.glob("bucket=*/decisions.parquet"))
        if len(files) != buckets:
            continue
        table = pa.concat_tables(
            [pq.read_table(f, columns=_COLUMNS, partitioning=None) for f in files]
        ).combine_chunks()
        if table.num_rows == 0:
            continue
        digest = hashlib.sha256(b"".join(table["decision_sha256"].to_pylist())).hexdigest()
        days = table["as_of"][0].as_py(), table["effective_on"][0].as_py()
        found.append(DecidedNight(folder.name, *days, table, digest))
    if not found:
        raise InputError(f"{lake} holds no finished night; decide on one with `gearline reprice`")
    return sorted(found, key=lambda n: (n.as_of, n.run_id))


def night_on(
    nights: Sequence[DecidedNight], day: Any, run_id: str | None, what: str
) -> DecidedNight:
    """The night of a day, or the last one without a day; several need ``run_id``.

    Raises
    ------
    InputError
        If there is none, or several and none is named.
    """
    if run_id is not None:
        chosen = [n for n in nights if n.run_id == run_id and (day is None or n.as_of == day)]
    else:
        chosen = [n for n in nights if n.as_of == (day or nights[-1].as_of)]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        names = ", ".join(n.run_id for n in chosen)
        raise InputError(f"{what} {day}: several runs decided on it ({names}); name one with --run")
    days = f"{nights[0].as_of} to {nights[-1].as_of}"
    raise InputError(
        f"{what} {day or run_id}: no finished night is there; the lake has {len(nights)}, {days}"
    )


def _at_opening(
    nights: Sequence[DecidedNight], night: DecidedNight
) -> dict[str, list[tuple[Any, int, int]]]:
    """(day, PD, tier) of each client on every night up to this one, ascending."""
    known: dict[str, list[tuple[Any, int, int]]] = {}
    for n in nights:
        if n.as_of > night.as_of or (n.as_of == night.as_of and n.run_id != night.run_id):
            continue
        d = n.decisions
        for client, pd, tier in zip(
            d["client_id"].to_pylist(), d["pd_e9"].to_pylist(), d["tier"].to_pylist(), strict=True
        ):
            known.setdefault(client, []).append((n.as_of, pd, TIER_ORDER.index(tier) + 1))
    return known


def _of_clients(book: BookAsOf, rules: Rules) -> dict[str, tuple[int, int, Any]]:
    """Days under an open call, days of exposure and the day of the oldest open contract, by client."""
    day = np.datetime64(book.session, "D")
    c = book.contracts
    open_now = c.outstanding_amt + c.accrued_amt > 0
    further = rules.further_rollovers * rules.rollover_days
    dated = ~np.isnat(c.due_on)
    due = np.where(dated, (c.due_on.astype("datetime64[D]") - day).astype(np.int64), 0)
    life = np.where(dated, np.maximum(due, 0) + further, rules.on_demand_life_days)
    longest = np.zeros(book.clients, dtype=np.int64)
    np.maximum.at(longest, c.client[open_now], life[open_now])
    oldest = np.full(book.clients, np.datetime64("NaT"), dtype="datetime64[D]")
    for client, opened in zip(c.client[open_now], c.opened_on[open_now], strict=True):
        if np.isnat(oldest[client]) or opened < oldest[client]:
            oldest[client] = opened
    called = ~np.isnat(book.called_on)
    days = np.where(called, (day - book.called_on.astype("datetime64[D]")).astype(np.int64), -1)
    return {
        name: (
            int(days[k]),
            int(longest[k]) or rules.on_demand_life_days,
            None if np.isnat(oldest[k]) else oldest[k].item(),
        )
        for k, name in enumerate(book.client_ids)
    }


def facts_of(
    nights: Sequence[DecidedNight],
    night: DecidedNight,
    histories: Sequence[BookHistory],
    policy: Policy,
    rules: Rules,
) -> Facts:
    """What provisioning reads of a night's clients.

    The PD at opening is that of the last night up to the day the oldest open contract was made, else
    of the first night after it.
    """
    about: dict[str, tuple[int, int, Any]] = {}
    for history in histories:
        about |= _of_clients(history.as_of(night.as_of), rules)
    known = _at_opening(nights, night)
    d = night.decisions
    clients = tuple(d["client_id"].to_pylist())
    opening_pd, opening_tier, days, life = (
        np.full(len(clients), NULL, dtype=np.int64) for _ in range(4)
    )
    for k, client in enumerate(clients):
        called, exposed, opened = about.get(client, (-1, rules.on_demand_life_days, None))
        days[k], life[k] = called, max(exposed, 1)
        if opened is not None:
            seen = known[client]
            before = [s for s in seen if s[0] <= opened]
            _, opening_pd[k], opening_tier[k] = before[-1] if before else seen[0]

    def integers(name: str) -> IntArray:
        return np.asarray(d[name].fill_null(int(NULL))).astype(np.int64)

    tier = np.array([TIER_ORDER.index(t) + 1 for t in d["tier"].to_pylist()], dtype=np.int64)
    return Facts(
        clients, integers("pd_e9"), integers("lgd_e6"), decimal_to_int(d["ead_amt"]),
        decimal_to_int(d["debt_amt"]), decimal_to_int(d["equity_amt"]), integers("rate_bps"),
        integers("maintenance_e6"), tier, days, opening_pd, opening_tier, life,
        policy["call_line_ratio"], policy["unsecured_recovery_ratio"],
    )  # fmt: skip


def events_of(lake: Path, kind: str) -> tuple[list[str], Any, IntArray]:
    """Client, day and amount (minor units) of every margin event of a kind that the lake records."""
    columns = ["client_id", "kind", "event_at", "amount_amt"]
    table = read_table(lake, "margin_events", columns=columns)
    table = table.filter(pa.array([k == kind for k in table["kind"].to_pylist()], pa.bool_()))
    days = np.array(table["event_at"].cast(pa.timestamp("us")).to_pylist(), dtype="datetime64[D]")
    return table["client_id"].to_pylist(), days, decimal_to_int(table["amount_amt"])
