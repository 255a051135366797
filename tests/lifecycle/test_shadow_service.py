"""A model beside the champion decides after the service has answered, and nobody can tell."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_contracts.decision import body_sha256
from serving.ledger import Ledger, Location, read_entries
from serving.lineup import keep_bundle
from serving.service.answers import DECISION_KIND
from serving.service.metrics import Metrics
from serving.service.shadow import STORE_FILE, Beside, ShadowDesk
from tests.models.builders import BUNDLE
from tests.service.conftest import PATIENCE_S, running
from tests.service.lake import make_lake

OTHER = replace(BUNDLE, tier_edges=BUNDLE.tier_edges // 2)
"""The champion's features and scores, graded otherwise."""
OWN_NUMBERS = ("decision_id", "decided_at", "entry", "decision_sha256", "hashes")
"""What differs between two answers to one question in any case."""


def awaited(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it to its end in a thread of its own: the browser's tests leave a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


def place(where: Location, bundle: Any, role: str = "shadow") -> None:
    body = {"bundle": bundle.sha256, "review_on": "2025-03-18", "role": role, "purpose": "clients"}
    with Ledger.open(where) as record:
        record.append([{"kind": "model_placed", "body": body}])


@pytest.fixture
def lakes(tmp_path):
    """Twice the same lake: one with a model beside the champion, one without."""
    found = []
    for name in ("beside", "alone"):
        root = tmp_path / name
        where = make_lake(root)
        if name == "beside":
            keep_bundle(root, OTHER)
            place(where, OTHER)
        found.append((root, where))
    return found


def kept(root: Path, wanted: int) -> list[tuple[Any, ...]]:
    """The results, once there are so many."""
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit:
        # the file, and then its table, come with the first result
        with suppress(sqlite3.OperationalError):
            with sqlite3.connect(f"file:{root / STORE_FILE}?mode=ro", uri=True) as con:
                rows = con.execute("SELECT * FROM decisions ORDER BY decision_id").fetchall()
            if len(rows) >= wanted:
                return rows
        time.sleep(0.02)
    raise AssertionError("no result was kept")


def metric(service: Any, result: str) -> float:
    line = f'gearline_shadow_decisions_total{{result="{result}"}} '
    text = service.client.get("/metrics").text
    [found] = [row for row in text.splitlines() if row.startswith(line)]
    return float(found.removeprefix(line))


def test_answers_and_entries_are_the_same_with_and_without_a_model_beside_the_champion(lakes):
    answers: list[list[dict[str, Any]]] = []
    bodies: list[list[dict[str, Any]]] = []
    for root, where in lakes:
        with running(root, where) as service:
            got = [service.decide(c, "1000.00") for c in ("c00", "c01", "pep")]
            assert {g.status_code for g in got} == {201}
            answers.append([g.json() for g in got])
            if root.name == "beside":
                rows = kept(root, 3)
                assert metric(service, "scored") == 3
                assert metric(service, "dropped") == 0
        bodies.append([dict(e.body) for e in read_entries(where) if e.kind == DECISION_KIND])
    for mine, plain in zip(*answers, strict=True):
        assert mine.keys() == plain.keys()
        assert {k: v for k, v in mine.items() if k not in OWN_NUMBERS} == {
            k: v for k, v in plain.items() if k not in OWN_NUMBERS
        }
    for mine, plain in zip(*bodies, strict=True):
        assert mine.keys() == plain.keys()
        assert OTHER.sha256 not in json.dumps(mine)

    # kept apart: the same decisions under the other bundle, each with its hash
    assert [r[0] for r in rows] == sorted(b["decision_id"] for b in bodies[0])
    for _, bundle, role, champion, night, _, data, sha256 in rows:
        assert (bundle, role, champion, night) == (OTHER.sha256, "shadow", BUNDLE.sha256, "night-1")
        decision = json.loads(data)
        assert decision["hashes"]["bundle"] == OTHER.sha256
        assert body_sha256(decision).hex() == sha256
    assert not (lakes[1][0] / STORE_FILE).exists()


def test_a_repeated_request_and_a_simulation_are_not_decided_on_again(lakes):
    root, where = lakes[0]
    with running(root, where) as service:
        for _ in range(2):
            assert service.decide("c00", "1000.00", key="same").status_code == 201
        body = {"client_id": "c01", "currency": "USD"}
        assert service.call("POST", "/v1/simulations", json=body).status_code == 200
        service.decide("c02", "5.00")
        kept(root, 2)
        assert metric(service, "scored") == 2


def test_a_full_queue_lets_decisions_go_and_counts_them_and_the_caller_never_waits(lakes):
    root, _ = lakes[0]
    metrics = Metrics()
    desk = ShadowDesk(root, metrics, longest=2)
    desk._models = (Beside("shadow", OTHER),)
    began = time.monotonic()
    for _ in range(50):
        awaited(desk.offer({}, None))  # type: ignore[arg-type]
    assert time.monotonic() - began < PATIENCE_S
    assert metrics.shadow.labels("dropped")._value.get() == 48


def test_a_fault_beside_the_champion_is_counted_and_changes_no_answer(lakes, monkeypatch):
    root, where = lakes[0]

    def broken(*how: object) -> None:
        raise ArithmeticError("a fault of the challenger's")

    monkeypatch.setattr("serving.service.shadow.decide_columns", broken)
    with running(root, where) as service:
        assert service.decide("c00", "1000.00").status_code == 201
        limit = time.monotonic() + PATIENCE_S
        while metric(service, "failed") < 1 and time.monotonic() < limit:
            time.sleep(0.02)
        assert metric(service, "failed") == 1
        assert service.decide("c01", "1000.00").status_code == 201


def test_a_model_that_was_approved_while_the_service_runs_joins_without_a_restart(lakes):
    root, where = lakes[1]
    with running(root, where) as service:
        service.decide("c00", "1000.00")
        keep_bundle(root, OTHER)
        place(where, OTHER, "challenger")
        awaited(service.app.state.service.refresh())
        service.decide("c01", "1000.00")
        [row] = kept(root, 1)
        assert row[2] == "challenger"
