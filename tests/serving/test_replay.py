"""Replay decides again from what is stored, and names what no longer comes out the same."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.decision import DECISION_ENGINE_VERSION

ALL = 100_000
"""More than any record here holds."""
NULL = np.iinfo(np.int64).min
TABLE = "bundle/tables/default_60.json"


def run_folder(record, night):
    return record / "runs" / night["run_id"]


def stored(record, night, bucket=0):
    return pq.read_table(
        run_folder(record, night) / f"bucket={bucket:03d}" / "decisions.parquet", partitioning=None
    )


def rewrite(path, change):
    """Change one table of a Parquet file."""
    pq.write_table(change(pq.read_table(path, partitioning=None)), path)


def with_row(table, name, row, value):
    values = table[name].to_pylist()
    assert values[row] != value
    values[row] = value
    index = table.schema.get_field_index(name)
    return table.set_column(index, name, pa.array(values, table.schema.field(name).type))


def replayed(cli, record, *what):
    ran = cli("replay", *what, "--lake", record, "--json")
    return ran.code, ran.document


def everything(cli, record):
    """Replay the whole record; the differing decisions by id."""
    code, document = replayed(cli, record, "--sample", ALL)
    different = {d["decision_id"]: d["what"] for d in document["different"]}
    assert document["equal"] == document["checked"] - len(different)
    assert code == (1 if different else 0)
    return different


def one_line(ran, code=2):
    assert (ran.code, ran.out) == (code, "")
    [line] = ran.err.splitlines()
    assert line.startswith("gearline: ")
    return line


# --- an untouched record --------------------------------------------------------------------------


def test_five_hundred_decisions_of_the_demo_come_out_equal(cli, small_demo):
    code, document = replayed(cli, small_demo.path, "--sample", 500)
    assert code == 0
    assert document == {
        "checked": 500,
        "equal": 500,
        "different": [],
        "engine_version": DECISION_ENGINE_VERSION,
    }


def test_a_sample_larger_than_the_record_takes_all_of_it(cli, record, two_nights):
    code, document = replayed(cli, record, "--sample", ALL)
    assert code == 0
    held = two_nights.first["decisions"] + two_nights.second["decisions"]
    assert document["checked"] == document["equal"] == held


def test_without_json_a_person_is_told_how_many_were_equal(cli, record):
    ran = cli("replay", "--sample", 7, "--lake", record)
    assert (ran.code, ran.out) == (
        0,
        f"7 decided again, 7 equal (engine {DECISION_ENGINE_VERSION})\n",
    )


@pytest.mark.parametrize("count", [0, -3])
def test_a_sample_of_none_is_refused(cli, record, count):
    assert f"--sample is {count}" in one_line(cli("replay", "--sample", count, "--lake", record))


def test_a_folder_without_a_ledger_is_refused(cli, tmp_path):
    assert "no ledger" in one_line(cli("replay", "--sample", 5, "--lake", tmp_path))


# --- one decision ---------------------------------------------------------------------------------


def test_a_stored_decision_is_printed_as_the_very_bytes_that_were_hashed(cli, record, two_nights):
    table = stored(record, two_nights.second, bucket=2)
    row = table.num_rows // 2
    decision_id = table["decision_id"][row].as_py()
    code, document = replayed(cli, record, decision_id)
    assert (code, document["checked"], document["equal"]) == (0, 1, 1)
    body = document["decision"]
    assert body["decision_id"] == decision_id
    assert body["client_id"] == table["client_id"][row].as_py()
    assert body["rate_bps"] == table["rate_bps"][row].as_py()
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(canonical.encode()).digest()
    assert digest == table["decision_sha256"][row].as_py()


def test_without_json_the_decision_is_printed_before_the_count(cli, record, two_nights):
    decision_id = stored(record, two_nights.first)["decision_id"][0].as_py()
    ran = cli("replay", decision_id, "--lake", record)
    assert ran.code == 0
    body, _, count = ran.out.rpartition("}\n")
    assert json.loads(body + "}")["decision_id"] == decision_id
    assert count == f"1 decided again, 1 equal (engine {DECISION_ENGINE_VERSION})\n"


def test_an_unknown_decision_is_refused_in_one_line(cli, record):
    unknown = "00000000-0000-8000-8000-000000000000"
    assert unknown in one_line(cli("replay", unknown, "--lake", record))


# --- a record that was tampered with --------------------------------------------------------------


def test_one_changed_cell_of_the_scorer_is_found_and_named(cli, record, two_nights):
    """The cell is the one of a single-feature table that most clients of the first bucket are in.

    Every decision is named, for its bundle is another one; those in the cell for their score too.
    """
    folder = run_folder(record, two_nights.first) / "bucket=000"
    features = np.array(pq.read_table(folder / "inputs.parquet")["features"].to_pylist())
    document = orjson.loads((record / TABLE).read_bytes())
    singles = [e for e in document["effects"] if len(e["features"]) == 1]
    held = [
        np.bincount(1 + np.searchsorted(e["splits"][0], column[column != NULL]))
        for e in singles
        for column in [features[:, e["features"][0]]]
    ]
    effect = max(range(len(singles)), key=lambda k: held[k].max())
    cell = int(held[effect].argmax())
    singles[effect]["score"][cell] += 1 << 36
    singles[effect]["first"][cell] += 1 << 36
    (record / TABLE).write_bytes(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))

    different = everything(cli, record)
    assert len(different) == two_nights.first["decisions"] + two_nights.second["decisions"]
    cause = "the bundle is not the one the decision was made with"
    assert all(what.startswith(cause) for what in different.values())
    scored = [what for what in different.values() if " score, pd_e9, " in what]
    assert len(scored) >= held[effect].max()

    ran = cli("replay", "--sample", 50, "--lake", record)
    assert ran.code == 1
    first, *named, rest = ran.out.splitlines()
    assert first == f"50 decided again, 0 equal (engine {DECISION_ENGINE_VERSION})"
    assert len(named) == 20
    assert all(line.split(": ")[0].strip() in different for line in named)
    assert rest == "  and 30 more; --json lists all"


def test_a_cell_of_the_scorer_that_contradicts_its_attribution_is_named_so(cli, record):
    document = orjson.loads((record / TABLE).read_bytes())
    document["effects"][0]["score"][0] += 1
    (record / TABLE).write_bytes(orjson.dumps(document, option=orjson.OPT_SORT_KEYS))
    different = everything(cli, record)
    assert different
    assert all("attributions do not sum to the score" in what for what in different.values())


def test_a_changed_feature_of_one_client_is_named_with_its_decision(cli, record, two_nights):
    path = run_folder(record, two_nights.second) / "bucket=001" / "inputs.parquet"
    row = 3

    def change(table):
        features = table["features"][row].as_py()
        return with_row(table, "features", row, [features[0] + 1, *features[1:]])

    rewrite(path, change)
    wanted = stored(record, two_nights.second, bucket=1)["decision_id"][row].as_py()
    different = everything(cli, record)
    assert list(different) == [wanted]
    assert "decision_sha256" in different[wanted]


def test_a_changed_case_of_one_client_is_named_with_its_decision(cli, record, two_nights):
    path = run_folder(record, two_nights.first) / "bucket=003" / "inputs.parquet"
    row = 1

    def change(table):
        case = json.loads(table["case"][row].as_py())
        case["book"]["cash_amt"] = "123456789.01"
        return with_row(table, "case", row, json.dumps(case).encode())

    rewrite(path, change)
    wanted = stored(record, two_nights.first, bucket=3)["decision_id"][row].as_py()
    different = everything(cli, record)
    assert list(different) == [wanted]
    assert "equity_amt" in different[wanted]


@pytest.mark.parametrize(("column", "value"), [("rate_bps", 1), ("client_id", "C000000000000")])
def test_one_changed_value_of_a_stored_decision_is_named(cli, record, two_nights, column, value):
    path = run_folder(record, two_nights.first) / "bucket=002" / "decisions.parquet"
    rewrite(path, lambda table: with_row(table, column, 5, value))
    wanted = stored(record, two_nights.first, bucket=2)["decision_id"][5].as_py()
    assert everything(cli, record) == {wanted: f"differs in {column}"}
    assert replayed(cli, record, wanted)[0] == 1


def test_a_row_taken_out_of_a_segment_is_named_with_the_segment(cli, record, two_nights):
    path = run_folder(record, two_nights.first) / "bucket=002" / "decisions.parquet"
    rows = stored(record, two_nights.first, bucket=2).num_rows
    rewrite(path, lambda table: table.slice(1))
    different = everything(cli, record)
    assert len(different) == rows
    assert all(f"is not the sealed segment of {rows} rows" in w for w in different.values())


def change_funding(folder):
    path = folder / "market.json"
    manifest = orjson.loads(path.read_bytes())
    manifest["funding_bps"] += 25
    path.write_bytes(orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS))


def change_a_price(folder):
    def change(table):
        return with_row(table, "price", 0, table["price"][0].as_py() * 2)

    rewrite(folder / "securities.parquet", change)


def change_scenarios(folder):
    scenarios = np.load(folder / "scenarios.npy")
    np.save(folder / "scenarios.npy", scenarios * 2)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (change_funding, "rate_bps"),
        (change_a_price, "equity_amt"),
        (change_scenarios, "decision_sha256"),
    ],
)
def test_a_changed_market_snapshot_is_named_for_every_decision_of_its_night(
    cli, record, two_nights, change, column
):
    change(run_folder(record, two_nights.second) / "market")
    different = everything(cli, record)
    ids = {
        i
        for bucket in range(4)
        for i in stored(record, two_nights.second, bucket)["decision_id"].to_pylist()
    }
    assert set(different) == ids
    cause = "the market snapshot is not the one the decision was made with"
    assert all(what.startswith(cause) for what in different.values())
    assert any(column in what for what in different.values())


@pytest.mark.parametrize("file", ["market.json", "scenarios.npy", "securities.parquet"])
def test_a_damaged_market_snapshot_is_a_finding_and_no_crash(cli, record, two_nights, file):
    path = run_folder(record, two_nights.first) / "market" / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    different = everything(cli, record)
    assert len(different) == two_nights.first["decisions"]
    assert all("cannot be decided again" in what for what in different.values())


@pytest.mark.parametrize("file", ["decisions.parquet", "inputs.parquet"])
def test_a_missing_file_of_a_segment_is_named(cli, record, two_nights, file):
    path = run_folder(record, two_nights.first) / "bucket=001" / file
    path.unlink()
    ran = cli("replay", "--sample", ALL, "--lake", record)
    assert ran.code in (1, 2)
    assert str(path) in ran.out + ran.err
    assert "missing" in ran.out + ran.err
