"""Splits that keep the future, and a client's own group, out of what teaches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import InputError
from training.labels.clusters import clusters, stable_number
from training.splits import plan_split, purged

PERIODS = [268, 900, 2100, 4280]


class Panel:
    """Sessions are all that a split looks at."""

    def __init__(self, sessions: int) -> None:
        self.sessions = np.datetime64("2000-01-03") + np.arange(sessions)


@pytest.mark.parametrize("sessions", PERIODS)
def test_training_labels_end_an_embargo_before_the_first_test_session(sessions: int) -> None:
    split = plan_split(Panel(sessions), 0, sessions - 1)
    assert split.embargo >= 5
    assert max(split.train_rows) + split.horizon + split.embargo < min(split.test_rows)
    assert max(split.test_rows) + split.horizon < sessions


def test_the_bundled_period_leaves_eight_market_years_to_learn_from() -> None:
    split = plan_split(Panel(4280), 0, 4279)
    assert len({t // 252 for t in split.train_rows}) == 8


def test_a_period_too_short_to_split_is_refused() -> None:
    with pytest.raises(
        InputError, match="120 sessions are too few to train and test on labels of 60"
    ):
        plan_split(Panel(120), 0, 119)


ROWS = st.sets(st.integers(0, 400), min_size=1, max_size=30).map(sorted)


@given(ROWS, ROWS, st.integers(1, 60), st.integers(0, 20))
def test_no_kept_row_has_a_label_window_within_the_embargo_of_the_test_windows(
    rows: list[int], test: list[int], horizon: int, embargo: int
) -> None:
    kept = purged(rows, test, horizon, embargo)
    looked_at = set(range(min(test), max(test) + horizon + 1))
    for t in rows:
        window = (
            range(t, t + horizon + embargo + 1) if t <= max(test) else range(t - embargo, t + 1)
        )
        assert (t in kept) == looked_at.isdisjoint(window)


@pytest.mark.parametrize("sessions", PERIODS)
def test_a_cluster_is_on_one_side_of_a_by_client_split(sessions: int) -> None:
    split = plan_split(Panel(sessions), 0, sessions - 1).by_client()
    assert split.kind == "by-client"
    cluster = np.array([stable_number(f"c{k}") for k in range(4000)], dtype=np.int64)
    judges, learns, calibrates = (
        f(cluster) for f in (split.judges, split.learns, split.calibrates)
    )
    assert not (judges & learns).any()
    assert (judges | learns).all()
    assert (learns | ~calibrates).all()
    assert 0.45 < judges.mean() < 0.55
    assert 0.15 < calibrates.mean() < 0.20


def test_out_of_time_every_client_learns_and_every_client_judges() -> None:
    split = plan_split(Panel(900), 0, 899)
    cluster = np.arange(1_000_003, dtype=np.int64)
    assert split.judges(cluster).all()
    assert split.learns(cluster).all()
    assert 0.34 < split.calibrates(cluster).mean() < 0.36


def test_clients_ever_linked_by_groups_are_one_cluster() -> None:
    clients, groups = ("a", "b", "c", "d", "e"), ("g", "h", "k")
    # b moves from group g to group k, which links a to c; d is alone in h; e is in none
    who, group = np.array([0, 1, 1, 2, 3]), np.array([0, 0, 2, 2, 1])
    made = clusters(clients, groups, who, group).tolist()
    assert made[0] == made[1] == made[2] == stable_number("g")
    assert made[3:] == [stable_number("h"), stable_number("e")]


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 7)), max_size=25))
def test_clusters_are_the_connected_components(links: list[tuple[int, int]]) -> None:
    names = tuple(f"c{k:02d}" for k in range(12))
    groups = tuple(f"g{k}" for k in range(8))
    who, group = np.array(links, dtype=np.int64).reshape(-1, 2).T
    made = clusters(names, groups, who, group)
    parts = [{k} for k in range(12)]
    for _, g in links:
        members = {c for c, h in links if h == g}
        joined = set().union(*(p for p in parts if p & members))
        parts = [p for p in parts if not p & members] + [joined]
    assert {frozenset(p) for p in parts} == {
        frozenset(np.flatnonzero(made == number).tolist()) for number in set(made.tolist())
    }
