"""Every test of the queue runs on both databases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from models.review import Trigger
from serving.ledger import Ledger, Location, Submission
from serving.review import ReviewCase, ReviewDesk, Reviewer, ReviewStore, instant, open_with
from serving.review.case import case_id_of
from serving.review.rows import insert_cases
from tests.postgresql import new_database

NOW = dt.datetime(2024, 3, 18, 15, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
WHY = Trigger("near_boundary", "ratio", 5_000, 10_000, 4, 72, "staff")


def case(number: int, **changes: Any) -> ReviewCase:
    """A case of client ``cNN``, due an hour later than the one before it."""
    client, decision = f"c{number:06d}", f"d{number:06d}"
    kind = changes.get("kind", "decision")
    return ReviewCase(
        **{
            "case_id": case_id_of(kind, decision, client),
            "kind": kind,
            "decision_id": decision,
            "client_id": client,
            "related_group_id": None,
            "source": "night",
            "run_id": "night-1",
            "bucket": 0,
            "row": number,
            "currency": "USD",
            "outcome": "approve",
            "tier": "3",
            "exposure_amt": 1_000_00,
            "max_debt_amt": 1_000_00,
            "triggers": (WHY,),
            "priority": WHY.priority,
            "audience": "staff",
            "blind": False,
            "opened_at": instant(NOW),
            "due_at": instant(NOW + number * HOUR),
            "as_of": "2024-03-15",
            **changes,
        }
    )


def person(name: str, **changes: Any) -> Reviewer:
    return replace(Reviewer(name, authority={"USD": 10_000_00}), **changes)


ANN, BOB = person("ann"), person("bob")


@dataclass
class Queue:
    where: Location
    desk: ReviewDesk
    store: ReviewStore

    def open(self, *cases: ReviewCase) -> None:
        for one in cases:
            self.desk.ledger.submit(Submission([], None, open_with(one, NOW)))

    def open_many(self, cases: list[ReviewCase]) -> None:
        def act(database: Any, position: int) -> list[Any]:
            insert_cases(database, cases)
            return [
                __import__("serving.ledger.envelope", fromlist=["prepare"]).prepare(
                    {"kind": "note", "body": {"opened": len(cases)}}
                )
            ]

        self.desk.ledger.submit(Submission([], None, act))


@pytest.fixture(params=["sqlite", "postgresql"])
def make_where(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Location]:
    def make() -> Location:
        if request.param == "postgresql":
            return new_database(request.getfixturevalue("server"))
        return tmp_path / "ledger.sqlite"

    return make


@pytest.fixture
def queue(make_where: Callable[[], Location]) -> Iterator[Queue]:
    """An empty queue on each database."""
    where = make_where()
    ledger = Ledger.open(where, create=True)
    store = ReviewStore(where)
    yield Queue(where, ReviewDesk(ledger, store), store)
    store.close()
    ledger.close()
