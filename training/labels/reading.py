"""A lake as facts for labels: every table read once, bucket by bucket, corrections applied."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.lake import lake_info, latest_versions, read_table
from data_contracts.tables.account import MARGIN_EVENT_KINDS
from data_contracts.units import BoolArray, IntArray
from features.calendar import cut_offs
from features.panel import DateArray, PricePanel
from features.rows import dates, integers, is_set
from features.versions import combine, encode, final_rows, timestamps
from training.labels.clusters import clusters
from training.labels.outcomes import NEVER, Facts, Outcomes, outcomes_of

STAMPS = ("event_at", "known_at")


def load_outcomes(root: Path, panel: PricePanel) -> Outcomes:
    """Read what became of every client of a lake: the truth to learn from, not to score with.

    Of several versions of a row the last known counts, whenever that was. The data end with the
    last session that has a balance, or with the market's if none has.

    Raises
    ------
    InputError
        If a table or column is missing, or a row names an account that the lake does not have.
    """
    wanted = ["account_id", "client_id", "opened_on", "closed_on", *STAMPS]
    accounts = latest_versions(read_table(root, "accounts", columns=wanted), ("account_id",))
    people = read_table(root, "clients", columns=["client_id", "related_group_id"])
    account_names = _sorted([accounts["account_id"]])
    names = _sorted([accounts["client_id"], people["client_id"]])
    order = pc.sort_indices(accounts["account_id"])
    accounts = accounts.take(order)
    buckets = lake_info(root).buckets
    sessions = _last_session(root, buckets, panel) + 1
    days = panel.sessions[:sessions]
    opened, closed = (_sessions(accounts[name], days) for name in ("opened_on", "closed_on"))
    parts = [
        (*_events(root, k, account_names), *_debt(root, k, account_names), *_interest(root, k, account_names))
        for k in range(buckets)
    ]  # fmt: skip
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    facts = Facts(
        cut_offs(days, panel.mic),
        len(names),
        encode(accounts["client_id"], names, "accounts.client_id"),
        opened,
        closed,
        *columns,
    )
    ids = tuple(names.to_pylist())
    people = people.filter(pc.is_valid(people["related_group_id"]))
    groups = _sorted([people["related_group_id"]])
    return outcomes_of(
        facts,
        ids,
        clusters(
            ids,
            groups.to_pylist(),
            encode(people["client_id"], names, "clients.client_id"),
            encode(people["related_group_id"], groups, "clients.related_group_id"),
        ),
    )


def _sorted(columns: list[pa.ChunkedArray]) -> pa.Array:
    both = pa.chunked_array([chunk for c in columns for chunk in c.chunks], pa.string())
    unique = pc.unique(both)
    return unique.take(pc.sort_indices(unique))


def _last_session(root: Path, buckets: int, panel: PricePanel) -> int:
    """The last session with a balance: the market's data may go on after the book's end."""
    ends = [
        pc.max(read_table(root, "balances", bucket=k, columns=["session"])["session"]).as_py()
        for k in range(buckets)
    ]
    known = [day for day in ends if day is not None]
    return panel.session_index(np.datetime64(max(known), "D")) if known else len(panel.sessions) - 1


def _sessions(column: pa.ChunkedArray, sessions: DateArray) -> IntArray:
    """First session on or after each day; ``NEVER`` for none."""
    day = dates(column)
    found = np.searchsorted(sessions, day).astype(np.int64)
    return np.where(is_set(day) & (found < len(sessions)), found, NEVER)


def _last_versions(table: pa.Table, key: IntArray) -> BoolArray:
    """Which rows no later version of the same key and instant replaces."""
    instants, rank = np.unique(timestamps(table["event_at"]), return_inverse=True)
    whole = combine((key, 0), (rank.astype(np.int64), len(instants)))
    kept: BoolArray = final_rows(whole, timestamps(table["known_at"])) == np.arange(len(key))
    return kept


def _events(
    root: Path, bucket: int, accounts: pa.Array
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Margin events: account, kind, instant, deadline."""
    wanted = ["account_id", "kind", "deadline_at", *STAMPS]
    table = read_table(root, "margin_events", bucket=bucket, columns=wanted)
    account = encode(table["account_id"], accounts, "margin_events.account_id")
    kind = encode(table["kind"], pa.array(MARGIN_EVENT_KINDS), "margin_events.kind")
    kept = _last_versions(table, combine((account, 0), (kind, len(MARGIN_EVENT_KINDS))))
    deadline = np.minimum(timestamps(table["deadline_at"]), NEVER)
    return account[kept], kind[kept], timestamps(table["event_at"])[kept], deadline[kept]


def _debt(
    root: Path, bucket: int, accounts: pa.Array
) -> tuple[IntArray, IntArray, IntArray, BoolArray]:
    """Changes of contracts' principal: account, instant, amount, whether a margin loan."""
    wanted = ["contract_id", "account_id", "kind", "outstanding_amt", *STAMPS]
    table = read_table(root, "contracts", bucket=bucket, columns=wanted)
    number = table["contract_id"]
    contract = encode(number, pc.unique(number), "contracts.contract_id")
    at = timestamps(table["event_at"])
    rows = np.flatnonzero(_last_versions(table, contract))
    rows = rows[np.lexsort((at[rows], contract[rows]))]
    owed = integers(table["outstanding_amt"])[rows]
    change = owed.copy()
    same = contract[rows][1:] == contract[rows][:-1]
    change[1:][same] -= owed[:-1][same]
    moved = change != 0
    account = encode(table["account_id"], accounts, "contracts.account_id")[rows]
    rolling = np.asarray(pc.equal(table["kind"], "margin_loan")).astype(bool)[rows]
    return account[moved], at[rows][moved], change[moved], rolling[moved]


def _interest(root: Path, bucket: int, accounts: pa.Array) -> tuple[IntArray, IntArray, IntArray]:
    """Interest paid: account, instant, positive amount."""
    table = read_table(
        root, "cash_flows", bucket=bucket, columns=["account_id", "kind", "amount_amt", *STAMPS]
    )
    table = table.filter(pc.equal(table["kind"], "interest"))
    account = encode(table["account_id"], accounts, "cash_flows.account_id")
    kept = _last_versions(table, account)
    at = timestamps(table["event_at"])
    return account[kept], at[kept], -integers(table["amount_amt"])[kept]
