"""The queue: who gets what, for how long, and what may be done with it."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from data_contracts.errors import InputError
from serving.ledger import Ledger, verify
from serving.review import (
    CaseFilter,
    QueueEmptyError,
    ReviewDesk,
    ReviewRefusedError,
    ReviewStateError,
)
from tests.review.conftest import ANN, BOB, HOUR, NOW, case, person

LEASE = HOUR / 2


def test_the_case_that_is_due_first_comes_first_and_priority_breaks_ties(queue):
    queue.open(case(3), case(1), case(2, due_at=case(1).due_at, priority=1))
    got = [queue.desk.next(ANN, NOW).case.decision_id for _ in range(3)]
    assert got == ["d000002", "d000001", "d000003"]
    with pytest.raises(QueueEmptyError, match="nothing waits"):
        queue.desk.next(BOB, NOW)


def test_two_reviewers_at_once_never_get_the_same_case_in_two_hundred_rounds(queue):
    """Two processes' worth of connections press together; every case is handed out once."""
    rounds = 200
    queue.open_many([case(k) for k in range(2 * rounds)])
    second = Ledger.open(queue.where)
    desks = [(queue.desk, ANN), (ReviewDesk(second, queue.store), BOB)]
    gate = threading.Barrier(2)
    got: dict[str, list[str]] = {"ann": [], "bob": []}
    failed = []

    def press(desk, who):
        try:
            for _ in range(rounds):
                gate.wait(30)
                taken = desk.next(who, NOW).case
                got[who.subject].append(taken.case_id)
                desk.confirm(taken.case_id, who, NOW, "approve", "agreed")
        except BaseException as error:
            failed.append(error)
            gate.abort()

    threads = [threading.Thread(target=press, args=pair) for pair in desks]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    second.close()
    assert not failed
    everything = got["ann"] + got["bob"]
    assert len(everything) == len(set(everything)) == 2 * rounds
    assert verify(queue.where).ok


def test_a_lease_keeps_others_away_until_it_runs_out_and_can_be_renewed(queue):
    queue.open(case(1))
    mine = queue.desk.next(ANN, NOW).case
    with pytest.raises(ReviewStateError, match="somebody else holds"):
        queue.desk.take(mine.case_id, BOB, NOW)
    renewed = queue.desk.take(mine.case_id, ANN, NOW + LEASE / 2)
    assert renewed.act == "renewed"
    with pytest.raises(QueueEmptyError):
        queue.desk.next(BOB, NOW + LEASE)
    later = NOW + LEASE * 3 / 2
    assert queue.desk.next(BOB, later).case.case_id == mine.case_id
    with pytest.raises(ReviewStateError, match="lease ran out"):
        queue.desk.confirm(mine.case_id, ANN, later, "approve", "too late")


def test_a_released_case_is_free_and_nobody_holds_more_than_ten(queue):
    queue.open(*[case(k) for k in range(11)])
    held = [queue.desk.next(ANN, NOW).case for _ in range(10)]
    with pytest.raises(ReviewStateError, match="more than 10 cases"):
        queue.desk.next(ANN, NOW)
    queue.desk.release(held[0].case_id, ANN, NOW)
    assert queue.desk.next(BOB, NOW).case.case_id == held[0].case_id


@pytest.mark.parametrize(
    ("opened", "who", "why"),
    [
        (case(1), person("ann", related_clients=frozenset({"c000001"})), "related to"),
        (
            case(1, related_group_id="g1"),
            person("ann", related_groups=frozenset({"g1"})),
            "related to",
        ),
        (case(1, level=1), ANN, "is at level 1"),
        (case(1, exposure_amt=10_000_01), ANN, "above your authority"),
        (case(1, currency="CNY"), ANN, "above your authority"),
        (case(1, audience="compliance"), ANN, "there is no case"),
    ],
)
def test_a_case_is_neither_offered_nor_given_to_who_may_not_have_it(queue, opened, who, why):
    queue.open(opened)
    with pytest.raises(QueueEmptyError):
        queue.desk.next(who, NOW)
    with pytest.raises(InputError, match=why):
        queue.desk.take(opened.case_id, who, NOW)
    able = person("zoe", reader="compliance", level=2, authority={"USD": 10**9, "CNY": 10**9})
    assert queue.desk.next(able, NOW).case.case_id == opened.case_id


def test_a_reader_of_staff_sees_nothing_of_a_case_for_compliance(queue):
    hidden = case(1, audience="compliance")
    queue.open(hidden, case(2))
    risk = replace(BOB, reader="compliance")
    assert [c.decision_id for c in queue.store.page(ANN, NOW).cases] == ["d000002"]
    assert len(queue.store.page(risk, NOW).cases) == 2
    assert queue.store.case(hidden.case_id, ANN) is None
    assert queue.store.counts(ANN, NOW)["open"] == 1
    assert queue.store.cases_of_client(hidden.client_id, ANN) == []
    with pytest.raises(ReviewStateError, match="there is no case"):
        queue.desk.note(hidden.case_id, ANN, NOW, "?")


def test_a_sleeping_case_is_not_handed_out_and_its_due_time_stays(queue):
    queue.open(case(1))
    mine = queue.desk.next(ANN, NOW).case
    until = NOW + 2 * HOUR
    slept = queue.desk.snooze(mine.case_id, ANN, NOW, until, "waits for documents").case
    assert (slept.due_at, slept.holder) == (mine.due_at, None)
    with pytest.raises(QueueEmptyError):
        queue.desk.next(BOB, until - HOUR / 2)
    woken = queue.desk.next(BOB, until).case
    assert woken.late(until)
    with pytest.raises(ReviewStateError, match="at most 30 days"):
        queue.desk.snooze(mine.case_id, BOB, until, until + 24 * 31 * HOUR, "for ever")


def test_an_escalated_case_goes_to_the_next_level_with_what_was_recommended(queue):
    queue.open(case(1))
    mine = queue.desk.next(ANN, NOW).case
    up = queue.desk.escalate(mine.case_id, ANN, NOW, "beyond me", "decline")
    assert (up.case.level, up.case.holder) == (1, None)
    with pytest.raises(QueueEmptyError):
        queue.desk.next(BOB, NOW)
    senior = person("sue", level=1)
    assert queue.desk.next(senior, NOW).case.case_id == mine.case_id
    act = queue.store.timeline(mine.case_id)[2]
    assert (act.act, act.actor, act.detail["recommended_outcome"]) == (
        "escalated",
        "ann",
        "decline",
    )


def test_a_case_above_ones_authority_can_be_handed_up_without_holding_it(queue):
    queue.open(case(1, exposure_amt=20_000_00))
    [large] = queue.store.page(ANN, NOW).cases
    assert queue.desk.escalate(large.case_id, ANN, NOW, "too large for me").case.level == 1


def test_a_confirmation_agrees_with_the_decision_and_closes_the_case(queue):
    queue.open(case(1), case(2, outcome="refer"))
    one, two = queue.desk.next(ANN, NOW).case, queue.desk.next(ANN, NOW).case
    with pytest.raises(ReviewStateError, match="to confirm is to agree"):
        queue.desk.confirm(one.case_id, ANN, NOW, "decline", "no")
    closed = queue.desk.confirm(one.case_id, ANN, NOW, "approve", "as it is").case
    assert (closed.state, closed.resolution, closed.closed_by) == ("closed", "confirmed", "ann")
    with pytest.raises(ReviewStateError, match="approve or decline"):
        queue.desk.confirm(two.case_id, ANN, NOW, "refer", "again")
    assert (
        queue.desk.confirm(two.case_id, ANN, NOW, "decline", "no").case.final_outcome == "decline"
    )
    with pytest.raises(ReviewStateError, match="is closed"):
        queue.desk.confirm(one.case_id, ANN, NOW, "approve", "twice")


def test_a_blind_case_is_decided_after_ones_own_view_is_on_record_and_once_only(queue):
    queue.open(case(1, blind=True))
    mine = queue.desk.next(ANN, NOW).case
    with pytest.raises(ReviewStateError, match="record your own view first"):
        queue.desk.confirm(mine.case_id, ANN, NOW, "approve", "fine")
    queue.desk.view(mine.case_id, ANN, NOW, "decline", None, "looks thin")
    with pytest.raises(ReviewStateError, match="it stays as it was"):
        queue.desk.view(mine.case_id, ANN, NOW, "approve", None, "changed my mind")
    assert queue.store.has_view(mine.case_id, "ann")
    assert queue.desk.confirm(mine.case_id, ANN, NOW, "approve", "fine").case.state == "closed"


def test_an_appeal_goes_to_another_reviewer_than_the_one_who_decided(queue):
    queue.open(case(1))
    mine = queue.desk.next(ANN, NOW).case
    queue.desk.confirm(mine.case_id, ANN, NOW, "approve", "fine")
    opened = queue.desk.appeal("d000001", "front-desk", NOW, "the client disagrees").case
    assert (opened.kind, opened.appeal_of, opened.main_rule) == ("appeal", mine.case_id, "appeal")
    with pytest.raises(QueueEmptyError):
        queue.desk.next(ANN, NOW)
    with pytest.raises(ReviewRefusedError, match="an appeal goes to another person"):
        queue.desk.take(opened.case_id, ANN, NOW)
    assert queue.desk.next(BOB, NOW).case.case_id == opened.case_id
    with pytest.raises(ReviewStateError, match="one appeal stands"):
        queue.desk.appeal("d000001", "front-desk", NOW, "again")
    with pytest.raises(ReviewStateError, match="there is no decision"):
        queue.desk.appeal("d999999", "front-desk", NOW, "what?")


def test_every_act_is_an_entry_with_the_case_as_it_was_after_it(queue):
    queue.open(case(1))
    mine = queue.desk.next(ANN, NOW).case
    queue.desk.note(mine.case_id, BOB, NOW, "seen before")
    last = queue.desk.confirm(mine.case_id, ANN, NOW, "approve", "fine")
    entries = queue.store.latest(f"case_id/{mine.case_id}", 10)
    assert [e.body["act"] for e in reversed(entries)] == ["opened", "taken", "noted", "confirmed"]
    assert entries[0].body["case"] == queue.store.case(mine.case_id).to_json()
    acts = queue.store.timeline(mine.case_id)
    assert [a.position for a in acts] == sorted(e.position for e in entries)
    assert last.position == entries[0].position
    assert verify(queue.where).ok


def test_a_refused_act_leaves_no_entry_and_changes_nothing(queue):
    queue.open(case(1))
    mine = queue.desk.next(ANN, NOW).case
    size = queue.desk.ledger.head().size
    with pytest.raises(ReviewStateError):
        queue.desk.confirm(mine.case_id, BOB, NOW, "approve", "not mine")
    assert queue.desk.ledger.head().size == size
    assert queue.store.case(mine.case_id) == mine


def test_pages_go_on_by_key_and_filters_hold(queue):
    queue.open_many([case(k, level=k % 2, audience="staff") for k in range(25)])
    seen, cursor = [], None
    while True:
        page = queue.store.page(ANN, NOW, limit=7, cursor=cursor)
        seen += [c.decision_id for c in page.cases]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"d{k:06d}" for k in range(25)]
    assert len(queue.store.page(ANN, NOW, CaseFilter(level=1)).cases) == 12
    late = queue.store.page(ANN, NOW + 3 * HOUR, CaseFilter(late=True)).cases
    assert [c.decision_id for c in late] == ["d000000", "d000001", "d000002"]
    mine = queue.desk.next(ANN, NOW).case
    held = queue.store.page(ANN, NOW, CaseFilter(held_by="ann")).cases
    assert [c.case_id for c in held] == [mine.case_id]
    with pytest.raises(InputError, match="none of ours"):
        queue.store.page(ANN, NOW, cursor="nonsense")


def test_nobody_sets_their_own_authority_and_what_is_set_counts(queue):
    roles = {"reviewer"}
    assert queue.desk.person("ann", roles, NOW).authority["USD"] == 750_000_00
    small = person("ann", authority={"USD": 5_00}, related_clients=frozenset({"c000001"}))
    with pytest.raises(ReviewRefusedError, match="their own authority"):
        queue.desk.set_reviewer(small, "ann", NOW)
    queue.desk.set_reviewer(small, "root", NOW)
    queue.desk.set_reviewer(small, "root", NOW)
    assert queue.desk.person("ann", roles, NOW) == small
    assert queue.desk.person("ann", {"risk"}, NOW).reader == "compliance"
    [entry] = queue.store.latest("kind/reviewer_set")
    assert entry.body["actor"] == "root"
