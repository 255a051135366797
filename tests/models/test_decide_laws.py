"""Laws of whole decisions, over generated clients of both packs."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from data_contracts.canonical import sha256_hex
from data_contracts.case import Book, Case, Holding, Override, RelatedGroup
from data_contracts.decision import Decision, body_sha256
from data_contracts.errors import InputError
from data_contracts.units import NULL
from models.decide import decide_columns
from models.decide.body import decisions
from models.decide.written import hashes, written
from models.margin.cap import CAP_TERMS
from models.price.rate import RATE_COMPONENTS
from models.reasons import CATALOGUE, render
from tests.models.builders import (
    BUNDLE,
    CLEAR,
    FEATURES,
    MARKETS,
    POLICIES,
    TYPICAL,
    books,
    cases,
    currency_of,
    decided,
    feature_rows,
    make_case,
    make_frame,
    make_loan,
)
from tests.models.oracle import statutory_limit

KINDS = ("us", "cn")


def _amt(text: str) -> int:
    return int(Decimal(text) * 100)


def _decide(case: Case, kind: str, values: Any) -> Decision:
    """The decision; a case whose amounts are refused as too large is no example."""
    try:
        return decided(case, kind, values)
    except InputError as error:
        assume("90 billion" not in str(error))
        raise


@given(st.data(), st.sampled_from(KINDS), feature_rows)
@settings(max_examples=250, deadline=None)
def test_no_limit_is_above_what_law_and_exchange_allow(data, kind, values):
    case = data.draw(cases(kind=kind))
    made = _decide(case, kind, values)
    allowed = statutory_limit(case.book, MARKETS[kind], kind)
    assert 0 <= _amt(made.body["max_debt_amt"]) <= max(allowed, 0)


@given(st.data(), st.sampled_from(KINDS), feature_rows)
@settings(max_examples=200, deadline=None)
def test_attributions_and_waterfalls_sum_as_integers(data, kind, values):
    made = _decide(data.draw(cases(kind=kind)), kind, values)
    body = made.body
    assert body["attributions"]["base"] + sum(body["attributions"]["values"]) == body["score"]
    steps = body["cap_waterfall"]
    assert [s["term"] for s in steps] == list(CAP_TERMS)
    cap = _amt(body["max_debt_amt"])
    assert _amt(steps[0]["limit_amt"]) - sum(_amt(s["removed_amt"]) for s in steps) == cap
    assert cap % 100 == 0
    least = min(_amt(s["limit_amt"]) for s in steps if s["limit_amt"] is not None)
    first = next(s for s in steps if s["limit_amt"] is not None and _amt(s["limit_amt"]) == least)
    assert (least, first["term"]) == (cap, body["binding"])
    assert [c["component"] for c in body["rate_waterfall"]] == list(RATE_COMPONENTS)
    assert sum(c["bps"] for c in body["rate_waterfall"]) == body["rate_bps"]
    assert body_sha256(body).hex() == made.sha256


@given(
    st.data(),
    st.sampled_from(KINDS),
    st.tuples(*[st.integers(-5, 60)] * 4),
    st.sampled_from([k for k, f in enumerate(FEATURES) if f[2]]),
    st.integers(1, 60),
)
@settings(max_examples=250, deadline=None)
def test_an_adverse_move_never_raises_the_soft_cap_nor_lowers_loss_and_capital(
    data, kind, values, feature, by
):
    case = data.draw(cases(kind=kind))
    worse = list(values)
    worse[feature] += by * FEATURES[feature][2]
    before, after = _decide(case, kind, values), _decide(case, kind, worse)
    assert _amt(after.body["soft_cap_amt"]) <= _amt(before.body["soft_cap_amt"])

    def charged(made: Decision) -> int:
        bps = {c["component"]: c["bps"] for c in made.body["rate_waterfall"]}
        return int(bps["expected_loss"] + bps["capital"])

    assert charged(after) >= charged(before)
    assert _tier(after) >= _tier(before)


def _tier(made: Decision) -> int:
    return 8 if made.body["tier"] == "D" else int(made.body["tier"])


@pytest.mark.parametrize("kind", KINDS)
def test_along_tiers_the_stack_of_the_rate_rises_and_the_cap_falls(kind):
    seen = {}
    for debt in (0, 15, 25, 40):
        for cash in (0, 20, 60):
            for calls in (0, 1, 5):
                for trades in (0, 1):
                    made = decided(make_case(), kind, (debt, cash, trades, calls))
                    stack = sum(c["bps"] for c in made.body["rate_waterfall"][:8])
                    seen[made.body["score"]] = (_tier(made), stack, _amt(made.body["max_debt_amt"]))
    rows = [seen[s] for s in sorted(seen)]
    assert {tier for tier, _, _ in rows} == set(range(1, 8))
    for one, two in pairwise(rows):
        assert one[0] <= two[0]
        assert one[1] <= two[1]
        assert one[2] >= two[2]


@st.composite
def _splits(draw: st.DrawFn) -> tuple[Book, list[Book]]:
    """A book and a partition of it into up to three members."""
    whole = draw(books())
    n = draw(st.integers(2, 3))
    cash = [draw(st.integers(-500_000, 500_000)) for _ in range(n - 1)]
    cash.append(whole.cash_amt - sum(cash))
    shares: list[list[Holding]] = [[] for _ in range(n)]
    for p in whole.positions:
        rest = p.quantity_shares
        for k in range(n - 1):
            taken = draw(st.integers(0, rest))
            shares[k].append(Holding(p.symbol, taken))
            rest -= taken
        shares[-1].append(Holding(p.symbol, rest))
    owner = [draw(st.integers(0, n - 1)) for _ in whole.contracts]
    members = [
        Book(
            cash[k],
            tuple(shares[k]),
            tuple(c for c, o in zip(whole.contracts, owner, strict=True) if o == k),
        )
        for k in range(n)
    ]
    return whole, members


@given(_splits(), st.sampled_from(KINDS), st.sampled_from([0, 1_000_000, 10**13]))
@settings(max_examples=200, deadline=None)
@example(
    (
        Book(10_000_000, (Holding("AAA", 10_000),), ()),
        [Book(5_000_000, (Holding("AAA", 5_000),), ())] * 2,
    ),
    "us",
    1_000_000,
)
def test_splitting_a_client_into_a_related_group_never_raises_the_total_limit(split, kind, room):
    whole, members = split
    alone = make_case(book=whole)
    parts = [
        make_case(f"m{k}", book=b, group=RelatedGroup("g", (*members[:k], *members[k + 1 :]), None))
        for k, b in enumerate(members)
    ]
    try:
        one = decided(alone, kind, TYPICAL, headroom_amt=room)
        many = [decided(p, kind, TYPICAL, headroom_amt=room) for p in parts]
    except InputError:
        assume(False)
    total = sum(_amt(m.body["max_debt_amt"]) for m in many)
    assert total <= _amt(one.body["max_debt_amt"])


@given(st.data(), st.sampled_from(KINDS), feature_rows)
@settings(max_examples=200, deadline=None)
def test_soft_limit_and_rate_keep_their_step_bounds(data, kind, values):
    case = data.draw(cases(kind=kind))
    assume(case.previous is not None)
    made = _decide(case, kind, values)
    last, body, policy = case.previous, made.body, POLICIES[kind]
    soft = _amt(body["soft_cap_amt"])
    up = min(policy["step_up_ratio"] * last.sessions_since, 10**6)
    if last.soft_cap_amt > 0:
        assert soft <= last.soft_cap_amt + max(last.soft_cap_amt * up // 10**6, 100)
    maintenance = body["maintenance_ratio"]
    below = maintenance is not None and maintenance < policy["call_line_ratio"]
    if case.status.margin_state == "clear" and not below:
        down = min(policy["step_down_ratio"] * last.sessions_since, 10**6)
        assert soft > last.soft_cap_amt - last.soft_cap_amt * down // 10**6 - 100
    clip = body["rate_waterfall"][-1]["bps"]
    moved = body["rate_bps"] - clip - last.rate_bps
    assert abs(moved) <= min(
        policy["rate_step_bps"] * last.sessions_since, policy["rate_month_bps"]
    )
    assert abs(last.month_change_bps + moved) <= policy["rate_month_bps"]
    if last.quarter_changes >= policy["rate_quarter_changes"]:
        assert moved == 0
    assert body["month_change_bps"] == last.month_change_bps + body["rate_bps"] - last.rate_bps
    assert body["quarter_changes"] == last.quarter_changes + (body["rate_bps"] != last.rate_bps)


@given(st.data(), st.sampled_from(KINDS), feature_rows)
@settings(max_examples=150, deadline=None)
def test_every_reason_is_in_the_catalogue_and_reads_in_both_languages(data, kind, values):
    made = _decide(data.draw(cases(kind=kind)), kind, values)
    for given_reason in made.body["reasons"]:
        entry = CATALOGUE[given_reason["code"]]
        for language in ("en", "zh"):
            text = render(given_reason, language, "compliance")
            assert text
            assert "{" not in text
        shown = render(given_reason, "en", "client")
        assert (shown is None) == (entry.audience != "client")
    by_name = dict(zip(BUNDLE.names, made.body["attributions"]["values"], strict=True))
    for given_reason in made.body["reasons"]:
        if given_reason["code"].startswith("factor_"):
            assert by_name[given_reason["args"]["feature"]] > 0
            assert given_reason["args"]["attribution"] > 0


def test_an_override_lowers_the_cap_and_never_raises_it():
    free = decided(make_case())
    tight = decided(make_case(override=Override(12_345, "p1", "d1")))
    loose = decided(make_case(override=Override(10**12, "p1", "d1")))
    assert tight.body["max_debt_amt"] == "123.00"
    assert (tight.body["binding"], tight.body["supersedes"]) == ("override", "d1")
    assert loose.body["max_debt_amt"] == free.body["max_debt_amt"]


@given(st.data(), st.sampled_from(KINDS), st.integers(0, 10**12))
@settings(max_examples=60, deadline=None)
def test_a_loosening_override_lifts_the_soft_terms_and_passes_no_hard_one(data, kind, amount):
    case = data.draw(cases("c1", kind))
    free = _decide(replace(case, override=None), kind, TYPICAL)
    loosened = replace(case, override=Override(amount, "p1", "d1", loosens=True))
    made = _decide(loosened, kind, TYPICAL)
    hard_terms = ("statutory", "line", "concentration", "group", "firm")
    hard = [
        Decimal(w["limit_amt"])
        for w in made.body["cap_waterfall"]
        if w["term"] in hard_terms and w["limit_amt"] is not None
    ]
    assert Decimal(made.body["max_debt_amt"]) == min(*hard, Decimal(amount // 100))
    assert made.body["soft_cap_amt"] == free.body["soft_cap_amt"]
    before = [w for w in free.body["cap_waterfall"] if w["term"] in hard_terms]
    assert [w for w in made.body["cap_waterfall"] if w["term"] in hard_terms] == before


@given(st.data(), st.sampled_from(KINDS), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_rows_equal_columns_for_any_split_and_order_of_clients(data, kind, n):
    names = [f"c{k}" for k in range(n)]
    clients = [data.draw(cases(name, kind)) for name in names]
    frame = make_frame(BUNDLE, names, [data.draw(feature_rows) for _ in names])
    args = (BUNDLE, POLICIES[kind], MARKETS[kind])
    try:
        columns = decide_columns(clients, frame, *args)
        together = [d.canonical for d in decisions(columns)]
    except InputError:
        assume(False)
    assert [document for part in written(columns, 2) for document in part] == together
    assert [h.hex() for h in hashes(columns)] == [sha256_hex(b) for b in together]
    order = data.draw(st.permutations(range(n)))
    cut = data.draw(st.integers(0, n))
    for rows in (order[:cut], order[cut:], *[[k] for k in range(n)]):
        part = decide_columns([clients[k] for k in rows], frame.take(rows), *args)
        assert [d.canonical for d in decisions(part)] == [together[k] for k in rows]


def test_the_largest_amounts_are_decided_without_wrapping():
    ninety_billion = 9 * 10**12
    for kind in KINDS:
        for cash in (ninety_billion, ninety_billion // 2):
            shares = (ninety_billion - cash) * 100 // 100_000
            book = Book(cash, (Holding("AAA", shares),) if shares else (), ())
            made = decided(make_case(book=book), kind)
            case = replace(make_case(book=book), currency=currency_of(kind))
            limits = [s["limit_amt"] for s in made.body["cap_waterfall"]]
            assert all(_amt(x) >= 0 for x in limits if x is not None)
            allowed = statutory_limit(case.book, MARKETS[kind], kind)
            assert 0 < _amt(made.body["max_debt_amt"]) <= allowed
            assert made.canonical


def test_a_few_cents_of_debt_give_a_ratio_that_a_document_can_hold():
    book = Book(10**12, (Holding("AAA", 100),), (make_loan(1),))
    made = decided(make_case(book=book))
    assert made.body["maintenance_ratio"] == 10**12
    assert made.canonical


def test_cash_below_zero_is_debt():
    listed = Book(0, (Holding("AAA", 10_000),), (make_loan(4_000_000),))
    overdrawn = Book(-4_000_000, (Holding("AAA", 10_000),), ())
    one, two = decided(make_case(book=listed)), decided(make_case(book=overdrawn))
    for field in ("debt_amt", "equity_amt", "maintenance_ratio", "max_debt_amt"):
        assert one.body[field] == two.body[field]
    assert two.body["debt_amt"] == "40000.00"


def test_a_member_with_negative_equity_takes_from_the_group_and_gets_nothing():
    rich = Book(50_000_000, (Holding("AAA", 10_000),), ())
    broke = Book(0, (Holding("AAA", 10),), (make_loan(30_000_000),))
    alone = decided(make_case(book=rich))
    grouped = decided(make_case(book=rich, group=RelatedGroup("g", (broke,), None)))
    other = decided(make_case(book=broke, group=RelatedGroup("g", (rich,), None)))
    assert _amt(grouped.body["max_debt_amt"]) < _amt(alone.body["max_debt_amt"])
    assert other.body["max_debt_amt"] == "0.00"


def test_a_group_too_large_to_pool_is_refused_with_its_client():
    book = Book(6 * 10**12, (), ())
    with pytest.raises(InputError) as caught:
        decided(make_case(book=book, group=RelatedGroup("g", (book,), None)))
    assert str(caught.value) == (
        "client c1: the related group together: cash_amt is 120000000000.00; it must lie between"
        " -90 billion and 90 billion; correct the amount or the currency unit"
    )
    shares = Book(0, (Holding("AAA", 6 * 10**9),), ())
    with pytest.raises(InputError) as caught:
        decided(make_case(book=shares, group=RelatedGroup("g", (shares,), None)))
    assert "worth more than 90 billion" in str(caught.value)
    mixed = Book(0, (Holding("BBB", 10**9),), ())
    with pytest.raises(InputError) as caught:
        decided(make_case(book=shares, group=RelatedGroup("g", (mixed,), None)))
    assert str(caught.value) == (
        "client c1: the related group: assets or debt exceed 90 billion; decide on it by hand"
    )


def test_no_clients_give_no_decisions():
    frame = make_frame(BUNDLE, [], np.zeros((0, 4)))
    assert decisions(decide_columns([], frame, BUNDLE, POLICIES["us"], MARKETS["us"])) == []


def test_a_missing_feature_value_is_null_in_its_reason():
    made = decided(make_case(), "us", (NULL, NULL, 0, 5))
    values = [r["args"]["value"] for r in made.body["reasons"] if r["code"].startswith("factor_")]
    assert None in values
    for r in made.body["reasons"]:
        assert render(r, "zh", "client", {"cash_share": "现金占比"}) or r["code"] == "bound_firm"
    assert made.body["outcome"] == "approve"
    assert CLEAR.margin_state == "clear"
