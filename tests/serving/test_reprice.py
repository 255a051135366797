"""A night is decided once, goes on where it was killed, and follows on the one before."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import gearline
from tests.serving.folders import files_in, refused

pytestmark = pytest.mark.usefixtures("clients_loaded_once")

BUCKETS = 4
DRIVER = """
import os, signal, sys
import gearline
from data_contracts.snapshot import MarketSnapshot
from serving.ledger import Ledger
from serving.nightly.store import Store

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def around(owner, name, before=None, after=None):
    real = getattr(owner, name)
    def patched(*a, **k):
        if before and before(*a, **k):
            die()
        result = real(*a, **k)
        if after and after(*a, **k):
            die()
        return result
    setattr(owner, name, patched)

WHERE
sys.exit(gearline.main(sys.argv[1:]))
"""
KILLS = {
    "when the night has begun": "around(MarketSnapshot, 'write', before=lambda *a: True)",
    "before the second bucket's seal": (
        "around(Store, 'put', after=lambda s, file, *a, **k: 'bucket=001/decisions' in file)"
    ),
    "before the night is finished": (
        "around(Ledger, 'seal_segment', after=lambda *a, **k: k['bucket'] == 3)"
    ),
}


def reprice(cli, lake, day, *more):
    ran = cli("reprice", lake, "--as-of", day, "--json", *more)
    assert ran.code == 0, ran.err
    return ran.document


def said(document):
    """What a night printed, without what it cost."""
    spent = ("cpu_seconds_by_stage", "peak_rss_mb")
    return {k: v for k, v in document.items() if k not in spent}


def decided_in(folder):
    """Files of decisions and markets, without what a first pass leaves until its night is over."""
    return {p: d for p, d in files_in(folder).items() if "/first/" not in p}


def entries(cli, lake):
    return cli("ledger", "export", "--lake", lake, "--json").document["entries"]


def rows(pattern, columns="*", where="true"):
    """Rows of Parquet files as dictionaries."""
    sql = (
        f"SELECT {columns} FROM read_parquet(?, hive_partitioning = false) WHERE {where}"
        " ORDER BY client_id"
    )
    found = duckdb.connect().execute(sql, [str(pattern)])
    names = [d[0] for d in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def session_days(lake):
    sql = "SELECT session FROM read_parquet(?)"
    found = duckdb.connect().execute(sql, [f"{lake}/sessions/*.parquet"]).fetchall()
    return [session for (session,) in found]


@pytest.fixture(scope="module")
def decided(small_demo, undecided, run_json, tmp_path_factory):
    """A copy of the demo with one more night, and what ``reprice`` printed: read it only."""
    lake = shutil.copytree(small_demo.path, tmp_path_factory.mktemp("decided") / "lake")
    return lake, run_json("reprice", lake, "--as-of", undecided[0])


@pytest.fixture(scope="module")
def followed(decided, undecided, run_json, tmp_path_factory):
    """That lake with the two nights after it: their folders. By then some tiers have waited."""
    lake = shutil.copytree(decided[0], tmp_path_factory.mktemp("followed") / "lake")
    ids = [run_json("reprice", lake, "--as-of", day)["run_id"] for day in undecided[1:3]]
    return [lake / "runs" / run_id for run_id in ids]


# --- a night --------------------------------------------------------------------------------------


def test_a_new_night_decides_once_on_every_open_account(decided, undecided, cli):
    lake, document = decided
    assert document["as_of"] == undecided[0].isoformat()
    assert (document["repeated"], document["dry_run"]) == (False, False)
    folder = lake / "runs" / document["run_id"]
    assert document["segments"] == [
        str(folder / f"bucket={b:03d}" / "decisions.parquet") for b in range(BUCKETS)
    ]
    made = rows(folder / "*/decisions.parquet", "client_id, as_of, decision_id")
    assert len(made) == document["decisions"]
    assert {r["as_of"] for r in made} == {undecided[0]}
    assert len({r["decision_id"] for r in made}) == len(made)
    day = f"DATE '{undecided[0]}'"
    closed = f"GROUP BY client_id HAVING coalesce(max(closed_on), {day} + 1) > {day}"
    still = rows(lake / "accounts/*/*.parquet", "client_id", f"opened_on <= {day} {closed}")
    assert [r["client_id"] for r in made] == [r["client_id"] for r in still]
    ran = cli("ledger", "verify", "--lake", lake, "--since", lake / "ledger.checkpoints")
    assert ran.code == 0
    assert cli("replay", "--sample", 200, "--lake", lake).code == 0


def test_the_printed_hash_is_over_the_stored_hashes_in_bucket_and_row_order(decided):
    _, document = decided
    digest = hashlib.sha256()
    for segment in document["segments"]:
        sql = "SELECT decision_sha256 FROM read_parquet(?, hive_partitioning = false)"
        for (row,) in duckdb.connect().execute(sql, [segment]).fetchall():
            digest.update(row)
    assert digest.hexdigest() == document["decisions_sha256"]


def test_a_repeated_night_adds_nothing(cli, decided, undecided):
    lake, document = decided
    before = files_in(lake)
    again = reprice(cli, lake, undecided[0])
    assert said(again) == {**said(document), "repeated": True}
    assert files_in(lake) == before


def test_a_dry_run_writes_nothing_and_comes_to_the_same_decisions(
    cli, demo_copy, decided, undecided
):
    before = files_in(demo_copy)
    dry = reprice(cli, demo_copy, undecided[0], "--dry-run")
    assert files_in(demo_copy) == before
    assert (dry["dry_run"], dry["segments"]) == (True, [])
    real = reprice(cli, demo_copy, undecided[0])
    assert files_in(demo_copy) != before
    assert (dry["run_id"], dry["decisions"]) == (real["run_id"], real["decisions"])
    assert dry["decisions_sha256"] == real["decisions_sha256"]
    assert dry["decisions_sha256"] == decided[1]["decisions_sha256"]


def test_a_dry_run_needs_no_ledger_and_makes_none(cli, two_nights, tmp_path):
    lake = shutil.copytree(
        two_nights.path, tmp_path / "lake", ignore=shutil.ignore_patterns("runs", "ledger*", "keys")
    )
    before = files_in(lake)
    dry = reprice(cli, lake, two_nights.first["as_of"], "--dry-run")
    assert dry["decisions_sha256"] == two_nights.first["decisions_sha256"]
    assert files_in(lake) == before


# --- killed ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", KILLS)
def test_a_night_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(
    where, cli, demo_copy, decided, undecided
):
    program = DRIVER.replace("WHERE", KILLS[where])
    arguments = ["reprice", str(demo_copy), "--as-of", str(undecided[0])]
    killed = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        cwd=Path(gearline.__file__).parent,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    log = entries(cli, demo_copy)
    kinds = [e["kind"] for e in log]
    sealed = [demo_copy / e["body"]["file"] for e in log if e["kind"] == "segment"]
    written = [p.stat().st_mtime_ns for p in sealed]
    recorded = kinds[kinds.index("run_finished", -(BUCKETS + 2)) + 1 :]
    assert recorded[0] == "run_started"
    assert "run_finished" not in recorded
    assert cli("ledger", "verify", "--lake", demo_copy).code == 0

    resumed = reprice(cli, demo_copy, undecided[0])
    lake, whole = decided
    assert resumed["repeated"] is False
    assert [p.stat().st_mtime_ns for p in sealed] == written
    assert resumed["decisions_sha256"] == whole["decisions_sha256"]
    run = Path("runs") / whole["run_id"]
    assert files_in(demo_copy / run) == files_in(lake / run)
    made = rows(demo_copy / run / "*/decisions.parquet", "client_id")
    assert len({r["client_id"] for r in made}) == len(made) == whole["decisions"]
    ours, theirs = ([(e["kind"], e["body"]) for e in entries(cli, x)] for x in (demo_copy, lake))
    assert ours == theirs
    since = demo_copy / "ledger.checkpoints"
    assert cli("ledger", "verify", "--lake", demo_copy, "--since", since).code == 0


def test_a_killed_night_is_not_finished_on_another_market(cli, demo_copy, undecided, monkeypatch):
    """Clients, prices or bundle may have been replaced in between."""

    class StoppedError(Exception):
        pass

    def stop(d):
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr("serving.nightly.tasks.segment_files", stop)
        with pytest.raises(StoppedError):
            cli("reprice", demo_copy, "--as-of", undecided[0])
    monkeypatch.setattr("serving.nightly.run.funding_bps", lambda root, as_of: 777)
    before = decided_in(demo_copy / "runs")
    line = refused(cli("reprice", demo_copy, "--as-of", undecided[0]))
    assert "begun with another market" in line
    assert decided_in(demo_copy / "runs") == before


# --- one night after another ----------------------------------------------------------------------


def previous_by_client(night):
    cases = rows(night / "*/inputs.parquet", 'client_id, "case"')
    return {c["client_id"]: json.loads(c["case"])["previous"] for c in cases}


def test_the_first_night_on_record_has_no_previous_decisions(two_nights):
    night = two_nights.path / "runs" / two_nights.first["run_id"]
    assert set(previous_by_client(night).values()) == {None}


def test_every_decision_of_a_night_knows_that_of_the_night_before(followed):
    one, two = followed
    first = {r["client_id"]: r for r in rows(one / "*/decisions.parquet")}
    previous = {c: p for c, p in previous_by_client(two).items() if p is not None}
    assert set(previous) == set(first) & {r["client_id"] for r in rows(two / "*/inputs.parquet")}
    for client, p in previous.items():
        f = first[client]
        assert p == {
            "soft_cap_amt": str(f["soft_cap_amt"]),
            "rate_bps": f["rate_bps"],
            "tier": 7 if f["tier"] == "D" else int(f["tier"]),
            "candidate_tier": f["candidate_tier"],
            "candidate_sessions": f["candidate_sessions"],
            "month_change_bps": f["month_change_bps"],
            "quarter_changes": f["quarter_changes"],
            "sessions_since": 1,
        }
    for name in ("candidate_sessions", "month_change_bps", "quarter_changes"):
        assert sum(p[name] != 0 for p in previous.values()) > 20, name


def test_a_new_tier_waits_for_as_many_sessions_as_the_rules_name(cli, followed):
    """Unless it is a worse one after a breach, or D. The direction must stay, not the tier."""
    rules = cli("policy", "show", "us", "--as-of", "2020-03-05", "--json").document["parameters"]
    [[needed]] = [p["values"] for p in rules if p["parameter"] == "hysteresis_sessions"]
    assert needed > 2
    previous = previous_by_client(followed[1])
    waited = []
    for row in rows(followed[1] / "*/decisions.parquet", where="tier <> 'D'"):
        p = previous[row["client_id"]]
        if p is not None:
            was, now, wanted = p["tier"], int(row["tier"]), row["candidate_tier"]
            assert was <= now
            assert now in (was, wanted)
            same_way = (wanted - was) * (p["candidate_tier"] - was) > 0
            sessions = 1 + (p["candidate_sessions"] if same_way else 0)
            assert row["candidate_sessions"] == (0 if now == wanted else sessions)
            waited.append(row["candidate_sessions"])
    assert waited.count(2) > 20
    assert waited.count(1) > 0


def test_a_night_in_another_month_starts_the_months_budget_anew(decided, small_demo, undecided):
    """The night of March refers to the demo's last one before it, of January: the same quarter."""
    lake, document = decided
    connection = duckdb.connect()
    connection.execute(
        "CREATE VIEW d AS SELECT as_of, client_id, month_change_bps, quarter_changes"
        f" FROM read_parquet('{small_demo.path}/runs/*/*/decisions.parquet')"
        f" WHERE as_of < '{undecided[0]}'"
    )
    found = connection.execute("SELECT * FROM d WHERE as_of = (SELECT max(as_of) FROM d)")
    last = found.fetchall()
    day = last[0][0]
    assert (day.year, day.month) == (2020, 1)
    assert any(month for _, _, month, _ in last)
    assert any(quarter for _, _, _, quarter in last)
    days = session_days(small_demo.path)
    since = sum(day < d <= undecided[0] for d in days)
    changes = {client: quarter for _, client, _, quarter in last}
    previous = previous_by_client(lake / "runs" / document["run_id"])
    known = {c: p for c, p in previous.items() if p is not None}
    assert len(known) > 300
    for client, p in known.items():
        assert (p["sessions_since"], p["month_change_bps"]) == (since, 0)
        assert p["quarter_changes"] == changes[client]


def test_a_night_decided_late_refers_to_the_one_before_it_not_after_it(
    cli, demo_copy, undecided, decided
):
    """A later night decided first changes nothing for an earlier one."""
    reprice(cli, demo_copy, undecided[5])
    late = reprice(cli, demo_copy, undecided[0])
    assert late["decisions_sha256"] == decided[1]["decisions_sha256"]


# --- one decision ---------------------------------------------------------------------------------


def test_the_example_case_is_decided_as_the_night_decided_it(cli, small_demo):
    path = small_demo.path / "case.json"
    ran = cli("decide", path, "--json")
    assert ran.code == 0
    body = ran.document
    [stored] = rows(
        small_demo.path / "runs/*/*/decisions.parquet",
        where=f"decision_id = '{body['decision_id']}'",
    )
    assert body["decision_sha256"] == bytes(stored["decision_sha256"]).hex()
    assert body["rate_bps"] == stored["rate_bps"]
    assert body["max_debt_amt"] == str(stored["max_debt_amt"])
    case = json.loads(path.read_bytes())["case"]
    assert (case["client_id"], case["as_of"]) == (stored["client_id"], str(stored["as_of"]))
