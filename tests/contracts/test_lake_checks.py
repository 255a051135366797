"""The checks: a row that breaks a rule is found, named and set aside; good rows go on."""

import datetime as dt
import importlib.util
from decimal import Decimal
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.checks import CheckReport, check_lake
from data_contracts.errors import InputError
from data_contracts.lake import LakeInfo, create_lake, read_table
from data_contracts.quality.rules import all_rules, rules_of
from data_contracts.tables import TABLES

_SPEC = importlib.util.spec_from_file_location("faults", Path(__file__).with_name("faults.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
faults = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(faults)

BAD = faults.BAD
ROWS = 200
DAY = dt.timedelta(days=1)
EVERY_RULE = list(all_rules())


def quarantine(lake, name):
    return pq.read_table(lake / "quarantine" / f"{name}.parquet")


def test_rows_that_keep_every_rule_pass_with_every_rule_looked_at(consistent_rows, write_rows):
    lake = write_rows(consistent_rows())
    report = check_lake(lake)
    assert report.by_rule == {}
    assert report.stopped == {}
    assert report.rows == ROWS * len(TABLES)
    assert set(report.checked) == set(EVERY_RULE)
    assert not list((lake / "quarantine").glob("*.parquet"))


@pytest.mark.parametrize("name", EVERY_RULE)
def test_a_planted_fault_of_every_rule_is_found_counted_quarantined_and_recoverable(
    consistent_rows, write_rows, as_table, name
):
    rule, tables = all_rules()[name], consistent_rows()
    bad = faults.plant_fault(rule, tables)
    alone = {rule.table, *rule.needs, *(["trades"] if rule.kind == "fresh" else [])}
    lake = write_rows(tables if rule.kind == "cross" else {n: tables[n] for n in alone})

    report = check_lake(lake)
    assert report.by_rule[name] == 1
    assert report.quarantined >= 1

    [found] = [r for r in quarantine(lake, rule.table).to_pylist() if r["rule"] == name]
    assert (found["table"], found["row"]) == (rule.table, bad)
    assert (found["text"], found["way_out"]) == (rule.en, rule.way_out)
    stored = pq.read_table(lake / found["file"], partitioning=None)
    row = {c.name: found[c.name] for c in TABLES[rule.table].columns}
    assert row == stored.slice(found["row"], 1).to_pylist()[0]
    wanted = as_table(TABLES[rule.table], tables[rule.table][bad : bad + 1]).to_pylist()
    assert [row] == wanted

    if not report.stopped:
        left_out = {"left out": 1}.get(rule.effect, 0)
        assert read_table(lake, rule.table).num_rows == len(tables[rule.table]) - left_out


@pytest.mark.parametrize("name", [name for name, rule in all_rules().items() if rule.kind == "row"])
def test_a_file_without_statistics_is_checked_and_read_all_the_same(
    lake, consistent_rows, as_table, name
):
    rule, tables = all_rules()[name], consistent_rows()
    faults.plant_fault(rule, tables)
    path = lake / rule.table / "part-0.parquet"
    path.parent.mkdir()
    table = as_table(TABLES[rule.table], tables[rule.table])
    pq.write_table(table, path, write_statistics=False)
    assert check_lake(lake, write=False).by_rule[name] == 1
    assert read_table(lake, rule.table, columns=["known_at"]).num_rows == ROWS - 1


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_counts_do_not_depend_on_the_threads(consistent_rows, write_rows, threads):
    tables = consistent_rows()
    planted = ("balances.cash_reconciles", "trades.not_suspended", "sessions.no_overlap")
    for name in planted:
        faults.plant_fault(all_rules()[name], tables)
    assert check_lake(write_rows(tables), threads=threads).by_rule == dict.fromkeys(
        sorted(planted, key=EVERY_RULE.index), 1
    )


def test_the_value_of_a_broken_rule_is_stated(consistent_rows, write_rows):
    tables = consistent_rows()
    rows = tables["bars"]
    rows[1]["close"], rows[2]["open"], rows[3]["high"] = None, Decimal(-1), Decimal(0)
    tables["balances"][4]["cash_amt"] = Decimal("0.01")
    lake = write_rows(tables)
    check_lake(lake)
    values = {r["rule"]: r["value"] for r in quarantine(lake, "bars").to_pylist()}
    assert values["bars.close_not_null"] == "null"
    assert values["bars.open_ge_0"] == "-1.0000"
    assert values["bars.high_ge_low"] == "high=0.0000, low=1.0000"
    [cash] = quarantine(lake, "balances").to_pylist()
    assert cash["value"] == "cash_amt=0.01, expected 0.00"


def test_what_identifies_a_person_is_no_value_of_a_finding(consistent_rows, write_rows):
    tables = consistent_rows()
    tables["identities"][3]["ciphertext"] = None
    lake = write_rows(tables)
    check_lake(lake)
    [found] = quarantine(lake, "identities").to_pylist()
    assert found["value"] == "(hidden)"


def test_a_row_that_breaks_two_rules_counts_once_as_a_row_and_under_each_rule(
    consistent_rows, write_rows
):
    tables = consistent_rows()
    tables["rates"][5] |= {"tenor_days": 0, "rate_bps": None}
    report = check_lake(write_rows(tables))
    assert (report.quarantined, report.by_rule) == (
        1,
        {"rates.rate_bps_not_null": 1, "rates.tenor_days_ge_1": 1},
    )


def test_a_fact_may_be_known_before_it_happens_where_the_table_allows(consistent_rows, write_rows):
    tables = consistent_rows()
    for row in tables["instruments"]:
        row["known_at"] = row["event_at"] - 30 * DAY
    assert check_lake(write_rows(tables)).by_rule == {}


# --- keys, versions, files --------------------------------------------------------------------


def test_the_same_row_twice_and_a_later_version_are_no_duplicates(consistent_rows, write_rows):
    tables = consistent_rows()
    rows = tables["balances"]
    rows += [dict(rows[BAD]), rows[BAD] | {"known_at": rows[BAD]["known_at"] + DAY}]
    assert check_lake(write_rows(tables)).by_rule == {}


def test_a_later_version_that_corrects_a_balance_is_what_must_reconcile(
    consistent_rows, write_rows
):
    tables = consistent_rows()
    rows = tables["balances"]
    later = {"known_at": rows[BAD]["known_at"] + DAY}
    rows[BAD]["cash_amt"], right = Decimal(5), rows[BAD] | later
    rows.append(right)
    assert check_lake(write_rows(tables)).by_rule == {}
    rows[-1]["cash_amt"] = Decimal(7)
    assert check_lake(write_rows(tables)).by_rule == {"balances.cash_reconciles": 1}


def test_duplicates_are_found_across_files_and_buckets(lake, consistent_rows, plant, as_table):
    spec, rows = TABLES["trades"], consistent_rows()["trades"]
    path = plant(lake, spec, as_table(spec, rows))
    other = lake / "trades" / "bucket=001" / "part-0.parquet"
    other.parent.mkdir()
    pq.write_table(as_table(spec, [rows[BAD] | {"quantity_shares": 9}]), other)
    pq.write_table(as_table(spec, [rows[3] | {"price": Decimal(9)}]), path.with_name("z.parquet"))
    report = check_lake(lake)
    assert report.by_rule["trades.key_unique"] == 2
    found = [(r["file"], r["row"]) for r in quarantine(lake, "trades").to_pylist()]
    assert found == [("trades/bucket=000/part-0.parquet", k) for k in (3, BAD)]


def test_files_of_other_but_convertible_types_are_checked_like_the_others(
    lake, consistent_rows, plant, as_table
):
    spec, rows = TABLES["rates"], consistent_rows()["rates"]
    rows[BAD]["tenor_days"] = 0
    table = as_table(spec, rows)
    path = plant(lake, spec, table)
    narrow = table.set_column(
        table.schema.get_field_index("tenor_days"), "tenor_days", table["tenor_days"].cast("int16")
    )
    pq.write_table(narrow, path.with_name("part-1.parquet"))
    assert check_lake(lake).by_rule == {"rates.tenor_days_ge_1": 2}
    assert [r["file"] for r in quarantine(lake, "rates").to_pylist()] == [
        "rates/part-0.parquet",
        "rates/part-1.parquet",
    ]


def test_a_file_without_a_declared_column_is_refused(lake, consistent_rows, plant, as_table):
    spec = TABLES["rates"]
    table = as_table(spec, consistent_rows()["rates"]).drop_columns(["rate_bps"])
    plant(lake, spec, table)
    with pytest.raises(InputError, match="column 'rate_bps' of table rates is missing"):
        check_lake(lake)


# --- quarantine and stopping ------------------------------------------------------------------


def test_a_later_check_removes_the_quarantine_of_what_was_mended(consistent_rows, write_rows):
    tables = consistent_rows()
    tables["bars"][BAD]["close"] = None
    lake = write_rows(tables)
    check_lake(lake)
    assert (lake / "quarantine" / "bars.parquet").is_file()
    write_rows(consistent_rows())
    assert check_lake(lake).quarantined == 0
    assert not (lake / "quarantine" / "bars.parquet").exists()


def test_a_check_that_shall_not_write_writes_nothing(consistent_rows, write_rows):
    tables = consistent_rows()
    tables["bars"][BAD]["close"] = None
    lake = write_rows(tables)
    assert check_lake(lake, write=False).by_rule == {"bars.close_not_null": 1}
    assert not (lake / "quarantine").exists()


def test_too_large_a_share_stops_the_lake_with_rule_and_share_until_it_is_mended(
    consistent_rows, write_rows
):
    tables = consistent_rows()
    for row in tables["rates"][BAD : BAD + 3]:
        row["tenor_days"] = 0
    lake = write_rows(tables)
    report = check_lake(lake)
    assert report.stopped == {
        "rates": "table rates: 3 of 200 rows are bad (1.50 %, at most 1 % is allowed), most by the"
        " rule rates.tenor_days_ge_1 (tenor_days >= 1), for example 0 (rates/part-0.parquet,"
        " row 117); correct the value or its unit"
    }
    assert quarantine(lake, "rates").num_rows == 3
    for name in ("rates", "balances"):
        with pytest.raises(InputError, match="was stopped by its last check: table rates: 3 of"):
            read_table(lake, name)
    write_rows(consistent_rows())
    with pytest.raises(InputError, match="run `gearline data check"):
        read_table(lake, "rates")
    assert check_lake(lake) == CheckReport(
        ROWS * len(TABLES), 0, {}, {}, dict.fromkeys(EVERY_RULE, ROWS)
    )
    assert read_table(lake, "rates").num_rows == ROWS


def test_a_lake_made_anew_in_the_same_folder_is_not_stopped(consistent_rows, write_rows):
    tables = consistent_rows()
    for row in tables["rates"]:
        row["tenor_days"] = 0
    lake = write_rows(tables)
    assert check_lake(lake).stopped
    create_lake(lake, LakeInfo("USD", "XNYS", 2, "test"))
    assert read_table(lake, "bars").num_rows == ROWS


def test_a_stale_table_is_reported_and_does_not_stop(consistent_rows, write_rows):
    tables = consistent_rows()
    del tables["firm_state"][5:]
    report = check_lake(write_rows(tables))
    assert report.by_rule == {"firm_state.fresh": 1}
    assert report.stopped == {}


def test_a_folder_that_is_no_lake_is_not_checked(tmp_path):
    with pytest.raises(InputError, match=r"is not a lake: it has no lake\.json"):
        check_lake(tmp_path)


def test_an_empty_lake_passes(lake):
    assert check_lake(lake).rows == 0


def test_a_check_reports_its_progress(consistent_rows, write_rows):
    tables = consistent_rows()
    told: list[tuple[str, int, int]] = []
    lake = write_rows({name: tables[name] for name in ("bars", "rates", "balances")})
    check_lake(lake, progress=lambda *step: told.append(step))
    assert told == [
        ("balances", 0, 5),
        ("bars", 1, 5),
        ("rates", 2, 5),
        ("market", 3, 5),
        ("book, bucket=000", 4, 5),
        ("", 5, 5),
    ]


# --- what a rule between tables needs ---------------------------------------------------------


def test_a_rule_between_tables_is_idle_without_them(consistent_rows, write_rows):
    tables = consistent_rows()
    report = check_lake(write_rows({"balances": tables["balances"]}))
    assert report.by_rule == {}
    assert set(report.checked) == {rule.name for rule in rules_of("balances") if not rule.needs}


def test_an_account_from_before_the_lake_begins_with_an_opening_balance_and_holding(
    consistent_rows, write_rows
):
    tables = consistent_rows()
    tables["accounts"][BAD]["opened_on"] = dt.date(2001, 1, 1)
    tables["balances"][BAD]["cash_amt"] = Decimal("123.45")
    tables["positions"][BAD]["quantity_shares"] = 77
    assert check_lake(write_rows(tables)).by_rule == {}


def test_a_booking_at_price_0_is_no_fill(consistent_rows, write_rows):
    tables = consistent_rows()
    tables["bars"][BAD]["suspended"] = True
    tables["trades"][BAD]["price"] = Decimal(0)
    tables["balances"][BAD]["cash_amt"] = Decimal(2)
    assert check_lake(write_rows(tables)).by_rule == {}


def test_costs_inside_the_price_may_pass_the_limit_by_a_hundredth(consistent_rows, write_rows):
    tables = consistent_rows()
    tables["instruments"][BAD]["price_limit_ratio"] = Decimal("0.1")
    tables["trades"][BAD]["price"] = Decimal("1.1200")
    tables["balances"][BAD]["cash_amt"] = Decimal("-0.24")
    assert check_lake(write_rows(tables)).by_rule == {}
    tables["trades"][BAD]["price"] = Decimal("1.1300")
    tables["balances"][BAD]["cash_amt"] = Decimal("-0.26")
    assert check_lake(write_rows(tables)).by_rule == {"trades.price_inside_limits": 1}


def test_cents_are_rounded_half_up_fill_by_fill(consistent_rows, write_rows):
    tables = consistent_rows()
    tables["trades"][BAD] |= {"price": Decimal("0.0025")}  # 2 x 0.0025 = 0.005: one cent
    tables["instruments"][BAD]["price_limit_ratio"] = None
    tables["balances"][BAD]["cash_amt"] = Decimal("1.99")
    assert check_lake(write_rows(tables)).by_rule == {}


def test_the_check_leaves_its_end_and_the_counts_of_every_rule_beside_the_quarantine(
    consistent_rows, write_rows
):
    tables = consistent_rows()
    tables["bars"][BAD]["close"] = None
    lake = write_rows(tables)
    check_lake(lake)
    end = orjson.loads((lake / "quarantine" / "check.json").read_bytes())
    assert end["by_rule"] == {"bars.close_not_null": 1}
    results = orjson.loads((lake / "quarantine" / "validation.json").read_bytes())
    counts = {
        r["expectation_config"]["meta"]["rule"]: r["result"]["unexpected_count"]
        for table in results
        for r in table["results"]
    }
    assert counts == dict.fromkeys(EVERY_RULE, 0) | {"bars.close_not_null": 1}


def test_read_rows_are_typed_as_declared_after_a_check(consistent_rows, write_rows):
    lake = write_rows(consistent_rows())
    check_lake(lake)
    read = read_table(lake, "balances")
    assert read.schema.equals(TABLES["balances"].arrow_schema)
    assert isinstance(read, pa.Table)
