"""Cases in columns: all that a decision reads of many clients, as flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from data_contracts.canonical import bytes_of_typed
from data_contracts.case import Book, Case, case_to_json
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import NULL, BoolArray, IntArray
from models.margin.book import EPOCH_ORDINAL, BookColumns, book_columns, pooled

MARGIN_STATES: Final = ("clear", "called", "overdue", "defaulted")
REQUEST_KINDS: Final = ("application", "nightly", "simulation")
_PREVIOUS: Final = (
    "soft_cap_amt", "rate_bps", "tier", "candidate_tier", "candidate_sessions", "month_change_bps",
    "quarter_changes", "sessions_since",
)  # fmt: skip


@dataclass(frozen=True)
class Texts:
    """N strings as JSON, in one pool of bytes; null for none."""

    pool: npt.NDArray[np.uint8]
    start: IntArray

    @staticmethod
    def of(values: Sequence[str | None]) -> Texts:
        """The JSON of each string."""
        encoded = [orjson.dumps(v) for v in values]
        start = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(e) for e in encoded], out=start[1:])
        return Texts(np.frombuffer(b"".join(encoded), dtype=np.uint8), start)


@dataclass(frozen=True)
class GroupColumns:
    """The related groups of the rows that have one.

    Attributes
    ----------
    rows : int64, shape (G,), rows of the cases with at least one related client
    pool : their books pooled with those of all related clients, G books
    others : the books of the related clients alone
    first : int64, shape (G,), where each row's related clients begin in ``others``
    """

    rows: IntArray
    pool: BookColumns
    others: BookColumns
    first: IntArray


@dataclass(frozen=True)
class CaseColumns:
    """N cases bound to a market snapshot. ``NULL`` is null; days count from 1970.

    ``symbol`` is the position in the snapshot of the name that new borrowing will buy, -1 for a
    name the snapshot does not know. ``previous`` has one array a field of ``Previous``.
    """

    cases: tuple[Case, ...]
    book: BookColumns
    groups: GroupColumns | None
    kind: IntArray
    requested: IntArray
    symbol: IntArray
    kyc_expires: IntArray
    suitability: IntArray
    experience: IntArray
    mean_assets: IntArray
    aml_high: BoolArray
    pep: BoolArray
    sanctioned: BoolArray
    refused: BoolArray
    day_trader: BoolArray
    professional: BoolArray
    margin_state: IntArray
    worst_tier: IntArray
    has_previous: BoolArray
    previous: dict[str, IntArray]
    override: IntArray
    loosened: BoolArray

    def __len__(self) -> int:
        return self.book.n

    def with_texts(self, **texts: object) -> CaseColumns:
        """Columns that were made without cases, with what is else written from the cases.

        ``texts`` are the cached properties below, by name; ``cases`` is then empty.
        """
        self.__dict__.update(texts)
        return self

    @cached_property
    def client_ids(self) -> list[str]:
        """Client of each row."""
        return [c.client_id for c in self.cases]

    @cached_property
    def client_id(self) -> Texts:
        """Client of each row, as JSON."""
        return Texts.of(self.client_ids)

    @cached_property
    def account_id(self) -> Texts:
        """Account of each row, as JSON."""
        return Texts.of([c.account_id for c in self.cases])

    @cached_property
    def request_key(self) -> Texts:
        """Run or request key of each row, as JSON."""
        return Texts.of([c.request.key for c in self.cases])

    @cached_property
    def supersedes(self) -> Texts:
        """Decision that each row supersedes, as JSON."""
        return Texts.of([c.override.supersedes if c.override else None for c in self.cases])

    @cached_property
    def request_symbol(self) -> Texts:
        """Name that new borrowing will buy, as JSON."""
        return Texts.of([c.request.symbol for c in self.cases])

    @cached_property
    def kyc_text(self) -> Texts:
        """Day on which each client's KYC expires, as JSON."""
        days = [c.status.kyc_expires_on for c in self.cases]
        return Texts.of([None if d is None else d.isoformat() for d in days])

    @cached_property
    def names(self) -> list[bytes]:
        """What the decision's id is a hash of: request key, client and session."""
        return [
            "\x1f".join((c.request.key, c.client_id, c.as_of.isoformat())).encode()
            for c in self.cases
        ]

    @cached_property
    def documents(self) -> list[bytes]:
        """The canonical bytes of each case, which its hash is over."""
        return [bytes_of_typed(document) for document in self.jsons]

    @cached_property
    def jsons(self) -> list[dict[str, Any]]:
        """Each case as its JSON document."""
        return [case_to_json(c) for c in self.cases]

    def prepare(self) -> CaseColumns:
        """Make every column now; returns itself."""
        for name in ("client_id", "account_id", "request_key", "supersedes", "request_symbol"):
            getattr(self, name)
        _ = self.kyc_text, self.names, self.documents
        return self


def _ints(values: Sequence[int | None]) -> IntArray:
    return np.array([NULL if v is None else v for v in values], dtype=np.int64)


def _flags(values: Sequence[bool]) -> BoolArray:
    return np.array(values, dtype=bool)


def _groups(cases: Sequence[Case], market: MarketSnapshot) -> GroupColumns | None:
    rows = [k for k, c in enumerate(cases) if c.group is not None and c.group.others]
    if not rows:
        return None
    together: list[Book] = []
    all_books: list[Book] = []
    first: list[int] = []
    called: list[str] = []
    for k in rows:
        group = cases[k].group
        assert group is not None
        client = f"client {cases[k].client_id}"
        together.append(pooled(cases[k].book, group.others, client))
        first.append(len(all_books))
        all_books.extend(group.others)
        called.extend([f"{client}: a member of the related group"] * len(group.others))
    names = [f"client {cases[k].client_id}: the related group" for k in rows]
    return GroupColumns(
        np.array(rows, dtype=np.int64),
        book_columns(together, market, names),
        book_columns(all_books, market, called),
        np.array(first, dtype=np.int64),
    )


def _symbol(case: Case, index: dict[str, int]) -> int:
    symbol = case.request.symbol
    return NULL if symbol is None else index.get(symbol, -1)


def case_columns(cases: Sequence[Case], market: MarketSnapshot) -> CaseColumns:
    """Cases as columns, valued at the snapshot's prices.

    Raises
    ------
    InputError
        If an amount is beyond what a decision can hold.
    """
    status = [c.status for c in cases]

    def previous(name: str) -> IntArray:
        default = {"soft_cap_amt": NULL, "rate_bps": NULL, "tier": 1, "candidate_tier": 1}
        default["sessions_since"] = 1
        return _ints(
            [
                default.get(name, 0) if c.previous is None else getattr(c.previous, name)
                for c in cases
            ]
        )

    days: list[Any] = [s.kyc_expires_on for s in status]
    return CaseColumns(
        cases=tuple(cases),
        book=book_columns(
            [c.book for c in cases], market, [f"client {c.client_id}" for c in cases]
        ),
        groups=_groups(cases, market),
        kind=_ints([REQUEST_KINDS.index(c.request.kind) for c in cases]),
        requested=_ints([c.request.requested_debt_amt for c in cases]),
        symbol=_ints([_symbol(c, market.index) for c in cases]),
        kyc_expires=_ints([None if d is None else d.toordinal() - EPOCH_ORDINAL for d in days]),
        suitability=_ints([s.suitability_level for s in status]),
        experience=_ints([s.experience_months for s in status]),
        mean_assets=_ints([s.mean_assets_amt for s in status]),
        aml_high=_flags([s.aml_level == "high" for s in status]),
        pep=_flags([s.pep for s in status]),
        sanctioned=_flags([s.sanctioned for s in status]),
        refused=_flags([s.automated_decision_refused for s in status]),
        day_trader=_flags([s.day_trader for s in status]),
        professional=_flags([s.professional for s in status]),
        margin_state=_ints([MARGIN_STATES.index(s.margin_state) for s in status]),
        worst_tier=_ints([(c.group.worst_tier or 1) if c.group else 1 for c in cases]),
        has_previous=_flags([c.previous is not None for c in cases]),
        previous={name: previous(name) for name in _PREVIOUS},
        override=_ints([c.override.max_debt_amt if c.override else None for c in cases]),
        loosened=_flags([c.override is not None and c.override.loosens for c in cases]),
    )
