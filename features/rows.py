"""The tables of a lake as arrays, each row with the interval of time during which it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.errors import InputError
from data_contracts.lake import decimal_to_int, read_table
from data_contracts.tables import TABLES
from data_contracts.tables.account import CASH_KINDS, CONTRACT_KINDS, MARGIN_EVENT_KINDS
from data_contracts.units import NULL, BoolArray, IntArray
from features.panel import DateArray
from features.versions import Versions, combine, encode, find_versions, timestamps, whole_numbers

OPEN_END: Final = int(np.iinfo(np.int32).max)
"""``end`` of a holding that is still current."""

KYC_AMOUNTS: Final = ("income_amt", "net_worth_amt", "liquid_assets_amt")
KYC_COUNTS: Final = ("experience_months", "suitability_level", "literacy_score")
KYC_FLAGS: Final = ("pep", "sanctioned", "automated_decision_refused")
KYC_TEXTS: Final = ("bureau_status", "aml_level", "related_group_id")
KYC_DATES: Final = ("kyc_verified_on", "kyc_expires_on")


@dataclass(frozen=True)
class Names:
    """What codes stand for: sorted accounts, clients and symbols, and the market's sessions."""

    accounts: pa.Array
    clients: pa.Array
    symbols: pa.Array
    sessions: DateArray
    cut_offs: IntArray


@dataclass(frozen=True)
class AccountRows:
    """Accounts: client code, opening and closing day (``NaT`` while open)."""

    account: IntArray
    client: IntArray
    opened_on: DateArray
    closed_on: DateArray
    versions: Versions


@dataclass(frozen=True)
class KycRows:
    """KYC: one array a column; ``NULL``, ``NaT`` and ``None`` where unknown."""

    client: IntArray
    columns: dict[str, np.ndarray[tuple[int], np.dtype[np.generic]]]
    versions: Versions


@dataclass(frozen=True)
class ContractRows:
    """Loan contracts, one row a change of state."""

    account: IntArray
    contract_id: np.ndarray[tuple[int], np.dtype[np.object_]]
    symbol: IntArray
    kind: IntArray
    opened_on: DateArray
    due_on: DateArray
    numbers: dict[str, IntArray]
    rule_pack: np.ndarray[tuple[int], np.dtype[np.object_]]
    versions: Versions


@dataclass(frozen=True)
class FlowRows:
    """Things that happened to an account, in order of session.

    ``numbers`` holds the columns of the table at hand; ``session`` is the first session whose
    cut-off is not before the event.
    """

    account: IntArray
    session: IntArray
    event_at: IntArray
    numbers: dict[str, IntArray]
    versions: Versions

    def rows(self, first: int, last: int, cut: int) -> IntArray:
        """Rows of sessions ``first`` to ``last`` (both included) that count at the cut-off."""
        low, high = np.searchsorted(self.session, [first, last + 1])
        rows: IntArray = np.flatnonzero(self.versions.current(cut, slice(int(low), int(high))))
        return rows + int(low)


def dates(column: pa.ChunkedArray) -> DateArray:
    """A date column as datetime64[D]; null becomes ``NaT``."""
    days = np.asarray(column.cast(pa.int32()).fill_null(0)).astype(np.int64)
    out = days.astype("datetime64[D]")
    out[np.asarray(column.is_null())] = np.datetime64("NaT", "D")
    return out


def integers(column: pa.ChunkedArray) -> IntArray:
    """A number, flag or decimal column as int64 quanta; null becomes ``NULL``."""
    if pa.types.is_decimal(column.type):
        return decimal_to_int(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return whole_numbers(column, NULL)


def texts(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    """A text column as an object array, ``None`` for null."""
    whole = column.combine_chunks()
    coded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    names = np.empty(len(coded.dictionary) + 1, dtype=object)
    names[:-1] = coded.dictionary.to_pylist()
    # the last, None, is what -1 finds
    out: np.ndarray[tuple[int], np.dtype[np.object_]] = names[
        np.asarray(coded.indices.fill_null(-1))
    ]
    return out


def session_codes(days: DateArray, sessions: DateArray, what: str) -> IntArray:
    """Position of each day among the sessions.

    Raises
    ------
    InputError
        If a day is no trading day of the market.
    """
    if len(days) > len(sessions) > 0:  # a calendar of all days is quicker than a search a row
        first = sessions[0].astype("datetime64[D]").astype(np.int64)
        codes = np.full(int(sessions[-1].astype("datetime64[D]").astype(np.int64) - first) + 2, -1)
        codes[sessions.astype("datetime64[D]").astype(np.int64) - first] = np.arange(len(sessions))
        found = codes[np.clip(days.astype(np.int64) - first, -1, len(codes) - 1)]
        wrong = found < 0
    else:
        found = np.searchsorted(sessions, days).astype(np.int64)
        near = sessions[np.minimum(found, len(sessions) - 1)]
        wrong = (found == len(sessions)) | (near != days)
    if bool(np.any(wrong)):
        raise InputError(
            f"{what}: {days[wrong][0]} is not a trading day of the market; its sessions run from"
            f" {sessions[0]} to {sessions[-1]}"
        )
    out: IntArray = found.astype(np.int64)
    return out


def read_accounts(root: Path, bucket: int | None) -> pa.Table:
    """The rows of the accounts table."""
    wanted = ["account_id", "client_id", "opened_on", "closed_on", "event_at", "known_at"]
    return read_table(root, "accounts", bucket=bucket, columns=wanted)


def account_rows(table: pa.Table, names: Names) -> AccountRows:
    """Accounts as arrays."""
    account = encode(table["account_id"], names.accounts, "accounts.account_id")
    return AccountRows(
        account=account,
        client=encode(table["client_id"], names.clients, "accounts.client_id"),
        opened_on=dates(table["opened_on"]),
        closed_on=dates(table["closed_on"]),
        versions=find_versions(table, account),
    )


def kyc_rows(table: pa.Table, names: Names) -> KycRows:
    """KYC as arrays."""
    client = encode(table["client_id"], names.clients, "clients.client_id")
    columns: dict[str, np.ndarray[tuple[int], np.dtype[np.generic]]] = {}
    for name in (*KYC_AMOUNTS, *KYC_COUNTS):
        columns[name] = integers(table[name])
    for name in KYC_FLAGS:
        columns[name] = np.asarray(table[name]).astype(bool)
    for name in KYC_TEXTS:
        columns[name] = texts(table[name])
    for name in KYC_DATES:
        columns[name] = dates(table[name])
    return KycRows(client, columns, find_versions(table, client))


def contract_rows(root: Path, names: Names, bucket: int | None) -> ContractRows:
    """Loan contracts as arrays."""
    amounts = ("principal_amt", "outstanding_amt", "accrued_amt")
    numbers = ("rollovers", "quantity_shares", *amounts, "ratio_at_opening", "rate_bps")
    words = ("account_id", "contract_id", "symbol", "kind", "rule_pack")
    wanted = [*words, "opened_on", "due_on", *numbers, "event_at", "known_at"]
    table = read_table(root, "contracts", bucket=bucket, columns=wanted, coded=words)
    contract = table["contract_id"]
    key = encode(contract, pc.unique(contract.combine_chunks().dictionary), "contracts")
    return ContractRows(
        account=encode(table["account_id"], names.accounts, "contracts.account_id"),
        contract_id=texts(contract),
        symbol=encode(table["symbol"], names.symbols, "contracts.symbol"),
        kind=encode(table["kind"], pa.array(CONTRACT_KINDS), "contracts.kind"),
        opened_on=dates(table["opened_on"]),
        due_on=dates(table["due_on"]),
        numbers={n: integers(table[n]) for n in numbers},
        rule_pack=texts(table["rule_pack"]),
        versions=find_versions(table, key),
    )


def flow_rows(root: Path, name: str, names: Names, bucket: int | None) -> FlowRows:
    """Trades, cash flows or margin events as arrays in order of session."""
    spec = TABLES[name]
    columns = [c.name for c in spec.columns if c.name not in ("client_id", spec.event)]
    words = [n for n in ("account_id", "symbol", "side", "kind") if n in columns]
    wanted = [*columns, *_missing(columns)]
    table = read_table(root, name, bucket=bucket, columns=wanted, coded=words)
    account = encode(table["account_id"], names.accounts, f"{name}.account_id")
    event = timestamps(table["event_at"])
    numbers: dict[str, IntArray] = {}
    if name == "trades":
        key = _first_seen(table["trade_id"])
        numbers["symbol"] = encode(table["symbol"], names.symbols, "trades.symbol")
        numbers["buy"] = np.asarray(pc.equal(table["side"], "buy")).astype(np.int64)
        for column in ("quantity_shares", "price", "financed"):
            numbers[column] = integers(table[column])
    else:
        kinds = CASH_KINDS if name == "cash_flows" else MARGIN_EVENT_KINDS
        numbers["kind"] = encode(table["kind"], pa.array(kinds), f"{name}.kind")
        numbers["amount_amt"] = integers(table["amount_amt"])
        if name == "margin_events":
            numbers["deadline_at"] = timestamps(table["deadline_at"])
        instants, instant = np.unique(event, return_inverse=True)
        key = combine(
            (account, len(names.accounts)),
            (numbers["kind"], len(kinds)),
            (instant.astype(np.int64), len(instants)),
        )
    versions = find_versions(table, key)
    session = np.searchsorted(names.cut_offs, event).astype(np.int64)
    order = np.argsort(event, kind="stable")  # by session too, which never falls as time goes on
    return FlowRows(
        account=account[order],
        session=session[order],
        event_at=event[order],
        numbers={n: values[order] for n, values in numbers.items()},
        versions=versions.take(order),
    )


def _first_seen(column: pa.ChunkedArray) -> IntArray:
    """A number for each different text."""
    return np.asarray(column.combine_chunks().dictionary_encode().indices).astype(np.int64)


def _missing(columns: Sequence[str]) -> list[str]:
    return [name for name in ("event_at", "known_at") if name not in columns]


def is_set(days: DateArray) -> BoolArray:
    """Which days are known."""
    known: BoolArray = ~np.isnat(days)
    return known
