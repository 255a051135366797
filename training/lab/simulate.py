"""Run a book of clients over a price panel: ``simulate`` and what it returns."""

from __future__ import annotations

import datetime as dt
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, IntArray
from features.panel import PricePanel
from training.lab.behaviour import PARAMETERS
from training.lab.engine import Clients, advance, new_state
from training.lab.kyc import VERSIONS, verification_sessions
from training.lab.margin_lines import CLOSED
from training.lab.market import Market, prepare
from training.lab.mechanics import CN, REG_T, Logs, Terms
from training.lab.output import WIDTHS
from training.lab.people import GROUP_BLOCK, HABITS, TRAITS, People, make_people, opening_sessions
from training.lab.rules import MarginRules
from training.lab.strengths import STRENGTHS, Strengths
from training.lab.tables import Builder, Columns, check_complete, firm_state

MAX_CLIENTS: Final = 1_000_000
CHUNK: Final = 200
"""Clients handed to a thread at a time; no result depends on it."""
_RAW = ("trades", "cash_flows", "positions", "contracts", "margin_events", "balances")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Offers:
    """What the lender offers each client of a book, by client number.

    Attributes
    ----------
    most_leverage_milli : most assets over equity at a purchase, in 1/1000; 0 leaves the rules' own
    add_on_bps : on top of the rules' loan rate
    """

    most_leverage_milli: IntArray
    add_on_bps: IntArray


@dataclass(frozen=True)
class LabBook:
    """A simulated book, or a block of one.

    Attributes
    ----------
    tables : contract tables as columns for ``data_contracts.lake.to_arrow``
    truth : hidden traits and habits, one row a client; no feature may read it
    row_client : for each bucketed table the place of each row's client in ``client_ids``
    client_ids, account_ids, group_ids : of the block's clients, by client number
    opens, closes : session numbers within the window, closes -1 while open
    first, last : the window as positions in the panel
    client_sessions : account-sessions lived
    engine_seconds : spent in the engine and on collecting its rows, tables left out
    assets : assets in minor units by the engine's own count, one row a row of ``balances``
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
    engine_seconds: float
    assets: Columns
    source: str = field(default="lab")


@dataclass(frozen=True)
class Stage:
    """Everything clients live on that is the same for all: market, terms, seed, window.

    ``arrivals`` is the number of sessions over which clients arrive, that of the window or more.
    """

    panel: PricePanel
    rules: MarginRules
    market: Market
    terms: Terms
    seed: int
    first: int
    last: int
    strengths: Strengths
    arrivals: int

    def people(self, low: int, count: int) -> People:
        """The clients numbered ``low`` onwards."""
        return make_people(self.seed, count, self.panel.currency, low, self.strengths)

    @property
    def sessions(self) -> int:
        """Sessions of the window."""
        return self.last - self.first + 1


def set_stage(
    panel: PricePanel,
    rules: MarginRules,
    seed: int,
    first: dt.date,
    last: dt.date,
    strengths: Strengths | None = None,
    arrivals: int | None = None,
) -> Stage:
    """Prepare a market for its clients, who arrive over the window or over ``arrivals`` sessions.

    Raises
    ------
    InputError
        If the window holds no sessions of the market or the rules are of another market.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"a seed is a number from 0 to 2**63 - 1, not {seed}")
    start, end = _window(panel, rules, first, last)
    m = prepare(panel, rules.initial_ratio_e6, rules.rate_bps, rules.haircut_e6, start, end)
    given = STRENGTHS[panel.currency] if strengths is None else strengths
    over = end - start + 1 if arrivals is None else arrivals
    return Stage(panel, rules, m, _terms(rules), seed, start, end, given, over)


def cast_of(stage: Stage, people: People, offers: Offers | None = None) -> Clients:
    """The clients as the engine takes them."""
    opens = opening_sessions(stage.seed, people, stage.arrivals, stage.panel.currency)
    offer = np.zeros((len(opens), 2), dtype=np.int64)
    if offers is not None:
        offer[:, 0] = offers.most_leverage_milli[people.numbers]
        offer[:, 1] = offers.add_on_bps[people.numbers]
    return Clients(
        number=people.numbers,
        group=people.group,
        parameters=people.parameters,
        opens=opens,
        offer=offer,
        kyc_at=verification_sessions(stage.seed, people, opens, stage.sessions),
        kyc=np.ones((len(opens), VERSIONS, 3)),
    )


def compile_engine(stage: Stage) -> None:
    """Compile the engine, or read its machine code, without letting anybody live."""
    who, no_rows = cast_of(stage, stage.people(0, 1)), np.empty((0, 14), dtype=np.int64)
    logs = Logs(
        no_rows, no_rows[:, :6], np.zeros(3, dtype=np.int64), np.empty(0, dtype=np.int64)
    )  # fmt: skip
    advance(stage.market, stage.terms, stage.seed, who, new_state(1), logs, 0, 0, 0, 0)


def _some(who: Clients, rows: slice | BoolArray) -> Clients:
    """Some of the clients."""
    return Clients(
        who.number[rows], who.group[rows], who.parameters[rows], who.opens[rows], who.offer[rows],
        who.kyc_at[rows], who.kyc[rows],
    )  # fmt: skip


@dataclass(frozen=True)
class _Lives:
    closes: IntArray
    rows: tuple[IntArray, ...]


_kept = threading.local()


def _paper(name: str, rows: int, columns: int) -> IntArray:
    """Room to write rows on, the same for each chunk of a thread: fresh memory costs more."""
    found: IntArray | None = getattr(_kept, name, None)
    if found is None or len(found) < rows:
        found = np.empty((rows, columns), dtype=np.int64)
        setattr(_kept, name, found)
    return found[:rows]


def _live(stage: Stage, who: Clients, low: int, high: int) -> _Lives:
    """The lives of some clients; column 0 of each table's rows is the client's place."""
    lived = int((stage.sessions - who.opens[low:high]).sum())
    room = 2 * lived + 64 * (high - low)
    mine = _some(who, slice(low, high))
    while True:
        rows, balances = _paper("rows", room, 2 + max(WIDTHS)), _paper("balances", lived, 6)
        logs = Logs(rows, balances, np.zeros(3, dtype=np.int64), np.empty(0, dtype=np.int64))
        state = new_state(high - low)
        advance(
            stage.market, stage.terms, stage.seed, mine, state, logs, 0, high - low, 0,
            stage.sessions,
        )  # fmt: skip
        if logs.used[0] <= room:
            break
        room = int(logs.used[0])
        mine.kyc[:] = 1.0
    rows = rows[: logs.used[0]]
    rows[:, 1] += low
    kept = balances[: logs.used[1]].copy()
    kept[:, 0] += low
    split = tuple(rows[rows[:, 0] == k, 1 : 2 + w] for k, w in enumerate(WIDTHS))
    return _Lives(state.margin[:, CLOSED].copy(), (*split, kept))


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


def threads_or_all(threads: int | None) -> int:
    """The number of threads to use: as asked, else one a core."""
    workers = threads or os.cpu_count() or 1
    if workers < 1:
        raise InputError(f"threads must be at least 1, not {threads}")
    return workers


def check_clients(clients: int) -> None:
    """Refuse a book of no clients or of too many."""
    if not 1 <= clients <= MAX_CLIENTS:
        raise InputError(f"a book has 1 to {MAX_CLIENTS} clients, not {clients}")


def simulate(
    panel: PricePanel,
    rules: MarginRules,
    *,
    clients: int,
    seed: int,
    first: dt.date,
    last: dt.date,
    threads: int | None = None,
    offers: Offers | None = None,
    progress: Progress | None = None,
) -> LabBook:
    """Let ``clients`` clients live from ``first`` to ``last`` on the prices of a panel.

    The same seed gives the same bytes on any number of threads; more clients change no earlier
    client; prices after a day change no row that happened by then.

    Raises
    ------
    InputError
        If the window holds no sessions of the market or a count is out of range.
    """
    check_clients(clients)
    stage = set_stage(panel, rules, seed, first, last)
    return simulate_block(stage, 0, clients, threads, offers, progress)


def simulate_block(
    stage: Stage,
    low: int,
    high: int,
    threads: int | None = None,
    offers: Offers | None = None,
    progress: Progress | None = None,
) -> LabBook:
    """The clients numbered ``low`` to ``high``, the end left out, of a book.

    ``low`` is a multiple of ``GROUP_BLOCK``, so that no related group is torn.
    """
    if low % GROUP_BLOCK:
        raise ValueError(f"a block begins at a multiple of {GROUP_BLOCK}, not at {low}")
    people = stage.people(low, high - low)
    who = cast_of(stage, people, offers)
    came = who.opens < stage.sessions
    if not came.all():
        people, who = people.only(came), _some(who, came)
    count = len(people.numbers)
    started = time.perf_counter()
    lives: list[_Lives] = []
    with ThreadPoolExecutor(max_workers=threads_or_all(threads)) as pool:
        starts = range(0, count, CHUNK)
        for k, done in enumerate(
            pool.map(lambda at: _live(stage, who, at, min(at + CHUNK, count)), starts)
        ):
            lives.append(done)
            if progress is not None:
                progress(low + min((k + 1) * CHUNK, count), high)
    spent = time.perf_counter() - started
    return _book(stage, people, who, lives, spent)


def _book(stage: Stage, people: People, who: Clients, lives: list[_Lives], spent: float) -> LabBook:
    build = Builder(stage.panel, stage.rules, people, stage.first, stage.last)
    closes = np.concatenate([x.closes for x in lives])
    tables: dict[str, Columns] = {}
    row_client: dict[str, IntArray] = {}
    sessions_lived = 0
    for k, name in enumerate(_RAW):
        raw = np.concatenate([x.rows[k] for x in lives])
        client, raw = raw[:, 0].copy(), raw[:, 1:]
        tables[name] = getattr(build, name)(client, raw)
        row_client[name] = client
        if name == "balances":
            raw, value = raw[:, :4], raw[:, 4]
            assets = {
                "account_id": tables[name]["account_id"],
                "session": tables[name]["session"],
                "assets_amt": value,
            }
            drawn = np.zeros(stage.sessions, dtype=np.int64)
            np.add.at(drawn, raw[:, 0], raw[:, 2])
            tables["firm_state"] = firm_state(
                stage.panel, stage.first, stage.last, drawn, len(people.numbers)
            )
            sessions_lived = len(raw)
    tables["accounts"], row_client["accounts"] = build.accounts(who.opens, closes)
    tables["clients"], row_client["clients"] = build.clients(
        stage.seed, who.kyc_at, who.kyc, closes
    )
    tables["client_protected"] = build.client_protected(stage.seed, who.kyc_at)
    row_client["client_protected"] = np.arange(len(people.numbers))
    check_complete(tables)
    return LabBook(
        tables=tables,
        truth=_truth(people, who.opens, closes),
        row_client=row_client,
        client_ids=people.client_ids,
        account_ids=people.account_ids,
        group_ids=people.group_ids,
        opens=who.opens,
        closes=closes,
        first=stage.first,
        last=stage.last,
        client_sessions=sessions_lived,
        engine_seconds=spent,
        assets=assets,
        source=f"lab seed {stage.seed}",
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
