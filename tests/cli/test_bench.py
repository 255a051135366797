"""``bench explain``: what is timed gives the same numbers, and no library's warning is shown."""

import pytest

import gearline

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


def test_the_frontier_says_what_market_it_needs(cli, tiny_market):
    assert "needs --market DIR with A-shares" in cli("bench", "frontier").err
    assert "compares A-share lenders" in cli("bench", "frontier", "--market", tiny_market).err
