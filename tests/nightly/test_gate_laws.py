"""Laws of the gate: what it may never do, whatever the figures and the bounds."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.units import NULL
from models.gate import NOT_TESTED, VERDICTS, Bound, Bounds, Measured, bounds_of, judge, load_bounds
from models.gate import measures as m
from models.gate.monitors import LIGHTS, closing, light, load_monitors, worst
from models.policy import load_pack

DAY = dt.date(2024, 3, 15)
figures = st.none() | st.integers(0, 3_000_000)
limits = st.none() | st.integers(0, 2_000_000)


@st.composite
def bounds(draw, names=("a", "b", "c")):
    rules = {}
    for name in names:
        hold, block = draw(limits), draw(limits)
        if hold is not None and block is not None:
            hold, block = min(hold, block), max(hold, block)
        untested = draw(st.sampled_from(["pass", "hold"]))
        rules[name] = Bound(name, "ratio", hold, block, untested, "e", "z", "we", "wz", "r")
    return Bounds(rules, "0" * 64)


measured = st.fixed_dictionaries({n: figures.map(Measured) for n in ("a", "b", "c")})


def severity(verdict):
    return VERDICTS.index(verdict.verdict)


@given(measured, bounds(), st.sampled_from("abc"), st.integers(0, 2_000_000))
def test_tightening_a_bound_never_softens_the_verdict(found, rules, name, by):
    old = rules.rules[name]
    block = None if old.block is None else max(old.block - by, 0)
    hold = None if old.hold is None else max(old.hold - by, 0)
    tight = Bounds({**rules.rules, name: replace(old, hold=hold, block=block)}, rules.sha256)
    assert severity(judge(found, tight)) >= severity(judge(found, rules))


@given(measured, bounds(), st.sampled_from("abc"), st.integers(0, 2_000_000))
def test_adding_a_bound_never_softens_the_verdict(found, rules, name, at):
    old = rules.rules[name]
    if old.block is not None:
        return
    block = at if old.hold is None else max(at, old.hold)
    more = Bounds({**rules.rules, name: replace(old, block=block)}, rules.sha256)
    assert severity(judge(found, more)) >= severity(judge(found, rules))


@given(measured, bounds(), st.sampled_from("abc"), st.integers(1, 2_000_000))
def test_a_worse_figure_never_softens_the_verdict(found, rules, name, by):
    value = found[name].value
    if value is None:
        return
    worse = {**found, name: Measured(value + by)}
    assert severity(judge(worse, rules)) >= severity(judge(found, rules))


@given(measured, bounds())
def test_the_verdict_is_the_worst_of_its_rules_in_any_order(found, rules):
    backwards = Bounds(dict(reversed(list(rules.rules.items()))), rules.sha256)
    verdict = judge(found, rules)
    assert verdict.verdict == judge(found, backwards).verdict
    assert severity(verdict) == max(VERDICTS.index(r.counts_as) for r in verdict.rulings)


@given(measured, bounds())
def test_what_was_not_tested_is_never_said_to_have_passed(found, rules):
    verdict = judge(found, rules)
    for ruling in verdict.rulings:
        assert (ruling.status == NOT_TESTED) is (ruling.measured.value is None)
    assert set(verdict.untested) == {n for n, f in found.items() if f.value is None}


@given(measured, bounds())
def test_every_rule_against_a_night_names_value_bound_and_way_out_in_both_languages(found, rules):
    verdict = judge(found, rules)
    for language in ("en", "zh"):
        assert len(verdict.why(language).splitlines()) == len(verdict.against)
    for ruling, line in zip(verdict.against, verdict.why().splitlines(), strict=True):
        assert ruling.rule.name in line
        assert ruling.rule.way_out_en in line


def test_a_figure_without_a_bound_and_a_bound_without_a_figure_are_refused():
    rules = load_bounds(DAY)
    found = dict.fromkeys(rules.rules, Measured(0))
    assert judge(found, rules).verdict == "pass"
    with pytest.raises(InputError, match="invented is not both measured and bounded"):
        judge({**found, "invented": Measured(0)}, rules)
    del found["price_jump_ratio"]
    with pytest.raises(InputError, match="price_jump_ratio is not both measured and bounded"):
        judge(found, rules)


def test_the_packs_switch_against_a_spiral_is_the_hold_bound_of_the_own_fire_sale():
    policy = load_pack("us").on(DAY)
    rule = load_bounds(DAY).with_policy(policy).rules["fire_sale_adv_ratio"]
    assert rule.hold == policy["spiral_adv_share_ratio"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": {dt.date(1990, 1, 1): {"hold": 0.1, "reference": "r"}}}, "quoted decimal"),
        ({"values": {dt.date(1990, 1, 1): {"holt": "0.1", "reference": "r"}}}, "holt is not known"),
        (
            {"values": {dt.date(1990, 1, 1): {"hold": "0.2", "block": "0.1", "reference": "r"}}},
            "hold 200000 is above block 100000",
        ),
        ({"values": {dt.date(2030, 1, 1): {"hold": "0.1", "reference": "r"}}}, "no value on"),
        ({"untested": "maybe"}, "write pass or hold"),
    ],
)
def test_bounds_that_are_not_written_right_are_refused_by_name(change, message):
    rule = {
        "unit": "ratio", "untested": "pass", "en": "e", "zh": "z", "way_out_en": "w",
        "way_out_zh": "w", "values": {dt.date(1990, 1, 1): {"hold": "0.1", "reference": "r"}},
    }  # fmt: skip
    assert bounds_of({"rule": rule}, DAY).rules["rule"].hold == 100_000
    with pytest.raises(InputError, match=message):
        bounds_of({"rule": {**rule, **change}}, DAY)


def test_a_bound_changes_with_its_date():
    body = {
        "unit": "int", "untested": "pass", "en": "e", "zh": "z", "way_out_en": "w",
        "way_out_zh": "w",
        "values": {
            dt.date(1990, 1, 1): {"hold": 9, "reference": "r"},
            dt.date(2024, 3, 15): {"hold": 3, "reference": "r"},
        },
    }  # fmt: skip
    held = [bounds_of({"x": body}, d).rules["x"].hold for d in (dt.date(2024, 3, 14), DAY)]
    assert held == [9, 3]


# --- figures --------------------------------------------------------------------------------------


def column(*values):
    return np.array(values, dtype=np.int64)


def both(**changes):
    zero = column(0, 0, 0, 0)
    names = m.Both.__dataclass_fields__
    return m.Both(**{**dict.fromkeys(names, zero), **changes})


def names(p0, p1, q0, q1):
    return m.Names(("A", "B"), column(*p0), column(*p1), column(*q0), column(*q1))


def test_a_price_off_by_ten_is_a_jump_a_split_and_a_halving_share_count_are_none():
    # two names worth 100 each; one price tenfold: 900 more on 200
    assert m.price_jump(names((10, 10), (100, 10), (10, 10), (10, 10))).value == 4_500_000
    assert m.price_jump(names((10, 10), (5, 10), (10, 10), (20, 10))).value == 0
    assert m.price_jump(names((10, 10), (11, 9), (10, 10), (99, 1))).value == 0
    assert m.price_jump(names((10, NULL), (10, 10), (10, 10), (10, 10))).value == 0


def test_the_own_fire_sale_is_what_is_newly_cut_spread_over_the_holdings_by_value():
    # client 0 owes 100.00 above a new limit of 0 and holds 150.00 of A and 50.00 of B
    found = m.fire_sale(
        both(debt0=column(10_000, 0, 0, 0), debt1=column(10_000, 0, 0, 0),
             cap0=column(10_000, 0, 0, 0), cap1=column(0, 0, 0, 0)),
        m.Lots(column(0, 0), column(0, 1), column(15, 5)),
        column(100_000, 100_000), column(100, 5), ("A", "B"),
    )  # fmt: skip
    # half of everything: 7.5 shares of A on 100 a day, 2.5 of B on 5 a day
    assert (found.value, found.detail) == (500_000, "B 0.5, A 0.075")


def test_a_debt_that_was_above_its_limit_before_is_no_new_cut():
    same = both(debt0=column(5, 0, 0, 0), debt1=column(5, 0, 0, 0))
    lots = m.Lots(column(0), column(0), column(1))
    assert m.fire_sale(same, lots, column(10_000), column(10), ("A",)).value == 0


def test_without_volumes_the_fire_sale_is_not_tested():
    cut = both(debt0=column(5, 0, 0, 0), debt1=column(5, 0, 0, 0), cap0=column(5, 0, 0, 0))
    lots = m.Lots(column(0), column(0), column(1))
    assert m.fire_sale(cut, lots, column(10_000), column(NULL), ("A",)).value is None


def test_a_limit_counts_as_moved_from_a_quarter_of_the_larger_on():
    moved = both(target0=column(100, 100, 100, 0), target1=column(75, 74, 134, 1))
    assert m.caps_moved(moved).value == 750_000
    assert m.mean_cap_change(moved).value == -(-16 * 1_000_000 // 300)


def test_step_and_override_do_not_hide_what_a_limit_would_be():
    limits = column(900, 800, NULL, NULL, NULL, 500, 700, 20, 10).reshape(1, 9)
    assert m.cap_targets(limits).tolist() == [500]


def test_calibration_is_the_jeffreys_test_of_r():
    # N 500, D 10, PD 1 %: p = 0.0205046241752297 in R's pbeta
    found = m.calibration(np.full(500, 10_000_000), np.arange(500) < 10)
    assert found.value == 979_495
    assert m.calibration(column(), np.zeros(0, dtype=bool)).value is None


# --- monitors -------------------------------------------------------------------------------------


@given(figures, st.integers(0, 1_000_000))
def test_a_monitor_without_a_figure_is_not_tested_and_a_worse_figure_never_greener(value, by):
    for monitor in load_monitors().values():
        now = light(monitor, Measured(value))
        if value is None:
            assert now.status == NOT_TESTED
            assert worst([now]) == NOT_TESTED
            continue
        later = light(monitor, Measured(value + by))
        assert LIGHTS.index(later.status) >= LIGHTS.index(now.status)


def test_only_a_red_monitor_that_policy_says_so_closes():
    monitors = load_monitors()
    red = [light(x, Measured(x.red), "f") for x in monitors.values()]
    assert set(closing(red)) == {n for n, x in monitors.items() if x.fails_closed}
    assert closing([light(x, Measured(x.red - 1)) for x in monitors.values()]) == ()
