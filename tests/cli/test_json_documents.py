"""With --json every verb prints one document with exactly the keys of docs/json.md; else text."""

import argparse
import datetime as dt
import json
import shutil

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import gearline
from data_contracts.errors import InputError
from data_contracts.lake import read_table
from training.bench import BENCHMARKS

RUNS = {
    "market import": "market import {tmp}/closes.csv --format us-close --out {tmp}/market",
    "lab simulate": "lab simulate --market {market} --clients 200 --from 2014-01-01"
    " --to 2014-12-31 --out {tmp}/lake",
    "data check": "data check {lake}",
    "data docs": "data docs {lake} --out {tmp}/docs",
    "data import": "data import {tmp}/rates.csv --table rates --out {tmp}/new --market USD:XNYS",
    "features build": "features build {lake} --as-of 2014-10-01 --out {tmp}/features.parquet",
    "reprice": "reprice {demo} --as-of 2020-03-20 --dry-run",
    "decide": "decide {demo}/case.json",
    "simulate": "simulate {demo}/case.json --price all:-0.02 --ask 900000000",
    "replay": "replay --lake {demo} --sample 3",
    "ledger verify": "ledger verify --lake {demo}",
    "ledger prove": "ledger prove 3 --lake {demo}",
    "ledger export": "ledger export --lake {demo}",
    "policy show": "policy show cn --as-of 2015-11-23",
    "policy diff": "policy diff cn@2015-11-22 cn@2015-11-23",
    "policy check": "policy check",
    "policy keep": "policy keep us --lake {tmp}",
    "backtest": "backtest {market}",
    "ledger migrate": "ledger migrate {tmp}/ledger.sqlite",
    "token": "token --role auditor --lake {demo}",
    "validate self-test": "validate self-test",
}
"""A run of each verb; ``demo``, ``train``, ``fit``, ``score`` and ``bench`` come by themselves."""
MODEL_VERBS = (
    "list", "show", "compare", "promote", "retire", "rollback", "status", "challenge-report",
)  # fmt: skip
"""Held against the page by tests/lifecycle."""
MAY_BE_EMPTY = {
    "replay": ("different[]",),
    "reprice": ("beside[]",),
    "policy check": ("findings[]",),
}
JSON_EITHER_WAY = ("ledger prove", "ledger export")


def leaf_verbs(parser=None, name=""):
    """The verbs that run, as words."""
    groups = [a for a in (parser or gearline.build_parser())._actions if a.choices]
    below = [a.choices for a in groups if isinstance(a, argparse._SubParsersAction)]
    if not below:
        return {name}
    found = (leaf_verbs(p, f"{name} {word}".strip()) for word, p in below[0].items())
    return set().union(*found)


@pytest.fixture
def argv(small_demo, tiny_market, tiny_lake, tmp_path):
    (tmp_path / "closes.csv").write_text(
        "symbol,date,close\nAAPL,2014-07-01,93.52\nAAPL,2014-07-02,93.48\n", "utf-8"
    )
    (tmp_path / "rates.csv").write_text(
        "session,tenor_days,rate_bps,event_at,known_at\n"
        "2014-07-01,30,525,2014-07-01T20:00Z,2014-07-01T21:00Z\n",
        "utf-8",
    )

    def fill(command, **more):
        known = {"demo": small_demo.path, "market": tiny_market, "lake": tiny_lake}
        return command.format(tmp=tmp_path, **known, **more).split()

    return fill


@pytest.fixture
def decision_id(small_demo):
    first = sorted(small_demo.path.glob("runs/*/bucket=*/decisions.parquet"))[0]
    return pq.read_table(first, partitioning=None)["decision_id"][0].as_py()


def is_json(text):
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_every_verb_that_runs_has_its_keys_documented(json_page):
    benches = {f"bench {name}" for name in BENCHMARKS}
    documented = leaf_verbs() - {"bench"} | benches
    assert set(json_page) == documented
    by_themselves = {"demo", "serve", "train", "lab fit", "fit", "score", "pictures", "recourse"}
    by_themselves |= {"publish", "rollback", "reconcile", "night monitors", "night report"}
    by_themselves |= {"stress", "validate report", "validate table", "validate diff"}
    by_themselves |= {"provisions", "night kpis", "review open", "review list", "review export"}
    by_themselves |= {f"model {verb}" for verb in MODEL_VERBS}
    assert set(RUNS) | by_themselves | benches == documented


def test_a_key_too_many_too_few_or_of_another_type_is_found(undocumented):
    good = {"checked": 1, "equal": 0, "engine_version": "1"}
    different = [{"decision_id": "d", "what": "differs"}]
    assert undocumented("replay", {**good, "different": different}) == []
    assert undocumented("replay", {**good, "different": [{"what": "differs"}]}) == [
        "different[0].decision_id is documented, not printed"
    ]
    assert undocumented("replay", {**good, "equal": "0", "different": different}) == [
        "equal is '0', not integer"
    ]
    assert undocumented("replay", {**good, "different": different, "decision": {}}) == [
        "decision is printed, not documented"
    ]
    assert undocumented("replay", {**good, "different": []}) == [
        "different[] is [], not a list with items"
    ]


@pytest.mark.parametrize("verb", RUNS)
def test_with_json_stdout_is_one_document_with_the_documented_keys(verb, argv, cli, undocumented):
    ran = cli(*argv(RUNS[verb]), "--json")
    assert ran.code == gearline.DONE, ran.err
    assert undocumented(verb, json.loads(ran.out), empty=MAY_BE_EMPTY.get(verb, ())) == []
    assert ran.err == ""


@pytest.mark.parametrize("verb", [v for v in RUNS if v not in JSON_EITHER_WAY])
def test_without_json_stdout_is_text(verb, argv, cli):
    ran = cli(*argv(RUNS[verb]))
    assert ran.code == gearline.DONE, ran.err
    assert ran.out.strip()
    assert not is_json(ran.out)


def test_a_proof_is_the_same_document_with_and_without_json(argv, cli):
    command = argv(RUNS["ledger prove"])
    assert cli(*command).document == cli(*command, "--json").document


def test_the_export_is_one_entry_a_line_and_with_json_one_document(argv, cli):
    lines = cli(*argv(RUNS["ledger export"]))
    entries = cli(*argv(RUNS["ledger export"]), "--json").document["entries"]
    assert [json.loads(line) for line in lines.out.splitlines()] == entries
    assert lines.err == f"{len(entries):,} entries\n"


def test_the_demo_has_the_documented_keys(small_demo, undocumented):
    assert undocumented("demo", small_demo.summary) == []
    stored = json.loads((small_demo.path / "summary.json").read_bytes())
    assert small_demo.summary.keys() - stored.keys() == {"seconds_by_stage"}


def test_the_demo_states_the_auc_of_its_split_and_no_other(small_demo):
    summary = small_demo.summary
    assert summary["split"] == "out-of-time"
    assert summary["auc_default_60_out_of_time"] is not None
    assert summary["auc_default_60_by_client"] is None


def test_the_mean_cap_is_leverage_and_its_amount_is_money(small_demo):
    tiers = [t for t in small_demo.summary["tiers"] if t["mean_cap"] is not None]
    assert tiers
    for tier in tiers:
        assert 1.0 <= tier["mean_cap"] <= 4.0
        assert tier["mean_cap_amt"] > 100.0 or tier["mean_cap"] == 1.0


def test_what_the_demo_says_on_the_way_is_kept_out_of_its_document(cli, small_demo, monkeypatch):
    def spoken(arguments, stages):
        print("on the way")
        return gearline.DONE, small_demo.summary, "the figures"

    monkeypatch.setattr(gearline, "run_demo", spoken)
    with_json = cli("demo", "--json")
    assert (with_json.document, with_json.err) == (small_demo.summary, "on the way\n")
    without = cli("demo")
    assert (without.out, without.err) == ("on the way\nthe figures\n", "")


@pytest.mark.filterwarnings("error::UserWarning", "error::FutureWarning")
def test_training_prints_the_documented_keys_and_the_run_only_with_mlflow(
    small_demo, cli, undocumented, tmp_path, monkeypatch
):
    from training import registry, train

    really, trained = train.train, list[train.Trained]()

    def train_once(*arguments):
        trained[:] = trained or [really(*arguments)]
        return trained[0]

    monkeypatch.setattr("training.commands.train", train_once)
    monkeypatch.setattr(registry, "log_training", lambda *arguments: "a-run")
    command = ("train", small_demo.path, "--out", tmp_path / "bundle")
    plain = cli(*command, "--json")
    assert undocumented("train", plain.document) == []
    assert plain.document["bundle_sha256"] == small_demo.summary["bundle_sha256"]
    left_out = {"bundle_sha256", "out"}
    assert small_demo.summary["training"].keys() == plain.document.keys() - left_out
    logged = cli(*command, "--json", "--mlflow", tmp_path / "runs")
    assert undocumented("train", logged.document, given=["--mlflow"]) == []
    assert not is_json(cli(*command).out)


def test_the_replay_of_one_decision_has_its_body_too(argv, cli, undocumented, decision_id):
    ran = cli(*argv("replay {id} --lake {demo}", id=decision_id), "--json")
    assert undocumented("replay", ran.document, given=["ID"], empty=["different[]"]) == []
    body = {**ran.document["decision"], "decision_sha256": "0" * 64}
    assert undocumented("decide", body) == []
    assert body["decision_id"] == decision_id


def test_a_night_that_is_recorded_names_its_segments(demo_copy, cli, undocumented):
    command = ("reprice", demo_copy, "--as-of", "2020-03-20", "--json")
    document = cli(*command).document
    assert undocumented("reprice", document, empty=["beside[]"]) == []
    assert document["segments"]
    # what was not done again took no memory and no time
    idle = {"repeated": True, "peak_rss_mb": 0, "cpu_seconds_by_stage": {}}
    assert cli(*command).document == {**document, **idle}


def test_a_changed_decision_is_found_with_the_documented_keys_and_exit_code_1(
    demo_copy, cli, undocumented, decision_id
):
    path = sorted(demo_copy.glob("runs/*/bucket=*/decisions.parquet"))[0]
    table = pq.read_table(path, partitioning=None)
    place = table.schema.get_field_index("rate_bps")
    higher = pc.add(table["rate_bps"], 1).cast(table["rate_bps"].type)
    pq.write_table(table.set_column(place, table.schema.field(place), higher), path)

    replayed = cli("replay", decision_id, "--lake", demo_copy, "--json")
    assert replayed.code == gearline.FOUND
    assert undocumented("replay", replayed.document, given=["ID"]) == []
    assert "rate_bps" in replayed.document["different"][0]["what"]
    verified = cli("ledger", "verify", "--lake", demo_copy, "--json")
    assert verified.code == gearline.FOUND
    assert undocumented("ledger verify", verified.document) == []
    assert verified.document["first_bad"]["what"] == "segment file changed"


def test_a_bad_row_is_found_with_the_documented_keys_and_exit_code_1(
    tiny_lake, tmp_path, cli, undocumented
):
    lake = shutil.copytree(tiny_lake, tmp_path / "copy")
    path = lake / "sessions" / "part-0.parquet"
    table = pq.read_table(path)
    [row] = table.slice(0, 1).to_pylist()
    row["close_at"] += dt.timedelta(hours=1)
    other = pa.Table.from_pylist([row], schema=table.schema)
    pq.write_table(pa.concat_tables([table, other]), path)
    checked = cli("data", "check", lake, "--json")
    assert checked.code == gearline.FOUND
    assert undocumented("data check", checked.document) == []
    assert checked.document["by_rule"] == {"sessions.key_unique": 1}


def test_a_simulated_lake_keeps_every_rule(tiny_lake, cli):
    checked = cli("data", "check", tiny_lake, "--json")
    assert checked.code == gearline.DONE
    assert checked.document["by_rule"] == {}
    assert checked.document["stopped"] == []


def test_a_stopped_lake_is_found_by_the_check_and_refused_by_what_decides(tiny_lake, tmp_path, cli):
    lake = shutil.copytree(tiny_lake, tmp_path / "copy")
    path = lake / "bars" / "part-0.parquet"
    table = pq.read_table(path)
    place = table.schema.get_field_index("close")
    zero = pc.multiply(table["close"], 0).cast(table["close"].type)
    pq.write_table(table.set_column(place, table.schema.field(place), zero), path)
    checked = cli("data", "check", lake, "--json")
    assert checked.code == gearline.FOUND
    assert "bars.close_gt_0" in checked.document["stopped"][0]
    with pytest.raises(InputError, match="was stopped by its last check: table bars"):
        read_table(lake, "balances")
