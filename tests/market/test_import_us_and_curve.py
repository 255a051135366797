"""The formats us-daily, us-close and cn-shibor."""

import datetime as dt
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest

from data_contracts.importers import import_market
from data_contracts.lake import lake_info, read_table
from features.panel import load_panel

D1, D2, D3 = "2019-03-07", "2019-03-08", "2019-03-11"


def bars_of(out, symbol):
    return [r for r in read_table(out, "bars").to_pylist() if r["symbol"] == symbol]


def test_a_us_market_has_new_york_hours_through_daylight_saving(us_file, tmp_path):
    import_market([us_file([("ABC", d, 10.0, 1.0) for d in (D2, D3)])], "us-daily", tmp_path / "m")
    info = lake_info(tmp_path / "m")
    assert (info.mic, info.currency, info.flags) == ("XNYS", "USD", ("survivor-only",))
    winter, summer = read_table(tmp_path / "m", "sessions").to_pylist()
    assert (winter["open_at"].hour, winter["close_at"].hour) == (14, 21)
    assert (summer["open_at"].hour, summer["close_at"].hour) == (13, 20)
    (instrument,) = read_table(tmp_path / "m", "instruments").to_pylist()
    assert (instrument["board"], instrument["price_limit_ratio"]) == ("us", None)
    assert instrument["listed_on"] is None
    assert {r["turnover_amt"] for r in bars_of(tmp_path / "m", "ABC")} == {None}


def test_without_a_dividend_the_reference_is_the_close_before(us_file, tmp_path):
    rows = [("ABC", D1, 56.3, 0.94274), ("ABC", D2, 58.84, 0.94274)]
    report = import_market([us_file(rows)], "us-daily", tmp_path / "m")
    first, second = bars_of(tmp_path / "m", "ABC")
    assert first["pre_close"] is None
    assert (second["pre_close"], second["close"]) == (Decimal("56.3000"), Decimal("58.8400"))
    assert report.inexact["close"] == 0, "a float32 that a decimal of four places explains is exact"


def test_the_reference_is_the_total_return_close_to_half_a_unit_half_to_even(us_file, tmp_path):
    rng = np.random.default_rng(3)
    days = np.arange(np.datetime64("2019-01-01"), np.datetime64("2019-04-01"))
    closes = rng.integers(100, 90_000, len(days)) / 100
    ratios = np.sort(rng.integers(500_000, 1_000_000, len(days))) / 1e6
    rows = [
        ("ABC", str(d), float(c), float(a)) for d, c, a in zip(days, closes, ratios, strict=True)
    ]
    import_market([us_file(rows)], "us-daily", tmp_path / "m")
    bars = bars_of(tmp_path / "m", "ABC")
    for t in range(1, len(days)):
        exact = (
            Decimal(str(rows[t - 1][2])) * Decimal(str(rows[t - 1][3])) / Decimal(str(rows[t][3]))
        )
        assert bars[t]["pre_close"] == exact.quantize(Decimal("0.0001"), ROUND_HALF_EVEN)
    returned = closes[1:] * ratios[1:] / (closes[:-1] * ratios[:-1]) - 1
    panel = load_panel(tmp_path / "m")
    np.testing.assert_allclose(1 + panel.simple_returns()[1:, 0], 1 + returned, rtol=1e-4)


def test_the_first_bar_of_a_second_file_keeps_the_reference_it_had(us_file, tmp_path):
    first = us_file([("ABC", D1, 10.0, 0.5), ("ABC", D2, 11.0, 1.0)], "a.parquet")
    second = us_file([("ABC", D2, 11.0, 1.0), ("ABC", D3, 12.0, 1.0)], "b.parquet")
    report = import_market([first, second], "us-daily", tmp_path / "m")
    assert report.overwritten_rows == 1
    references = [b["pre_close"] for b in bars_of(tmp_path / "m", "ABC")]
    assert references == [None, Decimal("5.0000"), Decimal("11.0000")]


def test_closes_alone_leave_everything_else_null(us_file, tmp_path):
    rows = [("ABC", D1, 10.0, 1.0), ("^GSPC", D1, 1000.5, 1.0), ("ABC", D2, 11.0, 1.0)]
    rows += [("^GSPC", D2, 2000.1, 1.0)]
    report = import_market([us_file(rows)], "us-close", tmp_path / "m")
    assert lake_info(tmp_path / "m").flags == ("closes-only", "survivor-only")
    assert report.inexact == {"close": 1}, "a float32 of 2000 is coarser than 0.0001"
    bar = bars_of(tmp_path / "m", "ABC")[1]
    unknown = ("open", "high", "low", "pre_close", "volume_shares", "turnover_amt")
    assert {bar[name] for name in unknown} == {None}
    panel = load_panel(tmp_path / "m")
    assert panel.symbols == ("ABC",), "the index is no security"
    assert panel.index_close.tolist() == [10_005_000, 20_001_000]
    assert panel.simple_returns()[1, 0] == pytest.approx(0.1)
    by_board = {r["board"]: r for r in read_table(tmp_path / "m", "instruments").to_pylist()}
    assert (by_board["us"]["margin_eligible"], by_board["index"]["margin_eligible"]) == (
        True,
        False,
    )


def test_a_curve_joins_a_market_in_whole_basis_points_half_to_even(
    ashare_row, ashare_file, shibor_file, tmp_path
):
    out = tmp_path / "m"
    import_market([ashare_file([ashare_row("sh600000", "2015-01-05", 9.0)])], "ashare-daily", out)
    file = shibor_file({"2015-01-05": [2.1184, 2.115, 2.125, 2.13, 2.5, 3.0, 3.5, None]})
    report = import_market([file], "cn-shibor", out)
    rates = read_table(out, "rates").to_pylist()
    assert [(r["tenor_days"], r["rate_bps"]) for r in rates] == [
        (1, 212), (7, 212), (14, 212), (30, 213), (90, 250), (180, 300), (270, 350),
    ]  # fmt: skip
    fixing = dt.datetime(2015, 1, 5, 3, 30, tzinfo=dt.UTC)
    assert {(r["event_at"], r["known_at"]) for r in rates} == {(fixing, fixing)}
    assert report.as_dict() == {
        "format": "cn-shibor", "symbols": 0,
        "first_session": "2015-01-05", "last_session": "2015-01-05",
        "rows": {"rates": 7}, "inexact": {"rate_bps": 3},
        "suspended_bars": 0, "unknown_limits": 0,
        "overwritten_rows": 0, "dropped_rows": {"no rate": 1},
    }  # fmt: skip
    later = shibor_file({"2015-01-05": [1.0] * 8, "2015-01-06": [2.0] * 8}, "later.parquet")
    report = import_market([later], "cn-shibor", out)
    assert (report.rows["rates"], report.overwritten_rows) == (16, 7)
    assert lake_info(out).source == (
        "ashare-daily: ashare.parquet; cn-shibor: shibor.parquet; cn-shibor: later.parquet"
    )


def test_a_market_with_a_curve_still_takes_another_price_file(
    ashare_row, ashare_file, shibor_file, tmp_path
):
    out = tmp_path / "m"
    first = ashare_file([ashare_row("sh600000", "2015-01-05", 9.0)], "a.parquet")
    second = ashare_file([ashare_row("sh600000", "2015-01-06", 9.0)], "b.parquet")
    import_market([first], "ashare-daily", out)
    import_market([shibor_file({"2015-01-05": [2.0] * 8})], "cn-shibor", out)
    assert import_market([second], "ashare-daily", out).rows["bars"] == 2
    assert read_table(out, "rates").num_rows == 8


def test_progress_counts_up_to_its_total(us_file, tmp_path):
    told: list[tuple[str, int, int]] = []
    file = us_file([("ABC", D1, 10.0, 1.0)])
    import_market([file], "us-daily", tmp_path / "m", progress=lambda *step: told.append(step))
    assert [(done, total) for _, done, total in told] == [(0, 2), (1, 2), (2, 2)]
