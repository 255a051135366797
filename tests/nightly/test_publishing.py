"""Publishing: whole or not at all, held for two people, blocked for everybody, and back in one."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest

from data_contracts.errors import InputError
from serving.ledger import Ledger, LedgerReader, is_url
from serving.nightly.publishing import tables
from serving.nightly.publishing.flow import AUTHOR, catch_up, publish_run, rollback
from serving.nightly.publishing.history import PUBLISHED_KIND, history, replay
from serving.nightly.record import recorded
from serving.publish import CaseStore, current_run
from tests.models.builders import SESSION
from tests.nightly.conftest import BROKEN, SHIFTED
from tests.service.lake import checked

KILLED = """
import os, signal, sys
from pathlib import Path
from serving.nightly.publishing import flow, tables

def die(*a, **k):
    os.kill(os.getpid(), signal.SIGKILL)

def after(real):
    def run(*a, **k):
        real(*a, **k)
        die()
    return run

WHERE
flow.publish_run(Path(sys.argv[1]), sys.argv[2], "night-2")
"""
STEPS = {
    "before the files": ("flow.write_night = die", "night-1"),
    "after the files": ("flow.write_night = after(flow.write_night)", "night-1"),
    "after the rows are staged": ("tables.stage = after(tables.stage)", "night-1"),
    "before the entry": ("flow._record = die", "night-1"),
    "after the entry": ("flow._record = after(flow._record)", "night-2"),
    "after the tables have switched": ("tables.switch = after(tables.switch)", "night-2"),
    "after the files have switched": ("flow.set_current = after(flow.set_current)", "night-2"),
}
"""Where a publication is killed, and which night is in force once anybody has looked again."""


def entries(where, kind):
    with LedgerReader(where) as reader:
        return [e.body for e in reader.latest(f"kind/{kind}", 100)][::-1]


def shown(root, where):
    """The run that each reader sees: the service's files, and the tables where there are any."""
    seen = {current_run(root)}
    if is_url(where):
        with psycopg.connect(where) as connection:
            sql = "SELECT DISTINCT run_id FROM gearline_online.published"
            seen |= {name for (name,) in connection.execute(sql).fetchall()}
    return seen


def rows_of(root, run_id):
    table = pq.read_table(root / f"runs/{run_id}/bucket=000/decisions.parquet", partitioning=None)
    names = ("client_id", "max_debt_amt", "rate_bps", "tier")
    return sorted(zip(*(table[n].to_pylist() for n in names), strict=True))


def approve(where, made, people=("ann", "bob"), **changes):
    """What the service leaves once these people approved the proposal of a held night."""
    body = {
        "run_id": made.run.run_id,
        "run_sha256": made.run.sha256,
        "verdict_sha256": made.verdict_sha256,
        "approvals": list(people),
        "proposal_id": made.proposal_id,
        "content_sha256": "0" * 64,
    }
    with Ledger.open(where) as ledger:
        ledger.append([{"kind": "publication_approved", "body": {**body, **changes}}])


def test_every_reader_sees_the_published_rows_and_the_ledger_says_who_and_under_which_verdict(
    place,
):
    root, where = place
    made = publish_run(root, where, "night-1", actor="ann")
    assert (made.state, made.verdict.verdict, made.replaces) == ("published", "pass", None)
    assert shown(root, where) == {"night-1"}
    [entry] = entries(where, PUBLISHED_KIND)
    assert (entry["act"], entry["run_id"], entry["actor"]) == ("publish", "night-1", "ann")
    assert entry["verdict_sha256"] == made.verdict_sha256
    with CaseStore(root / "online/night-1/cases.sqlite") as cases:
        for client, amount, _, _ in rows_of(root, "night-1"):
            assert cases.read(client).max_debt_amt == str(amount)
    if is_url(where):
        sql = "SELECT client_id, max_debt_amt, rate_bps, tier FROM gearline_online.published"
        with psycopg.connect(where) as connection:
            found = connection.execute(sql + " ORDER BY client_id").fetchall()
        assert found == rows_of(root, "night-1")


def test_publishing_the_night_in_force_again_changes_nothing(place):
    root, where = place
    publish_run(root, where, "night-1")
    with LedgerReader(where) as reader:
        size = reader.size()
    assert publish_run(root, where, "night-1").state == "unchanged"
    with LedgerReader(where) as reader:
        assert reader.size() == size


def test_a_first_night_is_compared_with_nothing_and_says_so(place):
    root, where = place
    verdict = publish_run(root, where, "night-1").verdict
    compared = {"price_jump_ratio", "cap_mean_change_ratio", "tier_psi_ratio", "vanished_ratio"}
    assert compared <= set(verdict.untested)
    assert "calibration_ratio" in publish_run(root, where, "night-2").verdict.untested


def test_one_command_returns_to_the_last_published_night_and_again_to_the_one_before(place, night):
    root, where = place
    night(root, where, "night-3", {})
    for run_id in ("night-1", "night-2", "night-3"):
        assert publish_run(root, where, run_id).state == "published"
    assert rollback(root, where, actor="ann", reason="wrong").run.run_id == "night-2"
    assert shown(root, where) == {"night-2"}
    assert rollback(root, where, actor="ann", reason="wrong").run.run_id == "night-1"
    with pytest.raises(InputError, match="nothing to return to"):
        rollback(root, where, actor="ann", reason="wrong")
    acts = [(e["act"], e["run_id"]) for e in entries(where, PUBLISHED_KIND)]
    assert acts[3:] == [("rollback", "night-2"), ("rollback", "night-1")]


def test_a_night_that_was_rolled_back_needs_two_people(place):
    root, where = place
    publish_run(root, where, "night-1")
    publish_run(root, where, "night-2")
    rollback(root, where, actor="ann", reason="wrong")
    made = publish_run(root, where, "night-2")
    assert made.state == "held"
    assert [r.rule.name for r in made.verdict.against] == ["rolled_back"]


def test_a_rollback_finds_a_night_whose_files_were_cleared_away(place):
    root, where = place
    publish_run(root, where, "night-1")
    publish_run(root, where, "night-2")
    for file in (root / "online/night-1").iterdir():
        file.unlink()
    rollback(root, where, actor="ann", reason="wrong")
    with CaseStore(root / "online/night-1/cases.sqlite") as cases:
        assert cases.read("c00") is not None


def test_a_blocked_night_is_published_by_nobody_even_with_approvals(place, night):
    root, where = place
    publish_run(root, where, "night-1")
    night(root, where, "night-3", BROKEN)
    made = publish_run(root, where, "night-3")
    assert made.state == "blocked"
    assert entries(where, "proposal") == []
    approve(where, made)
    assert publish_run(root, where, "night-3").state == "blocked"
    assert shown(root, where) == {"night-1"}
    assert entries(where, "gate_judged")[-1]["verdict"] == "block"


def last_run(where):
    """The run that the steps of a night three days later refer to."""
    found = recorded(where, "next", SESSION + dt.timedelta(days=3)).last
    assert found is not None
    return found["run_id"]


def test_the_next_nights_steps_refer_to_what_was_published_not_to_a_blocked_night(place, night):
    root, where = place
    assert last_run(where) == "night-2"
    publish_run(root, where, "night-1")
    night(root, where, "night-3", BROKEN)
    assert publish_run(root, where, "night-3").state == "blocked"
    assert last_run(where) == "night-1"


def held(root, where, night):
    publish_run(root, where, "night-1")
    night(root, where, "night-3", SHIFTED)
    made = publish_run(root, where, "night-3")
    assert made.state == "held", made.verdict.why()
    return made


def test_a_held_night_opens_one_proposal_and_is_published_once_two_people_approved(place, night):
    root, where = place
    made = held(root, where, night)
    assert publish_run(root, where, "night-3").proposal_id == made.proposal_id
    [proposal] = entries(where, "proposal")
    assert (proposal["author"], proposal["quorum"], proposal["state"]) == (AUTHOR, 2, "open")
    assert proposal["content"] == {
        "run_id": "night-3",
        "run_sha256": made.run.sha256,
        "verdict_sha256": made.verdict_sha256,
    }
    assert shown(root, where) == {"night-1"}
    approve(where, made)
    assert publish_run(root, where, "night-3").state == "published"
    assert shown(root, where) == {"night-3"}
    assert entries(where, PUBLISHED_KIND)[-1]["proposal_id"] == made.proposal_id


@pytest.mark.parametrize(
    "changes",
    [
        {"run_sha256": "1" * 64},
        {"verdict_sha256": "1" * 64},
        {"approvals": ["ann"]},
        {"approvals": ["ann", "ann"]},
    ],
    ids=lambda c: next(iter(c)),
)
def test_an_approval_of_something_else_or_of_too_few_publishes_nothing(place, night, changes):
    root, where = place
    made = held(root, where, night)
    approve(where, made, **changes)
    assert publish_run(root, where, "night-3").state == "held"
    assert shown(root, where) == {"night-1"}


def test_a_verdict_that_changed_since_the_approval_is_approved_again(place, night):
    root, where = place
    made = held(root, where, night)
    approve(where, made)
    checked(root, quarantined=2)
    again = publish_run(root, where, "night-3")
    assert again.state == "held"
    assert again.verdict_sha256 != made.verdict_sha256


def test_a_dry_run_judges_and_writes_nothing(place):
    root, where = place
    publish_run(root, where, "night-1")
    before = sorted(p for p in root.rglob("*") if "ledger" not in p.name)
    with LedgerReader(where) as reader:
        size = reader.size()
    made = publish_run(root, where, "night-2", dry_run=True)
    assert (made.state, made.verdict.verdict) == ("judged", "pass")
    assert sorted(p for p in root.rglob("*") if "ledger" not in p.name) == before
    with LedgerReader(where) as reader:
        assert reader.size() == size


def test_a_segment_that_is_not_the_sealed_one_is_never_published(place):
    root, where = place
    path = root / "runs/night-2/bucket=000/decisions.parquet"
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.slice(0, table.num_rows - 1), path)
    with pytest.raises(InputError, match="no longer the sealed one"):
        publish_run(root, where, "night-2")


def test_a_lake_whose_data_were_never_checked_is_held(place):
    root, where = place
    (root / "quarantine/check.json").unlink()
    made = publish_run(root, where, "night-1")
    assert made.state == "held"
    assert "run `gearline data check" in made.verdict.why()


# --- killed, and read meanwhile -------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_readers_see_a_whole_night_and_the_next_look_ends_it(place, step):
    root, where = place
    publish_run(root, where, "night-1")
    patch, expected = STEPS[step]
    if step == "after the tables have switched" and not is_url(where):
        pytest.skip("beside a ledger in a file there are no tables to switch")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.replace("WHERE", patch), str(root), str(where)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    for seen in shown(root, where):
        assert seen in ("night-1", "night-2")
    assert catch_up(root, where) == expected
    assert shown(root, where) == {expected}
    assert publish_run(root, where, "night-2").run.run_id == "night-2"
    assert shown(root, where) == {"night-2"}
    acts = [e["run_id"] for e in entries(where, PUBLISHED_KIND)]
    assert acts == ["night-1", "night-2"]


def test_readers_at_the_same_time_see_the_old_night_or_the_new_never_a_mix(place, night):
    root, where = place
    night(root, where, "night-3", SHIFTED)
    publish_run(root, where, "night-1")
    made = publish_run(root, where, "night-3")
    approve(where, made)
    whole = {run_id: rows_of(root, run_id) for run_id in ("night-1", "night-3")}
    assert whole["night-1"] != whole["night-3"]
    stop, seen = threading.Event(), set()
    wrong: list[object] = []

    def read_files():
        while not stop.is_set():
            run_id = str(current_run(root))
            with CaseStore(root / "online" / run_id / "cases.sqlite") as cases:
                found = [cases.read(c).max_debt_amt for c, *_ in whole[run_id]]
            if found != [str(amount) for _, amount, *_ in whole[run_id]]:
                wrong.append(run_id)
            seen.add(run_id)

    def read_tables():
        sql = """SELECT client_id, max_debt_amt, rate_bps, tier FROM gearline_online.published
                 ORDER BY client_id"""
        with psycopg.connect(where, autocommit=True) as connection:
            while not stop.is_set():
                found = connection.execute(sql).fetchall()
                if found not in (whole["night-1"], whole["night-3"]):
                    wrong.append(found)

    readers = [threading.Thread(target=read_files) for _ in range(2)]
    if is_url(where):
        readers += [threading.Thread(target=read_tables) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        assert publish_run(root, where, "night-3").state == "published"
        rollback(root, where, actor="ann", reason="to and fro")
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not wrong
    assert seen <= set(whole)


def test_an_older_publication_never_replaces_a_newer_one_in_the_tables(server, tmp_path):
    from tests.postgresql import new_database
    from tests.service.lake import make_lake

    where, root = new_database(server), tmp_path / "lake"
    make_lake(root, where, nights=("night-1", "night-2"))
    publish_run(root, where, "night-1")
    publish_run(root, where, "night-2")
    tables.switch(where, "night-1", 0, ("night-1", "night-2"))
    assert tables.in_force(where) == "night-2"


def test_the_stack_of_publications_is_what_the_acts_leave():
    acts = [("publish", "a"), ("publish", "b"), ("publish", "c"), ("rollback", "b")]
    assert replay(acts) == (("a", "b"), frozenset({"c"}))
    assert replay([*acts, ("publish", "c")]) == (("a", "b", "c"), frozenset())
    assert replay([*acts, ("rollback", "a")]) == (("a",), frozenset({"b", "c"}))


def test_an_unfinished_run_is_not_published(place):
    root, where = place
    with Ledger.open(where) as ledger:
        ledger.append([{"kind": "run_started", "body": {"run_id": "half"}}])
    with pytest.raises(InputError, match="begun and not finished"):
        publish_run(root, where, "half")
    with pytest.raises(InputError, match="there is no run 'none'"):
        publish_run(root, where, "none")


def test_the_history_is_read_from_the_ledger_alone(place):
    root, where = place
    publish_run(root, where, "night-1")
    for file in Path(root / "online").glob("current.json"):
        file.unlink()
    with LedgerReader(where) as reader:
        assert history(reader).current == "night-1"
    assert catch_up(root, where) == current_run(root) == "night-1"
