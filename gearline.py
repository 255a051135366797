"""The front door: one command line over training and serving; each verb loads its own libraries."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from data_contracts.errors import InputError
from serving.verbs import add_night_verbs
from training.verbs import add_training_verbs

__version__ = "0.1.0"

DEFAULT_LAKE = "out/demo"
DONE, FOUND, REFUSED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done; found something (a difference, a fault); refused input; Ctrl-C."""

# Libraries that would report their use are told not to, whatever the environment says.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


class _Parser(argparse.ArgumentParser):
    """Refuses wrong arguments in the one line that every other refusal takes."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def emit(document: dict[str, Any], as_json: bool, text: str) -> None:
    """One JSON document on stdout with ``--json``, else plain text."""
    if as_json:
        import orjson

        options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
        sys.stdout.write(orjson.dumps(document, option=options).decode())
    elif text:
        print(text)
    sys.stdout.flush()


def _group(verbs: Any, name: str, text: str, example: str) -> Any:
    """A verb of verbs: what its own verbs are added to."""
    group = _add(verbs, name, text, example)
    return group.add_subparsers(dest=f"{name}_verb", required=True, metavar="VERB")


def _add(verbs: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _verb(
    verbs: Any, name: str, run: str, text: str, example: str, *, seed: bool = False
) -> argparse.ArgumentParser:
    """A verb that runs ``module:function``, with the options that all verbs share."""
    parser = _add(verbs, name, text, example)
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--json", action="store_true", help="one JSON document on stdout, the rest on stderr")
    add("--threads", type=int, help="threads to use; results never depend on it")
    if seed:
        add("--seed", type=int, default=7, help="seed of everything random (default 7)")
    return parser


def _lake(parser: argparse.ArgumentParser) -> None:
    text = f"the data folder (default {DEFAULT_LAKE})"
    parser.add_argument("--lake", type=Path, default=Path(DEFAULT_LAKE), help=text)
    _ledger(parser)


def _ledger(parser: argparse.ArgumentParser) -> None:
    text = "postgresql://... or a file (default LAKE/ledger.sqlite)"
    parser.add_argument("--ledger", metavar="WHERE", help=text)


def build_parser() -> argparse.ArgumentParser:
    """Every verb with its options; importing nothing heavy, so that ``--help`` is quick."""
    parser = _Parser(
        prog="gearline",
        description="Credit tiers, margin caps and financing rates, explained and replayable.",
        epilog="example:\n  gearline demo && gearline replay --sample 500",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gearline {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add_training_verbs(verbs, _verb, _group)
    _add_serving_verbs(verbs)
    add_night_verbs(verbs, _verb, _group, _lake)
    return parser


def _add_serving_verbs(verbs: Any) -> None:
    text = "decide on every client as of a session"
    example = "gearline reprice out/demo --as-of 2022-11-30"
    add = _verb(verbs, "reprice", "serving.commands:run_reprice", text, example).add_argument
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
    add = _verb(verbs, "stress", "gearline:run_stress", text, example, seed=True).add_argument
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
    add = _verb(verbs, "decide", "serving.commands:run_decide", text, example).add_argument
    add("case", type=Path, metavar="CASE.json", help="a case file; the demo writes one")

    text = "what if the client pays in, sells, asks otherwise, or prices move"
    example = "gearline simulate out/demo/case.json --price all:-0.10 --deposit 5000"
    add = _verb(verbs, "simulate", "serving.commands:run_simulate", text, example).add_argument
    add("case", type=Path, metavar="CASE.json", help="a case file; the demo writes one")
    add("--deposit", metavar="AMOUNT", help="cash paid in; negative is a withdrawal")
    add("--sell", action="append", default=[], metavar="SYMBOL:SHARES", help="shares sold")
    add("--repay", metavar="AMOUNT", help="debt repaid from cash")
    add("--ask", metavar="AMOUNT", help="debt asked for")
    text = "price move of a name, or of all"
    add("--price", action="append", default=[], metavar="SYMBOL:RATIO", help=text)

    _add_service_verbs(verbs)
    _add_review_verbs(verbs)
    text, example = "decide again on stored inputs, compare", "gearline replay --sample 500 --json"
    p = _verb(verbs, "replay", "serving.commands:run_replay", text, example, seed=True)
    _lake(p)
    which = p.add_mutually_exclusive_group(required=True)
    which.add_argument("decision_id", nargs="?", metavar="ID", help="one stored decision")
    text = "a uniform sample of all stored decisions"
    which.add_argument("--sample", type=int, metavar="N", help=text)

    group = _group(verbs, "ledger", "the tamper-evident record", "gearline ledger verify --json")
    text = "check every entry and segment"
    example = "gearline ledger verify --since out/demo/ledger.checkpoints"
    p = _verb(group, "verify", "serving.commands:run_verify", text, example)
    _lake(p)
    text = "a checkpoint file: finds truncation and rewriting too"
    p.add_argument("--since", type=Path, metavar="FILE", help=text)
    text, example = "inclusion proof of an entry", "gearline ledger prove 3 --json"
    p = _verb(group, "prove", "serving.commands:run_prove", text, example)
    _lake(p)
    p.add_argument("position", type=int, metavar="POSITION", help="of the entry, from 0")
    text, example = "entries as JSON lines", "gearline ledger export > entries.jsonl"
    _lake(_verb(group, "export", "serving.commands:run_export", text, example))

    text = "make a ledger in a database, or bring one up to this version"
    example = "gearline ledger migrate postgresql:///gearline"
    p = _verb(group, "migrate", "serving.commands:run_migrate", text, example)
    p.add_argument("where", metavar="WHERE", help="postgresql://... or a file")

    _add_policy_verbs(verbs)


def _add_policy_verbs(verbs: Any) -> None:
    example = "gearline policy show cn --as-of 2015-11-23"
    group = _group(verbs, "policy", "the policy packs", example)
    run = "models.policy.commands:run_"
    text = "the rules in force at a moment, with level and reference"
    example = "gearline policy show cn --as-of 2023-09-08T15:00:00"
    p = _verb(group, "show", run + "show", text, example)
    p.add_argument("pack", metavar="PACK", help="us, cn or a YAML file")
    text = "YYYY-MM-DD for its midnight, or YYYY-MM-DDTHH:MM:SS; market time unless a zone is given"
    p.add_argument("--as-of", required=True, metavar="TIME", help=text)

    text = "what changed between two packs or two moments"
    example = "gearline policy diff cn@2015-11-22 cn@2015-11-23"
    p = _verb(group, "diff", run + "diff", text, example)
    text = "a pack or a YAML file, with @TIME for a moment; without it the last date"
    p.add_argument("before", metavar="A", help=text)
    p.add_argument("after", metavar="B", help="the same, of what it became")

    text = "find gaps, overlaps and rules that never bind"
    p = _verb(group, "check", run + "check", text, "gearline policy check")
    p.add_argument("packs", nargs="*", metavar="PACK", help="packs or YAML files (default: all)")

    text = "keep a pack in a lake under its hash, to propose it for approval"
    example = "gearline policy keep house-2026.yaml --lake out/demo"
    p = _verb(group, "keep", run + "keep", text, example)
    p.add_argument("pack", metavar="FILE", help="us, cn or a YAML file")
    _lake(p)


def _add_review_verbs(verbs: Any) -> None:
    group = _group(verbs, "review", "the queue of decisions for people", "gearline review list")
    run = "serving.commands.review:run_"
    text, example = "open the cases of a recorded night", "gearline review open RUN --lake out/demo"
    p = _verb(group, "open", run + "open", text, example)
    p.add_argument("run_id", metavar="RUN", help="the night, as `gearline reprice` names it")
    _lake(p)
    text, example = "cases in the order in which they are due", "gearline review list --late"
    p = _verb(group, "list", run + "list", text, example)
    _lake(p)
    p.add_argument("--rule", metavar="RULE", help="only cases that this rule opened")
    p.add_argument("--late", action="store_true", help="only cases past due")
    p.add_argument("--limit", type=int, default=50, help="how many, at most 200 (default 50)")
    text = "write the lake's `reviews` table from the acts on record"
    _lake(_verb(group, "export", run + "export", text, "gearline review export --lake out/demo"))


def _add_service_verbs(verbs: Any) -> None:
    text = "the decision service: HTTP on this machine, until stopped"
    p = _verb(verbs, "serve", "serving.commands.service:run_serve", text, "gearline serve")
    _lake(p)
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
    p = _verb(verbs, "token", "serving.commands.service:run_token", text, example)
    _lake(p)
    add = p.add_argument
    roles = "service, reviewer, approver, risk, validator, auditor or admin"
    add("--role", required=True, help=roles)
    add("--subject", metavar="NAME", help="who it is for (default: USER-ROLE)")
    add("--hours", type=float, default=8.0, help="how long it is good (default 8)")
    add("--audience", default="gearline", help="audience it names")


class Stages:
    """Progress bars on stderr, one a stage, silent where that is no terminal; seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._bar: Any = None
        self._name = ""
        self._since = time.perf_counter()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Report progress: ``done`` of ``total`` steps of a stage."""
        if stage != self._name:
            self.close()
            from tqdm import tqdm

            self._name, self._since = stage, time.perf_counter()
            self._bar = tqdm(
                total=total, desc=f"{stage:<10}", disable=not sys.stderr.isatty(), leave=True
            )
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """End the stage."""
        if self._bar is not None:
            self._bar.close()
            spent = time.perf_counter() - self._since
            self.seconds[self._name] = round(self.seconds.get(self._name, 0.0) + spent, 3)
            self._bar, self._name = None, ""


DEMO_ARGUMENTS = ("out", "policy", "market", "clients")
Answer = tuple[int, dict[str, Any], str]
"""What a verb answers: exit code, the document of ``--json``, and the text for a person."""


def run_demo(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``demo``: training makes a lake and a bundle, serving decides, training reports."""
    from serving.commands import decide_nights, write_case_file
    from training.demo import check_demo, finish_demo, headline, prepare_demo

    out, policy, market, clients = (getattr(arguments, n) for n in DEMO_ARGUMENTS)
    check_demo(out, policy, market, clients)
    print(headline(policy, market, clients), flush=True)
    prepared = prepare_demo(out, policy, market, clients, arguments.seed, arguments.threads, stages)
    nights = decide_nights(
        out, prepared.pack, prepared.bundle_path, prepared.histories, prepared.nights, stages
    )
    write_case_file(out, nights.runs[-1])
    summary = finish_demo(
        out,
        prepared,
        nights.decisions_sha256,
        nights.segments,
        nights.example,
        stages,
        stages.seconds,
    )
    stages.close()
    summary["seconds_by_stage"] = stages.seconds
    return DONE, summary, summary.pop("text")


def run_stress(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``stress``: training walks the book through a path, serving decides on the night after it."""
    import numpy as np

    from data_contracts.units import parse_day
    from features.panel import load_panel
    from serving.commands.stress import decided_after, firm_and_policy, load_book
    from training.stress.page import write_stress
    from training.stress.report import desk_of, paths_report, shocked_panel, text_of
    from training.stress.scenario import SCENARIOS, price_path, read_scenario

    root = arguments.lake
    if root.is_file():
        from training.stress.positions import positions_report, positions_text

        scenario = read_scenario(arguments.scenario)
        lake = None if arguments.out is None else arguments.out / "lake"
        found = positions_report(root, scenario, arguments.seed, lake)
        return DONE, found, positions_text(found)
    panel = load_panel(root)
    day = parse_day(arguments.as_of, "--as-of") if arguments.as_of else panel.sessions[-1].item()
    t = panel.session_index(np.datetime64(day))
    if panel.sessions[t] != np.datetime64(day):
        raise InputError(
            f"{day} is no session of the market; the last before is {panel.sessions[t]}"
        )
    firm, policy, pack = firm_and_policy(root, panel, t, arguments.policy)
    histories = load_book(root, panel, stages)
    desk = desk_of(panel, t, [h.as_of(day) for h in histories], policy)
    document = {
        "as_of": day.isoformat(),
        "currency": pack.currency,
        **paths_report(arguments, desk, firm.net_capital_amt, stages),
    }
    known = arguments.scenario in SCENARIOS or arguments.scenario.endswith((".yaml", ".yml"))
    after = None
    if known:
        path = price_path(read_scenario(arguments.scenario), desk.names, arguments.seed)
        after = shocked_panel(panel, t, path)
    decided = decided_after(root, day, panel, after, arguments.bundle, pack, stages)
    document |= decided
    broken = decided["zero_shock_equals_production"] is False
    document |= {"lake": str(root), "page": None}
    text = text_of(document)
    if arguments.out is not None:
        document["page"] = write_stress(arguments.out, document)
        text += f"\nopen {document['page']}"
    return (FOUND if broken else DONE), document, text


def dispatch(arguments: argparse.Namespace) -> int:
    """Import the verb's module, run it, print its answer."""
    import importlib

    module, function = arguments.run.split(":")
    found = globals() if module == "gearline" else vars(importlib.import_module(module))
    stages = Stages()
    # with --json whatever else is printed must not mix with the document
    aside = contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext()
    try:
        with aside:
            code, document, text = found[function](arguments, stages)
    finally:
        stages.close()
    emit(document, arguments.json, text)
    return int(code)


def _check_common(arguments: argparse.Namespace) -> None:
    if arguments.threads is not None and arguments.threads < 1:
        raise InputError(f"--threads is {arguments.threads}; it must be at least 1")
    seed = getattr(arguments, "seed", 0)
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed is {seed}; it must be from 0 to {2**32 - 1}")


def _stopped(message: object, code: int = REFUSED) -> int:
    """Say in one line why it ends here."""
    print("gearline: " + " ".join(str(message).split()), file=sys.stderr)
    return code


def run_challenge_report(arguments: argparse.Namespace, stages: Stages) -> Answer:
    """``model challenge-report``: serving finds and checks what was decided, training judges it."""
    from serving.commands.challenge import recorded_challenge
    from training.challenge.command import report_challenge

    return report_challenge(arguments, recorded_challenge(arguments), stages)


def main(argv: list[str] | None = None) -> int:
    """Run a verb; refused input is one clear line and exit code 2."""
    try:
        arguments = build_parser().parse_args(argv)
        _check_common(arguments)
        return dispatch(arguments)
    except InputError as error:
        return _stopped(error)
    except KeyboardInterrupt:
        return _stopped("interrupted; the same command starts again", INTERRUPTED)
    except MemoryError:
        return _stopped("out of memory; take fewer clients or a larger machine")
    except BrokenPipeError:
        # the reader of a pipe has gone: not an error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        why = error.strerror or str(error)
        return _stopped(f"{where}{why}; check the path, its permissions and the space left")


if __name__ == "__main__":
    sys.exit(main())
