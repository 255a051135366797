"""A bucket's rows as the columns that ``decide`` reads, and its cases in writing.

The written cases are the bytes of ``canonical_bytes(case_to_json(case))``; a test holds them equal.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import orjson

from data_contracts.canonical import canonical_bytes
from data_contracts.case import AML_LEVELS, Override, override_to_json
from data_contracts.snapshot import MarketSnapshot
from data_contracts.tables.account import CONTRACT_KINDS
from data_contracts.units import NULL, BoolArray, IntArray
from models.decide import kernel
from models.decide.cases import MARGIN_STATES, REQUEST_KINDS, CaseColumns, GroupColumns, Texts
from models.decide.form import Form
from models.margin.book import BookColumns
from serving.nightly.rows import NightRows, Related, day_of

NIGHTLY: Final = REQUEST_KINDS.index("nightly")
BYTES_A_ROW: Final = 1_500
"""More than the fixed parts of any row: the buffer never has to grow for a long book."""
_NO_TEXT: Final = np.zeros(0, dtype=np.uint8)


@dataclass(frozen=True)
class Before:
    """The last published decision of each row; ``known`` is false for a client without one."""

    known: BoolArray
    columns: dict[str, IntArray]

    @staticmethod
    def nothing(n: int) -> Before:
        """No client has been decided on."""
        empty = {"soft_cap_amt": NULL, "rate_bps": NULL, "tier": 1, "candidate_tier": 1}
        empty |= {"candidate_sessions": 0, "month_change_bps": 0, "quarter_changes": 0}
        empty |= {"sessions_since": 1}
        return Before(
            np.zeros(n, dtype=bool),
            {name: np.full(n, value, dtype=np.int64) for name, value in empty.items()},
        )


def _write(form: Form) -> Texts:
    """What a form writes, row after row in one pool."""
    if form.n == 0:
        return Texts(_NO_TEXT, np.zeros(1, dtype=np.int64))
    if not form.texts:
        form.texts.append(Texts(_NO_TEXT, np.zeros(form.n + 1, dtype=np.int64)))
    if not form.values:
        form.values.append(np.zeros(form.n, dtype=np.int64))
    arrays = form.assembled()
    nothing = np.zeros((form.n, 1), dtype=np.int64)
    start = np.empty(form.n + 1, dtype=np.int64)
    size = 40_000 + BYTES_A_ROW * form.n + int(sum(len(t.pool) for t in form.texts))
    while True:
        out = np.empty(size, dtype=np.uint8)
        length = kernel.write_rows(
            0,
            form.n,
            arrays["code"],
            arrays["a"],
            arrays["b"],
            arrays["literals"],
            arrays["piece"],
            arrays["values"],
            arrays["texts"],
            arrays["text_at"],
            nothing.astype(np.uint8),
            nothing,
            out,
            start,
        )
        if length >= 0:
            return Texts(out[:length], start)
        size *= 2


def _coded(values: Sequence[str | None], codes: IntArray) -> tuple[list[bytes], IntArray]:
    """JSON of some names and null, and the code of each row, -1 for null."""
    pieces = [orjson.dumps(v) for v in values]
    return [*pieces, b"null"], np.where(codes < 0, len(pieces), codes)


def _overrides(people: Sequence[Override | None]) -> tuple[list[bytes], IntArray]:
    """The JSON of each row's override, null for most."""
    pieces = [b"null"]
    code = np.zeros(len(people), dtype=np.int64)
    for k, override in enumerate(people):
        if override is not None:
            code[k] = len(pieces)
            pieces.append(canonical_bytes(override_to_json(override)))
    return pieces, code


def _dates(days: IntArray) -> tuple[list[bytes], IntArray]:
    known, code = np.unique(days, return_inverse=True)
    texts = [None if d == NULL else day_of(d).isoformat() for d in known.tolist()]
    return [orjson.dumps(t) for t in texts], code.reshape(-1)


def _between(owner: IntArray) -> BoolArray:
    """Rows before which a comma stands: all but each owner's first."""
    out = np.zeros(len(owner), dtype=bool)
    out[1:] = owner[1:] == owner[:-1]
    return out


def _choice(form: Form, found: tuple[list[bytes], IntArray]) -> None:
    form.raw_choice(found[1], found[0])


def _contracts(rows: NightRows) -> Texts:
    f = Form(len(rows.loan_client))
    begun = f.unless(_between(rows.loan_client))
    f.literal(",")
    f.end(begun)
    f.literal('{"accrued_amt":')
    f.amount(rows.loan_accrued)
    f.literal(',"contract_id":')
    f.text(Texts.of(rows.loan_ids))
    f.literal(',"due_on":')
    _choice(f, _dates(rows.loan_due))
    f.literal(',"kind":')
    _choice(f, _coded(CONTRACT_KINDS, rows.loan_kind))
    f.literal(',"opened_on":')
    _choice(f, _dates(rows.loan_opened))
    f.literal(',"outstanding_amt":')
    f.amount(rows.loan_outstanding)
    f.literal(',"quantity_shares":')
    f.integer(rows.loan_shares)
    f.literal(',"rate_bps":')
    f.integer(rows.loan_rate)
    f.literal(',"ratio_at_opening":')
    f.ratio(rows.loan_ratio)
    f.literal(',"rule_pack":')
    packs, pack = np.unique(np.array(rows.loan_packs, dtype=object), return_inverse=True)
    _choice(f, _coded(packs.tolist(), pack.reshape(-1)))
    f.literal(',"symbol":')
    _choice(f, _coded(rows.symbols, rows.loan_symbol))
    f.literal("}")
    return _write(f)


def _positions(rows: NightRows) -> Texts:
    f = Form(len(rows.holding_client))
    begun = f.unless(_between(rows.holding_client))
    f.literal(",")
    f.end(begun)
    f.literal('{"quantity_shares":')
    f.integer(rows.holding_shares)
    f.literal(',"symbol":')
    _choice(f, _coded(rows.symbols, rows.holding_symbol))
    f.literal("}")
    return _write(f)


def _by_client(texts: Texts, owner: IntArray, n: int) -> Texts:
    """Rows joined by the client that owns them; the commas are written already."""
    return Texts(texts.pool, texts.start[np.searchsorted(owner, np.arange(n + 1))])


def _books(rows: NightRows) -> Texts:
    n = len(rows)
    f = Form(n)
    f.literal('{"cash_amt":')
    f.amount(rows.cash)
    f.literal(',"contracts":[')
    f.text(_by_client(_contracts(rows), rows.loan_client, n))
    f.literal('],"positions":[')
    f.text(_by_client(_positions(rows), rows.holding_client, n))
    f.literal("]}")
    return _write(f)


def _group_texts(rows: NightRows, books: Texts, found: Related, worst: IntArray) -> Texts:
    """The related group of each row as JSON, null without one."""
    if len(found.rows) == 0:
        return same_text(b"null", len(rows))
    pieces = [b"null"] * len(rows)
    last = np.append(found.first, len(found.others)).tolist()
    at = books.start.tolist()
    data = books.pool.tobytes()
    for turn, k in enumerate(found.rows.tolist()):
        others = found.others[last[turn] : last[turn + 1]].tolist()
        name = orjson.dumps(rows.group_ids[int(rows.group[k])])
        text = b",".join(data[at[j] : at[j + 1]] for j in others)
        tier = b"%d" % int(worst[k])
        pieces[k] = b'{"group_id":%b,"others":[%b],"worst_tier":%b}' % (name, text, tier)
    return _joined(pieces)


def _joined(pieces: Sequence[bytes]) -> Texts:
    start = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(p) for p in pieces], out=start[1:])
    return Texts(np.frombuffer(b"".join(pieces), dtype=np.uint8), start)


def same_text(text: bytes, n: int) -> Texts:
    """One text for every row."""
    pool = np.tile(np.frombuffer(text, dtype=np.uint8), n)
    return Texts(pool, np.arange(n + 1, dtype=np.int64) * len(text))


def case_documents(
    rows: NightRows,
    found: Related,
    worst: IntArray,
    before: Before,
    people: Sequence[Override | None],
    *,
    run_id: str,
    currency: str,
    as_of: dt.date,
    known_at: dt.datetime,
    client_id: Texts,
    account_id: Texts,
) -> Texts:
    """The canonical bytes of each client's case."""
    n = len(rows)
    books = _books(rows)
    f = Form(n)
    f.literal('{"account_id":')
    f.text(account_id)
    f.literal(f',"as_of":"{as_of.isoformat()}","book":')
    f.text(books)
    f.literal(',"client_id":')
    f.text(client_id)
    f.literal(f',"currency":"{currency}","group":')
    f.text(_group_texts(rows, books, found, worst))
    f.literal(f',"known_at":"{known_at.astimezone(dt.UTC).isoformat()}","override":')
    _choice(f, _overrides(people))
    f.literal(',"previous":')
    p = before.columns
    begun = f.unless(before.known)
    f.literal('{"candidate_sessions":')
    f.integer(p["candidate_sessions"])
    for name in ("candidate_tier", "month_change_bps", "quarter_changes", "rate_bps"):
        f.literal(f',"{name}":')
        f.integer(p[name])
    f.literal(',"sessions_since":')
    f.integer(p["sessions_since"])
    f.literal(',"soft_cap_amt":')
    f.amount(p["soft_cap_amt"])
    f.literal(',"tier":')
    f.integer(p["tier"])
    f.literal("}")
    f.end(begun)
    begun = f.unless(~before.known)
    f.literal("null")
    f.end(begun)
    f.literal(b',"request":{"key":' + orjson.dumps(run_id))
    f.literal(',"kind":"nightly","requested_debt_amt":null,"symbol":null},"status":{"aml_level":')
    f.choice(rows.aml, AML_LEVELS)
    flags = [b"false", b"true"]
    f.literal(',"automated_decision_refused":')
    f.raw_choice(rows.refused, flags)
    f.literal(',"day_trader":false,"experience_months":null,"kyc_expires_on":')
    _choice(f, _dates(rows.kyc_expires))
    f.literal(',"margin_state":')
    f.choice(rows.margin_state, MARGIN_STATES)
    f.literal(',"mean_assets_amt":null,"pep":')
    f.raw_choice(rows.pep, flags)
    f.literal(',"sanctioned":')
    f.raw_choice(rows.sanctioned, flags)
    f.literal(',"suitability_level":')
    f.integer(rows.suitability)
    f.literal("}}")
    return _write(f)


def worst_tiers(rows: NightRows, own_tier: IntArray) -> IntArray:
    """The worst own tier of each client's related group; 1 without a group."""
    out = np.ones(len(rows), dtype=np.int64)
    grouped = np.flatnonzero(rows.group >= 0)
    worst = np.ones(max(len(rows.group_ids), 1), dtype=np.int64)
    np.maximum.at(worst, rows.group[grouped], own_tier[grouped])
    out[grouped] = worst[rows.group[grouped]]
    return out


def night_columns(
    rows: NightRows,
    found: Related,
    own: BookColumns,
    groups: tuple[BookColumns, BookColumns] | None,
    worst: IntArray,
    before: Before,
    overrides: Mapping[str, Override],
    market: MarketSnapshot,
    *,
    run_id: str,
    currency: str,
    known_at: dt.datetime,
) -> CaseColumns:
    """The columns of ``decide`` for one bucket of a night."""
    n = len(rows)
    client_id, account_id = Texts.of(rows.client_ids), Texts.of(rows.account_ids)
    people = [overrides.get(c) for c in rows.client_ids]
    documents = case_documents(
        rows, found, worst, before, people, run_id=run_id, currency=currency, as_of=market.session,
        known_at=known_at, client_id=client_id, account_id=account_id,
    )  # fmt: skip
    data, at = documents.pool.tobytes(), documents.start.tolist()
    null = np.full(n, NULL, dtype=np.int64)
    no = np.zeros(n, dtype=bool)
    kyc = [None if d == NULL else day_of(d).isoformat() for d in rows.kyc_expires.tolist()]
    tail = f"\x1f{market.session.isoformat()}"
    made = CaseColumns(
        cases=(),
        book=own,
        groups=None if groups is None else GroupColumns(found.rows, *groups, found.first),
        kind=np.full(n, NIGHTLY, dtype=np.int64),
        requested=null,
        symbol=null,
        kyc_expires=rows.kyc_expires,
        suitability=rows.suitability,
        experience=null,
        mean_assets=null,
        aml_high=rows.aml == AML_LEVELS.index("high"),
        pep=rows.pep == 1,
        sanctioned=rows.sanctioned == 1,
        refused=rows.refused == 1,
        day_trader=no,
        professional=no,
        margin_state=rows.margin_state,
        worst_tier=worst,
        has_previous=before.known,
        previous=before.columns,
        override=np.array([NULL if p is None else p.max_debt_amt for p in people], dtype=np.int64),
        loosened=np.array([p is not None and p.loosens for p in people], dtype=bool),
    )
    return made.with_texts(
        client_ids=rows.client_ids,
        client_id=client_id,
        account_id=account_id,
        request_key=same_text(orjson.dumps(run_id), n),
        supersedes=Texts.of([None if p is None else p.supersedes for p in people]),
        request_symbol=same_text(b"null", n),
        kyc_text=Texts.of(kyc),
        names=[f"{run_id}\x1f{c}{tail}".encode() for c in rows.client_ids],
        documents=[data[i:j] for i, j in pairwise(at)],
    )
