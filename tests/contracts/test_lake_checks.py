"""The checks: a row that breaks a rule is found, named and set aside; good rows go on."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.checks import CheckReport, check_lake, check_rows
from data_contracts.errors import InputError
from data_contracts.lake import read_table
from data_contracts.row_rules import Bound, NotNull, OneOf, Ordered, row_rules
from data_contracts.tables import TABLES

ROWS = 200
BAD = 117
DAY = dt.timedelta(days=1)
EVERY_RULE = [
    pytest.param(name, k, id=f"{name}: {rule.name}")
    for name, spec in TABLES.items()
    for k, rule in enumerate(row_rules(spec))
]


def _break(rule, row):
    """Change a good row so that the rule is the first that it breaks."""
    column = rule.columns[0]
    match rule:
        case NotNull():
            row[column] = None
        case Bound(sign=sign, bound=bound):
            row[column] = bound + {">=": -1, "<=": 1, ">": 0}[sign]
        case OneOf():
            row[column] = "nonsense"
        case Ordered(sign=sign, word=word):
            right = row[rule.columns[1]]
            step = DAY if isinstance(right, dt.date) else 1
            row[column] = {">=": right - step, "<=": right + step, ">": right}[sign]
            if word is not None:
                row[rule.columns[2]] = word


@pytest.fixture
def broken_table(good_rows, as_table):
    def build(spec, *rules):
        rows = good_rows(spec, ROWS)
        for k, rule in enumerate(rules):
            _break(rule, rows[BAD + k])
        return as_table(spec, rows)

    return build


@pytest.mark.parametrize("name", TABLES)
def test_good_rows_pass_unchanged(good_rows, as_table, name):
    table = as_table(TABLES[name], good_rows(TABLES[name], ROWS))
    checked = check_rows(TABLES[name], table)
    assert checked.good.equals(table)
    assert checked.bad.num_rows == 0


@pytest.mark.parametrize(("name", "k"), EVERY_RULE)
def test_a_row_that_breaks_a_rule_is_found_named_and_not_read(lake, plant, broken_table, name, k):
    spec, rule = TABLES[name], row_rules(TABLES[name])[k]
    table = broken_table(spec, rule)
    good = table.filter(pa.array(np.arange(ROWS) != BAD))

    checked = check_rows(spec, table)
    (bad,) = checked.bad.to_pylist()
    assert (bad["row"], bad["rule"], bad["way_out"]) == (BAD, rule.name, rule.way_out)
    assert {c: bad[c] for c in table.column_names} == table.slice(BAD, 1).to_pylist()[0]
    assert checked.good.equals(good)

    path = plant(lake, spec, table)
    assert read_table(lake, name).to_pylist() == good.to_pylist()
    first = spec.columns[0].name
    assert read_table(lake, name, columns=[first])[first].to_pylist() == good[first].to_pylist()

    report = check_lake(lake)
    assert report == CheckReport(ROWS, 1, {f"{name}: {rule.name}": 1})
    (kept,) = pq.read_table(lake / "quarantine" / f"{name}.parquet").to_pylist()
    assert kept == {"file": path.relative_to(lake).as_posix(), **bad}


@pytest.mark.parametrize(("name", "k"), EVERY_RULE)
def test_files_without_statistics_are_checked_all_the_same(lake, broken_table, name, k):
    spec, rule = TABLES[name], row_rules(TABLES[name])[k]
    path = lake / name / "part-0.parquet"
    path.parent.mkdir()
    pq.write_table(broken_table(spec, rule), path, write_statistics=False)
    assert read_table(lake, name, columns=["known_at"]).num_rows == (ROWS - 1)


def test_the_value_of_a_broken_rule_is_stated(broken_table):
    bars = TABLES["bars"]
    rules = {rule.name: rule for rule in row_rules(bars)}
    chosen = [rules[n] for n in ("close not null", "open >= 0", "close > 0", "high >= low")]
    bad = check_rows(bars, broken_table(bars, *chosen)).bad
    assert bad["rule"].to_pylist() == [rule.name for rule in chosen]
    assert bad["value"].to_pylist() == ["null", "-1.0000", "0.0000", "high=0.0000, low=1.0000"]
    assert bad["way_out"].to_pylist() == [
        "supply the value or leave the row out",
        "correct the value or its unit",
        "correct the value or its unit",
        "correct high or low",
    ]


def test_what_is_owed_may_exceed_the_opening_principal_of_a_margin_loan_only(good_rows, as_table):
    spec = TABLES["contracts"]
    rows = good_rows(spec, 2)
    for row, kind in zip(rows, ("margin_loan", "financing"), strict=True):
        row |= {"kind": kind, "principal_amt": Decimal(5), "outstanding_amt": Decimal(6)}
    (bad,) = check_rows(spec, as_table(spec, rows)).bad.to_pylist()
    assert bad["row"] == 1
    assert bad["value"] == "outstanding_amt=6.00, principal_amt=5.00, kind=financing"


def test_a_fact_may_be_known_before_it_happens(good_rows, as_table):
    spec = TABLES["instruments"]
    rows = good_rows(spec, 3)
    for row in rows:
        row["known_at"] = row["event_at"] - 30 * DAY
    assert check_rows(spec, as_table(spec, rows)).bad.num_rows == 0


def test_a_row_that_breaks_two_rules_is_set_aside_once(broken_table, good_rows, as_table):
    spec = TABLES["balances"]
    rows = good_rows(spec, 3)
    rows[1] |= {"client_id": None, "debt_amt": Decimal(-1)}
    (bad,) = check_rows(spec, as_table(spec, rows)).bad.to_pylist()
    assert bad["rule"] == "client_id not null"


def test_statistics_alone_prove_a_clean_file(lake, plant, good_rows, as_table, monkeypatch):
    def refuse(rules, table):
        assert not rules, f"{[rule.name for rule in rules]} are looked at row by row"

    monkeypatch.setattr("data_contracts.lake.first_broken", refuse)
    for name in ("balances", "firm_state", "rates"):
        spec = TABLES[name]
        plant(lake, spec, as_table(spec, good_rows(spec, ROWS)))
        assert read_table(lake, name).num_rows == ROWS


# --- the whole lake -------------------------------------------------------------------------


def _versions(good_rows, changes):
    rows = good_rows(TABLES["balances"], ROWS)
    return rows, [rows[BAD] | change for change in changes]


def test_the_same_key_and_known_at_with_other_content_keeps_the_later_row(
    lake, plant, good_rows, as_table
):
    spec = TABLES["balances"]
    rows, later = _versions(good_rows, [{"cash_amt": Decimal(7)}])
    plant(lake, spec, as_table(spec, rows + later))
    assert check_lake(lake) == CheckReport(ROWS + 1, 1, {"balances: duplicate key": 1})
    (bad,) = pq.read_table(lake / "quarantine" / "balances.parquet").to_pylist()
    assert (bad["row"], bad["cash_amt"]) == (BAD, Decimal(1))
    assert bad["value"] == (
        f"account_id={BAD:04d}, session={rows[BAD]['session']},"
        f" known_at={rows[BAD]['known_at']:%Y-%m-%d %H:%M:%S}.000000Z"
    )
    assert bad["way_out"] == "give a correction a later known_at; the later row was kept"


def test_the_same_row_twice_and_a_later_version_are_no_duplicates(lake, plant, good_rows, as_table):
    spec = TABLES["balances"]
    known = good_rows(spec, ROWS)[BAD]["known_at"]
    rows, later = _versions(good_rows, [{}, {"known_at": known + DAY, "cash_amt": Decimal(7)}])
    plant(lake, spec, as_table(spec, rows + later))
    assert check_lake(lake) == CheckReport(ROWS + 2, 0, {})


def test_duplicates_are_found_across_the_files_of_a_bucket(lake, plant, good_rows, as_table):
    spec = TABLES["balances"]
    rows, later = _versions(good_rows, [{"cash_amt": Decimal(7)}])
    path = plant(lake, spec, as_table(spec, rows))
    pq.write_table(as_table(spec, later), path.with_name("part-1.parquet"))
    assert check_lake(lake).by_rule == {"balances: duplicate key": 1}


def test_a_row_of_an_unknown_client_or_account_is_set_aside(lake, plant, good_rows, as_table):
    for name in ("clients", "accounts", "balances"):
        rows = good_rows(TABLES[name], ROWS)
        if name == "accounts":
            rows[3]["client_id"] = "nobody"
        if name == "balances":
            rows[5]["account_id"] = "nothing"
        plant(lake, TABLES[name], as_table(TABLES[name], rows))
    assert check_lake(lake) == CheckReport(
        3 * ROWS, 2, {"accounts: client_id in clients": 1, "balances: account_id in accounts": 1}
    )
    (bad,) = pq.read_table(lake / "quarantine" / "accounts.parquet").to_pylist()
    assert (bad["value"], bad["way_out"]) == (
        "nobody",
        "add its row to table clients or correct the number",
    )


def test_a_later_check_removes_the_quarantine_of_what_was_mended(
    lake, plant, broken_table, good_rows, as_table
):
    spec = TABLES["bars"]
    plant(lake, spec, broken_table(spec, row_rules(spec)[0]))
    check_lake(lake)
    assert (lake / "quarantine" / "bars.parquet").is_file()
    plant(lake, spec, as_table(spec, good_rows(spec, ROWS)))
    assert check_lake(lake).quarantined == 0
    assert not (lake / "quarantine" / "bars.parquet").exists()


def test_a_check_that_shall_not_write_writes_nothing(lake, plant, broken_table):
    spec = TABLES["bars"]
    plant(lake, spec, broken_table(spec, row_rules(spec)[0]))
    assert check_lake(lake, write=False).quarantined == 1
    assert not (lake / "quarantine").exists()


def test_a_table_with_too_many_bad_rows_is_refused_with_rule_and_share(lake, plant, broken_table):
    spec = TABLES["bars"]
    rule = next(rule for rule in row_rules(spec) if rule.name == "close > 0")
    plant(lake, spec, broken_table(spec, rule, rule, rule))
    with pytest.raises(InputError) as refused:
        check_lake(lake)
    assert str(refused.value) == (
        "table bars: 3 of 200 rows are bad (1.50 %, at most 1 % is allowed), most by the rule"
        " 'close > 0', for example 0.0000 (bars/part-0.parquet, row 117);"
        " correct the value or its unit"
    )
    assert pq.read_table(lake / "quarantine" / "bars.parquet").num_rows == 3


def test_a_folder_that_is_no_lake_is_not_checked(tmp_path):
    with pytest.raises(InputError, match=r"is not a lake: it has no lake\.json"):
        check_lake(tmp_path)


def test_a_check_reports_its_progress(lake, plant, good_rows, as_table):
    for name in ("bars", "rates"):
        plant(lake, TABLES[name], as_table(TABLES[name], good_rows(TABLES[name], 5)))
    told: list[tuple[str, int, int]] = []
    check_lake(lake, progress=lambda *step: told.append(step))
    assert told == [("bars", 0, 2), ("rates", 1, 2), ("", 2, 2)]
