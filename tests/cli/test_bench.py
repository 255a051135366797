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
