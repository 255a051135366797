"""The cap, what each term took off it, and the step between two nights."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from models.margin.cap import CAP_TERMS, CapColumns, cap_waterfall
from models.margin.limits import NO_LIMIT

NONE = -(2**63)
HARD_AND_SOFT = {
    "statutory": 1_000_000,
    "line": 900_000,
    "concentration": NO_LIMIT,
    "group": NO_LIMIT,
    "firm": 950_000,
    "structural": 800_000,
    "behavioural": 700_000,
    "override": NO_LIMIT,
}


def _cap(previous: int = NONE, since: int = 1, breached: Any = False, **terms: Any) -> CapColumns:
    chosen = {**HARD_AND_SOFT, "equity": 1_000_000, **terms}
    return cap_waterfall(
        **{name: np.array([value], dtype=np.int64) for name, value in chosen.items()},
        loosened=np.array([False]),
        previous_soft=np.array([previous], dtype=np.int64),
        sessions_since=np.array([since], dtype=np.int64),
        step_up_ratio=20_000,
        step_down_ratio=50_000,
        breached=np.array([breached]),
    )


def _binding(made: CapColumns) -> str:
    return CAP_TERMS[int(made.binding[0])]


limit = st.one_of(st.just(NO_LIMIT), st.integers(0, 10**6), st.integers(0, 9 * 10**12))
never_none = st.one_of(st.integers(0, 10**6), st.integers(0, 9 * 10**12))


@given(
    st.fixed_dictionaries(
        {
            **dict.fromkeys(HARD_AND_SOFT, limit),
            "statutory": never_none,
            "equity": st.integers(-(10**9), 9 * 10**12),
        }
    ),
    st.one_of(st.just(NONE), st.just(0), st.integers(0, 9 * 10**12)),
    st.sampled_from([1, 3, 10_000]),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_the_waterfall_sums_to_the_cap_and_the_earliest_of_equals_binds(
    terms, previous, since, breached
):
    made = _cap(previous, since, breached, **terms)
    cap, limits, removed = int(made.cap[0]), made.limits[0].tolist(), made.removed[0].tolist()
    assert limits[0] - sum(removed) == cap == min(limits)
    assert made.binding[0] == limits.index(min(limits))
    assert all(r >= 0 for r in removed)
    assert cap % 100 == 0
    for name in ("statutory", "line", "concentration", "group", "firm", "override"):
        assert cap <= terms[name]
    if terms["equity"] > 0:
        assert made.leverage_milli[0] == (terms["equity"] + cap) * 1000 // terms["equity"]
    else:
        assert made.leverage_milli[0] == NONE


def test_terms_come_in_their_written_order():
    assert CAP_TERMS == (
        "statutory", "line", "concentration", "group", "firm", "structural", "behavioural",
        "step", "override",
    )  # fmt: skip


def test_each_term_can_bind():
    assert _binding(_cap()) == "behavioural"
    for name in HARD_AND_SOFT:
        assert _binding(_cap(**{name: 100_000})) == name
    assert _binding(_cap(previous=500_000)) == "step"


def test_a_limit_rises_by_two_per_cent_a_session():
    assert _cap(previous=500_000).cap[0] == 510_000
    assert _cap(previous=500_000, since=3).cap[0] == 530_000
    assert _cap(previous=500_000, since=10_000).cap[0] == 700_000


def test_a_limit_falls_by_five_per_cent_a_session_unless_breached():
    made = _cap(previous=1_000_000, behavioural=100_000, line=990_000)
    assert (made.cap[0], made.soft[0], _binding(made)) == (950_000, 950_000, "firm")
    breach = _cap(previous=1_000_000, behavioural=100_000, breached=True)
    assert (breach.cap[0], _binding(breach)) == (100_000, "behavioural")


def test_hard_terms_are_never_stepped():
    made = _cap(previous=1_000_000, statutory=0, behavioural=100_000)
    assert (made.cap[0], made.soft[0]) == (0, 950_000)


def test_from_zero_a_limit_may_rise_at_once_and_a_small_one_by_a_whole_unit():
    assert _cap(previous=0).cap[0] == 700_000
    assert _cap(previous=100).cap[0] == 200
    assert _cap(previous=4_900).cap[0] == 5_000


def test_an_override_only_tightens():
    assert _cap(override=10**9).cap[0] == 700_000
    assert _cap(override=12_345).cap[0] == 12_300
    assert _cap(override=12_345).soft[0] == 700_000
