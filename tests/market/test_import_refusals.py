"""What an import refuses, and what it says; each refusal is one line."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts.errors import InputError
from data_contracts.importers import import_market, write_sample_market

D1 = "2015-01-05"


def refusal_of(files, fmt, out):
    with pytest.raises(InputError) as refusal:
        import_market(files, fmt, out)
    message = str(refusal.value)
    assert "\n" not in message
    return message


def test_an_unknown_format_is_refused_with_those_allowed(tmp_path):
    assert refusal_of([tmp_path / "a.csv"], "excel", tmp_path / "m") == (
        "unknown format 'excel'; the formats are ashare-daily, us-daily, us-close, cn-shibor"
    )


def test_no_file_at_all_is_refused(tmp_path):
    message = refusal_of([], "us-close", tmp_path / "m")
    assert message == "no file to import as us-close; name at least one"


def test_a_missing_file_is_refused(tmp_path):
    file = tmp_path / "gone.parquet"
    message = refusal_of([file], "us-close", tmp_path / "m")
    assert message == f"{file} is not a file; name the price file to import"


def test_a_missing_column_is_named_with_those_there_are(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("symbol,date,last\nABC,2019-01-02,3\n", "utf-8")
    message = refusal_of([file], "us-close", tmp_path / "m")
    assert message == (
        f"{file}: column 'close' is missing; it has symbol, date, last;"
        " name its columns symbol, date, close"
    )


def test_an_empty_file_is_refused(tmp_path):
    heading = tmp_path / "a.csv"
    heading.write_text("symbol,date,close\n", "utf-8")
    message = refusal_of([heading], "us-close", tmp_path / "m")
    assert message == f"{heading} has no rows; export it again"
    nothing = tmp_path / "b.csv"
    nothing.write_text("", "utf-8")
    message = refusal_of([nothing], "us-close", tmp_path / "m")
    assert message == f"{nothing} cannot be read: Empty CSV file; export it again"


def test_a_file_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "a.xlsx"
    file.write_text("?", "utf-8")
    message = refusal_of([file], "us-close", tmp_path / "m")
    assert message == f"{file} is neither .parquet nor .csv nor .csv.gz; convert or rename it"


def test_a_damaged_parquet_file_is_refused(tmp_path):
    file = tmp_path / "a.parquet"
    file.write_bytes(b"PAR1 and then nothing of the kind")
    message = refusal_of([file], "us-close", tmp_path / "m")
    assert message.startswith(f"{file} cannot be read: ")
    assert message.endswith("; export it again")


@pytest.mark.parametrize("symbol", ["600000", "sh60000", "hk00700", "sh600000.SS"])
def test_a_symbol_that_is_no_a_share_is_refused(ashare_row, ashare_file, tmp_path, symbol):
    file = ashare_file([ashare_row("sh600000", D1, 9.0), ashare_row(symbol, D1, 9.0)])
    assert refusal_of([file], "ashare-daily", tmp_path / "m") == (
        "an A-share symbol is sh, sz or bj and six digits, like sh600000: column 'symbol' has"
        f" {symbol!r}; rename it or leave its rows out"
    )


def test_a_symbol_that_is_no_us_symbol_is_refused(us_file, tmp_path):
    message = refusal_of([us_file([("A B", D1, 9.0, 1.0)])], "us-close", tmp_path / "m")
    assert message == (
        "a US symbol is a letter and up to 15 letters, digits, dots, hyphens or underscores, as"
        " BRK.B: column 'symbol' has 'A B'; rename it or leave its rows out"
    )


def test_dates_that_are_none_are_refused(tmp_path):
    file = tmp_path / "a.parquet"
    columns = {"symbol": ["ABC"], "date": [20190102], "close": [3.0]}
    pq.write_table(pa.table(columns), file)
    assert refusal_of([file], "us-close", tmp_path / "m") == (
        f"{file}: column 'date' holds dates like 2014-07-01 in every row; it is int64; write it so"
    )


def test_prices_that_are_text_are_refused(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("symbol,date,close\nABC,2019-01-02,three\n", "utf-8")
    assert refusal_of([file], "us-close", tmp_path / "m") == (
        f"{file}: column 'close' holds numbers; it is string; export it as numbers"
    )


def test_a_file_without_a_usable_row_is_refused_with_the_reasons(us_file, tmp_path):
    file = us_file([("ABC", D1, -1.0, 1.0), ("DEF", D1, 0.0, 1.0)])
    assert refusal_of([file], "us-close", tmp_path / "m") == (
        f"{file} has no usable row (2 non-positive price); export it again"
    )


def test_a_folder_of_another_format_is_refused_and_left_alone(
    us_file, ashare_row, ashare_file, tmp_path
):
    out = tmp_path / "m"
    import_market([us_file([("ABC", D1, 9.0, 1.0)])], "us-daily", out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    file = ashare_file([ashare_row("sh600000", D1, 9.0)])
    assert refusal_of([file], "ashare-daily", out) == (
        f"a market folder holds one format: {out} was made from 'us-daily: us.parquet', not"
        " ashare-daily; name another folder"
    )
    with pytest.raises(InputError, match="a market folder holds one format"):
        write_sample_market(out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_a_folder_with_other_files_in_it_is_refused(us_file, tmp_path):
    file = us_file([("ABC", D1, 9.0, 1.0)])
    message = refusal_of([file], "us-daily", tmp_path)
    assert message == f"{tmp_path} holds files and no lake.json; name a new or an empty folder"
    message = refusal_of([file], "us-daily", file)
    assert message == f"{file} is a file; name a folder for the market"


def test_a_curve_needs_a_market_in_yuan(us_file, shibor_file, tmp_path):
    curve = shibor_file({D1: [2.0] * 8})
    assert refusal_of([curve], "cn-shibor", tmp_path / "none").startswith(
        f"{tmp_path / 'none'} is not a lake: it has no lake.json;"
    )
    out = tmp_path / "m"
    import_market([us_file([("ABC", D1, 9.0, 1.0)])], "us-daily", out)
    message = refusal_of([curve], "cn-shibor", out)
    assert message == f"cn-shibor is a curve in CNY: {out} is a market in USD; name a market in CNY"


def test_a_refused_import_leaves_no_folder(us_file, tmp_path):
    good = us_file([("ABC", D1, 9.0, 1.0)])
    refusal_of([good, tmp_path / "gone.csv"], "us-daily", tmp_path / "m")
    assert not (tmp_path / "m").exists()
