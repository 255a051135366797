"""Cases over several nights, figures of people, and the lake's table of their acts."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pyarrow.parquet as pq

from data_contracts.lake import LakeInfo, create_lake, read_table
from models.review import load_review_rules
from serving.ledger import Submission
from serving.review.export import export_reviews
from serving.review.kpi import kappa_e6, review_kpis
from serving.review.night import _open_act
from tests.review.conftest import ANN, BOB, HOUR, NOW, case

DAY = 24 * HOUR
POLICY = load_review_rules(NOW.date())


def open_night(queue, number, cases, now):
    """Open cases as those of one night's bucket."""
    act = _open_act(f"night-{number}", 0, 0, cases, now, POLICY)
    return queue.desk.ledger.submit(Submission([], None, act))


def of_night(number, client, now):
    """A client's case of a night."""
    base = case(client)
    return replace(
        base,
        case_id=f"{base.case_id[:-2]}{number:02d}",
        decision_id=f"d{client:06d}-{number}",
        run_id=f"night-{number}",
        as_of=f"2024-03-{14 + number}",
        opened_at=now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        due_at=(now + 3 * DAY).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    )


def test_the_same_night_opens_nothing_twice(queue):
    cases = [of_night(1, k, NOW) for k in range(3)]
    open_night(queue, 1, cases, NOW)
    size = queue.desk.ledger.head().size
    open_night(queue, 1, cases, NOW + HOUR)
    assert queue.store.counts(ANN, NOW)["open"] == 3
    assert queue.desk.ledger.head().size == size


def test_a_case_that_waits_goes_on_as_that_of_the_next_night_with_its_age_and_due_time(queue):
    first = of_night(1, 1, NOW)
    open_night(queue, 1, [first], NOW)
    open_night(queue, 2, [of_night(2, 1, NOW + DAY)], NOW + DAY)
    [left] = queue.store.page(ANN, NOW + DAY).cases
    assert left.run_id == "night-2"
    assert (left.opened_at, left.due_at) == (first.opened_at, first.due_at)
    old = queue.store.case(first.case_id)
    assert (old.state, old.resolution) == ("closed", "superseded")


def test_a_case_that_somebody_holds_stays_and_no_second_one_is_opened(queue):
    open_night(queue, 1, [of_night(1, 1, NOW)], NOW)
    held = queue.desk.next(ANN, NOW).case
    open_night(queue, 2, [of_night(2, 1, NOW)], NOW + HOUR / 4)
    [left] = queue.store.page(ANN, NOW).cases
    assert left.case_id == held.case_id


def test_what_a_person_looked_at_is_not_asked_again_for_thirty_days(queue):
    open_night(queue, 1, [of_night(1, 1, NOW)], NOW)
    held = queue.desk.next(ANN, NOW).case
    queue.desk.confirm(held.case_id, ANN, NOW, "approve", "fine")
    open_night(queue, 2, [of_night(2, 1, NOW + DAY)], NOW + DAY)
    assert queue.store.counts(ANN, NOW)["open"] == 0
    other = replace(of_night(3, 1, NOW), triggers=(replace(held.triggers[0], rule="large_step"),))
    open_night(queue, 3, [other], NOW + 2 * DAY)
    assert queue.store.counts(ANN, NOW)["open"] == 1
    again = [replace(of_night(4, 2, NOW), as_of="2024-04-18")]
    open_night(queue, 4, again, NOW + 31 * DAY)
    assert queue.store.counts(ANN, NOW)["open"] == 2


def test_kappa_is_that_of_the_literature_and_null_where_it_is_undefined():
    table = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    assert kappa_e6(table) == 400_000
    assert kappa_e6([("a", "a"), ("b", "b")]) == 1_000_000
    assert kappa_e6([("a", "b"), ("b", "a")]) == -1_000_000
    assert kappa_e6([]) is None
    assert kappa_e6([("a", "a")] * 3) is None


def test_who_agrees_with_everything_at_a_glance_is_marked(queue):
    queue.open_many([case(k) for k in range(50)])
    for k in range(25):
        quick = queue.desk.next(ANN, NOW + k * HOUR).case
        then = NOW + k * HOUR + dt.timedelta(seconds=10)
        queue.desk.confirm(quick.case_id, ANN, then, "approve", "ok")
        slow = queue.desk.next(BOB, NOW + k * HOUR).case
        queue.desk.confirm(slow.case_id, BOB, NOW + k * HOUR + HOUR / 4, "approve", "read")
    figures = review_kpis(queue.store, ANN, NOW - HOUR, NOW + 60 * HOUR, POLICY)
    marked = {r["reviewer"]: (r["rubber_stamp"], r["median_seconds"]) for r in figures["reviewers"]}
    assert marked == {"ann": (True, 10), "bob": (False, 900)}
    assert figures["closed"] == 50
    assert sum(d["cases"] for d in figures["closed_by_day"]) == 50


def test_ages_count_every_case_that_is_not_closed_once(queue):
    opened = [0, 2, 3, 10, 11, 30, 31, 400]
    queue.open_many(
        [
            case(k, opened_at=(NOW - days * DAY - HOUR).strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
            for k, days in enumerate(opened)
        ]
    )
    figures = review_kpis(queue.store, ANN, NOW - DAY, NOW, POLICY)
    assert [(a["days"], a["cases"]) for a in figures["ages"]] == [
        ("0-2", 2), ("3-10", 2), ("11-30", 2), (">30", 2)
    ]  # fmt: skip


def test_the_acts_become_the_lakes_reviews_table_and_again_the_same_bytes(queue, tmp_path):
    root = tmp_path / "lake"
    create_lake(root, LakeInfo("USD", "XNYS", 4, "made by hand"))
    queue.open(case(1), case(2, blind=True))
    one, two = queue.desk.next(ANN, NOW).case, queue.desk.next(ANN, NOW).case
    queue.desk.confirm(one.case_id, ANN, NOW, "approve", "fine")
    queue.desk.view(two.case_id, ANN, NOW, "decline", None, "thin")
    queue.desk.escalate(two.case_id, ANN, NOW + HOUR / 4, "beyond me", "decline")
    assert export_reviews(root, queue.store) == 3
    rows = sorted(read_table(root, "reviews").to_pylist(), key=lambda r: r["kind"])
    assert [(r["kind"], r["reviewer"], r["side"], r["after"]) for r in rows] == [
        ("confirm", "ann", None, "approve"),
        ("escalate", "ann", None, "decline"),
        ("view", "ann", None, "decline"),
    ]
    files = sorted((root / "reviews").glob("*/*.parquet"))
    before = [p.read_bytes() for p in files]
    export_reviews(root, queue.store)
    assert [p.read_bytes() for p in files] == before
    assert sum(pq.read_metadata(p).num_rows for p in files) == 3
