"""The clients of one bucket as flat arrays: all that a night knows of them before it decides."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import orjson

from data_contracts.book import MAX_BPS, MAX_OPENING_RATIO, MAX_SHARES
from data_contracts.case import AML_LEVELS
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import MAX_AMT, NULL, BoolArray, IntArray
from features.book import BookAsOf
from models.margin.book import MINOR_PER_PRICE, BookColumns, flat_columns

_NUMBERS: Final = (
    "cash", "kyc_expires", "suitability", "aml", "pep", "sanctioned", "refused", "margin_state",
    "group", "holding_client", "holding_symbol", "holding_shares", "loan_client", "loan_symbol",
    "loan_kind", "loan_opened", "loan_due", "loan_shares", "loan_outstanding", "loan_accrued",
    "loan_ratio", "loan_rate", "features",
)  # fmt: skip
_TEXTS: Final = ("client_ids", "account_ids", "group_ids", "loan_ids", "loan_packs", "symbols")


@dataclass(frozen=True)
class NightRows:
    """N clients of a bucket. ``NULL`` is null; days count from 1970; money is in minor units.

    Attributes
    ----------
    aml : position in ``AML_LEVELS``
    margin_state : position in ``MARGIN_STATES``
    group : position in ``group_ids``, -1 without related clients in the book
    holding_client, holding_symbol, holding_shares : shares held, by client then symbol
    loan_* : open loans, by client then contract number; ``loan_kind`` in ``CONTRACT_KINDS``
    symbols : what the symbol codes stand for
    features : int64, shape (N, K), quantised
    """

    client_ids: list[str]
    account_ids: list[str]
    group_ids: list[str]
    loan_ids: list[str]
    loan_packs: list[str]
    symbols: list[str]
    cash: IntArray
    kyc_expires: IntArray
    suitability: IntArray
    aml: IntArray
    pep: IntArray
    sanctioned: IntArray
    refused: IntArray
    margin_state: IntArray
    group: IntArray
    holding_client: IntArray
    holding_symbol: IntArray
    holding_shares: IntArray
    loan_client: IntArray
    loan_symbol: IntArray
    loan_kind: IntArray
    loan_opened: IntArray
    loan_due: IntArray
    loan_shares: IntArray
    loan_outstanding: IntArray
    loan_accrued: IntArray
    loan_ratio: IntArray
    loan_rate: IntArray
    features: IntArray

    def __len__(self) -> int:
        return len(self.client_ids)

    def take(self, rows: IntArray) -> NightRows:
        """Some of the clients, ascending."""
        place = np.full(len(self), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        numbers: dict[str, Any] = {}
        kept = {
            "holding": np.flatnonzero(place[self.holding_client] >= 0),
            "loan": np.flatnonzero(place[self.loan_client] >= 0),
        }
        for name in _NUMBERS:
            of = kept.get(name.split("_", maxsplit=1)[0], rows)
            numbers[name] = getattr(self, name)[of]
        for name in ("holding_client", "loan_client"):
            numbers[name] = place[numbers[name]]
        group = numbers["group"]
        members = np.bincount(group[group >= 0], minlength=len(self.group_ids))
        alone = (group >= 0) & (members[np.maximum(group, 0)] < 2) if len(members) else group < -1
        numbers["group"] = np.where(alone, -1, group)
        loans = kept["loan"].tolist()
        return NightRows(
            client_ids=[self.client_ids[k] for k in rows.tolist()],
            account_ids=[self.account_ids[k] for k in rows.tolist()],
            group_ids=self.group_ids,
            loan_ids=[self.loan_ids[k] for k in loans],
            loan_packs=[self.loan_packs[k] for k in loans],
            symbols=self.symbols,
            **numbers,
        )

    def holding(self, which: IntArray | int) -> NightRows:
        """The same clients with only some of their holdings."""
        some = np.atleast_1d(np.asarray(which, dtype=np.int64))
        names = ("holding_client", "holding_symbol", "holding_shares")
        return replace(self, **{n: getattr(self, n)[some] for n in names})

    def to_bytes(self, **more: Any) -> bytes:
        """The arrays in NumPy's own format, uncompressed, each with its checksum."""
        sink = io.BytesIO()
        texts = {n: np.frombuffer(orjson.dumps(getattr(self, n)), np.uint8) for n in _TEXTS}
        numbers = {n: getattr(self, n) for n in _NUMBERS}
        np.savez(sink, allow_pickle=False, **texts, **numbers, **more)
        return sink.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> tuple[NightRows, dict[str, Any]]:
        """The inverse of ``to_bytes``, with what else was kept."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            held: dict[str, Any] = {name: file[name] for name in file.files}
        texts = {n: orjson.loads(held.pop(n).tobytes()) for n in _TEXTS}
        numbers = {n: held.pop(n) for n in _NUMBERS}
        return NightRows(**texts, **numbers), held


def _days(values: np.ndarray[Any, np.dtype[Any]]) -> IntArray:
    days = values.astype("datetime64[D]").astype(np.int64)
    return np.where(np.isnat(values), NULL, days)


def _aml(levels: Sequence[object]) -> IntArray:
    code: dict[object, int] = {level: k for k, level in enumerate(AML_LEVELS)}
    code |= {None: 0, "": 0}
    # -1 is a level that does not exist: the client is held
    return np.array([code.get(level, -1) for level in levels], dtype=np.int64)


def _groups(view: BookAsOf) -> tuple[list[str], IntArray]:
    names, code = np.unique(view.related_group.astype(str), return_inverse=True)
    count = np.bincount(code, minlength=len(names))
    shared = (count > 1) & (names != "")
    place = np.where(shared, np.cumsum(shared) - 1, -1)
    return [str(n) for n in names[shared]], place[code] if len(code) else code.astype(np.int64)


def margin_state(view: BookAsOf) -> IntArray:
    """0 clear, 1 called, 2 overdue (a call past its deadline), 3 defaulted."""
    called = ~np.isnat(view.called_on)
    overdue = called & (view.deadline_at < view.cut_off)
    return np.where(view.in_default, 3, np.where(overdue, 2, np.where(called, 1, 0)))


def night_rows(view: BookAsOf, features: IntArray) -> NightRows:
    """A book as flat rows, in client order; a client's first account stands for it."""
    first = np.full(view.clients, -1, dtype=np.int64)
    places = np.arange(len(view.account_client))
    first[view.account_client[::-1]] = places[::-1]
    held = view.positions.quantity_shares > 0
    p, c, kyc = view.positions, view.contracts, view.kyc
    group_ids, group = _groups(view)
    return NightRows(
        client_ids=list(view.client_ids),
        account_ids=[view.account_ids[k] for k in first.tolist()],
        group_ids=group_ids,
        loan_ids=[str(x) for x in c.contract_id],
        loan_packs=[str(x) for x in c.rule_pack],
        symbols=list(view.panel.symbols),
        cash=view.cash,
        kyc_expires=_days(kyc.kyc_expires_on),
        suitability=kyc.suitability_level,
        aml=_aml(kyc.aml_level.tolist()),
        pep=kyc.pep.astype(np.int64),
        sanctioned=kyc.sanctioned.astype(np.int64),
        refused=kyc.automated_decision_refused.astype(np.int64),
        margin_state=margin_state(view),
        group=group,
        holding_client=p.client[held],
        holding_symbol=p.symbol[held],
        holding_shares=p.quantity_shares[held],
        loan_client=c.client,
        loan_symbol=c.symbol,
        loan_kind=c.kind,
        loan_opened=_days(c.opened_on),
        loan_due=_days(c.due_on),
        loan_shares=c.quantity_shares,
        loan_outstanding=c.outstanding_amt,
        loan_accrued=c.accrued_amt,
        loan_ratio=c.ratio_at_opening,
        loan_rate=c.rate_bps,
        features=features,
    )


def market_codes(rows: NightRows, market: MarketSnapshot) -> IntArray:
    """Position in the snapshot of each of the rows' symbols, -1 where it does not know it."""
    index = market.index
    return np.array([index.get(s, -1) for s in rows.symbols], dtype=np.int64)


def _of(codes: IntArray, symbol: IntArray) -> IntArray:
    if len(codes) == 0:
        return np.full(len(symbol), -1, dtype=np.int64)
    return np.where(symbol >= 0, codes[np.maximum(symbol, 0)], -1)


def own_books(rows: NightRows, market: MarketSnapshot) -> BookColumns:
    """Each client's own book, valued at the snapshot's prices."""
    holdings, loans = _flat(rows, market)
    return flat_columns(rows.cash, holdings, loans, market, rows.client_ids)


def _flat(rows: NightRows, market: MarketSnapshot) -> tuple[IntArray, IntArray]:
    codes = market_codes(rows, market)
    holdings = np.stack(
        [rows.holding_client, _of(codes, rows.holding_symbol), rows.holding_shares], axis=1
    )
    loans = np.stack(
        [
            rows.loan_client,
            _of(codes, rows.loan_symbol),
            np.where(rows.loan_shares == NULL, 0, rows.loan_shares),
            rows.loan_outstanding,
            rows.loan_accrued,
            rows.loan_ratio,
            rows.loan_opened,
        ],
        axis=1,
    )
    return holdings, loans


@dataclass(frozen=True)
class Related:
    """Members of related groups: for each row in one, the other members, in client order."""

    rows: IntArray
    first: IntArray
    others: IntArray


def related(rows: NightRows) -> Related:
    """Who is related to whom within the bucket: no group crosses one."""
    members: dict[int, list[int]] = {}
    for k in np.flatnonzero(rows.group >= 0).tolist():
        members.setdefault(int(rows.group[k]), []).append(k)
    inside = np.flatnonzero(rows.group >= 0)
    first: list[int] = []
    others: list[int] = []
    for k in inside.tolist():
        first.append(len(others))
        others.extend(j for j in members[int(rows.group[k])] if j != k)
    return Related(inside, np.array(first, dtype=np.int64), np.array(others, dtype=np.int64))


def _gather(owner: IntArray, wanted: IntArray) -> tuple[IntArray, IntArray]:
    """Rows (sorted by owner) of each of some owners, and whose turn it is."""
    low, high = np.searchsorted(owner, wanted), np.searchsorted(owner, wanted, side="right")
    length = high - low
    turn = np.repeat(np.arange(len(wanted)), length)
    before = np.cumsum(length) - length
    return np.arange(len(turn)) - np.repeat(before - low, length), turn


def group_books(
    rows: NightRows, found: Related, market: MarketSnapshot
) -> tuple[BookColumns, BookColumns]:
    """Books pooled over each related row's whole group, and the books of the others alone."""
    holdings, loans = _flat(rows, market)
    count = np.diff(np.append(found.first, len(found.others)))
    # each row followed by its others: the order in which a pooled book lists its loans
    turn = np.repeat(np.arange(len(found.rows)), count + 1)
    members = np.empty(len(turn), dtype=np.int64)
    own = found.first + np.arange(len(found.rows))
    mask = np.zeros(len(turn), dtype=bool)
    mask[own] = True
    members[mask], members[~mask] = found.rows, found.others

    row, place = _gather(holdings[:, 0], members)
    # by symbol's name, which is the order of the panel
    order = np.lexsort((rows.holding_symbol[row], turn[place]))
    row, book = row[order], turn[place][order]
    symbol = rows.holding_symbol[row]
    new = np.ones(len(row), dtype=bool)
    new[1:] = (book[1:] != book[:-1]) | (symbol[1:] != symbol[:-1])
    shares = np.zeros(int(new.sum()), dtype=np.int64)
    np.add.at(shares, np.cumsum(new) - 1, holdings[row, 2])
    pooled_holdings = np.stack([book[new], holdings[row[new], 1], shares], axis=1)
    lent, of = _gather(loans[:, 0], members)
    pooled_loans = loans[lent].copy()
    pooled_loans[:, 0] = turn[of]
    cash = np.zeros(len(found.rows), dtype=np.int64)
    np.add.at(cash, turn, rows.cash[members])
    names = [f"the related group of client {rows.client_ids[k]}" for k in found.rows.tolist()]
    pool = flat_columns(cash, pooled_holdings, pooled_loans, market, names)

    row, place = _gather(holdings[:, 0], found.others)
    alone_holdings = holdings[row].copy()
    alone_holdings[:, 0] = place
    lent, of = _gather(loans[:, 0], found.others)
    alone_loans = loans[lent].copy()
    alone_loans[:, 0] = of
    others = flat_columns(rows.cash[found.others], alone_holdings, alone_loans, market)
    return pool, others


def refusals(rows: NightRows, market: MarketSnapshot) -> dict[int, str]:
    """Clients that cannot be decided on, and why: what a case or its columns would refuse.

    All members of a group are refused with one of them: each is decided on the pooled book.
    """
    why: dict[int, str] = {}

    def mark(bad: BoolArray, of: IntArray | None, text: str) -> None:
        places = np.flatnonzero(bad)
        for k in (places if of is None else np.unique(of[places])).tolist():
            why.setdefault(k, text)

    def outside(values: IntArray, low: int, high: int, null: bool = False) -> BoolArray:
        bad = (values < low) | (values > high)
        return np.asarray(bad & (values != NULL) if null else bad)

    mark(outside(rows.cash, -MAX_AMT, MAX_AMT), None, "cash beyond 90 billion")
    mark(outside(rows.suitability, 1, 5, True), None, "suitability level outside 1 to 5")
    mark(rows.aml < 0, None, "unknown AML level")
    shares, lent = rows.holding_shares, rows.loan_client
    mark(outside(shares, 0, MAX_SHARES), rows.holding_client, "a position beyond a trillion shares")
    for values, text in ((rows.loan_outstanding, "outstanding"), (rows.loan_accrued, "accrued")):
        mark(outside(values, 0, MAX_AMT), lent, f"a contract's {text} amount out of range")
    mark(outside(rows.loan_shares, 0, MAX_SHARES, True), lent, "a contract's shares out of range")
    mark(outside(rows.loan_ratio, 0, MAX_OPENING_RATIO), lent, "a ratio at opening out of range")
    mark(outside(rows.loan_rate, 0, MAX_BPS), lent, "a contract's rate out of range")
    codes = market_codes(rows, market)
    symbol = _of(codes, rows.holding_symbol)
    price = np.zeros(len(symbol))
    if len(market.symbols):
        price = np.where(symbol >= 0, market.price[np.maximum(symbol, 0)], 0).astype(np.float64)
    worth = np.where(price > 0, price, 0.0) * shares / MINOR_PER_PRICE
    mark(worth > MAX_AMT, rows.holding_client, "a position worth more than 90 billion")
    # floats here only tell far beyond from near: what is near is decided exactly further on
    assets = np.bincount(rows.holding_client, worth, len(rows)) + np.maximum(rows.cash, 0)
    due = rows.loan_outstanding.astype(np.float64) + rows.loan_accrued
    owed = np.bincount(lent, due, len(rows)) + np.maximum(-rows.cash.astype(np.float64), 0)
    mark((assets > MAX_AMT) | (owed > MAX_AMT), None, "assets or debt beyond 90 billion")
    grouped = rows.group >= 0
    if bool(grouped.any()):
        of = rows.group[grouped]
        together = [np.bincount(of, v[grouped], len(rows.group_ids)) for v in (assets, owed)]
        beyond = (together[0] > MAX_AMT) | (together[1] > MAX_AMT)
        mark(grouped & beyond[np.maximum(rows.group, 0)], None, "its group beyond 90 billion")
        bad = {int(rows.group[k]) for k in why if rows.group[k] >= 0}
        for k in np.flatnonzero(grouped).tolist():
            if int(rows.group[k]) in bad:
                why.setdefault(k, "a member of its related group cannot be decided on")
    return why


def day_of(number: int) -> dt.date:
    """A day counted from 1970."""
    return dt.date(1970, 1, 1) + dt.timedelta(days=number)
