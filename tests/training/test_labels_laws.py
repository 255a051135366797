"""What holds for the labels of any history, over random ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_contracts.tables.account import MARGIN_EVENT_KINDS
from training.labels import (
    NEVER,
    Cause,
    Cohort,
    Facts,
    Labels,
    Outcomes,
    call_within,
    default_within,
    forced_within,
    noncure,
    outcomes_of,
    relever_within,
)

SESSIONS, DAY, CUT = 120, 1000, 600
ACCOUNT_CLIENT = (0, 1, 2, 2)
HEADS = {
    "default": default_within, "call": call_within, "forced": forced_within, "relever": relever_within
}  # fmt: skip
Within = Callable[[Outcomes, Cohort, int], Labels]
Rows = list[tuple[int, ...]]

SESSION = st.integers(0, SESSIONS - 1)
ACCOUNT = st.integers(0, len(ACCOUNT_CLIENT) - 1)
HOUR = st.sampled_from([300, 500, 700])  # the last is after the cut-off: the next session's
WARN, CALL, CURE, FORCED, SHORTFALL, DEFAULT = range(len(MARGIN_EVENT_KINDS))


def event_rows(near: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...]]:
    """Account, kind, session, hour, deadline in sessions."""
    kinds = st.sampled_from([CALL] * 6 + [CURE] * 4 + [WARN, FORCED, SHORTFALL, DEFAULT])
    return st.tuples(ACCOUNT, kinds, near, HOUR, st.integers(0, 6))


def debt_rows(near: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...]]:
    """Account, what its contract owes from then on, session, hour, whether interest was paid."""
    return st.tuples(
        ACCOUNT, st.sampled_from([0, 0, 50, 100, 150, 300]), near, HOUR, st.integers(0, 1)
    )


NEAR = st.one_of(SESSION, st.integers(30, 60))
STORY = st.tuples(
    st.lists(event_rows(NEAR), max_size=12),
    st.lists(debt_rows(NEAR), max_size=8),
    st.tuples(*[st.integers(0, 20) for _ in ACCOUNT_CLIENT]),
    st.tuples(*[st.one_of(st.none(), st.integers(10, SESSIONS - 1)) for _ in ACCOUNT_CLIENT]),
)
Story = tuple[Rows, Rows, tuple[int, ...], tuple[int | None, ...]]
EMPTY: Story = ([], [], (0, 0, 0, 0), (None, None, None, None))
AS_OF = st.integers(20, SESSIONS - 2)
EQUITY = st.lists(st.sampled_from([-5, 0, 400, 1000]), min_size=3, max_size=3)


def facts_of(story: Story, *, first: int = 0, sessions: int = SESSIONS) -> Facts:
    """A story told from session ``first`` of a calendar."""
    events, debts, opened, closed = story

    def column(rows: Rows, k: int) -> Any:
        return np.array([r[k] for r in rows], dtype=np.int64)

    def at(rows: Rows) -> Any:
        return (column(rows, 2) + first) * DAY + column(rows, 3)

    debts = sorted(debts, key=lambda r: (r[0], r[2], r[3]))
    owed: dict[int, int] = {}
    changes = []
    for account, amount, *_ in debts:
        changes.append(amount - owed.get(account, 0))
        owed[account] = amount
    return Facts(
        cut_offs=np.arange(sessions) * DAY + CUT,
        clients=3,
        account_client=np.array(ACCOUNT_CLIENT),
        account_opened=np.array(opened) + first,
        account_closed=np.array([NEVER if c is None else c + first for c in closed]),
        event_account=column(events, 0),
        event_kind=column(events, 1),
        event_at=at(events),
        event_deadline=np.where(
            column(events, 1) == CALL, (column(events, 2) + column(events, 4) + first) * DAY + 300, NEVER
        ),
        debt_account=column(debts, 0),
        debt_at=at(debts),
        debt_change_amt=np.array(changes, dtype=np.int64),
        debt_rolling=np.ones(len(debts), dtype=bool),
        paid_account=column(debts, 0),
        paid_at=at(debts),
        paid_amt=20 * column(debts, 4),
    )  # fmt: skip


def outcomes(facts: Facts) -> Outcomes:
    return outcomes_of(facts, ("a", "b", "c"), np.arange(3))


def cohort(t: int, equity: list[int]) -> Cohort:
    return Cohort(t, np.arange(3), np.array(equity, dtype=np.int64))


def same(a: Labels, b: Labels, later: int = 0) -> bool:
    return bool(
        np.array_equal(a.label, b.label)
        and np.array_equal(a.cause, b.cause)
        and np.array_equal(a.event_session + later, b.event_session)
    )


@given(STORY, AS_OF, EQUITY, st.integers(1, 40), st.integers(1, 60))
@settings(max_examples=150, deadline=None)
def test_moving_everything_by_some_sessions_changes_nothing(
    story: Story, t: int, equity: list[int], horizon: int, by: int
) -> None:
    here = outcomes(facts_of(story))
    there = outcomes(facts_of(story, first=by, sessions=SESSIONS + by))
    for head in HEADS.values():
        assert same(
            head(here, cohort(t, equity), horizon), head(there, cohort(t + by, equity), horizon), by
        )
    assert same(noncure(here, cohort(t, equity)), noncure(there, cohort(t + by, equity)), by)


@given(STORY, STORY, AS_OF, EQUITY, st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_what_happens_after_the_window_changes_nothing(
    story: Story, other: Story, t: int, equity: list[int], horizon: int
) -> None:
    last = t + horizon

    def until(rows: Rows) -> Rows:
        return [r for r in rows if r[2] + (r[3] > CUT) <= last]

    def after(rows: Rows) -> Rows:
        return [r for r in rows if r[2] + (r[3] > CUT) > last]

    closed = tuple(
        mine if mine is not None and mine <= last else their if their and their > last else None
        for mine, their in zip(story[3], other[3], strict=True)
    )
    mixed = (
        until(story[0]) + after(other[0]), until(story[1]) + after(other[1]), story[2], closed
    )  # fmt: skip
    for name, head in HEADS.items():
        a = head(outcomes(facts_of(story)), cohort(t, equity), horizon)
        b = head(outcomes(facts_of(mixed)), cohort(t, equity), horizon)
        assert same(a, b), name


@given(STORY, AS_OF, EQUITY, st.integers(1, 40), st.integers(0, 40))
@settings(max_examples=150, deadline=None)
def test_a_one_stays_a_one_over_any_longer_window_that_the_data_hold(
    story: Story, t: int, equity: list[int], horizon: int, more: int
) -> None:
    made = outcomes(facts_of(story))
    if t + horizon + more >= SESSIONS:
        return
    for head in HEADS.values():
        short, long = (head(made, cohort(t, equity), h) for h in (horizon, horizon + more))
        ones = short.label == 1
        assert (long.label[ones] == 1).all()
        assert (long.event_session[ones] == short.event_session[ones]).all()


@given(STORY, AS_OF, EQUITY, st.integers(1, 40))
@settings(max_examples=150, deadline=None)
def test_label_cause_and_session_say_the_same(
    story: Story, t: int, equity: list[int], horizon: int
) -> None:
    made = outcomes(facts_of(story))
    happened = {Cause.CALL, Cause.DEFAULT, Cause.FORCED_SALE, Cause.BORROWED}
    for name, head in HEADS.items():
        labels = head(made, cohort(t, equity), horizon)
        for label, session, cause in zip(
            labels.label, labels.event_session, labels.cause, strict=True
        ):
            assert (label == 0) == (cause == Cause.NONE)
            if label == 1:
                assert cause in happened
            if label >= 0:
                assert t < session <= t + horizon
            else:
                assert t <= session < SESSIONS
            if t + horizon >= SESSIONS:
                assert label == -1, name


@given(STORY, AS_OF, EQUITY)
@settings(max_examples=200, deadline=None)
def test_a_call_that_is_not_cured_is_a_default_by_its_deadline(
    story: Story, t: int, equity: list[int]
) -> None:
    made = outcomes(facts_of(story))
    failed = noncure(made, cohort(t, equity))
    default = default_within(made, cohort(t, equity), 7)
    for k in np.flatnonzero((failed.label == 1) & (default.label >= 0)):
        assert default.label[k] == 1
        assert default.event_session[k] <= failed.event_session[k]


@given(STORY, st.randoms(use_true_random=False))
@settings(max_examples=80, deadline=None)
def test_the_order_of_the_rows_does_not_matter(story: Story, random: Any) -> None:
    facts = facts_of(story)
    one, two = np.arange(len(facts.event_at)), np.arange(len(facts.debt_at))
    random.shuffle(one)
    random.shuffle(two)
    moved = {
        n: getattr(facts, n)[one if n.startswith("event") else two]
        for n in facts.__dataclass_fields__
        if n.startswith(("event_", "debt_", "paid_"))
    }
    a, b = outcomes(facts), outcomes(replace(facts, **moved))
    for t in range(20, SESSIONS - 20, 7):
        for head in HEADS.values():
            assert same(head(a, cohort(t, [1000] * 3), 20), head(b, cohort(t, [1000] * 3), 20))
        assert same(noncure(a, cohort(t, [1000] * 3)), noncure(b, cohort(t, [1000] * 3)))


SPELL = st.tuples(st.integers(0, 60), st.one_of(st.none(), st.integers(0, SESSIONS - 1)))


@given(st.lists(SPELL, min_size=1, max_size=5), st.integers(0, 100))
@settings(deadline=None)
def test_a_client_leaves_with_the_last_account_open(
    accounts: list[tuple[int, int | None]], t: int
) -> None:
    facts = replace(
        facts_of(EMPTY),
        account_client=np.zeros(len(accounts), dtype=np.int64),
        account_opened=np.array([a for a, _ in accounts]),
        account_closed=np.array([NEVER if b is None else b for _, b in accounts]),
    )
    made = default_within(outcomes(facts), Cohort(t, np.array([0]), np.array([1000])), 19)

    def present(s: int) -> bool:
        return any(a <= s and (b is None or s < b) for a, b in accounts)

    gone = [s for s in range(t, t + 20) if not present(s)]
    expected = (
        (Cause.NO_ACCOUNT, t)
        if not present(t)
        else (Cause.CLOSED, gone[0])
        if gone
        else (Cause.NONE, t + 19)
    )
    assert (made.cause[0], made.event_session[0]) == expected


@pytest.mark.parametrize(("second", "label"), [(0, 0), (100, 1)])
def test_a_contract_repaid_by_another_at_the_same_instant_is_no_repayment_in_full(
    second: int, label: int
) -> None:
    facts = facts_of(([(0, CALL, 30, 300, 2)], [], *EMPTY[2:]))
    debts = [(20, 100), (31, -100), (31, second)]
    facts = replace(
        facts,
        debt_account=np.zeros(3, dtype=np.int64),
        debt_at=np.array([s * DAY + 300 for s, _ in debts]),
        debt_change_amt=np.array([amount for _, amount in debts]),
        debt_rolling=np.zeros(3, dtype=bool),
    )
    assert noncure(outcomes(facts), cohort(30, [1000] * 3)).label[0] == label


def test_a_history_without_anything_is_labelled_too() -> None:
    made = outcomes(facts_of(EMPTY))
    for head in HEADS.values():
        assert head(made, cohort(30, [1000] * 3), 20).label.tolist() == [0, 0, 0]
    assert noncure(made, cohort(30, [1000] * 3)).cause.tolist() == [Cause.NOT_CALLED] * 3


@pytest.mark.parametrize("deadline", [NEVER, 10 * SESSIONS * DAY])
def test_a_call_without_a_deadline_in_the_data_is_never_judged_against_one(deadline: int) -> None:
    rows: Rows = [(0, CALL, 30, 300, 2)]
    facts = facts_of((rows, [], *EMPTY[2:]))
    made = outcomes(replace(facts, event_deadline=np.array([deadline])))
    assert noncure(made, cohort(30, [1000] * 3)).label[0] == -1
    assert default_within(made, cohort(30, [1000] * 3), 60).label[0] == 0
