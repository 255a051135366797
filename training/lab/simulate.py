"""Run a book of clients over a price panel: ``simulate`` and what it returns."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import FloatArray, IntArray
from features.panel import PricePanel
from training.lab.behaviour import PARAMETERS
from training.lab.engine import live
from training.lab.kyc import VERSIONS, verification_sessions
from training.lab.market import Market, prepare
from training.lab.mechanics import CN, REG_T, Logs, Terms
from training.lab.output import WIDTHS
from training.lab.people import HABITS, TRAITS, People, make_people, opening_sessions
from training.lab.random import client_key
from training.lab.rules import MarginRules
from training.lab.tables import Builder, Columns, check_complete

MAX_CLIENTS = 1_000_000
CHUNK = 64
"""Clients handed to a thread at a time; no result depends on it."""
_RAW = ("trades", "cash_flows", "positions", "contracts", "margin_events", "balances")
# Rows reserved for a session of a client; untouched memory costs nothing, an overflow is run again.
_ROOM = 4


@dataclass(frozen=True)
class LabBook:
    """A simulated book.

    Attributes
    ----------
    tables : contract tables as columns for ``data_contracts.lake.to_arrow``
    truth : hidden traits and habits, one row a client; no feature may read it
    row_client : for each bucketed table the client number of each row
    client_ids, account_ids, group_ids : by client number
    opens, closes : session numbers within the window, closes -1 while open
    first, last : the window as positions in the panel
    client_sessions : account-sessions lived
    """

    tables: dict[str, Columns]
    truth: Columns
    row_client: dict[str, IntArray]
    client_ids: tuple[str, ...]
    account_ids: tuple[str, ...]
    group_ids: tuple[str | None, ...]
    opens: IntArray
    closes: IntArray
    first: int
    last: int
    client_sessions: int
    source: str = field(default="lab")


@dataclass(frozen=True)
class _Life:
    closes: int
    kyc: FloatArray
    rows: tuple[IntArray, ...]


def _live_one(
    m: Market, terms: Terms, seed: int, number: int, p: FloatArray, opens: int, kyc_at: IntArray
) -> _Life:
    room, days = (len(m.day) - opens) * _ROOM + 64, len(m.day) - opens
    while True:
        used = np.zeros(2, dtype=np.int64)
        raw = np.empty((room, 1 + max(WIDTHS)), dtype=np.int64)
        balances = np.empty((days, 4), dtype=np.int64)
        kyc = np.ones((VERSIONS, 3))
        key = np.uint64(client_key(seed, number))
        closes = live(m, terms, key, p, opens, kyc_at, kyc, Logs(raw, balances, used))
        if used[0] <= room:
            raw = raw[: used[0]]
            rows = [raw[raw[:, 0] == k, 1 : 1 + w] for k, w in enumerate(WIDTHS)]
            return _Life(int(closes), kyc, (*rows, balances[: used[1]].copy()))
        room = int(used[0])


def _window(
    panel: PricePanel, rules: MarginRules, first: dt.date, last: dt.date
) -> tuple[int, int]:
    if len(rules.rate_bps) != len(panel.sessions):
        raise InputError(
            f"the rules have {len(rules.rate_bps)} sessions, the market {len(panel.sessions)};"
            " make them for this market"
        )
    if first >= last:
        raise InputError(f"the first day, {first}, must lie before the last, {last}")
    days = panel.sessions.astype("datetime64[D]")
    low = int(np.searchsorted(days, np.datetime64(first)))
    high = int(np.searchsorted(days, np.datetime64(last), side="right")) - 1
    if high - low < 2:
        raise InputError(
            f"{first} to {last} holds {max(high - low + 1, 0)} sessions of the market, which runs"
            f" {days[0]} to {days[-1]}; choose days inside"
        )
    return low, high


def _terms(rules: MarginRules) -> Terms:
    cn = rules.kind == "cn"
    return Terms(
        kind=CN if cn else REG_T,
        observe=rules.observe,
        warn=rules.warn,
        call=rules.call,
        force=rules.force,
        target=rules.target,
        deadline=rules.deadline_sessions,
        cost_bps=rules.cost_bps,
        lot=100 if cn else 1,
        max_debt=rules.max_single_client_debt_amt,
    )


def simulate(
    panel: PricePanel,
    rules: MarginRules,
    *,
    clients: int,
    seed: int,
    first: dt.date,
    last: dt.date,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LabBook:
    """Let ``clients`` clients live from ``first`` to ``last`` on the prices of a panel.

    The same seed gives the same bytes on any number of threads; more clients change no earlier
    client; prices after a day change no row that happened by then.

    Raises
    ------
    InputError
        If the window holds no sessions of the market or a count is out of range.
    """
    if not 1 <= clients <= MAX_CLIENTS:
        raise InputError(f"a book has 1 to {MAX_CLIENTS} clients, not {clients}")
    if not 0 <= seed < 2**63:
        raise InputError(f"a seed is a number from 0 to 2**63 - 1, not {seed}")
    start, end = _window(panel, rules, first, last)
    m = prepare(panel, rules.initial_ratio_e6, rules.rate_bps, rules.haircut_e6, start, end)
    people = make_people(seed, clients, panel.currency)
    opens = opening_sessions(seed, people, end - start + 1)
    kyc_at = verification_sessions(seed, people, opens, end - start + 1)
    terms = _terms(rules)

    def chunk(low: int) -> list[_Life]:
        return [
            _live_one(m, terms, seed, n, people.parameters[n], int(opens[n]), kyc_at[n])
            for n in range(low, min(low + CHUNK, clients))
        ]

    lives: list[_Life] = []
    workers = threads or os.cpu_count() or 1
    if workers < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for done in pool.map(chunk, range(0, clients, CHUNK)):
            lives += done
            if progress is not None:
                progress(len(lives), clients)
    return _book(panel, rules, people, lives, opens, kyc_at, seed, start, end)


def _book(
    panel: PricePanel,
    rules: MarginRules,
    people: People,
    lives: list[_Life],
    opens: IntArray,
    kyc_at: IntArray,
    seed: int,
    start: int,
    end: int,
) -> LabBook:
    build = Builder(panel, rules, people, start, end)
    closes = np.array([x.closes for x in lives], dtype=np.int64)
    seen = np.stack([x.kyc for x in lives])
    tables: dict[str, Columns] = {}
    row_client: dict[str, IntArray] = {}
    sessions_lived = 0
    for k, name in enumerate(_RAW):
        raw = np.concatenate([x.rows[k] for x in lives])
        client = np.repeat(people.numbers, [len(x.rows[k]) for x in lives])
        tables[name] = getattr(build, name)(client, raw)
        row_client[name] = client
        if name == "balances":
            tables["firm_state"] = build.firm_state(raw)
            sessions_lived = len(raw)
    tables["accounts"], row_client["accounts"] = build.accounts(opens, closes)
    tables["clients"], row_client["clients"] = build.clients(seed, kyc_at, seen, closes)
    tables["client_protected"] = build.client_protected(seed, kyc_at)
    row_client["client_protected"] = people.numbers
    check_complete(tables)
    return LabBook(
        tables=tables,
        truth=_truth(people, opens, closes),
        row_client=row_client,
        client_ids=people.client_ids,
        account_ids=people.account_ids,
        group_ids=people.group_ids,
        opens=opens,
        closes=closes,
        first=start,
        last=end,
        client_sessions=sessions_lived,
        source=f"lab seed {seed}, {len(people.numbers)} clients",
    )


def _truth(people: People, opens: IntArray, closes: IntArray) -> Columns:
    columns: dict[str, Any] = {
        "client_id": list(people.client_ids),
        "account_id": list(people.account_ids),
        "habit": [HABITS[h] for h in people.habit],
        "opened_session": opens,
        "closed_session": closes,
    }
    columns |= {name: people.trait(name) for name in TRAITS}
    columns |= {f"p_{name}": people.parameter(name) for name in PARAMETERS}
    return columns
