"""Embedded, Ray and object storage: one night, row for row; killed at any time, nothing lost."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import gearline
from data_contracts.case import Override
from data_contracts.errors import InputError
from data_contracts.lake import lake_info
from data_contracts.snapshot import MarketSnapshot
from data_contracts.units import RATIO_ONE, format_decimal
from features.asof import BookHistory
from features.build import build_frame
from features.panel import load_panel
from features.sets import BEHAVIOURAL_3
from models.bundle import Bundle
from models.decide import decide_columns
from models.decide.columns import losses_from_arrays, losses_to_arrays
from models.decide.written import hashes
from models.margin.security import MarketHistory
from models.policy import load_pack
from models.price.capital import expected_shortfall, firm_losses, firm_tail
from serving.ledger import Ledger, read_entries, verify
from serving.nightly.columns import Before
from serving.nightly.embedded import Embedded
from serving.nightly.firm import effective_date, firm_terms, funding_bps
from serving.nightly.partition import first_pass, score_partition
from serving.nightly.previous import LastNight, last_margins
from serving.nightly.rows import NightRows
from serving.nightly.store import Store
from serving.replay import replay_sample
from tests.serving.cases_one_by_one import nightly_cases
from tests.serving.small_lake import make_lake

KILLS = int(os.environ.get("GEARLINE_KILLS", "4"))
"""Kills of the embedded engine; docs/nightly.md has the figures of 100."""
RAY_KILLS = int(os.environ.get("GEARLINE_RAY_KILLS", "2"))
KILLS_SEED = int(os.environ.get("GEARLINE_KILLS_SEED", "0"))
"""Other times of the kills, so that a full count can be run in pieces."""
ROOT = Path(gearline.__file__).parent
PATIENCE_S = 240
FILES_OF_A_NIGHT = 15
"""Four buckets of the first pass, the snapshot's four files, two files of almost four segments."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A lake nothing was decided on, and its two nights: read it only."""
    return make_lake(tmp_path_factory.mktemp("engines"))


def copy_of(lake, folder):
    return shutil.copytree(lake, folder / "lake")


def command(lake, day, *more):
    night = ["reprice", str(lake), "--as-of", day.isoformat(), "--json"]
    return [sys.executable, "-m", "gearline", *night, *map(str, more)]


def reprice(lake, day, *more, env=None):
    done = subprocess.run(
        command(lake, day, *more),
        capture_output=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def files_of(run):
    """SHA-256 of every file of a run."""
    return {
        str(p.relative_to(run)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(run.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def unbroken(made, tmp_path_factory):
    """A night on one process that nobody disturbed: its lake and what it printed."""
    lake = copy_of(made[0], tmp_path_factory.mktemp("unbroken"))
    return lake, reprice(lake, made[1][0], "--threads", 1)


def same_as(unbroken, lake):
    """The run's files and the ledger's entries are those of the unbroken night, once each."""
    whole, document = unbroken
    run = Path("runs") / document["run_id"]
    assert files_of(lake / run) == files_of(whole / run)
    ours, theirs = (
        [(e.kind, e.body) for e in read_entries(x / "ledger.sqlite")] for x in (lake, whole)
    )
    assert ours == theirs
    report = verify(lake / "ledger.sqlite", base_dir=lake)
    assert report.ok, report.first_bad
    sql = "SELECT count(*), count(DISTINCT client_id) FROM read_parquet(?)"
    [found] = duckdb.connect().execute(sql, [f"{lake / run}/*/decisions.parquet"]).fetchall()
    assert found == (document["decisions"],) * 2


# --- one night, however it is made ----------------------------------------------------------------


def test_a_bucket_at_once_is_decided_like_its_cases_one_by_one(made):
    lake, (day, _) = made
    panel, bundle = load_panel(lake), Bundle.read(lake / "bundle")
    t = panel.session_index(np.datetime64(day))
    policy = load_pack("us").on(effective_date(panel, t))
    firm, funding = firm_terms(lake, day, policy), funding_bps(lake, day)
    market = MarketHistory(panel).snapshot(t, policy, firm, funding)
    grouped = 0
    for bucket in range(lake_info(lake).buckets):
        history = BookHistory.load(lake, panel, bucket)
        first = first_pass(history, day, bundle, policy, market)
        view = history.as_of(day)
        cases = nightly_cases(
            view, run_id="r", currency="USD", own_tier=first.own_tier, previous={}
        )
        # a third of the clients has a person's limit, every other one of them loosens
        people = {
            case.client_id: Override(k * 100_000, f"p-{k}", f"d-{k}", loosens=k % 2 == 0)
            for k, case in enumerate(cases)
            if k % 3 == 0
        }
        cases = [replace(case, override=people.get(case.client_id)) for case in cases]
        alone = decide_columns(cases, build_frame(view, BEHAVIOURAL_3), bundle, policy, market)
        at_once = score_partition(
            first, Before.nothing(len(cases)), people, bundle, policy, market, run_id="r",
            currency="USD", known_at=cases[0].known_at,
        )  # fmt: skip
        assert at_once.columns.documents == alone.columns.documents
        assert hashes(at_once) == hashes(alone)
        grouped += sum(c.group is not None for c in cases)
    assert grouped > 0


def test_rows_that_were_put_away_come_back_as_they_were(made):
    lake, (day, _) = made
    panel = load_panel(lake)
    bundle = Bundle.read(lake / "bundle")
    t = panel.session_index(np.datetime64(day))
    policy = load_pack("us").on(effective_date(panel, t))
    market = MarketHistory(panel).snapshot(t, policy, firm_terms(lake, day, policy), None)
    history = BookHistory.load(lake, panel, 0)
    first = first_pass(history, day, bundle, policy, market)
    rows = first.rows
    assert first.path_loss.shape == (9, policy["structural_paths"])
    assert int(first.path_loss[0].max()) > int(first.path_loss[0].min())
    back, more = NightRows.from_bytes(rows.to_bytes(**losses_to_arrays(first.losses)))
    for ours, theirs in zip(
        (first.losses.own, *vars(first.losses.own_paths).values()),
        (losses_from_arrays(more).own, *vars(losses_from_arrays(more).own_paths).values()),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)
    for name in rows.__dataclass_fields__:
        assert np.array_equal(getattr(back, name), getattr(rows, name)), name


@pytest.mark.parametrize("more", [("--threads", 2), ("--threads", 3)])
def test_workers_make_the_same_files_as_one_process(made, unbroken, tmp_path, more):
    lake = copy_of(made[0], tmp_path)
    assert reprice(lake, made[1][0], *more)["decisions_sha256"] == unbroken[1]["decisions_sha256"]
    same_as(unbroken, lake)


@pytest.mark.long
def test_ray_makes_the_same_files_as_one_process(made, unbroken, tmp_path):
    pytest.importorskip("ray")
    lake = copy_of(made[0], tmp_path)
    reprice(lake, made[1][0], "--engine", "ray", "--threads", 2)
    same_as(unbroken, lake)


def test_ray_is_loaded_only_when_it_is_asked_for():
    program = "import sys, serving.commands, serving.nightly.on_ray; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


def test_the_next_night_knows_the_last_whoever_decided_it(made, unbroken, tmp_path):
    """Changes refer to the last published decision, by any engine."""
    lake = shutil.copytree(unbroken[0], tmp_path / "lake")
    one = reprice(lake, made[1][1], "--threads", 1)
    other = shutil.copytree(unbroken[0], tmp_path / "other")
    two = reprice(other, made[1][1], "--threads", 2)
    assert one["decisions_sha256"] == two["decisions_sha256"]
    cases = duckdb.connect().execute(
        'SELECT "case" FROM read_parquet(?)', [f"{lake}/runs/{one['run_id']}/*/inputs.parquet"]
    )
    known = [json.loads(c)["previous"] is not None for (c,) in cases.fetchall()]
    assert sum(known) > 0.95 * len(known)


def test_the_margins_of_a_night_go_on_from_those_of_the_last_night(made, unbroken, tmp_path):
    lake = shutil.copytree(unbroken[0], tmp_path / "lake")
    first = MarketSnapshot.read(lake / "runs" / unbroken[1]["run_id"] / "market")
    night = reprice(lake, made[1][1], "--threads", 1)
    second = MarketSnapshot.read(lake / "runs" / night["run_id"] / "market")
    panel = load_panel(lake)
    t, before = (panel.session_index(np.datetime64(d)) for d in (second.session, first.session))
    policy = load_pack("us").on(effective_date(panel, t))
    history = MarketHistory(panel)
    found = [
        np.ceil(history.margins(t, policy, previous=p, sessions=t - before).margin * RATIO_ONE)
        for p in (first.damped_margin / RATIO_ONE, None)
    ]
    assert np.array_equal(second.damped_margin, found[0])
    # without the last night's they would be others: the layer does something here
    assert not np.array_equal(second.damped_margin, found[1])


def test_a_last_night_whose_snapshot_has_no_margins_starts_the_layer_anew(unbroken, tmp_path):
    lake = shutil.copytree(unbroken[0], tmp_path / "lake")
    run_id = unbroken[1]["run_id"]
    last = LastNight(run_id, (), 1, True, True)
    path = lake / "runs" / run_id / "market" / "market.json"
    market = MarketSnapshot.read(path.parent)
    margins = last_margins(Store(lake), last, ("NOBODY", *market.symbols))
    assert margins is not None
    assert np.isnan(margins[0])
    assert np.array_equal(margins[1:] * RATIO_ONE, market.damped_margin)
    assert last_margins(Store(lake), None, market.symbols) is None
    document = orjson.loads(market.manifest)
    path.write_bytes(orjson.dumps(document | {"format": 2}))
    assert last_margins(Store(lake), last, market.symbols) is None
    path.write_bytes(orjson.dumps(document | {"symbols_sha256": "0" * 64}))
    with pytest.raises(InputError, match="are not the ones market"):
        last_margins(Store(lake), last, tuple(market.symbols))


def test_each_night_charges_capital_on_the_worst_paths_of_its_own_book(made, unbroken, tmp_path):
    lake = shutil.copytree(unbroken[0], tmp_path / "lake")
    nights = [unbroken[1], reprice(lake, made[1][1], "--threads", 2)]
    bundle, tails, last = Bundle.read(lake / "bundle"), [], None
    started = {
        e.body["run_id"]: e.body
        for e in read_entries(lake / "ledger.sqlite")
        if e.kind == "run_started"
    }
    for day, night in zip(made[1], nights, strict=True):
        run, panel = lake / "runs" / night["run_id"], load_panel(lake, known_by=day)
        t = panel.session_index(np.datetime64(day))
        market = MarketSnapshot.read(run / "market")
        policy = load_pack("us").on(effective_date(panel, t))
        # the market of the first pass, which knows no tail and no expected sale
        bare = MarketHistory(panel).snapshot(
            t, policy, firm_terms(lake, day, policy), funding_bps(lake, day),
            previous=last_margins(Store(lake), last, panel.symbols),
        )  # fmt: skip
        last = LastNight(night["run_id"], (), 1, True, True)
        summed = np.sum(
            [
                first_pass(BookHistory.load(lake, panel, b), day, bundle, policy, bare).path_loss
                for b in range(lake_info(lake).buckets)
            ],
            axis=0,
        )
        losses = firm_losses(summed)
        assert market.paths is not None
        assert market.tail_weight is not None
        found = firm_tail(market.paths, policy, losses)
        assert found is not None
        assert np.array_equal(market.tail_weight, found)
        # the expected shortfall on record is that of the same book
        es = expected_shortfall(losses, market.tail_weight)
        assert started[night["run_id"]]["expected_shortfall_amt"] == format_decimal(
            -(-es // RATIO_ONE), 2
        )
        tails.append(market.tail_weight)
        columns = duckdb.connect().execute(
            "SELECT capital_e6, rate_components_bps[4], lgd_e6, pd_e9 FROM read_parquet(?)",
            [f"{run}/*/decisions.parquet"],
        )
        for capital, bps, lgd, pd in columns.fetchall():
            assert capital >= min(6 * pd, 10**9) * lgd // 10**9
            assert bps >= 0
    # the second book's tail is its own, not carried over from the first's
    assert not np.array_equal(tails[0], tails[1])
    report = replay_sample(lake, lake / "ledger.sqlite", 100_000, 7)
    assert report.equal == report.checked > 0


# --- people's limits ------------------------------------------------------------------------------


def test_the_night_keeps_to_the_limits_that_people_set_and_to_no_others(made, unbroken, tmp_path):
    lake = shutil.copytree(unbroken[0], tmp_path / "lake")
    sql = (
        "SELECT client_id, decision_id FROM read_parquet(?)"
        " WHERE max_debt_amt > 1000 ORDER BY max_debt_amt DESC, client_id LIMIT 5"
    )
    before = f"{lake}/runs/{unbroken[1]['run_id']}/*/decisions.parquet"
    found = duckdb.connect().execute(sql, [before]).fetchall()
    entries: list[dict[str, Any]] = []
    for k, (client, decision) in enumerate(found):
        body = {
            "client_id": client, "max_debt_amt": f"{k + 1}00.00", "supersedes": decision,
            "proposal_id": f"p-{k}", "content_sha256": "ab" * 32,
        }  # fmt: skip
        if k == 3:
            body["expires_on"] = "1999-12-31"
        entries.append({"kind": "override_in_force", "body": body})
    lifted = {**entries[4]["body"], "max_debt_amt": None}
    entries.append({"kind": "override_lifted", "body": lifted})
    # of two limits the later one counts
    entries.append(
        {"kind": "override_in_force", "body": {**entries[2]["body"], "max_debt_amt": "50.00"}}
    )
    with Ledger.open(lake / "ledger.sqlite") as ledger:
        ledger.append(entries)
    night = reprice(lake, made[1][1], "--threads", 2)
    run = f"{lake}/runs/{night['run_id']}/*"
    sql = "SELECT client_id, max_debt_amt FROM read_parquet(?)"
    caps = dict(duckdb.connect().execute(sql, [f"{run}/decisions.parquet"]).fetchall())
    sql = 'SELECT "case" FROM read_parquet(?)'
    cases = duckdb.connect().execute(sql, [f"{run}/inputs.parquet"]).fetchall()
    decided = {
        case["client_id"]: (caps[case["client_id"]], case)
        for case in (json.loads(text) for (text,) in cases)
    }
    for (client, decision), most in zip(found[:3], (100, 200, 50), strict=True):
        cap, case = decided[client]
        assert cap <= most
        assert case["override"]["supersedes"] == decision
    bound = [client for client, (_, case) in decided.items() if case["override"] is not None]
    assert sorted(bound) == sorted(client for client, _ in found[:3])
    assert all(decided[client][0] > 1000 for client, _ in found[3:])
    report = replay_sample(lake, lake / "ledger.sqlite", 100_000, 7)
    assert report.equal == report.checked > 0


def test_a_limit_approved_after_a_night_began_waits_for_the_next_one(made, unbroken, tmp_path):
    """Also where it came before the night's first entry, and the night goes on after a kill."""
    lake = shutil.copytree(unbroken[0], tmp_path / "lake")
    whole = shutil.copytree(unbroken[0], tmp_path / "whole")
    night = reprice(whole, made[1][1])
    [started] = [
        dict(e.body)
        for e in read_entries(whole / "ledger.sqlite")
        if e.kind == "run_started" and e.body["run_id"] == night["run_id"]
    ]
    client = (
        duckdb.connect()
        .execute(
            "SELECT client_id FROM read_parquet(?) WHERE max_debt_amt > 1000 LIMIT 1",
            [f"{whole}/runs/{night['run_id']}/*/decisions.parquet"],
        )
        .fetchall()[0][0]
    )
    late = {
        "client_id": client, "max_debt_amt": "1.00", "supersedes": "d", "proposal_id": "p",
        "content_sha256": "ab" * 32,
    }  # fmt: skip
    with Ledger.open(lake / "ledger.sqlite") as ledger:
        ledger.append([{"kind": "override_in_force", "body": late}])
        ledger.append(
            [{"kind": "run_started", "body": started}],
            idempotency_keys=[f"started/{night['run_id']}"],
        )
    again = reprice(lake, made[1][1])
    assert again["decisions_sha256"] == night["decisions_sha256"]


# --- what cannot be decided on --------------------------------------------------------------------


def test_a_client_whose_book_cannot_be_read_is_held_and_all_others_decided(
    made, unbroken, tmp_path
):
    lake = shutil.copytree(unbroken[0], tmp_path / "lake")
    client = spoil(lake)
    night = reprice(lake, made[1][1])
    assert night["held"] == 1
    run = lake / "runs" / night["run_id"]
    [path] = run.glob("*/held.parquet")
    [held] = pq.read_table(path, partitioning=None).to_pylist()
    sql = "SELECT max_debt_amt FROM read_parquet(?) WHERE client_id = ?"
    before = f"{lake}/runs/{unbroken[1]['run_id']}/*/decisions.parquet"
    [(published,)] = duckdb.connect().execute(sql, [before, client]).fetchall()
    assert (held["client_id"], held["outcome"], held["stale"]) == (client, "refer", True)
    assert 0 <= held["max_debt_amt"] <= published
    found = duckdb.connect().execute(sql, [f"{run}/*/decisions.parquet", client]).fetchall()
    assert found == []
    [entry] = [e for e in read_entries(lake / "ledger.sqlite") if e.kind == "run_held"]
    told = json.loads(json.dumps(entry.body))["clients"]
    assert [c["client_id"] for c in told] == [client]
    assert verify(lake / "ledger.sqlite", base_dir=lake).ok


def spoil(lake):
    """Give one client an impossible number of shares; returns the client."""
    for path in sorted(lake.glob("positions/*/*.parquet")):
        table = pq.read_table(path, partitioning=None)
        open_now = np.flatnonzero(np.asarray(pc.is_null(table["to_session"])))
        clients = pq.read_table(lake / "clients" / path.parent.name / path.name, partitioning=None)
        alone = clients.filter(pc.is_null(clients["related_group_id"]))["client_id"].to_pylist()
        for k in open_now.tolist():
            client = table["client_id"][k].as_py()
            if client in alone:
                shares = table["quantity_shares"].to_pylist()
                shares[k] = 2 * 10**12
                place = table.column_names.index("quantity_shares")
                field = table.schema.field(place)
                table = table.set_column(place, field, pa.array(shares, field.type))
                pq.write_table(table, path)
                return client
    raise AssertionError("nobody holds anything")


def test_a_worker_of_the_night_works_without_pandas():
    """Arrow would load it in every worker, which is most of what a worker's start takes."""
    with Embedded(2) as engine, pytest.raises(ModuleNotFoundError, match="without pandas"):
        list(engine.map(importlib.util.find_spec, ["pandas"]))


# --- killed ---------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_night_killed_at_random_times_ends_as_if_it_had_not_been(made, unbroken, tmp_path):
    """SIGKILL to the command and nobody else: its workers must go with it."""
    chance = random.Random(5 + KILLS_SEED)
    spoiled = 0
    for k in range(KILLS):
        lake = copy_of(made[0], tmp_path / str(k))
        threads = ("--threads", 1 + k % 2)
        process = subprocess.Popen(
            command(lake, made[1][0], *threads),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        # at any of the files that a night writes, or a moment after it
        wait_for_files(process, lake / "runs", chance.randint(0, FILES_OF_A_NIGHT - 1))
        time.sleep(chance.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        ledger = lake / "ledger.sqlite"
        kinds = [e.kind for e in read_entries(ledger)] if ledger.is_file() else []
        spoiled += "run_finished" not in kinds
        resumed = reprice(lake, made[1][0], *threads)
        assert resumed["decisions_sha256"] == unbroken[1]["decisions_sha256"]
        same_as(unbroken, lake)
        shutil.rmtree(lake)
    assert spoiled > KILLS // 3, "most nights were over before the kill"


def wait_for_files(process, runs, count):
    limit = time.monotonic() + PATIENCE_S
    while time.monotonic() < limit and process.poll() is None:
        if sum(p.is_file() for p in runs.rglob("*")) >= count:
            return
        time.sleep(0.001)


def ray_workers(of):
    """Processes of Ray's workers that run tasks, below a process."""
    parent, name = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            parent[int(entry.name)] = int(stat.rsplit(")", 1)[1].split()[1])
            name[int(entry.name)] = line
    below, grown = {of}, True
    while grown:
        more = {p for p, up in parent.items() if up in below} - below
        below |= more
        grown = bool(more)
    # not its agents, which are named alike: with them the whole node goes
    return [p for p in below if name[p].startswith((b"ray::first_task", b"ray::second_task"))]


@pytest.mark.long
def test_a_night_on_ray_outlives_the_death_of_a_worker(made, unbroken, tmp_path):
    pytest.importorskip("ray")
    chance = random.Random(9 + KILLS_SEED)
    killed = 0
    for k in range(RAY_KILLS):
        lake = copy_of(made[0], tmp_path / str(k))
        process = subprocess.Popen(
            command(lake, made[1][0], "--engine", "ray", "--threads", 2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        done = threading.Event()

        pause = chance.uniform(0.0, 1.5)

        def kill(of=process.pid, done=done, wait=pause):
            nonlocal killed
            limit = time.monotonic() + PATIENCE_S
            while time.monotonic() < limit and not done.is_set():
                if found := ray_workers(of):
                    time.sleep(wait)
                    for pid in ray_workers(of)[:1] or found[:1]:
                        try:
                            os.kill(pid, signal.SIGKILL)
                            killed += 1
                        except ProcessLookupError:
                            continue
                    return
                time.sleep(0.01)

        killer = threading.Thread(target=kill)
        killer.start()
        _, err = process.communicate(timeout=PATIENCE_S)
        done.set()
        killer.join()
        assert process.returncode == 0, err.decode()[-2000:]
        same_as(unbroken, lake)
        shutil.rmtree(lake)
    assert killed > 0


# --- object storage -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3():
    """moto's server with an empty bucket, and the query that Arrow needs to reach it."""
    boto3 = pytest.importorskip("boto3")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1", **keys
    )
    client.create_bucket(Bucket="book")
    yield client, f"?endpoint_override={host}:{port}&scheme=http&region=us-east-1"
    server.stop()


def test_a_lake_in_object_storage_gives_the_same_segments(made, unbroken, s3, tmp_path):
    client, query = s3
    for path in sorted(made[0].rglob("*")):
        if path.is_file():
            client.upload_file(str(path), "book", f"lake/{path.relative_to(made[0])}")
    where = f"s3://test:test@book/lake{query}"
    env = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    ledger = tmp_path / "ledger.sqlite"
    night = reprice(where, made[1][0], "--ledger", ledger, "--threads", 2, env=env)
    whole, document = unbroken
    assert night["decisions_sha256"] == document["decisions_sha256"]
    prefix = f"lake/runs/{document['run_id']}/"
    stored = {}
    for item in client.list_objects_v2(Bucket="book", Prefix=prefix)["Contents"]:
        if item["Key"].endswith("/"):
            continue  # what Arrow leaves so that an emptied folder is still one
        body = client.get_object(Bucket="book", Key=item["Key"])["Body"].read()
        stored[item["Key"].removeprefix(prefix)] = hashlib.sha256(body).hexdigest()
    assert stored == files_of(whole / "runs" / document["run_id"])
    ours, theirs = (
        [(e.kind, e.body) for e in read_entries(x)] for x in (ledger, whole / "ledger.sqlite")
    )
    assert ours == theirs
    again = reprice(where, made[1][0], "--ledger", ledger, env=env)
    assert again["repeated"] is True


def test_object_storage_without_a_named_ledger_is_refused(s3):
    done = subprocess.run(
        [sys.executable, "-m", "gearline", "reprice", f"s3://test:test@book/lake{s3[1]}",
         "--as-of", "2023-06-28"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "name one with --ledger" in done.stderr or "is not a lake" in done.stderr
