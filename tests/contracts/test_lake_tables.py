"""The lake: what is written is read, and a lake that is damaged or another's says so."""

import datetime as dt
import hashlib
import itertools
from decimal import Decimal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_contracts.errors import InputError
from data_contracts.lake import (
    MAX_BUCKETS,
    LakeInfo,
    bucket_of,
    create_lake,
    lake_info,
    latest_versions,
    read_table,
    table_files,
    to_arrow,
    visible_rows,
    write_atomically,
    write_bucketed,
    write_shared,
)
from data_contracts.tables import TABLES
from data_contracts.units import NULL

RATES = TABLES["rates"]
BALANCES = TABLES["balances"]


def _columns(table):
    return {name: table[name] for name in table.column_names}


@pytest.fixture
def rates(good_rows, as_table):
    return as_table(RATES, good_rows(RATES, 6))


@pytest.fixture
def balances(good_rows, as_table):
    return as_table(BALANCES, good_rows(BALANCES, 6))


# --- buckets --------------------------------------------------------------------------------


@given(st.text(max_size=8), st.none() | st.text(max_size=8), st.integers(1, MAX_BUCKETS))
def test_a_bucket_is_the_first_byte_of_the_hash_scaled_to_the_lake(client, group, buckets):
    first = hashlib.sha256((group or client).encode()).digest()[0]
    assert bucket_of(client, group) == first
    assert bucket_of(client, group, buckets) == first * buckets // 256
    assert 0 <= bucket_of(client, group, buckets) < buckets


@given(st.lists(st.text(max_size=8), min_size=2), st.text(min_size=1, max_size=8))
def test_a_related_group_never_crosses_a_bucket_for_any_number_of_buckets(clients, group):
    for buckets in range(1, MAX_BUCKETS + 1):
        assert len({bucket_of(client, group, buckets) for client in clients}) == 1


def test_buckets_of_known_clients_never_change():
    assert [bucket_of(c, None) for c in ("c1", "c2", "c3")] == [208, 156, 124]


# --- writing and reading --------------------------------------------------------------------


def test_a_shared_table_reads_back_as_it_was_written(lake, rates):
    assert write_shared(lake, "rates", _columns(rates)) == 6
    read = read_table(lake, "rates")
    assert read.schema.equals(RATES.arrow_schema)
    assert read.to_pylist() == rates.to_pylist()


def test_a_bucketed_table_keeps_each_row_in_its_bucket_and_in_order(lake, balances):
    bucket = np.array([1, 0, 1, 0, 0, 1])
    assert write_bucketed(lake, "balances", _columns(balances), bucket, 2) == 6
    rows = balances.to_pylist()
    for number in (0, 1):
        read = read_table(lake, "balances", bucket=number)
        assert read.to_pylist() == [rows[k] for k in np.flatnonzero(bucket == number)]
    assert read_table(lake, "balances").num_rows == 6


def test_columns_come_in_the_order_asked(lake, rates):
    write_shared(lake, "rates", _columns(rates))
    read = read_table(lake, "rates", columns=["rate_bps", "session"])
    assert read.column_names == ["rate_bps", "session"]


def test_quanta_are_written_as_decimals(lake, balances):
    columns = _columns(balances) | {"cash_amt": np.array([1234, -1, 0, 5, 6, 7])}
    write_bucketed(lake, "balances", columns, np.zeros(6, dtype=np.int64), 1)
    cash = read_table(lake, "balances", columns=["cash_amt"])["cash_amt"].to_pylist()
    assert cash[:3] == [Decimal("12.34"), Decimal("-0.01"), Decimal("0.00")]


def test_the_null_integer_is_written_as_null(good_rows, as_table):
    spec = TABLES["instruments"]
    columns = _columns(as_table(spec, good_rows(spec, 2)))
    made = to_arrow(spec, columns | {"float_shares": np.array([NULL, 7])})
    assert made["float_shares"].to_pylist() == [None, 7]


def test_a_text_column_can_be_read_as_codes(lake, balances):
    columns, where = _columns(balances), np.array([0, 1, 0, 1, 0, 1])
    for part in (0, 1):  # two files, each with a dictionary of its own
        write_bucketed(lake, "balances", columns, where, 2, part=part)
    plain = read_table(lake, "balances", bucket=1)
    coded = read_table(lake, "balances", bucket=1, coded=["account_id"])
    assert pa.types.is_dictionary(coded["account_id"].type)
    assert coded["account_id"].num_chunks == 1
    place = plain.column_names.index("account_id")
    decoded = coded["account_id"].cast(pa.string())
    assert coded.set_column(place, plain.schema.field(place), decoded).equals(plain)


def test_money_is_stored_as_eight_byte_integers(lake, balances):
    write_bucketed(lake, "balances", _columns(balances), np.zeros(6, dtype=np.int64), 1)
    [path] = table_files(lake, "balances")
    schema = pq.read_metadata(path).schema
    stored = {schema.column(k).name: schema.column(k).physical_type for k in range(len(schema))}
    assert stored["cash_amt"] == "INT64"


def test_equal_tables_give_equal_bytes(lake, rates):
    path = lake / "rates" / "part-0.parquet"
    write_shared(lake, "rates", _columns(rates))
    first = path.read_bytes()
    write_shared(lake, "rates", _columns(rates))
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["part-0.parquet"]


def test_an_empty_table_reads_as_no_rows_of_the_declared_types(lake):
    (lake / "rates").mkdir()
    assert read_table(lake, "rates").schema.equals(RATES.arrow_schema)


def test_files_of_any_nullability_and_exact_type_are_read_together(lake, rates):
    write_shared(lake, "rates", _columns(rates))
    plain = rates.set_column(2, "rate_bps", rates["rate_bps"].cast(pa.int64()))
    pq.write_table(plain, lake / "rates" / "part-1.parquet")
    assert read_table(lake, "rates").num_rows == 12


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    write_atomically(tmp_path / "a" / "b", b"one")
    write_atomically(tmp_path / "a" / "b", b"two")
    assert (tmp_path / "a" / "b").read_bytes() == b"two"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


# --- refusals -------------------------------------------------------------------------------


def _refusal(call, *arguments, **named):
    with pytest.raises(InputError) as refused:
        call(*arguments, **named)
    return str(refused.value)


def test_a_missing_table_is_named_with_its_folder(lake):
    way_out = "restore it, or make the lake with `gearline demo` or `gearline lab simulate`"
    assert _refusal(read_table, lake, "rates") == (
        f"table rates is missing: there is no folder {lake}/rates; {way_out}"
    )
    assert _refusal(table_files, lake, "balances", 1) == (
        f"table balances is missing: there is no folder {lake}/balances/bucket=001; {way_out}"
    )


def test_a_missing_column_is_named_with_the_columns_that_are_there(lake, rates):
    (lake / "rates").mkdir()
    path = lake / "rates" / "part-0.parquet"
    pq.write_table(rates.select(["session", "rate_bps", "known_at"]), path)
    assert _refusal(read_table, lake, "rates") == (
        f"{path}: column 'tenor_days' of table rates is missing; it has session, rate_bps, known_at"
    )
    assert read_table(lake, "rates", columns=["rate_bps"]).num_rows == 6


@pytest.mark.parametrize(
    ("name", "column", "values", "message"),
    [
        ("rates", "rate_bps", ["low"] * 6, "is string, the contract says int32"),
        ("rates", "session", [1.5] * 6, "is double, the contract says date32[day]"),
        (
            "balances",
            "cash_amt",
            [0.5] * 6,
            "is double, the contract says decimal128(18, 2); write decimals, a float is not exact",
        ),
    ],
)
def test_a_column_of_another_type_is_refused(
    lake, plant, good_rows, as_table, name, column, values, message
):
    spec = TABLES[name]
    table = as_table(spec, good_rows(spec, 6))
    at = table.schema.get_field_index(column)
    path = plant(lake, spec, table.set_column(at, column, pa.array(values)))
    assert _refusal(read_table, lake, name) == f"{path}: column {column!r} {message}"


def test_a_file_that_is_no_parquet_is_refused(lake):
    path = lake / "rates" / "part-0.parquet"
    write_atomically(path, b"not a table")
    message = _refusal(read_table, lake, "rates")
    assert message.startswith(f"{path} is no readable Parquet file: ")
    assert message.endswith("; restore it or make the lake again")


def test_a_folder_that_is_no_lake_is_refused_with_the_ways_to_make_one(tmp_path):
    assert _refusal(lake_info, tmp_path) == (
        f"{tmp_path} is not a lake: it has no lake.json; make one with `gearline demo --out DIR`,"
        " `gearline lab simulate --out DIR` or `gearline market import --out DIR`"
    )


def test_lake_json_reads_back(tmp_path):
    info = LakeInfo("CNY", "XSHG", 256, "test", ("survivor-only",))
    create_lake(tmp_path / "new", info)
    assert lake_info(tmp_path / "new") == info


GOOD_INFO = {"currency": "USD", "mic": "XNYS", "buckets": 2, "source": "s", "format": 1}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "is damaged: it is no JSON object; restore it or make the lake again"),
        (
            {"mic": "XNYS", "buckets": 2, "source": "s"},
            "is damaged: missing 1 required positional argument: 'currency';"
            " restore it or make the lake again",
        ),
        (
            GOOD_INFO | {"colour": 1},
            "is damaged: got an unexpected keyword argument 'colour';"
            " restore it or make the lake again",
        ),
        (
            GOOD_INFO | {"buckets": "2"},
            "is damaged: buckets is '2', not 1 to 256; restore it or make the lake again",
        ),
        (GOOD_INFO | {"format": 2, "new": 1}, "has format 2; this version reads format 1"),
    ],
)
def test_a_lake_json_that_is_wrong_is_refused(tmp_path, document, message):
    path = tmp_path / "lake.json"
    path.write_bytes(orjson.dumps(document))
    assert _refusal(lake_info, tmp_path) == f"{path} {message}"


def test_a_lake_json_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "lake.json").write_bytes(b"{")
    message = _refusal(lake_info, tmp_path)
    assert message.startswith(f"{tmp_path / 'lake.json'} is damaged: ")
    assert message.endswith("; restore it or make the lake again")


def test_a_lake_has_1_to_256_buckets(tmp_path):
    assert _refusal(create_lake, tmp_path, LakeInfo("USD", "XNYS", 0, "s")) == (
        "a lake has 1 to 256 buckets, not 0"
    )


def test_rows_of_a_bucket_that_the_lake_lacks_are_refused_not_lost(lake, balances):
    bucket = np.array([0, 1, 2, 0, 0, 0])
    assert _refusal(write_bucketed, lake, "balances", _columns(balances), bucket, 2) == (
        "table balances: 6 buckets for 6 rows, each from 0 to 1; take them from bucket_of"
    )


def test_a_table_without_a_declared_column_is_not_written(lake, rates):
    columns = _columns(rates.drop_columns(["rate_bps"]))
    assert _refusal(write_shared, lake, "rates", columns) == (
        "table rates: column 'rate_bps' is missing"
    )


@pytest.mark.parametrize("values", [[Decimal("12.34")] * 6, [12.34] * 6])
def test_amounts_that_are_no_integer_quanta_are_refused_not_truncated(lake, balances, values):
    kind = "object" if isinstance(values[0], Decimal) else "float64"
    columns = _columns(balances) | {"cash_amt": values}
    assert _refusal(to_arrow, BALANCES, columns) == (
        f"table balances: column 'cash_amt' holds {kind} values;"
        " give int64 quanta of 10**-2 or an Arrow decimal array"
    )


# --- what was known when --------------------------------------------------------------------

HOURS = [dt.datetime(2015, 6, 12, hour, tzinfo=dt.UTC) for hour in (9, 10, 11)]


def _versions(rows):
    stamp = pa.timestamp("us", tz="UTC")
    fields = [("k", pa.string()), ("j", pa.int64()), ("n", pa.int64())]
    return pa.Table.from_pylist(
        rows, schema=pa.schema([*fields, ("event_at", stamp), ("known_at", stamp)])
    )


@pytest.mark.parametrize(("event", "known"), list(itertools.product(range(3), range(3))))
def test_a_row_is_visible_once_it_happened_and_was_known(event, known):
    table = _versions([{"n": 1, "event_at": HOURS[event], "known_at": HOURS[known]}])
    for now in range(3):
        cut_off = np.datetime64(HOURS[now].replace(tzinfo=None))
        assert visible_rows(table, cut_off).num_rows == int(max(event, known) <= now)


def test_the_greatest_known_at_wins_in_every_order_of_rows():
    versions = [{"k": "a", "j": 1, "n": k, "known_at": HOURS[k]} for k in range(3)]
    for order in itertools.permutations(versions):
        assert latest_versions(_versions(order), ["k"])["n"].to_pylist() == [2]


def test_of_two_rows_known_at_the_same_time_the_later_wins():
    rows = [{"k": "a", "n": n, "known_at": HOURS[0]} for n in (3, 1, 2)]
    assert latest_versions(_versions(rows), ["k"])["n"].to_pylist() == [2]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(0, 2))))
def test_the_latest_versions_are_those_of_a_plain_walk(drawn):
    rows = [{"k": k, "j": j, "n": n, "known_at": HOURS[h]} for n, (k, j, h) in enumerate(drawn)]
    best: dict[tuple[str, int], tuple[int, int]] = {}
    for n, (k, j, h) in enumerate(drawn):
        best[k, j] = max(best.get((k, j), (-1, -1)), (h, n))
    kept = latest_versions(_versions(rows), ["k", "j"])["n"].to_pylist()
    assert kept == sorted(n for _, n in best.values())
