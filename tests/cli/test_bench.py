"""Benchmarks from the command line: what is timed gives the same numbers, keys are documented."""

import pytest

import gearline
from training.bench.features import measure

LARGEST_DIFFERENCE = 1e-9
"""Sums of some hundred float64 leaves are rounded near 1e-14; this hides nothing larger."""


@pytest.mark.filterwarnings("error::UserWarning", "error::FutureWarning")
def test_the_explanations_that_are_timed_equal_those_of_lightgbm(cli, undocumented):
    ran = cli("bench", "explain", "--rows", 2000, "--features", 8, "--json")
    assert ran.code == gearline.DONE
    assert ran.err == ""
    assert undocumented("bench explain", ran.document) == []
    assert (ran.document["rows"], ran.document["features"]) == (2000, 8)
    assert 0.0 < ran.document["max_abs_difference_to_pred_contrib"] < LARGEST_DIFFERENCE


def test_structural_limits_are_timed_with_their_paths_and_their_error(cli, undocumented):
    ran = cli("bench", "structural", "--clients", 200, "--json")
    assert ran.code == gearline.DONE
    assert undocumented("bench structural", ran.document) == []
    assert ran.document["structural_clients_per_second"] > 0
    assert 1 < ran.document["effective_paths"] <= ran.document["paths"]
    assert ran.document["mean_standard_error"] > 0


@pytest.mark.long
def test_stress_is_timed_on_paths_that_equal_numpys(cli, undocumented):
    ran = cli("bench", "stress", "--clients", 5_000, "--json")
    assert ran.code == gearline.DONE
    assert undocumented("bench stress", ran.document) == []
    assert ran.document["path_equals_numpy"] is True
    assert ran.document["zero_shock_equals_production"] is True


def test_the_frontier_says_what_market_it_needs(cli, tiny_market):
    assert "needs --market DIR with A-shares" in cli("bench", "frontier").err
    assert "compares A-share lenders" in cli("bench", "frontier", "--market", tiny_market).err


def test_the_features_that_are_timed_are_the_same_by_night_and_as_the_rivals(
    cli, undocumented, monkeypatch
):
    monkeypatch.setattr(measure, "GROWTH_CLIENTS", (40, 160))
    ran = cli("bench", "features", "--trades", 20_000, "--clients", 200, "--json")
    assert ran.code == gearline.DONE
    assert undocumented("bench features", ran.document) == []
    assert ran.document["incremental_equals_full"] is True
    assert ran.document["rivals_agree"] is True
    assert set(ran.document["seconds"]) >= {"full", "state", "nightly", "floor"}


def test_a_rival_that_does_not_fit_gets_whole_buckets_and_is_compared_on_them(cli, monkeypatch):
    monkeypatch.setattr(measure, "GROWTH_CLIENTS", (40, 160))
    monkeypatch.setattr(measure, "free_bytes", lambda: 10_000_000)
    ran = cli("bench", "features", "--trades", 20_000, "--clients", 200, "--json")
    shares = ran.document["rivals_share"]
    assert shares.pop("pandas") == 0.5
    assert set(shares.values()) <= {0.5}
    assert ran.document["rivals_agree"] is True


def test_the_benchmark_of_the_truth_prints_what_is_documented(cli, undocumented):
    sizes = ("--markets", 6, "--states", 60, "--paths", 5, "--clients", 200, "--behaviour", 2)
    ran = cli("bench", "truth", *sizes, "--json")
    assert ran.code == gearline.DONE
    assert undocumented("bench truth", ran.document) == []


def test_the_benchmark_of_the_queue_prints_what_is_documented(cli, undocumented):
    ran = cli("bench", "review", "--cases", 1_000, "--json")
    assert ran.code in (0, 1)
    assert undocumented("bench review", ran.document) == []
    assert ran.document["cases"] == 1_000
    assert [t["met"] is None for t in ran.document["targets"]].count(False) >= 2
