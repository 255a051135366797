"""Raw rows of the engine as columns of the contract tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.columns import TABLES
from data_contracts.tables.account import CASH_KINDS, MARGIN_EVENT_KINDS
from data_contracts.units import NULL, FloatArray, IntArray
from features.panel import PricePanel
from training.lab.kyc import kyc_table, protected_table
from training.lab.people import People
from training.lab.rules import MarginRules

Columns = dict[str, Any]
KNOWN_AFTER = np.timedelta64(3600, "s")
"""Bookings are known one hour after the close, before the cut-off of 18:00 market time."""
PRODUCTS = {"reg_t": "reg_t_margin", "cn": "financing"}
# The lender's size for a book of a given number of clients, whole units a client.
CAPITAL_PER_CLIENT = {"USD": 40_000, "CNY": 300_000}
QUOTA_TIMES_CAPITAL = 3
# It raises capital as the book grows: quota is about 4/3 of the largest book a quarter ago.
CAPITAL_LAG_SESSIONS = 60
CAPITAL_PERCENT_OF_PEAK = 45


def _named(codes: IntArray, names: Any) -> pa.DictionaryArray:
    """Codes as a dictionary of strings; -1 is null."""
    index = pa.array(np.maximum(codes, 0).astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(index, pa.array(names, type=pa.string()))


def _numbered(letter: str, people: People, client: IntArray, number: IntArray) -> pa.Array:
    """Ids such as ``T0123456789ab-17``: the client's digits and a number within the client."""
    digits = [letter + c[1:] for c in people.client_ids]
    whose = _named(client, digits).cast(pa.string())
    return pc.binary_join_element_wise(whose, pa.array(number).cast(pa.string()), "-")


def _running(client: IntArray) -> IntArray:
    """1, 2, 3, ... within each run of equal clients."""
    if len(client) == 0:
        return np.empty(0, dtype=np.int64)
    place = np.arange(len(client))
    starts = np.flatnonzero(np.r_[True, client[1:] != client[:-1]])
    return np.asarray(place - np.repeat(starts, np.diff(np.r_[starts, len(client)])) + 1)


def _stamp(close_at: npt.NDArray[np.datetime64], session: IntArray) -> Columns:
    event = close_at[session]
    return {"event_at": event, "known_at": event + KNOWN_AFTER}


def firm_state(
    panel: PricePanel, first: int, last: int, drawn_amt: IntArray, clients: int
) -> Columns:
    """The lender: what is drawn, against capital that follows the book, a quarter behind it."""
    capital = CAPITAL_PER_CLIENT[panel.currency] * 100 * clients
    count = np.arange(last - first + 1)
    peak = np.maximum.accumulate(drawn_amt)[np.maximum(count - CAPITAL_LAG_SESSIONS, 0)]
    net = np.maximum(capital, peak * CAPITAL_PERCENT_OF_PEAK // 100)
    window = slice(first, last + 1)
    return {
        "session": panel.sessions[window].astype("datetime64[D]"),
        "net_capital_amt": net,
        "quota_amt": net * QUOTA_TIMES_CAPITAL,
        "drawn_amt": drawn_amt,
        **_stamp(panel.close_at[window].astype("datetime64[us]"), count),
    }


class Builder:
    """Builds the contract tables of a book from its raw rows."""

    def __init__(
        self, panel: PricePanel, rules: MarginRules, people: People, first: int, last: int
    ) -> None:
        self.panel, self.rules, self.people = panel, rules, people
        self.sessions = panel.sessions[first : last + 1].astype("datetime64[D]")
        self.close_at = panel.close_at[first : last + 1].astype("datetime64[us]")

    def _stamp(self, session: IntArray) -> Columns:
        return _stamp(self.close_at, session)

    def _who(self, client: IntArray) -> Columns:
        return {
            "account_id": _named(client, self.people.account_ids),
            "client_id": _named(client, self.people.client_ids),
        }

    def trades(self, client: IntArray, raw: IntArray) -> Columns:
        """Fills at the close, cost inside the price."""
        stamp = self._stamp(raw[:, 0])
        return {
            "trade_id": _numbered("T", self.people, client, _running(client)),
            **self._who(client),
            "symbol": _named(raw[:, 1], self.panel.symbols),
            "side": _named(raw[:, 2], ["buy", "sell"]),
            "quantity_shares": raw[:, 3],
            "price": raw[:, 4],
            "financed": raw[:, 5] == 1,
            "executed_at": stamp["event_at"],
            **stamp,
        }

    def cash_flows(self, client: IntArray, raw: IntArray) -> Columns:
        """One row a kind and session, positive into the account."""
        return {
            **self._who(client),
            "kind": _named(raw[:, 1], CASH_KINDS),
            "amount_amt": raw[:, 2],
            **self._stamp(raw[:, 0]),
        }

    def positions(self, client: IntArray, raw: IntArray) -> Columns:
        """Versions of holding intervals; a version happens when the holding changes."""
        to = raw[:, 3]
        ends = np.where(to < 0, np.datetime64("NaT", "D"), self.sessions[np.maximum(to, 0)])
        return {
            **self._who(client),
            "symbol": _named(raw[:, 1], self.panel.symbols),
            "from_session": self.sessions[raw[:, 2]],
            "to_session": ends,
            "quantity_shares": raw[:, 4],
            "cost_amt": raw[:, 5],
            **self._stamp(raw[:, 0]),
        }

    def contracts(self, client: IntArray, raw: IntArray) -> Columns:
        """Versions of loan contracts."""
        loan = raw[:, 2] < 0
        due = np.where(raw[:, 8] < 0, np.iinfo(np.int64).min, raw[:, 8]).astype("datetime64[D]")
        kind = "margin_loan" if self.rules.kind == "reg_t" else "financing"
        return {
            "contract_id": _numbered("L", self.people, client, raw[:, 1]),
            **self._who(client),
            "symbol": _named(raw[:, 2], self.panel.symbols),
            "kind": _named(np.zeros(len(raw), dtype=np.int64), [kind]),
            "opened_on": self.sessions[raw[:, 7]],
            "due_on": due,
            "rollovers": raw[:, 9],
            "quantity_shares": np.where(loan, NULL, raw[:, 3]),
            "principal_amt": raw[:, 4],
            "outstanding_amt": raw[:, 5],
            "accrued_amt": raw[:, 6],
            "ratio_at_opening": raw[:, 10],
            "rate_bps": raw[:, 11],
            "rule_pack": _named(np.zeros(len(raw), dtype=np.int64), [self.rules.rule_pack]),
            **self._stamp(raw[:, 0]),
        }

    def margin_events(self, client: IntArray, raw: IntArray) -> Columns:
        """Warn, call, cure, forced sale, shortfall, default."""
        return {
            **self._who(client),
            "kind": _named(raw[:, 1], MARGIN_EVENT_KINDS),
            "amount_amt": raw[:, 2],
            "deadline_at": self._deadline(raw[:, 3]),
            **self._stamp(raw[:, 0]),
        }

    def _deadline(self, session: IntArray) -> npt.NDArray[np.datetime64]:
        """Close of the deadline's session; past the window, that many weekdays further."""
        last = len(self.sessions) - 1
        at = self.close_at[np.clip(session, 0, last)]
        beyond = np.maximum(session - last, 0)
        day = np.busday_offset(self.sessions[last], beyond, roll="forward")
        at = at + (day - self.sessions[last]) * (beyond > 0)
        return np.where(session < 0, np.datetime64("NaT", "us"), at.astype("datetime64[us]"))

    def balances(self, client: IntArray, raw: IntArray) -> Columns:
        """One row an account and session while it is open."""
        return {
            **self._who(client),
            "session": self.sessions[raw[:, 0]],
            "cash_amt": raw[:, 1],
            "debt_amt": raw[:, 2],
            "accrued_amt": raw[:, 3],
            **self._stamp(raw[:, 0]),
        }

    def accounts(self, opens: IntArray, closes: IntArray) -> tuple[Columns, IntArray]:
        """A version at opening, another at closing; and the client of each row."""
        shut = np.flatnonzero(closes >= 0)
        client = np.concatenate([np.arange(len(opens)), shut])
        session = np.concatenate([opens, closes[shut]])
        closed = np.full(len(client), np.datetime64("NaT", "D"))
        closed[len(opens) :] = self.sessions[closes[shut]]
        order = np.lexsort((session, client))
        client, session, closed = client[order], session[order], closed[order]
        same = np.zeros(len(client), dtype=np.int64)
        return {
            **self._who(client),
            "market": _named(same, [self.panel.mic]),
            "product": _named(same, [PRODUCTS[self.rules.kind]]),
            "currency": _named(same, [self.panel.currency]),
            "opened_on": self.sessions[opens[client]],
            "closed_on": closed,
            **self._stamp(session),
        }, client

    def clients(
        self, seed: int, at: IntArray, seen: FloatArray, closes: IntArray
    ) -> tuple[Columns, IntArray]:
        """KYC versions; and the client of each row."""
        until = np.where(closes < 0, len(self.sessions), closes)
        made = kyc_table(seed, self.people, at, seen, until, self.sessions, self.close_at)
        client = np.asarray(made["client_id"])
        groups = [g or "" for g in self.people.group_ids]
        in_group = np.array([g is not None for g in self.people.group_ids])
        made["client_id"] = _named(client, self.people.client_ids)
        made["related_group_id"] = _named(np.where(in_group[client], client, -1), groups)
        return made, client

    def client_protected(self, seed: int, at: IntArray) -> Columns:
        """Protected attributes, one row a client."""
        made = protected_table(seed, self.people, at, self.close_at)
        made["client_id"] = _named(made["client_id"], self.people.client_ids)
        return made


def check_complete(tables: dict[str, Columns]) -> None:
    """Every declared column of every table is there."""
    for name, columns in tables.items():
        missing = {c.name for c in TABLES[name].columns} - set(columns)
        if missing:
            raise AssertionError(f"table {name} lacks {sorted(missing)}")
