"""The case: everything about one client that a decision may depend on, besides features and market.

Money is held in minor units and ratios in 1e-6; in JSON both are decimal strings. A case is
checked when it is made, so that no later step meets nonsense.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final, Literal, get_args

from data_contracts.book import (
    MAX_BPS,
    MAX_SHARES,
    TIERS,
    Book,
    Holding,
    Loan,
    RelatedGroup,
    check_amount,
    check_range,
)
from data_contracts.errors import InputError
from data_contracts.json_reader import JsonReader
from data_contracts.units import MAX_AMT, format_decimal

__all__ = [
    "AML_LEVELS", "MAX_SHARES", "TIERS", "Book", "Case", "Holding", "Loan", "MarginState",
    "Override", "Previous", "RelatedGroup", "Request", "RequestKind", "Status", "case_from_json",
    "case_to_json",
]  # fmt: skip

RequestKind = Literal["application", "nightly", "simulation"]
MarginState = Literal["clear", "called", "overdue", "defaulted"]
AML_LEVELS: Final = ("low", "medium", "high")
MAX_MONTHS: Final = 1_200
MAX_SESSIONS: Final = 100_000
"""Four centuries of trading days; a larger count is no count of sessions."""


@dataclass(frozen=True)
class Request:
    """Why a decision is asked for. ``key`` is the run or request key that names the decision.

    ``symbol`` is the security that new borrowing will buy, where that is known already.
    """

    kind: RequestKind
    key: str
    requested_debt_amt: int | None = None
    symbol: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(RequestKind):
            raise InputError(
                f"request.kind is {self.kind!r};"
                f" it must be one of {', '.join(get_args(RequestKind))}"
            )
        if not self.key:
            raise InputError("request.key is empty; give the run or request a name")
        if self.requested_debt_amt is not None:
            check_amount(self.requested_debt_amt, "request.requested_debt_amt")


@dataclass(frozen=True)
class Status:
    """Facts that gates read before any score: KYC, suitability, sanctions, an open margin call.

    ``experience_months`` of securities trading and ``mean_assets_amt``, the mean securities assets
    of the last 20 sessions, are read for applications; null is unknown. ``day_trader`` is a
    pattern day trader by FINRA's definition, ``professional`` a professional client by MiFID II,
    whom the limits of contracts for difference with retail clients exempt.
    """

    kyc_expires_on: dt.date | None
    suitability_level: int | None
    pep: bool = False
    sanctioned: bool = False
    aml_level: str = "low"
    automated_decision_refused: bool = False
    margin_state: MarginState = "clear"
    experience_months: int | None = None
    mean_assets_amt: int | None = None
    day_trader: bool = False
    professional: bool = False

    def __post_init__(self) -> None:
        if self.experience_months is not None:
            check_range(self.experience_months, 0, MAX_MONTHS, "status.experience_months")
        if self.mean_assets_amt is not None:
            check_amount(self.mean_assets_amt, "status.mean_assets_amt")
        if self.aml_level not in AML_LEVELS:
            raise InputError(
                f"status.aml_level is {self.aml_level!r}; it must be one of {', '.join(AML_LEVELS)}"
            )
        if self.margin_state not in get_args(MarginState):
            raise InputError(
                f"status.margin_state is {self.margin_state!r};"
                f" it must be one of {', '.join(get_args(MarginState))}"
            )
        if self.suitability_level is not None and not 1 <= self.suitability_level <= 5:
            raise InputError(
                f"status.suitability_level is {self.suitability_level}; it runs from 1 to 5"
            )


@dataclass(frozen=True)
class Previous:
    """The last published decision of the client, which step limits and hysteresis refer to."""

    soft_cap_amt: int
    rate_bps: int
    tier: int
    candidate_tier: int
    candidate_sessions: int
    month_change_bps: int
    quarter_changes: int
    sessions_since: int = 1

    def __post_init__(self) -> None:
        check_amount(self.soft_cap_amt, "previous.soft_cap_amt")
        for name in ("tier", "candidate_tier"):
            if getattr(self, name) not in TIERS:
                raise InputError(
                    f"previous.{name} is {getattr(self, name)}; tiers run from 1 (best) to 7"
                )
        check_range(self.rate_bps, 0, MAX_BPS, "previous.rate_bps")
        check_range(self.month_change_bps, -MAX_BPS, MAX_BPS, "previous.month_change_bps")
        check_range(self.candidate_sessions, 0, MAX_SESSIONS, "previous.candidate_sessions")
        check_range(self.quarter_changes, 0, MAX_SESSIONS, "previous.quarter_changes")
        check_range(self.sessions_since, 1, MAX_SESSIONS, "previous.sessions_since")


@dataclass(frozen=True)
class Override:
    """A person's limit, in place of what the client's own risk gives.

    It lowers a cap. Where it ``loosens``, the soft terms (structural, behavioural, step) do not
    apply: the cap then is the lesser of it and of law, line, concentration, group and firm.
    """

    max_debt_amt: int
    proposal_id: str
    supersedes: str
    loosens: bool = False

    def __post_init__(self) -> None:
        check_amount(self.max_debt_amt, "override.max_debt_amt")


@dataclass(frozen=True)
class Case:
    """One client at one session, as ``decide`` sees it."""

    request: Request
    client_id: str
    account_id: str
    currency: str
    as_of: dt.date
    known_at: dt.datetime
    status: Status
    book: Book
    group: RelatedGroup | None = None
    previous: Previous | None = None
    override: Override | None = None

    def __post_init__(self) -> None:
        for name in ("client_id", "account_id"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty; name the client and the account")
        if self.known_at.tzinfo is None:
            raise InputError(
                f"known_at is {self.known_at.isoformat()}, without a time zone;"
                " write it like 2015-06-12T10:00:00+00:00"
            )
        books = [self.book, *(self.group.others if self.group else ())]
        if len(books) * MAX_AMT >= 2**62:
            raise InputError(f"a related group of {len(books)} members is too large; split it")


def _opt_amt(value: int | None) -> str | None:
    return None if value is None else format_decimal(value, 2)


def _opt_date(value: dt.date | None) -> str | None:
    return None if value is None else value.isoformat()


def _book_json(book: Book) -> dict[str, Any]:
    return {
        "cash_amt": format_decimal(book.cash_amt, 2),
        "positions": [
            {"symbol": p.symbol, "quantity_shares": p.quantity_shares} for p in book.positions
        ],
        "contracts": [
            {
                "contract_id": c.contract_id,
                "symbol": c.symbol,
                "kind": c.kind,
                "opened_on": c.opened_on.isoformat(),
                "due_on": _opt_date(c.due_on),
                "quantity_shares": c.quantity_shares,
                "outstanding_amt": format_decimal(c.outstanding_amt, 2),
                "accrued_amt": format_decimal(c.accrued_amt, 2),
                "ratio_at_opening": format_decimal(c.ratio_at_opening, 6),
                "rate_bps": c.rate_bps,
                "rule_pack": c.rule_pack,
            }
            for c in book.contracts
        ],
    }


def override_to_json(override: Override) -> dict[str, Any]:
    """A person's limit as a JSON document."""
    return {
        "max_debt_amt": format_decimal(override.max_debt_amt, 2),
        "proposal_id": override.proposal_id,
        "supersedes": override.supersedes,
        # written where it is true: a tightening keeps the bytes that it always had
        **({"loosens": True} if override.loosens else {}),
    }


def case_to_json(case: Case) -> dict[str, Any]:
    """The case as a JSON document: money and ratios as decimal strings, dates as ISO 8601."""
    group, previous, override = case.group, case.previous, case.override
    return {
        "request": {
            "kind": case.request.kind,
            "key": case.request.key,
            "requested_debt_amt": _opt_amt(case.request.requested_debt_amt),
            "symbol": case.request.symbol,
        },
        "client_id": case.client_id,
        "account_id": case.account_id,
        "currency": case.currency,
        "as_of": case.as_of.isoformat(),
        "known_at": case.known_at.astimezone(dt.UTC).isoformat(),
        "status": {
            "kyc_expires_on": _opt_date(case.status.kyc_expires_on),
            "suitability_level": case.status.suitability_level,
            "pep": case.status.pep,
            "sanctioned": case.status.sanctioned,
            "aml_level": case.status.aml_level,
            "automated_decision_refused": case.status.automated_decision_refused,
            "margin_state": case.status.margin_state,
            "experience_months": case.status.experience_months,
            "mean_assets_amt": _opt_amt(case.status.mean_assets_amt),
            "day_trader": case.status.day_trader,
            # written where it is true: every other case keeps the bytes that it always had
            **({"professional": True} if case.status.professional else {}),
        },
        "book": _book_json(case.book),
        "group": None
        if group is None
        else {
            "group_id": group.group_id,
            "others": [_book_json(b) for b in group.others],
            "worst_tier": group.worst_tier,
        },
        "previous": None
        if previous is None
        else {
            "soft_cap_amt": format_decimal(previous.soft_cap_amt, 2),
            "rate_bps": previous.rate_bps,
            "tier": previous.tier,
            "candidate_tier": previous.candidate_tier,
            "candidate_sessions": previous.candidate_sessions,
            "month_change_bps": previous.month_change_bps,
            "quarter_changes": previous.quarter_changes,
            "sessions_since": previous.sessions_since,
        },
        "override": None if override is None else override_to_json(override),
    }


@cache
def _fields(kind: type[Any]) -> tuple[str, ...]:
    """The JSON fields of a part of the case: those of its dataclass."""
    return tuple(f.name for f in fields(kind))


def _read_book(document: Any, path: str) -> Book:
    r = JsonReader(document, path, *_fields(Book))
    holding, loan = _fields(Holding), _fields(Loan)
    positions = []
    for k, item in enumerate(r.typed("positions", list)):
        p = JsonReader(item, f"{path}.positions[{k}]", *holding)
        positions.append(Holding(p.typed("symbol", str), p.typed("quantity_shares", int)))
    contracts = []
    for k, item in enumerate(r.typed("contracts", list)):
        c = JsonReader(item, f"{path}.contracts[{k}]", *loan)
        contracts.append(
            Loan(
                contract_id=c.typed("contract_id", str),
                symbol=c.typed("symbol", str, True),
                kind=c.typed("kind", str),
                opened_on=c.date("opened_on"),
                due_on=c.date("due_on", True),
                quantity_shares=c.typed("quantity_shares", int, True),
                outstanding_amt=c.amount("outstanding_amt"),
                accrued_amt=c.amount("accrued_amt"),
                ratio_at_opening=c.ratio("ratio_at_opening"),
                rate_bps=c.typed("rate_bps", int),
                rule_pack=c.typed("rule_pack", str),
            )
        )
    return Book(r.amount("cash_amt"), tuple(positions), tuple(contracts))


def case_from_json(document: Any) -> Case:
    """Read a case; the inverse of ``case_to_json``.

    Raises
    ------
    InputError
        Naming the JSON path, the value and the rule that refused it.
    """
    r = JsonReader(document, "case", *_fields(Case))
    request = JsonReader(r.raw("request"), "case.request", *_fields(Request))
    status = JsonReader(r.raw("status"), "case.status", *_fields(Status))
    known = r.typed("known_at", str)
    try:
        known_at = dt.datetime.fromisoformat(known)
    except ValueError:
        raise InputError(
            f"case.known_at is {known!r}; write it like 2015-06-12T10:00:00+00:00"
        ) from None
    group = previous = override = None
    if r.document.get("group") is not None:
        g = JsonReader(r.raw("group"), "case.group", *_fields(RelatedGroup))
        others = tuple(
            _read_book(b, f"case.group.others[{k}]") for k, b in enumerate(g.typed("others", list))
        )
        group = RelatedGroup(g.typed("group_id", str), others, g.typed("worst_tier", int, True))
    if r.document.get("previous") is not None:
        p = JsonReader(r.raw("previous"), "case.previous", *_fields(Previous))
        previous = Previous(
            p.amount("soft_cap_amt"),
            *(p.typed(n, int) for n in _fields(Previous)[1:]),
        )
    if r.document.get("override") is not None:
        o = JsonReader(r.raw("override"), "case.override", *_fields(Override))
        override = Override(
            o.amount("max_debt_amt"),
            o.typed("proposal_id", str),
            o.typed("supersedes", str),
            "loosens" in o.document and o.typed("loosens", bool),
        )
    return Case(
        request=Request(
            request.typed("kind", str),
            request.typed("key", str),
            request.amount("requested_debt_amt", True),
            request.typed("symbol", str, True) if "symbol" in request.document else None,
        ),
        client_id=r.typed("client_id", str),
        account_id=r.typed("account_id", str),
        currency=r.typed("currency", str),
        as_of=r.date("as_of"),
        known_at=known_at,
        status=Status(
            kyc_expires_on=status.date("kyc_expires_on", True),
            suitability_level=status.typed("suitability_level", int, True),
            pep=status.typed("pep", bool),
            sanctioned=status.typed("sanctioned", bool),
            aml_level=status.typed("aml_level", str),
            automated_decision_refused=status.typed("automated_decision_refused", bool),
            margin_state=status.typed("margin_state", str),
            # a case may leave these out: unknown, and no pattern day trader
            experience_months=status.typed("experience_months", int, True)
            if "experience_months" in status.document
            else None,
            mean_assets_amt=status.amount("mean_assets_amt", True)
            if "mean_assets_amt" in status.document
            else None,
            day_trader="day_trader" in status.document and status.typed("day_trader", bool),
            professional="professional" in status.document and status.typed("professional", bool),
        ),
        book=_read_book(r.raw("book"), "case.book"),
        group=group,
        previous=previous,
        override=override,
    )
