"""States of books on generated markets, how scores are judged, and the benchmark as a whole."""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from data_contracts.errors import InputError
from data_contracts.units import BoolArray, FloatArray
from features.panel import PricePanel
from features.sets import BEHAVIOURAL
from training.bench import run_bench
from training.bench.truth import BEHAVIOURS, Sizes, truth
from training.evaluate import auc
from training.lab import MarginRules
from training.lab.generated.markets import seed_of, state_after
from training.lab.mechanics import ACCRUED, DEBT
from training.lab.strengths import STRENGTHS
from training.lab.truth import NEAR, Plan, judged, realised, some, stand, taught
from training.lab.truth.books import Book, distance_to_call, in_debt, maintenance, market, sample
from training.lab.truth.discrimination import (
    auc_by_cluster,
    calibration_line,
    clustered_z,
    rank_correlation,
    weighted_auc,
)
from training.labels import cohort_of, default_within

SESSIONS, AT = 250, 180


@pytest.fixture(scope="module")
def plan(lab_market: tuple[PricePanel, MarginRules]) -> Plan:
    panel, rules = lab_market
    ratio, rate = rules.initial_ratio_e6[:SESSIONS], rules.rate_bps[:SESSIONS]
    return Plan(
        source=panel,
        rules=replace(rules, initial_ratio_e6=ratio, rate_bps=rate),
        strengths=tuple(STRENGTHS[panel.currency].times(b) for b in (1.0, 2.0)),
        clients=150,
        sessions=SESSIONS,
        feature_set=BEHAVIOURAL,
        seed=3,
    )


def test_states_are_those_that_the_lender_sees_and_end_as_its_labels_say(plan: Plan) -> None:
    """A label of 1 is a realised default; of those censored, closing is no default."""
    panel = market(plan, 2)
    book = Book(plan, panel, 2, 0)
    seen = book.history.as_of(panel.sessions[AT].item())
    rows = np.flatnonzero(in_debt(seen))
    assert len(rows) > 20
    clients = np.array([book.place[seen.client_ids[r]] for r in rows])
    generated = state_after(plan.source, seed_of(plan.seed, 2), session=AT)
    standing = stand(book.stage, generated, some(book.who, clients), AT)
    np.testing.assert_array_equal(standing.panel.close[AT], generated.state.close)
    totals = standing.state.totals
    np.testing.assert_array_equal(totals[:, DEBT] + totals[:, ACCRUED], seen.owed[rows])
    label = default_within(book.outcomes, cohort_of(book.outcomes, seen)).label[rows]
    became = realised(standing, book.stage)[:, 0]
    np.testing.assert_array_equal(became == 1, label == 1)


def test_ratio_and_distance_are_those_of_the_definitions(plan: Plan) -> None:
    book = Book(plan, market(plan, 2), 2, 0)
    seen = book.history.as_of(book.history.panel.sessions[AT].item())
    row = int(np.flatnonzero(in_debt(seen) & (seen.securities > 0))[3])
    mine = seen.positions.client == row
    value = seen.close[seen.positions.symbol[mine]] * seen.positions.quantity_shares[mine]
    returns = seen.returns[-60:, seen.positions.symbol[mine]]
    known = ~np.isnan(returns)
    mean = np.where(known, returns, 0) @ value / np.maximum((known * value).sum(axis=1), 1)
    swing = mean.std(ddof=1) * seen.securities[row] / seen.assets[row]
    ratio = seen.assets[row] / seen.owed[row]
    assert maintenance(seen)[row] == pytest.approx(ratio)
    call = plan.rules.call / 1e6
    wanted = math.log(ratio / call) / (swing * math.sqrt(60))
    assert distance_to_call(seen, plan.rules.call)[row] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("near", "far", "most"), [(40, 200, 12), (2, 200, 12), (40, 1, 9), (0, 3, 8)]
)
def test_the_sample_takes_half_below_and_its_weights_stand_for_everyone(
    near: int, far: int, most: int
) -> None:
    ratio = np.concatenate([np.linspace(1.2, 1.79, near), np.linspace(1.8, 4.0, far)])
    chosen, weight = sample(ratio, most, 5, 77)
    assert len(np.unique(chosen)) == len(chosen) == min(most, near + far)
    below = ratio[chosen] < NEAR
    assert below.sum() == min(near, max((most + 1) // 2, most - far))
    assert weight[below].sum() == pytest.approx(near if below.any() else 0)
    assert weight[~below].sum() == pytest.approx(far)


def test_judged_states_hold_together_and_repeat(plan: Plan) -> None:
    seen, known = judged(plan, 1, (150, AT), 8, 20)
    again, truth_again = judged(plan, 1, (150, AT), 8, 20)
    for x, y in ((seen, again), (known, truth_again)):
        for name in type(x).__annotations__:
            np.testing.assert_array_equal(getattr(x, name), getattr(y, name))
    assert len(seen.market) == len(known.hazard) == 2 * 2 * 8
    assert seen.values.shape[1] == len(BEHAVIOURAL.features)
    np.testing.assert_allclose(known.hazard, (known.even + known.odd) / 2)
    # the true hazard knows more than chance about the one path of each state's own
    assert weighted_auc(known.hazard[:, 0], known.fresh[:, 0].astype(float), seen.weight) > 0.5
    learnt, label = taught(plan, 1, (150, AT))
    assert set(np.unique(label)) <= {0, 1}
    assert len(learnt.market) == len(label) > len(seen.market)


def brute_force(score: FloatArray, event: BoolArray, weight: FloatArray) -> float:
    right = total = 0.0
    for i in np.flatnonzero(event):
        for j in np.flatnonzero(~event):
            pair = weight[i] * weight[j]
            total += pair
            right += pair * (1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0)
    return right / total


def test_the_area_counts_weighted_pairs_with_ties_half() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        score = rng.integers(0, 12, 90).astype(float)
        event = rng.random(90) < 0.3
        weight = rng.exponential(size=90)
        ours = weighted_auc(score, event.astype(float), weight)
        assert ours == pytest.approx(brute_force(score, event, weight))
        assert weighted_auc(score, event.astype(float), np.ones(90)) == pytest.approx(
            auc(score, event.astype(np.int64))
        )
    assert math.isnan(weighted_auc(score, np.zeros(90), weight))


def test_the_area_of_hazards_is_the_mean_over_their_outcomes() -> None:
    rng = np.random.default_rng(2)
    hazard = rng.random(400) * 0.4
    score, weight = hazard + rng.normal(0, 0.1, 400), np.ones(400)
    drawn = [
        weighted_auc(score, (rng.random(400) < hazard).astype(float), weight) for _ in range(400)
    ]
    assert weighted_auc(score, hazard, weight) == pytest.approx(np.mean(drawn), abs=0.004)


def test_intervals_redraw_whole_markets() -> None:
    rng = np.random.default_rng(3)
    market_of = np.repeat(np.arange(40), 25)
    bad = rng.normal(size=40)[market_of]
    score = bad + rng.normal(size=1000)
    event = (rng.random(1000) < 1 / (1 + np.exp(2 - bad))).astype(float)
    by_market = auc_by_cluster(score, event, np.ones(1000), market_of, 1)
    by_state = auc_by_cluster(score, event, np.ones(1000), np.arange(1000), 1)
    assert by_market.low < by_market.value == by_state.value < by_market.high
    assert by_market.high - by_market.low > by_state.high - by_state.low
    assert math.isnan(auc_by_cluster(score[:0], event[:0], event[:0], market_of[:0], 1).value)


def test_the_calibration_line_finds_how_far_a_model_spreads() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(-3.0, 1.0, 3000)
    hazard = 1 / (1 + np.exp(-(0.4 + 0.7 * x)))
    weight = rng.exponential(size=3000)
    intercept, slope = calibration_line(x, hazard, weight)
    assert [intercept, slope] == pytest.approx([0.4, 0.7])


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(5)
    x = rng.integers(0, 9, 300).astype(float)
    y = x + rng.normal(0, 4, 300)
    assert rank_correlation(x, y, np.ones(300)) == pytest.approx(spearmanr(x, y).statistic)
    twice = rank_correlation(np.tile(x, 2), np.tile(y, 2), np.ones(600))
    assert rank_correlation(x, y, np.full(300, 2.0)) == pytest.approx(twice)


def test_a_difference_is_measured_against_that_of_clusters() -> None:
    rng = np.random.default_rng(6)
    shared = np.repeat(rng.normal(size=200), 30)
    assert abs(clustered_z(shared - shared.mean(), np.repeat(np.arange(200), 30))) < 1e-6
    assert abs(clustered_z(shared, np.repeat(np.arange(200), 30))) < 3
    assert clustered_z(shared + 1, np.repeat(np.arange(200), 30)) > 5
    assert clustered_z(np.zeros(4), np.arange(4)) == 0.0


@pytest.mark.long
@pytest.mark.parametrize("lab_market", ["cn"], indirect=True)
def test_the_benchmark_prints_what_it_promises(plan: Plan) -> None:
    told: list[tuple[str, int, int]] = []
    document = truth(
        plan.source, Sizes(8, 200, 30, 120), (2.0,), 11, 2, lambda *step: told.append(step)
    )
    keys = {"markets", "market_years", "states", "paths", "horizon", "strengths", "seconds"}
    assert keys <= set(document)
    assert document["market_years"] == 12.0
    assert document["states"] >= 200
    (strength,) = document["strengths"]
    assert strength["behaviour"] == 2.0
    assert 0 < strength["base_rate"] < 1
    rows = {(r["score"], r["book"]): r for r in strength["rows"]}
    assert len(rows) == len(strength["rows"]) == 6
    for row in rows.values():
        assert row["events"] > 0
        assert row["low"] <= row["auc"] <= row["high"]
    assert rows["truth", "all"]["auc"] > 0.7
    assert {name for name, _, _ in told} == {"teach", "fit", "judge", "compare"}


def test_wrong_sizes_and_names_are_refused(plan: Plan) -> None:
    with pytest.raises(InputError, match="at least 2 markets"):
        truth(plan.source, Sizes(markets=1), BEHAVIOURS, 7, 1, lambda *_: None)
    with pytest.raises(InputError, match="multiple from 0"):
        truth(plan.source, Sizes(), (-1.0,), 7, 1, lambda *_: None)
    nowhere = argparse.Namespace(
        name="truth", markets=2, states=1, paths=2, clients=40, source=Path("nowhere"),
        behaviour=None, seed=1, threads=1,
    )  # fmt: skip
    with pytest.raises(InputError):
        run_bench(nowhere, lambda *_: None)
