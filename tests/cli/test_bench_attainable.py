"""``bench attainable``: its measures on known answers, and the whole of it on a small scale."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.units import FloatArray, IntArray
from training.bench import attainable
from training.bench.attainable import Lessons, calibration_error, coverage, shares
from training.lab.truth import Known, Seen


def _seen(market: IntArray, distance: FloatArray) -> Seen:
    n = len(market)
    zeros = np.zeros(n, dtype=np.int64)
    return Seen(market, zeros, np.ones(n), np.full(n, 1.5), distance, np.zeros((n, 1), np.int64))


def _known(hazard: FloatArray) -> Known:
    three = np.repeat(hazard[:, None], 3, axis=1)
    flags = np.zeros((len(hazard), 3), dtype=np.int64)
    return Known(three, three, three, flags, flags)


def test_the_truth_has_all_of_the_gain_and_distance_to_call_none() -> None:
    rng = np.random.default_rng(0)
    hazard = rng.beta(0.5, 8, 900)
    seen = _seen(np.arange(900) % 30, -hazard + rng.normal(0, 0.08, 900))
    known, everyone = _known(hazard), np.ones(900, dtype=bool)
    best = shares(hazard, seen, known, everyone, 1)
    assert (best["share"], best["share_of_ceiling"]) == (1.0, 1.0)
    least = shares(-seen.distance, seen, known, everyone, 1)
    assert (least["share"], least["share_low"], least["share_high"]) == (0.0, 0.0, 0.0)
    between = shares(hazard + rng.normal(0, 0.03, 900), seen, known, everyone, 1)
    assert 0.3 < between["share_low"] < between["share"] < between["share_high"] < 1.0


def test_calibration_error_is_zero_for_the_truth_and_the_gap_for_a_level_that_is_off() -> None:
    rng = np.random.default_rng(1)
    hazard, weight = rng.beta(1, 20, 2000), rng.random(2000)
    assert calibration_error(hazard, hazard, weight) == pytest.approx(0.0, abs=1e-15)
    assert calibration_error(hazard + 0.01, hazard, weight) == pytest.approx(0.01)


@pytest.mark.long
def test_the_interval_holds_the_truth_where_clients_of_a_market_share_a_factor() -> None:
    """Logistic truth with a common factor of each market: 95 % asked, within sampling error."""
    rng = np.random.default_rng(2)
    markets, each = 240, 250
    market = np.repeat(np.arange(markets), each)
    score = rng.normal(-3.0, 1.2, len(market))
    factor = rng.normal(0, 0.8, markets)
    label = (rng.random(len(market)) < 1 / (1 + np.exp(-score - factor[market]))).astype(np.int64)
    lessons = Lessons(_seen(market, score), label, market)
    at = rng.normal(-3.0, 1.2, 1500)
    draws = np.random.default_rng(3).normal(0, 0.8, 2000)
    hazard = np.array([np.mean(1 / (1 + np.exp(-x - draws))) for x in at])
    found = coverage(
        score, lessons, np.ones(len(market), dtype=bool), _seen(np.arange(1500) % 50, at),
        _known(hazard), at, 4,
    )  # fmt: skip
    assert found["samples"] == markets // attainable.MARKETS_A_SAMPLE
    assert 0.88 <= found["coverage"] <= 1.0
    assert found["coverage_clients_alone"] < 0.75
    assert found["high_over_low"] < 10


@pytest.mark.long
def test_the_benchmark_prints_its_documented_keys(cli, undocumented) -> None:
    ran = cli(
        "bench", "attainable", "--markets", 32, "--states", 200, "--paths", 20, "--clients", 200,
        "--threads", 2, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert undocumented("bench attainable", ran.document, empty=["flags[]"]) == []
    books = {(r["scorer"], r["book"]) for r in ran.document["rows"]}
    assert books == {(s, b) for s in ("head", "recipe") for b in ("all", "below_1_8")}
    for row in ran.document["rows"]:
        assert 0.5 < row["auc"] <= 1.0
        assert row["auc_distance_to_call"] < row["auc_ceiling"]
        assert row["slope"] > 0.3
