"""Mistakes in arguments, dates and markets, each with what its refusal says."""

import pytest

US_CLOSE = "--format us-close --out {new}"
IN_2014 = "--from 2014-01-01 --to 2014-12-31 --out {new}"
NO_LAKE = "is not a lake: it has no lake.json; make one with `gearline demo --out DIR`"
DAMAGED = "lake.json is damaged: unexpected end of data"
WRITE_A_DATE = "write a date like 2015-06-12"


def said(name, command, *phrases):
    """A command that is refused, and what the one line says; ``places`` fills the braces."""
    return pytest.param(command, phrases, id=name)


ARGUMENTS = [
    said("an unknown verb", "frobnicate", "'frobnicate'", "'reprice'", "`gearline --help`"),
    said("no verb", "", "VERB", "see `gearline --help`"),
    said("no verb of a group", "ledger", "VERB", "see `gearline ledger --help`"),
    said("an unknown option", "demo --client 300 --x", "--x", "`gearline"),
    said(
        "a missing file to import",
        "market import " + US_CLOSE,
        "required: FILE",
        "see `gearline market import --help`",
    ),
    said("a missing required option", "policy show us", "required: --as-of", "policy show --help`"),
    said("neither id nor sample", "replay --lake {demo}", "ID --sample is required"),
    said("both id and sample", "replay --lake {demo} x --sample 3", "not allowed with"),
    said(
        "clients that are no number", "demo --clients many", "--clients", "'many'", "demo --help`"
    ),
    said("clients that are no integer", "demo --clients 1.5", "--clients", "'1.5'"),
    said("a position that is no number", "ledger prove first --lake {demo}", "'first'"),
    said("a sample of none", "replay --lake {demo} --sample 0", "--sample is 0; it must be at"),
    said(
        "no clients", "demo --clients 0 --out {new}", "--clients is 0; the demo needs at least 200"
    ),
    said("negative clients", "demo --clients -5 --out {new}", "is -5; the demo needs at least 200"),
    said("too few clients", "demo --clients 10 --out {new}", "is 10; the demo needs at least 200"),
    said("too many clients", "demo --clients 9000000 --out {new}", "is 9000000", "at most 1000000"),
    said(
        "no clients to simulate",
        "lab simulate --market {market} --clients 0 " + IN_2014,
        "a book has 1 to 1000000 clients, not 0",
    ),
    said(
        "negative clients to simulate",
        "lab simulate --market {market} --clients -5 " + IN_2014,
        "a book has 1 to 1000000 clients, not -5",
    ),
    said("a negative seed", "demo --seed -1 --out {new}", "--seed is -1; it must be from 0 to 429"),
    said("a seed too large", "bench explain --seed 4294967296", "it must be from 0 to 4294967295"),
    said("no threads", "demo --threads 0 --out {new}", "--threads is 0; it must be at least 1"),
    said(
        "no threads to decide with",
        "reprice {demo} --as-of 2020-03-20 --dry-run --threads 0",
        "--threads is 0; it must be at least 1",
    ),
    said("an unknown benchmark", "bench speed", "no benchmark 'speed'", "accuracy, attainable"),
    said("credit sets of no folder", "bench accuracy", "needs --data DIR"),
    said(
        "a folder without credit sets", "bench accuracy --data {files}", "none of the credit sets"
    ),
    said("a benchmark of no time", "bench accuracy --data {files} --minutes 0", "more than 0"),
    said("a benchmark of too few rows", "bench explain --rows 10", "at least 1000 rows", "not 10 "),
    said(
        "a sale without shares",
        "simulate {demo}/case.json --sell AAPL",
        "--sell is 'AAPL'",
        "write it like AAPL:100",
    ),
    said("a policy file", "policy check {new}.yaml", "there is no policy file", "name a pack"),
    said("a moment", "policy diff us@2020 us", "A is '2020'", WRITE_A_DATE),
    said(
        "an unknown pack",
        "policy show uk --as-of 2020-01-01",
        "pack 'uk'; the packs are cn, us, eu-cfd, uk-cfd",
    ),
    said(
        "an unknown pack of the demo",
        "demo --policy uk",
        "'uk' (choose from 'us', 'cn', 'eu-cfd', 'uk-cfd')",
    ),
    said(
        "contracts for difference in the demo",
        "demo --policy eu-cfd",
        "policy pack 'eu-cfd' is for contracts for difference, which no lake holds",
        "`gearline decide CASE.json`",
    ),
]

DATES = [
    said(
        "a date the other way round",
        "lab simulate --market {market} --from 1/1/2014 --to 2014-12-31 --out {new}",
        "--from is '1/1/2014'",
        WRITE_A_DATE,
    ),
    said(
        "a month that does not exist",
        "lab simulate --market {market} --from 2014-01-01 --to 2014-13-01 --out {new}",
        "--to is '2014-13-01'",
        WRITE_A_DATE,
    ),
    said(
        "a word for a date",
        "features build {lake} --as-of today --out {new}",
        "--as-of is 'today'",
        WRITE_A_DATE,
    ),
    said("a date to reprice", "reprice {demo} --as-of 20.3.2020", "'20.3.2020'", WRITE_A_DATE),
    said(
        "a date of rules", "policy show us --as-of 2020-1-1", "--as-of is '2020-1-1'", WRITE_A_DATE
    ),
    said("a date to train", "train {lake} --from x --out {new}", "--from is 'x'", WRITE_A_DATE),
    said(
        "a date before the pack",
        "policy show us --as-of 1920-01-01",
        "is known from 1990-01-02 to ",
        "1920-01-01 is outside; extend the pack or choose another date",
    ),
    said("a date after the pack", "policy show cn --as-of 2099-01-01", "2099-01-01 is outside"),
    said(
        "a night after the market",
        "reprice {demo} --as-of 2030-03-20",
        "2030-03-20 is outside the market's sessions, 1990-01-02 to 2022-12-28",
    ),
    said(
        "a night before there is a lender",
        "reprice {demo} --as-of 1991-03-20",
        "firm_state has no row at or before 1991-03-20; add the lender's capital",
    ),
    said(
        "a night on a Saturday",
        "reprice {demo} --as-of 2020-03-21",
        "2020-03-21 is no session of the market",
        "2020-03-20",
    ),
    said(
        "features after the market",
        "features build {lake} --as-of 2030-03-20 --out {new}",
        "2030-03-20 is outside the market's sessions, 1990-01-02 to 2022-12-28",
    ),
    said(
        "features on a Saturday",
        "features build {lake} --as-of 2014-10-04 --out {new}",
        "--as-of is 2014-10-04, which is no session of the market",
        "the last before it is 2014-10-03",
    ),
    said(
        "a period that ends before it begins",
        "lab simulate --market {market} --from 2014-12-31 --to 2014-01-01 --out {new}",
        "the first day, 2014-12-31, must lie before the last, 2014-01-01",
    ),
    said(
        "a period outside the market",
        "lab simulate --market {market} --from 2030-01-01 --to 2031-01-01 --out {new}",
        "holds 0 sessions of the market, which runs 1990-01-02 to 2022-12-28; choose days inside",
    ),
    said(
        "a training that ends before it begins",
        "train {lake} --from 2014-10-01 --to 2014-06-02 --out {new}",
        "the first day, 2014-10-01, must lie before the last, 2014-06-02; change --from or --to",
    ),
    said(
        "a training period too short",
        "train {lake} --from 2014-10-01 --to 2014-10-31 --out {new}",
        "23 sessions are too few to train and test",
        "take a longer period",
    ),
]

MARKETS = [
    said(
        "a file that is not there",
        "market import {none}/x.parquet " + US_CLOSE,
        "{none}/x.parquet is not a file; name the price file to import",
    ),
    said(
        "a csv with other columns",
        "market import {files}/wrong.csv " + US_CLOSE,
        "column 'symbol' is missing; it has day, price; name its columns symbol, date, close",
    ),
    said(
        "a parquet without a column",
        "market import {files}/short.parquet " + US_CLOSE,
        "column 'close' is missing; it has symbol, date; name its columns symbol, date, close",
    ),
    said(
        "a text that is called parquet",
        "market import {files}/text.parquet " + US_CLOSE,
        "{files}/text.parquet cannot be read: ",
        "; export it again",
    ),
    said(
        "a file of another kind",
        "market import {files}/prices.xlsx " + US_CLOSE,
        "is neither .parquet nor .csv nor .csv.gz; convert or rename it",
    ),
    said("an empty csv", "market import {files}/empty.csv " + US_CLOSE, "; export it again"),
    said(
        "an unknown format",
        "market import {files}/wrong.csv --format bloomberg --out {new}",
        "unknown format 'bloomberg'; the formats are ashare-daily, us-daily, us-close, cn-shibor",
    ),
    said(
        "a market folder that is a file",
        "market import {files}/good.csv --format us-close --out {files}/text.parquet",
        "text.parquet is a file; name a folder for the market",
    ),
    said(
        "a market under a file",
        "market import {files}/good.csv --format us-close --out {files}/text.parquet/x",
        "Not a directory; check the path",
    ),
    said(
        "a market into somebody's folder",
        "market import {files}/good.csv --format us-close --out {files}",
        "holds files and no lake.json; name a new or an empty folder",
    ),
    said(
        "another format into a market",
        "market import {files}/good.csv --format us-close --out {market}",
        "a market folder holds one format",
        "name another folder",
    ),
    said(
        "a curve in another currency",
        "market import {files}/wrong.csv --format cn-shibor --out {market}",
        "is a market in USD; name a market in CNY",
    ),
    said(
        "a curve without a market",
        "market import {files}/wrong.csv --format cn-shibor --out {none}",
        NO_LAKE,
    ),
    said("a demo on no market", "demo --market {none} --out {new}", "{none} " + NO_LAKE),
    said("a demo on a broken market", "demo --market {broken} --out {new}", DAMAGED),
    said(
        "cn rules without a market",
        "demo --policy cn --out {new}",
        "the bundled sample market is in USD; for --policy cn give --market DIR",
    ),
    said(
        "cn rules on a market in dollars",
        "demo --policy cn --market {market} --out {new}",
        "is in USD, policy pack 'cn' in CNY; choose the pack of the market with --policy",
    ),
    said(
        "us rules on a market in yuan",
        "demo --market {yuan} --out {new}",
        "is in CNY, policy pack 'us' in USD; choose the pack of the market with --policy",
    ),
    said(
        "clients under the rules of another currency",
        "lab simulate --market {market} --policy cn " + IN_2014,
        "the market is in USD, policy pack 'cn' in CNY; leave --policy out",
    ),
    said(
        "decisions under the rules of another currency",
        "reprice {demo} --as-of 2020-03-20 --policy cn --dry-run",
        "in USD, policy pack 'cn' in CNY; leave --policy out",
    ),
]
