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
from serving.decision_verbs import add_decision_verbs
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
    add_decision_verbs(verbs, _verb, _group, _lake)
    add_night_verbs(verbs, _verb, _group, _lake)
    return parser


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
