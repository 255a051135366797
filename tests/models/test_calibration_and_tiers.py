"""From score to PD, from PD to tier, and how slowly a tier moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.errors import InputError
from models.calibration import Calibration, tier_of_pd
from models.tiers import DEFAULT_TIER, TierColumns, tiers_with_hysteresis
from tests.models.builders import BUNDLE

MAP = BUNDLE.calibration
EDGES = BUNDLE.tier_edges
scores = st.integers(-(2**46), 2**46)


@given(st.lists(scores, min_size=2, max_size=50))
@settings(max_examples=200, deadline=None)
def test_pd_rises_with_the_score_and_lies_in_its_interval(values):
    score = np.sort(np.array(values, dtype=np.int64))
    pd, low, high = MAP.of_score(score)
    for column in (pd, low, high, MAP.default_60_of_score(score), tier_of_pd(pd, EDGES)):
        assert (np.diff(column) >= 0).all()
    assert (low <= pd).all()
    assert (pd <= high).all()
    assert (pd >= 1).all()
    assert (high <= 10**9).all()


def test_the_map_meets_its_knots_and_clamps_beyond_its_ends():
    at = MAP.knots << 20
    assert np.array_equal(MAP.of_score(at)[0], MAP.pd)
    ends = MAP.of_score(np.array([-(2**52), 2**52]))[0]
    assert ends.tolist() == [MAP.pd[0], MAP.pd[-1]]


def test_between_two_knots_pd_is_interpolated_and_rounded_down():
    two = Calibration(
        np.array([0, 10]), np.array([100, 201]), np.array([1, 2]), np.array([300, 400]),
        np.array([5, 5]), 1, False, "two knots",
    )  # fmt: skip
    assert two.of_score(np.array([0, 5, 9, 10]) << 20)[0].tolist() == [100, 150, 190, 201]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pd": np.array([5, 5])}, "calibration: pd must be strictly increasing"),
        ({"pd": np.array([0, 9])}, "calibration: PD must lie between 1e-9 and 1"),
        ({"pd_low": np.array([6, 7])}, "calibration: PD must lie within its interval"),
        ({"pd_high": np.array([9, 8])}, "calibration: pd_high must not fall"),
        ({"pd_high": np.array([9, 10**9 + 1])}, "calibration: pd_high must lie between 0 and 1"),
        ({"default_60": np.array([1])}, "calibration: default_60 has not one value for each knot"),
        ({"knots": np.array([1])}, "calibration: at least two knots are needed"),
    ],
)
def test_a_map_that_is_no_calibration_is_refused(change, said):
    good = Calibration(
        np.array([0, 9]), np.array([5, 8]), np.array([4, 7]), np.array([6, 9]), np.array([1, 2]),
        8, True, "by hand",
    )  # fmt: skip
    assert Calibration.from_json(good.to_json()).to_json() == good.to_json()
    with pytest.raises(InputError) as caught:
        replace(good, **change)
    assert str(caught.value) == said


def test_a_pd_at_an_edge_is_in_the_better_tier():
    assert tier_of_pd(EDGES, EDGES).tolist() == [1, 2, 3, 4, 5, 6]
    assert tier_of_pd(EDGES + 1, EDGES).tolist() == [2, 3, 4, 5, 6, 7]


def _moved(
    raw: int, previous: int | None, candidate: int = 1, waited: int = 0, since: int = 1,
    breach: bool = False, defaulted: bool = False,
) -> TierColumns:  # fmt: skip
    def one(value: int) -> np.ndarray:
        return np.array([value], dtype=np.int64)

    return tiers_with_hysteresis(
        one(raw), np.array([previous is not None]), one(previous or 1), one(candidate),
        one(waited), one(since), 5, np.array([breach]), np.array([defaulted]),
    )  # fmt: skip


def test_a_new_client_takes_the_tier_of_the_score():
    assert _moved(4, None).tier[0] == 4


def test_a_tier_moves_only_after_five_sessions_in_one_direction():
    tier, candidate, waited, held = 3, 3, 0, []
    for raw in (5, 6, 5, 7, 5, 5):
        made = _moved(raw, tier, candidate, waited)
        tier, candidate, waited = (
            int(made.tier[0]), int(made.candidate[0]), int(made.candidate_sessions[0]),
        )  # fmt: skip
        held.append((tier, waited))
    assert held == [(3, 1), (3, 2), (3, 3), (3, 4), (5, 0), (5, 0)]


def test_a_turn_of_direction_starts_the_wait_again():
    assert _moved(2, 4, candidate=6, waited=4).candidate_sessions[0] == 1
    assert _moved(4, 4, candidate=6, waited=4).candidate_sessions[0] == 0


def test_a_breach_takes_a_worse_tier_at_once_and_never_a_better_one():
    assert _moved(6, 3, breach=True).tier[0] == 6
    assert _moved(1, 3, breach=True).tier[0] == 3


def test_a_default_is_tier_d_whatever_the_score():
    assert _moved(1, 1, defaulted=True).tier[0] == DEFAULT_TIER


@given(
    st.integers(1, 7), st.integers(1, 7), st.none() | st.integers(1, 7), st.integers(1, 7),
    st.integers(0, 6), st.sampled_from([1, 2, 9]), st.booleans(),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_a_worse_score_never_gives_a_better_tier(one, two, previous, candidate, waited, since, at):
    better, worse = sorted((one, two))
    first = _moved(better, previous, candidate, waited, since, at).tier[0]
    assert first <= _moved(worse, previous, candidate, waited, since, at).tier[0]
