"""The geometry of the pictures agrees with the figures beside them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.units import LARGEST_QUANTA, LOG_ODDS_ONE
from models.scorer import AdditiveTables
from models.scorer.tables import explained_effect
from serving.console.pictures import SCALE, binned, diverging, lengths, shade, shapes, waterfall

STEPS = st.lists(st.integers(-(10**12), 10**12), max_size=12)


@given(st.integers(-(10**12), 10**12), STEPS)
def test_every_bar_of_a_waterfall_lies_on_the_scale_and_a_step_of_nothing_has_no_bar(
    start: int, steps: list[int]
) -> None:
    bars = waterfall(start, steps)
    assert len(bars) == len(steps) + 2
    for bar, value in zip(bars, [start, *steps, start + sum(steps)], strict=True):
        assert 0 <= bar.at <= bar.at + bar.width <= SCALE
        assert (bar.width > 0) == (value != 0)


@given(STEPS)
def test_bars_on_both_sides_of_the_middle_are_as_long_as_their_values(values: list[int]) -> None:
    most = max((abs(v) for v in values), default=0) or 1
    for bar, value in zip(diverging(values), values, strict=True):
        assert 0 <= bar.at <= bar.at + bar.width <= SCALE
        assert abs(bar.width - abs(value) / most * SCALE / 2) <= 5


@given(st.lists(st.integers(-1000, 1000), max_size=50))
def test_every_value_falls_into_one_class(values: list[int]) -> None:
    bins = binned(np.array(values, dtype=np.int64), [-100, 0, 1, 100])
    assert sum(b.count for b in bins) == len(values)
    for b in bins:
        inside = [
            v for v in values
            if (b.low is None or v >= b.low) and (b.high is None or v < b.high)
        ]  # fmt: skip
        assert b.count == len(inside)


def test_the_longest_count_fills_the_scale_and_small_counts_stay_visible() -> None:
    assert [b.width for b in lengths([0, 1, 10**6])] == [0, 4, SCALE]
    assert [shade(0, 100), shade(1, 100), shade(25, 100), shade(100, 100)] == [0, 1, 5, 10]


def test_a_shape_has_a_step_for_each_bin_at_the_height_of_its_contribution() -> None:
    score = np.array([LOG_ODDS_ONE * v for v in (0, -2, -1, 3)], dtype=np.int64)
    splits = np.array([10, 20], dtype=np.int64)
    effect = explained_effect((0,), (splits,), score, np.ones(4, dtype=np.int64))
    [shape] = shapes(AdditiveTables("default_60", 1, 0, (effect,)), None)
    own = (effect.first / LOG_ODDS_ONE).tolist()
    assert (shape.low, shape.high) == (10, 20)
    assert shape.most / LOG_ODDS_ONE == pytest.approx(max(own))
    assert shape.least / LOG_ODDS_ONE == pytest.approx(min(own))
    levels = [int(p.split()[1].split("H")[0]) for p in shape.path.replace("L", "M").split("M")[1:]]
    assert len(levels) == 3
    # up is riskier, and the screen counts downwards
    assert levels[0] > levels[1] > levels[2]
    assert levels[2] < shape.zero < levels[0]


def test_a_split_that_only_parts_missing_values_is_no_end_of_the_picture() -> None:
    score = np.array([LOG_ODDS_ONE * v for v in (0, -2, -1, 3)], dtype=np.int64)
    splits = np.array([10, LARGEST_QUANTA], dtype=np.int64)
    effect = explained_effect((0,), (splits,), score, np.ones(4, dtype=np.int64))
    [shape] = shapes(AdditiveTables("default_60", 1, 0, (effect,)), None)
    assert (shape.low, shape.high) == (10, 10)
    assert shape.path.count("H") == 2
