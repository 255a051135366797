"""Stages, expected loss and movement: laws, and a known truth drawn at random."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.units import NULL, PROB_ONE, RATIO_ONE
from models.price.rate import expected_loss_amt
from training.provisions.back_test import outcome_of
from training.provisions.loss import expected_loss
from training.provisions.movement import CAUSES, ROWS, Night, movement
from training.provisions.rules import read_overlays, read_rules
from training.provisions.staging import REASONS, Facts, staged

RULES = read_rules()
PLAIN = replace(
    RULES,
    scenarios=(replace(RULES.scenarios[0], weight=RATIO_ONE, pd_odds=RATIO_ONE, lgd=RATIO_ONE),),
)
CENT = 1


def facts_with(n=1, **columns):
    """Sound clients who owe half of what they own, with some columns changed."""
    typical = {
        "pd": 20_000_000, "lgd": 200_000, "ead": 10_000_000, "debt": 8_000_000, "equity": 8_000_000,
        "rate_bps": 600, "maintenance": 2_000_000, "tier": 3, "days_called": -1,
        "opening_pd": 20_000_000, "opening_tier": 3, "life_days": 730,
    }  # fmt: skip
    names = tuple(f"c{k:03d}" for k in range(n))
    filled = {
        name: np.broadcast_to(np.asarray(columns.get(name, value), dtype=np.int64), n).copy()
        for name, value in typical.items()
    }
    return Facts(names, **filled, call_line=1_300_000, unsecured_recovery=100_000)


def random_facts(seed, n=60):
    rng = np.random.default_rng(seed)
    debt = rng.integers(0, 10**10, n) * (rng.random(n) < 0.8)
    equity = rng.integers(-(10**9), 10**10, n)
    return facts_with(
        n, pd=rng.integers(0, PROB_ONE + 1, n), lgd=rng.integers(20_000, RATIO_ONE + 1, n),
        ead=debt + rng.integers(0, 10**9, n) * (rng.random(n) < 0.7), debt=debt, equity=equity,
        rate_bps=rng.integers(0, 2_000, n), tier=rng.integers(1, 9, n),
        maintenance=np.where(debt > 0, rng.integers(800_000, 4_000_000, n), NULL),
        days_called=np.where(rng.random(n) < 0.2, rng.integers(0, 200, n), -1),
        opening_pd=np.where(rng.random(n) < 0.8, rng.integers(0, PROB_ONE, n), NULL),
        opening_tier=rng.integers(1, 8, n), life_days=rng.integers(1, 1_500, n),
    )  # fmt: skip


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_for_the_same_account_stage_3_costs_no_less_than_2_and_2_no_less_than_1(seed):
    facts = random_facts(seed)
    one, two, three = (expected_loss(facts, np.full(len(facts), s), RULES) for s in (1, 2, 3))
    assert (one <= two).all()
    assert (two <= three).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_a_higher_pd_lgd_or_exposure_never_lowers_the_loss(seed, stage):
    facts = random_facts(seed)
    at = np.full(len(facts), stage)
    loss = expected_loss(facts, at, RULES)
    rng = np.random.default_rng(seed)
    riskier = np.minimum(facts.pd + rng.integers(0, PROB_ONE, len(facts)), PROB_ONE)
    dearer = np.minimum(facts.lgd + rng.integers(0, RATIO_ONE, len(facts)), RATIO_ONE)
    larger = facts.ead + rng.integers(0, 10**9, len(facts))
    for changed in (
        replace(facts, pd=riskier),
        replace(facts, lgd=dearer),
        replace(facts, ead=larger),
    ):
        assert (expected_loss(changed, at, RULES) >= loss).all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3]))
@settings(max_examples=40, deadline=None)
def test_no_exposure_no_provision_and_never_more_than_the_exposure_or_what_is_bare(seed, stage):
    facts = random_facts(seed)
    loss = expected_loss(facts, np.full(len(facts), stage), RULES)
    assert (loss[facts.ead == 0] == 0).all()
    assert (loss >= 0).all()
    assert (loss <= np.maximum(facts.ead, np.maximum(-facts.equity, 0)) + CENT).all()
    nobody = replace(facts, ead=np.zeros(len(facts), dtype=np.int64))
    assert expected_loss(nobody, np.full(len(facts), stage), RULES).sum() == 0


def test_a_year_without_discounting_is_the_decisions_own_expected_loss():
    facts = replace(random_facts(4), rate_bps=np.zeros(60, dtype=np.int64))
    facts = replace(facts, life_days=np.full(60, 800), pd=np.minimum(facts.pd, PROB_ONE - 1))
    ours = expected_loss(facts, np.ones(60, dtype=np.int64), PLAIN)
    # the decision rounds up, a provision to the nearest
    assert np.abs(ours - expected_loss_amt(facts.pd, facts.lgd, facts.ead)).max() <= CENT


def test_the_loss_is_the_mean_of_defaults_drawn_at_their_hazard_and_discounted():
    facts = facts_with(pd=300_000_000, rate_bps=900, life_days=1_000, lgd=400_000)
    draws = 400_000
    days = np.random.default_rng(11).exponential(365 / -np.log(0.7), draws)
    worth = (1 + 0.09 * 365 / 360) ** (-days / 365)
    lost = np.where(days <= 1_000, 0.4 * 10_000_000 * worth, 0.0)
    error = lost.std() / np.sqrt(draws)
    loss = expected_loss(facts, np.array([2]), PLAIN)[0]
    assert loss == pytest.approx(lost.mean(), abs=4 * error)
    first = np.where(days <= 365, lost, 0.0)
    year = expected_loss(facts, np.array([1]), PLAIN)[0]
    assert year == pytest.approx(first.mean(), abs=4 * first.std() / np.sqrt(draws))


@pytest.mark.parametrize(
    ("columns", "stage", "reason"),
    [
        ({}, 1, "no_increase"),
        ({"tier": 8}, 3, "in_default"),
        ({"maintenance": 999_999}, 3, "insolvent"),
        ({"days_called": 91}, 3, "days_under_line_stage_3"),
        ({"days_called": 90}, 2, "called"),
        ({"days_called": 0}, 2, "called"),
        ({"maintenance": 1_299_999}, 2, "called"),
        ({"maintenance": 1_300_000}, 1, "no_increase"),
        ({"tier": 5}, 2, "tiers_down"),
        ({"tier": 4}, 1, "no_increase"),
        ({"pd": 40_000_000}, 2, "pd_increase"),
        ({"pd": 39_999_999}, 1, "no_increase"),
        ({"pd": 4_000_000, "opening_pd": 1_000_000}, 1, "no_increase"),
        ({"opening_pd": NULL, "opening_tier": NULL, "tier": 7}, 1, "no_increase"),
        ({"debt": 0, "maintenance": NULL, "days_called": 200}, 1, "no_increase"),
    ],
)  # fmt: skip
def test_a_client_stands_in_the_stage_of_the_first_reason_that_holds(columns, stage, reason):
    found = staged(facts_with(**columns), RULES)
    assert (int(found.stage[0]), REASONS[int(found.reason[0])]) == (stage, reason)


def night(facts, overlay=(0, 0, 0), rules=RULES):
    stage = staged(facts, rules).stage
    return Night(facts, stage, expected_loss(facts, stage, rules), rules, overlay)


@given(st.integers(0, 2**31), st.integers(0, 60), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_every_column_of_the_movement_adds_up_to_the_cent(seed, left, new):
    old = random_facts(seed)
    both = random_facts(seed + 1, 60)
    shifted = replace(both, client_ids=tuple(f"c{k + left:03d}" for k in range(60)))
    before, now = night(old, (100, -20, 0)), night(shifted, (0, 7, 30))
    rows = movement(before, now)
    assert tuple(rows) == ROWS
    for column in range(3):
        amounts = [rows[name][column] for name in ROWS]
        assert sum(amounts[:-1]) == amounts[-1]
    assert sum(rows["transfers"]) == 0
    assert sum(rows["opening"]) == int(before.loss.sum()) + 80
    assert sum(rows["closing"]) == int(now.loss.sum()) + 37


def test_a_movement_names_its_one_cause():
    was = facts_with(3)
    changes = {
        "exposure": {"ead": 20_000_000},
        "lgd": {"lgd": 300_000},
        "pd": {"pd": 25_000_000},
        "life_and_rate": {"rate_bps": 900},
    }
    assert changes.keys() == CAUSES.keys()
    for cause, columns in changes.items():
        rows = movement(night(was), night(facts_with(3, **columns)))
        moved = {k for k in ROWS[1:-1] if any(rows[k])}
        assert moved == {cause}
    rows = movement(night(was), night(facts_with(3, days_called=3)))
    assert {k for k in ROWS[1:-1] if any(rows[k])} == {"transfers", "staging"}
    rows = movement(night(was), night(was, rules=PLAIN))
    assert {k for k in ROWS[1:-1] if any(rows[k])} == {"rules"}


def test_outcomes_count_the_losses_of_the_nights_clients_within_a_year():
    import datetime as dt

    day = dt.date(2020, 1, 10)
    clients = ["c000", "c000", "c001", "x", "c002"]
    days = np.array(
        ["2020-01-10", "2020-01-11", "2021-01-09", "2020-05-05", "2021-01-10"], "datetime64[D]"
    )
    shortfalls = (clients, days, np.array([1, 2, 4, 8, 16]))
    found = outcome_of(day, night(facts_with(3)), shortfalls, (["c001"], days[3:4], np.array([5])))
    assert (found.realised_amt, found.short, found.defaults) == (6, (2, 0, 0), 1)
    assert found.expected_defaults == pytest.approx(0.06)


def test_rules_that_do_not_sum_or_say_too_much_are_refused(tmp_path):
    from importlib import resources

    text = (resources.files("training.provisions") / "rules.yaml").read_text("utf-8")
    path = tmp_path / "rules.yaml"
    path.write_text(text.replace('"0.50"', '"0.60"'))
    with pytest.raises(InputError, match="weights of the scenarios do not sum to one"):
        read_rules(path)
    path.write_text(text + "more: 1\n")
    with pytest.raises(InputError, match="must hold exactly"):
        read_rules(path)
    path.write_text(text.replace('"0.005"', "0.005"))
    with pytest.raises(InputError, match=r"write 0\.005 as a quoted decimal"):
        read_rules(path)
    path.write_text(text)
    assert read_rules(path) == RULES


def test_an_overlay_needs_a_reason_and_two_people_and_holds_on_its_days_only(tmp_path):
    import datetime as dt

    path = tmp_path / "overlays.yaml"
    entry = (
        "- {name: crowding, reason: one name is a tenth of the book, author: ann, approver: ben,"
        ' stage: 2, share_ratio: "0.10", from: 2020-01-01, until: 2020-06-30}\n'
    )
    path.write_text(entry)
    [overlay] = read_overlays(path)
    assert overlay.on(dt.date(2020, 6, 30), 1_001) == 101
    assert overlay.on(dt.date(2020, 7, 1), 1_001) == 0
    path.write_text(entry.replace("approver: ben", "approver: ann"))
    with pytest.raises(InputError, match="ann is author and approver; they must differ"):
        read_overlays(path)
    path.write_text(entry.replace("reason: one name is a tenth of the book", 'reason: ""'))
    with pytest.raises(InputError, match="reason is empty"):
        read_overlays(path)
    path.write_text(entry.replace('share_ratio: "0.10"', 'amount_amt: "-5.00"'))
    assert read_overlays(path)[0].on(dt.date(2020, 2, 2), 0) == -500
