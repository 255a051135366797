"""The format ashare-daily: symbols, suspensions, limits, exact numbers, merging."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from data_contracts.errors import InputError
from data_contracts.importers import import_market
from data_contracts.importers.formats import ashare_security
from data_contracts.lake import lake_info, read_table
from data_contracts.units import NULL
from features.panel import load_panel

D1, D2, D3, D4 = "2015-01-05", "2015-01-06", "2015-01-07", "2015-01-08"


def rows_of(out, name, **equal):
    rows = read_table(out, name).to_pylist()
    return [r for r in rows if all(r[k] == v for k, v in equal.items())]


@pytest.mark.parametrize(
    ("code", "symbol", "mic", "board"),
    [
        ("sh600000", "600000", "XSHG", "main"),
        ("sz000001", "000001", "XSHE", "main"),
        ("sh688001", "688001", "XSHG", "star"),
        ("sz300750", "300750", "XSHE", "chinext"),
        ("sz301001", "301001", "XSHE", "chinext"),
        ("bj830799", "830799", "BJSE", "bse"),
        ("bj430047", "430047", "BJSE", "bse"),
        ("sh000300", "000300", "XSHG", "index"),
    ],
)
def test_a_prefixed_code_gives_symbol_exchange_and_board(code, symbol, mic, board):
    security = ashare_security(code)
    assert (security.symbol, security.mic, security.board) == (symbol, mic, board)


def test_a_folder_carries_the_shanghai_calendar_in_utc(ashare_row, ashare_file, tmp_path):
    file = ashare_file([ashare_row("sh600000", D1, 9.05), ashare_row("sz000001", D1, 16.0)])
    report = import_market([file], "ashare-daily", tmp_path / "m")
    info = lake_info(tmp_path / "m")
    assert (info.mic, info.currency, info.flags) == ("XSHG", "CNY", ())
    assert report.rows == {"bars": 2, "instruments": 2, "sessions": 1}
    utc = dt.UTC
    opened, closed = (
        dt.datetime(2015, 1, 5, 1, 30, tzinfo=utc),
        dt.datetime(2015, 1, 5, 7, tzinfo=utc),
    )
    (session,) = rows_of(tmp_path / "m", "sessions")
    assert (session["open_at"], session["close_at"], session["event_at"]) == (
        opened,
        closed,
        opened,
    )
    assert session["known_at"] == opened - dt.timedelta(days=1)
    bar = rows_of(tmp_path / "m", "bars", symbol="000001")[0]
    assert (bar["mic"], bar["event_at"]) == ("XSHE", closed)
    assert bar["known_at"] == closed + dt.timedelta(minutes=30)
    instrument = rows_of(tmp_path / "m", "instruments", symbol="000001")[0]
    assert (instrument["event_at"], instrument["known_at"]) == (opened, opened)


def test_a_missing_session_inside_a_span_is_a_suspension(ashare_row, ashare_file, tmp_path):
    whole = [ashare_row("sh600000", d, 9.0) for d in (D1, D2, D3, D4)]
    gap = [ashare_row("sz000001", D1, 16.0), ashare_row("sz000001", D3, 15.0, pre_close=15.5)]
    report = import_market([ashare_file(whole + gap)], "ashare-daily", tmp_path / "m")
    bars = rows_of(tmp_path / "m", "bars", symbol="000001")
    assert report.suspended_bars == 1
    assert [b["session"].isoformat() for b in bars] == [D1, D2, D3], "nothing after the last bar"
    filled = bars[1]
    assert filled["suspended"]
    assert (filled["close"], filled["pre_close"]) == (Decimal("16.0000"), Decimal("16.0000"))
    assert (filled["volume_shares"], filled["turnover_amt"]) == (0, Decimal("0.00"))
    assert (filled["open"], filled["high"], filled["low"]) == (None, None, None)
    assert not bars[2]["suspended"]
    assert bars[2]["pre_close"] == Decimal("15.5000"), "the exchange's own reference"


def test_instruments_hold_changes_only(ashare_row, ashare_file, tmp_path):
    rows = [
        ashare_row("sh600000", D1, 9.0),
        ashare_row("sh600000", D2, 9.0),
        ashare_row("sh600000", D3, 9.0, limit_pct=0.05, is_st=True),
        ashare_row("sh600000", D4, 9.0, limit_pct=0.05, is_st=True, float_shares=2e8),
    ]
    import_market([ashare_file(rows)], "ashare-daily", tmp_path / "m")
    first, special, grown = rows_of(tmp_path / "m", "instruments")
    assert [r["session"].isoformat() for r in (first, special, grown)] == [D1, D3, D4]
    assert first["price_limit_ratio"] == Decimal("0.100000"), "the float32 0.1 is exactly a tenth"
    assert special["price_limit_ratio"] == Decimal("0.050000")
    assert (first["margin_eligible"], first["collateral_eligible"]) == (True, True)
    assert (special["margin_eligible"], special["collateral_eligible"]) == (False, False)
    assert special["is_special_treatment"]
    assert grown["float_shares"] == 200_000_000
    assert {r["collateral_haircut_ratio"] for r in (first, special, grown)} == {None}


@pytest.mark.parametrize(
    ("stated", "high", "kept"),
    [
        (0.2, 10.0, Decimal("0.200000")),
        (0.44, 14.4, Decimal("0.440000")),
        (0.17, 10.0, None),
        (None, 10.0, None),
        (0.1, 11.0, Decimal("0.100000")),
        (0.1, 11.01, Decimal("0.100000")),
        (0.1, 14.4, None),
    ],
)
def test_a_limit_unknown_to_the_rules_or_broken_by_the_prices_is_null(
    ashare_row, ashare_file, tmp_path, stated, high, kept
):
    row = ashare_row("sh600000", D1, 10.0, limit_pct=stated, high=high)
    report = import_market([ashare_file([row])], "ashare-daily", tmp_path / "m")
    (instrument,) = rows_of(tmp_path / "m", "instruments")
    assert instrument["price_limit_ratio"] == kept
    assert report.unknown_limits == (kept is None)


def test_a_listing_date_needs_a_late_first_bar_and_an_untouched_factor(
    ashare_row, ashare_file, tmp_path
):
    rows = [
        ashare_row("sh600000", D1, 9.0, adj_factor=1.0),
        ashare_row("sz300489", D2, 9.0, adj_factor=1.0),
        ashare_row("sz000001", D2, 9.0, adj_factor=3.5),  # resumes; it was listed long before
    ]
    import_market([ashare_file(rows)], "ashare-daily", tmp_path / "m")
    listed = {r["symbol"]: r["listed_on"] for r in rows_of(tmp_path / "m", "instruments")}
    assert listed == {"600000": None, "300489": dt.date(2015, 1, 6), "000001": None}


def test_numbers_are_exact_and_those_that_cannot_be_are_counted(ashare_row, ashare_file, tmp_path):
    rows = [
        ashare_row("sh600000", D1, 9.05, volume=16_777_216.0 - 1, amount=131_071.5),
        ashare_row("sh600000", D2, 9.06, volume=33_554_434.0, amount=385_288_800.0),
        ashare_row("sh600000", D3, 9.00004, volume=1e3, amount=0.125, float_shares=1e8 + 0.5),
    ]
    report = import_market([ashare_file(rows)], "ashare-daily", tmp_path / "m")
    bars = rows_of(tmp_path / "m", "bars")
    assert [b["close"] for b in bars] == [Decimal("9.0500"), Decimal("9.0600"), Decimal("9.0000")]
    assert [b["volume_shares"] for b in bars] == [16_777_215, 33_554_432, 1000]
    turnover = [Decimal("131071.50"), Decimal("385288800.00"), Decimal("0.12")]
    assert [b["turnover_amt"] for b in bars] == turnover
    assert rows_of(tmp_path / "m", "instruments")[-1]["float_shares"] is None
    assert report.inexact == {
        "open": 1, "high": 1, "low": 1, "close": 1, "pre_close": 1,
        "volume_shares": 1, "turnover_amt": 2, "float_shares": 1,
    }  # fmt: skip


def test_rows_without_a_price_and_repeated_rows_are_dropped_and_counted(
    ashare_row, ashare_file, tmp_path
):
    rows = [
        ashare_row("sh600000", D1, 9.0),
        ashare_row("sh600000", D1, 9.5),
        ashare_row("sh600000", D2, 9.0, low=0.0),
        ashare_row("sh600000", D3, 9.0) | {"close": None},
        ashare_row("sh600000", D4, 9.0, volume=0.0),
        ashare_row("sh600000", "2015-01-09", 9.0),
        ashare_row("sz000001", D4, 9.0),
    ]
    report = import_market([ashare_file(rows)], "ashare-daily", tmp_path / "m")
    assert report.dropped_rows == {
        "non-positive price": 1, "no close": 1, "no volume, a suspension": 1, "duplicate key": 1,
    }  # fmt: skip
    bars = rows_of(tmp_path / "m", "bars", symbol="600000")
    assert bars[0]["close"] == Decimal("9.5000"), "of equal keys the last stays"
    assert [(b["session"].isoformat(), b["suspended"]) for b in bars] == [
        (D1, False), (D4, True), ("2015-01-09", False),
    ]  # fmt: skip


def test_merging_two_files_equals_importing_their_union(ashare_row, ashare_file, tmp_path):
    early = [ashare_row(s, d, 9.0) for s in ("sh600000", "sz000002") for d in (D1, D2)]
    early += [ashare_row("sz000001", D1, 16.0)]
    late = [ashare_row(s, d, 9.1) for s in ("sh600000", "sz000002") for d in (D2, D3)]
    late += [ashare_row("sz000001", D3, 15.0, is_st=True, limit_pct=0.05)]
    files = [ashare_file(early, "early.parquet"), ashare_file(late, "late.parquet")]
    import_market(files[:1], "ashare-daily", tmp_path / "steps")
    merged = import_market(files[1:], "ashare-daily", tmp_path / "steps")
    at_once = import_market(files, "ashare-daily", tmp_path / "at_once")
    union = [r for r in early if (r["symbol"] == "sz000001" or r["date"] != D2)] + late
    single = import_market([ashare_file(union, "union.parquet")], "ashare-daily", tmp_path / "one")
    assert (merged.overwritten_rows, at_once.overwritten_rows, single.overwritten_rows) == (2, 2, 0)
    assert merged.suspended_bars == 1, "the gap between the files is filled too"
    for name in ("bars", "instruments", "sessions"):
        expected = (tmp_path / "one" / name / "part-0.parquet").read_bytes()
        assert (tmp_path / "steps" / name / "part-0.parquet").read_bytes() == expected, name
        assert (tmp_path / "at_once" / name / "part-0.parquet").read_bytes() == expected, name
    source = "ashare-daily: early.parquet; ashare-daily: late.parquet"
    assert lake_info(tmp_path / "steps").source == source


def test_a_suspension_that_a_later_file_fills_is_no_longer_one(ashare_row, ashare_file, tmp_path):
    whole = [ashare_row("sh600000", d, 9.0) for d in (D1, D2, D3)]
    gap = [ashare_row("sz000001", d, 16.0) for d in (D1, D3)]
    first = ashare_file(whole + gap, "a.parquet")
    second = ashare_file([ashare_row("sz000001", D2, 17.0)], "b.parquet")
    assert import_market([first], "ashare-daily", tmp_path / "m").suspended_bars == 1
    report = import_market([second], "ashare-daily", tmp_path / "m")
    assert (report.suspended_bars, report.overwritten_rows) == (0, 0)
    assert rows_of(tmp_path / "m", "bars", symbol="000001")[1]["close"] == Decimal("17.0000")


def test_importing_a_file_again_changes_no_byte(ashare_row, ashare_file, tmp_path):
    rows = [ashare_row("sh600000", d, 9.0) for d in (D1, D2, D3)]
    rows += [ashare_row("sz300489", d, 9.0) for d in (D2, D3)]
    file = ashare_file(rows)
    import_market([file], "ashare-daily", tmp_path / "m")
    before = {p: p.read_bytes() for p in sorted((tmp_path / "m").rglob("*")) if p.is_file()}
    report = import_market([file], "ashare-daily", tmp_path / "m")
    assert report.overwritten_rows == 5
    assert {p: p.read_bytes() for p in sorted((tmp_path / "m").rglob("*")) if p.is_file()} == before


def random_rows(ashare_row, dates, rng):
    symbols = ("sh600000", "sz000001", "sz300001", "sh601398")
    return [
        ashare_row(
            s, str(d), round(float(rng.uniform(5, 50)), 2),
            is_st=bool(rng.random() < 0.2), limit_pct=float(rng.choice([0.05, 0.1, 0.3])),
            float_shares=float(rng.choice([1e8, 2e8])),
        )
        for s in symbols for d in dates if s == "sh600000" or rng.random() < 0.7
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_bars_after_a_date_change_nothing_imported_before_it(
    ashare_row, ashare_file, tmp_path, seed
):
    dates = np.arange(np.datetime64("2015-03-02"), np.datetime64("2015-03-22"))
    rows = random_rows(ashare_row, dates, np.random.default_rng(seed))
    cut = dates[9].item()
    known = [r for r in rows if r["date"] <= str(cut)]
    import_market([ashare_file(rows, "all.parquet")], "ashare-daily", tmp_path / "all")
    import_market([ashare_file(known, "known.parquet")], "ashare-daily", tmp_path / "known")
    last_trade = {r["symbol"][2:]: r["date"] for r in known}
    for name in ("instruments", "sessions", "bars"):
        table = read_table(tmp_path / "all", name)
        before = table.filter(pc.less_equal(table["session"], pa.scalar(cut))).to_pylist()
        if name == "bars":
            # That a security will trade again is what makes its open gap a suspension.
            before = [
                r for r in before
                if not (r["suspended"] and r["session"].isoformat() > last_trade[r["symbol"]])
            ]  # fmt: skip
        assert before == read_table(tmp_path / "known", name).to_pylist(), name


def test_a_csv_file_gives_the_same_market_as_parquet(ashare_row, ashare_file, tmp_path):
    rows = [ashare_row("sh600000", d, 9.05) for d in (D1, D2)]
    parquet = ashare_file(rows)
    plain, packed = tmp_path / "ashare.csv", tmp_path / "ashare.csv.gz"
    pacsv.write_csv(pq.read_table(parquet), plain)
    with pa.CompressedOutputStream(str(packed), "gzip") as stream:
        pacsv.write_csv(pq.read_table(parquet), stream)
    for number, file in enumerate((parquet, plain, packed)):
        import_market([file], "ashare-daily", tmp_path / f"m{number}")
    tables = [
        [read_table(tmp_path / f"m{n}", t) for t in ("bars", "instruments")] for n in range(3)
    ]
    assert tables[0] == tables[1] == tables[2]


def test_one_code_on_two_exchanges_is_refused(ashare_row, ashare_file, tmp_path):
    file = ashare_file([ashare_row("sz000001", D1, 16.0), ashare_row("sh000001", D1, 3000.0)])
    with pytest.raises(InputError) as refusal:
        import_market([file], "ashare-daily", tmp_path / "m")
    assert str(refusal.value) == (
        f"{file}: a code belongs to one exchange in a market folder; 000001 is on XSHE and on XSHG;"
        " leave one of them out"
    )
    first = ashare_file([ashare_row("sz000001", D1, 16.0)], "first.parquet")
    second = ashare_file([ashare_row("sh000001", D2, 3000.0)], "second.parquet")
    import_market([first], "ashare-daily", tmp_path / "m")
    with pytest.raises(InputError) as refusal:
        import_market([second], "ashare-daily", tmp_path / "m")
    assert str(refusal.value) == (
        "a code belongs to one exchange in a market folder; 000001 is on XSHE there and on XSHG in"
        " the file; leave one of them out"
    )


def test_the_panel_of_an_imported_market_returns_close_over_reference(
    ashare_row, ashare_file, tmp_path
):
    rows = [ashare_row("sh600000", d, 9.0) for d in (D1, D2, D3)]
    rows += [ashare_row("sz000001", D1, 16.0), ashare_row("sz000001", D3, 8.4, pre_close=8.0)]
    import_market([ashare_file(rows)], "ashare-daily", tmp_path / "m")
    panel = load_panel(tmp_path / "m")
    assert panel.symbols == ("000001", "600000")
    assert panel.close[:, 0].tolist() == [160_000, 160_000, 84_000]
    assert panel.suspended[:, 0].tolist() == [False, True, False]
    assert panel.simple_returns()[2, 0] == pytest.approx(0.05)
    assert np.isnan(panel.simple_returns()[1, 0])
    assert bool(np.all(panel.haircut == NULL))
