"""Mistakes in lakes, folders to write, records and case files, each with what its refusal says."""

from tests.cli.mistakes import DAMAGED, IN_2014, NO_LAKE, said

NO_LEDGER = "there is no ledger at {none}/ledger.sqlite; run `gearline demo`"

LAKES = [
    said("simulate on no lake", "lab simulate --market {none} " + IN_2014, "{none} " + NO_LAKE),
    said("check no lake", "data check {none}", "{none} " + NO_LAKE),
    said("features of no lake", "features build {none} --as-of 2020-03-20 --out {new}", NO_LAKE),
    said("train on no lake", "train {none} --out {new}", "{none} " + NO_LAKE),
    said("reprice no lake", "reprice {none} --as-of 2020-03-20", "{none} " + NO_LAKE),
    said("replay of no lake", "replay --lake {none} --sample 5", NO_LEDGER, "--lake DIR"),
    said("verify no lake", "ledger verify --lake {none}", NO_LEDGER, "--lake DIR"),
    said("prove in no lake", "ledger prove 0 --lake {none}", NO_LEDGER, "--lake DIR"),
    said("export no lake", "ledger export --lake {none}", NO_LEDGER, "--lake DIR"),
    said(
        "replay of a market, which has no ledger",
        "replay --lake {market} --sample 5",
        "there is no ledger at {market}/ledger.sqlite; run `gearline demo`",
    ),
    said("simulate on a broken lake", "lab simulate --market {broken} " + IN_2014, DAMAGED),
    said(
        "check a broken lake", "data check {broken}", DAMAGED, "restore it or make the lake again"
    ),
    said(
        "features of a broken lake",
        "features build {broken} --as-of 2020-03-20 --out {new}",
        DAMAGED,
    ),
    said("train on a broken lake", "train {broken} --out {new}", DAMAGED),
    said("reprice a broken lake", "reprice {broken} --as-of 2020-03-20", DAMAGED),
    said(
        "features of a market without clients",
        "features build {market} --as-of 2020-03-20 --out {new}",
        "table accounts is missing",
        "make the lake with `gearline demo` or `gearline lab simulate`",
    ),
    said(
        "train on a market without clients", "train {market} --out {new}", "table accounts is miss"
    ),
    said(
        "train on too few defaults", "train {lake} --out {new}", "default", "simulate more clients"
    ),
    said(
        "reprice without a bundle",
        "reprice {lake} --as-of 2014-10-01",
        "{lake}/bundle is not a bundle: it has no bundle.json; make one with `gearline train`",
    ),
    said(
        "reprice with another bundle that is not there",
        "reprice {demo} --as-of 2020-03-20 --bundle {none}",
        "{none} is not a bundle",
    ),
]

OUTPUTS = [
    said(
        "a demo into somebody's folder",
        "demo --out {files}",
        "{files} is not empty and was not made by the demo; choose another --out",
    ),
    said(
        "a demo under a file", "demo --out {under}", "text.parquet is a file; choose another --out"
    ),
    said(
        "clients into somebody's folder",
        "lab simulate --market {market} --from 2014-01-01 --to 2014-12-31 --out {files}",
        "{files} is not empty and was not made by `gearline lab simulate`; choose another --out",
    ),
    said(
        "clients under a file",
        "lab simulate --market {market} --from 2014-01-01 --to 2014-12-31 --out {under}",
        "text.parquet is a file; choose another --out",
    ),
    said(
        "clients into their own market",
        "lab simulate --market {market} --from 2014-01-01 --to 2014-12-31 --out {market}",
        "is the market itself; write the lake into another folder",
    ),
    said(
        "clients into another market",
        "lab simulate --market {market} --from 2014-01-01 --to 2014-12-31 --out {other}",
        "is a market, or a lake with decisions on record; choose another --out",
    ),
    said(
        "clients over decisions on record",
        "lab simulate --market {market} --from 2014-01-01 --to 2014-12-31 --out {demo}",
        "is a market, or a lake with decisions on record; choose another --out",
    ),
    said(
        "a bundle into somebody's folder",
        "train {lake} --out {files}",
        "{files} is not empty and was not made by `gearline train`; choose another --out",
    ),
    said("a bundle under a file", "train {lake} --out {under}", "is a file; choose another --out"),
    said(
        "features into a folder",
        "features build {lake} --as-of 2014-10-01 --out {files}",
        "--out is {files}, a folder; name the Parquet file to write",
    ),
    said(
        "features under a file",
        "features build {lake} --as-of 2014-10-01 --out {under}",
        "check the path",
    ),
]

RECORD = [
    said(
        "an unknown decision",
        "replay nobody --lake {demo}",
        "no decision nobody in ",
        "the decision_id column of the segments",
    ),
    said(
        "the decision of an unknown client",
        "replay {stranger} --lake {demo}",
        "no decision {stranger} in ",
    ),
    said("a position beyond the end", "ledger prove 999999 --lake {demo}", "got 999999; name one"),
    said(
        "a position before the start", "ledger prove -1 --lake {demo}", "from 0: got -1; name one"
    ),
    said(
        "a checkpoint file that is not there",
        "ledger verify --lake {demo} --since {none}",
        "checkpoint",
        "{none}",
    ),
    said(
        "a file that is no checkpoint file",
        "ledger verify --lake {demo} --since {demo}/case.json",
        "checkpoint",
        "{demo}/case.json",
    ),
]

CASES = [
    said(
        "no case file", "decide {none}", "there is no case file {none}; the demo writes an example"
    ),
    said("a folder for a case file", "decide {files}", "there is no case file {files}"),
    said("a case file that is no JSON", "decide {files}/broken.json", "is not valid JSON: "),
    said("a list for a case file", "decide {files}/list.json", "must hold a JSON object"),
    said(
        "a case file without its market",
        "decide {files}/no-market.json",
        "'market' is missing; a case file has policy, effective_on, bundle, market, case, features",
    ),
    said("a case without a client", "decide {files}/no-client.json", "case.client_id is missing"),
    said("a client without a name", "decide {files}/nameless.json", "client_id is empty; name the"),
    said(
        "a field that no case has",
        "decide {files}/nickname.json",
        "case.nickname is not a field; the fields are request, client_id",
    ),
    said(
        "an unknown level of a client",
        "decide {files}/aml.json",
        "status.aml_level is 'unknown'; it must be one of low, medium, high",
    ),
    said(
        "an unknown state of a client",
        "decide {files}/margin.json",
        "status.margin_state is 'fine'; it must be one of clear, called, overdue, defaulted",
    ),
    said(
        "money as a number", "decide {files}/float.json", "case.book.cash_amt is 12.5; it must be"
    ),
    said(
        "an unknown feature",
        "decide {files}/luck.json",
        "'luck' is no feature of behavioural/1; docs/features.md lists them",
    ),
    said(
        "a missing feature",
        "decide {files}/lacks.json",
        "feature 'nav_return_60' is missing; write null where it is undefined",
    ),
    said(
        "a feature that is no integer",
        "decide {files}/half.json",
        "feature 'nav_return_60' is 0.5; it must be null or an integer",
    ),
    said(
        "an unknown pack",
        "decide {files}/pack.json",
        "policy pack 'uk'; the packs are cn, us, eu-cfd, uk-cfd",
    ),
    said(
        "rules of another currency",
        "decide {files}/cn.json",
        "the case is in USD, policy pack 'cn' in CNY",
        "they must be one currency",
    ),
    said(
        "a date the pack does not know",
        "decide {files}/early.json",
        "1920-01-02 is outside; extend the pack or choose another date",
    ),
    said("a market that is not there", "decide {files}/elsewhere.json", "is not a market snapshot"),
    said("a bundle that is not there", "decide {files}/unlearnt.json", "is not a bundle", "train`"),
    said(
        "data of another session",
        "decide {files}/old.json",
        "the case is as of 2001-01-02",
        "they must be one session",
    ),
]
