"""The verbs of the training side, declared with argparse alone, so that ``--help`` is quick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.bench import BENCHMARKS

Add = Callable[..., Any]


def add_training_verbs(verbs: Any, verb: Add, group: Add) -> None:
    """Declare the verbs; ``verb`` and ``group`` are the front door's."""
    text = "simulate clients on real prices, score, cap, price, explain, log, report"
    example = "gearline demo --clients 5000 --seed 7 --json"
    add = verb(verbs, "demo", "gearline:run_demo", text, example, seed=True).add_argument
    add("--clients", type=int, default=2500, help="simulated clients (default 2500)")
    add(
        "--policy",
        choices=("us", "cn", "eu-cfd", "uk-cfd"),
        default="us",
        help="policy pack (default us)",
    )
    add("--market", type=Path, help="a market folder from `gearline market import`")
    text = "folder to write (default out/demo)"
    add("--out", type=Path, default=Path("out/demo"), help=text)

    text = "turn daily files into a market folder"
    example = "gearline market import ashare_2014.parquet --format ashare-daily --out market-cn"
    under = group(verbs, "market", "bring prices into contract form", example)
    run = "data_contracts.commands:run_import"
    add = verb(under, "import", run, text, example).add_argument
    add("files", type=Path, nargs="+", metavar="FILE", help="Parquet or CSV files of one format")
    add("--format", required=True, help="ashare-daily, us-daily, us-close or cn-shibor")
    add("--out", type=Path, required=True, help="market folder; a second import merges into it")

    _add_lab_verbs(verbs, verb, group)

    from data_contracts.commands import add_data_verbs

    example = "gearline data check out/demo"
    under = group(verbs, "data", "bring tables in, check them, document them", example)
    add_data_verbs(lambda *about: verb(under, *about))

    text = "the quantised features of every client as of a session"
    example = "gearline features build out/demo --as-of 2020-03-20 --out features.parquet"
    under = group(verbs, "features", "features as of a session", example)
    add = verb(under, "build", "training.commands:run_features", text, example).add_argument
    add("lake", type=Path, metavar="LAKE", help="the data folder")
    add("--as-of", required=True, help="session, YYYY-MM-DD; its 18:00 cut-off holds")
    text = "feature set (default behavioural/1); flows/1 is built from fills alone, at any scale"
    add("--set", default="behavioural/1", help=text)
    text = "session whose state to go on from, for flows/1; without it everything is built"
    add("--since", metavar="T0", help=text)
    add("--out", type=Path, required=True, help="Parquet file to write")

    text, example = "fit a scorer on a lake", "gearline train out/demo --out bundle-2"
    add = verb(verbs, "train", "training.commands:run_train", text, example, seed=True).add_argument
    add("lake", type=Path, metavar="LAKE", help="the data folder")
    add("--from", dest="first", help="first day (default: the first account)")
    add("--to", dest="last", help="last day (default: the last session)")
    add("--out", type=Path, required=True, help="bundle folder to write")
    text = "whom it scores: clients by behaviour, applicants by what they state"
    add("--for", dest="whom", choices=("clients", "applicants"), default="clients", help=text)
    add("--mlflow", type=Path, metavar="FOLDER", help="also log the run to MLflow in this folder")

    _add_table_verbs(verbs, verb)
    _add_validation_verbs(verbs, verb, group)

    text = "a night's expected-loss provisions in stages 1 to 3, and their movement"
    example = "gearline provisions out/demo --out out/provisions"
    run = "training.provisions.command:run_provisions"
    add = verb(verbs, "provisions", run, text, example).add_argument
    add("lake", type=Path, metavar="LAKE", help="the data folder, with decided nights")
    add("--as-of", metavar="T", help="the night's session, YYYY-MM-DD (default: the last night)")
    add("--run", dest="run_id", metavar="RUN", help="the run, where several decided on the session")
    add("--against", metavar="T0", help="session to move from (default: the night before)")
    add("--rules", type=Path, metavar="FILE", help="provision rules (default: house provisions 1)")
    add("--overlays", type=Path, metavar="FILE", help="YAML list of overlays and who answers")
    add("--policy", choices=("us", "cn"), help="policy pack (default: the lake's currency)")
    add("--out", type=Path, help="folder for the page and the document")

    text = "back-test VaR and margins on price history, board by board"
    example = "gearline backtest market-cn --json"
    add = verb(verbs, "backtest", "training.backtest.run:run", text, example, seed=True)
    add = add.add_argument
    add("lake", type=Path, metavar="LAKE", help="a data folder, or a market folder")
    add("--policy", choices=("us", "cn"), help="policy pack (default: the market's currency)")

    text = "measure against what you would use instead"
    example = "gearline bench explain --json"
    add = verb(verbs, "bench", "training.bench:run_bench", text, example, seed=True).add_argument
    add("name", metavar="NAME", help=f"{', '.join(BENCHMARKS[:-1])} or {BENCHMARKS[-1]}")
    text = "explain: rows (default 200000); accuracy: most rows of a set"
    add("--rows", type=int, help=text)
    add("--features", type=int, default=60, help="features of the model (default 60)")
    add(
        "--data",
        type=Path,
        metavar="DIR",
        help="accuracy: folder of the credit sets; stress: a lake",
    )
    text = "accuracy: file of finished folds, read and added to"
    add("--resume", type=Path, metavar="FILE", help=text)
    add("--methods", metavar="A,B", help="accuracy: only these methods")
    add("--trades", type=int, help="features: trades of the lake made (default 5000000)")
    add(
        "--cases",
        type=int,
        help="decide: generated cases before the law (default 1000000); review: cases",
    )
    text = "clients (decide: 20000; features: 1 to 100 trades; truth, attainable: 300 a book;"
    add(
        "--clients",
        type=int,
        help=f"{text} frontier: 80000 a panel; stress: 1000000; reprice: 50000)",
    )
    add("--bags", type=int, default=8, help="serve: boosters of the usual stack (default 8)")
    add("--lake", type=Path, help="serve: a demo's folder (default out/demo)")
    text = "accuracy, features, frontier, serve: about how long it may take"
    add("--slice", type=int, metavar="N", help="reprice: clients that each rival runs on, about")
    add("--price", type=float, help="reprice: price of a machine-hour (default 0.10)")
    add("--window-hours", type=float, metavar="H", help="reprice: a night's hours (default 4)")
    add("--books-only", action="store_true", help="reprice: make the books in --out, time nothing")
    add("--minutes", type=float, help=text)
    text = "truth, attainable: generated markets (default 200)"
    add("--markets", type=int, default=200, help=text)
    text = "truth, attainable: states at least (default 5000)"
    add("--states", type=int, default=5000, help=text)
    text = "truth, attainable: inner paths of a state (default 500)"
    add("--paths", type=int, default=500, help=text)
    text = "truth, attainable: market folder to draw from (default: the sample)"
    add("--source", type=Path, help=text)
    text = "truth, frontier: strength of behaviour (default: 0.5, 1 and 2; frontier: 1)"
    add("--behaviour", type=float, help=text)
    add("--market", type=Path, metavar="DIR", help="frontier, structural: market folder")
    text = "frontier: folder of finished pieces; the same command goes on from it (out/frontier)"
    text += "; reprice: folder for the book, which a later run finds (default: one that goes away)"
    add("--out", type=Path, help=text)
    text = "frontier: only this window (2015-04..07, 2016, 2017..2019); repeat for more"
    add("--window", action="append", metavar="NAME", help=text)
    add("--panels", type=int, help="frontier: panels of clients (2)")
    add("--to-the-limit", action="store_true", help="frontier: everybody borrows what is allowed")


def _add_validation_verbs(verbs: Any, verb: Add, group: Add) -> None:
    example = "gearline validate table loans.csv --target default --out out/validation"
    under = group(verbs, "validate", "statistics, proofs and limits of a model", example)
    module = "training.validation"

    text = "check the statistics against reference numbers"
    example = "gearline validate self-test --json"
    run = f"{module}.vectors:run_self_test"
    add = verb(under, "self-test", run, text, example).add_argument
    text = "folder of vectors files (default: the project's own)"
    add("--vectors", type=Path, metavar="DIR", help=text)

    text = "validate a bundle on the lake it was trained on"
    example = "gearline validate report out/demo/bundle out/demo --out out/validation"
    run = f"{module}.report:run_report"
    parser = verb(under, "report", run, text, example, seed=True)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder from `gearline train`")
    parser.add_argument("lake", type=Path, metavar="LAKE", help="the data folder")
    _add_report_options(parser.add_argument)
    text = "also log the report to the bundle's run in MLflow in this folder"
    parser.add_argument("--mlflow", type=Path, metavar="FOLDER", help=text)

    text = "fit the scorer on a part of a table and validate it on another"
    example = "gearline validate table loans.csv --target default --out out/validation"
    parser = verb(under, "table", f"{module}.report:run_table", text, example, seed=True)
    add = parser.add_argument
    add("table", type=Path, metavar="FILE", help="CSV or Parquet with one row a case")
    _add_fit_options(add)
    text = "columns of the fairness section only; they are never inputs"
    add("--protected", metavar="A,B", help=text)
    _add_report_options(add)

    text = "numbers that differ between two reports, both signatures checked"
    example = "gearline validate diff out/validation-1 out/validation-2"
    add = verb(under, "diff", f"{module}.report:run_diff", text, example).add_argument
    add("first", type=Path, metavar="A", help="folder of a report")
    add("second", type=Path, metavar="B", help="folder of another")


def _add_report_options(add: Add) -> None:
    add("--out", type=Path, required=True, help="folder to write")
    add("--on", metavar="DATE", help="date that due dates count from (default: today)")
    text = "Ed25519 key to sign with, made if missing (default ~/.config/gearline/validation.key)"
    add("--key", type=Path, metavar="FILE", help=text)


def _add_fit_options(add: Add) -> None:
    add("--target", required=True, metavar="COL", help="column of the outcome, two values")
    add("--positive", metavar="V", help="its value that is the event (default 1)")
    add("--group", metavar="COL", help="rows of one group are never divided")
    add("--categorical", metavar="A,B", help="numbers that are categories; text always is one")
    add("--monotone", metavar="A:+,B:-", help="directions: + if a higher value is riskier")
    text = "codes of a number that are no numbers; repeat for more"
    add("--special", action="append", metavar="A:-7,-8", help=text)
    add("--drop", metavar="A,B", help="columns to leave out")


def _add_table_verbs(verbs: Any, verb: Add) -> None:
    text = "fit a scorer on any labelled CSV or Parquet"
    example = "gearline fit loans.csv --target default --monotone income:-,debt:+ --out bundle"
    add = verb(verbs, "fit", "training.table_fit:run_fit", text, example, seed=True).add_argument
    add("table", type=Path, metavar="TABLE", help="CSV or Parquet with one row a case")
    _add_fit_options(add)
    add("--tune", type=int, metavar="N", help="search the recipe in N trials (needs optuna)")
    add("--mlflow", type=Path, metavar="FOLDER", help="also log the run to MLflow in this folder")
    add("--out", type=Path, required=True, help="bundle folder to write")

    text = "score any CSV or Parquet with a fitted bundle"
    example = "gearline score bundle new.csv --out scores.csv --explain"
    add = verb(verbs, "score", "training.table_score:run_score", text, example).add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="folder from `gearline fit`")
    add("table", type=Path, metavar="TABLE", help="CSV or Parquet with the features")
    add("--out", type=Path, required=True, help="CSV or Parquet file to write")
    add("--explain", action="store_true", help="also each feature's part of the log-odds")
    add("--lost", action="store_true", help="also points lost against the best attainable")

    text = "the fewest changes that bring a row's probability below a line, with a certificate"
    example = "gearline recourse bundle new.csv --row 0 --mutable debt,income --below 0.05"
    run = "training.table_recourse:run_recourse"
    add = verb(verbs, "recourse", run, text, example).add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="folder from `gearline fit`")
    add("table", type=Path, metavar="TABLE", help="CSV or Parquet with the features")
    add("--row", type=int, required=True, metavar="N", help="the row, from 0")
    add("--mutable", required=True, metavar="A,B", help="features that may change, at most ten")
    add("--below", type=float, required=True, metavar="P", help="probability to reach")

    text = "draw what a bundle has learnt: shapes, pairs, a row's waterfall"
    example = "gearline pictures bundle --out pictures --table new.csv --row 0"
    run = "training.pictures.command:run_pictures"
    add = verb(verbs, "pictures", run, text, example).add_argument
    add(
        "bundle", type=Path, metavar="BUNDLE", help="folder from `gearline fit` or `gearline train`"
    )
    add("--out", type=Path, required=True, help="folder to write, SVG and PNG")
    add("--lang", choices=("en", "zh", "both"), default="both", help="words (default both)")
    add("--most", type=int, default=20, metavar="N", help="features and pairs drawn (default 20)")
    add("--table", type=Path, metavar="TABLE", help="table of the row to draw (bundles of `fit`)")
    add("--row", type=int, metavar="N", help="its row, from 0")


def _add_lab_verbs(verbs: Any, verb: Add, group: Add) -> None:
    example = (
        "gearline lab simulate --market market-cn --clients 2000"
        " --from 2014-07-01 --to 2015-07-31 --out lake"
    )
    under = group(verbs, "lab", "the market laboratory", example)
    text, run = "simulate a book of margin clients on a market", "training.commands:run_simulate"
    add = verb(under, "simulate", run, text, example, seed=True).add_argument
    add("--market", required=True, metavar="DIR|generated:SEED", help="market folder, or made anew")
    add("--source", type=Path, help="market a generated one is drawn from (default: the sample)")
    add("--names", type=int, metavar="N", help="names of a generated market (default: all)")
    add("--clients", type=int, default=2500, help="simulated clients (default 2500)")
    add("--from", dest="first", required=True, help="first day, YYYY-MM-DD")
    add("--to", dest="last", required=True, help="last day, YYYY-MM-DD")
    add("--policy", choices=("us", "cn"), help="policy pack (default: the market's currency)")
    text = "forced sales move prices this strongly (default 0; generated with volumes: 1)"
    add("--impact", type=float, metavar="Y", help=text)
    text = "scale of how strongly clients behave (default 1)"
    add("--behaviour", type=float, default=1.0, metavar="X", help=text)
    add("--out", type=Path, required=True, help="lake folder to write")

    text, run = "fit the clients' strengths to calm markets", "training.commands:run_fit_strengths"
    example = "gearline lab fit --market market-cn --json"
    add = verb(under, "fit", run, text, example, seed=True).add_argument
    add("--market", type=Path, required=True, help="market folder that holds the calm window")
    add("--clients", type=int, default=4000, help="simulated clients (default 4000)")
    default = Path(__file__).parent / "lab" / "strengths.yaml"
    add("--out", type=Path, default=default, help="file of strengths to change (default: our own)")
