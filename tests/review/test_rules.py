"""Why a decision goes to a person: each rule holds at its bound and not beside it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import InputError
from models.reasons import CATALOGUE
from models.review import (
    OVERRIDE_REASONS,
    RULES,
    Looked,
    find_triggers,
    hash_share,
    is_blind,
    load_review_rules,
    trigger_text,
)

DAY = dt.date(2024, 3, 18)
POLICY = load_review_rules(DAY)
PLAIN = Looked(
    decision_id="d-plain", currency="CNY", outcome="approve", pd=5_000_000, pd_low=4_000_000,
    pd_high=6_000_000, tier_edges=(1_000_000, 10_000_000, 100_000_000), debt_amt=0,
    max_debt_amt=100_000_00, previous_amt=100_000_00, requested_amt=None, codes=(), undefined=0,
    features=10,
)  # fmt: skip


def rules_of(looked: Looked) -> list[str]:
    return [t.rule for t in find_triggers(looked, POLICY) if t.rule != "quality_sample"]


@pytest.mark.parametrize(
    ("rule", "at", "beside"),
    [
        ("near_boundary", {"pd": 10_100_000}, {"pd": 10_100_001}),
        ("near_boundary", {"pd": 9_900_000}, {"pd": 9_899_999}),
        ("wide_interval", {"pd_low": 0, "pd_high": 19_000_000}, {"pd_high": 18_999_999}),
        ("large_exposure", {"debt_amt": 10_000_000_00}, {"debt_amt": 9_999_999_99}),
        ("large_step", {"max_debt_amt": 70_000_00}, {"max_debt_amt": 70_000_01}),
        ("large_step", {"max_debt_amt": 130_000_00}, {"max_debt_amt": 129_999_99}),
        ("thin_file", {"undefined": 5}, {"undefined": 4}),
        ("near_limit", {"requested_amt": 98_000_00}, {"requested_amt": 97_999_99}),
        ("out_of_domain", {"outside": ("age", 7, 5)}, {"outside": None}),
        (
            "human_requested",
            {"codes": ("gate_human_requested",), "outcome": "refer"},
            {"codes": ("gate_call_open",), "outcome": "refer"},
        ),
        (
            "exception",
            {"codes": ("gate_call_open",), "outcome": "refer"},
            {"codes": ("gate_unsuitable",), "outcome": "decline"},
        ),
    ],
)  # fmt: skip
def test_a_rule_holds_at_its_bound_and_not_beside_it(rule, at, beside):
    assert rule in rules_of(replace(PLAIN, **at))
    assert rule not in rules_of(replace(PLAIN, **beside))
    assert rules_of(PLAIN) == []


def test_every_referred_decision_has_a_rule_and_the_most_urgent_comes_first():
    assert rules_of(replace(PLAIN, outcome="refer")) == ["exception"]
    many = replace(
        PLAIN, outcome="refer", codes=("gate_kyc_expired", "gate_human_requested"), undefined=9
    )
    assert rules_of(many) == ["human_requested", "exception", "thin_file"]


def test_the_quality_sample_is_drawn_by_hash_near_its_share_and_only_from_the_automatic():
    drawn = [
        k
        for k in range(20_000)
        if any(
            t.rule == "quality_sample"
            for t in find_triggers(replace(PLAIN, decision_id=f"d{k}"), POLICY)
        )
    ]
    # 1 % of 20,000 is 200; four binomial standard deviations are 56
    assert 144 <= len(drawn) <= 256
    again = replace(PLAIN, decision_id=f"d{drawn[0]}")
    assert find_triggers(again, POLICY)[0].rule == "quality_sample"
    referred = find_triggers(replace(again, outcome="refer"), POLICY)
    assert [t.rule for t in referred] == ["exception"]
    other = replace(POLICY, sample_seed="house-2")
    assert sum(bool(find_triggers(replace(PLAIN, decision_id=f"d{k}"), other)) for k in drawn) < 20


@given(st.text(max_size=20), st.text(max_size=40))
def test_a_hash_share_lies_in_the_unit_interval_and_stays(seed, name):
    share = hash_share(seed, name)
    assert 0 <= share < 1_000_000
    assert share == hash_share(seed, name)


def test_about_one_case_in_ten_is_read_blind():
    share = sum(is_blind(f"case-{k}", POLICY) for k in range(10_000))
    assert 880 <= share <= 1_120  # four binomial standard deviations


def test_a_trigger_is_told_in_both_languages_and_never_above_its_reader():
    looked = replace(PLAIN, outcome="refer", codes=("gate_neutral", "gate_aml"), undefined=6)
    found = find_triggers(looked, POLICY)
    hidden = [t for t in found if t.audience == "compliance"]
    assert [t.value for t in hidden] == ["gate_aml"]
    for t in found:
        for tongue in ("en", "zh"):
            said = trigger_text(t, tongue, "compliance")
            assert said
            assert "{" not in said
        assert (trigger_text(t, "en", "staff") is None) == (t.audience == "compliance")
        assert (trigger_text(t, "en", "client")) is None
    assert "60.0 %" in (trigger_text(found[-1], "en", "staff") or "")


def test_every_rule_and_reason_has_words_in_both_languages_and_the_list_is_closed():
    for rule in RULES.values():
        assert set(rule.name) == set(rule.text) == {"en", "zh"}
    assert len(OVERRIDE_REASONS) == 9
    assert {r.side for r in OVERRIDE_REASONS.values()} == {"tightens", "loosens", "both"}
    assert all(code in CATALOGUE for code in ("gate_aml", "gate_pep"))


def test_a_day_before_the_first_version_is_refused():
    with pytest.raises(InputError, match="is known from 1990-01-02"):
        load_review_rules(dt.date(1989, 12, 29))
