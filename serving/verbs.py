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
