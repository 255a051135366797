"""The verbs of decisions, their record, policy, reviews and the service, with argparse alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Add = Callable[..., Any]


def add_decision_verbs(verbs: Any, verb: Add, group: Add, lake: Add) -> None:
    """Declare the verbs; ``verb``, ``group`` and ``lake`` are the front door's."""
    text = "decide on every client as of a session"
    example = "gearline reprice out/demo --as-of 2022-11-30"
    add = verb(verbs, "reprice", "serving.commands:run_reprice", text, example).add_argument
    add("lake", metavar="LAKE", help="the data folder, or s3://bucket/lake")
    add("--ledger", metavar="WHERE", help="postgresql://... or a file (default LAKE/ledger.sqlite)")
    add("--as-of", required=True, help="session, YYYY-MM-DD")
    add("--bundle", type=Path, help="bundle folder (default: the champion, else LAKE/bundle)")
    text = "bundle that decides beside it, on nobody; repeat for more (default: the approved ones)"
    add("--challenger", type=Path, action="append", default=[], metavar="BUNDLE", help=text)
    add("--policy", choices=("us", "cn"), help="policy pack (default: the lake's currency)")
    add("--dry-run", action="store_true", help="decide, write nothing")
    add("--resume", action="store_true", help="only go on with a night that was broken off")
    text = "embedded: the cores of this machine (default); ray: a Ray cluster, or a local one"
    add("--engine", choices=("embedded", "ray"), default="embedded", help=text)
    add("--address", metavar="HOST:PORT", help="of the Ray cluster (default: a local one)")

    text = "what a market move does to the book, and what is decided after it"
    example = "gearline stress out/demo --scenario extreme"
    add = verb(verbs, "stress", "gearline:run_stress", text, example, seed=True).add_argument
    text = "the data folder, or a CSV of positions: collateral, debt, threshold"
    add("lake", type=Path, metavar="LAKE", help=text)
    text = "zero, mild, normal, extreme, monte-carlo, reverse, replay:FROM:TO, or a .yaml file"
    add("--scenario", required=True, metavar="S", help=text)
    add("--as-of", help="session, YYYY-MM-DD (default: the last)")
    add("--bundle", type=Path, help="bundle folder (default LAKE/bundle)")
    add("--policy", choices=("us", "cn"), help="policy pack (default: the lake's currency)")
    add("--draws", type=int, default=1000, help="common-factor paths drawn (default 1000)")
    add("--out", type=Path, help="folder for the page and the document")
    add("--cure", type=float, default=0.5, help="share of clients who cure a call (default 0.5)")

    text, example = "decide on one case file", "gearline decide out/demo/case.json --json"
    add = verb(verbs, "decide", "serving.commands:run_decide", text, example).add_argument
    add("case", type=Path, metavar="CASE.json", help="a case file; the demo writes one")

    text = "what if the client pays in, sells, asks otherwise, or prices move"
    example = "gearline simulate out/demo/case.json --price all:-0.10 --deposit 5000"
    add = verb(verbs, "simulate", "serving.commands:run_simulate", text, example).add_argument
    add("case", type=Path, metavar="CASE.json", help="a case file; the demo writes one")
    add("--deposit", metavar="AMOUNT", help="cash paid in; negative is a withdrawal")
    add("--sell", action="append", default=[], metavar="SYMBOL:SHARES", help="shares sold")
    add("--repay", metavar="AMOUNT", help="debt repaid from cash")
    add("--ask", metavar="AMOUNT", help="debt asked for")
    text = "price move of a name, or of all"
    add("--price", action="append", default=[], metavar="SYMBOL:RATIO", help=text)

    _add_service_verbs(verbs, verb, lake)
    _add_review_verbs(verbs, verb, group, lake)
    text, example = "decide again on stored inputs, compare", "gearline replay --sample 500 --json"
    p = verb(verbs, "replay", "serving.commands:run_replay", text, example, seed=True)
    lake(p)
    which = p.add_mutually_exclusive_group(required=True)
    which.add_argument("decision_id", nargs="?", metavar="ID", help="one stored decision")
    text = "a uniform sample of all stored decisions"
    which.add_argument("--sample", type=int, metavar="N", help=text)

    under = group(verbs, "ledger", "the tamper-evident record", "gearline ledger verify --json")
    text = "check every entry and segment"
    example = "gearline ledger verify --since out/demo/ledger.checkpoints"
    p = verb(under, "verify", "serving.commands:run_verify", text, example)
    lake(p)
    text = "a checkpoint file: finds truncation and rewriting too"
    p.add_argument("--since", type=Path, metavar="FILE", help=text)
    text, example = "inclusion proof of an entry", "gearline ledger prove 3 --json"
    p = verb(under, "prove", "serving.commands:run_prove", text, example)
    lake(p)
    p.add_argument("position", type=int, metavar="POSITION", help="of the entry, from 0")
    text, example = "entries as JSON lines", "gearline ledger export > entries.jsonl"
    lake(verb(under, "export", "serving.commands:run_export", text, example))

    text = "make a ledger in a database, or bring one up to this version"
    example = "gearline ledger migrate postgresql:///gearline"
    p = verb(under, "migrate", "serving.commands:run_migrate", text, example)
    p.add_argument("where", metavar="WHERE", help="postgresql://... or a file")

    _add_policy_verbs(verbs, verb, group, lake)


def _add_policy_verbs(verbs: Any, verb: Add, group: Add, lake: Add) -> None:
    example = "gearline policy show cn --as-of 2015-11-23"
    under = group(verbs, "policy", "the policy packs", example)
    run = "models.policy.commands:run_"
    text = "the rules in force at a moment, with level and reference"
    example = "gearline policy show cn --as-of 2023-09-08T15:00:00"
    p = verb(under, "show", run + "show", text, example)
    p.add_argument("pack", metavar="PACK", help="us, cn or a YAML file")
    text = "YYYY-MM-DD for its midnight, or YYYY-MM-DDTHH:MM:SS; market time unless a zone is given"
    p.add_argument("--as-of", required=True, metavar="TIME", help=text)

    text = "what changed between two packs or two moments"
    example = "gearline policy diff cn@2015-11-22 cn@2015-11-23"
    p = verb(under, "diff", run + "diff", text, example)
    text = "a pack or a YAML file, with @TIME for a moment; without it the last date"
    p.add_argument("before", metavar="A", help=text)
    p.add_argument("after", metavar="B", help="the same, of what it became")

    text = "find gaps, overlaps and rules that never bind"
    p = verb(under, "check", run + "check", text, "gearline policy check")
    p.add_argument("packs", nargs="*", metavar="PACK", help="packs or YAML files (default: all)")

    text = "keep a pack in a lake under its hash, to propose it for approval"
    example = "gearline policy keep house-2026.yaml --lake out/demo"
    p = verb(under, "keep", run + "keep", text, example)
    p.add_argument("pack", metavar="FILE", help="us, cn or a YAML file")
    lake(p)


def _add_review_verbs(verbs: Any, verb: Add, group: Add, lake: Add) -> None:
    under = group(verbs, "review", "the queue of decisions for people", "gearline review list")
    run = "serving.commands.review:run_"
    text, example = "open the cases of a recorded night", "gearline review open RUN --lake out/demo"
    p = verb(under, "open", run + "open", text, example)
    p.add_argument("run_id", metavar="RUN", help="the night, as `gearline reprice` names it")
    lake(p)
    text, example = "cases in the order in which they are due", "gearline review list --late"
    p = verb(under, "list", run + "list", text, example)
    lake(p)
    p.add_argument("--rule", metavar="RULE", help="only cases that this rule opened")
    p.add_argument("--late", action="store_true", help="only cases past due")
    p.add_argument("--limit", type=int, default=50, help="how many, at most 200 (default 50)")
    text = "write the lake's `reviews` table from the acts on record"
    lake(verb(under, "export", run + "export", text, "gearline review export --lake out/demo"))


def _add_service_verbs(verbs: Any, verb: Add, lake: Add) -> None:
    text = "the decision service: HTTP on this machine, until stopped"
    p = verb(verbs, "serve", "serving.commands.service:run_serve", text, "gearline serve")
    lake(p)
    add = p.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    add("--port", type=int, default=8080, help="port to listen on (default 8080)")
    add("--issuer", metavar="URL", help="OIDC issuer whose tokens are accepted")
    add("--audience", default="gearline", help="audience that tokens must name")
    add("--jwks", metavar="FILE|URL", help="the issuer's keys (JWKS): a file or an https URL")
    add("--local-tokens", action="store_true", help="accept `gearline token`; always in a demo")
    add("--rate", type=float, default=200.0, help="requests a second per caller; 0: no limit")
    add("--access-log", action="store_true", help="one JSON line a request on stderr")

    text, example = "a bearer token for trying out", "gearline token --role service"
    p = verb(verbs, "token", "serving.commands.service:run_token", text, example)
    lake(p)
    add = p.add_argument
    roles = "service, reviewer, approver, risk, validator, auditor or admin"
    add("--role", required=True, help=roles)
    add("--subject", metavar="NAME", help="who it is for (default: USER-ROLE)")
    add("--hours", type=float, default=8.0, help="how long it is good (default 8)")
    add("--audience", default="gearline", help="audience it names")
