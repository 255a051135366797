"""The point-in-time join: what was visible at a session's cut-off.

This is the only way from a lake to a feature. A row counts at the cut-off if it is visible and no
later version of its key is; prices end with the session. Accounts that are closed at the session
drop out with their balances, holdings and contracts; trades, cash flows and margin events are the
client's, of closed accounts too. A holding without a price (not listed) is worth nothing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.lake import read_table
from data_contracts.units import NULL, BoolArray, FloatArray, IntArray
from features.book import (
    DEFAULT_MEMORY_SESSIONS,
    LONGEST_WINDOW_SESSIONS,
    BookAsOf,
    CashFlows,
    Contracts,
    Kyc,
    MarginEvents,
    Paths,
    Positions,
    Trades,
    Windows,
)
from features.book_fills import BookFills
from features.calendar import cut_offs
from features.panel import PricePanel
from features.paths import Balances, Holdings, Intervals, load_balances, load_holdings
from features.rows import (
    KYC_AMOUNTS,
    KYC_COUNTS,
    KYC_DATES,
    KYC_FLAGS,
    AccountRows,
    ContractRows,
    FlowRows,
    KycRows,
    Names,
    account_rows,
    contract_rows,
    flow_rows,
    kyc_rows,
    read_accounts,
)
from features.versions import NEVER

if TYPE_CHECKING:
    from features.tallies.values import Tallies

NO_TIME = np.datetime64("NaT", "us")


@dataclass(frozen=True)
class BookHistory:
    """The clients' tables of a lake, or of one bucket of it, ready for any as-of."""

    panel: PricePanel
    returns: FloatArray
    index_returns: FloatArray
    names: Names
    accounts: AccountRows
    kyc: KycRows
    contracts: ContractRows
    trades: FlowRows
    cash_flows: FlowRows
    events: FlowRows
    balances: Balances
    holdings: Holdings

    @staticmethod
    def load(root: Path, panel: PricePanel, bucket: int | None = None) -> BookHistory:
        """Read the clients' tables once.

        Raises
        ------
        InputError
            If a table or column is missing, or a row names an account, symbol or trading day that
            the lake or the market does not have.
        """
        accounts = read_accounts(root, bucket)
        clients = read_table(root, "clients", bucket=bucket)
        both = pa.chunked_array(
            [*accounts["client_id"].chunks, *clients["client_id"].chunks], pa.string()
        )
        names = Names(
            accounts=_sorted(accounts["account_id"]),
            clients=_sorted(both),
            symbols=pa.array(panel.symbols, type=pa.string()),
            sessions=panel.sessions,
            cut_offs=cut_offs(panel.sessions, panel.mic),
        )
        return BookHistory(
            panel=panel,
            returns=panel.simple_returns(),
            index_returns=panel.index_returns(),
            names=names,
            accounts=account_rows(accounts, names),
            kyc=kyc_rows(clients, names),
            contracts=contract_rows(root, names, bucket),
            trades=flow_rows(root, "trades", names, bucket),
            cash_flows=flow_rows(root, "cash_flows", names, bucket),
            events=flow_rows(root, "margin_events", names, bucket),
            balances=load_balances(root, names, bucket),
            holdings=load_holdings(root, panel, names, bucket),
        )

    def as_of(self, session: dt.date, *, applicants: bool = False) -> BookAsOf:
        """What was known at the cut-off of the last session at or before a day.

        Parameters
        ----------
        session : a day of the market's range
        applicants : also list clients with KYC but no open account; their money is zero

        Raises
        ------
        InputError
            If the day lies outside the market's sessions.
        """
        t = self.panel.session_index(np.datetime64(session, "D"))
        return _Reader(self, t, applicants).book()


def _sorted(column: pa.ChunkedArray) -> pa.Array:
    unique = pc.unique(column)
    return unique.take(pc.sort_indices(unique))


class _Reader:
    """One as-of: which accounts and clients there are, then each part of the book."""

    def __init__(self, history: BookHistory, t: int, applicants: bool) -> None:
        self.h = history
        self.t = t
        self.cut = int(history.names.cut_offs[t])
        self.first = max(0, t - LONGEST_WINDOW_SESSIONS + 1)
        rows = history.accounts
        day = history.panel.sessions[t]
        known = rows.versions.current(self.cut) & (rows.opened_on <= day)
        opened = known & ~(rows.closed_on <= day)  # NaT, still open, compares false
        here = np.flatnonzero(opened)
        seen = [rows.client[here]]
        if applicants:
            seen.append(history.kyc.client[history.kyc.versions.current(self.cut)])
        self.client_codes = np.unique(np.concatenate(seen))
        local = np.full(len(history.names.clients), -1, dtype=np.int64)
        local[self.client_codes] = np.arange(len(self.client_codes))
        here = here[np.lexsort((rows.account[here], rows.client[here]))]
        self.accounts = rows.account[here]
        self.account_client = local[rows.client[here]]
        self.opened_on = rows.opened_on[here]
        # Open accounts, for what is held; all known accounts, for what happened.
        self.holder = np.full(len(history.names.accounts), -1, dtype=np.int64)
        self.holder[self.accounts] = self.account_client
        self.actor = np.full(len(history.names.accounts), -1, dtype=np.int64)
        self.actor[rows.account[known]] = local[rows.client[known]]
        self.client_local = local
        self.touching = history.holdings.rows(max(0, self.first - 1), t, self.cut)

    @property
    def clients(self) -> int:
        return len(self.client_codes)

    def pooled(self, by_account: IntArray) -> IntArray:
        """(sessions, accounts) to (sessions, clients); ``NULL`` where no account has a value."""
        # Here, so that a process that reads no lake loads no compiler.
        from features.loops import summed

        return summed(by_account, self.account_client, self.clients, NULL)

    def book(self) -> BookAsOf:
        h, t = self.h, self.t
        events = self.events()
        called_on, deadline_at = self.open_calls(events)
        cash, debt, accrued = self.last_balances()
        kyc, group = self.kyc()
        return BookAsOf(
            panel=h.panel.until(t),
            returns=h.returns[: t + 1],
            index_returns=h.index_returns[: t + 1],
            t=t,
            session=h.panel.sessions[t].astype("datetime64[D]").item(),
            cut_off=np.int64(self.cut).astype("datetime64[us]"),
            client_ids=tuple(h.names.clients.take(pa.array(self.client_codes)).to_pylist()),
            account_ids=tuple(h.names.accounts.take(pa.array(self.accounts)).to_pylist()),
            account_client=self.account_client,
            account_age_sessions=self.ages(),
            related_group=group,
            cash=cash,
            debt=debt,
            accrued=accrued,
            positions=self.positions(),
            contracts=self.contracts(),
            kyc=kyc,
            called_on=called_on,
            deadline_at=deadline_at,
            in_default=self.defaults(events),
            events=events,
            windows=Windows(
                self.paths,
                self.trades,
                self.cash_flows,
                self.intervals,
                self.tallies,
                self.diluted_cost,
            ),
        )

    def ages(self) -> IntArray:
        age = np.zeros(self.clients, dtype=np.int64)
        opened = np.searchsorted(self.h.panel.sessions, self.opened_on)
        np.maximum.at(age, self.account_client, self.t - opened)
        return age

    def last_balances(self) -> tuple[IntArray, IntArray, IntArray]:
        blocks = self.h.balances.window(self.accounts, self.t, self.t, self.cut)
        late = np.flatnonzero(blocks[0][0] == NULL)
        if len(late):
            before = self.h.balances.window(self.accounts[late], self.first, self.t, self.cut)
            for block, known in zip(blocks, before, strict=True):
                block[0, late] = known[-1]
        cash, debt, accrued = (self.pooled(block)[0] for block in blocks)
        nothing = cash == NULL
        for column in (cash, debt, accrued):
            column[nothing] = 0
        return cash, debt, accrued

    def kyc(self) -> tuple[Kyc, np.ndarray[tuple[int], np.dtype[np.object_]]]:
        rows = np.flatnonzero(self.h.kyc.versions.current(self.cut))
        client = self.client_local[self.h.kyc.client[rows]]
        rows, client = rows[client >= 0], client[client >= 0]

        def fill(
            name: str, empty: object, dtype: object
        ) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
            out = np.full(self.clients, empty, dtype=dtype)  # type: ignore[call-overload]
            out[client] = self.h.kyc.columns[name][rows]
            return out  # type: ignore[no-any-return]

        values: dict[str, object] = {
            n: fill(n, NULL, np.int64) for n in (*KYC_AMOUNTS, *KYC_COUNTS)
        }
        values |= {n: fill(n, False, bool) for n in KYC_FLAGS}
        values |= {n: fill(n, np.datetime64("NaT", "D"), "datetime64[D]") for n in KYC_DATES}
        values |= {n: fill(n, None, object) for n in ("bureau_status", "aml_level")}
        group = fill("related_group_id", None, object)
        group[group == None] = ""  # noqa: E711 - elementwise on an object array
        return Kyc(**values), group  # type: ignore[arg-type, return-value]

    def positions(self) -> Positions:
        h = self.h.holdings
        rows = self.touching
        rows = rows[(h.end[rows] >= self.t) & (h.quantity_shares[rows] > 0)]
        client = self.holder[h.account[rows]]
        rows, client = rows[client >= 0], client[client >= 0]
        symbols = len(self.h.names.symbols)
        held, pool = np.unique(client * symbols + h.symbol[rows], return_inverse=True)
        quantity = np.zeros(len(held), dtype=np.int64)
        cost = np.zeros(len(held), dtype=np.int64)
        np.add.at(quantity, pool, h.quantity_shares[rows])
        np.add.at(cost, pool, h.cost_amt[rows])
        return Positions(held // symbols, held % symbols, quantity, cost)

    def contracts(self) -> Contracts:
        c = self.h.contracts
        rows = np.flatnonzero(c.versions.current(self.cut) & (c.numbers["outstanding_amt"] > 0))
        client = self.holder[c.account[rows]]
        rows, client = rows[client >= 0], client[client >= 0]
        order = np.lexsort((c.contract_id[rows], client))
        rows, client = rows[order], client[order]
        return Contracts(
            client=client,
            contract_id=c.contract_id[rows],
            symbol=c.symbol[rows],
            kind=c.kind[rows],
            opened_on=c.opened_on[rows],
            due_on=c.due_on[rows],
            rule_pack=c.rule_pack[rows],
            **{name: values[rows] for name, values in c.numbers.items()},
        )

    def events(self) -> MarginEvents:
        e = self.h.events
        rows = e.rows(0, self.t, self.cut)
        client = self.actor[e.account[rows]]
        rows, client = rows[client >= 0], client[client >= 0]
        numbers = {name: values[rows] for name, values in e.numbers.items()}
        return MarginEvents(client, e.account[rows], e.session[rows], e.event_at[rows], **numbers)

    def open_calls(
        self, events: MarginEvents
    ) -> tuple[
        np.ndarray[tuple[int], np.dtype[np.datetime64]],
        np.ndarray[tuple[int], np.dtype[np.datetime64]],
    ]:
        ended = np.full(len(self.holder), np.iinfo(np.int64).min, dtype=np.int64)
        ends = events.of_kinds("cure", "forced_sale", "default")
        np.maximum.at(ended, events.account[ends], events.event_at[ends])
        still = events.of_kinds("call") & (events.event_at >= ended[events.account])
        still &= self.holder[events.account] >= 0  # an account that is closed has no open call
        called = np.full(self.clients, NEVER, dtype=np.int64)
        deadline = np.full(self.clients, NEVER, dtype=np.int64)
        np.minimum.at(called, events.client[still], events.event_at[still])
        np.minimum.at(deadline, events.client[still], events.deadline_at[still])
        return _instants(called), _instants(deadline)

    def defaults(self, events: MarginEvents) -> BoolArray:
        recent = events.of_kinds("default") & (events.session > self.t - DEFAULT_MEMORY_SESSIONS)
        out = np.zeros(self.clients, dtype=bool)
        out[events.client[recent]] = True
        return out

    def paths(self) -> Paths:
        window = (self.accounts, self.first, self.t, self.cut)
        cash, debt, accrued = (self.pooled(block) for block in self.h.balances.window(*window))
        value = self.pooled(self.h.holdings.value_window(self.touching, *window))
        securities = np.where(value == NULL, 0, value) // 100
        return Paths(securities.T, cash.T, debt.T, accrued.T)

    def trades(self) -> Trades:
        f = self.h.trades
        rows = f.rows(self.first, self.t, self.cut)
        client = self.actor[f.account[rows]]
        rows, client = rows[client >= 0], client[client >= 0]
        n = {name: values[rows] for name, values in f.numbers.items()}
        return Trades(
            client,
            f.account[rows],
            f.session[rows],
            n["symbol"],
            n["buy"] == 1,
            n["quantity_shares"],
            n["price"],
            n["financed"] == 1,
        )

    def fills(self) -> BookFills:
        """Every fill of the whole history that counts, of closed accounts too."""
        f = self.h.trades
        rows = f.rows(0, self.t, self.cut)
        client = self.actor[f.account[rows]]
        rows, client = rows[client >= 0], client[client >= 0]
        n = {name: values[rows] for name, values in f.numbers.items()}
        return BookFills(
            client=client,
            session=f.session[rows],
            event_at=f.event_at[rows],
            name=f.account[rows] * len(self.h.names.symbols) + n["symbol"],
            buy=n["buy"] == 1,
            quantity_shares=n["quantity_shares"],
            price=n["price"],
            financed=n["financed"] == 1,
            open=self.holder[f.account[rows]] >= 0,
        )

    def tallies(self) -> Tallies:
        return self.fills().tallies(self.clients, self.t)

    def diluted_cost(self) -> IntArray:
        return self.fills().diluted_cost(self.clients)

    def cash_flows(self) -> CashFlows:
        f = self.h.cash_flows
        rows = f.rows(self.first, self.t, self.cut)
        client = self.actor[f.account[rows]]
        rows, client = rows[client >= 0], client[client >= 0]
        return CashFlows(
            client, f.session[rows], f.numbers["kind"][rows], f.numbers["amount_amt"][rows]
        )

    def intervals(self) -> Intervals:
        h = self.h.holdings
        rows = self.touching[self.actor[h.account[self.touching]] >= 0]
        rows = rows[np.lexsort((h.start[rows], h.symbol[rows], h.account[rows]))]
        return h.intervals(rows, self.actor[h.account[rows]])


def _instants(microseconds: IntArray) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    out = np.where(microseconds == NEVER, 0, microseconds).astype("datetime64[us]")
    out[microseconds == NEVER] = NO_TIME
    return out
