"""Embedded and Ray: one night, row for row, however many workers make it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

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
from tests.serving.engines.nights import ROOT, copy_of, reprice, same_as


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
