"""The case: it survives JSON, and nonsense is refused with path, value and rule."""

import copy
import datetime as dt

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.canonical import canonical_bytes
from data_contracts.case import (
    AML_LEVELS,
    TIERS,
    Book,
    Case,
    Holding,
    Loan,
    Override,
    Previous,
    RelatedGroup,
    Request,
    Status,
    case_from_json,
    case_to_json,
)
from data_contracts.errors import InputError
from data_contracts.units import MAX_AMT

AMOUNTS = st.integers(0, MAX_AMT)
SHARES = st.integers(0, 10**12)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
DATES = st.dates()
LOANS = st.builds(
    Loan,
    contract_id=NAMES,
    symbol=st.none() | NAMES,
    kind=st.sampled_from(["margin_loan", "financing"]),
    opened_on=DATES,
    due_on=st.none() | DATES,
    quantity_shares=st.none() | SHARES,
    outstanding_amt=AMOUNTS,
    accrued_amt=AMOUNTS,
    ratio_at_opening=st.integers(0, 2_000_000),
    rate_bps=st.integers(0, 3_000),
    rule_pack=NAMES,
)
BOOKS = st.builds(
    Book,
    cash_amt=st.integers(-MAX_AMT, MAX_AMT),
    positions=st.lists(
        st.builds(Holding, NAMES, SHARES), max_size=3, unique_by=lambda p: p.symbol
    ).map(tuple),
    contracts=st.lists(LOANS, max_size=3).map(tuple),
)
SMALL = st.integers(0, 500)
CASES = st.builds(
    Case,
    request=st.builds(
        Request,
        st.sampled_from(["application", "nightly", "simulation"]),
        NAMES,
        st.none() | AMOUNTS,
    ),
    client_id=NAMES,
    account_id=NAMES,
    currency=st.sampled_from(["USD", "CNY"]),
    as_of=DATES,
    known_at=st.datetimes(
        dt.datetime(1990, 1, 1), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)
    ),
    status=st.builds(
        Status,
        st.none() | DATES,
        st.none() | st.integers(1, 5),
        st.booleans(),
        st.booleans(),
        st.sampled_from(AML_LEVELS),
        st.booleans(),
        st.sampled_from(["clear", "called", "overdue", "defaulted"]),
    ),
    book=BOOKS,
    group=st.none()
    | st.builds(
        RelatedGroup,
        NAMES,
        st.lists(BOOKS, max_size=2).map(tuple),
        st.none() | st.sampled_from(TIERS),
    ),
    previous=st.none()
    | st.builds(
        Previous,
        AMOUNTS,
        SMALL,
        st.sampled_from(TIERS),
        st.sampled_from(TIERS),
        SMALL,
        SMALL.map(lambda n: n - 250),
        SMALL,
        SMALL.map(lambda n: n + 1),
    ),
    override=st.none() | st.builds(Override, AMOUNTS, NAMES, NAMES),
)


@given(CASES)
def test_a_case_reads_back_from_its_json(case):
    document = case_to_json(case)
    assert case_from_json(orjson.loads(canonical_bytes(document))) == case
    assert case_to_json(case_from_json(document)) == document


def test_a_client_may_have_no_group_no_previous_decision_and_no_override():
    optional = ("group", "previous", "override")
    left_out = {name: value for name, value in GOOD.items() if name not in optional}
    case = case_from_json(left_out)
    assert (case.group, case.previous, case.override) == (None, None, None)
    assert case == case_from_json(GOOD | dict.fromkeys(optional))


def test_a_time_in_another_zone_is_the_same_case():
    here = case_from_json(GOOD)
    there = case_from_json(GOOD | {"known_at": "2015-06-12T18:00:00+08:00"})
    assert here == there
    assert case_to_json(here) == case_to_json(there)


GOOD = case_to_json(
    Case(
        request=Request("nightly", "run-1"),
        client_id="c1",
        account_id="a1",
        currency="USD",
        as_of=dt.date(2015, 6, 12),
        known_at=dt.datetime(2015, 6, 12, 10, tzinfo=dt.UTC),
        status=Status(dt.date(2016, 1, 1), 3),
        book=Book(
            -12_34,
            (Holding("AAA", 100), Holding("BBB", 5)),
            (
                Loan(
                    "k1", "AAA", "financing", dt.date(2015, 5, 1), None, 100, 900_00, 1_00,
                    800_000, 835, "cn",
                ),
            ),
        ),
        group=RelatedGroup("g1", (Book(0),), 4),
        previous=Previous(1_000_00, 800, 3, 3, 0, 0, 0),
        override=Override(500_00, "p1", "d1"),
    )
)  # fmt: skip
MISSING = object()
CASE_FIELDS = (
    "request, client_id, account_id, currency, as_of, known_at, status, book, group, previous,"
    " override"
)


def _changed(path: tuple[str | int, ...], value: object) -> dict[str, object]:
    document = copy.deepcopy(GOOD)
    inner = document
    for step in path[:-1]:
        inner = inner[step]  # type: ignore[index]
    if value is MISSING:
        del inner[path[-1]]  # type: ignore[arg-type]
    else:
        inner[path[-1]] = value  # type: ignore[index]
    return document


REFUSED = [
    (("client_id",), MISSING, "case.client_id is missing"),
    (("group", "others"), MISSING, "case.group.others is missing"),
    (("status", "pep"), MISSING, "case.status.pep is missing"),
    (("book", "positions", 1, "symbol"), MISSING, "case.book.positions[1].symbol is missing"),
    (("colour",), "red", f"case.colour is not a field; the fields are {CASE_FIELDS}"),
    (
        ("request", "colour"),
        "red",
        "case.request.colour is not a field; the fields are kind, key, requested_debt_amt, symbol",
    ),
    (
        ("book", "contracts", 0, "colour"),
        "red",
        "case.book.contracts[0].colour is not a field; the fields are contract_id, symbol, kind,"
        " opened_on, due_on, quantity_shares, outstanding_amt, accrued_amt, ratio_at_opening,"
        " rate_bps, rule_pack",
    ),
    (
        ("previous", "colour"),
        "red",
        "case.previous.colour is not a field; the fields are soft_cap_amt, rate_bps, tier,"
        " candidate_tier, candidate_sessions, month_change_bps, quarter_changes, sessions_since",
    ),
    (("book",), [], "case.book must be a JSON object, not list"),
    (("book", "cash_amt"), 12.34, "case.book.cash_amt is 12.34; it must be of type str"),
    (
        ("book", "cash_amt"),
        "12.345",
        "case.book.cash_amt: '12.345' has more than 2 decimal places or is not finite;"
        " round it first",
    ),
    (
        ("book", "cash_amt"),
        "-90000000000.01",
        "cash_amt is -90000000000.01; it must lie between -90 billion and 90 billion;"
        " correct the amount or the currency unit",
    ),
    (
        ("book", "contracts", 0, "outstanding_amt"),
        "-0.01",
        "contract k1: outstanding_amt is -0.01; it must lie between 0 and 90 billion;"
        " correct the amount or the currency unit",
    ),
    (
        ("request", "requested_debt_amt"),
        "90000000000.01",
        "request.requested_debt_amt is 90000000000.01; it must lie between 0 and 90 billion;"
        " correct the amount or the currency unit",
    ),
    (
        ("book", "positions", 0, "symbol"),
        "BBB",
        "position BBB is listed twice; add the quantities up",
    ),
    (
        ("book", "positions", 0, "quantity_shares"),
        -1,
        "position AAA: quantity_shares is -1; it must lie between 0 and 1000000000000",
    ),
    (
        ("book", "positions", 0, "quantity_shares"),
        True,
        "case.book.positions[0].quantity_shares is True; it must be of type int",
    ),
    (
        ("book", "contracts", 0, "quantity_shares"),
        10**12 + 1,
        "contract k1: quantity_shares is 1000000000001; it must lie between 0 and 1000000000000",
    ),
    (
        ("book", "contracts", 0, "ratio_at_opening"),
        "80",
        "contract k1: ratio_at_opening is 80.000000; it must lie between 0 and 10,"
        ' where "0.500000" means 50 %',
    ),
    (
        ("book", "contracts", 0, "rate_bps"),
        -1,
        "contract k1: rate_bps is -1; it must lie between 0 and 1000000",
    ),
    (("as_of",), "12/06/2015", "case.as_of is '12/06/2015'; write a date like 2015-06-12"),
    (
        ("known_at",),
        "yesterday",
        "case.known_at is 'yesterday'; write it like 2015-06-12T10:00:00+00:00",
    ),
    (
        ("known_at",),
        "2015-06-12T10:00:00",
        "known_at is 2015-06-12T10:00:00, without a time zone;"
        " write it like 2015-06-12T10:00:00+00:00",
    ),
    (
        ("request", "kind"),
        "daily",
        "request.kind is 'daily'; it must be one of application, nightly, simulation",
    ),
    (("request", "key"), "", "request.key is empty; give the run or request a name"),
    (
        ("status", "aml_level"),
        "none",
        "status.aml_level is 'none'; it must be one of low, medium, high",
    ),
    (
        ("status", "margin_state"),
        "late",
        "status.margin_state is 'late'; it must be one of clear, called, overdue, defaulted",
    ),
    (
        ("status", "suitability_level"),
        6,
        "status.suitability_level is 6; it runs from 1 to 5",
    ),
    (("group", "worst_tier"), 8, "group.worst_tier is 8; tiers run from 1 (best) to 7"),
    (
        ("previous", "candidate_tier"),
        0,
        "previous.candidate_tier is 0; tiers run from 1 (best) to 7",
    ),
    (
        ("previous", "sessions_since"),
        0,
        "previous.sessions_since is 0; it must lie between 1 and 100000",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_a_case_that_is_wrong_is_refused_with_the_rule_and_the_value(path, value, message):
    with pytest.raises(InputError) as refused:
        case_from_json(_changed(path, value))
    assert str(refused.value) == message


def test_a_case_that_is_no_object_is_refused():
    with pytest.raises(InputError) as refused:
        case_from_json([GOOD])
    assert str(refused.value) == "case must be a JSON object, not list"


def test_a_related_group_too_large_for_exact_sums_is_refused():
    good = case_from_json(GOOD)
    others = (Book(0),) * (2**62 // MAX_AMT)
    with pytest.raises(InputError) as refused:
        Case(
            good.request, "c", "a", "USD", good.as_of, good.known_at, good.status, good.book,
            RelatedGroup("g", others),
        )  # fmt: skip
    assert str(refused.value) == (
        f"a related group of {len(others) + 1} members is too large; split it"
    )


def test_what_a_book_owes_is_the_sum_over_its_loans():
    book = case_from_json(GOOD).book
    twice = Book(0, (), book.contracts * 2)
    assert (twice.debt_amt, twice.accrued_amt) == (1_800_00, 2_00)
