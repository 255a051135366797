"""A decision says when what its book survives is what bound it, and what that rests on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data_contracts.canonical import canonical_bytes
from data_contracts.case import Book, Holding
from data_contracts.snapshot import SUSPENDED
from data_contracts.units import RATIO_ONE
from models.decide import decide_columns
from models.decide.body import bodies
from models.decide.written import written
from tests.models.builders import (
    BUNDLE,
    make_case,
    make_frame,
    make_market,
    make_paths,
    make_policy,
)

STEEP = make_paths(5, seed=3)
STEEP = replace(
    STEEP, moves=np.where(STEEP.moves == SUSPENDED, SUSPENDED, np.minimum(STEEP.moves, 0) * 3)
)
"""Nobody ever gains: the paths ask for more equity than the joint tail loss does."""


def decided(market):
    book = Book(0, (Holding("AAA", 500), Holding("BBB", 300)), ())
    cases = [
        make_case(client_id="held", book=book),
        make_case(client_id="new", book=Book(10**6, (), ())),
    ]
    frame = make_frame(BUNDLE, [c.client_id for c in cases], [(5, 60, 1, 0)] * 2)
    return decide_columns(cases, frame, BUNDLE, make_policy("us"), market)


def test_a_limit_that_the_paths_set_says_so_and_the_waterfall_takes_off_what_they_ask_for():
    made = decided(make_market("us", paths=STEEP))
    [held, new] = bodies(made)
    structural = held["structural"]
    assert held["binding"] == "structural"
    add_on = structural["concentration_margin_ratio"]
    m = structural["margin_ratio"] + add_on
    assert [r["args"] for r in held["reasons"] if r["code"] == "bound_paths"] == [
        {"chance": "8.0", "margin": f"{m // 1000 / 10:.1f}"}
    ]
    assert held["tier"] == "1"
    assert structural["budget_ratio"] == 80_000
    assert structural["chance_ratio"] <= 80_000
    assert structural["margin_ratio"] < structural["base_margin_ratio"]
    assert structural["standard_error_ratio"] > 0
    assert structural["paths"] == STEEP.paths
    assert structural["undefined"] is None
    equity = int(held["equity_amt"].replace(".", ""))
    by_term = {t["term"]: t["limit_amt"] for t in held["cap_waterfall"]}
    assert int(by_term["structural"].replace(".", "")) == equity * (RATIO_ONE - m) // m // 100 * 100
    assert new["structural"] == {
        "margin_ratio": None,
        "base_margin_ratio": None,
        "concentration_margin_ratio": 0,
        "budget_ratio": None,
        "chance_ratio": None,
        "standard_error_ratio": None,
        "paths": STEEP.paths,
        "stretch_ratio": 1_100_000,
        "undefined": "no_positions",
    }
    assert new["provisional"]


@pytest.mark.parametrize("paths", [None, STEEP])
def test_the_written_form_of_the_structural_part_is_the_row_form_s(paths):
    made = decided(make_market("us", paths=paths))
    assert [d for part in written(made) for d in part] == [canonical_bytes(b) for b in bodies(made)]


def test_without_a_scenario_set_the_limit_is_as_before_and_the_decision_says_why():
    without = list(bodies(decided(make_market("us", paths=None))))
    with_set = list(bodies(decided(make_market("us", paths=STEEP))))
    assert [b["structural"]["undefined"] for b in without] == ["no_scenario_set"] * 2
    assert all(b["structural"]["paths"] == 0 for b in without)
    held, alike = (float(b[0]["max_debt_amt"]) for b in (with_set, without))
    assert held < alike
    assert with_set[1]["max_debt_amt"] == without[1]["max_debt_amt"]
