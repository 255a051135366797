"""The verbs about a decided night, declared with argparse alone, so that ``--help`` is quick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Add = Callable[..., Any]
_COMMANDS = "serving.commands.publishing:run_"


def _run_id(parser: Any) -> None:
    text = "a finished run (default: the latest night on record)"
    parser.add_argument("run_id", nargs="?", metavar="RUN", help=text)


def add_night_verbs(verbs: Any, verb: Add, group: Add, lake: Add) -> None:
    """Declare the verbs; ``verb``, ``group`` and ``lake`` are the front door's."""
    text = "judge a night against the published one, and publish it if the gate lets it"
    parser = verb(verbs, "publish", _COMMANDS + "publish", text, "gearline publish --lake out/demo")
    _run_id(parser)
    lake(parser)
    add = parser.add_argument
    add("--dry-run", action="store_true", help="judge only, write nothing")
    text = "gate bounds to judge by (default: house gate 1, models/gate/bounds.yaml)"
    add("--bounds", type=Path, metavar="FILE", help=text)
    add("--actor", metavar="NAME", help="who publishes, for the record (default: the user)")

    text = "return to the night that was published before the one in force"
    example = "gearline rollback --lake out/demo --reason 'prices of one name were wrong'"
    parser = verb(verbs, "rollback", _COMMANDS + "rollback", text, example)
    lake(parser)
    add = parser.add_argument
    add("--reason", required=True, help="why, for the record")
    add("--actor", metavar="NAME", help="who returns, for the record (default: the user)")

    text = "compare what the counter system enforces with what is published"
    example = "gearline reconcile counter.csv --lake out/demo"
    run = "serving.commands.reconcile:run_reconcile"
    parser = verb(verbs, "reconcile", run, text, example)
    text = (
        "CSV: client_id, max_debt_amt, rate_bps, and warn, call, force as ratios where it has them"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help=text)
    lake(parser)

    example = "gearline night report --lake out/demo --out out/morning"
    under = group(verbs, "night", "what a decided night looks like", example)
    text = "population, missing values, calibration and overrides: green, amber, red or not tested"
    example = "gearline night monitors --lake out/demo"
    parser = verb(under, "monitors", _COMMANDS + "monitors", text, example)
    _run_id(parser)
    lake(parser)
    text = "the night against the published one, as a page and as JSON"
    example = "gearline night report --lake out/demo --out out/morning"
    parser = verb(under, "report", _COMMANDS + "report", text, example)
    _run_id(parser)
    lake(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")

    text = "the night's key figures, each with its formula, n, source, or why it does not apply"
    example = "gearline night kpis --lake out/demo --out out/kpis"
    parser = verb(under, "kpis", _COMMANDS + "kpis", text, example)
    _run_id(parser)
    lake(parser)
    add = parser.add_argument
    add("--pool", metavar="AMT", help="the reserve pool held, in the lake's currency")
    add("--stress", type=Path, metavar="FILE", help="a document of `gearline stress LAKE --json`")
    add("--out", type=Path, help="folder for the page and the document")
    _add_model_verbs(verbs, verb, group, lake)


def _add_model_verbs(verbs: Any, verb: Add, group: Add, lake: Add) -> None:
    example = "gearline model status --lake out/demo"
    under = group(verbs, "model", "models: their runs, roles, review dates", example)
    _add_registry_verbs(under, verb)
    run = "serving.commands.models:run_"

    text = "propose a role for a validated bundle; others approve"
    example = (
        "gearline model promote bundle-2 --report out/validation --review-by 2027-03-31"
        " --as challenger --lake out/demo"
    )
    parser = verb(under, "promote", run + "promote", text, example)
    lake(parser)
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="folder from `gearline train`")
    text = "folder of its signed report, from `gearline validate report`"
    add("--report", type=Path, required=True, metavar="DIR", help=text)
    text = "last day on which it may be used without another review, YYYY-MM-DD"
    add("--review-by", required=True, metavar="DATE", help=text)
    roles = ("champion", "challenger", "shadow")
    add("--as", dest="role", choices=roles, default="champion", help="role (default champion)")
    text = "key id that must have signed the report; repeat for more"
    add("--signed-by", action="append", metavar="KEY_ID", help=text)
    add("--reason", help="why, for the record")
    _add_proposal_options(add)

    text = "propose that a challenger or shadow steps back"
    example = "gearline model retire 9f2c1a --lake out/demo"
    parser = verb(under, "retire", run + "retire", text, example)
    lake(parser)
    add = parser.add_argument
    add("bundle_sha256", metavar="HASH", help="how its hash begins, see `gearline model status`")
    add("--reason", help="why, for the record")
    _add_purpose(add)
    add("--actor", metavar="NAME", help="who proposes, for the record (default: the user)")

    text = "propose that the former champion comes back"
    example = "gearline model rollback --lake out/demo --reason 'caps of one tier were wrong'"
    parser = verb(under, "rollback", run + "rollback", text, example)
    lake(parser)
    add = parser.add_argument
    add("--reason", required=True, help="why, for the record")
    _add_purpose(add)
    _add_proposal_options(add)

    text = "champion, challengers, shadows, review dates, who approved; 1 where a review is past"
    parser = verb(under, "status", run + "status", text, "gearline model status --lake out/demo")
    lake(parser)
    parser.add_argument("--at", metavar="TIME", help="moment, 2026-03-02T09:00:00Z (default: now)")

    text = "the challenger against the champion on recorded nights, as JSON and as pages"
    example = "gearline model challenge-report --lake out/demo --out out/challenge"
    run = "gearline:run_challenge_report"
    parser = verb(under, "challenge-report", run, text, example)
    lake(parser)
    add = parser.add_argument
    text = "how its hash begins (default: the only one that decided beside the last night)"
    add("--challenger", metavar="HASH", help=text)
    add("--from", dest="first", metavar="DATE", help="first night (default: its first)")
    add("--to", dest="last", metavar="DATE", help="last night (default: its last)")
    add("--out", type=Path, required=True, help="folder to write")


def _add_proposal_options(add: Add) -> None:
    text = "which way it moves limits: 1, 2 or 3 people must approve (default neutral: 2)"
    ways = ("tightens", "neutral", "loosens")
    add("--direction", choices=ways, default="neutral", help=text)
    add("--actor", metavar="NAME", help="who proposes, for the record (default: the user)")


def _add_purpose(add: Add) -> None:
    text = "whom the model decides on (default clients)"
    add("--purpose", choices=("clients", "applicants"), default="clients", help=text)


def _add_registry_verbs(under: Any, verb: Add) -> None:
    run = "training.registry_verbs:run_"

    def one(name: str, text: str, example: str) -> Any:
        parser = verb(under, name, run + name, text, example)
        text = "folder of the MLflow store, as named with `gearline train --mlflow`"
        parser.add_argument("--mlflow", type=Path, required=True, metavar="FOLDER", help=text)
        return parser

    one("list", "training runs and reports in MLflow", "gearline model list --mlflow out/mlflow")
    text = "a run: parameters, seed, hashes, metrics; 1 where a file is not what was logged"
    parser = one("show", text, "gearline model show 9f2c1a --mlflow out/mlflow")
    parser.add_argument("which", metavar="RUN", help="how its id, or its bundle's hash, begins")
    text = "what differs between two runs; 1 where their bundles do"
    parser = one("compare", text, "gearline model compare 9f2c1a 77b0e2 --mlflow out/mlflow")
    parser.add_argument("first", metavar="A", help="a run, or a bundle's hash")
    parser.add_argument("second", metavar="B", help="another")
