"""Labels at their edges, and splits that keep the future out of the training labels."""

from __future__ import annotations

import numpy as np
import pytest

from data_contracts.errors import InputError
from training.labels import CENSORED, Outcomes, default_labels
from training.train import plan_split

OPEN = np.iinfo(np.int64).max // 2


class Panel:
    """Sessions are all that a split looks at."""

    def __init__(self, sessions: int) -> None:
        self.sessions = np.datetime64("2000-01-03") + np.arange(sessions)


class View:
    """The part of a book that labels look at."""

    def __init__(self, t: int, in_default: list[bool]) -> None:
        self.t, self.client_ids = t, ("a", "b", "c")
        self.in_default = np.array(in_default)


def labels(
    t: int,
    *,
    defaults=(),
    closed=(OPEN, OPEN, OPEN),
    sessions=500,
    horizon=60,
    in_default=(0, 0, 0),
):
    who = np.array([c for c, _ in defaults], dtype=np.int64)
    when = np.array([s for _, s in defaults], dtype=np.int64)
    outcomes = Outcomes(("a", "b", "c"), who, when, np.array(closed), sessions)
    return default_labels(outcomes, View(t, [bool(x) for x in in_default]), horizon).tolist()


def test_a_client_never_called_is_a_zero():
    assert labels(100) == [0, 0, 0]


@pytest.mark.parametrize(("session", "label"), [(100, 0), (101, 1), (160, 1), (161, 0)])
def test_the_horizon_begins_after_the_as_of_session_and_ends_with_its_last(session, label):
    assert labels(100, defaults=[(0, session)])[0] == label


def test_repaid_and_closed_before_the_horizon_ends_is_censored_but_a_default_before_closing_counts():
    assert labels(100, closed=(130, OPEN, OPEN)) == [CENSORED, 0, 0]
    assert labels(100, closed=(130, OPEN, OPEN), defaults=[(0, 120)]) == [1, 0, 0]


def test_where_the_market_ends_before_the_horizon_nobody_is_labelled_not_even_early_defaults():
    assert labels(100, sessions=160, defaults=[(0, 110)]) == [CENSORED] * 3
    assert labels(100, sessions=161, defaults=[(0, 110)]) == [1, 0, 0]


def test_a_client_already_in_default_is_not_at_risk():
    assert labels(100, defaults=[(0, 120)], in_default=(1, 0, 0)) == [CENSORED, 0, 0]


@pytest.mark.parametrize("sessions", [268, 900, 2100, 4280])
def test_the_labels_of_every_training_session_end_before_the_first_test_session(sessions):
    split = plan_split(Panel(sessions), 0, sessions - 1)
    assert max(split.train_rows) + split.horizon < min(split.test_rows)
    assert max(split.test_rows) + split.horizon < sessions


def test_the_bundled_period_leaves_eight_market_years_to_learn_from():
    split = plan_split(Panel(4280), 0, 4279)
    assert len({t // 252 for t in split.train_rows}) == 8


def test_a_period_too_short_to_split_is_refused():
    with pytest.raises(
        InputError, match="120 sessions are too few to train and test on labels of 60"
    ):
        plan_split(Panel(120), 0, 119)
